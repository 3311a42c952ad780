/** What several tests use: states and masks as the kernel writes them, and a host that tests lead by hand. */

import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import type { Host } from "../src/core/host";
import type { KernelMessage, NumberedMessage, PageMessage } from "../src/protocol/messages";
import type { Edit, SessionState } from "../src/protocol/state";
import { pageProblem } from "../src/protocol/validate-page-message";

export const ID = "page-0001";
export const SIZE = 16;

/** A gray PNG of one value; the reader does not check sums. */
export function flat(value: number): Uint8Array {
  const chunk = (kind: string, data: Uint8Array): Buffer => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    return Buffer.concat([size, Buffer.from(kind), data, Buffer.alloc(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIZE, 0);
  header.writeUInt32BE(SIZE, 4);
  header[8] = 8;
  const row = [0, ...new Array<number>(SIZE).fill(value)];
  const rows = deflateSync(Uint8Array.from(new Array(SIZE).fill(row).flat()));
  return new Uint8Array(
    Buffer.concat([
      Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
      chunk("IHDR", header),
      chunk("IDAT", rows),
    ]),
  );
}

export function state(changes: Partial<SessionState> = {}): SessionState {
  return {
    revision: 1,
    covers: {},
    title: "Church",
    width: SIZE,
    height: SIZE,
    cells: [4, 4],
    classes: [],
    journal: [],
    generator: "tiny",
    concepts: [{ name: "tree", color: "#00ff00", quality: 1 }],
    verbs: ["add", "remove"],
    edits: [],
    can_undo: false,
    can_redo: false,
    has_gallery: true,
    job: null,
    measures: { reconstruction_decibel: 20, blend: null },
    notice: null,
    ...changes,
  };
}

export const NONE = { photo: null, reconstruction: null, preview: null, result: null };
export const edit = (id: string, changes: Partial<Edit> = {}): Edit => ({
  id,
  verb: "add",
  concept: "tree",
  strength: 1,
  enabled: true,
  ...changes,
});
/** All that is decoded here is decoded at once; by the next turn of the loop its promises have been kept. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
export const TREE = { edit: null, verb: "add", concept: "tree", strength: 1, erase: false } as const;
export const dab = (x: number, y: number, radius = 2) => ({ x, y, radius });

/** Keeps what is sent, and runs steps when it is told to. Pictures are decoded to the text that they are. */
export class TestHost implements Host<string> {
  sent: { message: PageMessage; buffer: Uint8Array | undefined }[] = [];
  steps: (() => void)[] = [];
  downloaded: string[] = [];
  released: string[] = [];

  send = (message: PageMessage, buffer?: Uint8Array): void => {
    assert.equal(pageProblem(message, buffer?.length ?? null), null);
    this.sent.push({ message: structuredClone(message), buffer });
  };

  async decode(bytes: Uint8Array): Promise<string> {
    return new TextDecoder().decode(bytes);
  }

  release = (image: string): void => {
    this.released.push(image);
  };

  onNextFrame = (step: () => void): void => {
    this.steps.push(step);
  };

  download(bytes: Uint8Array, name: string): void {
    this.downloaded.push(`${name} ${bytes.length}`);
  }

  tick(): void {
    for (const step of this.steps.splice(0)) step();
  }

  /** The types of what was sent since the last call. */
  types(): string[] {
    return this.sent.splice(0).map(({ message }) => message.type);
  }
}

/**
 * Numbers a page's messages as the kernel does: takes each once and in order, answers a gap with `welcome`, and accepts
 * what is slow when it is `done`.
 */
export class TestKernel {
  received = 0;
  accepted = 0;
  /** How many bytes have come in buffers. */
  bytes = 0;
  taken: NumberedMessage[] = [];
  /** Which messages get lost on their way. */
  lost: (message: PageMessage) => boolean = () => false;
  readonly #answer: (message: KernelMessage) => void;

  constructor(answer: (message: KernelMessage) => void) {
    this.#answer = answer;
  }

  hear = (message: PageMessage, buffer?: Uint8Array): void => {
    this.bytes += buffer?.length ?? 0;
    if (this.lost(message)) return;
    if (message.type === "hello") this.#say("welcome", message.page);
    else if (message.type === "beat") this.#say("alive", message.page);
    else if ("sequence" in message) {
      if (message.sequence > this.received + 1) this.#say("welcome", message.page);
      else if (message.sequence <= this.received) this.#say("accepted", message.page);
      else {
        this.received = message.sequence;
        this.taken.push(message);
      }
    }
  };

  done(page = ID): void {
    this.accepted = this.received;
    this.#say("accepted", page);
  }

  #say(type: "welcome" | "alive" | "accepted", page: string): void {
    this.#answer({ type, version: 1, page, sequence: this.accepted, revision: 0 });
  }
}
