import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { movedEdit, paintedEdit } from "../src/core/edits";
import type { HostKernelStatus } from "../src/core/host";
import type { Undelivered } from "../src/core/outbox";
import { EditorSession } from "../src/core/session";
import type { SyncedState } from "../src/core/state-sync";
import type { StrokeMessage } from "../src/protocol/messages";
import type { Edit, SessionState } from "../src/protocol/state";
import { edit, flat, ID, NONE, SIZE, state, TestHost } from "./support";

/** All that is decoded here is decoded at once; by the next turn of the loop its promises have been kept. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
const TREE = { edit: null, verb: "add", concept: "tree", strength: 1, erase: false } as const;
const dab = (x: number, y: number, radius = 2) => ({ x, y, radius });

let host: TestHost;
let session: EditorSession<string>;
let store: Map<string, { journal: string; undelivered: readonly Undelivered[] }>;
let kernel: HostKernelStatus | null;

const tick = () => host.tick();
const strokes = () => host.sent.flatMap(({ message }) => (message.type === "stroke" ? [message] : []));
const rest = async (
  value: SessionState,
  masks: SyncedState["masks"] = {},
  pictures: Partial<SyncedState["pictures"]> = {},
) => {
  await session.sync({ state: value, masks, pictures: { ...NONE, ...pictures }, labels: null });
};
const accept = (sequence: number) =>
  session.receive({ type: "accepted", page: ID, sequence, revision: sequence }, null);
const frame = (number: number, revision: number, covers: number, name: string) =>
  session.receive(
    {
      type: "frame",
      frame: number,
      picture: "preview",
      revision,
      covers: { [ID]: covers },
      width: SIZE,
      height: SIZE,
      format: "image/jpeg",
    },
    new TextEncoder().encode(name),
  );

beforeEach(async () => {
  store = new Map();
  kernel = null;
  host = new TestHost();
  session = new EditorSession<string>(ID, {
    ...host,
    decode: host.decode,
    download: (bytes, name) => host.download(bytes, name),
    kernelStatus: () => kernel,
    undelivered: {
      save: (journal, name, undelivered) => store.set(name, { journal, undelivered: [...undelivered] }),
      remove: (name) => store.delete(name),
      close: () => {},
      find: async (journals) =>
        [...store]
          .filter(([, { journal }]) => journals.includes(journal))
          .map(([name, { undelivered }]) => ({ page: name, undelivered: [...undelivered] })),
    },
  });
  session.receive({ type: "welcome", version: 1, page: ID, sequence: 0, revision: 0 }, null);
  await rest(state());
});

test("a new page takes over what is there", async () => {
  await rest(state({ edits: [edit("e1")] }), { e1: flat(200) });
  assert.deepEqual(
    session.edits.map(({ id }) => id),
    ["e1"],
  );
  assert.equal(session.masks.get("e1")?.values[5], 200);
});

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

test("while somebody paints, a frame accepts what it covers, and the next message says that it was drawn", async () => {
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

test("a state that does not cover the last stroke does not replace it; one that does, does", async () => {
  const id = session.begin(TREE, dab(8, 8), 1) as string;
  session.end(2);
  const painted = session.masks.get(id)?.values.slice();
  await rest(state({ revision: 1, covers: {} }));
  assert.deepEqual(
    session.edits.map((each) => each.id),
    [id],
  );
  assert.deepEqual(session.masks.get(id)?.values, painted);

  await rest(state({ revision: 2, covers: { [ID]: 1 }, edits: [edit(id)] }), { [id]: flat(77) });
  assert.equal(session.masks.get(id)?.values[0], 77);
});

test("no state replaces a mask while it is being painted, not even one that covers what was sent", async () => {
  const id = session.begin(TREE, dab(8, 8), 1) as string;
  tick();
  session.paint(dab(10, 8), 2);
  await rest(state({ revision: 2, covers: { [ID]: 1 }, edits: [edit(id)] }), { [id]: flat(1) });
  assert.equal(session.masks.get(id)?.values[8 * SIZE + 8], 255);
});

test("a stroke that begins while a state is being decoded wins", async () => {
  void session.sync({ state: state({ revision: 5 }), masks: {}, pictures: NONE, labels: null });
  const later = state({ revision: 6, edits: [edit("e1")] });
  const done = session.sync({ state: later, masks: { e1: flat(9) }, pictures: NONE, labels: null });
  const id = session.begin(TREE, dab(8, 8), 1) as string;
  await done;
  assert.deepEqual(
    session.edits.map((each) => each.id),
    [id],
  );
});

test("a state whose masks have not come yet waits for them", async () => {
  await rest(state({ revision: 3, edits: [edit("e1")] }), {});
  assert.equal(session.edits.length, 0);
  await rest(state({ revision: 3, edits: [edit("e1")] }), { e1: flat(9) });
  assert.equal(session.edits.length, 1);
});

test("what was shown ahead of a refused command goes back", async () => {
  await rest(state({ edits: [edit("e1")] }), { e1: flat(9) });
  session.command("retune", { edit: "e1", strength: 3 });
  session.command("delete", { edit: "e1" });
  assert.equal(session.edits.length, 0);
  const refusal = { type: "error", page: ID, what: "No.", mend: "Try again." };
  session.receive({ ...refusal, sequence: 1 }, null);
  session.receive({ ...refusal, sequence: 2 }, null);
  await settled();
  assert.deepEqual(session.edits, [edit("e1")]);
  assert.deepEqual(session.status, { level: "error", text: "No.", hint: "Try again." });
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

test("frames say what they cover, and only the drawn one is acknowledged", async () => {
  session.begin(TREE, dab(8, 8), 1000);
  tick();
  session.paint(dab(9, 8), 1010);
  tick();
  session.paint(dab(10, 8), 1020);
  session.end(1030);
  frame(1, 1, 1, "one");
  frame(2, 2, 2, "two");
  await settled();
  const picture = session.pictures.get("preview");
  assert.deepEqual([picture?.image, picture?.sequence], ["two", 2]);
  assert.equal(session.outbox.stampAt(2), 1010);
  assert.equal(host.sent.filter(({ message }) => message.type === "ack").length, 0);
  session.drawn();
  session.drawn();
  assert.deepEqual(
    host.sent.flatMap(({ message }) => (message.type === "ack" ? [message.frame] : [])),
    [2],
  );
});

test("of two kinds of frames that arrive together, both are shown", async () => {
  frame(1, 1, 0, "one");
  session.receive(
    {
      type: "frame",
      frame: 2,
      picture: "result",
      revision: 1,
      covers: {},
      width: 8,
      height: 8,
      format: "image/png",
    },
    new TextEncoder().encode("blended"),
  );
  frame(3, 1, 0, "three");
  await settled();
  assert.equal(session.pictures.get("preview")?.image, "three");
  assert.equal(session.pictures.get("result")?.image, "blended");
});

test("a late frame does not replace a newer one", async () => {
  frame(5, 5, 0, "five");
  await settled();
  frame(4, 4, 0, "four");
  await settled();
  assert.equal(session.pictures.get("preview")?.image, "five");
});

test("a picture at rest replaces a frame only if it is not older", async () => {
  frame(1, 7, 0, "moving");
  await settled();
  const bytes = new TextEncoder().encode("resting");
  await rest(state({ revision: 6 }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.image, "moving");
  await rest(state({ revision: 7 }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.image, "resting");
  await rest(state({ revision: 8 }), {}, { preview: new Uint8Array(0) });
  assert.equal(session.pictures.has("preview"), false);
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

test("a picture at rest covers what a frame of its revision covered, however late it is decoded", async () => {
  // The kernel has rendered a command's picture before it has booked the command: a state that does not cover the
  // command yet, then a frame that does, and then a state that does, with the very same picture.
  session.command("scene", {});
  accept(1);
  const bytes = new TextEncoder().encode("resting");
  const late = session.sync({
    state: state({ revision: 1 }),
    masks: {},
    pictures: { ...NONE, preview: bytes },
    labels: null,
  });
  frame(1, 1, 1, "moving");
  await late;
  await settled();
  await rest(state({ revision: 1, covers: { [ID]: 1 } }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.image, "resting");
  assert.equal(session.pictures.get("preview")?.sequence, 1);
});

test("scenes of the gallery are kept as they come", async () => {
  const titles = ["Scene 21", "Scene 22"];
  session.receive({ type: "scenes", page: ID, first: 20, total: 200, titles }, new TextEncoder().encode("a"));
  session.receive(
    { type: "scenes", page: "another-page", first: 0, total: 200, titles },
    new TextEncoder().encode("b"),
  );
  session.receive(
    { type: "scenes", page: ID, first: 40, total: 200, titles: ["Scene 41"] },
    new TextEncoder().encode("c"),
  );
  await settled();
  assert.deepEqual([...session.questions.scenes.keys()], [20, 21, 40]);
  assert.deepEqual(session.questions.scenes.get(21), {
    title: "Scene 22",
    sheet: "a",
    column: 1,
    columns: 2,
  });
  assert.equal(session.questions.sceneCount, 200);
});

test("a state with the same picture says what it covers by now", async () => {
  session.command("scene", {});
  accept(1);
  const bytes = new TextEncoder().encode("resting");
  await rest(state({ revision: 1 }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.sequence, 0);
  await rest(state({ revision: 1, covers: { [ID]: 1 } }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.sequence, 1);
});

test("a picture at rest comes back after frames, though it is the one that was there before them", async () => {
  const bytes = new TextEncoder().encode("resting");
  await rest(state({ revision: 1 }), {}, { preview: bytes });
  frame(1, 2, 0, "moving");
  await settled();
  await rest(state({ revision: 3 }), {}, { preview: bytes });
  assert.equal(session.pictures.get("preview")?.image, "resting");
});

test("a frame does not take the place of the same preview at rest, which has no losses", async () => {
  await rest(state({ revision: 1 }), {}, { preview: new TextEncoder().encode("resting") });
  frame(1, 1, 0, "moving");
  await settled();
  assert.equal(session.pictures.get("preview")?.image, "resting");
  frame(2, 2, 0, "next");
  await settled();
  assert.equal(session.pictures.get("preview")?.image, "next");
});

test("a message that is not of the protocol changes nothing", async () => {
  const warn = console.warn;
  console.warn = () => {};
  session.receive({ type: "accepted", page: ID, sequence: "9", revision: 1 }, null);
  session.receive({ type: "constructor" }, null);
  session.receive(null, null);
  console.warn = warn;
  assert.equal(session.outbox.accepted, 0);
  accept(0);
});

test("a file for another page is not downloaded here", () => {
  const file = { type: "file", name: "a.png", format: "image/png" };
  session.receive({ ...file, page: "page-0002" }, new Uint8Array(4));
  session.receive({ ...file, page: ID }, new Uint8Array(4));
  assert.deepEqual(host.downloaded, ["a.png 4"]);
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

test("once somebody else has edited, undo waits for the kernel's state", async () => {
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

const types = () => host.types();

test("a quiet kernel is asked, its silence is told with what the host knows, and its return begins with hello", () => {
  host.sent = [];
  for (let now = 1000; now <= 2000; now += 500) session.beat(now);
  accept(0);
  session.beat(2500);
  assert.deepEqual(types(), []);
  session.beat(5000);
  session.beat(6000);
  assert.deepEqual(types(), ["beat"]);
  assert.equal(session.health, "answers");
  for (const [status, health] of [
    [null, "silent"],
    ["busy", "busy"],
    ["unreachable", "unreachable"],
    ["idle", "silent"],
  ] as const) {
    kernel = status;
    session.beat(10_000);
    assert.equal(session.health, health);
  }
  assert.deepEqual(types(), ["beat"]);
  session.beat(25_000);
  assert.equal(session.health, "gone");
  assert.deepEqual(types(), ["beat"]);
  session.begin(TREE, dab(3, 3), 1);
  session.end(2);
  host.sent = [];
  session.receive({ type: "alive", page: ID, sequence: 1, revision: 0 }, null);
  assert.equal(session.health, "answers");
  assert.deepEqual(types(), ["hello"]);
  kernel = "dead";
  session.beat(25_500);
  assert.equal(session.health, "gone");
  kernel = "idle"; // it was started again, and is another one
  session.beat(26_000);
  session.beat(32_000);
  assert.equal(session.health, "gone");
});

test("a blend goes with its kernel, and comes back with it", () => {
  session.beat(1000);
  session.command("blend", {});
  session.receive({ type: "progress", job: "blend", fraction: 0.3, seconds_left: 40, decibel: 20 }, null);
  kernel = "dead";
  const running = () => session.job?.fraction;
  session.beat(2000);
  assert.equal(running(), undefined);
  kernel = "idle";
  session.receive({ type: "alive", page: ID, sequence: 1, revision: 0 }, null);
  assert.equal(running(), 0.3);
});

test("edits are blended again once the hand rests, and never the same ones twice", async () => {
  // By their sequences: what the kernel has not accepted may be sent again.
  const commands = () => [
    ...new Map(
      host.sent.flatMap(({ message }) =>
        message.type === "command" ? [[message.sequence, message.name] as const] : [],
      ),
    ).values(),
  ];
  let revision = 1;
  const known = async (blended: number | null, job: SessionState["job"] = null) => {
    const { sent: covered } = session.outbox;
    accept(covered);
    const edits = session.edits.map((each) => ({ ...each }));
    const masks = Object.fromEntries(edits.map(({ id }) => [id, flat(0)]));
    await rest(state({ revision, covers: { [ID]: covered }, edits, blended, job }), masks);
  };
  let now = 1000;
  const wait = () => {
    for (let beats = 0; beats < 3; beats++) {
      now += 1000;
      session.beat(now);
      session.receive({ type: "alive", page: ID, sequence: session.outbox.accepted, revision }, null);
    }
  };
  const paint = (x: number) => {
    session.begin(TREE, dab(x, 3), 1);
    session.end(2);
    revision++;
  };
  paint(3);
  await known(1);
  wait();
  assert.deepEqual(commands(), [], "it is off at first");

  session.setReblend(true);
  await known(null);
  wait();
  assert.deepEqual(commands(), [], "what was never blended is not blended again");
  await known(revision);
  wait();
  assert.deepEqual(commands(), [], "somebody else has blended it");
  await known(1);
  now += 1000;
  session.beat(now);
  assert.deepEqual(commands(), [], "there is a moment's rest before");
  wait();
  assert.deepEqual([commands(), session.blendPolicy.automatic], [["blend"], true]);

  // it fails, or is given up: the blend is as old as before, and nobody asks again
  await known(1);
  wait();
  assert.deepEqual(commands(), ["blend"]);

  // a stroke stops a blend that came by itself, which is asked for again at rest
  paint(8);
  await known(1);
  wait();
  assert.equal(commands().length, 2);
  await known(1, { name: "blend", fraction: 0.2 });
  const cancels = () => host.sent.filter(({ message }) => message.type === "cancel").length;
  assert.equal(cancels(), 0);
  paint(12);
  assert.equal(cancels(), 1);
  await known(1, { name: "blend", fraction: 0.3 });
  wait();
  assert.equal(commands().length, 2, "one at a time");
  await known(revision - 1);
  wait();
  assert.equal(commands().length, 3);

  // one that was asked for goes on
  await known(revision);
  session.command("blend", {});
  paint(3);
  assert.equal(cancels(), 1);
});

test("what was saved can be looked at where no kernel will ever answer, and nobody is asked", async () => {
  kernel = "none";
  host.sent = [];
  session.beat(1000);
  await rest(state({ edits: [edit("a")], job: { name: "blend", fraction: 0.5 } }), { a: flat(0) });
  session.beat(20_000);
  assert.equal(session.health, "saved");
  assert.deepEqual([session.edits.length, session.job, session.status], [1, null, null]);
  assert.equal(session.begin(TREE, dab(3, 3), 1), null);
  session.command("delete", { edit: "a" });
  assert.equal(session.edits.length, 1);
  assert.deepEqual(types(), []);
});

test("a kernel that has not got what was sent is told again, and one that has is left alone", () => {
  session.begin(TREE, dab(3, 3), 1);
  session.end(2);
  host.sent = [];
  session.receive({ type: "alive", page: ID, sequence: 1, revision: 1 }, null);
  assert.deepEqual(types(), []);
  session.receive({ type: "alive", page: ID, sequence: 0, revision: 0 }, null);
  assert.deepEqual(types(), ["stroke"], "by its number the kernel finds out");
  accept(1);
  session.receive({ type: "alive", page: ID, sequence: 0, revision: 0 }, null);
  assert.deepEqual(types(), ["hello"], "it knows less than it did");
});

test("what is not delivered is stored until it is; nothing does where no journal is kept", async () => {
  session.begin(TREE, dab(3, 3), 1);
  session.end(2);
  assert.equal(store.size, 0);
  accept(1);
  await rest(state({ covers: { [ID]: 1 }, journal: ["journal-1"] }));
  session.begin(TREE, dab(8, 8), 3);
  tick();
  session.end(4);
  session.command("undo", {});
  const kept = store.get(ID);
  assert.equal(kept?.journal, "journal-1");
  assert.deepEqual(
    kept?.undelivered.map(({ message }) => message.sequence),
    [2, 3, 4],
  );
  accept(4);
  assert.equal(store.get(ID)?.undelivered.length, 0);
});

test("what an earlier page could not deliver is said again in its name, by its numbers", async () => {
  const old = "page-0000";
  const message = (sequence: number) => ({
    message: { type: "command", page: old, sequence, name: "undo", arguments: {} } as const,
    buffer: undefined,
  });
  store.set(old, { journal: "journal-1", undelivered: [message(4), message(5), message(6)] });
  store.set("page-else", { journal: "another", undelivered: [message(1)] });
  host.sent = [];
  await rest(state({ revision: 2, journal: ["journal-2", "journal-1"] }));
  await settled();
  const said = () => host.sent.splice(0).map(({ message: each }) => [each.type, each.page]);
  // It wants no pictures of its own: they come for this session.
  assert.deepEqual(said(), [
    ["hello", old],
    ["hidden", old],
  ]);
  // The kernel had taken in one more than the page knew; it is told the last number, and misses what is before it.
  session.receive({ type: "welcome", version: 1, page: old, sequence: 4, revision: 2 }, null);
  assert.deepEqual(said(), [["command", old]]);
  session.receive({ type: "welcome", version: 1, page: old, sequence: 4, revision: 2 }, null);
  assert.deepEqual(
    host.sent.splice(0).map(({ message: each }) => "sequence" in each && [each.page, each.sequence]),
    [
      [old, 5],
      [old, 6],
    ],
  );
  const answer = { type: "accepted", page: old, revision: 4 };
  session.receive({ ...answer, sequence: 5 }, null);
  assert.ok(store.has(old));
  session.receive({ ...answer, sequence: 6 }, null);
  assert.ok(!store.has(old));
  assert.match(session.status?.text ?? "", /again/);
  await rest(state({ revision: 3, journal: ["journal-2", "journal-1"] }));
  assert.deepEqual(said(), []);
});

test("a picture that is being opened has a progress until its command is accepted or refused", () => {
  const progress = { type: "progress", job: "open", seconds_left: 40, decibel: null };
  const opening = () => session.opening;
  session.receive({ ...progress, fraction: 0.3 }, null);
  assert.equal(opening(), null);
  session.command("scene", {});
  assert.deepEqual(opening(), { sequence: 1, fraction: 0, secondsLeft: null });
  session.receive({ ...progress, fraction: 0.6 }, null);
  assert.deepEqual(opening(), { sequence: 1, fraction: 0.6, secondsLeft: 40 });
  assert.equal(session.job, null);
  session.receive({ type: "error", page: ID, sequence: 1, what: "No.", mend: "Try again." }, null);
  assert.equal(opening(), null);
});
