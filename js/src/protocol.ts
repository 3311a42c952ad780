/**
 * The messages between the page and the kernel (docs/protocol.md), version 1: their types, and validators that say in
 * a sentence what is wrong. The Python twin is ganpaint_widget/widget/protocol.py; tests/fixtures/protocol.json holds
 * examples which both must judge alike.
 */

export const VERSION = 1;
export const STRENGTH_MAX = 4;

/** What can be painted. */
export type Verb = "add" | "remove" | "restyle";
export type Units = null | "low" | "medium" | "high";
export type Target = "tuned" | "quantile" | "mean";
/** Of a photo that is no square, its middle is edited, or all of it with mirrored edges around. */
export type Fit = "crop" | "pad";
export type PictureName = "photo" | "reconstruction" | "preview" | "result";
/** x, y, width, height in picture pixels. */
export type Rect = [number, number, number, number];
export type Covers = Record<string, number>;

// ---------------------------------------------------------------------------------------------- page to kernel

export interface Hello {
  type: "hello";
  version: number;
  page: string;
}

/** What a restyle refers to: the key of a reference, and which rectangle of it counts; null: where the concept is seen. */
export interface Referring {
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
  /** Of a restyle, and only of that. */
  reference?: Referring;
  /** The newest frame that has been drawn, as in `ack`. */
  drawn?: number;
}

/** What can be changed of an edit: one of these at least. */
export interface Retuned {
  strength?: number;
  units?: Units;
  target?: Target;
  variant?: number;
  reference?: Referring;
}

