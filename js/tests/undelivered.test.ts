import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { type Locks, type Records, UndeliveredDb } from "../src/browser/undelivered-db";
import type { Undelivered } from "../src/core/outbox";
import { settled } from "./support";

const PAGE = "page-0001";
const message = (sequence: number, bytes = 10): Undelivered => ({
  message: { type: "command", page: PAGE, sequence, name: "undo", arguments: {} },
  buffer: new Uint8Array(bytes),
});

let stored: Map<string, Parameters<Records["put"]>[0]>;
let written: number;
let closed: boolean;
let page: EventTarget;
let store: UndeliveredDb;
let records: Records;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  stored = new Map();
  written = 0;
  closed = false;
  page = new EventTarget();
  records = {
    put: async (record) => {
      stored.set(record.page, record);
      for (const { buffer } of record.kept) written += buffer?.length ?? 0;
    },
    remove: async (first, last) => {
      for (const key of stored.keys()) if (key >= first && key <= last) stored.delete(key);
    },
    all: async () => [...stored.values()],
    close: () => {
      closed = true;
    },
  };
  store = new UndeliveredDb(records, page);
});

test("a prompt kernel leaves nothing to be written; what waits is written after a moment, and goes when it has come", async () => {
  store.save("journal", PAGE, [message(1)]);
  store.save("journal", PAGE, []);
  mock.timers.tick(400);
  assert.equal(written, 0);
  store.save("journal", PAGE, [message(2), message(3)]);
  mock.timers.tick(400);
  const found = await store.find(["journal"]);
  assert.deepEqual(
    found.map(({ page, undelivered }) => [page, ...undelivered.map((each) => each.message.sequence)]),
    [[PAGE, 2, 3]],
  );
  assert.deepEqual(await store.find(["another"]), []);
  store.save("journal", PAGE, []);
  mock.timers.tick(400);
  assert.equal(stored.size, 0);
});

test("a large file is written once, whatever is painted while it waits", () => {
  const waiting = [message(1, 6_000_000)];
  for (let sequence = 2; sequence < 20; sequence++) {
    waiting.push(message(sequence));
    store.save("journal", PAGE, waiting);
    mock.timers.tick(400);
  }
  assert.equal(written, 6_000_180);
  assert.equal(stored.size, 19);
});

test("messages that were numbered anew replace those of the same numbers", async () => {
  store.save("journal", PAGE, [message(5), message(6)]);
  mock.timers.tick(400);
  const renumbered = [message(1), message(2)];
  store.save("journal", PAGE, renumbered);
  mock.timers.tick(400);
  const [found] = await store.find(["journal"]);
  assert.deepEqual(found?.undelivered, renumbered);
});

test("the page's end writes at once; so does the store's, which hears nothing more", () => {
  store.save("journal", PAGE, [message(1)]);
  page.dispatchEvent(new Event("pagehide"));
  assert.equal(stored.size, 1);
  store.save("journal", PAGE, [message(1), message(2)]);
  store.close();
  assert.equal(stored.size, 2);
  assert.ok(closed);
  stored.clear();
  page.dispatchEvent(new Event("pagehide"));
  mock.timers.tick(400);
  assert.equal(stored.size, 0);
});

test("one page's messages are removed and no other's, those of earlier versions too", async () => {
  const at = Date.now();
  for (const key of [PAGE, `${PAGE} 3`, `${PAGE} 12`, `${PAGE}-2`, `${PAGE}a 1`]) {
    stored.set(key, { page: key, journal: "journal", at, kept: [message(Number(key.split(" ")[1] ?? 1))] });
  }
  const [first] = await store.find(["journal"]);
  assert.deepEqual(
    first?.undelivered.map((each) => each.message.sequence),
    [1, 3, 12],
  );
  store.remove(PAGE);
  assert.deepEqual([...stored.keys()], [`${PAGE}-2`, `${PAGE}a 1`]);
});

/** Gives each name to one request at a time, as a browser does. */
class TestLocks implements Locks {
  readonly #last = new Map<string, Promise<unknown>>();

  request(name: string, held: () => Promise<void>): Promise<unknown> {
    const granted = (this.#last.get(name) ?? Promise.resolve()).then(held);
    this.#last.set(name, granted);
    return granted;
  }
}

test("a page's id is held by one page at a time, and released with all its messages written", async () => {
  const locks = new TestLocks();
  const [first, second, third] = [0, 1, 2].map(() => new UndeliveredDb(records, new EventTarget(), locks));
  const events: string[] = [];
  const hold = (name: string, from = first) => from?.hold(PAGE).then(() => events.push(name));
  await hold("first");
  void hold("first again");
  void hold("second", second);
  void hold("third", third);
  await settled();
  assert.deepEqual(events, ["first"]);
  first?.save("journal", PAGE, [message(1)]);
  second?.release();
  first?.release();
  assert.equal(stored.size, 1);
  await settled();
  assert.deepEqual(events, ["first", "third"], "who has released drops its requests");
  void hold("first", first);
  third?.close();
  await settled();
  assert.deepEqual(events, ["first", "third", "first"]);
  first?.close();
});

test("without locks, a page's id is anyone's at once", async () => {
  await store.hold(PAGE);
  await store.hold(PAGE);
});
