/** Handles on the stage, beside the picture itself: the compare button and the divider. */

import { clamp } from "../../raster/geometry";
import { on } from "../dom";
import { ARROWS } from "../tools/keys";
import type { StageView } from "./view";

/** Shows the photo while the button is held. */
export function attachCompare({ compare }: StageView, comparing: (on: boolean) => void): void {
  on(compare, "pointerdown", (event) => {
    compare.setPointerCapture(event.pointerId);
    comparing(true);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
    on(compare, end, () => comparing(false));
  }
}

/** Moves the divider with the pointer, and with the arrow keys when it has the focus. */
export function attachDivider(
  { root, divider }: StageView,
  split: () => number | null,
  divide: (split: number) => void,
): void {
  const to = (split: number): void => divide(clamp(split, 0.02, 0.98));
  on(divider, "pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  on(divider, "pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = root.getBoundingClientRect();
    to((event.clientX - box.left) / box.width);
  });
  on(divider, "keydown", (event) => {
    const arrow = ARROWS[event.key];
    const before = split();
    if (!arrow || before === null) return;
    event.preventDefault();
    to(before + 0.02 * (arrow[0] - arrow[1]));
  });
}
