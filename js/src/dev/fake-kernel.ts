/**
 * A kernel that runs in the page, with enough of the protocol to develop and test the editor without Jupyter. It paints
 * an invented church, tints masked pixels as its "preview", and pretends to blend. It checks messages as strictly as
 * the real kernel.
 */

import { movedEdit } from "../core/edits";
import type { EditorSession } from "../core/session";
import {
  type CommandArguments,
  type Covers,
  type KernelMessage,
  type PageMessage,
  type Question,
  STRENGTH_MAX,
  VERSION,
} from "../protocol/messages";
import type { Concept, Edit, SessionState } from "../protocol/state";
import { pageProblem } from "../protocol/validate-page-message";
import { encodeGray } from "../raster/png";

const SIZE = 128;

const CONCEPTS: Concept[] = [
  { name: "tree", color: "#3fa34d", quality: 0.92 },
  { name: "sky", color: "#5aa9e6", quality: 0.88 },
  { name: "grass", color: "#9bc53d", quality: 0.8 },
  { name: "dome", color: "#e0a458", quality: 0.71 },
  { name: "window", color: "#8367c7", quality: 0.55 },
  { name: "door", color: "#b5543c", quality: 0.36 },
  { name: "cloud", color: "#b8c4d0", quality: 0.2 },
];

/** The kernel's description of an edit that has not been tuned. */
const PLAIN = { units: null, target: "tuned", variant: 0 } as const;
/** The number of scenes in the gallery. */
const SCENES = 30;
const CLASSES = ["sky", "grass", "church", "roof", "window", "door"];

interface Document {
  edits: Edit[];
  masks: Map<string, Uint8Array>;
}

export interface FakeOptions {
  /** Milliseconds between a message and its answer. */
  delay?: number;
  /** Milliseconds of quiet before the state at rest is written. */
  pause?: number;
}

export class FakeKernel {
  #accepted: Covers = {};
  #revision = 0;
  #scene = 0;
  /** Whether it is one of the user's own pictures. */
  #own = false;
  #document: Document = { edits: [], masks: new Map() };
  #past: Document[] = [];
  #future: Document[] = [];
  #stroke = "";
  #frames = 0;
  #inFlight = 0;
  #previewWanted = false;
  #photo = paintScene(0);
  #result: HTMLCanvasElement | null = null;
  #measures: SessionState["measures"]["blend"] = null;
  #blended: number | null = null;
  #job: { fraction: number; canceled: boolean } | null = null;
  #notice: SessionState["notice"] = null;
  #faithful = false;
  #restTimer = 0;
  #writing: Promise<void> = Promise.resolve();

  session: EditorSession<ImageBitmap> | null = null;

  readonly #options: FakeOptions;

  constructor(options: FakeOptions = {}) {
    this.#options = options;
  }

  /** The `send` of the page's surroundings. */
  readonly send = (message: PageMessage, buffer?: Uint8Array): void => {
    // Copied like on a real connection, because the page's own object may change after it was sent.
    const copy = JSON.parse(JSON.stringify(message)) as PageMessage;
    setTimeout(() => this.#receive(copy, buffer), this.#options.delay ?? 12);
  };

  #say(message: KernelMessage, buffer?: Uint8Array): void {
    this.session?.receive(message, buffer ?? null);
  }

