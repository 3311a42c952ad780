/**
 * The page's questions to the kernel: references, variants and scenes. Answers are sheets of pictures, or errors, which
 * are kept for the panel that asked.
 */

import type { Question, ReferencesMessage, ScenesMessage, VariantsMessage } from "../protocol/messages";
import type { Host } from "./host";
import type { Outbox, UnaddressedQuestion } from "./outbox";
import { warn } from "./warn";

/** One of several pictures in a sheet, all of one size. */
export interface Tile<Image> {
  sheet: Image;
  column: number;
  columns: number;
}

/** A reference for restyles. In the sheet, the picture is above the generator's version of it. */
export interface ReferenceTile<Image> extends Tile<Image> {
  key: string;
  /** Whether it is one of the user's own pictures. */
  own: boolean;
  decibel: number;
}

/** A scene of the gallery. */
export interface SceneTile<Image> extends Tile<Image> {
  title: string;
}

export type QuestionType = Question["type"];

/** The error of a question without an answer, and its remedy. */
export interface QuestionFailure {
  text: string;
  hint: string;
}

export interface QuestionEvents {
  changed(): void;
  /** An answer has come that cannot be shown. */
  unreadable(failure: QuestionFailure): void;
}

export class Questions<Image> {
  /** The references for restyles, by key, and the concept of the generator's samples among them. */
  readonly references = new Map<string, ReferenceTile<Image>>();
  sampledConcept = "";
  /** The last requested variants. */
  variants: { edit: string; tiles: Tile<Image>[] } | null = null;
  /** The scenes of the gallery that have come, by index, and the number of all scenes. */
  readonly scenes = new Map<number, SceneTile<Image>>();
  sceneCount = 0;

  readonly #host: Pick<Host<Image>, "decode" | "release">;
  readonly #outbox: Outbox;
  readonly #events: QuestionEvents;
  /** Unanswered questions, the oldest first. The kernel answers in this order. */
  readonly #pending = new Set<QuestionType>();
  readonly #failures = new Map<QuestionType, QuestionFailure>();
  /** The sheets that tiles show. */
  #sheets = new Set<Image>();
  #disposed = false;

  constructor(host: Pick<Host<Image>, "decode" | "release">, outbox: Outbox, events: QuestionEvents) {
    this.#host = host;
    this.#outbox = outbox;
    this.#events = events;
  }

  ask(question: UnaddressedQuestion, buffer?: Uint8Array): void {
    this.#pending.add(question.type);
    this.#outbox.ask(question, buffer);
    if (this.#failures.delete(question.type)) this.#events.changed();
  }

  /** The error of the last question of a type; null while an answer may still come. */
  failure(type: QuestionType): QuestionFailure | null {
    return this.#failures.get(type) ?? null;
  }

  /** Notes that the kernel could not answer the oldest question. */
  fail(failure: QuestionFailure): void {
    const [oldest] = this.#pending;
    if (oldest) this.#fail(oldest, failure);
  }

  /** The kernel has come back from a silence. Earlier questions may never be answered. */
  lose(): void {
    for (const type of this.#pending) {
      this.#fail(type, { text: "The kernel has not answered this.", hint: "It answers now: try again." });
    }
  }

  #fail(type: QuestionType, failure: QuestionFailure): void {
    this.#pending.delete(type);
    this.#failures.set(type, failure);
    this.#events.changed();
  }

  async receive(
    message: ReferencesMessage | VariantsMessage | ScenesMessage,
    bytes: Uint8Array,
  ): Promise<void> {
    const samples = message.type === "references" && message.concept !== "";
    const type = message.type === "references" ? (samples ? "samples" : "refer") : message.type;
    this.#pending.delete(type);
    this.#failures.delete(type);
    try {
      const sheet = await this.#host.decode(bytes, type === "scenes" ? "image/jpeg" : "image/png");
      this.#sheets.add(sheet);
      if (!this.#disposed) this.#take(message, sheet);
      this.#releaseUnused();
      this.#events.changed();
    } catch (reason) {
      warn("pictures from the kernel could not be read", reason);
      const failure = { text: "The pictures from the kernel could not be read.", hint: "Try again." };
      this.#fail(type, failure);
      this.#events.unreadable(failure);
    }
  }

  /** Releases all sheets. A sheet that is still being decoded is released afterwards. */
  dispose(): void {
    this.#disposed = true;
    this.references.clear();
    this.scenes.clear();
    this.variants = null;
    this.#releaseUnused();
  }

  #releaseUnused(): void {
    const tiles = [...this.references.values(), ...this.scenes.values(), ...(this.variants?.tiles ?? [])];
    const used = new Set(tiles.map(({ sheet }) => sheet));
    for (const sheet of this.#sheets) if (!used.has(sheet)) this.#host.release(sheet);
    this.#sheets = used;
  }

  #take(message: ReferencesMessage | VariantsMessage | ScenesMessage, sheet: Image): void {
    if (message.type === "variants") {
      const { edit, variants } = message;
      const columns = variants.length;
      this.variants = { edit, tiles: variants.map((_, column) => ({ sheet, column, columns })) };
    } else if (message.type === "scenes") {
      const { first, titles } = message;
      this.sceneCount = message.total;
      for (const [column, title] of titles.entries()) {
        this.scenes.set(first + column, { title, sheet, column, columns: titles.length });
      }
    } else {
      const { concept, entries } = message;
      // A new strip replaces the last one. The user's own picture is added to it.
      if (concept) this.references.clear();
      this.sampledConcept = concept || this.sampledConcept;
      for (const [column, entry] of entries.entries()) {
        this.references.set(entry.key, { ...entry, sheet, column, columns: entries.length });
      }
    }
  }
}
