/** Does the kernel answer? It is asked when it has been quiet; its silence is told with what the host adds to it. */

import type { HostKernelStatus } from "./host";

/**
 * Without an answer, `silent` is all that is known; `busy`, `gone` and `unreachable` are what the host adds. In an
 * exported notebook no kernel will ever answer: what was `saved` can be looked at, and not be changed.
 */
export type Health = "answers" | "silent" | "busy" | "gone" | "unreachable" | "saved";

/** Milliseconds: so long without a message from the kernel, and it is asked; again after so long; silent after so long. */
const ASK_AFTER = 2000;
const ASK_AGAIN_AFTER = 5000;
const SILENT_AFTER = 4000;
/** Where the host says that the kernel is idle, it may only be starved, as by another program. Not for so long. */
const GONE_AFTER = 20_000;

export class KernelHealth {
  status: Health = "answers";
  #now = 0;
  #lastMessage = 0;
  /** Since when the kernel owes an answer, and when it was asked last. */
  #askedSince: number | null = null;
  #askedLast = 0;

  /** To be called every second or so; `now` in milliseconds. True if the kernel is to be asked for an answer. */
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
    // A kernel that is gone stays gone until it answers: the host tells of another one.
    else if (silence >= SILENT_AFTER && this.status !== "gone") {
      if (host !== "idle") this.status = host ?? "silent";
      else this.status = silence >= GONE_AFTER ? "gone" : "silent";
    }
    return ask;
  }

  /** The kernel has sent a message. True if it comes back from a silence, in which messages may have been lost. */
  answered(): boolean {
    this.#lastMessage = this.#now;
    this.#askedSince = null;
    const back = this.status !== "answers";
    this.status = "answers";
    return back;
  }
}
