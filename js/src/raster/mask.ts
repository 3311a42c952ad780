/** The mask of one edit in picture pixels, 0 to 255. The only rasterizer of the project. */

import type { Rect } from "../protocol/messages";
import { coverage, type Dab, reach, union } from "./geometry";

export interface Patch {
  rect: Rect;
  /** The width x height values, row by row. */
  values: Uint8Array;
}

export class Mask {
  readonly values: Uint8Array;
  /** Grows with every change, so that views know whether their drawing is up to date. */
  version = 0;
  private dirty: Rect | null = null;

  constructor(
    readonly width: number,
    readonly height: number,
    values?: Uint8Array,
  ) {
    this.values = values ?? new Uint8Array(width * height);
  }

  /** Sweeps the round, soft-edged brush between two dabs. */
  sweep(from: Dab, to: Dab, erase: boolean): void {
    const rect = reach(from, to, this.width, this.height);
    if (!rect) return;
    this.merge(rect, erase, (x, y) => Math.round(255 * coverage({ x: x + 0.5, y: y + 0.5 }, from, to)));
  }

  /** Paints or erases the pixels of a patch. */
  fill({ rect, values }: Patch, erase: boolean): void {
    const [left, top, width] = rect;
    this.merge(rect, erase, (x, y) => values[(y - top) * width + x - left] as number);
  }

  /** Replaces all values. */
  replace(values: Uint8Array): void {
    this.change([0, 0, this.width, this.height], (_, x, y) => values[y * this.width + x] as number);
  }

  /** Painting keeps the larger value, and erasing the smaller, so that repeating either changes nothing. */
  private merge(rect: Rect, erase: boolean, painted: (x: number, y: number) => number): void {
    this.change(rect, (before, x, y) =>
      erase ? Math.min(before, 255 - painted(x, y)) : Math.max(before, painted(x, y)),
    );
  }

  /** Gives the pixels of a rectangle new values, and notes the changes. */
  private change(
    [left, top, width, height]: Rect,
    after: (before: number, x: number, y: number) => number,
  ): void {
    let [x0, y0, x1, y1] = [this.width, this.height, -1, -1];
    for (let y = top; y < top + height; y++) {
      for (let x = left; x < left + width; x++) {
        const at = y * this.width + x;
        const before = this.values[at] as number;
        const value = after(before, x, y);
        if (value === before) continue;
        this.values[at] = value;
        x0 = Math.min(x0, x);
        y0 = Math.min(y0, y);
        x1 = Math.max(x1, x);
        y1 = Math.max(y1, y);
      }
    }
    if (x1 < 0) return;
    this.dirty = union(this.dirty, [x0, y0, x1 - x0 + 1, y1 - y0 + 1]);
    this.version++;
  }

  /** Whether there is a change that has not been taken yet. */
  get changed(): boolean {
    return this.dirty !== null;
  }

  /** Takes the changes since the last call, with absolute values; null if there are none. */
  takeChanges(): Patch | null {
    const rect = this.dirty;
    if (!rect) return null;
    this.dirty = null;
    const [left, top, width, height] = rect;
    const values = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (top + row) * this.width + left;
      values.set(this.values.subarray(start, start + width), row * width);
    }
    return { rect, values };
  }
}
