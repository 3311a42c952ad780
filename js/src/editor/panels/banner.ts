/** The notice below the bar: the kernel does not answer, or the photo is outside the generator's world. */

import type { Health } from "../../core/health";
import { element, hide, set, setText } from "../dom";
import { icon } from "../icons";
import type { Panel } from "../panel";

/** Sentences for users about the kernel's health; a kernel that answers has none. */
export const SILENCE: Record<Health, string> = {
  answers: "",
  silent:
    "The kernel does not answer: it is busy or gone. Your strokes are kept here, and follow when it answers.",
  busy: "The kernel is busy. Your strokes are kept here, and follow as soon as it is free.",
  unreachable: "The notebook server does not answer. Your strokes are kept here, and follow when it is back.",
  gone: "This editor's kernel is gone, but your edits are safe: run GANPaint.recover() in a cell.",
  saved: "No kernel answers: this is the editor as it was saved. Run the notebook to continue painting.",
};

export function createBanner(): Panel {
  const text = element("p", {});
  const root = element("div", { class: "gp-banner", role: "status", hidden: true }, icon("warning"), text);
  return {
    root,
    update(session) {
      const notice = session.state?.notice;
      const warning = notice?.level === "warning" ? notice.text : "";
      const silence = SILENCE[session.health];
      hide(root, !(silence || warning));
      set(root, { "data-kernel": session.health });
      setText(text, silence || warning);
    },
  };
}
