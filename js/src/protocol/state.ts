/** The session's state at rest, as the kernel writes it into the widget's synchronized traits (docs/protocol.md). */

import type { Covers, Fit, ReferenceSelection, Target, Units, Verb } from "./messages";

export interface Concept {
  name: string;
  /** "#rrggbb" */
  color: string;
  /** How well the generator knows the concept, 0 to 1. */
  quality: number;
}

export interface Edit {
  id: string;
  /** Only Python can suppress units. */
  verb: Verb | "suppress";
  concept: string;
  strength: number;
  enabled: boolean;
  /** The rest is present once the kernel has sent it. "own" stands for unit numbers that were chosen in Python. */
  units?: Units | "own";
  target?: Target;
  variant?: number;
  reference?: ReferenceSelection | null;
}

export interface BlendMetrics {
  /** PSNR of the kept pixels in G(z_e) and in G'(z_e). */
  before: number;
  after: number;
  /** null without an edit. */
  survival: number | null;
}

/** The own size of a photo, and how its square was cut out or padded. */
export interface PhotoSize {
  width: number;
  height: number;
  fit: Fit;
}

export interface SessionState {
  revision: number;
  covers: Covers;
  title: string;
  width: number;
  height: number;
  /** null for a scene, a sample or a project without a photo. */
  photo?: PhotoSize | null;
  /** The grid of the edited layer: cells across and down. */
  cells: [number, number];
  /** The names of the segments' labels; none without a segmenter. */
  classes: string[];
  /** The names of this session's journal and of those that it continues; none without a journal. */
  journal: string[];
  generator: string;
  concepts: Concept[];
  verbs: Verb[];
  edits: Edit[];
  can_undo: boolean;
  can_redo: boolean;
  has_gallery: boolean;
  /** The number of the scene in the gallery. */
  scene?: number | null;
  /** Whether PyTorch and the generator are still being loaded. The photo then stands for all pictures. */
  loading?: boolean;
  job: null | { name: string; fraction: number };
  /** Whether the preview is to be faithful to the photo, and whether it already is. */
  faithful?: { on: boolean; ready: boolean };
  /** The revision of the edits in the last finished blend; null before there is one. */
  blended?: number | null;
  measures: { reconstruction_decibel: number | null; blend: BlendMetrics | null };
  notice: null | { level: "info" | "warning"; text: string };
}
