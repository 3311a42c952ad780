import assert from "node:assert/strict";
import { test } from "node:test";
import { squareMask } from "../src/raster/framing";

/** 5 x 3 pixels; the middle square is its columns 1 to 3. */
const wide = {
  width: 5,
  height: 3,
  values: Uint8Array.of(9, 10, 20, 30, 9, 9, 40, 50, 60, 9, 9, 70, 80, 90, 9),
};

test("a mask is cropped like the photo, from its middle", () => {
  assert.deepEqual([...squareMask(wide, 3, "crop")], [10, 20, 30, 40, 50, 60, 70, 80, 90]);
  assert.deepEqual([...squareMask(wide, 1, "crop")], [50]);
});

test("around a padded mask nothing is painted", () => {
  assert.deepEqual(
    [...squareMask(wide, 5, "pad")],
    [0, 0, 0, 0, 0, 9, 10, 20, 30, 9, 9, 40, 50, 60, 9, 9, 70, 80, 90, 9, 0, 0, 0, 0, 0],
  );
});

test("what falls into one pixel is averaged, and a small mask is enlarged without blur", () => {
  const values = Uint8Array.of(0, 100, 200, 255, 100, 0, 55, 10);
  assert.deepEqual([...squareMask({ width: 4, height: 2, values }, 1, "crop")], [89]);
  assert.deepEqual([...squareMask({ width: 4, height: 2, values }, 2, "pad")], [50, 228, 50, 33]);
  const two = { width: 2, height: 2, values: Uint8Array.of(1, 2, 3, 4) };
  assert.deepEqual([...squareMask(two, 4, "crop")], [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
});
