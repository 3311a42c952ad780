/**
 * This page's messages to the kernel. Strokes and commands are numbered, and kept until the kernel has accepted them.
 * A message that is not accepted is not necessarily lost: a kernel may take minutes to open and accept a large photo.
 * So messages are sent again only if the kernel is known to lack some.
 */

import {
  type AcceptedMessage,
  type CommandArguments,
  type CommandName,
  type Covers,
  type ErrorMessage,
  type NumberedMessage,
  type PageMessage,
  type Question,
  type Rect,
  type StrokeMessage,
  VERSION,
  type WelcomeMessage,
} from "../protocol/messages";
import { warn } from "./warn";

/** Sends a message to the kernel, or throws if that is impossible at present. */
export type Transmit = (message: PageMessage, buffer?: Uint8Array) => void;

/** A question, before the outbox adds the page. */
export type UnaddressedQuestion<Q = Question> = Q extends Question ? Omit<Q, "page"> : never;

/** A message that the kernel has not accepted yet. */
export interface Undelivered {
  message: NumberedMessage;
  buffer: Uint8Array | undefined;
}

/**
 * The most messages on the way during a stroke. The next one carries everything that is painted meanwhile. Each message
 * costs the server, the kernel and this page some milliseconds, and sending faster than pictures come gains nothing.
 */
const CONGESTED = 2;
/** Bytes. A larger message is not sent again only to find out whether the kernel has it. */
const LARGE = 10_000;
/** The edit of strokes without pixels. They change nothing, and their number asks which messages the kernel has. */
const PROBE = "probe";
/** Pointer times to remember: more than there can be messages on the way. */
const STAMPS = 1000;

export class Outbox {
  /** The last assigned sequence. */
  sent = 0;
  /** The last sequence that the kernel has accepted. */
  accepted = 0;
  /** Whether the kernel has answered. Until then, all messages wait. */
  welcomed = false;
  readonly #transmit: Transmit;
  #hidden = false;
  #undelivered: Undelivered[] = [];
  /** The last sequence that was handed to the connection. */
  #posted = 0;
  /** Whether everything was sent again since the kernel was last asked or last accepted a message. */
  #replayed = false;
  /**
   * The number of unanswered `hello`s, since many wait while a kernel loads. If one got lost, the count is
   * too high. Then an unrequested welcome counts as an answer, and the page asks again. So the count falls.
   */
  #greetings = 0;
  /** Asks in another way whether the kernel has a large message. */
  #doubt: (() => void) | undefined;
  #strokes = 0;
  /** The newest drawn frame, and the newest that was acknowledged. */
  #drawn = 0;
  #acknowledged = 0;
  readonly #refused = new Set<number>();
  /** The time of the newest pointer event in each sequence. */
  #stamps: { sequence: number; stamp: number }[] = [];

  constructor(
    readonly page: string,
    transmit: Transmit,
  ) {
    this.#transmit = transmit;
  }

