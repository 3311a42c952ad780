/**
 * What this page has told the kernel. Strokes and commands are numbered and kept until the kernel has accepted them;
 * what it has not accepted is sent again when it says `welcome`. Knows no DOM, so that tests step it by hand.
 */

import {
  type Accepted,
  type CommandArguments,
  type CommandName,
  type Covers,
  type Failure,
  type NumberedMessage,
  type PageMessage,
  type Question,
  type StrokeMessage,
  VERSION,
  type Welcome,
} from "../protocol";

export type Transmit = (message: PageMessage, buffer?: Uint8Array) => void;

/** Who asks is filled in here. */
type Unaddressed<Q = Question> = Q extends Question ? Omit<Q, "page"> : never;

export interface Kept {
  message: NumberedMessage;
  buffer: Uint8Array | undefined;
}

/**
 * So many messages may be under way while somebody paints; what comes meanwhile goes with the next one. Each costs the
 * server, the kernel and this page some milliseconds, and one that overtakes the pictures makes none of them newer.
 */
const CONGESTED = 2;
/** So many pointer times are remembered: more than can be under way. */
const STAMPS = 1000;

export class Outbox {
  /** The last sequence that was given out. */
  sent = 0;
  /** The last sequence that the kernel has accepted. */
  accepted = 0;
  /** Has the kernel answered? Until then everything waits here. */
  welcomed = false;
  private hidden = false;
  private kept: Kept[] = [];
  private strokes = 0;
  private acknowledged = 0;
  /** The newest frame that has been drawn. */
  private drawn = 0;
  private refused = new Set<number>();
  private stamps: { sequence: number; stamp: number }[] = [];

  constructor(
    readonly page: string,
    private readonly transmit: Transmit,
  ) {}

  /** What an earlier page could not deliver, to be said again in its name: by its numbers the kernel knows what it has. */
  static resume(page: string, transmit: Transmit, kept: readonly Kept[]): Outbox {
    const outbox = new Outbox(page, transmit);
    outbox.hidden = true; // its pictures go to the page that speaks for it
    outbox.kept = [...kept];
    outbox.sent = kept.at(-1)?.message.sequence ?? 0;
    outbox.accepted = (kept[0]?.message.sequence ?? 1) - 1;
    return outbox;
  }

  hello(): void {
    this.post({ type: "hello", version: VERSION, page: this.page });
    // To the kernel, whoever says hello is there and wants to see.
    if (this.hidden) this.post({ type: "hidden", page: this.page });
  }

  /** Says whether anybody sees the page. */
  see(seen: boolean): void {
    if (this.hidden === !seen) return;
    this.hidden = !seen;
    if (seen) this.hello();
    else this.post({ type: "hidden", page: this.page });
  }

  nextStroke(): number {
    return ++this.strokes;
  }

  /** `stamp` is the time of the newest pointer event that the message contains. */
  stroke(
    fields: Omit<StrokeMessage, "type" | "page" | "sequence">,
    values: Uint8Array,
    stamp: number,
  ): number {
    const sequence = this.keep(
      { type: "stroke", page: this.page, sequence: this.sent + 1, ...fields },
      values,
    );
    this.note(sequence, stamp);
    return sequence;
  }

  /** A pointer event has changed nothing, so that a picture which covers all that was sent covers it, too. */
  unchanged(stamp: number): void {
    this.note(this.sent, stamp);
  }

  private note(sequence: number, stamp: number): void {
    const last = this.stamps.at(-1);
    if (last?.sequence === sequence) last.stamp = stamp;
    else this.stamps.push({ sequence, stamp });
    if (this.stamps.length > STAMPS) this.stamps.shift();
  }

  command<N extends CommandName>(name: N, values: CommandArguments[N], buffer?: Uint8Array): number {
    return this.keep(
      { type: "command", page: this.page, sequence: this.sent + 1, name, arguments: values },
      buffer,
    );
  }

  /** The frames up to this one have been drawn: the next message of a stroke says so, or `ack`. */
  drew(frame: number): void {
    this.drawn = Math.max(this.drawn, frame);
  }

