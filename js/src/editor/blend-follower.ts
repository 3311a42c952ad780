/** Follows a blend in one view: shows its picture on the canvas, and reports its end. */

import type { BrowserSession } from "./browser-session";
import type { SettingsStore } from "./settings";

const BLENDING = "Blending the edit into the photo…";
const STOPPING = "Stopping; the best result so far is kept.";
const UNKNOWN = "The kernel has not reported on the blend since it last answered.";
const ON_THE_WAY: readonly (string | undefined)[] = [BLENDING, STOPPING, UNKNOWN];

export class BlendFollower {
  readonly #session: BrowserSession;
  readonly #settings: SettingsStore;
  /** Whether the next blended picture goes onto the canvas by itself, as after "Blend". */
  #awaitsResult = false;
  /** The blended picture before that blend. */
  #resultBefore: ImageBitmap | undefined;
  /** Whether the user has edited here and not changed the view since. */
  #editing = false;
  /** Whether a blend was running at the last update. */
  #blending = false;

  constructor(session: BrowserSession, settings: SettingsStore) {
    this.#session = session;
    this.#settings = settings;
  }

  /** Leaves a blended picture when the user edits, since it does not show the change. */
  editsChange(): void {
    if (this.#session.saved) return;
    this.#awaitsResult = false;
    this.#editing = true;
    this.#settings.change({ shown: "preview" });
  }

  /** The user has chosen another picture. */
  leave(): void {
    this.#awaitsResult = this.#editing = false;
  }

  start(): void {
    if (this.#session.job) return;
    this.#awaitResult();
    this.#say(BLENDING);
    this.#session.command("blend", {});
  }

  cancel(): void {
    if (!this.#session.job) return;
    this.#say(STOPPING);
    this.#session.outbox.cancel();
  }

  update(): void {
    const { job, blendPolicy, pictures, health, status, state } = this.#session;
    if (!this.#blending && job && blendPolicy.automatic && this.#editing) this.#awaitResult();
    const result = pictures.get("result");
    if (this.#awaitsResult && result && result.image !== this.#resultBefore) {
      if (this.#settings.values.shown !== "result") this.#settings.change({ shown: "result" });
    }
    // It replaces an earlier status about the blend, but no other one.
    const gone = health === "gone"; // the kernel may still come back with the blend
    if (this.#blending && ON_THE_WAY.includes(status?.text)) {
      let text = state?.measures.blend ? "Blended into the photo." : "Stopped.";
      if (gone) text = UNKNOWN;
      else if (job) text = status?.text === STOPPING ? STOPPING : BLENDING;
      if (text !== status?.text) this.#say(text);
    }
    if (gone) return;
    this.#blending = job !== null;
    this.#awaitsResult &&= this.#blending;
  }

  #awaitResult(): void {
    this.#awaitsResult = true;
    this.#resultBefore = this.#session.pictures.get("result")?.image;
  }

  #say(text: string): void {
    this.#session.setStatus({ level: "info", text });
  }
}