  /**
   * Returns an outbox of messages that an earlier page could not deliver, to send them again in its name.
   * Their numbers prevent repeats. It makes no new numbers, since the page may live after all and use them.
   * So it calls `doubt` instead of sending a probe, and waits for `resend`.
   */
  resume(page: string, undelivered: readonly Undelivered[], doubt: () => void): Outbox {
    const outbox = new Outbox(page, this.#transmit);
    outbox.#doubt = doubt;
    outbox.#hidden = true; // the page that speaks for it gets the pictures
    outbox.#undelivered = [...undelivered];
    outbox.sent = outbox.#posted = undelivered.at(-1)?.message.sequence ?? 0;
    outbox.accepted = (undelivered[0]?.message.sequence ?? 1) - 1;
    return outbox;
  }

  hello(): void {
    this.#greetings++;
    this.#post({ type: "hello", version: VERSION, page: this.page });
    // After a hello, the kernel sends pictures to the page.
    if (this.#hidden) this.#post({ type: "hidden", page: this.page });
  }

  /** Tells the kernel whether the page is in sight. */
  setVisible(visible: boolean): void {
    if (this.#hidden === !visible) return;
    this.#hidden = !visible;
    if (visible) this.hello();
    else this.#post({ type: "hidden", page: this.page });
  }

  nextStroke(): number {
    return ++this.#strokes;
  }

  /** `stamp` is the time of the newest pointer event that the message contains. */
  stroke(
    fields: Omit<StrokeMessage, "type" | "page" | "sequence">,
    values: Uint8Array,
    stamp: number,
  ): number {
    const sequence = this.#send(
      { type: "stroke", page: this.page, sequence: this.sent + 1, ...fields },
      values,
    );
    this.#note(sequence, stamp);
    return sequence;
  }

  command<N extends CommandName>(name: N, values: CommandArguments[N], buffer?: Uint8Array): number {
    return this.#send(
      { type: "command", page: this.page, sequence: this.sent + 1, name, arguments: values },
      buffer,
    );
  }

  cancel(): void {
    this.#post({ type: "cancel", page: this.page });
  }

  beat(): void {
    this.#post({ type: "beat", page: this.page });
  }

  /** Sends a question once, without keeping it. */
  ask(question: UnaddressedQuestion, buffer?: Uint8Array): void {
    this.#post({ ...question, page: this.page } as Question, buffer);
  }

  /** Notes that frames up to this one are drawn. The next message of a stroke, or `ack`, reports it. */
  frameDrawn(frame: number): void {
    this.#drawn = Math.max(this.#drawn, frame);
  }

  /** Acknowledges drawn frames once. */
  acknowledge(): void {
    if (this.#drawn <= this.#acknowledged) return;
    this.#acknowledged = this.#drawn;
    this.#post({ type: "ack", page: this.page, frame: this.#drawn });
  }

  get congested(): boolean {
    return this.waiting >= CONGESTED;
  }

  /** The number of messages that the kernel has not accepted yet. */
  get waiting(): number {
    return this.#undelivered.length;
  }

  /** Messages that the kernel has not accepted yet, the oldest first. */
  get undelivered(): readonly Undelivered[] {
    return this.#undelivered;
  }

  // ------------------------------------------------------------------------------------------------- answers

  /** Handles an answer of the kernel; true if it was for this page. */
  receive(message: WelcomeMessage | AcceptedMessage | ErrorMessage): boolean {
    if (message.page !== this.page) return message.page === null;
    if (message.type === "welcome") {
      this.welcomed = true;
      const greeted = this.#greetings > 0;
      if (greeted) this.#greetings--;
      if (message.sequence < this.accepted) this.#renumber(message.sequence);
      else if (!greeted && !this.#replayed) {
        // An unrequested welcome means that a message before the answered one is missing. The kernel sends it for each
        // message on the way, and everything is sent again once.
        this.#posted = message.sequence;
        this.#replayed = this.waiting > 0;
      }
      this.acceptUpTo(message.sequence);
      if (greeted && this.#posted === this.sent) this.checkDelivery();
      for (const each of this.#undelivered) if (each.message.sequence > this.#posted) this.#deliver(each);
    } else if (message.sequence !== null) {
      // A refused message counts as accepted. Otherwise it would be repeated for ever.
      if (message.type === "error" && message.sequence > 0) this.#refused.add(message.sequence);
      this.acceptUpTo(message.sequence);
    }
    return true;
  }

  /** Notes that the kernel has accepted everything up to `sequence`, or shows it in a picture. */
  acceptUpTo(sequence: number): void {
    const accepted = Math.max(this.accepted, Math.min(sequence, this.sent));
    this.#replayed &&= accepted === this.accepted;
    this.accepted = accepted;
    this.#posted = Math.max(this.#posted, this.accepted);
    this.#undelivered = this.#undelivered.filter(({ message }) => message.sequence > sequence);
  }

  /**
   * Asks whether the kernel has everything that was sent, by sending the last message again, or a stroke without pixels
   * if that is large. A kernel that lacks an earlier message answers with `welcome`.
   */
  checkDelivery(): void {
    this.#replayed = false;
    const last = this.#undelivered.at(-1);
    if (!last) return;
    if ((last.buffer?.byteLength ?? 0) <= LARGE) this.#deliver(last);
    else if (this.#doubt) this.#doubt();
    else this.probe();
  }

  /** Sends a stroke without pixels, whose acceptance tells that the kernel has come so far. */
  probe(): void {
    const nothing = { edit: PROBE, verb: "add", concept: "-", strength: 1, last: true } as const;
    const fields = { ...nothing, stroke: this.nextStroke(), rect: [0, 0, 0, 0] as Rect };
    this.stroke(fields, new Uint8Array(0), this.stampAt(this.sent));
  }

  /** Sends everything again that the kernel has not accepted. */
  resend(): void {
    this.#posted = this.accepted;
    for (const each of this.#undelivered) this.#deliver(each);
  }

  /** Whether this is the number of a stroke that only asks. A refusal answers the question as well. */
  isProbe(sequence: number | null): boolean {
    const found = this.#undelivered.find(({ message }) => message.sequence === sequence)?.message;
    return found?.type === "stroke" && found.edit === PROBE;
  }

  /**
   * Whether these covers include everything that this page has sent. A refused message changed nothing, so a state from
   * before it is still the newest.
   */
  coveredBy(covers: Covers): boolean {
    let covered = covers[this.page] ?? 0;
    while (this.#refused.has(covered + 1)) covered++;
    return covered >= this.sent;
  }

  // -------------------------------------------------------------------------------------------- pointer times

  /** Notes a pointer event without a change. A picture that covers all sent messages covers it as well. */
  unchanged(stamp: number): void {
    this.#note(this.sent, stamp);
  }

  /** Returns the time of the newest pointer event in a picture that covers `sequence`; 0 if unknown. */
  stampAt(sequence: number): number {
    for (let index = this.#stamps.length - 1; index >= 0; index--) {
      const noted = this.#stamps[index] as { sequence: number; stamp: number };
      if (noted.sequence <= sequence) return noted.stamp;
    }
    return 0;
  }

  #note(sequence: number, stamp: number): void {
    const last = this.#stamps.at(-1);
    if (last?.sequence === sequence) last.stamp = stamp;
    else this.#stamps.push({ sequence, stamp });
    if (this.#stamps.length > STAMPS) this.#stamps.shift();
  }

  // ------------------------------------------------------------------------------------------------- sending

  #send(message: NumberedMessage, buffer: Uint8Array | undefined): number {
    this.sent = message.sequence;
    this.#undelivered.push({ message, buffer });
    if (!this.welcomed) return message.sequence;
    if (message.type === "stroke" && this.#drawn > this.#acknowledged) {
      this.#acknowledged = this.#drawn;
      this.#deliver({ message: { ...message, drawn: this.#drawn }, buffer });
    } else this.#deliver({ message, buffer });
    return message.sequence;
  }

  #deliver({ message, buffer }: Undelivered): void {
    if (this.#post(message, buffer) && message.sequence === this.#posted + 1) this.#posted++;
  }

  /** The kernel has restarted and knows less of this page. Waiting messages are renumbered from its count. */
  #renumber(sequence: number): void {
    const before = this.#undelivered.map(({ message }) => message.sequence);
    // New objects, since the old ones may still be in a queue of the connection.
    this.#undelivered = this.#undelivered.map(({ message, buffer }, index) => ({
      message: { ...message, sequence: sequence + index + 1 },
      buffer,
    }));
    const now = (old: number): number => {
      const index = before.indexOf(old);
      return index < 0 ? 0 : sequence + index + 1;
    };
    this.#stamps = this.#stamps.map(({ sequence: old, stamp }) => ({ sequence: now(old), stamp }));
    this.#refused.clear();
    this.accepted = this.#posted = sequence;
    this.sent = sequence + this.#undelivered.length;
  }

  /** Sends without throwing. If that fails (no kernel, a closed connection), numbered messages are sent again later. */
  #post(message: PageMessage, buffer?: Uint8Array): boolean {
    try {
      this.#transmit(message, buffer);
      return true;
    } catch (reason) {
      warn("a message could not be sent now and waits", reason);
      return false;
    }
  }
}
