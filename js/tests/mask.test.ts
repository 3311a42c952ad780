import assert from "node:assert/strict";
import { test } from "node:test";
import { contour } from "../src/raster/contour";
import type { Dab } from "../src/raster/geometry";
import { Mask } from "../src/raster/mask";

/**
 * An independent reference: the brush is put down at very many points of its way, and each pixel keeps its largest
 * coverage by any of them, one minus its distance beyond the radius less half a pixel.
 */
function reference(width: number, height: number, from: Dab, to: Dab): Float64Array {
  const values = new Float64Array(width * height);
  const steps = 4000;
  for (let step = 0; step <= steps; step++) {
    const t = step / steps;
    const [cx, cy, r] = [from.x * (1 - t) + to.x * t, from.y * (1 - t) + to.y * t, from.radius];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const distance = Math.sqrt((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2);
        const value = distance <= r - 0.5 ? 1 : distance >= r + 0.5 ? 0 : r + 0.5 - distance;
        values[y * width + x] = Math.max(values[y * width + x] as number, 255 * value);
      }
    }
  }
  return values;
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const dot = (x: number, y: number, radius: number): Dab => ({ x, y, radius });

test("a swept brush is what dabbing it everywhere on its way gives", () => {
  const next = random(7);
  for (let trial = 0; trial < 12; trial++) {
    const [width, height] = [18, 13];
    const radius = 0.5 + 4 * next();
    const from = dot(-3 + 24 * next(), -3 + 19 * next(), radius);
    const to = dot(-3 + 24 * next(), -3 + 19 * next(), radius);
    const mask = new Mask(width, height);
    mask.sweep(from, to, false);
    reference(width, height, from, to).forEach((expected, at) => {
      assert.ok(
        Math.abs(expected - (mask.values[at] as number)) <= 1,
        `trial ${trial}, pixel ${at}: ${mask.values[at]} instead of ${expected}`,
      );
    });
  }
});

test("a brush of one pixel on a pixel's center fills that pixel and no other", () => {
  const mask = new Mask(5, 5);
  mask.sweep(dot(2.5, 1.5, 0.5), dot(2.5, 1.5, 0.5), false);
  const expected = new Uint8Array(25);
  expected[7] = 255;
  assert.deepEqual(mask.values, expected);
});

test("the area of a large dab is that of its circle", () => {
  const mask = new Mask(64, 64);
  mask.sweep(dot(31.7, 32.2, 12), dot(31.7, 32.2, 12), false);
  const area = mask.values.reduce((sum, value) => sum + value / 255, 0);
  assert.ok(Math.abs(area - Math.PI * 144) < 2, String(area));
});

test("painting never lowers a value, erasing never raises one, and erasing undoes painting", () => {
  const next = random(11);
  const mask = new Mask(24, 24);
  for (let trial = 0; trial < 60; trial++) {
    const before = mask.values.slice();
    const erase = trial % 3 === 2;
    const dab = (): Dab => dot(24 * next(), 24 * next(), 0.5 + 5 * next());
    mask.sweep(dab(), dab(), erase);
    mask.values.forEach((value, at) => {
      if (erase) assert.ok(value <= (before[at] as number));
      else assert.ok(value >= (before[at] as number));
    });
  }
  mask.sweep(dot(12, 12, 40), dot(12, 12, 40), true);
  assert.ok(mask.values.every((value) => value === 0));
});

test("patches put together give the mask, and none is larger than what changed", () => {
  const next = random(3);
  const mask = new Mask(32, 20);
  const copy = new Uint8Array(32 * 20);
  let last = dot(4, 4, 3);
  for (let step = 0; step < 50; step++) {
    const before = mask.values.slice();
    const to = dot(40 * next() - 4, 28 * next() - 4, 0.5 + 3 * next());
    mask.sweep(last, to, step % 4 === 3);
    last = to;
    const patch = mask.takeChanges();
    const changed = [...mask.values.keys()].filter((at) => mask.values[at] !== before[at]);
    assert.equal(patch === null, changed.length === 0);
    assert.equal(mask.changed, false);
    if (!patch) continue;
    const [left, top, width, height] = patch.rect;
    assert.equal(patch.values.length, width * height);
    const columns = changed.map((at) => at % 32);
    const rows = changed.map((at) => Math.floor(at / 32));
    assert.deepEqual(
      [left, top, left + width - 1, top + height - 1],
      [Math.min(...columns), Math.min(...rows), Math.max(...columns), Math.max(...rows)],
    );
    for (let y = 0; y < height; y++) {
      copy.set(patch.values.subarray(y * width, (y + 1) * width), (top + y) * 32 + left);
    }
  }
  assert.deepEqual(copy, mask.values);
});

test("a taken patch does not change when painting goes on", () => {
  const mask = new Mask(8, 8);
  mask.sweep(dot(2.5, 2.5, 0.5), dot(2.5, 2.5, 0.5), false);
  const patch = mask.takeChanges();
  mask.sweep(dot(4, 4, 8), dot(4, 4, 8), true);
  assert.deepEqual(patch?.values, new Uint8Array([255]));
});

test("the outline is closed, and lies at half coverage", () => {
  const mask = new Mask(24, 24);
  mask.sweep(dot(3, 5, 3), dot(17, 15, 3), false);
  mask.sweep(dot(22, 2, 4), dot(22, 2, 4), false);
  const segments = contour(mask.values, 24, 24);
  assert.ok(segments.length > 0);
  const ends = new Map<string, number>();
  for (let at = 0; at < segments.length; at += 2) {
    const key = `${segments[at]?.toFixed(6)} ${segments[at + 1]?.toFixed(6)}`;
    ends.set(key, (ends.get(key) ?? 0) + 1);
  }
  // Each end meets another one: no gaps.
  for (const [key, count] of ends) assert.equal(count % 2, 0, `a loose end at ${key}`);

  const single = new Mask(48, 48);
  single.sweep(dot(24, 24, 10), dot(24, 24, 10), false);
  const circle = contour(single.values, 48, 48);
  for (let at = 0; at < circle.length; at += 2) {
    const distance = Math.hypot((circle[at] as number) - 24, (circle[at + 1] as number) - 24);
    assert.ok(Math.abs(distance - 10) < 0.1, `the outline is ${distance} from the center`);
  }
});
