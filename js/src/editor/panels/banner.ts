/** Below the bar, as long as it is true: that the kernel does not answer, or that the photo is outside its world. */

import type { Health } from "../../core/health";
import { element, hide, set, setText } from "../dom";
import { icon } from "../icons";
import type { Panel } from "../panel";

/** What a kernel's health means for the user; nothing to say of one that answers. */
export const SILENCE: Record<Health, string> = {
  answers: "",
  silent:
    "The kernel does not answer: it is busy or gone. What you paint is kept here, and follows when it answers.",
  busy: "The kernel is busy. What you paint is kept here, and follows as soon as it is free.",
  unreachable:
    "The notebook server does not answer. What you paint is kept here, and follows when it is back.",
  gone: "This editor's kernel is gone, but nothing painted is lost: run GANPaint.recover() in a cell.",
  saved: "No kernel answers: this is the editor as it was saved. Run the notebook to go on painting.",
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