  /** Says once what has been drawn. */
  ack(): void {
    if (this.drawn <= this.acknowledged) return;
    this.acknowledged = this.drawn;
    this.post({ type: "ack", page: this.page, frame: this.drawn });
  }

  cancel(): void {
    this.post({ type: "cancel", page: this.page });
  }

  /** Asked once: if the answer is lost, who wants it asks again. */
  ask(question: Unaddressed, buffer?: Uint8Array): void {
    this.post({ ...question, page: this.page } as Question, buffer);
  }

  get congested(): boolean {
    return this.kept.length >= CONGESTED;
  }

  /** What the kernel has not accepted yet, the oldest first. */
  get undelivered(): readonly Kept[] {
    return this.kept;
  }

  beat(): void {
    this.post({ type: "beat", page: this.page });
  }

  /** How many messages the kernel has not accepted yet. */
  get waiting(): number {
    return this.kept.length;
  }

  /** Takes in an answer of the kernel; true if it was meant for this page. */
  receive(message: Welcome | Accepted | Failure): boolean {
    if (message.page !== this.page) return message.page === null;
    if (message.type === "welcome") {
      this.welcomed = true;
      if (message.sequence < this.accepted) this.renumber(message.sequence);
      this.settle(message.sequence);
      for (const { message: kept, buffer } of this.kept) this.post(kept, buffer);
    } else if (message.sequence !== null) {
      // A refused message counts as accepted, or it would be replayed for ever.
      if (message.type === "error" && message.sequence > 0) this.refused.add(message.sequence);
      this.settle(message.sequence);
    }
    return true;
  }

  /**
   * Do these covers include everything that this page has sent? A refused message changed nothing, so that a state
   * which was written before it is still the newest.
   */
  coveredBy(covers: Covers): boolean {
    let covered = covers[this.page] ?? 0;
    while (this.refused.has(covered + 1)) covered++;
    return covered >= this.sent;
  }

  /** The time of the newest pointer event that a picture shows which covers `sequence`; 0 if unknown. */
  stampAt(sequence: number): number {
    for (let index = this.stamps.length - 1; index >= 0; index--) {
      const sent = this.stamps[index] as { sequence: number; stamp: number };
      if (sent.sequence <= sequence) return sent.stamp;
    }
    return 0;
  }

  private keep(message: NumberedMessage, buffer: Uint8Array | undefined): number {
    this.sent = message.sequence;
    this.kept.push({ message, buffer });
    if (!this.welcomed) return message.sequence;
    if (message.type === "stroke" && this.drawn > this.acknowledged) {
      this.acknowledged = this.drawn;
      this.post({ ...message, drawn: this.drawn }, buffer);
    } else this.post(message, buffer);
    return message.sequence;
  }

  /** The kernel has accepted everything up to `sequence`, or shows it. */
  settle(sequence: number): void {
    this.accepted = Math.max(this.accepted, Math.min(sequence, this.sent));
    this.kept = this.kept.filter((kept) => kept.message.sequence > sequence);
  }

  /** The kernel knows less of this page than it did: it started anew. What waits continues from what it knows. */
  private renumber(sequence: number): void {
    const before = this.kept.map((kept) => kept.message.sequence);
    // New objects: the old ones may still lie in a queue of the connection.
    this.kept = this.kept.map(({ message, buffer }, index) => ({
      message: { ...message, sequence: sequence + index + 1 },
      buffer,
    }));
    const now = (old: number): number => {
      const index = before.indexOf(old);
      return index < 0 ? 0 : sequence + index + 1;
    };
    this.stamps = this.stamps.map(({ sequence: old, stamp }) => ({ sequence: now(old), stamp }));
    this.refused.clear();
    this.accepted = sequence;
    this.sent = sequence + this.kept.length;
  }

  /** A send that throws (no kernel, a closed connection) loses nothing: the message is kept and replayed. */
  private post(message: PageMessage, buffer?: Uint8Array): void {
    try {
      this.transmit(message, buffer);
    } catch (reason) {
      console.warn("ganpaint: a message could not be sent now and waits", reason);
    }
  }
}
