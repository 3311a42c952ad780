/** The buttons of panels. */

import { element, on } from "./dom";
import { type IconName, icon } from "./icons";

/** A button with an icon and a label. A bare one shows only the icon, with the label for screen readers. */
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

/** A button with text only: plain, or like a link in a sentence. */
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
