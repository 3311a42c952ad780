import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Outbox, type Transmit } from "../src/core/outbox";
import type { AcceptedMessage, PageMessage, WelcomeMessage } from "../src/protocol/messages";
import { pageProblem } from "../src/protocol/validate-page-message";
import { TestKernel } from "./support";

const PAGE = "page-0001";
let sent: { message: PageMessage; buffer: Uint8Array | undefined }[] = [];
let outbox: Outbox;

const sequences = (): (number | string)[] =>
  sent.map(({ message }) => ("sequence" in message ? message.sequence : message.type));
const welcome = (sequence: number) =>
  outbox.receive({ type: "welcome", version: 1, page: PAGE, sequence, revision: 0 });
const accept = (sequence: number) =>
  outbox.receive({ type: "accepted", page: PAGE, sequence, revision: sequence });
const refuse = (sequence: number) =>
  outbox.receive({ type: "error", page: PAGE, sequence, what: "No.", mend: "Yes." });
const stroke = (stamp: number, from = outbox) =>
  from.stroke(
    { stroke: 1, last: false, edit: "e1", verb: "add", concept: "tree", strength: 1, rect: [0, 0, 2, 1] },
    new Uint8Array([1, 2]),
    stamp,
  );

beforeEach(() => {
  sent = [];
  outbox = new Outbox(PAGE, (message, buffer) => {
    // What is sent now must be what was meant now, whatever happens to the object later.
    sent.push({ message: structuredClone(message), buffer });
  });
});

test("messages are counted from 1, and valid", () => {
  outbox.hello();
  welcome(0);
  stroke(1);
  outbox.command("retune", { edit: "e1", strength: 2 });
  outbox.command("open", { name: "a.png", fit: "crop" }, new Uint8Array(3));
  outbox.frameDrawn(4);
  outbox.acknowledge();
  outbox.cancel();
  assert.deepEqual(sequences(), ["hello", 1, 2, 3, "ack", "cancel"]);
  for (const { message, buffer } of sent) assert.equal(pageProblem(message, buffer?.length ?? null), null);
});

test("a page says when it is out of sight, whenever it says hello, and says hello when it is seen again", () => {
  outbox.hello();
  outbox.setVisible(true);
  outbox.setVisible(false);
  outbox.setVisible(false);
  outbox.hello();
  outbox.setVisible(true);
  assert.deepEqual(sequences(), ["hello", "hidden", "hello", "hidden", "hello"]);
  for (const { message } of sent) assert.equal(pageProblem(message, null), null);
});

test("nothing numbered is sent before the welcome, and everything after it, in order", () => {
  outbox.hello();
  stroke(1);
  outbox.command("undo", {});
  assert.deepEqual(sequences(), ["hello"]);
  welcome(0);
  assert.deepEqual(sequences(), ["hello", 1, 2]);
});

test("what was accepted is not sent again; what was not, is", () => {
  welcome(0);
  for (let time = 1; time <= 5; time++) stroke(time);
  accept(2);
  assert.equal(outbox.accepted, 2);
  assert.equal(outbox.waiting, 3);
  sent = [];
  welcome(3);
  assert.deepEqual(sequences(), [4, 5]);
  assert.deepEqual(sent[0]?.buffer, new Uint8Array([1, 2]));
  accept(5);
  sent = [];
  welcome(5);
  assert.deepEqual(sequences(), []);
});

test("duplicate and late acceptances do no harm", () => {
  welcome(0);
  for (let time = 1; time <= 4; time++) stroke(time);
  accept(3);
  accept(3);
  accept(1);
  assert.equal(outbox.accepted, 3);
  assert.equal(outbox.waiting, 1);
});

test("a refused message is not replayed, and does not hold the state back", () => {
  welcome(0);
  stroke(1);
  outbox.command("delete", { edit: "gone" });
  refuse(2);
  assert.equal(outbox.accepted, 2);
  assert.equal(outbox.coveredBy({ [PAGE]: 1 }), true);
  sent = [];
  welcome(2);
  assert.deepEqual(sequences(), []);
});

test("messages for other pages are not this page's", () => {
  welcome(0);
  stroke(1);
  assert.equal(outbox.receive({ type: "accepted", page: "page-0002", sequence: 1, revision: 1 }), false);
  assert.equal(outbox.waiting, 1);
  assert.equal(outbox.receive({ type: "error", page: null, sequence: null, what: "a", mend: "b" }), true);
  assert.equal(outbox.waiting, 1);
});

