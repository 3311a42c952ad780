import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EditorSession } from "../src/core/session";
import type { BrowserSession } from "../src/editor/browser-session";
import { SettingsStore } from "../src/editor/settings";
import { createToolController } from "../src/editor/tools/tool-controller";
import type { StrokeMessage } from "../src/protocol/messages";
import type { SessionState } from "../src/protocol/state";
import { edit, flat, ID, NONE, state, TestHost } from "./support";

const CONCEPTS = ["tree", "dome"].map((name) => ({ name, color: "#00ff00", quality: 1 }));
const WORLD = { concepts: CONCEPTS, classes: ["sky", "dome"], verbs: ["add", "remove"] } as const;

let host: TestHost;
let session: BrowserSession;
let store: SettingsStore;

const sync = async (changes: Partial<SessionState>, masks: Record<string, Uint8Array> = {}) => {
  const known = { ...state(), ...WORLD, classes: [...WORLD.classes], verbs: [...WORLD.verbs], ...changes };
  await session.sync({ state: known, masks, pictures: NONE, labels: flat(1) });
};

beforeEach(async () => {
  host = new TestHost();
  session = new EditorSession(ID, host) as unknown as BrowserSession;
  store = new SettingsStore(session, () => {});
  session.receive({ type: "welcome", version: 1, page: ID, sequence: 0, revision: 0 }, null);
  await sync({});
  store.reconcile();
});

test("the first stroke on another thing has that thing's strength, whichever tool has chosen it", () => {
  const said: string[] = [];
  const tools = createToolController(session, store, {
    painting: () => {},
    done: () => {},
    moved: () => {},
    say: (text) => said.push(text),
  });
  store.change({ verb: "remove", tool: "segment" });
  store.setStrength(3, true);
  assert.deepEqual([store.values.concept, store.values.strength], ["tree", 3]);
  tools.press({ x: 5, y: 5, radius: 1 }, false, 1);
  const stroke = host.sent.at(-1)?.message as StrokeMessage;
  assert.deepEqual([stroke.verb, stroke.concept, stroke.strength], ["remove", "dome", 1]);
  assert.match(said.at(-1) ?? "", /^Took the dome/);
  // What cannot be done is not said to be done.
  store.change({ verb: "restyle" });
  tools.press({ x: 5, y: 5, radius: 1 }, false, 2);
  assert.equal(said.at(-1), "Choose a reference first.");
});

test("a concept that is gone takes its strength with it", async () => {
  store.setStrength(3, true);
  await sync({ revision: 2, concepts: [{ name: "cloud", color: "#00ff00", quality: 1 }] });
  store.reconcile();
  assert.deepEqual([store.values.concept, store.values.strength], ["cloud", 1]);
});

test("the first concept is the tree, which shows most, wherever it stands in the list", async () => {
  const names = ["sky", "grass", "tree"];
  store = new SettingsStore(session, () => {});
  await sync({ revision: 2, concepts: names.map((name) => ({ name, color: "#00ff00", quality: 1 })) });
  store.reconcile();
  assert.equal(store.values.concept, "tree");
  store.change({ concept: "sky" });
  store.reconcile();
  assert.equal(store.values.concept, "sky");
});

test("the strength is that of the edit that the next stroke would continue, else as it was chosen", async () => {
  await sync(
    { edits: [edit("a", { strength: 2 }), edit("b", { concept: "dome", strength: 0.5 })] },
    {
      a: flat(9),
      b: flat(9),
    },
  );
  store.reconcile();
  store.change({ concept: "dome" });
  assert.deepEqual([store.values.selected, store.values.strength], ["b", 0.5]);
  store.change({ verb: "remove" });
  assert.deepEqual([store.values.selected, store.values.strength], [null, 1]);
  store.setStrength(3, true);
  store.change({ verb: "remove" });
  assert.equal(store.values.strength, 3, "choosing the same again changes nothing");
  store.select("a");
  assert.deepEqual([store.values.verb, store.values.concept, store.values.strength], ["add", "tree", 2]);
});

test("the slider leads while it is dragged, and the eraser ends when something is chosen to paint", async () => {
  await sync({ edits: [edit("a", { strength: 2 })] }, { a: flat(9) });
  store.select("a");
  store.setStrength(3, false);
  store.reconcile();
  assert.equal(store.values.strength, 3);
  store.setStrength(3, true);
  store.reconcile();
  assert.equal(store.values.strength, 2);
  store.change({ tool: "eraser" });
  store.change({ concept: "dome" });
  assert.equal(store.values.tool, "brush");
});
