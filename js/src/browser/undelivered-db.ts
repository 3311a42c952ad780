/**
 * Keeps undelivered messages in the browser's IndexedDB, with a record for each, so that a large file is written once.
 * Nothing is written while the kernel answers promptly, or for a session without a journal. Records that no session
 * has requested for thirty days are deleted.
 */

import type { Undelivered } from "../core/outbox";
import type { UndeliveredStore } from "../core/undelivered";
import { warn } from "../core/warn";

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

/**
 * The part of the browser's Web Locks that this file uses. The browser calls `held` once nobody has the lock.
 * It ends with the promise, or with the page.
 */
export interface Locks {
  request(name: string, held: () => Promise<void>): Promise<unknown>;
}

const NAME = "ganpaint";
const STORE = "undelivered";
const DAYS_30 = 30 * 24 * 3600 * 1000;

/** Milliseconds that a message may wait for the kernel before it is stored. */
const PROMPT = 300;

const lost = (reason: unknown): void => warn("the browser keeps nothing", reason);

export class UndeliveredDb implements UndeliveredStore {
  readonly #records: Records;
  readonly #window: EventTarget;
  readonly #locks: Locks | undefined;
  /** Lasts as long as the present locks. */
  #holding = Promise.resolve();
  #release = (): void => {};
  #timer: ReturnType<typeof setTimeout> | undefined;
  #latest: { journal: string; page: string; undelivered: readonly Undelivered[] } | null = null;
  /** The entries to write, by key. */
  readonly #written = new Map<string, Undelivered>();

  constructor(records: Records, window: EventTarget, locks?: Locks) {
    this.#records = records;
    this.#window = window;
    this.#locks = locks;
    this.release();
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
    this.#records.remove(page, `${page}!`).catch(lost);
  }

  async find(journals: readonly string[]): Promise<{ page: string; undelivered: Undelivered[] }[]> {
    const pages = new Map<string, Undelivered[]>();
    for (const { page: key, journal, at, kept } of await this.#records.all()) {
      if (Date.now() - at > DAYS_30) this.#records.remove(key, key).catch(lost);
      if (!journals.includes(journal)) continue;
      const page = key.split(" ")[0] as string;
      pages.set(page, [...(pages.get(page) ?? []), ...kept]);
    }
    return [...pages].map(([page, found]) => ({
      page,
      undelivered: found.sort((a, b) => a.message.sequence - b.message.sequence),
    }));
  }

  hold(page: string): Promise<void> {
    const holding = this.#holding;
    return new Promise((resolve) => {
      // Browsers have no locks on pages without TLS, such as those of many hubs.
      if (!this.#locks) return resolve();
      const held = (): Promise<void> => {
        if (holding === this.#holding) resolve();
        return holding;
      };
      this.#locks.request(`${NAME} ${page}`, held).catch(lost);
    });
  }

  release(): void {
    // The page that gets a lock next must find everything.
    this.#write();
    this.#release();
    this.#holding = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  /** Writes the waiting entries, and releases the page, the locks and the database. */
  close(): void {
    this.#window.removeEventListener("pagehide", this.#write);
    this.release();
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
      this.#records.remove(key, key).catch(lost);
    }
    for (const [key, each] of wanted) {
      if (this.#written.get(key) === each) continue;
      this.#written.set(key, each);
      this.#records.put({ page: key, journal, at: Date.now(), kept: [each] }).catch(lost);
    }
  };
}

/** Resolves with a request's result. */
function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function openRecords(): Records {
  let database: Promise<IDBDatabase> | null = null;
  const open = (): Promise<IDBDatabase> => {
    if (!database) {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "page" });
      database = resultOf(request);
    }
    return database;
  };
  const run = async <T>(
    mode: IDBTransactionMode,
    ask: (store: IDBObjectStore) => IDBRequest<T>,
  ): Promise<T> => {
    return resultOf(ask((await open()).transaction(STORE, mode).objectStore(STORE)));
  };
  return {
    put: (record) => run("readwrite", (store) => store.put(record)),
    remove: (first, last) => run("readwrite", (store) => store.delete(IDBKeyRange.bound(first, last))),
    all: () => run("readonly", (store) => store.getAll()),
    // Earlier requests come first.
    close: () => void database?.then((opened) => opened.close(), lost),
  };
}

export function createUndeliveredStore(): UndeliveredStore | undefined {
  // Some hosts put widgets into frames without storage. Painting continues without it.
  if (typeof indexedDB === "undefined") return undefined;
  return new UndeliveredDb(openRecords(), window, navigator.locks);
}
