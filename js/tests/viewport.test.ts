import assert from "node:assert/strict";
import { test } from "node:test";
import {
  dragged,
  largestZoom,
  toPicture,
  type Viewport,
  WHOLE,
  zoomedAbout,
} from "../src/editor/canvas/viewport";

const picture = { width: 64, height: 32 };
const box = { left: 100, top: 50, width: 512, height: 256 };

test("client coordinates become picture pixels, whatever the size and place on the screen", () => {
  const at = (x: number, y: number) => toPicture({ x, y }, box, picture, WHOLE);
  assert.deepEqual(at(100, 50), { x: 0, y: 0 });
  assert.deepEqual(at(612, 306), { x: 64, y: 32 });
  assert.deepEqual(at(104, 54), { x: 0.5, y: 0.5 });
  // Beside the picture too: a stroke may leave it and come back.
  assert.deepEqual(at(92, 50), { x: -1, y: 0 });
});

test("what is zoomed about stays where it is on the screen, and the stage stays filled", () => {
  let state = 5;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let port: Viewport = WHOLE;
  for (let step = 0; step < 300; step++) {
    const client = { x: box.left + box.width * next(), y: box.top + box.height * next() };
    const place = toPicture(client, box, picture, port);
    const zoomed = zoomedAbout(port, 0.4 + 1.5 * next(), place, picture);
    const after = toPicture(client, box, picture, zoomed);
    // It may have to move when the picture's border would come into the stage, and only then.
    const atBorder = (value: number, most: number): boolean => value < 1e-9 || value > most - 1e-9;
    const { zoom, x, y } = zoomed;
    if (!atBorder(x, 64 - 64 / zoom)) assert.ok(Math.abs(after.x - place.x) < 1e-9, `step ${step}`);
    if (!atBorder(y, 32 - 32 / zoom)) assert.ok(Math.abs(after.y - place.y) < 1e-9, `step ${step}`);
    assert.ok(zoom >= 1 && zoom <= largestZoom(picture));
    assert.ok(x >= 0 && y >= 0 && x + 64 / zoom <= 64 + 1e-9 && y + 32 / zoom <= 32 + 1e-9);
    port = zoomed;
  }
});

test("the picture follows the hand, and what it cannot follow is left over for the page", () => {
  const port = { zoom: 2, x: 10, y: 4 };
  const { port: moved, left } = dragged(port, { x: -32, y: 1000 }, box, picture);
  assert.deepEqual(moved, { zoom: 2, x: 12, y: 0 });
  assert.deepEqual(left, { x: 0, y: 1000 - 64 });
  assert.deepEqual(dragged(WHOLE, { x: 7, y: -9 }, box, picture), { port: WHOLE, left: { x: 7, y: -9 } });
});
