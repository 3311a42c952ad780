/** When the page blends by itself: again after each edit, once the user pauses, and never the same edits twice. */

/** Milliseconds without a change after which the edits are blended again. */
const PAUSE_BEFORE_BLEND = 900;

export class BlendPolicy {
  /** Does the user want the edits to be blended again after each change? */
  enabled = false;
  /** Was the last blend started by this policy? */
  automatic = false;
  /** Has this page changed the edits since it last asked for a blend? */
  #edited = false;
  /** With how many messages sent it was found that a blend is due, and when. */
  #due: { sent: number; since: number } | null = null;

  /** The user changes the edits. True if the running blend is to be canceled: it started by itself. */
  edited(blending: boolean): boolean {
    this.#edited = true;
    const cancel = this.automatic && blending;
    this.automatic = false;
    return cancel;
  }

  /** Another picture is opened. */
  pictureChanged(): void {
    this.#edited = false;
  }

  /** A blend has been asked for. */
  blendStarted(automatic = false): void {
    this.#edited = false;
    this.automatic = automatic;
  }

  /**
   * Is it time to blend? `sent` counts the messages to the kernel; `ready` says that the last blend is older than the
   * edits and that nothing else is going on.
   */
  isDue(now: number, sent: number, ready: boolean): boolean {
    if (!this.enabled || !this.#edited || !ready) this.#due = null;
    else if (this.#due?.sent !== sent) this.#due = { sent, since: now };
    else return now - this.#due.since >= PAUSE_BEFORE_BLEND;
    return false;
  }
}
