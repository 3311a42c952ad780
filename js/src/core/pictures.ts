/** The session's four pictures: frames in motion, and the pictures at rest that replace them. */

import type { FrameMessage, PictureName } from "../protocol/messages";
import type { SessionState } from "../protocol/state";
import type { Host } from "./host";
import type { Outbox } from "./outbox";
import { warn } from "./warn";

export interface Picture<Image> {
  image: Image;
  revision: number;
  /** The newest of this page's sequences in the picture. */
  sequence: number;
  /** The number of the newest frame of this picture that has come; 0 for none. */
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
  /** The bytes at rest of each picture that shows them. */
  readonly #atRest = new Map<PictureName, Uint8Array>();
  /** The newest frame of each picture that waits for decoding. */
  readonly #arrived = new Map<PictureName, { message: FrameMessage; bytes: Uint8Array }>();
  #decoding = false;
  #disposed = false;

  /** `changed` is called with the revision of a new picture. */
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

  /** Releases all pictures. A picture that is still being decoded is released afterwards. */
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

  /** Decodes one frame at a time. Of the frames that arrive meanwhile, only the newest of each picture is decoded. */
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
        warn("a frame could not be decoded", reason);
        // It is acknowledged anyway, so that its place in flight is free again.
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
    // The picture at rest is the same preview without the losses of JPEG. If a frame of the same revision shows another
    // picture, because the preview has become faithful, its picture at rest will come as well.
    const keep = picture === "preview" && this.#atRest.has("preview") && shown?.revision === revision;
    if (keep) this.#host.release(image);
    this.#replace(picture, { image: keep ? shown.image : image, revision, sequence, frame });
    if (!keep) this.#atRest.delete(picture); // the picture on display is not the one at rest
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
    // A frame or a newer state may have come during decoding.
    const overtaken = this.#pictures.get(name);
    if (!image) return;
    if (this.#disposed || (overtaken && overtaken.revision > revision)) {
      if (image !== overtaken?.image) this.#host.release(image);
      return;
    }
    let sequence = Math.min(state.covers[this.#outbox.page] ?? 0, this.#outbox.sent);
    // Two pictures of one revision cover the same messages, whichever came first.
    if (overtaken?.revision === revision) sequence = Math.max(sequence, overtaken.sequence);
    this.#atRest.set(name, bytes);
    const same = overtaken?.image === image && overtaken.sequence === sequence;
    if (same && overtaken.revision === revision) return;
    // It takes the number of the frame that it replaces, because an even older one may still come.
    const frame = overtaken?.frame ?? 0;
    this.#replace(name, { image, revision, sequence, frame });
    this.#changed(0);
  }

  /** Null if a picture cannot be read. Then the last one stays. */
  #decode(bytes: Uint8Array): Promise<Image | null> {
    return this.#host.decode(bytes, "image/png").catch((reason) => {
      warn("a picture could not be decoded", reason);
      return null;
    });
  }
}
