/** The parts of `core/`, each by itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BlendPolicy } from "../src/core/blend-policy";
import { KernelHealth } from "../src/core/health";
import { SessionMirror } from "../src/core/mirror";
import { Outbox, type Undelivered } from "../src/core/outbox";
import { StrokeRecorder } from "../src/core/stroke";
import { Redelivery } from "../src/core/undelivered";
import type { PageMessage } from "../src/protocol/messages";
import type { Mask } from "../src/raster/mask";
import { edit, state } from "./support";

const PAGE = "page-0001";

test("health: a kernel that is quiet is asked, and asked again; it is silent only if it does not answer", () => {
  const health = new KernelHealth();
  const asked: number[] = [];
  for (let now = 1000; now <= 9000; now += 500) if (health.check(now, null)) asked.push(now);
  assert.deepEqual([asked, health.status], [[3000, 8000], "silent"]);
  assert.equal(health.answered(), true);
  assert.equal(health.status, "answers");
  assert.equal(health.answered(), false, "it was there already");
});

test("health: what the host says of the kernel, and what it takes for one to be gone", () => {
  const silent = (host: Parameters<KernelHealth["check"]>[1], now = 10_000) => {
    const health = new KernelHealth();
    for (const time of [1000, 3000, now]) health.check(time, host);
    return health.status;
  };
  assert.deepEqual(
    [silent(null), silent("busy"), silent("unreachable"), silent("idle"), silent("idle", 30_000)],
    ["silent", "busy", "unreachable", "silent", "gone"],
  );
  const health = new KernelHealth();
  health.check(1000, "dead");
  health.check(2000, "idle");
  assert.equal(health.status, "gone", "what is idle now is another kernel");
  health.check(3000, "none");
  assert.equal(health.status, "saved");
});

test("blend policy: once after the last change, when nothing has been sent for a moment and nothing is going on", () => {
  const policy = new BlendPolicy();
  const due = (now: number, sent = 1, ready = true) => policy.isDue(now, sent, ready);
  assert.equal(policy.edited(false), false);
  assert.deepEqual([due(0), due(5000)], [false, false], "it is off at first");
  policy.enabled = true;
  assert.deepEqual([due(6000), due(6500), due(7000)], [false, false, true]);
  assert.deepEqual([due(7000, 2), due(8000, 2)], [false, true], "another message begins the pause anew");
  assert.deepEqual([due(9000, 2, false), due(9100, 2), due(9500, 2)], [false, false, false]);
  policy.blendStarted(true);
  assert.deepEqual([due(20_000), due(30_000)], [false, false], "never the same edits twice");
  assert.equal(policy.edited(true), true, "its own blend is canceled by the next change");
  assert.equal(policy.edited(true), false, "one that was asked for is not");
  policy.pictureChanged();
  assert.deepEqual([due(40_000), due(50_000)], [false, false]);
});

test("mirror: commands show at once, and lead back step by step", () => {
  const mirror = new SessionMirror();
  mirror.adopt(state({ edits: [edit("a"), edit("b")] }), new Map([["a", new Uint8Array(256)]]));
  const ids = () =>
    mirror.edits.map(({ id, strength, enabled }) => `${id}${strength}${enabled ? "" : "-"}`).join(" ");
  mirror.apply("retune", { edit: "a", strength: 3 });
  mirror.apply("toggle", { edit: "b", enabled: false });
  mirror.apply("move", { edit: "b", index: 0 });
  mirror.apply("delete", { edit: "a" });
  const seen = [ids()];
  for (let step = 0; step < 5; step++) {
    mirror.apply("undo", {});
    seen.push(ids());
  }
  assert.deepEqual(seen, ["b1-", "b1- a3", "a3 b1-", "a3 b1", "a1 b1", "a1 b1"]);
  mirror.apply("redo", {});
  assert.equal(ids(), "a3 b1");
  assert.equal(mirror.undone, true);
});

test("mirror: a mask that is the same stays the same object, and a foreign edit ends the way back", () => {
  const mirror = new SessionMirror();
  const masks = new Map([["a", new Uint8Array(256).fill(7)]]);
  mirror.adopt(state({ edits: [edit("a")] }), masks);
  const mask = mirror.masks.get("a");
  mirror.apply("retune", { edit: "a", strength: 2 });
  mirror.adopt(state({ edits: [edit("a", { strength: 2 })] }), masks);
  assert.equal(mirror.masks.get("a"), mask);
  mirror.apply("undo", {});
  assert.equal(mirror.edits[0]?.strength, 1, "what was expected leaves the way back");
  mirror.apply("redo", {});
  mirror.adopt(state({ edits: [edit("a", { strength: 4 })] }), masks);
  mirror.apply("undo", {});
  assert.equal(mirror.edits[0]?.strength, 4);
});

test("stroke recorder: what is painted is shown at once and sent with the next frame", () => {
  const mirror = new SessionMirror();
  mirror.adopt(state(), new Map());
  const sent: PageMessage[] = [];
  const outbox = new Outbox(PAGE, (message) => sent.push(message));
  outbox.receive({ type: "welcome", version: 1, page: PAGE, sequence: 0, revision: 0 });
  const steps: (() => void)[] = [];
  const happened: string[] = [];
  const recorder = new StrokeRecorder(mirror, outbox, {
    onNextFrame: (step) => steps.push(step),
    changed: (topic) => happened.push(topic),
    starts: () => happened.push("starts"),
    sent: () => happened.push("sent"),
    ended: () => happened.push("ended"),
  });
  const options = { edit: null, verb: "add", concept: "tree", strength: 1, erase: false } as const;
  const id = recorder.begin(options, { x: 5, y: 5, radius: 2 }, 1) as string;
  assert.ok((mirror.masks.get(id) as Mask).values.some(Boolean));
  assert.deepEqual([sent.length, happened], [0, ["document", "mask"]]);
  steps.shift()?.();
  recorder.end(2);
  assert.deepEqual(
    sent.map((message) => message.type === "stroke" && message.last),
    [false, true],
  );
  assert.deepEqual(happened.slice(2), ["starts", "sent", "sent", "ended"]);
  assert.equal(recorder.painting, false);
});

test("redelivery: a hello that got lost is said again, until an earlier page has delivered all", async () => {
  const message = { type: "command", page: "page-0000", sequence: 1, name: "undo", arguments: {} } as const;
  const undelivered: Undelivered[] = [{ message, buffer: undefined }];
  const removed: string[] = [];
  const sent: string[] = [];
  const redelivery = new Redelivery(new Outbox(PAGE, ({ type, page }) => sent.push(`${type} ${page}`)), {
    save: () => {},
    remove: (page) => removed.push(page),
    find: async () => [
      { page: "page-0000", undelivered },
      { page: PAGE, undelivered },
    ],
    hold: async () => {},
    release: () => {},
    close: () => {},
  });
  await redelivery.search(["journal"]);
  await redelivery.search(["journal"]);
  assert.deepEqual(sent.splice(0), ["hello page-0000", "hidden page-0000"], "once, and not for itself");
  redelivery.retry();
  assert.deepEqual(sent.splice(0), ["hello page-0000", "hidden page-0000"]);
  const answer = { page: "page-0000", revision: 0 };
  assert.equal(redelivery.receive({ type: "welcome", version: 1, sequence: 0, ...answer }), false);
  assert.deepEqual(sent.splice(0), ["command page-0000"]);
  assert.equal(redelivery.receive({ type: "accepted", sequence: 1, ...answer }), true);
  assert.deepEqual(removed, ["page-0000"]);
  redelivery.retry();
  assert.deepEqual(sent, []);
});

test("redelivery: a store that fails is warned of, and nothing else", async () => {
  const warn = console.warn;
  const warned: unknown[] = [];
  console.warn = (...what) => warned.push(what);
  const redelivery = new Redelivery(new Outbox(PAGE, () => {}), {
    save: () => {},
    remove: () => {},
    find: () => Promise.reject(new Error("no database")),
    hold: async () => {},
    release: () => {},
    close: () => {},
  });
  await redelivery.search(["journal"]);
  console.warn = warn;
  assert.equal(warned.length, 1);
});
