import assert from "node:assert/strict";
import { test } from "node:test";
import {
  brushRadius,
  coverage,
  type Dab,
  largestBrush,
  reach,
  stepBrush,
  union,
} from "../src/raster/geometry";

test("the union of rectangles is the smallest around both", () => {
  assert.deepEqual(union([1, 2, 3, 4], [10, 0, 2, 3]), [1, 0, 11, 6]);
  assert.deepEqual(union(null, [1, 2, 3, 4]), [1, 2, 3, 4]);
  assert.deepEqual(union([1, 2, 3, 4], null), [1, 2, 3, 4]);
  assert.equal(union(null, null), null);
});

test("reach holds every pixel that is covered, and stays inside the picture", () => {
  const width = 20;
  const height = 14;
  // Numbers that fill the range evenly, the same at every run.
  let count = 0;
  const next = (): number => (count++ * 0.6180339887) % 1;
  for (let trial = 0; trial < 200; trial++) {
    const dab = (): Dab => ({ x: -5 + 30 * next(), y: -5 + 24 * next(), radius: 0.5 + 4 * next() });
    const [from, to] = [dab(), dab()];
    const rect = reach(from, to, width, height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const covered = coverage({ x: x + 0.5, y: y + 0.5 }, from, to) > 0;
        const inside =
          rect !== null && x >= rect[0] && x < rect[0] + rect[2] && y >= rect[1] && y < rect[1] + rect[3];
        assert.ok(inside || !covered, `pixel ${x}, ${y} is covered, but not reached`);
      }
    }
    if (rect)
      assert.ok(rect[0] >= 0 && rect[1] >= 0 && rect[0] + rect[2] <= width && rect[1] + rect[3] <= height);
  }
  assert.equal(reach({ x: -9, y: 3, radius: 2 }, { x: -9, y: 9, radius: 2 }, width, height), null);
});

test("brush sizes: from one pixel to a quarter of the picture", () => {
  assert.equal(largestBrush(64, 64), 16);
  assert.equal(largestBrush(64, 32), 8);
  assert.equal(largestBrush(2, 2), 1);
  assert.equal(stepBrush(1, -1, 16), 1);
  assert.equal(stepBrush(4, 1, 16), 5);
  assert.equal(stepBrush(40, 1, 64), 48);
  assert.equal(stepBrush(60, 1, 64), 64);
});

test("a pen's pressure scales the brush; a mouse's does not", () => {
  assert.equal(brushRadius(8, { pointerType: "mouse", pressure: 0.5 }), 4);
  assert.equal(brushRadius(8, { pointerType: "touch", pressure: 1 }), 4);
  assert.equal(brushRadius(8, { pointerType: "pen", pressure: 0.5 }), 4);
  assert.ok(brushRadius(8, { pointerType: "pen", pressure: 0.25 }) < 4);
  assert.ok(brushRadius(8, { pointerType: "pen", pressure: 0.75 }) > 4);
  // A pen that does not measure pressure reports none.
  assert.equal(brushRadius(8, { pointerType: "pen", pressure: 0 }), 4);
});
