import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { movedEdit, paintedEdit } from "../src/core/edits";
import type { StrokeMessage } from "../src/protocol/messages";
import type { Edit } from "../src/protocol/state";
import { dab, frame, fresh, host, rest, session, settled, strokes, TREE, tick } from "./stand";
import { edit, flat, ID, SIZE, state } from "./support";

beforeEach(fresh);

test("a stroke is one message a tick, with all that was painted in it, and a last one at its end", () => {
  session.begin(TREE, dab(3, 3), 1);
  session.paint(dab(5, 3), 2);
  session.paint(dab(7, 3), 3);
  assert.equal(strokes().length, 0);
  tick();
  session.paint(dab(9, 3), 4);
  tick();
  tick();
  session.end(5);
  assert.deepEqual(
    strokes().map(({ sequence, stroke, last, rect }) => [sequence, stroke, last, rect[2] > 0]),
    [
      [1, 1, false, true],
      [2, 1, false, true],
      [3, 1, true, false],
    ],
  );
  const ids = new Set(strokes().map((message) => message.edit));
  assert.deepEqual([...ids], [session.edits[0]?.id]);
});

test("during a stroke a frame accepts what it covers, and the next message says that it was drawn", async () => {
  session.begin(TREE, dab(3, 3), 1);
  tick();
  session.paint(dab(9, 3), 2);
  assert.equal(session.outbox.waiting, 1);
  frame(1, 1, 1, "picture");
  assert.equal(session.outbox.waiting, 0);
  await settled();
  session.drawn();
  tick();
  assert.deepEqual(
    strokes().map(({ sequence, drawn }) => [sequence, drawn]),
    [
      [1, undefined],
      [2, 1],
    ],
  );
  assert.ok(!host.sent.some(({ message }) => message.type === "ack"));
  // With nothing painted since, it is said by itself.
  frame(2, 2, 2, "picture");
  await settled();
  session.drawn();
  tick();
  assert.deepEqual(host.sent.at(-1)?.message, { type: "ack", page: ID, frame: 2 });
});

test("put together, the messages give the mask", () => {
  const copy = new Uint8Array(SIZE * SIZE);
  const id = session.begin(TREE, dab(3, 3), 1) as string;
  for (let step = 0; step < 12; step++) {
    session.paint(dab(3 + step, 3 + ((step * 5) % 9)), step);
    if (step % 3 === 0) tick();
  }
  session.end(20);
  for (const { message, buffer } of host.sent) {
    if (message.type !== "stroke" || !buffer) continue;
    const [x, y, width, height] = message.rect;
    for (let row = 0; row < height; row++) {
      copy.set(buffer.subarray(row * width, (row + 1) * width), (y + row) * SIZE + x);
    }
  }
  assert.deepEqual(copy, session.masks.get(id)?.values);
});

test("a stroke that paints nothing sends nothing and makes no edit", () => {
  session.begin(TREE, dab(-40, -40), 1);
  session.end(2);
  assert.equal(host.sent.length, 0);
  assert.equal(session.edits.length, 0);
});

test("when the kernel is behind, painting waits and loses nothing", () => {
  session.begin(TREE, dab(3, 3, 1), 1);
  for (let step = 0; step < 60; step++) {
    session.paint(dab(3 + (step % 11), 3 + step / 6, 1), step);
    tick();
  }
  const held = strokes().length;
  assert.ok(held < 20, `${held} messages were sent to a kernel that does not answer`);
  session.end(99);
  assert.equal(strokes().at(-1)?.last, true);
  assert.equal(strokes().length, held + 1);
});

test("a command comes after what was painted before it", () => {
  session.begin(TREE, dab(8, 8), 1);
  session.command("blend", {});
  assert.deepEqual(
    host.sent.map(({ message }) => message.type),
    ["stroke", "command"],
  );
  assert.equal(strokes()[0]?.last, true);
  assert.equal(session.job?.fraction, 0);
});

test("what changes no pixel is covered at once, and not sent", () => {
  session.begin(TREE, dab(8, 8), 1000);
  tick();
  let told = 0;
  const silence = session.listen((topic) => {
    told += topic === "picture" ? 1 : 0;
  });
  session.paint(dab(8, 8), 1010);
  tick();
  session.paint(dab(8, 8), 1020);
  tick();
  silence();
  assert.equal(strokes().length, 1);
  assert.deepEqual([session.outbox.stampAt(1), told], [1020, 2]);
  session.paint(dab(9, 8), 1030);
  tick();
  assert.deepEqual([session.outbox.stampAt(1), session.outbox.stampAt(2)], [1020, 1030]);
});

test("a brush goes on with the selected edit, else with the last, if verb and concept agree", () => {
  const edits = [edit("a"), edit("b", { concept: "dome" }), edit("c", { verb: "remove" })];
  assert.equal(paintedEdit(edits, null, "remove", "tree"), "c");
  assert.equal(paintedEdit(edits, null, "add", "tree"), null);
  assert.equal(paintedEdit(edits, "a", "add", "tree"), "a");
  assert.equal(paintedEdit(edits, "a", "remove", "tree"), "c");
  assert.equal(paintedEdit(edits, "gone", "add", "dome"), null);
  assert.equal(paintedEdit([], null, "add", "tree"), null);
});

