/** What the panels may ask for. */

import type { EditChanges, PictureName, ReferenceSelection } from "../protocol/messages";
import type { Point } from "../raster/geometry";
import type { Settings } from "./settings";

export interface Actions {
  change(changes: Partial<Settings>): void;
  select(edit: string | null): void;
  strength(value: number, done: boolean): void;
  /** Changes the selected edit. */
  retune(changes: EditChanges): void;
  /** What the next restyle refers to, and the selected one if it is a restyle. */
  refer(reference: ReferenceSelection): void;
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
