/** What the tools other than the brush cover, as patches in picture pixels. Pure. */

import type { Rect } from "../protocol";
import { clamp, type Point } from "./geometry";
import type { Patch } from "./mask";

/** The pixels from the one under `a` to the one under `b`, both included; null where that misses the picture. */
export function rectangle(a: Point, b: Point, width: number, height: number): Rect | null {
  const left = clamp(Math.floor(Math.min(a.x, b.x)), 0, width);
  const top = clamp(Math.floor(Math.min(a.y, b.y)), 0, height);
  const right = clamp(Math.floor(Math.max(a.x, b.x)) + 1, 0, width);
  const bottom = clamp(Math.floor(Math.max(a.y, b.y)) + 1, 0, height);
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

export function filled(rect: Rect): Patch {
  return { rect, values: new Uint8Array(rect[2] * rect[3]).fill(255) };
}

/** Each pixel row of a polygon is cut into so many lines. */
const LINES = 8;

/**
 * The inside of a closed polygon by the non-zero rule, so that a lasso that crosses itself has no holes. Along each line
 * the covered part of a pixel is exact; down a pixel it is the mean of eight lines.
 */
export function polygon(points: readonly Point[], width: number, height: number): Patch | null {
  const xs = points.map(({ x }) => x);
  const ys = points.map(({ y }) => y);
  const left = clamp(Math.floor(Math.min(...xs)), 0, width);
  const top = clamp(Math.floor(Math.min(...ys)), 0, height);
  const right = clamp(Math.ceil(Math.max(...xs)), 0, width);
  const bottom = clamp(Math.ceil(Math.max(...ys)), 0, height);
  if (points.length < 3 || right <= left || bottom <= top) return null;

  const across = right - left;
  const values = new Uint8Array(across * (bottom - top));
  const row = new Float64Array(across);
  for (let y = top; y < bottom; y++) {
    row.fill(0);
    for (let line = 0; line < LINES; line++) {
      const at = y + (line + 0.5) / LINES;
      let winding = 0;
      let from = 0;
      for (const { x, turn } of crossings(points, at)) {
        if (winding === 0) from = x;
        winding += turn;
        if (winding === 0) cover(row, from - left, x - left);
      }
    }
    for (let x = 0; x < across; x++) {
      values[(y - top) * across + x] = Math.round((255 * (row[x] as number)) / LINES);
    }
  }
  return { rect: [left, top, across, bottom - top], values };
}

/** Where the polygon crosses a horizontal line, from left to right, and whether downwards (1) or upwards (-1). */
function crossings(points: readonly Point[], y: number): { x: number; turn: number }[] {
  const found: { x: number; turn: number }[] = [];
  let a = points[points.length - 1] as Point;
  for (const b of points) {
    if (a.y <= y !== b.y <= y) {
      found.push({ x: a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y), turn: a.y < b.y ? 1 : -1 });
    }
    a = b;
  }
  return found.sort((p, q) => p.x - q.x);
}

/** Adds to each pixel of a row how much of it lies between two places. */
function cover(row: Float64Array, from: number, to: number): void {
  const last = Math.min(row.length - 1, Math.ceil(to) - 1);
  for (let x = Math.max(0, Math.floor(from)); x <= last; x++) {
    row[x] = (row[x] as number) + Math.min(to, x + 1) - Math.max(from, x);
  }
}

/** A map of the picture's classes, one class number a pixel. */
export interface Labels {
  width: number;
  height: number;
  values: Uint8Array;
}

export interface Region extends Patch {
  label: number;
  /** How many pixels it has. */
  area: number;
}

/** The pixels of one class that hang together (by their sides) with the one at `point`; null outside the picture. */
export function region(labels: Labels, point: Point): Region | null {
  const { width, height } = labels;
  const [x0, y0] = [Math.floor(point.x), Math.floor(point.y)];
  if (!(x0 >= 0 && y0 >= 0 && x0 < width && y0 < height)) return null;
  const start = y0 * width + x0;
  const pixels = flood(labels, start, new Uint8Array(width * height));
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

/** Where the pixels are that hang together with the one at `start`; they are marked in `seen`. */
function flood({ width, height, values }: Labels, start: number, seen: Uint8Array): number[] {
  const label = values[start];
  const found = [start];
  seen[start] = 1;
  const visit = (next: number): void => {
    if (seen[next] || values[next] !== label) return;
    seen[next] = 1;
    found.push(next);
  };
  // The list grows while it is walked.
  for (const at of found) {
    const x = at % width;
    if (x > 0) visit(at - 1);
    if (x < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at < width * (height - 1)) visit(at + width);
  }
  return found;
}

/** A region as a list names it. */
export interface Listed {
  label: number;
  /** How much of the picture it is, 0 to 1. */
  part: number;
  /** The middle of one of its pixels. */
  inside: Point;
  /** Where it is: "upper left", "centre", "lower right" and so on. */
  place: string;
}

/** The largest of the regions, `most` at most, and none that is less than the fraction `least` of the picture. */
export function regions(labels: Labels, least = 0.002, most = 24): Listed[] {
  const { width, height, values } = labels;
  const seen = new Uint8Array(values.length);
  const found: Listed[] = [];
  for (let start = 0; start < values.length; start++) {
    if (seen[start]) continue;
    const pixels = flood(labels, start, seen);
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

/** The third of the picture, across and down, that a point lies in (fractions of it), in words. */
function placeOf(x: number, y: number): string {
  const third = (at: number): number => Math.min(2, Math.floor(3 * at));
  const words = [["upper", "", "lower"][third(y)], ["left", "", "right"][third(x)]];
  return words.filter(Boolean).join(" ") || "centre";
}

/**
 * The cells of a layer's grid that an edit under these pixels will change: a cell counts as soon as one of its pixels
 * is touched, though additions change it the less the less of it is covered. As rectangles in picture pixels; cells may overlap where the grid
 * does not divide the picture (adaptive pooling: from floor(i n / c) to ceil((i + 1) n / c)).
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
      if (any(left, top, right, bottom, touched, covers)) found.push([left, top, right - left, bottom - top]);
    }
  }
  return found;
}

function any(
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
