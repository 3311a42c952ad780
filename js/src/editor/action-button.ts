import { element, on } from "./dom";
import { type IconName, icon } from "./icons";

/** A button with an icon; `bare` shows the icon alone. */
export function actionButton(
  name: string,
  label: string,
  picture: IconName,
  title: string,
  run: () => void,
  bare = false,
): HTMLButtonElement {
  const button = element(
    "button",
    { class: bare ? "gp-button gp-bare" : "gp-button", "data-action": name, title },
    icon(picture),
    element("span", { class: bare ? "gp-unseen" : "gp-label" }, label),
  );
  on(button, "click", run);
  return button;
}
