/** Pure geometry of painting: coordinates, rectangles, brush sizes. No DOM. */

import type { Rect } from "../protocol/messages";

export interface Point {
  x: number;
  y: number;
}

/** A point of a stroke in picture pixels, with the brush's radius there. */
export interface Dab extends Point {
  radius: number;
}

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Returns the smallest rectangle around both; null stands for nothing. */
export function union(a: Rect | null, b: Rect | null): Rect | null {
  if (!a) return b;
  if (!b) return a;
  const left = Math.min(a[0], b[0]);
  const top = Math.min(a[1], b[1]);
  const right = Math.max(a[0] + a[2], b[0] + b[2]);
  const bottom = Math.max(a[1] + a[3], b[1] + b[3]);
  return [left, top, right - left, bottom - top];
}

/** Returns the pixels of the picture that the brush can touch between two dabs; null if there are none. */
export function reach(from: Dab, to: Dab, width: number, height: number): Rect | null {
  // The soft edge reaches half a pixel beyond the radius.
  const a = from.radius + 0.5;
  const b = to.radius + 0.5;
  const left = Math.max(0, Math.floor(Math.min(from.x - a, to.x - b)));
  const top = Math.max(0, Math.floor(Math.min(from.y - a, to.y - b)));
  const right = Math.min(width, Math.ceil(Math.max(from.x + a, to.x + b)));
  const bottom = Math.min(height, Math.ceil(Math.max(from.y + a, to.y + b)));
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

/**
 * Returns how much of the pixel around `point` the brush covers between two dabs, 0 to 1. The brush sweeps the whole
 * way (a capsule, wider at the end with more pressure) instead of dotting it, so that fast strokes have no beads.
 */
export function coverage(point: Point, from: Dab, to: Dab): number {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : clamp(((point.x - from.x) * dx + (point.y - from.y) * dy) / length, 0, 1);
  const radius = from.radius + along * (to.radius - from.radius);
  const distance = Math.hypot(point.x - from.x - along * dx, point.y - from.y - along * dy);
  return clamp(radius + 0.5 - distance, 0, 1);
}

/** The largest brush: a quarter of the picture. */
export function largestBrush(width: number, height: number): number {
  return Math.max(1, Math.floor(Math.min(width, height) / 4));
}

/** Returns the next brush size up (+1) or down (-1). Small brushes change by a pixel, and large ones by a fifth. */
export function stepBrush(size: number, direction: 1 | -1, largest: number): number {
  return clamp(size + direction * Math.max(1, Math.round(size / 5)), 1, largest);
}

/** Returns a brush's radius under a pen. Half pressure gives the chosen size. Mice and fingers report no pressure. */
export function brushRadius(size: number, pointer: { pointerType: string; pressure: number }): number {
  const pressed = pointer.pointerType === "pen" && pointer.pressure > 0;
  return (size / 2) * (pressed ? clamp(2 * pointer.pressure, 0.2, 1.6) : 1);
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
