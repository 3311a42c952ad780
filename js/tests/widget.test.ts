/** The anywidget adapter under node: what it takes from the browser, it gives back. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import widget from "../src/widget";
import { flat, state } from "./support";

/** Counts who listens. */
class Target extends EventTarget {
  listening = 0;
  hidden = false;
  override addEventListener(...[type, listener, options]: Parameters<EventTarget["addEventListener"]>): void {
    this.listening++;
    super.addEventListener(type, listener, options);
  }
  override removeEventListener(...[type, listener]: Parameters<EventTarget["removeEventListener"]>): void {
    this.listening--;
    super.removeEventListener(type, listener);
  }
}

class Model {
  traits: Record<string, unknown> = { _state: state(), _masks: {} };
  sent: Record<string, unknown>[] = [];
  readonly listeners = new Map<string, Set<(...values: unknown[]) => void>>();

  get = (name: string): unknown => this.traits[name];
  send = (content: unknown): void => {
    this.sent.push(content as Record<string, unknown>);
  };
  on = (event: string, callback: (...values: unknown[]) => void): void => {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(callback));
  };
  off = (event: string, callback: (...values: unknown[]) => void): void => {
    this.listeners.get(event)?.delete(callback);
  };
  get listening(): number {
    return [...this.listeners.values()].reduce((sum, each) => sum + each.size, 0);
  }

  /** The kernel writes traits. */
  write(traits: Record<string, unknown>): void {
    Object.assign(this.traits, traits);
    for (const name of Object.keys(traits)) {
      for (const callback of this.listeners.get(`change:${name}`) ?? []) callback();
    }
  }
  /** The kernel sends a message; `$page` stands for the page's id. */
  say(message: Record<string, unknown>, buffer?: Uint8Array): void {
    const page = this.sent.find(({ type }) => type === "hello")?.page;
    const filled = { ...message, ...("page" in message && { page }) };
    for (const callback of this.listeners.get("msg:custom") ?? []) callback(filled, buffer ? [buffer] : []);
  }
}

const settled = async () => {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
};
/** The bytes of a picture; decoding is replaced. */
const picture = () => new Uint8Array([1, 2, 3]);

let bitmaps: { open: number; made: number; decode: () => Promise<void> };
/** How many locks are held. */
let locks: number;
let page: Target;
let saved: PropertyDescriptorMap;
const ends: (() => void)[] = [];

beforeEach(() => {
  bitmaps = { open: 0, made: 0, decode: async () => {} };
  locks = 0;
  page = new Target();
  const stubs = {
    window: page,
    document: new Target(),
    indexedDB: { open: () => ({}) },
    navigator: {
      locks: {
        request: async (_name: string, held: () => Promise<void>) => {
          locks++;
          await held();
          locks--;
        },
      },
    },
    addEventListener: page.addEventListener.bind(page),
    removeEventListener: page.removeEventListener.bind(page),
    requestAnimationFrame: (step: () => void) => setTimeout(step, 0),
    createImageBitmap: async () => {
      await bitmaps.decode();
      bitmaps.made++;
      bitmaps.open++;
      return { width: 1, height: 1, close: () => bitmaps.open-- };
    },
  };
  Object.assign(page, { setTimeout, clearTimeout, setInterval, clearInterval });
  saved = {};
  for (const [name, value] of Object.entries(stubs)) {
    saved[name] = Object.getOwnPropertyDescriptor(globalThis, name) ?? {
      value: undefined,
      configurable: true,
    };
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
});

afterEach(() => {
  // Also after a failure: its timers would keep the tests from ending.
  for (const end of ends.splice(0)) end();
  Object.defineProperties(globalThis, saved);
});

function initialized() {
  const model = new Model();
  const end = widget().initialize({ model }) as () => void;
  ends.push(end);
  model.say({ type: "welcome", version: 1, page: "$page", sequence: 0, revision: 0 });
  return { model, end };
}

const frame = (model: Model, number: number) =>
  model.say(
    {
      type: "frame",
      frame: number,
      picture: "preview",
      revision: number,
      covers: {},
      width: 1,
      height: 1,
      format: "image/jpeg",
    },
    picture(),
  );

test("a widget that is taken away leaves no lock, and no listener on page, document or model", async () => {
  const { model, end } = initialized();
  assert.equal(locks, 1);
  assert.ok(page.listening > 0 && model.listening > 0 && (document as unknown as Target).listening > 0);
  end();
  assert.deepEqual([page.listening, (document as unknown as Target).listening, model.listening], [0, 0, 0]);
  await settled();
  assert.equal(locks, 0);
});

test("of all pictures that come only those that are shown stay in memory, and none beyond the widget", async () => {
  const { model, end } = initialized();
  for (let revision = 1; revision <= 5; revision++) {
    model.write({ _state: state({ revision }), _photo: picture(), _preview: picture() });
    await settled();
    frame(model, 2 * revision);
    frame(model, 2 * revision + 1);
    await settled();
  }
  assert.ok(bitmaps.made > 12);
  assert.equal(bitmaps.open, 2);
  model.write({ _state: state({ revision: 20 }), _preview: new Uint8Array(0) });
  await settled();
  assert.equal(bitmaps.open, 1);
  frame(model, 30);
  await settled();
  // One that is being decoded at the end goes as well.
  let go = (): void => {};
  bitmaps.decode = () => new Promise((resolve) => (go = resolve));
  frame(model, 31);
  end();
  go();
  await settled();
  assert.equal(bitmaps.open, 0);
});

test("sheets stay in memory as long as one of their pictures can be chosen", async () => {
  const { model, end } = initialized();
  const samples = (concept: string) =>
    model.say(
      { type: "references", page: "$page", concept, entries: [{ key: "s1", own: false, decibel: 9 }] },
      picture(),
    );
  for (const concept of ["tree", "dome", "tree"]) {
    samples(concept);
    model.say({ type: "variants", page: "$page", edit: "e1", variants: [0, 1] }, picture());
    await settled();
  }
  assert.equal(bitmaps.open, 2);
  model.say({ type: "scenes", page: "$page", first: 0, total: 2, titles: ["A", "B"] }, picture());
  model.say({ type: "scenes", page: "$page", first: 0, total: 2, titles: ["A", "B"] }, picture());
  await settled();
  assert.equal(bitmaps.open, 3);
  end();
  assert.equal(bitmaps.open, 0);
});

test("no promise is left to reject by itself", async () => {
  const rejected: unknown[] = [];
  const note = (reason: unknown): void => void rejected.push(reason);
  process.on("unhandledRejection", note);
  const warn = console.warn;
  console.warn = () => {};
  const { model, end } = initialized();
  bitmaps.decode = () => Promise.reject(new Error("no picture"));
  model.say({ type: "scenes", page: "$page", first: 0, total: 1, titles: ["A"] }, picture());
  frame(model, 1);
  model.write({ _photo: picture() });
  await settled();
  // A state that looks like one and is none.
  model.write({ _state: { ...state({ revision: 3 }), edits: [null] }, _masks: { a: flat(1) } });
  await settled();
  end();
  await settled();
  console.warn = warn;
  process.off("unhandledRejection", note);
  assert.deepEqual(rejected, []);
});
