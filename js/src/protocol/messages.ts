/**
 * The messages between the page and the kernel (docs/protocol.md), version 1. `tests/fixtures/protocol.json` holds
 * examples that the validators here and the kernel's must judge alike.
 */

export const VERSION = 1;
export const STRENGTH_MAX = 4;

/** The verbs that a page can paint. */
export type Verb = "add" | "remove" | "restyle";
export type Units = null | "low" | "medium" | "high";
export type Target = "tuned" | "quantile" | "mean" | "exemplar";
/** How a photo becomes square: its middle is edited, or all of it with mirrored edges. */
export type Fit = "crop" | "pad";
export type PictureName = "photo" | "reconstruction" | "preview" | "result";
/** x, y, width, height in picture pixels. */
export type Rect = [number, number, number, number];
export type Covers = Record<string, number>;

// ---------------------------------------------------------------------------------------------- page to kernel

export interface HelloMessage {
  type: "hello";
  version: number;
  page: string;
}

/** A restyle's reference: its key and the rectangle that counts; null for the pixels that show the concept. */
export interface ReferenceSelection {
  key: string;
  region: Rect | null;
}

export interface StrokeMessage {
  type: "stroke";
  page: string;
  sequence: number;
  stroke: number;
  last: boolean;
  edit: string;
  verb: Verb;
  concept: string;
  strength: number;
  rect: Rect;
  /** For a restyle, and only for that. */
  reference?: ReferenceSelection;
  /** The newest drawn frame, as in `ack`. */
  drawn?: number;
}

/** The changes of an edit, at least one of these. */
export interface EditChanges {
  strength?: number;
  units?: Units;
  target?: Target;
  variant?: number;
  reference?: ReferenceSelection;
}

export interface CommandArguments {
  undo: Record<string, never>;
  redo: Record<string, never>;
  retune: { edit: string } & EditChanges;
  toggle: { edit: string; enabled: boolean };
  delete: { edit: string };
  move: { edit: string; index: number };
  /** Without an index, the next scene. */
  scene: { index?: number };
  open: { name: string; fit: Fit };
  blend: Record<string, never>;
  /** Finds concepts for a generator that has none. */
  discover: Record<string, never>;
  faithful: { on: boolean };
  save: { what: "picture" | "project"; where: "page" | "kernel" };
}
export type CommandName = keyof CommandArguments;

export interface CommandMessage {
  type: "command";
  page: string;
  sequence: number;
  name: CommandName;
  arguments: CommandArguments[CommandName];
}

export interface AckMessage {
  type: "ack";
  page: string;
  frame: number;
}

export interface CancelMessage {
  type: "cancel";
  page: string;
}

/** Asks whether the kernel answers. */
export interface BeatMessage {
  type: "beat";
  page: string;
}

/** The page is out of sight, and needs no frames until it says hello again. */
export interface HiddenMessage {
  type: "hidden";
  page: string;
}

/** Asks for references to restyle a concept. */
export interface SamplesQuestion {
  type: "samples";
  page: string;
  concept: string;
}

/** Passes one of the user's own pictures as a reference. */
export interface ReferQuestion {
  type: "refer";
  page: string;
  name: string;
}

/** Asks for pictures of the other versions of an edit. */
export interface VariantsQuestion {
  type: "variants";
  page: string;
  edit: string;
}

/** Asks for pictures of `count` scenes of the gallery, from `first` on. */
export interface ScenesQuestion {
  type: "scenes";
  page: string;
  first: number;
  count: number;
}

/** Questions, which change nothing. The kernel answers them when it has time. */
export type Question = SamplesQuestion | ReferQuestion | VariantsQuestion | ScenesQuestion;

/** Messages with a sequence number. The page keeps them until they are accepted, and can repeat them. */
export type NumberedMessage = StrokeMessage | CommandMessage;
export type PageMessage =
  | HelloMessage
  | NumberedMessage
  | AckMessage
  | CancelMessage
  | BeatMessage
  | HiddenMessage
  | Question;

// ---------------------------------------------------------------------------------------------- kernel to page

export interface WelcomeMessage {
  type: "welcome";
  version: number;
  page: string;
  sequence: number;
  revision: number;
}

export interface AcceptedMessage {
  type: "accepted";
  page: string;
  sequence: number;
  revision: number;
}

/** The answer to `beat`. */
export interface AliveMessage {
  type: "alive";
  page: string;
  sequence: number;
  revision: number;
}

export interface FrameMessage {
  type: "frame";
  frame: number;
  picture: "preview" | "result";
  revision: number;
  covers: Covers;
  width: number;
  height: number;
  format: "image/jpeg" | "image/png";
}

export interface ProgressMessage {
  type: "progress";
  job: "blend" | "open" | "discover";
  fraction: number;
  seconds_left: number | null;
  decibel: number | null;
}

export interface NoticeMessage {
  type: "notice";
  level: "info" | "warning";
  text: string;
}

export interface ErrorMessage {
  type: "error";
  page: string | null;
  sequence: number | null;
  what: string;
  mend: string;
}

export interface FileMessage {
  type: "file";
  page: string;
  name: string;
  format: string;
}

/** References, with a sheet: a column for each, with the picture above the generator's version of it. */
export interface ReferencesMessage {
  type: "references";
  page: string;
  /** Empty for a requested picture of the user's own. */
  concept: string;
  entries: { key: string; own: boolean; decibel: number }[];
}

/** The variants of an edit, with a sheet of pictures: a column for each. */
export interface VariantsMessage {
  type: "variants";
  page: string;
  edit: string;
  variants: number[];
}

/** Scenes of the gallery, with a sheet of pictures: a column for each. */
export interface ScenesMessage {
  type: "scenes";
  page: string;
  /** The index of the first scene. */
  first: number;
  /** The number of scenes in the gallery. */
  total: number;
  titles: string[];
}

export type KernelMessage =
  | WelcomeMessage
  | AcceptedMessage
  | AliveMessage
  | FrameMessage
  | ProgressMessage
  | NoticeMessage
  | ErrorMessage
  | FileMessage
  | ReferencesMessage
  | VariantsMessage
  | ScenesMessage;
