/** Records strokes: paints into an edit's mask at once, and sends it to the kernel piece by piece. */

import type { ReferenceSelection, Verb } from "../protocol/messages";
import type { Edit } from "../protocol/state";
import type { Dab } from "../raster/geometry";
import { Mask } from "../raster/mask";
import type { SessionMirror, Snapshot } from "./mirror";
import type { Outbox } from "./outbox";
import { randomId } from "./random-id";

export interface StrokeOptions {
  /** Null for a new edit. */
  edit: string | null;
  verb: Verb;
  concept: string;
  strength: number;
  erase: boolean;
  /** The reference of a restyle. */
  reference?: ReferenceSelection | null;
}

interface Stroke {
  number: number;
  edit: Edit;
  /** A copy of the edit's mask, which replaces it with the first change. */
  mask: Mask;
  before: Snapshot;
  erase: boolean;
  stamp: number;
  last: Dab | null;
  /** Whether the kernel has been told of the stroke. */
  sent: boolean;
}

export interface StrokeEvents {
  onNextFrame(step: () => void): void;
  /** Views must draw again. */
  changed(topic: "document" | "mask" | "picture"): void;
  /** The edits are about to change, with the first piece of a stroke. */
  starts(): void;
  /** A piece has been sent. */
  sent(): void;
  ended(): void;
}

export class StrokeRecorder {
  readonly #mirror: SessionMirror;
  readonly #outbox: Outbox;
  readonly #events: StrokeEvents;
  #stroke: Stroke | null = null;
  #scheduled = false;

  constructor(mirror: SessionMirror, outbox: Outbox, events: StrokeEvents) {
    this.#mirror = mirror;
    this.#outbox = outbox;
    this.#events = events;
  }

  get painting(): boolean {
    return this.#stroke !== null;
  }

  /** Begins a stroke of the brush and returns the id of the edit that it paints, or null if there is nothing to paint on. */
  begin(options: StrokeOptions, dab: Dab, stamp: number): string | null {
    const id = this.#open(options, stamp);
    this.paint(dab, stamp);
    return id;
  }

  paint(dab: Dab, stamp: number): void {
    const stroke = this.#stroke;
    if (!stroke) return;
    stroke.mask.sweep(stroke.last ?? dab, dab, stroke.erase);
    stroke.last = dab;
    stroke.stamp = stamp;
    this.#painted(stroke);
  }

  /** Paints a complete stroke at once. */
  atOnce(options: StrokeOptions, stamp: number, change: (mask: Mask) => void): string | null {
    const id = this.#open(options, stamp);
    if (!this.#stroke) return null;
    change(this.#stroke.mask);
    this.#painted(this.#stroke);
    this.end(stamp);
    return id;
  }

  end(stamp: number): void {
    const stroke = this.#stroke;
    if (!stroke) return;
    stroke.stamp = Math.max(stroke.stamp, stamp);
    this.#send(true);
    this.#stroke = null;
    this.#events.ended();
  }

  /** Notes that a view has drawn the pictures. The next piece of the stroke, or a message of its own, reports it. */
  frameDrawn(): void {
    // Within a stroke, this goes now if its next piece may go, else with the next tick.
    if (this.#stroke && (!this.#stroke.mask.changed || this.#outbox.congested)) this.#schedule();
    else this.#flush();
  }

  #open(options: StrokeOptions, stamp: number): string | null {
    this.end(stamp);
    const { verb, concept, strength, erase, reference = null } = options;
    if (!this.#mirror.state || (erase && !options.edit)) return null;
    let edit = this.#mirror.edits.find(({ id }) => id === options.edit);
    if (!edit) {
      if (verb === "restyle" && !reference) return null;
      // Short, but long enough that two pages that paint at once do not collide.
      edit = { id: randomId(12), verb, concept, strength, enabled: true, reference };
    }
    const { width, height, masks, snapshot: before } = this.#mirror;
    const mask = new Mask(width, height, masks.get(edit.id)?.values.slice());
    const number = this.#outbox.nextStroke();
    this.#stroke = { number, edit, mask, before, erase, stamp, last: null, sent: false };
    return edit.id;
  }

  #painted({ edit, mask, stamp }: Stroke): void {
    if (!mask.changed) {
      this.#outbox.unchanged(stamp);
      this.#events.changed("picture");
      return;
    }
    // A new edit appears with its first painted pixel, so that a click beside the picture makes none.
    if (this.#mirror.paint(edit, mask)) this.#events.changed("document");
    this.#events.changed("mask");
    this.#schedule();
  }

  /** Sends one message per tick, with everything that changed since the last one. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#events.onNextFrame(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Reports painted pixels and drawn frames, in one message if possible. */
  #flush(): void {
    if (this.#stroke?.mask.changed) {
      // If the kernel is behind, the change stays in the mask, and the next message carries more of it.
      if (this.#outbox.congested) this.#schedule();
      else this.#send(false);
    }
    this.#outbox.acknowledge();
  }

  #send(last: boolean): void {
    const stroke = this.#stroke;
    if (!stroke) return;
    const patch = stroke.mask.takeChanges();
    if (!patch && !(last && stroke.sent)) return;
    if (!stroke.sent) {
      this.#events.starts();
      this.#mirror.stepFrom(stroke.before);
    }
    stroke.sent = true;
    const { id, concept, strength, reference } = stroke.edit;
    // Only Python can suppress units. Such an edit is known, and the verb of a known edit is ignored.
    const verb = stroke.edit.verb === "suppress" ? "remove" : stroke.edit.verb;
    this.#outbox.stroke(
      {
        stroke: stroke.number,
        last,
        edit: id,
        verb,
        concept: concept || "-",
        strength,
        ...(verb === "restyle" && reference ? { reference } : {}),
        rect: patch?.rect ?? [0, 0, 0, 0],
      },
      patch?.values ?? new Uint8Array(0),
      stroke.stamp,
    );
    this.#events.sent();
  }
}
