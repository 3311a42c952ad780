/** Undelivered messages of a page, which a later page of the same session delivers in its name. */

import type { AcceptedMessage, ErrorMessage, WelcomeMessage } from "../protocol/messages";
import type { Outbox, Undelivered } from "./outbox";
import { warn } from "./warn";

/** Keeps undelivered messages beyond the page's end. */
export interface UndeliveredStore {
  /** Sets the messages that the page must still deliver, in the session with this journal. */
  save(journal: string, page: string, undelivered: readonly Undelivered[]): void;
  remove(page: string): void;
  find(journals: readonly string[]): Promise<{ page: string; undelivered: Undelivered[] }[]>;
  /**
   * Resolves once nobody in this browser holds that page's id, and holds it until `release` or this page's
   * end. Each page holds its own id, and so others learn of its end. In a browser without locks, it resolves
   * at once.
   */
  hold(page: string): Promise<void>;
  /** Releases all ids, and drops requests for them. */
  release(): void;
  /** Writes the waiting messages, and releases everything. */
  close(): void;
}

export class Redelivery {
  readonly #own: Outbox;
  readonly #store: UndeliveredStore | undefined;
  readonly #outboxes = new Map<string, Outbox>();
  /**
   * Outboxes with a large last message, which the kernel may have and be at work on. This page then sends a
   * probe under its own number. The kernel carries out the messages of all pages in the order in which they
   * came. Once it has accepted the probe, it lacks whatever it has not accepted.
   */
  readonly #doubtful = new Set<Outbox>();
  #journals: readonly string[] = [];

  constructor(own: Outbox, store: UndeliveredStore | undefined) {
    this.#own = own;
    this.#store = store;
    void store?.hold(own.page);
  }

  /** Finds and sends the undelivered messages of earlier pages of this session, and of those that it continues. */
  async search(journals: readonly string[]): Promise<void> {
    const store = this.#store;
    if (!store || journals.join(" ") === this.#journals.join(" ")) return;
    this.#journals = journals;
    try {
      const found = await store.find(journals);
      await Promise.all(found.map(({ page }) => this.#adopt(page, store)));
    } catch (reason) {
      warn("what earlier pages could not deliver was not found", reason);
    }
  }

  /** Speaks for a page from its end on. Until then, it may be in another tab, and delivers by itself. */
  async #adopt(page: string, store: UndeliveredStore): Promise<void> {
    if (page === this.#own.page) return;
    await store.hold(page);
    // Messages may have been delivered or added in the meantime.
    const left = (await store.find(this.#journals)).find((each) => each.page === page)?.undelivered;
    if (!left?.length || this.#outboxes.has(page)) return;
    const outbox = this.#own.resume(page, left, () => {
      if (this.#doubtful.has(outbox)) return;
      this.#doubtful.add(outbox);
      this.#own.probe();
    });
    this.#outboxes.set(page, outbox);
    outbox.hello();
  }

  /**
   * Leaves everything to a later page. The kernel may be gone for good while this page stays in its tab, and
   * the page of a recovered session comes beside it.
   */
  leave(): void {
    this.#journals = [];
    this.#store?.release();
  }

  /** Asks again what the kernel has of the earlier pages, since the first hello may have been lost. */
  retry(): void {
    // In case everything was left. If not, this request is dropped with the first.
    void this.#store?.hold(this.#own.page);
    for (const outbox of this.#outboxes.values()) if (outbox.waiting > 0) outbox.hello();
  }

  /** Handles an answer of the kernel. True if it completes the delivery of an earlier page's messages. */
  receive(message: WelcomeMessage | AcceptedMessage | ErrorMessage): boolean {
    if (message.page === this.#own.page && message.sequence === this.#own.sent) {
      for (const each of this.#doubtful) each.resend();
      this.#doubtful.clear();
    }
    const outbox = message.page === null ? undefined : this.#outboxes.get(message.page);
    if (!outbox?.waiting) return false;
    outbox.receive(message);
    if (outbox.waiting > 0) return false;
    this.#store?.remove(outbox.page);
    return true;
  }
}
