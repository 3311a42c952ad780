/** The session's four pictures: frames in motion, and the pictures at rest that replace them. */

import type { FrameMessage, PictureName } from "../protocol/messages";
import type { SessionState } from "../protocol/state";
import type { Host } from "./host";
import type { Outbox } from "./outbox";

export interface Picture<Image> {
  image: Image;
  revision: number;
  /** The newest of this page's sequences that the picture covers. */
  sequence: number;
  /** The number of the newest frame of this picture that has come, 0 for none. */
  frame: number;
}

export type PictureBytes = Record<PictureName, Uint8Array | null>;

export class PictureStore<Image> {
  /** The number of the newest frame that has been taken over. */
  newestFrame = 0;
  readonly #host: Pick<Host<Image>, "decode" | "release">;
  readonly #outbox: Outbox;
  readonly #changed: (revision: number) => void;
  readonly #pictures = new Map<PictureName, Picture<Image>>();
  /** The bytes at rest that a picture was decoded from, as long as it shows them. */
  readonly #atRest = new Map<PictureName, Uint8Array>();
  /** The newest frame of each picture that waits to be decoded. */
  readonly #arrived = new Map<PictureName, { message: FrameMessage; bytes: Uint8Array }>();
  #decoding = false;
  #disposed = false;

  /** `changed` is told the revision that a new picture shows. */
  constructor(
    host: Pick<Host<Image>, "decode" | "release">,
    outbox: Outbox,
    changed: (revision: number) => void,
  ) {
    this.#host = host;
    this.#outbox = outbox;
    this.#changed = changed;
  }

  get(name: PictureName): Picture<Image> | undefined {
    return this.#pictures.get(name);
  }

  has(name: PictureName): boolean {
    return this.#pictures.has(name);
  }

  /** Releases all pictures; what is being decoded is released when it comes. */
  dispose(): void {
    this.#disposed = true;
    this.#arrived.clear();
    for (const name of this.#pictures.keys()) this.#replace(name, null);
  }

  #replace(name: PictureName, picture: Picture<Image> | null): void {
    const before = this.#pictures.get(name);
    if (picture) this.#pictures.set(name, picture);
    else this.#pictures.delete(name);
    if (before && before.image !== picture?.image) this.#host.release(before.image);
  }

  // --------------------------------------------------------------------------------------------------- frames

  /** Decodes one frame at a time; of those that arrive meanwhile only each picture's newest is worth it. */
  async receiveFrame(arrived: FrameMessage, encoded: Uint8Array): Promise<void> {
    this.#arrived.set(arrived.picture, { message: arrived, bytes: encoded });
    if (this.#decoding) return;
    this.#decoding = true;
    for (let next = this.#oldestArrived(); next; next = this.#oldestArrived()) {
      const { message, bytes } = next;
      this.#arrived.delete(message.picture);
      try {
        this.#show(message, await this.#host.decode(bytes, message.format));
      } catch (reason) {
        console.warn("ganpaint: a frame could not be decoded", reason);
        // Its place in flight must not be lost for it.
        this.#outbox.frameDrawn(message.frame);
        this.#outbox.acknowledge();
      }
    }
    this.#decoding = false;
  }

  #oldestArrived(): { message: FrameMessage; bytes: Uint8Array } | undefined {
    return [...this.#arrived.values()].sort((a, b) => a.message.frame - b.message.frame)[0];
  }

  #show({ picture, frame, revision, covers }: FrameMessage, image: Image): void {
    const shown = this.#pictures.get(picture);
    if (this.#disposed || frame <= (shown?.frame ?? 0)) {
      this.#host.release(image);
      return;
    }
    const sequence = Math.min(covers[this.#outbox.page] ?? 0, this.#outbox.sent);
    this.newestFrame = Math.max(this.newestFrame, frame);
    // At rest it is the same preview without the losses of a JPEG. Where a frame of the same revision shows something
    // else (the preview has become faithful), that comes at rest as well.
    const keep = picture === "preview" && this.#atRest.has("preview") && shown?.revision === revision;
    if (keep) this.#host.release(image);
    this.#replace(picture, { image: keep ? shown.image : image, revision, sequence, frame });
    if (!keep) this.#atRest.delete(picture); // what is at rest is not what is shown any more
    this.#changed(revision);
  }

  // -------------------------------------------------------------------------------------------------- at rest

  /** A picture at rest replaces a frame only if it is not older. */
  async receiveAtRest(name: PictureName, bytes: Uint8Array | null, state: SessionState): Promise<void> {
    const { revision } = state;
    const shown = this.#pictures.get(name);
    if (shown && shown.revision > revision) return;
    if (!bytes || bytes.byteLength === 0) {
      this.#atRest.delete(name);
      if (!shown) return;
      this.#replace(name, null);
      this.#changed(0);
      return;
    }
    const image = shown && bytes === this.#atRest.get(name) ? shown.image : await this.#decode(bytes);
    // Decoding took time, in which a frame may have come, or a newer state.
    const overtaken = this.#pictures.get(name);
    if (!image) return;
    if (this.#disposed || (overtaken && overtaken.revision > revision)) {
      if (image !== overtaken?.image) this.#host.release(image);
      return;
    }
    let sequence = Math.min(state.covers[this.#outbox.page] ?? 0, this.#outbox.sent);
    // Of two pictures of one revision, what one covers the other covers too, whichever came first.
    if (overtaken?.revision === revision) sequence = Math.max(sequence, overtaken.sequence);
    this.#atRest.set(name, bytes);
    const same = overtaken?.image === image && overtaken.sequence === sequence;
    if (same && overtaken.revision === revision) return;
    // With the number of the frame that it replaces: an even older one may still come.
    const frame = overtaken?.frame ?? 0;
    this.#replace(name, { image, revision, sequence, frame });
    this.#changed(0);
  }

  /** Null where a picture cannot be read: the one before stays. */
  #decode(bytes: Uint8Array): Promise<Image | null> {
    return this.#host.decode(bytes, "image/png").catch((reason) => {
      console.warn("ganpaint: a picture could not be decoded", reason);
      return null;
    });
  }
}
