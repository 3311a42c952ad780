/** The marks over the picture: the brush's ring, the cursor, the grid and its cells, shapes and segments. */

import type { Rect } from "../../protocol/messages";
import type { Point } from "../../raster/geometry";
import { outlinePath } from "./pixels";

/** The marks that follow the hand, in picture pixels. */
export interface Marks {
  /** The brush's outline. */
  ring: { x: number; y: number; diameter: number } | null;
  /** The place of the keyboard's cursor. */
  cross: Point | null;
  /** The layer's cells that would change. */
  cells: Rect[];
  /** The layer's whole grid: cells across and down. */
  grid: readonly [number, number] | null;
  /** An unfinished rectangle or lasso. */
  shape: Point[];
  /** The outline of the segment under the cursor: x0, y0, x1, y1, ... */
  segment: number[];
}

/**
 * Draws the marks on a cleared canvas. `transform` maps picture pixels to the canvas, and `pixel` is the size of a CSS
 * pixel there. The ring of the eraser is dashed.
 */
export function drawMarks(
  context: CanvasRenderingContext2D,
  { ring, cross, cells, grid, shape, segment }: Marks,
  [width, height]: readonly [number, number],
  transform: DOMMatrix,
  pixel: number,
  erasing: boolean,
): void {
  const place = (x: number, y: number): [number, number] => {
    const { x: left, y: top } = transform.transformPoint({ x, y });
    return [left, top];
  };
  /** Draws light over dark, so that the line is visible on any picture. */
  const stroke = (path: Path2D, wide: number, light = "#fff", dark = "rgb(0 0 0 / 0.6)"): void => {
    context.strokeStyle = dark;
    context.lineWidth = (wide + 2) * pixel;
    context.stroke(path);
    context.strokeStyle = light;
    context.lineWidth = wide * pixel;
    context.stroke(path);
  };
  context.lineJoin = "round";

  if (grid) {
    const lines = new Path2D();
    for (let column = 1; column < grid[0]; column++) {
      const [x, top] = place((column * width) / grid[0], 0);
      lines.moveTo(Math.round(x) + 0.5, top);
      lines.lineTo(Math.round(x) + 0.5, place(0, height)[1]);
    }
    for (let row = 1; row < grid[1]; row++) {
      const [left, y] = place(0, (row * height) / grid[1]);
      lines.moveTo(left, Math.round(y) + 0.5);
      lines.lineTo(place(width, 0)[0], Math.round(y) + 0.5);
    }
    context.strokeStyle = "rgb(0 0 0 / 0.35)";
    context.lineWidth = 2 * pixel;
    context.stroke(lines);
    context.strokeStyle = "rgb(255 255 255 / 0.55)";
    context.lineWidth = pixel;
    context.stroke(lines);
  }
  if (cells.length > 0) {
    const path = new Path2D();
    for (const [x, y, across, down] of cells) {
      const [left, top] = place(x, y);
      const [right, bottom] = place(x + across, y + down);
      path.rect(left, top, right - left, bottom - top);
    }
    context.fillStyle = "rgb(255 255 255 / 0.14)";
    context.fill(path);
    stroke(path, 0.75, "rgb(255 255 255 / 0.75)", "rgb(0 0 0 / 0.25)");
  }
  if (segment.length > 0) {
    const path = new Path2D();
    path.addPath(outlinePath(segment), transform);
    stroke(path, 1.5);
  }
  if (shape.length > 0) {
    const path = new Path2D();
    for (const { x, y } of shape) path.lineTo(...place(x, y));
    path.closePath();
    context.fillStyle = "rgb(255 255 255 / 0.2)";
    context.fill(path);
    stroke(path, 1.5);
  }
  if (ring) {
    const [x, y] = place(ring.x, ring.y);
    const path = new Path2D();
    path.arc(x, y, Math.max(2 * pixel, (ring.diameter / 2) * transform.a), 0, 2 * Math.PI);
    context.setLineDash(erasing ? [4 * pixel, 3 * pixel] : []);
    stroke(path, 1.5);
    context.setLineDash([]);
  }
  if (cross) {
    const [x, y] = place(cross.x, cross.y);
    const arm = 9 * pixel;
    const path = new Path2D();
    path.moveTo(x - arm, y);
    path.lineTo(x + arm, y);
    path.moveTo(x, y - arm);
    path.lineTo(x, y + arm);
    stroke(path, 1.5);
  }
}
