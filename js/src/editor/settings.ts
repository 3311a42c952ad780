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
  /** The reference for restyles. */
  reference: ReferenceSelection | null;
  /** The edit that the strength, the eraser and the next stroke change. */
  selected: string | null;
  shown: PictureName;
  comparing: boolean;
  /** Whether masks are shown, and the strength of their tint while painting. */
  overlay: boolean;
  opacity: number;
  /** Whether to show the layer's whole grid, and the segments' colors. */
  grid: boolean;
  segments: boolean;
  /** The fraction of the stage left of which the photo is shown; null for no divider. */
  split: number | null;
  /** The edit under the pointer in the list, whose mask is shown. */
  pointed: string | null;
}

/** The first concept: a tree grows nearly anywhere and is easy to see. */
const FIRST = "tree";

/** All parts read the settings, but only this class changes them, so that no consequence of a change is missed. */
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
  /** Whether the user has chosen a size. Until then, it follows the picture's. */
  #sized = false;
  /** Whether the user drags the strength. Then the edit follows the slider, which otherwise shows its strength. */
  #dragging = false;

  constructor(session: BrowserSession, changed: () => void) {
    this.#session = session;
    this.#changed = changed;
  }

  get values(): Readonly<Settings> {
    return this.#values;
  }

  /** The selected edit, if there is one. */
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

  /** Sets verb and concept. The next stroke then continues a matching edit, or begins a new one. */
  #choosePaint(before: Settings): void {
    const values = this.#values;
    const { verb, concept } = values;
    values.selected = paintedEdit(this.#session.edits, values.selected, verb, concept);
    const { edit } = this;
    if (edit) values.strength = edit.strength;
    else if (before.selected || verb !== before.verb || concept !== before.concept) values.strength = 1;
    // A choice of verb or concept ends erasing.
    if (values.tool === "eraser") values.tool = "brush";
  }

  select(id: string | null): void {
    const edit = this.#find(id);
    if (!edit) return;
    const { verb, concept, strength } = edit;
    Object.assign(
      this.#values,
      { selected: id, strength, reference: edit.reference ?? this.#values.reference },
      // Suppressed units from Python can be selected and switched, but the next stroke paints another edit.
      verb === "suppress" ? {} : { verb, concept },
    );
    this.#changed();
  }

  /** Takes over the slider's strength; `done` means that the user has released it. */
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
