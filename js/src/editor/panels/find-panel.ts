/** "Find concepts", where a generator has none: the button, and how far that is. */

import type { Actions } from "../actions";
import { actionButton } from "../buttons";
import { element, hide, set, setText } from "../dom";
import { timeLeft } from "../format";
import type { Panel } from "../panel";

export function createFindPanel(actions: Actions): Panel {
  const start = actionButton(
    "discover",
    "Find concepts",
    "segment",
    "Look for things that this generator draws, so that you can paint with them (minutes)",
    actions.discover,
    " gp-primary",
  );
  const bar = element("div", { class: "gp-bar-fill" });
  const percent = element("span", { class: "gp-percent" });
  const progress = element(
    "div",
    {
      class: "gp-progress",
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-label": "Finding concepts",
    },
    bar,
    percent,
  );
  const stop = actionButton("stop-discovery", "Cancel", "close", "Stop looking", actions.stopDiscovery);
  const running = element("div", { class: "gp-running" }, progress, stop);
  const left = element("p", { class: "gp-numbers" });
  const root = element("section", { class: "gp-find" }, start, running, left);
  return {
    root,
    update({ state, finding, saved }) {
      hide(root, saved || state?.concepts.length !== 0);
      hide(start, finding !== null);
      hide(running, finding === null);
      setText(left, finding?.secondsLeft == null ? "" : `${timeLeft(finding.secondsLeft)} left`);
      if (!finding) return;
      set(progress, { "aria-valuenow": Math.round(100 * finding.fraction) });
      bar.style.transform = `scaleX(${finding.fraction})`;
      setText(percent, `${Math.round(100 * finding.fraction)} %`);
    },
  };
}