export interface CommandArguments {
  undo: Record<string, never>;
  redo: Record<string, never>;
  retune: { edit: string } & Retuned;
  toggle: { edit: string; enabled: boolean };
  delete: { edit: string };
  move: { edit: string; index: number };
  /** Without an index the next one. */
  scene: { index?: number };
  open: { name: string; fit: Fit };
  blend: Record<string, never>;
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

export interface Ack {
  type: "ack";
  page: string;
  frame: number;
}

export interface Cancel {
  type: "cancel";
  page: string;
}

/** Is anybody there? */
export interface Beat {
  type: "beat";
  page: string;
}

/** Nobody sees the page: it wants no frames until it says hello again. */
export interface Hidden {
  type: "hidden";
  page: string;
}

/** Which references are there for restyling a concept? */
export interface AskSamples {
  type: "samples";
  page: string;
  concept: string;
}

/** A picture of the user's own, to be referred to. */
export interface AskRefer {
  type: "refer";
  page: string;
  name: string;
}

/** What do the other versions of an edit look like? */
export interface AskVariants {
  type: "variants";
  page: string;
  edit: string;
}

/** What do so many scenes of the gallery look like, from this one on? */
export interface AskScenes {
  type: "scenes";
  page: string;
  first: number;
  count: number;
}

/** What the kernel answers when it has time, and what changes nothing. */
export type Question = AskSamples | AskRefer | AskVariants | AskScenes;

/** The messages that are counted, kept until they are accepted, and replayed. */
export type NumberedMessage = StrokeMessage | CommandMessage;
export type PageMessage = Hello | NumberedMessage | Ack | Cancel | Beat | Hidden | Question;

// ---------------------------------------------------------------------------------------------- kernel to page

export interface Welcome {
  type: "welcome";
  version: number;
  page: string;
  sequence: number;
  revision: number;
}

export interface Accepted {
  type: "accepted";
  page: string;
  sequence: number;
  revision: number;
}

/** The answer to `beat`. */
export interface Alive {
  type: "alive";
  page: string;
  sequence: number;
  revision: number;
}

export interface Frame {
  type: "frame";
  frame: number;
  picture: "preview" | "result";
  revision: number;
  covers: Covers;
  width: number;
  height: number;
  format: "image/jpeg" | "image/png";
}

export interface Progress {
  type: "progress";
  job: "blend" | "open";
  fraction: number;
  seconds_left: number | null;
  decibel: number | null;
}

export interface Notice {
  type: "notice";
  level: "info" | "warning";
  text: string;
}

export interface Failure {
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

/** References, with a sheet of pictures: a column for each, above the picture, below what the generator makes of it. */
export interface References {
  type: "references";
  page: string;
  /** Empty for a picture of the user's own that was asked for. */
  concept: string;
  entries: { key: string; own: boolean; decibel: number }[];
}

/** The variants of an edit, with a sheet of pictures: a column for each. */
export interface Variants {
  type: "variants";
  page: string;
  edit: string;
  variants: number[];
}

/** Scenes of the gallery, with a sheet of pictures: a column for each. */
export interface Scenes {
  type: "scenes";
  page: string;
  /** The index of the first of them. */
  first: number;
  /** So many has the gallery. */
  total: number;
  titles: string[];
}

export type KernelMessage =
  | Welcome
  | Accepted
  | Alive
  | Frame
  | Progress
  | Notice
  | Failure
  | FileMessage
  | References
  | Variants
  | Scenes;

// ------------------------------------------------------------------------------------------------ state at rest

export interface Concept {
  name: string;
  /** "#rrggbb" */
  color: string;
  /** How well the generator knows the concept, 0 to 1. */
  quality: number;
}

export interface Edit {
  id: string;
  /** Units are suppressed from Python alone. */
  verb: Verb | "suppress";
  concept: string;
  strength: number;
  enabled: boolean;
  /** The rest is there once the kernel has said it. "own": numbers that were chosen in Python. */
  units?: Units | "own";
  target?: Target;
  variant?: number;
  reference?: Referring | null;
}

export interface BlendMeasures {
  /** PSNR of the kept pixels in G(z_e) and in G'(z_e). */
  before: number;
  after: number;
  /** null where nothing was edited. */
  survival: number | null;
}

export interface State {
  revision: number;
  covers: Covers;
  title: string;
  width: number;
  height: number;
  /** The grid of the layer that is edited: so many cells across and down. */
  cells: [number, number];
  /** The names of the segments' labels; none where nothing segments the photo. */
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
  /** Which scene of the gallery this is. */
  scene?: number | null;
  job: null | { name: string; fraction: number };
  /** Is the preview wanted to keep to the photo, and does it? */
  faithful?: { on: boolean; ready: boolean };
  /** The revision whose edits the last finished blend has; null before there is one. */
  blended?: number | null;
  measures: { reconstruction_decibel: number | null; blend: BlendMeasures | null };
  notice: null | { level: "info" | "warning"; text: string };
}

// --------------------------------------------------------------------------------------------------- validators

type Fields = Record<string, unknown>;
type Test = (value: unknown) => boolean;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isString: Test = (value) => typeof value === "string";
const isBoolean: Test = (value) => typeof value === "boolean";
const isNumber: Test = (value) => typeof value === "number" && Number.isFinite(value);
const isCount: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isPositive: Test = (value) => isCount(value) && value !== 0;
const isPage: Test = (value) => typeof value === "string" && /^[A-Za-z0-9-]{8,64}$/.test(value);
const isEditId: Test = (value) => typeof value === "string" && /^[A-Za-z0-9-]{1,32}$/.test(value);
const isFraction: Test = (value) => isNumber(value) && (value as number) >= 0 && (value as number) <= 1;
const isStrength: Test = (value) =>
  isNumber(value) && (value as number) >= 0 && (value as number) <= STRENGTH_MAX;
const isRect: Test = (value) => Array.isArray(value) && value.length === 4 && value.every(isCount);
const isCovers: Test = (value) =>
  isObject(value) && Object.entries(value).every(([page, sequence]) => isPage(page) && isCount(sequence));
const isReferring: Test = (value) =>
  isObject(value) &&
  Object.keys(value).length === 2 &&
  typeof value.key === "string" &&
  /^(s\d{1,10}|p[0-9a-f]{40})$/.test(value.key) &&
  "region" in value &&
  orNull(isRect)(value.region);
const oneOf =
  (...choices: unknown[]): Test =>
  (value) =>
    choices.includes(value);
const orNull =
  (test: Test): Test =>
  (value) =>
    value === null || test(value);

/** The first field that is missing or wrong, as a sentence; null if there is none. */
function fieldProblem(fields: Fields, tests: Record<string, Test>): string | null {
  for (const [name, test] of Object.entries(tests)) {
    if (!(name in fields)) return `The field "${name}" is missing.`;
    if (!test(fields[name])) return `The field "${name}" is not valid.`;
  }
  return null;
}

/** Own properties only: a message of type "constructor" must not find Object's. */
function lookUp<T>(table: Record<string, T>, key: unknown): T | undefined {
  return typeof key === "string" && Object.hasOwn(table, key) ? table[key] : undefined;
}

const pageFields: Record<PageMessage["type"], Record<string, Test>> = {
  hello: { version: oneOf(VERSION), page: isPage },
  stroke: {
    page: isPage,
    sequence: isPositive,
    stroke: isPositive,
    last: isBoolean,
    edit: isEditId,
    verb: oneOf("add", "remove", "restyle"),
    concept: isString,
    strength: isStrength,
    rect: isRect,
  },
  command: { page: isPage, sequence: isPositive, name: isString, arguments: isObject },
  ack: { page: isPage, frame: isPositive },
  cancel: { page: isPage },
  beat: { page: isPage },
  hidden: { page: isPage },
  samples: { page: isPage, concept: isString },
  refer: { page: isPage, name: isString },
  variants: { page: isPage, edit: isEditId },
  scenes: { page: isPage, first: isCount, count: (value) => isPositive(value) && (value as number) <= 48 },
};

const commandFields: Record<CommandName, Record<string, Test>> = {
  undo: {},
  redo: {},
  retune: { edit: isEditId },
  toggle: { edit: isEditId, enabled: isBoolean },
  delete: { edit: isEditId },
  move: { edit: isEditId, index: isCount },
  scene: {},
  open: { name: isString, fit: oneOf("crop", "pad") },
  blend: {},
  faithful: { on: isBoolean },
  save: { what: oneOf("picture", "project"), where: oneOf("page", "kernel") },
};

const settings: Record<string, Test> = {
  strength: isStrength,
  units: oneOf(null, "low", "medium", "high"),
  target: oneOf("tuned", "quantile", "mean"),
  variant: isCount,
  reference: isReferring,
};

/** Is something to be changed, and all of it known? */
function isRetuned({ edit: _, ...changes }: Fields): boolean {
  const names = Object.keys(changes);
  return names.length > 0 && names.every((name) => lookUp(settings, name)?.(changes[name]));
}

/** What is wrong with a message to the kernel, or null. `bytes` is its buffer's length, null without a buffer. */
export function pageProblem(message: unknown, bytes: number | null): string | null {
  if (!isObject(message)) return "The message is not an object.";
  const tests = lookUp(pageFields, message.type);
  if (!tests) return "The message's type is not known.";
  const wrong = fieldProblem(message, tests);
  if (wrong) return wrong;
  if (message.type === "stroke") {
    if (message.verb === "restyle" ? !isReferring(message.reference) : "reference" in message) {
      return "A restyle needs a valid reference, and nothing else has one.";
    }
    if ("drawn" in message && !isPositive(message.drawn)) return 'The field "drawn" is not valid.';
    const [, , width, height] = message.rect as Rect;
    const empty = width === 0 && height === 0;
    if ((width === 0 || height === 0) && !(empty && message.last)) return "The rectangle is empty.";
    return (bytes ?? 0) === width * height ? null : "The buffer's length is not width x height.";
  }
  if (message.type === "command") {
    const command = lookUp(commandFields, message.name);
    if (!command) return "The command's name is not known.";
    const misused = fieldProblem(message.arguments as Fields, command);
    if (misused) return misused;
    if (message.name === "retune" && !isRetuned(message.arguments as Fields)) {
      return "What is to be retuned is not valid.";
    }
    const { index = 0 } = message.arguments as Fields;
    if (message.name === "scene" && !isCount(index)) return 'The field "index" is not valid.';
  }
  if (message.name === "open" || message.type === "refer") {
    return bytes ? null : "There is no file in the buffer.";
  }
  return bytes ? "This message carries no buffer." : null;
}

const kernelFields: Record<KernelMessage["type"], Record<string, Test>> = {
  welcome: { version: oneOf(VERSION), page: isPage, sequence: isCount, revision: isCount },
  accepted: { page: isPage, sequence: isCount, revision: isCount },
  alive: { page: isPage, sequence: isCount, revision: isCount },
  frame: {
    frame: isPositive,
    picture: oneOf("preview", "result"),
    revision: isCount,
    covers: isCovers,
    width: isPositive,
    height: isPositive,
    format: oneOf("image/jpeg", "image/png"),
  },
  progress: {
    job: oneOf("blend", "open"),
    fraction: isFraction,
    seconds_left: orNull((value) => isNumber(value) && (value as number) >= 0),
    decibel: orNull(isNumber),
  },
  notice: { level: oneOf("info", "warning"), text: isString },
  error: { page: orNull(isPage), sequence: orNull(isCount), what: isString, mend: isString },
  file: { page: isPage, name: isString, format: isString },
  references: { page: isPage, concept: isString, entries: Array.isArray },
  variants: { page: isPage, edit: isEditId, variants: Array.isArray },
  scenes: { page: isPage, first: isCount, total: isPositive, titles: Array.isArray },
};

/** Messages that come with a buffer. */
const CARRIERS = ["frame", "file", "references", "variants", "scenes"];

/** What is wrong with a message from the kernel, or null. */
export function kernelProblem(message: unknown, bytes: number | null): string | null {
  if (!isObject(message)) return "The message is not an object.";
  const tests = lookUp(kernelFields, message.type);
  if (!tests) return "The message's type is not known.";
  const wrong = fieldProblem(message, tests);
  if (wrong) return wrong;
  if (CARRIERS.includes(message.type as string)) return bytes ? null : "The buffer is missing.";
  return bytes ? "This message carries no buffer." : null;
}

export function isKernelMessage(message: unknown, bytes: number | null): message is KernelMessage {
  return kernelProblem(message, bytes) === null;
}

/** A state that the kernel has written: an empty object until it has written one. */
export function isState(value: unknown): value is State {
  return (
    isObject(value) &&
    isCount(value.revision) &&
    isCovers(value.covers) &&
    isPositive(value.width) &&
    isPositive(value.height) &&
    Array.isArray(value.cells) &&
    Array.isArray(value.classes) &&
    Array.isArray(value.journal) &&
    Array.isArray(value.edits) &&
    Array.isArray(value.concepts) &&
    isObject(value.measures)
  );
}
