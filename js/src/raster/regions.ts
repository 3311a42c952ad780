/** The segmenter's labels and their connected regions, which the segment tool takes. Pure. */

import type { Rect } from "../protocol/messages";
import type { Point } from "./geometry";
import type { Patch } from "./mask";

/** A map of the picture's classes, with one class number for each pixel. */
export interface Labels {
  width: number;
  height: number;
  values: Uint8Array;
}

export interface Region extends Patch {
  label: number;
  /** The number of its pixels. */
  area: number;
}

/** Returns the pixels of one class that are connected (by their sides) to `point`; null outside the picture. */
export function connectedRegion(labels: Labels, point: Point): Region | null {
  const { width, height } = labels;
  const [x0, y0] = [Math.floor(point.x), Math.floor(point.y)];
  if (!(x0 >= 0 && y0 >= 0 && x0 < width && y0 < height)) return null;
  const start = y0 * width + x0;
  const pixels = floodFill(labels, start, new Uint8Array(width * height));
  let [left, top, right, bottom] = [x0, y0, x0, y0];
  for (const at of pixels) {
    const x = at % width;
    const y = (at - x) / width;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  const rect: Rect = [left, top, right - left + 1, bottom - top + 1];
  const patch = new Uint8Array(rect[2] * rect[3]);
  for (const at of pixels) patch[(Math.floor(at / width) - top) * rect[2] + (at % width) - left] = 255;
  return { rect, values: patch, label: labels.values[start] as number, area: pixels.length };
}

/** Returns the pixels that are connected to the one at `start`, and marks them in `seen`. */
function floodFill({ width, height, values }: Labels, start: number, seen: Uint8Array): number[] {
  const label = values[start];
  const found = [start];
  seen[start] = 1;
  const visit = (next: number): void => {
    if (seen[next] || values[next] !== label) return;
    seen[next] = 1;
    found.push(next);
  };
  // The list grows during this loop.
  for (const at of found) {
    const x = at % width;
    if (x > 0) visit(at - 1);
    if (x < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at < width * (height - 1)) visit(at + width);
  }
  return found;
}

/** A region in the list of segments. */
export interface RegionSummary {
  label: number;
  /** Its share of the picture, 0 to 1. */
  part: number;
  /** The middle of one of its pixels. */
  inside: Point;
  /** Its place in words: "upper left", "center", "lower right" and so on. */
  place: string;
}

/** Returns up to `most` regions, largest first, that cover at least the fraction `least` of the picture. */
export function largestRegions(labels: Labels, least = 0.002, most = 24): RegionSummary[] {
  const { width, height, values } = labels;
  const seen = new Uint8Array(values.length);
  const found: RegionSummary[] = [];
  for (let start = 0; start < values.length; start++) {
    if (seen[start]) continue;
    const pixels = floodFill(labels, start, seen);
    const part = pixels.length / values.length;
    if (part < least) continue;
    let [x, y] = [0, 0];
    for (const at of pixels) {
      x += (at % width) + 0.5;
      y += Math.floor(at / width) + 0.5;
    }
    const place = placeOf(x / pixels.length / width, y / pixels.length / height);
    const inside = { x: (start % width) + 0.5, y: Math.floor(start / width) + 0.5 };
    found.push({ label: values[start] as number, part, inside, place });
  }
  return found.sort((a, b) => b.part - a.part).slice(0, most);
}

/** Names the third of the picture, across and down, in which a point lies (as fractions of the picture). */
function placeOf(x: number, y: number): string {
  const third = (at: number): number => Math.min(2, Math.floor(3 * at));
  const words = [["upper", "", "lower"][third(y)], ["left", "", "right"][third(x)]];
  return words.filter(Boolean).join(" ") || "center";
}
