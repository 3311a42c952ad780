/**
 * The page's copy of the session: its state, edits and masks, with the user's changes ahead of the kernel. The kernel
 * keeps the history and has the last word. But a stroke right after an undo must not go into an edit that the kernel
 * has already taken back. So the page predicts undo and redo as far as it knows the history.
 */

import type { CommandArguments, CommandName } from "../protocol/messages";
import type { Edit, SessionState } from "../protocol/state";
import { Mask } from "../raster/mask";
import type { Labels } from "../raster/regions";
import { movedEdit } from "./edits";

/** A snapshot of the edits and their masks. These masks no longer change. */
export interface Snapshot {
  edits: Edit[];
  masks: Map<string, Mask>;
}

/** The commands that change the edits, and those of them that make a step of undo. */
const STEPPING: ReadonlySet<CommandName> = new Set(["retune", "toggle", "delete", "move"]);

export const changesEdits = (name: CommandName): boolean =>
  name === "undo" || name === "redo" || STEPPING.has(name);

/** Steps of undo and redo that show at once. For earlier ones, the page waits for the kernel's state. */
const STEPS = 20;

/** The properties, besides masks, that tell two states apart. The page's own edits lack the others at first. */
const identity = (edits: readonly Edit[]): string =>
  JSON.stringify(
    edits.map(({ id, verb, concept, strength, enabled }) => [id, verb, concept, strength, enabled]),
  );

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((value, at) => value === b[at]);

export class SessionMirror {
  /** The class of each pixel of the photo, if the kernel has a segmenter. */
  labels: Labels | null = null;
  #state: SessionState | null = null;
  #edits: Edit[] = [];
  readonly #masks = new Map<string, Mask>();
  #undone = false;
  /** The states that undo and redo lead to, as far as this page knows, the nearest last. */
  #past: Snapshot[] = [];
  #future: Snapshot[] = [];

  get state(): SessionState | null {
    return this.#state;
  }

  get edits(): Edit[] {
    return this.#edits;
  }

  get masks(): ReadonlyMap<string, Mask> {
    return this.#masks;
  }

  /** Whether the user's last action was undo or redo. */
  get undone(): boolean {
    return this.#undone;
  }

  get width(): number {
    return this.#state?.width ?? 64;
  }

  get height(): number {
    return this.#state?.height ?? 64;
  }

  color(concept: string): string {
    return this.#state?.concepts.find(({ name }) => name === concept)?.color ?? "#8a8f98";
  }

  get snapshot(): Snapshot {
    return { edits: this.#edits, masks: new Map(this.#masks) };
  }

  /** Gives an edit this mask; true if the edit is new. */
  paint(edit: Edit, mask: Mask): boolean {
    this.#masks.set(edit.id, mask);
    const isNew = !this.#edits.includes(edit);
    if (isNew) this.#edits = [...this.#edits, edit];
    return isNew;
  }

  /** Notes a change of the edits; undo leads back to this snapshot. */
  stepFrom(before: Snapshot): void {
    this.#undone = false;
    this.#past.push(before);
    if (this.#past.length > STEPS) this.#past.shift();
    this.#future = [];
  }

  /** Shows the effect of a command at once, if the page can know it. */
  apply<N extends CommandName>(name: N, values: CommandArguments[N]): void {
    if (name === "scene" || name === "open") this.#past = this.#future = [];
    if (name !== "blend") this.#undone = name === "undo" || name === "redo";
    if (name === "undo") this.#travel(this.#past, this.#future);
    if (name === "redo") this.#travel(this.#future, this.#past);
    const before = this.snapshot;
    const { edit: id, ...changed } = values as Partial<Edit> & { edit?: string };
    if (name === "delete") this.#edits = this.#edits.filter((edit) => edit.id !== id);
    if (name === "retune" || name === "toggle") {
      this.#edits = this.#edits.map((edit) => (edit.id === id ? { ...edit, ...changed } : edit));
    }
    if (name === "move") {
      this.#edits = movedEdit(this.#edits, id as string, (values as { index: number }).index);
    }
    if (STEPPING.has(name) && JSON.stringify(before.edits) !== JSON.stringify(this.#edits)) {
      this.stepFrom(before);
    }
    if (name === "faithful" && this.#state) {
      this.#state = { ...this.#state, faithful: { ready: false, ...(values as { on: boolean }) } };
    }
  }

  /** Takes over the kernel's state. */
  adopt(state: SessionState, masks: ReadonlyMap<string, Uint8Array>): void {
    let expected = identity(state.edits) === identity(this.#edits);
    const adopted: Snapshot = { edits: state.edits, masks: new Map() };
    for (const [id, values] of masks) {
      const own = this.#masks.get(id);
      const same = own?.width === state.width && own.height === state.height && equal(own.values, values);
      adopted.masks.set(id, same ? own : new Mask(state.width, state.height, values.slice()));
      expected &&= same;
    }
    // The edits were changed elsewhere, so this page no longer knows the whole history.
    if (!expected) this.#past = this.#future = [];
    this.#state = state;
    this.#show(adopted);
  }

  #travel(from: Snapshot[], to: Snapshot[]): void {
    const step = from.pop();
    if (!step) return;
    to.push(this.snapshot);
    this.#show(step);
  }

  #show({ edits, masks }: Snapshot): void {
    this.#edits = edits;
    this.#masks.clear();
    for (const [id, mask] of masks) this.#masks.set(id, mask);
  }
}
