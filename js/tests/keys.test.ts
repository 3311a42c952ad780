import assert from "node:assert/strict";
import { test } from "node:test";
import { keyAction } from "../src/editor/tools/keys";

const press = (
  key: string,
  held: Partial<Record<"shiftKey" | "ctrlKey" | "metaKey" | "altKey", boolean>> = {},
) => keyAction({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...held });

test("undo and redo, plain and with the usual modifiers", () => {
  assert.equal(press("z"), "undo");
  assert.equal(press("Z", { shiftKey: true }), "redo");
  assert.equal(press("z", { ctrlKey: true }), "undo");
  assert.equal(press("z", { metaKey: true }), "undo");
  assert.deepEqual([press("s"), press("S", { shiftKey: true })], ["segment", "segments"]);
  assert.equal(press("Z", { ctrlKey: true, shiftKey: true }), "redo");
  assert.equal(press("y", { ctrlKey: true }), "redo");
});

test("the browser's own keys are left to it", () => {
  for (const key of ["c", "v", "a", "r", "o", "s"]) assert.equal(press(key, { ctrlKey: true }), null);
  assert.equal(press("a", { altKey: true }), null);
});

test("brackets may need AltGr", () => {
  assert.equal(press("[", { altKey: true }), "smaller");
  assert.equal(press("]"), "larger");
});

test("other keys mean nothing, whatever objects inherit", () => {
  for (const key of ["x", "q", "Enter", "constructor", "toString"]) assert.equal(press(key), null);
});
