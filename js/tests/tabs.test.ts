/** Several pages of one session in one browser: which of them delivers what. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Undelivered } from "../src/core/outbox";
import { EditorSession } from "../src/core/session";
import type { UndeliveredStore } from "../src/core/undelivered";
import type { KernelMessage, NumberedMessage, PageMessage } from "../src/protocol/messages";
import { dab, NONE, settled, state, TestHost, TREE } from "./support";

const A = "page-aaaa";
const B = "page-bbbb";
const FILE = new Uint8Array(2_000_000);

let tabs: EditorSession<string>[];
/** What the browser keeps for all pages, and who waits for each lock, with its holder first. */
let records: Map<string, { journal: string; undelivered: Undelivered[] }>;
let locks: Map<string, { tab: string; held: () => void }[]> | null;
/** The kernel's books. It carries out all pages' messages in order, and an `open` takes until `work`. */
let received: Map<string, number>;
let accepted: Map<string, number>;
let hidden: Set<string>;
let backlog: NumberedMessage[];
let carriedOut: string[];
let files: number;
let lost: boolean;

beforeEach(() => {
  tabs = [];
  records = new Map();
  locks = new Map();
  received = new Map();
  accepted = new Map();
  hidden = new Set();
  backlog = [];
  carriedOut = [];
  files = 0;
  lost = false;
});

function say(message: KernelMessage): void {
  for (const each of tabs) each.receive(structuredClone(message), null);
}

function carryOut(message: NumberedMessage): void {
  const { page, sequence } = message;
  accepted.set(page, sequence);
  const what = message.type === "command" ? message.name : message.edit === "probe" ? "probe" : "stroke";
  carriedOut.push(`${what} of ${page}`);
  if (what === "probe") say({ type: "error", page, sequence, what: "No edit.", mend: "Paint." });
  else say({ type: "accepted", page, sequence, revision: 1 });
}

function hear(message: PageMessage): void {
  if (message.type === "command" && message.name === "open") files++;
  if (lost) return;
  const { page } = message;
  const last = received.get(page) ?? 0;
  const answer = { page, sequence: accepted.get(page) ?? 0, revision: 1 };
  if (message.type === "hello") {
    hidden.delete(page);
    say({ type: "welcome", version: 1, ...answer });
  } else if (message.type === "hidden") hidden.add(page);
  else if (message.type === "beat") say({ type: "alive", ...answer });
  else if ("sequence" in message) {
    if (message.sequence <= last) say({ type: "accepted", ...answer });
    else if (message.sequence > last + 1) say({ type: "welcome", version: 1, ...answer });
    else {
      received.set(page, message.sequence);
      if (backlog.length > 0 || (message.type === "command" && message.name === "open"))
        backlog.push(message);
      else carryOut(message);
    }
  }
}

/** The kernel finishes what takes a while, and carries out what waited for it. */
function work(): void {
  for (const message of backlog.splice(0)) carryOut(message);
}

async function opened(id: string): Promise<EditorSession<string>> {
  const host = new TestHost();
  /** Gives up the tab's locks and requests. */
  const release = (): void => {
    for (const queue of locks?.values() ?? []) {
      const holder = queue[0];
      queue.splice(0, queue.length, ...queue.filter(({ tab }) => tab !== id));
      if (queue[0] !== holder) queue[0]?.held();
    }
  };
  const undelivered: UndeliveredStore = {
    save: (journal, page, waiting) => void records.set(page, { journal, undelivered: [...waiting] }),
    remove: (page) => void records.delete(page),
    find: async (journals) =>
      [...records]
        .filter(([, record]) => journals.includes(record.journal))
        .map(([page, record]) => ({ page, undelivered: record.undelivered })),
    hold: (page) =>
      new Promise((resolve) => {
        const queue = locks?.get(page) ?? [];
        locks?.set(page, queue);
        if (queue.push({ tab: id, held: resolve }) === 1) resolve();
      }),
    release,
    close: release,
  };
  const tab = new EditorSession<string>(id, {
    ...host,
    send: (message) => hear(structuredClone(message)),
    decode: host.decode,
    download: () => {},
    undelivered,
  });
  tabs.push(tab);
  tab.outbox.hello();
  await tab.sync({ state: state({ journal: ["journal"] }), masks: {}, pictures: NONE, labels: null });
  await settled();
  return tab;
}

function close(tab: EditorSession<string>): void {
  tabs.splice(tabs.indexOf(tab), 1);
  tab.dispose();
}

function paint(tab: EditorSession<string>): void {
  tab.begin(TREE, dab(4, 4), 1);
  tab.end(2);
}

test("a second tab leaves a living first one alone, and delivers what that leaves at its end", async () => {
  const first = await opened(A);
  first.command("open", { name: "a.jpg", fit: "crop" }, FILE);
  const second = await opened(B);
  assert.deepEqual([...hidden], []);
  paint(first);
  work();
  assert.deepEqual(carriedOut, [`open of ${A}`, `stroke of ${A}`]);

  lost = true;
  paint(first);
  lost = false;
  const third = await opened("page-cccc");
  assert.deepEqual(carriedOut.length, 2);
  close(first);
  await settled();
  assert.deepEqual(carriedOut.slice(2), [`stroke of ${A}`]);
  assert.deepEqual([...hidden], [A]);
  assert.match([second, third].map(({ status }) => status?.text).join(), /painted again/);
  assert.deepEqual(records.get(A), undefined);
});

test("a tab takes no number of a living one even where the browser has no locks", async () => {
  locks = null;
  const first = await opened(A);
  first.command("open", { name: "a.jpg", fit: "crop" }, FILE);
  await opened(B);
  paint(first);
  work();
  assert.deepEqual(carriedOut, [`open of ${A}`, `probe of ${B}`, `stroke of ${A}`]);
  assert.equal(first.outbox.waiting, 0);
});

test("a later page sends an earlier one's file only to a kernel that lacks it", async () => {
  for (const has of [true, false]) {
    const page = has ? A : "page-cccc";
    carriedOut = [];
    files = 0;
    const first = await opened(page);
    lost = !has;
    first.command("open", { name: "a.jpg", fit: "crop" }, FILE);
    lost = false;
    close(first);
    const second = await opened(has ? B : "page-dddd");
    for (let beat = 1; beat <= 3; beat++) second.beat(5000 * beat);
    assert.equal(files, has ? 1 : 2);
    work();
    assert.deepEqual(
      carriedOut.filter((each) => each.startsWith("open")),
      [`open of ${page}`],
    );
    assert.equal(files, has ? 1 : 2);
    assert.equal(records.has(page), false);
    close(second);
  }
});
