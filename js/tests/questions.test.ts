import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EditorSession } from "../src/core/session";
import { ID, TestHost } from "./support";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const bytes = new TextEncoder().encode("sheet");
const refusal = (what: string, page: string | null = ID) => ({
  type: "error",
  page,
  sequence: null,
  what,
  mend: "Try it.",
});

let host: TestHost;
let session: EditorSession<string>;
let told: string[];

beforeEach(() => {
  host = new TestHost();
  session = new EditorSession(ID, host);
  session.receive({ type: "welcome", version: 1, page: ID, sequence: 0, revision: 0 }, null);
  told = [];
  session.listen((topic) => told.push(topic));
});

const failures = () =>
  (["samples", "refer", "variants", "scenes"] as const).map(
    (type) => session.questions.failure(type)?.text ?? null,
  );

test("a question that fails says so where it was asked, until it is asked again", () => {
  session.questions.ask({ type: "samples", concept: "tree" });
  session.questions.ask({ type: "scenes", first: 0, count: 20 });
  told = [];
  session.receive(refusal("No samples."), null);
  assert.deepEqual(failures(), ["No samples.", null, null, null]);
  assert.ok(told.includes("document"), "the panel is drawn again");
  session.receive(refusal("No scenes."), null);
  assert.deepEqual(failures(), ["No samples.", null, null, "No scenes."]);
  session.questions.ask({ type: "samples", concept: "tree" });
  assert.deepEqual(failures(), [null, null, null, "No scenes."]);
  session.receive(refusal("Nothing was asked for that.", "another-page"), null);
  session.receive({ ...refusal("Not a question."), sequence: 3 }, null);
  assert.deepEqual(failures(), [null, null, null, "No scenes."]);
});

test("an answer ends its question and no other", async () => {
  session.questions.ask({ type: "variants", edit: "e1" });
  session.questions.ask({ type: "samples", concept: "tree" });
  session.receive({ type: "references", page: ID, concept: "tree", entries: [] }, bytes);
  await settled();
  session.receive(refusal("No variants."), null);
  session.receive(refusal("Something else."), null);
  assert.deepEqual(failures(), [null, null, "No variants.", null]);
});

test("after a silence of the kernel what was asked may be lost: it can be asked again, and an answer still counts", async () => {
  session.beat(1000);
  session.questions.ask({ type: "scenes", first: 0, count: 20 });
  for (let now = 2000; now < 20_000; now += 1000) session.beat(now);
  assert.equal(session.health, "silent");
  assert.deepEqual(failures(), [null, null, null, null]);
  session.receive({ type: "alive", page: ID, sequence: 0, revision: 0 }, null);
  assert.match(failures()[3] ?? "", /not answered/);
  session.receive({ type: "scenes", page: ID, first: 0, total: 1, titles: ["One"] }, bytes);
  await settled();
  assert.deepEqual([failures()[3], session.questions.scenes.size], [null, 1]);
});

test("pictures that cannot be read are said, where they were asked for and in the status", async () => {
  const warn = console.warn;
  console.warn = () => {};
  host.decode = () => Promise.reject(new Error("no picture"));
  for (const message of [
    { type: "scenes", page: ID, first: 0, total: 1, titles: ["One"] },
    { type: "variants", page: ID, edit: "e1", variants: [0] },
    { type: "references", page: ID, concept: "tree", entries: [] },
  ]) {
    session.receive(message, bytes);
  }
  // Entries of another shape than the protocol's.
  host.decode = async () => "sheet";
  session.receive({ type: "references", page: ID, concept: "", entries: [null] }, bytes);
  await settled();
  console.warn = warn;
  assert.ok(failures().every((text) => text?.includes("could not be read")));
  assert.equal(session.status?.level, "error");
});
