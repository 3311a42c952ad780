/** The areas of the rectangle and the lasso, as patches in picture pixels. Pure. */

import type { Rect } from "../protocol/messages";
import { clamp, type Point } from "./geometry";
import type { Patch } from "./mask";

/** Returns the pixels from `a` to `b`, including both; null if the rectangle misses the picture. */
export function rectangleBetween(a: Point, b: Point, width: number, height: number): Rect | null {
  const left = clamp(Math.floor(Math.min(a.x, b.x)), 0, width);
  const top = clamp(Math.floor(Math.min(a.y, b.y)), 0, height);
  const right = clamp(Math.floor(Math.max(a.x, b.x)) + 1, 0, width);
  const bottom = clamp(Math.floor(Math.max(a.y, b.y)) + 1, 0, height);
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

export function filledPatch(rect: Rect): Patch {
  return { rect, values: new Uint8Array(rect[2] * rect[3]).fill(255) };
}

/** Lines into which each pixel row of a polygon is cut. */
const LINES = 8;

/**
 * Returns the inside of a closed polygon with the non-zero rule, so that a lasso that crosses itself has no holes.
 * Along each line, the covered part of a pixel is exact. Down a pixel, it is the mean of eight lines.
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

/** Returns where the polygon crosses a horizontal line, from left to right, with its direction: 1 down, -1 up. */
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

/** Adds to each pixel of a row the share of it that lies between two places. */
function cover(row: Float64Array, from: number, to: number): void {
  const last = Math.min(row.length - 1, Math.ceil(to) - 1);
  for (let x = Math.max(0, Math.floor(from)); x <= last; x++) {
    row[x] = (row[x] as number) + Math.min(to, x + 1) - Math.max(from, x);
  }
}
