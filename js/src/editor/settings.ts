/** The user's choices in one view, and the rules that link them. */

import { paintedEdit } from "../core/edits";
import type { PictureName, ReferenceSelection, Verb } from "../protocol/messages";
import type { Edit } from "../protocol/state";
import { clamp, largestBrush } from "../raster/geometry";
import type { BrowserSession } from "./browser-session";

export type Tool = "brush" | "eraser" | "rectangle" | "lasso" | "segment";

export interface Settings {
  tool: Tool;
  /** The brush's diameter in picture pixels. */
  size: number;
  verb: Verb;
  concept: string;
  strength: number;
  /** The look that a restyle takes over. */
  reference: ReferenceSelection | null;
  /** The edit that the strength, the eraser and the next stroke work on. */
  selected: string | null;
  shown: PictureName;
  comparing: boolean;
  /** Are the masks shown, and how strong is their tint while one is painted? */
  overlay: boolean;
  opacity: number;
  /** The layer's whole grid, and the segments' colors. */
  grid: boolean;
  segments: boolean;
  /** Left of this fraction of the stage the photo is shown; null for no divider. */
  split: number | null;
  /** The edit whose row the pointer is over: its mask is shown. */
  pointed: string | null;
}

/** A first edit shows most with this concept: a tree grows nearly anywhere, and is easy to see. */
const FIRST = "tree";

/** All parts read the settings, and only this class changes them, so that no consequence of a change is forgotten. */
export class SettingsStore {
  readonly #session: BrowserSession;
  readonly #changed: () => void;
  readonly #values: Settings = {
    tool: "brush",
    size: 8,
    verb: "add",
    concept: "",
    strength: 1,
    reference: null,
    selected: null,
    shown: "preview",
    comparing: false,
    overlay: true,
    opacity: 0.4,
    grid: false,
    segments: false,
    split: null,
    pointed: null,
  };
  /** Before the user chooses a size, it follows the picture's. */
  #sized = false;
  /** While the strength is being dragged, the slider leads and the edit follows; otherwise it shows the edit's. */
  #dragging = false;

  constructor(session: BrowserSession, changed: () => void) {
    this.#session = session;
    this.#changed = changed;
  }

  get values(): Readonly<Settings> {
    return this.#values;
  }

  /** The edit that is selected, if one is. */
  get edit(): Edit | undefined {
    return this.#find(this.#values.selected);
  }

  change(changes: Partial<Settings>): void {
    const before = { ...this.#values };
    this.#sized ||= changes.size !== undefined;
    Object.assign(this.#values, changes);
    if (changes.verb !== undefined || changes.concept !== undefined) this.#choosePaint(before);
    this.#changed();
  }

  /** With a verb and a concept, the next stroke works on the edit that it would continue, or on a new one. */
  #choosePaint(before: Settings): void {
    const values = this.#values;
    const { verb, concept } = values;
    values.selected = paintedEdit(this.#session.edits, values.selected, verb, concept);
    const { edit } = this;
    if (edit) values.strength = edit.strength;
    else if (before.selected || verb !== before.verb || concept !== before.concept) values.strength = 1;
    // Choosing a verb or a concept ends erasing.
    if (values.tool === "eraser") values.tool = "brush";
  }

  select(id: string | null): void {
    const edit = this.#find(id);
    if (!edit) return;
    const { verb, concept, strength } = edit;
    Object.assign(
      this.#values,
      { selected: id, strength, reference: edit.reference ?? this.#values.reference },
      // An edit suppressed from Python can be selected and switched; the next stroke paints something else.
      verb === "suppress" ? {} : { verb, concept },
    );
    this.#changed();
  }

  /** Takes over the slider's strength; `done` says that the user has released it. */
  setStrength(strength: number, done: boolean): void {
    this.#dragging = !done;
    this.change({ strength });
  }

  /** Drops choices that no longer exist: an undone edit, a missing picture, a concept of another generator. */
  reconcile(): void {
    const { edits, state, questions, pictures, width, height } = this.#session;
    const values = this.#values;
    const gone = (id: string | null): boolean => id !== null && !edits.some((edit) => edit.id === id);
    const concepts = state?.concepts ?? [];
    if (!concepts.some(({ name }) => name === values.concept)) {
      const before = { ...values };
      values.concept = (concepts.find(({ name }) => name === FIRST) ?? concepts[0])?.name ?? "";
      if (before.concept !== values.concept) this.#choosePaint(before);
    }
    if (gone(values.selected)) {
      values.selected = null;
      values.strength = 1;
    }
    // The strength belongs to the edit that the next stroke would continue.
    values.selected ??= paintedEdit(edits, null, values.verb, values.concept);
    const { edit } = this;
    if (edit && !this.#dragging) values.strength = edit.strength;
    // A new restyle begins with the first reference that shows the concept.
    const { references, sampledConcept } = questions;
    if (!edit && sampledConcept === values.concept && !references.has(values.reference?.key ?? "")) {
      const key = [...references.keys()][0];
      values.reference = key === undefined ? null : { key, region: null };
    }
    if (gone(values.pointed)) values.pointed = null;
    if (!pictures.has(values.shown)) values.shown = "preview";
    if (values.tool === "segment" && state?.classes.length === 0) values.tool = "brush";
    const largest = largestBrush(width, height);
    values.size = clamp(this.#sized ? values.size : Math.round(largest / 2), 1, largest);
  }

  #find(id: string | null): Edit | undefined {
    return this.#session.edits.find((edit) => edit.id === id);
  }
}
