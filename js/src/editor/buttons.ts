/** The buttons that panels are made of. */

import { element, on } from "./dom";
import { type IconName, icon } from "./icons";

/** A button with an icon and a label. The bare ones show the icon alone, and name it to screen readers. */
export function actionButton(
  name: string,
  label: string,
  picture: IconName,
  title: string,
  run: () => void,
  look: "" | " gp-bare" | " gp-bare gp-small" | " gp-primary" = "",
): HTMLButtonElement {
  const button = element(
    "button",
    { class: `gp-button${look}`, "data-action": name, title },
    icon(picture),
    element("span", { class: look.startsWith(" gp-bare") ? "gp-unseen" : "gp-label" }, label),
  );
  on(button, "click", run);
  return button;
}

/** A button of words alone: plain, or in a sentence like a link. */
export function textButton(
  name: string,
  label: string,
  run: () => void,
  look: "gp-button gp-plain" | "gp-link" = "gp-link",
): HTMLButtonElement {
  const button = element("button", { class: look, "data-action": name }, label);
  on(button, "click", run);
  return button;
}
