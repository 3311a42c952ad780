/** The cells of the edited layer's grid that a tool touches. Pure. */

import type { Rect } from "../protocol/messages";

/**
 * Returns the cells of a layer's grid that an edit under these pixels will change. A cell counts if one of its pixels
 * is touched, although an addition changes it less if it covers less of it. The cells are rectangles in picture pixels.
 * They overlap if the grid does not divide the picture (adaptive pooling: floor(i n / c) to ceil((i + 1) n / c)).
 */
export function footprint(
  touched: Rect,
  covers: (x: number, y: number) => boolean,
  cells: readonly [number, number],
  width: number,
  height: number,
): Rect[] {
  const spans = (from: number, length: number, pixels: number, count: number): Rect[] => {
    const found: Rect[] = [];
    for (let cell = 0; cell < count; cell++) {
      const a = Math.floor((cell * pixels) / count);
      const b = Math.ceil(((cell + 1) * pixels) / count);
      if (b > from && a < from + length) found.push([a, b, 0, 0]);
    }
    return found;
  };
  const [x, y, w, h] = touched;
  const found: Rect[] = [];
  for (const [top, bottom] of spans(y, h, height, cells[1])) {
    for (const [left, right] of spans(x, w, width, cells[0])) {
      if (anyCovered(left, top, right, bottom, touched, covers))
        found.push([left, top, right - left, bottom - top]);
    }
  }
  return found;
}

function anyCovered(
  left: number,
  top: number,
  right: number,
  bottom: number,
  [x, y, w, h]: Rect,
  covers: (x: number, y: number) => boolean,
): boolean {
  for (let py = Math.max(top, y); py < Math.min(bottom, y + h); py++) {
    for (let px = Math.max(left, x); px < Math.min(right, x + w); px++) if (covers(px, py)) return true;
  }
  return false;
}
