/** A line for events, and a card for errors and their remedies. */

import { actionButton } from "../buttons";
import { element, set, setText } from "../dom";
import { icon } from "../icons";
import type { Panel } from "../panel";

export interface StatusLine extends Panel {
  /** Closes the card; false if there was none. */
  dismiss(): boolean;
  /** Announces something to users who paint with the keyboard. */
  announce(text: string): void;
}

export function createStatusLine(): StatusLine {
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
  const hint = element("span", {});
  const dismiss = (): boolean => {
    const shown = card.isConnected;
    card.remove();
    return shown;
  };
  const close = actionButton("dismiss", "Dismiss", "close", "Dismiss (Escape)", dismiss, " gp-bare gp-small");
  // The alert's frame is always in the page, since screen readers announce changes inside it.
  const alert = element("div", { class: "gp-alert", role: "alert" });
  const card = element(
    "div",
    { class: "gp-card" },
    icon("warning"),
    element("p", {}, what, " ", hint),
    close,
  );
  const root = element("div", { class: "gp-status" }, line, keys, alert);

  let seen = 0;
  return {
    root,
    dismiss,
    announce(text) {
      if (text) setText(line, text);
    },
    update(session) {
      const { status } = session;
      if (session.statusCount === seen || !status) return;
      seen = session.statusCount;
      if (status.level === "error") {
        setText(what, status.text);
        setText(hint, status.hint ?? "");
        alert.replaceChildren(card);
        return;
      }
      dismiss();
      set(line, { "data-level": status.level });
      setText(line, status.text);
      line.title = status.text;
    },
  };
}
