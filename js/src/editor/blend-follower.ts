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
  /** After "Blend", the first blended picture comes onto the canvas by itself. */
  #awaitsResult = false;
  /** The picture that was there before that blend. */
  #resultBefore: ImageBitmap | undefined;
  /** Has something been edited here, and nothing else been looked at since? */
  #editing = false;
  /** Was a blend running at the last update? */
  #blending = false;

  constructor(session: BrowserSession, settings: SettingsStore) {
    this.#session = session;
    this.#settings = settings;
  }

  /** A blended picture is of the edits as they were: a user who changes them wants to see what comes of it. */
  editsChange(): void {
    if (this.#session.saved) return;
    this.#awaitsResult = false;
    this.#editing = true;
    this.#settings.change({ shown: "preview" });
  }

  /** The user looks at something else. */
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
    // In place of what was said of the blend before, and of nothing else.
    const gone = health === "gone"; // it may still come back, and the blend with it
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