test("a kernel that has forgotten this page gets what waits under numbers that it can take", () => {
  welcome(0);
  for (let time = 1; time <= 4; time++) stroke(time);
  accept(2);
  sent = [];
  welcome(0);
  assert.deepEqual(sequences(), [1, 2]);
  assert.equal(outbox.sent, 2);
  stroke(9);
  assert.deepEqual(sequences(), [1, 2, 3]);
});

test("a send that throws loses nothing", () => {
  let broken = true;
  const got: PageMessage[] = [];
  const warn = console.warn;
  console.warn = () => {};
  const careful = new Outbox(PAGE, (message) => {
    if (broken) throw new Error("no connection");
    got.push(message);
  });
  careful.receive({ type: "welcome", version: 1, page: PAGE, sequence: 0, revision: 0 });
  careful.command("undo", {});
  broken = false;
  careful.receive({ type: "welcome", version: 1, page: PAGE, sequence: 0, revision: 0 });
  console.warn = warn;
  assert.deepEqual(
    got.map((message) => "sequence" in message && message.sequence),
    [1],
  );
});

test("a picture's covered time is that of the newest message in it", () => {
  welcome(0);
  stroke(100);
  stroke(110);
  outbox.command("undo", {});
  stroke(130);
  assert.equal(outbox.stampAt(0), 0);
  assert.equal(outbox.stampAt(1), 100);
  assert.equal(outbox.stampAt(3), 110);
  assert.equal(outbox.stampAt(4), 130);
  // An older picture after a newer one is asked for its own.
  assert.equal(outbox.stampAt(2), 110);
});

test("frames are acknowledged once, and never backwards", () => {
  for (const frame of [2, 2, 1, 3]) {
    outbox.frameDrawn(frame);
    outbox.acknowledge();
  }
  assert.deepEqual(
    sent.map(({ message }) => message.type === "ack" && message.frame),
    [2, 3],
  );
});

test("a stroke's message says what has been drawn, once; saying it again does not", () => {
  welcome(0);
  outbox.frameDrawn(5);
  stroke(1);
  stroke(2);
  outbox.acknowledge();
  welcome(0);
  const drawn = sent.map(({ message }) => (message.type === "stroke" ? message.drawn : message.type));
  assert.deepEqual(drawn, [5, undefined, undefined, undefined]);
  for (const { message, buffer } of sent) assert.equal(pageProblem(message, buffer?.length ?? null), null);
});

test("it says when the kernel is behind", () => {
  welcome(0);
  for (let time = 1; time <= 20 && !outbox.congested; time++) stroke(time);
  assert.equal(outbox.congested, true);
  assert.ok(outbox.waiting < 20);
  accept(outbox.sent);
  assert.equal(outbox.congested, false);
});

const FILE = new Uint8Array(6_000_000);

/** An outbox and a kernel that answers it. */
function connected(start = (hear: Transmit): Outbox => new Outbox(PAGE, hear)) {
  const kernel: TestKernel = new TestKernel((message) => {
    if (message.type === "alive") outbox.checkDelivery();
    else outbox.receive(message as WelcomeMessage | AcceptedMessage);
  });
  const outbox: Outbox = start(kernel.hear);
  outbox.hello();
  return { kernel, outbox };
}

const names = ({ taken }: TestKernel) =>
  taken.map((message) =>
    message.type === "command" ? message.name : message.rect[2] ? "stroke" : "nothing",
  );

test("a file that the kernel is at work on is not sent again, however often it is asked and looked at", () => {
  const { kernel, outbox } = connected();
  outbox.command("open", { name: "a.png", fit: "crop" }, FILE);
  for (let beat = 0; beat < 10; beat++) {
    outbox.beat();
    outbox.hello();
    outbox.setVisible(false);
    outbox.setVisible(true);
  }
  assert.equal(kernel.bytes, FILE.length);
  assert.deepEqual(names(kernel), ["open", "nothing"]);
  kernel.done();
  assert.equal(outbox.waiting, 0);
});

