/** Decides when the kernel's state at rest replaces the page's own (docs/protocol.md, "State at rest"). */

import type { SessionState } from "../protocol/state";
import { isSessionState } from "../protocol/validate-kernel-message";
import { decodeGray } from "../raster/png";
import type { SessionMirror } from "./mirror";
import type { PictureBytes, PictureStore } from "./pictures";
import { warn } from "./warn";

/** The unchecked traits that the kernel has written. */
export interface SyncedState {
  state: unknown;
  masks: Record<string, Uint8Array>;
  pictures: PictureBytes;
  /** The segments' labels as a gray PNG. */
  labels: Uint8Array | null;
}

export interface StateSyncEvents {
  /** Whether this state is not older than the user's actions in this page. */
  mayAdopt(state: SessionState): boolean;
  adopt(state: SessionState, masks: ReadonlyMap<string, Uint8Array>): void;
  labelsChanged(): void;
  /** The state is invalid. */
  unreadable(reason: unknown): void;
}

export class StateSync<Image> {
  readonly #mirror: SessionMirror;
  readonly #pictures: PictureStore<Image>;
  readonly #events: StateSyncEvents;
  #synced: SyncedState | null = null;
  /** Counts attempts to take over a state. Decoding takes time, and only the newest attempt may finish. */
  #attempt = 0;
  readonly #decoded = new WeakMap<Uint8Array, Uint8Array>();

  constructor(mirror: SessionMirror, pictures: PictureStore<Image>, events: StateSyncEvents) {
    this.#mirror = mirror;
    this.#pictures = pictures;
    this.#events = events;
  }

  /** Takes over the kernel's new state, except parts that are older than the page's own. Resolves when that is done. */
  receive(synced: SyncedState): Promise<void> {
    this.#synced = synced;
    return this.reconsider();
  }

  /** Tries the newest state again, since the reason to set it aside may have ended. */
  async reconsider(): Promise<void> {
    try {
      await this.#consider(this.#synced);
    } catch (reason) {
      this.#events.unreadable(reason);
    }
  }

  async #consider(synced: SyncedState | null): Promise<void> {
    if (!synced || !isSessionState(synced.state)) return;
    const state = synced.state;
    const attempt = ++this.#attempt;
    const newest = (): boolean => attempt === this.#attempt;
    const mayAdopt = (): boolean =>
      state.edits.every(({ id }) => id in synced.masks) && this.#events.mayAdopt(state);

    if (mayAdopt()) {
      const masks = new Map<string, Uint8Array>();
      for (const { id } of state.edits) {
        masks.set(id, await this.#decode(synced.masks[id] as Uint8Array, state));
      }
      if (!newest()) return;
      // A stroke may have begun during decoding.
      if (mayAdopt()) this.#events.adopt(state, masks);
    }
    await this.#takeLabels(synced.labels, state, newest);
    for (const name of Object.keys(synced.pictures) as (keyof PictureBytes)[]) {
      if (!newest()) return;
      await this.#pictures.receiveAtRest(name, synced.pictures[name], state);
    }
  }

  async #takeLabels(bytes: Uint8Array | null, state: SessionState, newest: () => boolean): Promise<void> {
    if (!bytes || bytes.byteLength === 0 || state.classes.length === 0) {
      this.#mirror.labels = null;
      return;
    }
    const values = await this.#decode(bytes, state);
    if (!newest() || values === this.#mirror.labels?.values) return;
    this.#mirror.labels = { width: state.width, height: state.height, values };
    this.#events.labelsChanged();
  }

  /** Returns the values of a mask or of the labels; zeros if they cannot be read. */
  async #decode(bytes: Uint8Array, { width, height }: SessionState): Promise<Uint8Array> {
    const known = this.#decoded.get(bytes);
    if (known) return known;
    let values: Uint8Array = new Uint8Array(width * height);
    try {
      const image = await decodeGray(bytes);
      if (image.width === width && image.height === height) values = image.values;
      else warn("a mask has another size than the picture");
    } catch (reason) {
      warn("a mask could not be read", reason);
    }
    this.#decoded.set(bytes, values);
    return values;
  }
}
