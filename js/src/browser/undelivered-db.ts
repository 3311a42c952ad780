/**
 * Keeps undelivered messages in the browser's IndexedDB, with a record for each, so that a large file is written once.
 * Nothing is written while the kernel answers promptly, or for a session without a journal. Records that no session
 * has requested for thirty days are deleted.
 */

import type { Undelivered } from "../core/outbox";
import type { UndeliveredStore } from "../core/undelivered";

/** One message; earlier versions kept all messages of a page in one record. */
interface StoredMessage {
  /** The page's id, a space and the sequence. The field has the name of the store's key. */
  page: string;
  journal: string;
  at: number;
  kept: Undelivered[];
}

/** The part of a database that this file uses. Tests replace it. */
export interface Records {
  put(record: StoredMessage): Promise<unknown>;
  /** Removes the records with keys from the first to the last. */
  remove(first: string, last: string): Promise<unknown>;
  all(): Promise<StoredMessage[]>;
  close(): void;
}

const NAME = "ganpaint";
const STORE = "undelivered";
const DAYS_30 = 30 * 24 * 3600 * 1000;

/** Milliseconds that a message may wait for the kernel before it is stored. */
const PROMPT = 300;

const warn = (reason: unknown): void => console.warn("ganpaint: the browser keeps nothing", reason);

export class UndeliveredDb implements UndeliveredStore {
  readonly #records: Records;
  readonly #window: EventTarget;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #latest: { journal: string; page: string; undelivered: readonly Undelivered[] } | null = null;
  /** The entries to write, by key. */
  readonly #written = new Map<string, Undelivered>();

  constructor(records: Records, window: EventTarget) {
    this.#records = records;
    this.#window = window;
    // The last chance, since the page may be about to close.
    window.addEventListener("pagehide", this.#write);
  }

  save(journal: string, page: string, undelivered: readonly Undelivered[]): void {
    this.#latest = { journal, page, undelivered: [...undelivered] };
    // A prompt kernel has accepted everything by then, and nothing is written.
    if (undelivered.length > 0 || this.#written.size > 0) this.#timer ??= setTimeout(this.#write, PROMPT);
  }

  remove(page: string): void {
    // All keys that begin with the page's id: the next character after a space is an exclamation mark.
    this.#records.remove(page, `${page}!`).catch(warn);
  }

  async find(journals: readonly string[]): Promise<{ page: string; undelivered: Undelivered[] }[]> {
    const pages = new Map<string, Undelivered[]>();
    for (const { page: key, journal, at, kept } of await this.#records.all()) {
      if (Date.now() - at > DAYS_30) this.#records.remove(key, key).catch(warn);
      if (!journals.includes(journal)) continue;
      const page = key.split(" ")[0] as string;
      pages.set(page, [...(pages.get(page) ?? []), ...kept]);
    }
    return [...pages].map(([page, found]) => ({
      page,
      undelivered: found.sort((a, b) => a.message.sequence - b.message.sequence),
    }));
  }

  /** Writes the waiting entries, and releases the page and the database. */
  close(): void {
    this.#window.removeEventListener("pagehide", this.#write);
    this.#write();
    this.#records.close();
  }

  readonly #write = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#latest) return;
    const { journal, page, undelivered } = this.#latest;
    const wanted = new Map(undelivered.map((each) => [`${page} ${each.message.sequence}`, each]));
    for (const key of this.#written.keys()) {
      if (wanted.has(key)) continue;
      this.#written.delete(key);
      this.#records.remove(key, key).catch(warn);
    }
    for (const [key, each] of wanted) {
      if (this.#written.get(key) === each) continue;
      this.#written.set(key, each);
      this.#records.put({ page: key, journal, at: Date.now(), kept: [each] }).catch(warn);
    }
  };
}

function openRecords(): Records {
  let database: Promise<IDBDatabase> | null = null;
  const open = (): Promise<IDBDatabase> => {
    database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "page" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return database;
  };
  const run = async <T>(
    mode: IDBTransactionMode,
    ask: (store: IDBObjectStore) => IDBRequest<T>,
  ): Promise<T> => {
    const store = (await open()).transaction(STORE, mode).objectStore(STORE);
    return new Promise((resolve, reject) => {
      const request = ask(store);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  };
  return {
    put: (record) => run("readwrite", (store) => store.put(record)),
    remove: (first, last) => run("readwrite", (store) => store.delete(IDBKeyRange.bound(first, last))),
    all: () => run("readonly", (store) => store.getAll()),
    // Earlier requests come first.
    close: () => void database?.then((opened) => opened.close(), warn),
  };
}

export function createUndeliveredStore(): UndeliveredStore | undefined {
  // Some hosts put widgets into frames without storage. Painting continues without it.
  return typeof indexedDB === "undefined" ? undefined : new UndeliveredDb(openRecords(), window);
}
