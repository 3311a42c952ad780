/** Decides when the page blends by itself: after each edit, once the user pauses, and never twice the same edits. */

/** Milliseconds without a change after which the edits are blended again. */
const PAUSE_BEFORE_BLEND = 900;

export class BlendPolicy {
  /** Whether the user wants edits to be blended again after each change. */
  enabled = false;
  /** Whether this policy started the last blend. */
  automatic = false;
  /** Whether this page has changed the edits since it last requested a blend. */
  #edited = false;
  /** The number of sent messages when a blend was found to be due, and the time. */
  #due: { sent: number; since: number } | null = null;

  /** The user changes the edits. True if the running blend started by itself and must be canceled. */
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

  /** A blend was requested. */
  blendStarted(automatic = false): void {
    this.#edited = false;
    this.automatic = automatic;
  }

  /**
   * Whether it is time to blend. `sent` counts the messages to the kernel. `ready` means that the last blend is older
   * than the edits and that no other job is running.
   */
  isDue(now: number, sent: number, ready: boolean): boolean {
    if (!this.enabled || !this.#edited || !ready) this.#due = null;
    else if (this.#due?.sent !== sent) this.#due = { sent, since: now };
    else return now - this.#due.since >= PAUSE_BEFORE_BLEND;
    return false;
  }
}
