import assert from "node:assert/strict";
import { test } from "node:test";
import type { Rect } from "../src/protocol/messages";
import { footprint } from "../src/raster/footprint";
import type { Point } from "../src/raster/geometry";
import { Mask } from "../src/raster/mask";
import { connectedRegion, largestRegions } from "../src/raster/regions";
import { filledPatch, polygon, rectangleBetween } from "../src/raster/shapes";

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test("a rectangle goes from the pixel under one corner to the one under the other, in any direction", () => {
  assert.deepEqual(rectangleBetween({ x: 2.1, y: 3.9 }, { x: 5.0, y: 3.1 }, 16, 16), [2, 3, 4, 1]);
  assert.deepEqual(rectangleBetween({ x: 5.0, y: 3.1 }, { x: 2.1, y: 3.9 }, 16, 16), [2, 3, 4, 1]);
  assert.deepEqual(rectangleBetween({ x: -7, y: -7 }, { x: 99, y: 1.5 }, 16, 16), [0, 0, 16, 2]);
  assert.equal(rectangleBetween({ x: -7, y: 3 }, { x: -1, y: 5 }, 16, 16), null);
});

/** An independent reference: 16 x 16 points in each pixel, each by the angle that the polygon winds around it. */
function reference(points: Point[], width: number, height: number): Float64Array {
  const inside = (x: number, y: number): boolean => {
    let angle = 0;
    points.forEach((a, index) => {
      const b = points[(index + 1) % points.length] as Point;
      const turn = Math.atan2(b.y - y, b.x - x) - Math.atan2(a.y - y, a.x - x);
      angle += Math.atan2(Math.sin(turn), Math.cos(turn));
    });
    return Math.abs(angle) > 1;
  };
  const values = new Float64Array(width * height);
  for (let at = 0; at < values.length; at++) {
    let count = 0;
    for (let i = 0; i < 256; i++) {
      if (inside((at % width) + ((i % 16) + 0.5) / 16, Math.floor(at / width) + ((i >> 4) + 0.5) / 16))
        count++;
    }
    values[at] = (255 * count) / 256;
  }
  return values;
}

test("a lasso covers its inside by the non-zero rule, crossing itself or not, over the border or not", () => {
  const next = random(17);
  for (let trial = 0; trial < 8; trial++) {
    const points = Array.from({ length: 3 + trial }, () => ({ x: -3 + 18 * next(), y: -3 + 15 * next() }));
    const mask = new Mask(12, 9);
    const patch = polygon(points, 12, 9);
    if (patch) mask.fill(patch, false);
    const expected = reference(points, 12, 9);
    expected.forEach((value, at) => {
      const found = mask.values[at] as number;
      assert.ok(Math.abs(value - found) <= 24, `trial ${trial}, pixel ${at}: ${found} instead of ${value}`);
    });
    const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(sum(mask.values) - sum(expected)) < 255 * 0.5);
  }
  assert.equal(polygon([{ x: 1, y: 1 }], 12, 9), null);
});

test("a lasso around whole pixels fills exactly these", () => {
  const corners = [
    { x: 2, y: 1 },
    { x: 6, y: 1 },
    { x: 6, y: 4 },
    { x: 2, y: 4 },
  ];
  assert.deepEqual(polygon(corners, 12, 9), filledPatch([2, 1, 4, 3]));
});

test("a segment is what hangs together by its sides, and nothing else of its class", () => {
  const rows = ["..aa..a", ".aaa...", "a..a.bb", "....abb"];
  const values = Uint8Array.from(rows.join(""), (letter) => ".ab".indexOf(letter));
  const labels = { width: 7, height: 4, values };
  const found = connectedRegion(labels, { x: 3.5, y: 1.2 });
  assert.deepEqual([found?.label, found?.area, found?.rect], [1, 6, [1, 0, 3, 3]]);
  assert.deepEqual([...(found?.values ?? [])].map((value) => (value ? "x" : ".")).join(""), ".xxxxx..x");
  assert.equal(connectedRegion(labels, { x: 6, y: 3 })?.area, 4);
  assert.equal(connectedRegion(labels, { x: 4.5, y: 3.5 })?.area, 1);
  assert.equal(connectedRegion(labels, { x: -0.1, y: 1 }), null);
  assert.equal(connectedRegion(labels, { x: 7, y: 1 }), null);
});

