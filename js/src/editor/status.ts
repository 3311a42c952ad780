/** One quiet line for what happened, and a card for what went wrong and what to do about it. */

import { element, icon, set, setText } from "./dom";
import type { Panel } from "./settings";

export interface Status extends Panel {
  /** Closes the card; false if there was none. */
  dismiss(): boolean;
  /** Says something that only concerns who paints by keyboard, and for the moment. */
  whisper(text: string): void;
}

export function createStatus(): Status {
  const line = element("p", { class: "gp-word", role: "status", "aria-live": "polite" });
  const keys = element("p", { class: "gp-keys", "aria-hidden": "true" });
  for (const [key, meaning] of [
    ["B", "brush"],
    ["S", "segment"],
    ["[ ]", "size"],
    ["C", "compare"],
    ["+ −", "zoom"],
  ]) {
    keys.append(element("kbd", {}, key as string), ` ${meaning} `);
  }
  const what = element("strong", {});
  const mend = element("span", {});
  const close = element(
    "button",
    { class: "gp-button gp-bare gp-small", title: "Dismiss (Escape)" },
    icon("close"),
    element("span", { class: "gp-unseen" }, "Dismiss"),
  );
  // The alert's frame is always in the page: screen readers announce what changes inside it.
  const alert = element("div", { class: "gp-alert", role: "alert" });
  const card = element(
    "div",
    { class: "gp-card" },
    icon("warning"),
    element("p", {}, what, " ", mend),
    close,
  );
  const root = element("div", { class: "gp-status" }, line, keys, alert);

  let seen = 0;
  const dismiss = (): boolean => {
    const shown = card.isConnected;
    card.remove();
    return shown;
  };
  close.addEventListener("click", dismiss);
  return {
    root,
    dismiss,
    whisper(text) {
      if (text) setText(line, text);
    },
    update(page) {
      const { word } = page;
      if (page.words === seen || !word) return;
      seen = page.words;
      if (word.level === "error") {
        setText(what, word.text);
        setText(mend, word.mend ?? "");
        alert.replaceChildren(card);
        return;
      }
      dismiss();
      set(line, { "data-level": word.level });
      setText(line, word.text);
      line.title = word.text;
    },
  };
}