test("a file that got lost is sent once more, before what comes after it", () => {
  const { kernel, outbox } = connected();
  kernel.lost = ({ type }) => type === "command";
  outbox.command("open", { name: "a.png", fit: "crop" }, FILE);
  kernel.lost = () => false;
  outbox.beat();
  outbox.beat();
  assert.equal(kernel.bytes, 2 * FILE.length);
  assert.deepEqual(names(kernel), ["open", "nothing"]);

  const other = connected();
  other.kernel.lost = () => true;
  other.outbox.command("open", { name: "a.png", fit: "crop" }, FILE);
  other.outbox.command("undo", {});
  other.kernel.lost = () => false;
  other.outbox.beat();
  assert.deepEqual(names(other.kernel), ["open", "undo"]);
  assert.equal(other.kernel.bytes, 2 * FILE.length);
});

test("however many messages tell a kernel that it lacks one, all is sent again once", () => {
  const answers: (() => void)[] = [];
  const { kernel, outbox } = connected(
    (hear) => new Outbox(PAGE, (...sent) => void answers.push(() => hear(...sent))),
  );
  const settle = () => {
    for (let answer = answers.shift(); answer; answer = answers.shift()) answer();
  };
  settle();
  kernel.lost = ({ type }) => type === "command";
  outbox.command("open", { name: "a.png", fit: "crop" }, FILE);
  settle();
  kernel.lost = () => false;
  for (let time = 1; time <= 5; time++) stroke(time, outbox);
  settle();
  assert.deepEqual(names(kernel), ["open", "stroke", "stroke", "stroke", "stroke", "stroke"]);
  assert.equal(kernel.bytes, 2 * FILE.length + 2 * 2 * 5);
  // And if that is lost as well, the next question finds out.
  kernel.done();
  settle();
  kernel.lost = () => true;
  stroke(6, outbox);
  stroke(7, outbox);
  settle();
  let losing = 3;
  kernel.lost = () => losing-- > 0;
  for (let beat = 0; beat < 4; beat++) {
    outbox.beat();
    settle();
  }
  assert.equal(kernel.taken.length, 8);
});

test("strokes that wait for a slow command are not sent again with every beat", () => {
  const { kernel, outbox } = connected();
  outbox.command("scene", {});
  const values = new Uint8Array(64 * 64);
  for (let time = 1; time <= 50; time++) {
    outbox.stroke(
      {
        stroke: time,
        last: true,
        edit: "e1",
        verb: "add",
        concept: "tree",
        strength: 1,
        rect: [0, 0, 64, 64],
      },
      values,
      time,
    );
  }
  for (let beat = 0; beat < 10; beat++) outbox.beat();
  assert.ok(kernel.bytes <= 60 * values.length, `${kernel.bytes / values.length} strokes came`);
  assert.equal(kernel.received, 51);
});

test("a file is sent once to a kernel that answers several hellos late", () => {
  const queue: (() => void)[] = [];
  const kernel: TestKernel = new TestKernel((message) => outbox.receive(message as WelcomeMessage));
  const outbox: Outbox = new Outbox(PAGE, (...sent) => void queue.push(() => kernel.hear(...sent)));
  for (let beat = 0; beat < 4; beat++) outbox.hello();
  outbox.command("open", { name: "a.png", fit: "crop" }, FILE);
  for (let take = queue.shift(); take; take = queue.shift()) take();
  assert.equal(kernel.bytes, FILE.length);
  assert.deepEqual(names(kernel), ["open", "nothing"]);
  kernel.done();
  assert.equal(outbox.waiting, 0);
});

test("hellos that got lost do not keep a page from sending again what got lost", () => {
  const { kernel, outbox } = connected();
  kernel.lost = () => true;
  for (let beat = 0; beat < 5; beat++) outbox.hello();
  stroke(1, outbox);
  stroke(2, outbox);
  kernel.lost = () => false;
  outbox.beat();
  assert.deepEqual(names(kernel), ["stroke", "stroke"]);
});

test("a later page makes no numbers in an earlier one's name, and waits where it would send a file", () => {
  const open = { type: "command", page: PAGE, sequence: 1, name: "open" } as const;
  const message = { ...open, arguments: { name: "a.png", fit: "crop" } } as const;
  let doubts = 0;
  const { kernel, outbox } = connected((hear) =>
    new Outbox("page-0002", hear).resume(PAGE, [{ message, buffer: FILE }], () => doubts++),
  );
  assert.deepEqual([doubts, kernel.bytes], [1, 0]);
  outbox.resend();
  assert.equal(kernel.bytes, FILE.length);
  assert.deepEqual(names(kernel), ["open"]);
  kernel.done();
  assert.equal(outbox.waiting, 0);
});