  #receive(message: PageMessage, buffer?: Uint8Array): void {
    const { page } = message;
    const problem = pageProblem(message, buffer?.byteLength ?? null);
    if (problem) {
      const sequence = "sequence" in message ? message.sequence : null;
      if (sequence !== null) this.#accepted[page] = sequence;
      this.#say({ type: "error", page, sequence, what: problem, mend: "This is a mistake in the editor." });
      return;
    }
    if (message.type === "hello") {
      this.#inFlight = 0;
      const sequence = this.#accepted[page] ?? 0;
      this.#say({ type: "welcome", version: VERSION, page, sequence, revision: this.#revision });
      void this.#rest();
      return;
    }
    if (message.type === "hidden") return;
    if (message.type === "ack") {
      this.#inFlight = this.#frames - message.frame;
      if (this.#previewWanted) void this.#preview();
      return;
    }
    if (message.type === "beat") {
      this.#say({ type: "alive", page, sequence: this.#accepted[page] ?? 0, revision: this.#revision });
      return;
    }
    if (message.type === "cancel") {
      if (this.#job) this.#job.canceled = true;
      return;
    }
    if (
      message.type === "samples" ||
      message.type === "refer" ||
      message.type === "variants" ||
      message.type === "scenes"
    ) {
      void this.#answer(message);
      return;
    }
    if (message.type === "stroke" && message.drawn) this.#inFlight = this.#frames - message.drawn;
    const before = this.#accepted[page] ?? 0;
    if (message.sequence <= before) {
      this.#say({ type: "accepted", page, sequence: before, revision: this.#revision });
      return;
    }
    if (message.sequence > before + 1) {
      this.#say({ type: "welcome", version: VERSION, page, sequence: before, revision: this.#revision });
      return;
    }
    this.#accepted[page] = message.sequence;
    const refuse = (what: string, mend: string): void =>
      this.#say({ type: "error", page, sequence: message.sequence, what, mend });

    if (message.type === "stroke") {
      const key = `${page} ${message.stroke}`;
      // Without pixels it changes nothing.
      if (buffer?.length && this.#stroke !== key) {
        this.#remember();
        this.#stroke = key;
      }
      const { edit: id, verb, concept, strength, rect, reference = null } = message;
      if (buffer?.length && !this.#document.edits.some((edit) => edit.id === id)) {
        this.#document.edits.push({ id, verb, concept, strength, enabled: true, ...PLAIN, reference });
        this.#document.masks.set(id, new Uint8Array(SIZE * SIZE));
      }
      // Earlier documents share their masks with this one.
      const mask = this.#document.masks.get(id)?.slice();
      if (mask) this.#document.masks.set(id, mask);
      const [x, y, width, height] = rect;
      for (let row = 0; row < height; row++) {
        mask?.set((buffer as Uint8Array).subarray(row * width, (row + 1) * width), (y + row) * SIZE + x);
      }
    } else if (message.name === "undo" || message.name === "redo") {
      const [from, to] = message.name === "undo" ? [this.#past, this.#future] : [this.#future, this.#past];
      const step = from.pop();
      if (step) {
        to.push(this.#document);
        this.#document = step;
      }
    } else if (message.name === "move") {
      const { edit, index } = message.arguments as { edit: string; index: number };
      this.#remember();
      this.#document.edits = movedEdit(this.#document.edits, edit, index);
    } else if (message.name === "retune" || message.name === "toggle" || message.name === "delete") {
      const { edit: id, ...changes } = message.arguments as Partial<Edit> & { edit: string };
      this.#remember();
      const { edits } = this.#document;
      const index = edits.findIndex((edit) => edit.id === id);
      if (index < 0) {
        refuse("This edit is gone.", "Paint a new one.");
        return;
      }
      if (message.name === "delete") edits.splice(index, 1);
      else edits[index] = { ...(edits[index] as Edit), ...changes };
    } else if (message.name === "scene" || message.name === "open") {
      if (message.name === "open") {
        if ((buffer as Uint8Array)[0] !== 0x89 && (buffer as Uint8Array)[0] !== 0xff) {
          const { name } = message.arguments as { name: string };
          refuse(`${name} is not a picture.`, "Open a PNG, JPEG or WebP file.");
          return;
        }
        this.#notice = { level: "warning", text: "Outside the demo's world: expect a loose likeness." };
      } else this.#notice = null;
      // A button opens the next scene, and the gallery a certain one.
      this.#scene = (message.arguments as CommandArguments["scene"]).index ?? this.#scene + 1;
      this.#own = message.name === "open";
      this.#photo = paintScene(this.#scene);
      this.#document = { edits: [], masks: new Map() };
      this.#past = [];
      this.#future = [];
      this.#result = null;
      this.#measures = null;
      this.#blended = null;
    } else if (message.name === "blend") void this.#blend();
    else if (message.name === "faithful") this.#faithful = (message.arguments as { on: boolean }).on;
    else if (message.name === "save") {
      const { what, where } = message.arguments as CommandArguments["save"];
      const name = what === "project" ? `church-${this.#scene}.ganpaint` : `church-${this.#scene}.png`;
      if (where === "kernel") {
        this.#say({ type: "notice", level: "info", text: `Saved beside the notebook's kernel as ${name}.` });
      } else {
        void bytesOf(this.#result ?? this.#render()).then((bytes) =>
          this.#say({ type: "file", page, name, format: "image/png" }, bytes),
        );
      }
    }
    if (message.type === "stroke" || message.name !== "blend") this.#revision++;
    this.#say({ type: "accepted", page, sequence: message.sequence, revision: this.#revision });
    void this.#preview();
    // The state follows after a short pause, as in the real kernel.
    clearTimeout(this.#restTimer);
    this.#restTimer = window.setTimeout(() => void this.#rest(), this.#options.pause ?? 120);
  }

  async #answer(message: Question): Promise<void> {
    const { page } = message;
    if (message.type === "variants") {
      const { edit } = message;
      const sheet = await sheetOf([
        [0, 1, 2, 3, 4, 5].map((variant) => paintScene(this.#scene, 9 * variant)),
      ]);
      this.#say({ type: "variants", page, edit, variants: [0, 1, 2, 3, 4, 5] }, sheet);
      return;
    }
    if (message.type === "scenes") {
      const { first, count } = message;
      const shown = Array.from({ length: Math.min(count, SCENES - first) }, (_, at) => first + at);
      const sheet = await sheetOf([shown.map((scene) => paintScene(scene))], "image/jpeg");
      const titles = shown.map((scene) => `Church ${scene + 1}`);
      this.#say({ type: "scenes", page, first, total: SCENES, titles }, sheet);
      return;
    }
    const own = message.type === "refer";
    const scenes = own ? [11] : [2, 3, 5, 6, 8, 9];
    const made = scenes.map((scene) => paintScene(scene));
    const sheet = await sheetOf([made, made.map((scene) => (own ? softened(scene) : scene))]);
    const entries = scenes.map((scene) => ({
      key: own ? `p${"0123456789".repeat(4)}` : `s${scene}`,
      own,
      decibel: own ? 18.3 : 99,
    }));
    this.#say({ type: "references", page, concept: own ? "" : message.concept, entries }, sheet);
  }

  #remember(): void {
    const { edits, masks } = this.#document;
    this.#past.push(this.#document);
    this.#future = [];
    this.#document = {
      edits: edits.map((edit) => ({ ...edit })),
      masks: new Map(masks),
    };
  }

  /** "G(z_e)": the concept's color wherever its mask is, as much as the strength says. */
  #render(base = softened(this.#photo)): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIZE;
    const context = contextOf(canvas);
    context.drawImage(base, 0, 0);
    const image = context.getImageData(0, 0, SIZE, SIZE);
    for (const { id, verb, concept, strength, enabled } of this.#document.edits) {
      const mask = this.#document.masks.get(id);
      if (!mask || !enabled) continue;
      const color = CONCEPTS.find(({ name }) => name === concept)?.color ?? "#888888";
      const rgb = Number.parseInt((verb === "add" ? color : "#a99f92").slice(1), 16);
      for (let at = 0; at < mask.length; at++) {
        const grain = 0.75 + 0.5 * Math.abs(Math.sin(at * 12.9898) * 0.5 + Math.sin((at % SIZE) * 1.7) * 0.5);
        const part = ((mask[at] as number) / 255) * Math.min(1, (strength / STRENGTH_MAX) * 3.2);
        for (let channel = 0; channel < 3; channel++) {
          const painted = ((rgb >> (16 - 8 * channel)) & 255) * grain;
          const index = 4 * at + channel;
          image.data[index] = (1 - part) * (image.data[index] as number) + part * painted;
        }
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  async #preview(): Promise<void> {
    this.#previewWanted = this.#inFlight >= 2;
    if (this.#previewWanted) return;
    await this.#frame("preview", this.#render());
  }

  async #frame(picture: "preview" | "result", canvas: HTMLCanvasElement): Promise<void> {
    const frame = ++this.#frames;
    this.#inFlight++;
    const covers = { ...this.#accepted };
    const revision = this.#revision;
    const bytes = await bytesOf(canvas, "image/jpeg");
    const size = { width: SIZE, height: SIZE };
    this.#say({ type: "frame", frame, picture, revision, covers, ...size, format: "image/jpeg" }, bytes);
  }

  async #blend(): Promise<void> {
    if (this.#job) return;
    const job = { fraction: 0, canceled: false };
    const revision = this.#revision;
    this.#job = job;
    const steps = 40;
    for (let step = 1; step <= steps && !job.canceled; step++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      job.fraction = step / steps;
      const decibel = 22.1 + 9.3 * job.fraction;
      const seconds_left = step < 3 ? null : ((steps - step) * 100) / 1000;
      this.#say({ type: "progress", job: "blend", fraction: job.fraction, seconds_left, decibel });
      if (step % 5 === 0) {
        const base = soften(this.#photo, 1.2 * (1 - job.fraction));
        await this.#frame("result", this.#render(base));
      }
    }
    this.#job = null;
    this.#result = this.#render(this.#photo);
    this.#measures = { before: 22.1, after: 22.1 + 9.3 * job.fraction, survival: 0.97 };
    this.#blended = revision;
    await this.#frame("result", this.#result);
    await this.#rest();
    this.#say({
      type: "notice",
      level: "info",
      text: job.canceled ? "Stopped: the best so far is kept." : "Blended into the photo.",
    });
  }

  /** Writes states one after the other, so that an old state never replaces a newer one. */
  #rest(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeRest());
    return this.#writing;
  }

  async #writeRest(): Promise<void> {
    const { edits, masks } = this.#document;
    const state: SessionState = {
      revision: this.#revision,
      covers: { ...this.#accepted },
      title: `Church ${this.#scene + 1}`,
      width: SIZE,
      height: SIZE,
      cells: [16, 16],
      classes: CLASSES,
      journal: [],
      generator: "fake",
      concepts: CONCEPTS,
      verbs: ["add", "remove", "restyle"],
      edits: edits.map((edit) => ({ ...edit })),
      can_undo: this.#past.length > 0,
      can_redo: this.#future.length > 0,
      has_gallery: true,
      scene: this.#own ? null : this.#scene % SCENES,
      job: this.#job && { name: "blend", fraction: this.#job.fraction },
      faithful: { on: this.#faithful, ready: this.#faithful },
      blended: this.#blended,
      measures: { reconstruction_decibel: 22.6, blend: this.#measures },
      notice: this.#notice,
    };
    const gray: Record<string, Uint8Array> = {};
    for (const { id } of edits) gray[id] = await grayOf(masks.get(id) as Uint8Array);
    void this.session?.sync({
      state,
      masks: gray,
      pictures: {
        photo: await photoBytes(this.#photo),
        reconstruction: await softBytes(this.#photo),
        preview: await bytesOf(this.#render()),
        result: this.#result && (await bytesOf(this.#result)),
      },
      labels: await labels(this.#photo),
    });
  }
}

/** Computes a value of an object once, since the real kernel encodes nothing twice either. */
function once<K extends object, V>(compute: (key: K) => V): (key: K) => V {
  const known = new WeakMap<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key) as V;
  };
}

const grayOf = once((mask: Uint8Array) => encodeGray(mask, SIZE, SIZE));
const labels = once((photo: HTMLCanvasElement) => encodeGray(labelsOf(photo), SIZE, SIZE));
const photoBytes = once((photo: HTMLCanvasElement) => bytesOf(photo));
const softened = once((photo: HTMLCanvasElement) => soften(photo));
const softBytes = once((photo: HTMLCanvasElement) => bytesOf(softened(photo)));

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  return canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
}

/** "G(z)": similar to the photo, but not equal. */
function soften(photo: HTMLCanvasElement, radius = 1.2): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const context = contextOf(canvas);
  context.filter = `blur(${radius}px) saturate(0.9)`;
  context.drawImage(photo, 0, 0);
  return canvas;
}

/** Joins rows of pictures into one picture. */
function sheetOf(rows: HTMLCanvasElement[][], format = "image/png"): Promise<Uint8Array> {
  const canvas = document.createElement("canvas");
  canvas.width = SIZE * (rows[0] as unknown[]).length;
  canvas.height = SIZE * rows.length;
  const context = contextOf(canvas);
  for (const [row, pictures] of rows.entries()) {
    for (const [column, picture] of pictures.entries()) context.drawImage(picture, SIZE * column, SIZE * row);
  }
  return bytesOf(canvas, format);
}

function paintScene(scene: number, turn = 0): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const context = contextOf(canvas);
  context.scale(SIZE / 128, SIZE / 128);
  const hue = (205 + 23 * scene + turn) % 360;
  const sky = context.createLinearGradient(0, 0, 0, 90);
  sky.addColorStop(0, `hsl(${hue} 60% 62%)`);
  sky.addColorStop(1, `hsl(${hue} 55% 88%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, 128, 92);
  context.fillStyle = "hsl(96 32% 42%)";
  context.fillRect(0, 88, 128, 40);
  const shape = (color: string, ...points: number[]): void => {
    context.fillStyle = color;
    context.beginPath();
    for (let at = 0; at < points.length; at += 2) {
      context.lineTo(points[at] as number, points[at + 1] as number);
    }
    context.fill();
  };
  const x = 34 + ((scene * 17) % 24);
  shape("#cbbfae", x, 56, x + 46, 56, x + 46, 100, x, 100);
  shape("#8a4b3c", x - 4, 58, x + 23, 38, x + 50, 58);
  shape("#d8cdbd", x + 34, 30, x + 54, 30, x + 54, 100, x + 34, 100);
  shape("#6d6f7b", x + 32, 31, x + 44, 6, x + 56, 31);
  for (const [left, top] of [
    [8, 66],
    [20, 66],
    [40, 44],
    [40, 66],
  ] as const) {
    shape("#3d4656", x + left, top, x + left + 7, top, x + left + 7, top + 14, x + left, top + 14);
  }
  shape("#54372a", x + 12, 86, x + 24, 86, x + 24, 100, x + 12, 100);
  shape("#b9ab94", x + 10, 100, x + 26, 100, x + 36, 128, x - 2, 128);
  return canvas;
}

/** "The segmenter": by color. */
function labelsOf(photo: HTMLCanvasElement): Uint8Array {
  const { data } = contextOf(photo).getImageData(0, 0, SIZE, SIZE);
  const means = [null, [91, 141, 73], [210, 200, 185], [120, 95, 95], [61, 70, 86], [84, 55, 42]] as const;
  return Uint8Array.from({ length: SIZE * SIZE }, (_, at) => {
    const [red, green, blue] = data.subarray(4 * at, 4 * at + 3) as unknown as [number, number, number];
    let best = 0;
    let least = blue > 150 && blue >= red ? 0 : 1e9;
    for (const [index, mean] of means.entries()) {
      if (!mean) continue;
      const far = (red - mean[0]) ** 2 + (green - mean[1]) ** 2 + (blue - mean[2]) ** 2;
      if (far < least) [best, least] = [index, far];
    }
    return best;
  });
}

async function bytesOf(canvas: HTMLCanvasElement, format = "image/png"): Promise<Uint8Array> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, format, 0.88));
  return new Uint8Array(await (blob as Blob).arrayBuffer());
}
