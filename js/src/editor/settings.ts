/** What the user has chosen in one view. */

import type { PictureName, ReferenceSelection, Verb } from "../protocol/messages";

export type Tool = "brush" | "eraser" | "rectangle" | "lasso" | "segment";

export interface Settings {
  tool: Tool;
  /** The brush's diameter in picture pixels. */
  size: number;
  verb: Verb;
  concept: string;
  strength: number;
  /** What a restyle takes over. */
  reference: ReferenceSelection | null;
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
