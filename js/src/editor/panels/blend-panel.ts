/** "Blend into photo": the button, its progress, and the resulting numbers. */

import type { Actions } from "../actions";
import { actionButton } from "../buttons";
import { element, hide, on, setText } from "../dom";
import { timeLeft } from "../format";
import type { Panel } from "../panel";
import { createProgressBar } from "../progress-bar";

export function createBlendPanel(actions: Actions): Panel {
  const start = actionButton(
    "blend",
    "Blend into photo",
    "blend",
    "Adapt the generator to this photo: your edit stays, and the rest looks like the photo",
    actions.blend,
    " gp-primary",
  );
  const progress = createProgressBar("Blending");
  const cancel = actionButton(
    "cancel",
    "Cancel",
    "close",
    "Stop, and keep the best result so far (Escape)",
    actions.cancel,
  );
  const running = element("div", { class: "gp-running" }, progress.root, cancel);
  const numbers = element("p", { class: "gp-numbers" });
  const box = element("input", { type: "checkbox", role: "switch", "data-action": "faithful" });
  on(box, "change", actions.faithful);
  const stage = element("span", { class: "gp-hint" });
  const faithful = element(
    "label",
    {
      class: "gp-switch",
      title: "Fit the generator to the photo once, and keep unedited parts while you paint (P)",
    },
    box,
    element("span", {}, "Faithful preview"),
    stage,
  );
  const again = element("input", { type: "checkbox", role: "switch", "data-action": "reblend" });
  on(again, "change", () => actions.reblend(again.checked));
  const reblend = element(
    "label",
    { class: "gp-switch", title: "Blend again whenever you pause, after the first blend" },
    again,
    element("span", {}, "Blend again after each edit"),
  );
  const root = element("section", { class: "gp-blend" }, faithful, reblend, start, running, numbers);
  return {
    root,
    update(session) {
      const { job, state } = session;
      const { on, ready } = state?.faithful ?? { on: false, ready: false };
      hide(faithful, !state?.faithful);
      box.checked = on;
      setText(stage, !on ? "" : ready ? "keeps to the photo" : "fitting…");
      again.checked = session.blendPolicy.enabled;
      hide(start, job !== null);
      start.disabled = state === null;
      hide(running, job === null);
      if (job) {
        progress.show(job.fraction);
        const left = job.secondsLeft === null ? "Starting…" : `${timeLeft(job.secondsLeft)} left`;
        setText(numbers, left + (job.psnr === null ? "" : ` · kept pixels ${job.psnr.toFixed(1)} dB`));
        return;
      }
      const blend = state?.measures.blend;
      setText(
        numbers,
        blend
          ? `Kept pixels ${blend.before.toFixed(1)} → ${blend.after.toFixed(1)} dB, ` +
              (blend.survival === null ? "nothing edited" : `edit survival ${blend.survival.toFixed(2)}`)
          : session.saved
            ? ""
            : "Keeps the rest of your photo as it was.",
      );
    },
  };
}
