/** The notice below the bar: the kernel does not answer, or the photo is outside the generator's world. */

import type { Health } from "../../core/health";
import type { EditorSession } from "../../core/session";
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
  gone: "This editor's kernel is gone.",
  saved: "No kernel answers: this is the editor as it was saved. Run the notebook to continue painting.",
};

/** What to do about a kernel that is gone; only a journal keeps the edits. */
const RECOVER = "Your edits are in the journal: run gp.GANPaint.recover() in a cell to continue.";
const BEGIN_ANEW = "The session kept no journal: run the cell with the editor again to begin anew.";

/** Returns the sentences about the kernel's health, empty if it answers. */
export function silenceOf({ health, state }: EditorSession): string {
  if (health !== "gone") return SILENCE[health];
  return `${SILENCE.gone} ${state?.journal.length ? RECOVER : BEGIN_ANEW}`;
}

export function createBanner(): Panel {
  const text = element("p", {});
  const root = element("div", { class: "gp-banner", role: "status", hidden: true }, icon("warning"), text);
  return {
    root,
    update(session) {
      const notice = session.state?.notice;
      const warning = notice?.level === "warning" ? notice.text : "";
      const silence = silenceOf(session);
      hide(root, !(silence || warning));
      set(root, { "data-kernel": session.health });
      setText(text, silence || warning);
    },
  };
}
