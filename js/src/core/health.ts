/** Checks whether the kernel answers. A quiet kernel is asked, and the host may explain its silence. */

import type { HostKernelStatus } from "./host";

/**
 * Without an answer, the page only knows `silent`. The host may add `busy`, `gone` and `unreachable`. In an exported
 * notebook, no kernel will ever answer: a `saved` session can be viewed but not changed.
 */
export type Health = "answers" | "silent" | "busy" | "gone" | "unreachable" | "saved";

/** Milliseconds: without a message before a question, between questions, and without an answer before "silent". */
const ASK_AFTER = 2000;
const ASK_AGAIN_AFTER = 5000;
const SILENT_AFTER = 4000;
/** Milliseconds for which a silent kernel that the host reports idle may merely be starved by another program. */
const GONE_AFTER = 20_000;

export class KernelHealth {
  status: Health = "answers";
  #now = 0;
  #lastMessage = 0;
  /** The time since which the kernel owes an answer, and the time of the last question. */
  #askedSince: number | null = null;
  #askedLast = 0;

  /** Call this about every second, with `now` in milliseconds. Returns true if the kernel must be asked. */
  check(now: number, host: HostKernelStatus | null): boolean {
    this.#now = now;
    this.#lastMessage ||= now;
    if (host === "none") {
      this.status = "saved";
      return false;
    }
    const quiet = now - this.#lastMessage >= ASK_AFTER;
    const ask = quiet && (this.#askedSince === null || now - this.#askedLast >= ASK_AGAIN_AFTER);
    if (ask) {
      this.#askedSince ??= now;
      this.#askedLast = now;
    }
    const silence = this.#askedSince === null ? 0 : now - this.#askedSince;
    if (host === "dead") this.status = "gone";
    // A kernel that is gone stays gone until it answers, since the host may report another kernel.
    else if (silence >= SILENT_AFTER && this.status !== "gone") {
      if (host !== "idle") this.status = host ?? "silent";
      else this.status = silence >= GONE_AFTER ? "gone" : "silent";
    }
    return ask;
  }

  /** The kernel has sent a message. Returns true after a silence, in which messages may have been lost. */
  answered(): boolean {
    this.#lastMessage = this.#now;
    this.#askedSince = null;
    const back = this.status !== "answers";
    this.status = "answers";
    return back;
  }
}
