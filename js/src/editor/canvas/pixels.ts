/** Masks and labels as pixels and paths of a canvas. */

import type { Mask } from "../../raster/mask";
import { context2d } from "../dom";

/** Turns segments x0, y0, x1, y1, ... into a path. */
export function outlinePath(segments: readonly number[]): Path2D {
  const path = new Path2D();
  for (let at = 0; at < segments.length; at += 4) {
    path.moveTo(segments[at] as number, segments[at + 1] as number);
    path.lineTo(segments[at + 2] as number, segments[at + 3] as number);
  }
  return path;
}

/** Returns a color "#rrggbb" as the four bytes of a canvas pixel, red first. */
export function rgba(color: string, alpha: number): number {
  const rgb = Number.parseInt(color.slice(1), 16);
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, ((rgb << 8) | alpha) >>> 0);
  return new Uint32Array(word.buffer)[0] as number;
}

/** Returns a color in every opacity from 0 to 255. */
export function tints(color: string): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, alpha) => rgba(color, alpha));
}

/** Gives each pixel the palette's color for its value, a whole pixel at a time for speed within a stroke. */
export function paintPixels(canvas: HTMLCanvasElement, values: Uint8Array, palette: Uint32Array): void {
  const context = context2d(canvas);
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = palette[values[at] as number] as number;
  context.putImageData(image, 0, 0);
}

/** Fills a canvas of the mask's size with the color, the mask's values as opacity. */
export function paintMask(canvas: HTMLCanvasElement, mask: Mask, color: string): void {
  paintPixels(canvas, mask.values, tints(color));
}
