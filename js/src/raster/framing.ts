/** Brings a mask of a photo's own size to the edited square, like the kernel's images/framing.py. */

import type { Fit } from "../protocol/messages";
import type { GrayImage } from "./png";

/** Returns the square of a mask, `side` x `side`. Pixels that fall together are averaged, and padding is unpainted. */
export function squareMask({ width, height, values }: GrayImage, side: number, fit: Fit): Uint8Array {
  const part = fit === "crop" ? Math.min(width, height) : Math.max(width, height);
  const across = placed(width, part, side);
  const down = placed(height, part, side);
  const square = new Uint8Array(side * side);
  for (const [y, [top, bottom]] of down) {
    for (const [x, [left, right]] of across) {
      let sum = 0;
      for (let row = top; row < bottom; row++) {
        for (let at = left; at < right; at++) sum += values[row * width + at] as number;
      }
      square[y * side + x] = Math.round(sum / ((bottom - top) * (right - left)));
    }
  }
  return square;
}

/** In one direction, returns which pixels of the mask fall into which pixel of the square, whose side is `part`. */
function placed(length: number, part: number, side: number): [number, [number, number]][] {
  const extent = Math.min(length, part);
  const first = Math.floor((length - extent) / 2);
  const margin = (1 - extent / part) / 2;
  const begin = Math.min(even(margin * side), side - 1);
  const end = Math.max(even((1 - margin) * side), begin + 1);
  const scale = extent / (end - begin);
  const reach = Math.max(scale, 1) / 2;
  return Array.from({ length: end - begin }, (_, at) => {
    const center = (at + 0.5) * scale;
    const from = Math.floor(center - reach + 0.5);
    const to = Math.min(Math.floor(center + reach + 0.5), extent);
    return [begin + at, [first + from, first + to]];
  });
}

/** Rounds like Python, with halves to even numbers. */
function even(value: number): number {
  const rounded = Math.round(value);
  return value % 1 === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}
