/** What one view has chosen, and what its panels may ask for. */

import type { PictureName, Verb } from "../protocol";
import type { Page } from "./page";

export interface Settings {
  tool: "brush" | "eraser";
  /** The brush's diameter in picture pixels. */
  size: number;
  verb: Verb;
  concept: string;
  strength: number;
  /** The edit that the strength, the eraser and the next stroke work on. */
  selected: string | null;
  shown: PictureName;
  comparing: boolean;
  overlay: boolean;
  /** The edit whose row the pointer is over: its mask is shown. */
  pointed: string | null;
}

export type EditorPage = Page<ImageBitmap>;

export interface Actions {
  change(changes: Partial<Settings>): void;
  select(edit: string | null): void;
  strength(value: number, done: boolean): void;
  show(picture: PictureName): void;
  undo(): void;
  redo(): void;
  toggle(edit: string): void;
  remove(edit: string): void;
  scene(): void;
  blend(): void;
  cancel(): void;
  save(): void;
  open(file: File): void;
}

/** A part of the interface: built once, brought up to date whenever something has changed. */
export interface Panel {
  root: HTMLElement;
  update(page: EditorPage, settings: Settings): void;
}
