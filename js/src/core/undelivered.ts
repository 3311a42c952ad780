/** Undelivered messages of a page, which a later page of the same session delivers in its name. */

import type { AcceptedMessage, ErrorMessage, WelcomeMessage } from "../protocol/messages";
import { Outbox, type Transmit, type Undelivered } from "./outbox";

/** Keeps undelivered messages beyond the page's end. */
export interface UndeliveredStore {
  /** Sets the messages that the page must still deliver, in the session with this journal. */
  save(journal: string, page: string, undelivered: readonly Undelivered[]): void;
  remove(page: string): void;
  find(journals: readonly string[]): Promise<{ page: string; undelivered: Undelivered[] }[]>;
  /** Writes the waiting messages, and releases everything. */
  close(): void;
}

export class Redelivery {
  readonly #page: string;
  readonly #transmit: Transmit;
  readonly #store: UndeliveredStore | undefined;
  readonly #outboxes = new Map<string, Outbox>();
  #searched = "";

  constructor(page: string, transmit: Transmit, store: UndeliveredStore | undefined) {
    this.#page = page;
    this.#transmit = transmit;
    this.#store = store;
  }

  /** Finds and sends the undelivered messages of earlier pages of this session, and of those that it continues. */
  async search(journals: readonly string[]): Promise<void> {
    const wanted = journals.join(" ");
    if (wanted === this.#searched || !this.#store) return;
    this.#searched = wanted;
    try {
      for (const { page, undelivered } of await this.#store.find(journals)) {
        if (page === this.#page || this.#outboxes.has(page) || undelivered.length === 0) continue;
        const outbox = Outbox.resume(page, this.#transmit, undelivered);
        this.#outboxes.set(page, outbox);
        outbox.hello();
      }
    } catch (reason) {
      console.warn("ganpaint: what earlier pages could not deliver was not found", reason);
    }
  }

  /** Asks again what the kernel has of the earlier pages, since the first hello may have been lost. */
  retry(): void {
    for (const outbox of this.#outboxes.values()) if (outbox.waiting > 0) outbox.hello();
  }

  /** Handles the kernel's answer to an earlier page. True if that page has now delivered everything. */
  receive(message: WelcomeMessage | AcceptedMessage | ErrorMessage): boolean {
    const outbox = message.page === null ? undefined : this.#outboxes.get(message.page);
    if (!outbox?.waiting) return false;
    outbox.receive(message);
    if (outbox.waiting > 0) return false;
    this.#store?.remove(outbox.page);
    return true;
  }
}
