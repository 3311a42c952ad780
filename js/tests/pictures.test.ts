import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { accept, dab, frame, fresh, host, rest, session, settled, TREE, tick } from "./stand";
import { ID, NONE, state } from "./support";

beforeEach(fresh);

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