test("an edit is put at its new place at once, and the kernel is told", async () => {
  await rest(state({ edits: [edit("a"), edit("b"), edit("c")] }), { a: flat(1), b: flat(2), c: flat(3) });
  session.command("move", { edit: "c", index: 0 });
  const ids = (edits: Edit[]) => edits.map(({ id }) => id).join("");
  assert.equal(ids(session.edits), "cab");
  assert.deepEqual(host.sent.at(-1)?.message.type, "command");
  assert.equal(ids(movedEdit(session.edits, "c", 2)), "abc");
  assert.equal(ids(movedEdit(session.edits, "gone", 1)), "cab");
});

/** What the page shows of its edits: their ids, strengths and sums of masks. */
const shown = () =>
  session.edits.map(({ id, strength }) => [
    id,
    strength,
    session.masks.get(id)?.values.reduce((sum, value) => sum + value, 0),
  ]);

test("undo and redo show at once where they lead, and what is painted next goes on from there", async () => {
  const first = session.begin(TREE, dab(3, 3), 1) as string;
  session.paint(dab(5, 3), 2);
  session.end(3);
  const one = shown();
  session.begin({ ...TREE, edit: first }, dab(10, 10), 4);
  session.end(5);
  const two = shown();
  session.command("retune", { edit: first, strength: 2 });
  session.command("retune", { edit: first, strength: 2 }); // changes nothing: no step
  const three = shown();
  session.command("delete", { edit: first });
  for (const expected of [three, two, one, []]) {
    session.command("undo", {});
    assert.deepEqual(shown(), expected);
  }
  session.command("undo", {}); // beyond what is known
  assert.deepEqual(shown(), []);
  for (const expected of [one, two]) {
    session.command("redo", {});
    assert.deepEqual(shown(), expected);
  }
  session.command("undo", {});
  host.sent = [];
  session.begin({ ...TREE, edit: first }, dab(8, 8, 1), 6);
  session.paint(dab(11, 11, 1), 7);
  session.end(8);
  // Nothing of the stroke at 10, 10 that was taken back, though this rectangle holds its place.
  const { rect, sequence } = strokes()[0] as StrokeMessage;
  const values = session.masks.get(first)?.values as Uint8Array;
  assert.deepEqual(rect.slice(0, 2), [7, 7]);
  assert.equal(values[12 * SIZE + 9], 0);
  assert.ok(host.sent.every(({ buffer }) => buffer?.length));
  session.command("redo", {}); // a new stroke has ended that way
  assert.equal(session.masks.get(first)?.values, values);
  assert.equal(session.outbox.sent, sequence + 1);
});

test("once another page has edited, undo waits for the kernel's state", async () => {
  session.begin(TREE, dab(3, 3), 1);
  session.end(2);
  const own = shown();
  const masks = { [session.edits[0]?.id as string]: flat(7), other: flat(9) };
  await rest(state({ revision: 3, covers: { [ID]: 1 }, edits: [...session.edits, edit("other")] }), masks);
  session.command("undo", {});
  assert.equal(session.edits.length, 2);
  assert.notDeepEqual(shown().slice(0, 1), own);
});

test("a state that is what the page has shows nothing anew, and leaves the way back", async () => {
  await rest(state({ edits: [edit("a")] }), { a: flat(5) });
  const mask = session.masks.get("a");
  session.command("retune", { edit: "a", strength: 3 });
  await rest(state({ revision: 2, covers: { [ID]: 1 }, edits: [edit("a", { strength: 3 })] }), {
    a: flat(5),
  });
  assert.equal(session.masks.get("a"), mask);
  session.command("undo", {});
  assert.equal(session.edits[0]?.strength, 1);
});

test("a shape is one message: absolute values, last at once, as much as it changed", () => {
  const patch = {
    rect: [2, 3, 4, 1] as [number, number, number, number],
    values: new Uint8Array(4).fill(255),
  };
  const id = session.fill(TREE, patch, 5) as string;
  session.fill({ ...TREE, edit: id, erase: true }, { rect: [5, 3, 1, 1], values: Uint8Array.of(255) }, 6);
  session.replace({ ...TREE, edit: id }, new Uint8Array(SIZE * SIZE).fill(9), 7);
  assert.deepEqual(
    strokes().map(({ stroke, last, rect, edit: name }) => [stroke, last, rect, name === id]),
    [
      [1, true, [2, 3, 4, 1], true],
      [2, true, [5, 3, 1, 1], true],
      [3, true, [0, 0, SIZE, SIZE], true],
    ],
  );
  assert.ok(session.masks.get(id)?.values.every((value) => value === 9));
});
