/**
 * What the kernel has not accepted outlives the page: a record per page in the browser's IndexedDB. Nothing is written
 * as long as the kernel answers promptly; nothing at all for a session without a journal. Records that nobody has asked
 * for within thirty days are thrown away.
 */

import type { Undelivered } from "../core/outbox";
import type { UndeliveredStore } from "../core/undelivered";

interface Stored {
  page: string;
  journal: string;
  at: number;
  kept: Undelivered[];
}

const NAME = "ganpaint";
const STORE = "undelivered";
const DAYS_30 = 30 * 24 * 3600 * 1000;

/** Milliseconds that a message may wait for the kernel before it is written down. */
const PROMPT = 300;

export function createUndeliveredStore(): UndeliveredStore | undefined {
  // Some hosts put widgets into frames without storage; painting goes on without it.
  if (typeof indexedDB === "undefined") return undefined;
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
  const warn = (reason: unknown): void => console.warn("ganpaint: the browser keeps nothing", reason);

  let timer = 0;
  let latest: { journal: string; page: string; kept: readonly Undelivered[] } | null = null;
  let written = false;

  function write(): void {
    clearTimeout(timer);
    timer = 0;
    if (!latest) return;
    const { journal, page, kept } = latest;
    if (kept.length > 0) {
      written = true;
      run("readwrite", (store) => store.put({ page, journal, at: Date.now(), kept })).catch(warn);
    } else if (written) {
      written = false;
      run("readwrite", (store) => store.delete(page)).catch(warn);
    }
  }

  // The last chance: the page goes, or may be going.
  addEventListener("pagehide", write);

  return {
    save(journal, page, kept) {
      latest = { journal, page, kept: [...kept] };
      // A prompt kernel has accepted everything when the time is over, and then nothing is written.
      if (kept.length > 0 || written) timer ||= window.setTimeout(write, PROMPT);
    },
    remove(page) {
      run("readwrite", (store) => store.delete(page)).catch(warn);
    },
    async find(journals) {
      try {
        const all = (await run("readonly", (store) => store.getAll())) as Stored[];
        for (const { page, at } of all) if (Date.now() - at > DAYS_30) this.remove(page);
        return all
          .filter(({ journal }) => journals.includes(journal))
          .sort((a, b) => a.at - b.at)
          .map(({ page, kept }) => ({ page, undelivered: kept }));
      } catch (reason) {
        warn(reason);
        return [];
      }
    },
  };
}
