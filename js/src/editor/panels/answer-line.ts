/** A line for a pending answer of the kernel: its progress, or the error with a button to ask again. */

import type { QuestionFailure } from "../../core/questions";
import { textButton } from "../buttons";
import { element, hide, set, setText } from "../dom";

export function createAnswerLine(again: () => void) {
  const text = element("span", {});
  const retry = textButton("ask-again", "Try again", () => {
    // The button disappears, so the focus moves first.
    set(root, { tabindex: -1, "data-lm-suppress-shortcuts": "true" });
    root.focus();
    again();
  });
  const root = element("p", { class: "gp-hint", role: "status" }, text, retry);
  return {
    root,
    update(words: string, failure: QuestionFailure | null): void {
      setText(text, failure ? `${failure.text} ${failure.hint} ` : words);
      hide(retry, failure === null);
    },
  };
}