test("the footprint is the cells of which a pixel is touched", () => {
  const next = random(23);
  for (const [width, height, cells] of [
    [64, 64, [8, 8]],
    [10, 7, [4, 3]],
  ] as [number, number, [number, number]][]) {
    for (let trial = 0; trial < 20; trial++) {
      const x = Math.floor(next() * width);
      const y = Math.floor(next() * height);
      const touched: Rect = [
        x,
        y,
        1 + Math.floor(next() * (width - x)),
        1 + Math.floor(next() * (height - y)),
      ];
      const covers = (px: number, py: number): boolean => (px + 2 * py) % 5 === 0;
      // Pooling as PyTorch's documentation of adaptive pooling has it.
      const expected: Rect[] = [];
      for (let row = 0; row < cells[1]; row++) {
        for (let column = 0; column < cells[0]; column++) {
          const left = Math.floor((column * width) / cells[0]);
          const right = Math.ceil(((column + 1) * width) / cells[0]);
          const top = Math.floor((row * height) / cells[1]);
          const bottom = Math.ceil(((row + 1) * height) / cells[1]);
          let most = 0;
          for (let py = top; py < bottom; py++) {
            for (let px = left; px < right; px++) {
              const inside =
                px >= x && py >= y && px < x + (touched[2] as number) && py < y + (touched[3] as number);
              if (inside && covers(px, py)) most = 1;
            }
          }
          if (most) expected.push([left, top, right - left, bottom - top]);
        }
      }
      assert.deepEqual(footprint(touched, covers, cells, width, height), expected);
    }
  }
});

test("shapes paint and erase like the brush, and a mask can be replaced whole", () => {
  const mask = new Mask(8, 8);
  mask.fill(filledPatch([1, 1, 5, 5]), false);
  mask.takeChanges();
  mask.fill(filledPatch([3, 3, 9 - 4, 2]), true);
  assert.deepEqual(mask.takeChanges()?.rect, [3, 3, 3, 2]);
  assert.equal(mask.values.reduce((sum, value) => sum + value, 0) / 255, 25 - 6);
  const other = new Uint8Array(64);
  other[9] = 7;
  mask.replace(other);
  assert.deepEqual(mask.values, other);
  assert.deepEqual(mask.takeChanges()?.rect, [1, 1, 5, 5]);
});

test("regions are listed by size, named by where they are, without the small ones and not too many", () => {
  const [width, height] = [30, 30];
  const values = new Uint8Array(width * height);
  const put = (label: number, [x, y, w, h]: Rect): void => {
    for (let row = y; row < y + h; row++) values.fill(label, row * width + x, row * width + x + w);
  };
  put(1, [12, 12, 6, 6]);
  put(2, [24, 24, 6, 4]);
  put(2, [0, 0, 5, 4]); // the same class, elsewhere
  put(3, [29, 0, 1, 1]); // a speck
  const listed = largestRegions({ width, height, values });
  assert.deepEqual(
    listed.map(({ label, part, place }) => [label, Math.round(part * 900), place]),
    [
      [0, 900 - 36 - 24 - 20 - 1, "center"],
      [1, 36, "center"],
      [2, 24, "lower right"],
      [2, 20, "upper left"],
    ],
  );
  // what is taken at its place is the region that is listed
  for (const { label, part, inside } of listed) {
    const found = connectedRegion({ width, height, values }, inside);
    assert.deepEqual([found?.label, found?.area], [label, Math.round(part * 900)]);
  }
  assert.equal(largestRegions({ width, height, values }, 0).length, 5);
  assert.deepEqual(
    largestRegions({ width, height, values }, 0, 2).map(({ label }) => label),
    [0, 1],
  );
});
