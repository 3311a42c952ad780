/** What the page asks the kernel beside the edits: references, variants and scenes. Answers are sheets of pictures. */

import type { ReferencesMessage, ScenesMessage, VariantsMessage } from "../protocol/messages";
import type { Host } from "./host";
import type { Outbox, UnaddressedQuestion } from "./outbox";

/** One of several pictures in a sheet, all of one size. */
export interface Tile<Image> {
  sheet: Image;
  column: number;
  columns: number;
}

/** What a restyle can refer to: above in the sheet the picture, below what the generator makes of it. */
export interface ReferenceTile<Image> extends Tile<Image> {
  key: string;
  /** Is it a picture of the user's own? */
  own: boolean;
  decibel: number;
}

/** A scene of the gallery. */
export interface SceneTile<Image> extends Tile<Image> {
  title: string;
}

export class Questions<Image> {
  /** What restyles can refer to, by key, and of which concept the generator's samples among it are. */
  readonly references = new Map<string, ReferenceTile<Image>>();
  sampledConcept = "";
  /** The variants that were asked for last. */
  variants: { edit: string; tiles: Tile<Image>[] } | null = null;
  /** The scenes of the gallery that have been looked at, by index, and how many there are. */
  readonly scenes = new Map<number, SceneTile<Image>>();
  sceneCount = 0;

  readonly #host: Pick<Host<Image>, "decode">;
  readonly #outbox: Outbox;
  readonly #changed: () => void;

  constructor(host: Pick<Host<Image>, "decode">, outbox: Outbox, changed: () => void) {
    this.#host = host;
    this.#outbox = outbox;
    this.#changed = changed;
  }

  ask(question: UnaddressedQuestion, buffer?: Uint8Array): void {
    this.#outbox.ask(question, buffer);
  }

  async receive(
    message: ReferencesMessage | VariantsMessage | ScenesMessage,
    bytes: Uint8Array,
  ): Promise<void> {
    const sheet = await this.#host.decode(bytes, message.type === "scenes" ? "image/jpeg" : "image/png");
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
      // A new strip replaces the one before; a picture of one's own joins it.
      if (concept) this.references.clear();
      this.sampledConcept = concept || this.sampledConcept;
      for (const [column, entry] of entries.entries()) {
        this.references.set(entry.key, { ...entry, sheet, column, columns: entries.length });
      }
    }
    this.#changed();
  }
}
