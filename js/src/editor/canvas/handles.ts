/** What is pressed or dragged on the stage beside the picture itself: the compare button and the divider. */

import { clamp } from "../../raster/geometry";
import { ARROWS } from "../tools/keys";
import type { StageView } from "./view";

/** The photo is shown as long as the button is held. */
export function attachCompare({ compare }: StageView, comparing: (on: boolean) => void): void {
  compare.addEventListener("pointerdown", (event) => {
    compare.setPointerCapture(event.pointerId);
    comparing(true);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    compare.addEventListener(end, () => comparing(false));
  }
}

/** The divider follows the pointer, and the arrow keys when it has the focus. */
export function attachDivider(
  { root, divider }: StageView,
  split: () => number | null,
  divide: (split: number) => void,
): void {
  const to = (split: number): void => divide(clamp(split, 0.02, 0.98));
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = root.getBoundingClientRect();
    to((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    const before = split();
    if (!arrow || before === null) return;
    event.preventDefault();
    to(before + 0.02 * (arrow[0] - arrow[1]));
  });
}
