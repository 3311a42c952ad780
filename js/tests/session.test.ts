import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { EditorSession } from "../src/core/session";
import type { SessionState } from "../src/protocol/state";
import { accept, dab, fresh, held, host, hostSays, rest, session, settled, store, TREE, tick } from "./stand";
import { edit, flat, ID, NONE, SIZE, state } from "./support";

beforeEach(fresh);

test("a new page takes over what is there", async () => {
  await rest(state({ edits: [edit("e1")] }), { e1: flat(200) });
  assert.deepEqual(
    session.edits.map(({ id }) => id),
    ["e1"],
  );
  assert.equal(session.masks.get("e1")?.values[5], 200);
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
    hostSays(status);
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
  hostSays("dead");
  session.beat(25_500);
  assert.equal(session.health, "gone");
  hostSays("idle"); // it was started again, and is another one
  session.beat(26_000);
  session.beat(32_000);
  assert.equal(session.health, "gone");
});

test("a blend goes with its kernel, and comes back with it", () => {
  session.beat(1000);
  session.command("blend", {});
  session.receive({ type: "progress", job: "blend", fraction: 0.3, seconds_left: 40, decibel: 20 }, null);
  hostSays("dead");
  const running = () => session.job?.fraction;
  session.beat(2000);
  assert.equal(running(), undefined);
  hostSays("idle");
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
  assert.deepEqual(commands(), [], "it was blended elsewhere");
  await known(1);
  now += 1000;
  session.beat(now);
  assert.deepEqual(commands(), [], "there is a moment's rest before");
  wait();
  assert.deepEqual([commands(), session.blendPolicy.automatic], [["blend"], true]);

  // it fails, or is given up: the blend is as old as before, and it is not asked for again
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

test("what was saved can be looked at where no kernel will ever answer, and none is asked", async () => {
  hostSays("none");
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

test("once a picture is open, the status line no longer says that it is being opened", () => {
  const text = () => session.status?.text;
  const open = (sequence: number) => {
    session.setStatus({ level: "info", text: "Opening the next scene…" });
    session.command("scene", {});
    return { type: "accepted", page: ID, sequence, revision: sequence };
  };
  const first = open(1);
  assert.equal(text(), "Opening the next scene…");
  session.receive(first, null);
  assert.equal(text(), "Choose a concept and paint.");
  const second = open(2);
  session.receive({ type: "notice", level: "warning", text: "The inversion is poor." }, null);
  session.receive(second, null);
  assert.equal(text(), "The inversion is poor.", "what the kernel says of the picture stays");
});

test("a search for concepts has a progress of its own until its command is accepted or refused", () => {
  const progress = { type: "progress", job: "discover", seconds_left: 90, decibel: null };
  const finding = () => session.finding;
  session.receive({ ...progress, fraction: 0.3 }, null);
  assert.equal(finding(), null, "another page has asked");
  session.command("discover", {});
  assert.deepEqual(finding(), { sequence: 1, fraction: 0, secondsLeft: null });
  session.receive({ ...progress, fraction: 0.6 }, null);
  assert.deepEqual(finding(), { sequence: 1, fraction: 0.6, secondsLeft: 90 });
  assert.deepEqual([session.job, session.opening], [null, null]);
  session.receive({ type: "accepted", page: ID, sequence: 1, revision: 0 }, null);
  assert.equal(finding(), null);
});

test("a page whose kernel is gone leaves its messages to others until it comes back", async () => {
  assert.deepEqual([...held], [ID]);
  session.beat(1000);
  hostSays("dead");
  session.beat(2000);
  assert.deepEqual([...held], []);
  session.receive({ type: "alive", page: ID, sequence: 0, revision: 0 }, null);
  assert.deepEqual([...held], [ID]);
});

/** A page after a reload, whose kernel is alive but could not open the session. */
function withoutSession() {
  const failed = new EditorSession<string>(ID, { ...host, decode: host.decode, download: () => {} });
  let answered = 0;
  const error = {
    type: "error",
    page: null,
    sequence: null,
    what: "It could not be opened.",
    mend: "Run it.",
  };
  const answer = () => {
    for (const { message } of host.sent.slice(answered)) {
      answered++;
      const alive = message.type === "hello" || message.type === "beat";
      failed.receive(alive ? { type: "alive", page: ID, sequence: 0, revision: 0 } : error, null);
    }
  };
  host.sent = [];
  failed.outbox.hello();
  answer();
  return { failed, answer };
}

test("a kernel without a session hears hello every five seconds, and gets nothing numbered", async () => {
  const { failed, answer } = withoutSession();
  await failed.sync({ state: state(), masks: {}, pictures: NONE, labels: null });
  failed.begin(TREE, dab(8, 8), 1);
  failed.end(2);
  for (let now = 1000; now <= 61_000; now += 1000) {
    failed.beat(now);
    answer();
  }
  assert.equal(failed.health, "answers");
  const types = host.types();
  const hellos = types.filter((type) => type === "hello").length;
  assert.ok(hellos >= 2 && hellos <= 13, `${hellos} hellos`);
  assert.deepEqual([...new Set(types)].sort(), ["beat", "hello"]);
  assert.equal(failed.outbox.waiting, 1);
});

test("errors without a page, notices and the loading are not announced again and again", async () => {
  const { failed, answer } = withoutSession();
  const announced = async (value: SessionState) => {
    const before = failed.statusCount;
    await failed.sync({ state: value, masks: {}, pictures: NONE, labels: null });
    return failed.statusCount - before;
  };
  assert.equal(await announced(state({ loading: true })), 1);
  assert.equal(await announced(state({ loading: true, revision: 2 })), 0);
  const notice = { level: "warning", text: "The editor could not be opened." } as const;
  assert.ok((await announced(state({ loading: false, notice }))) >= 1);
  assert.equal(await announced(state({ loading: false, notice, revision: 3 })), 0);
  assert.deepEqual(failed.status, notice);

  const before = failed.statusCount;
  for (let time = 0; time < 5; time++) {
    failed.outbox.cancel();
    answer();
  }
  assert.equal(failed.statusCount, before + 1);
  assert.equal(failed.status?.level, "error");
});

test("labels that are decoded late do not replace those of a newer state", async () => {
  const value = state({ classes: ["sky", "tree"] });
  const sync = (labels: Uint8Array | null) =>
    session.sync({ state: value, masks: {}, pictures: NONE, labels });
  const older = sync(flat(1));
  await sync(null);
  await older;
  await settled();
  assert.equal(session.labels, null);
});
