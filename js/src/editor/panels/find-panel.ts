/** "Find concepts", for a generator that has none: the button and its progress. */

import type { Actions } from "../actions";
import { actionButton } from "../buttons";
import { element, hide, setText } from "../dom";
import { timeLeft } from "../format";
import type { Panel } from "../panel";
import { createProgressBar } from "../progress-bar";

export function createFindPanel(actions: Actions): Panel {
  const start = actionButton(
    "discover",
    "Find concepts",
    "segment",
    "Look for things that this generator draws, so that you can paint with them (minutes)",
    actions.discover,
    " gp-primary",
  );
  const progress = createProgressBar("Finding concepts");
  const stop = actionButton("stop-discovery", "Cancel", "close", "Stop looking", actions.stopDiscovery);
  const running = element("div", { class: "gp-running" }, progress.root, stop);
  const left = element("p", { class: "gp-numbers" });
  const root = element("section", { class: "gp-find" }, start, running, left);
  return {
    root,
    update({ state, finding, saved }) {
      hide(root, saved || state?.concepts.length !== 0);
      hide(start, finding !== null);
      hide(running, finding === null);
      setText(left, finding?.secondsLeft == null ? "" : `${timeLeft(finding.secondsLeft)} left`);
      if (finding) progress.show(finding.fraction);
    },
  };
}
