/** What one view has chosen, and what its panels may ask for. */

import type { PictureName, Referring, Retuned, Verb } from "../protocol";
import type { Point } from "./geometry";
import type { Page } from "./page";

export type Tool = "brush" | "eraser" | "rectangle" | "lasso" | "segment";

export interface Settings {
  tool: Tool;
  /** The brush's diameter in picture pixels. */
  size: number;
  verb: Verb;
  concept: string;
  strength: number;
  /** What a restyle takes over. */
  reference: Referring | null;
  /** The edit that the strength, the eraser and the next stroke work on. */
  selected: string | null;
  shown: PictureName;
  comparing: boolean;
  /** Are the masks shown, and how strong is their tint while one is painted? */
  overlay: boolean;
  opacity: number;
  /** Does the cursor show which of the layer's cells it would change? */
  footprint: boolean;
  /** The layer's whole grid, and the segments' colours. */
  grid: boolean;
  segments: boolean;
  /** Left of this fraction of the stage the photo is shown; null for no divider. */
  split: number | null;
  /** The edit whose row the pointer is over: its mask is shown. */
  pointed: string | null;
}

export type EditorPage = Page<ImageBitmap>;

export interface Actions {
  change(changes: Partial<Settings>): void;
  select(edit: string | null): void;
  strength(value: number, done: boolean): void;
  /** Changes the selected edit. */
  retune(changes: Retuned): void;
  /** What the next restyle refers to, and the selected one if it is a restyle. */
  refer(reference: Referring): void;
  /** A picture of one's own to refer to. */
  referTo(file: File): void;
  faithful(): void;
  show(picture: PictureName): void;
  /** Shows the segment at a place as the segment tool would under the pointer; takes it as by a click there. */
  point(place: Point | null): void;
  take(place: Point, erase: boolean, time: number): void;
  undo(): void;
  redo(): void;
  toggle(edit: string): void;
  remove(edit: string): void;
  move(edit: string, index: number): void;
  /** Opens a scene of the gallery, or the next one. */
  scene(index?: number, title?: string): void;
  blend(): void;
  /** Whether the edits are blended again whenever the hand rests; all views of the page share it. */
  reblend(on: boolean): void;
  cancel(): void;
  save(what: "picture" | "project", where: "page" | "kernel"): void;
  open(file: File): void;
  /** A mask as a PNG file, out of the current edit and into it. */
  exportMask(): void;
  importMask(file: File): void;
  /** Zooms by a factor; 0 shows the whole picture. */
  zoom(factor: number): void;
  fullScreen(): void;
}

/** A part of the interface: built once, brought up to date whenever something has changed. */
export interface Panel {
  root: HTMLElement;
  update(page: EditorPage, settings: Settings): void;
}
