/**
 * This page's copy of the session: edits, masks and pictures, what the user has changed in them, and what the kernel
 * has said. All views of one widget share it. It decides when the kernel's state replaces the page's own (see
 * `docs/protocol.md`, "State at rest"). It needs a browser only through `Surroundings`, which tests replace.
 */

import {
  type Accepted,
  type CommandArguments,
  type CommandName,
  type Edit,
  type Failure,
  type Frame,
  isState,
  type KernelMessage,
  kernelProblem,
  type PictureName,
  type References,
  type Referring,
  type Scenes,
  type State,
  type Variants,
  type Verb,
  type Welcome,
} from "../protocol";
import type { Drawer } from "./drawer";
import type { Dab } from "./geometry";
import { Mask, type Patch } from "./mask";
import { Outbox, type Transmit } from "./outbox";
import { decodeGrey } from "./png";
import type { Labels } from "./shapes";

/** What the page needs of the world around it. */
export interface Surroundings<Image> {
  send: Transmit;
  decode(bytes: Uint8Array, format: string): Promise<Image>;
  /** Runs the step before the next animation frame. */
  tick(step: () => void): void;
  download(bytes: Uint8Array, name: string, format: string): void;
  /** Where undelivered messages outlive the page, if there is such a place. */
  drawer?: Drawer;
  /** What the host knows of the kernel; null if it tells nothing. */
  kernel?(): HostKernel | null;
}

export type HostKernel = "idle" | "busy" | "dead" | "unreachable" | "none";

/**
 * Does the kernel answer? If not, `silent` is all that is known, and the rest is what the host adds to it. In an
 * exported notebook nobody ever will: what was `saved` can be looked at, and not be changed.
 */
export type Health = "answers" | "silent" | "busy" | "gone" | "unreachable" | "saved";

/** The traits of the widget that the kernel writes. */
export interface Rest {
  state: unknown;
  masks: Record<string, Uint8Array>;
  pictures: Record<PictureName, Uint8Array | null>;
  /** The segments' labels as a grey PNG. */
  labels: Uint8Array | null;
}

export interface Picture<Image> {
  image: Image;
  revision: number;
  /** The newest own sequence that the picture covers. */
  sequence: number;
  /** The number of the newest frame of this picture that has come, 0 for none. */
  frame: number;
}

export interface Job {
  fraction: number;
  secondsLeft: number | null;
  decibel: number | null;
}

export interface Word {
  level: "info" | "warning" | "error";
  text: string;
  mend?: string;
}

/** A picture in a sheet of several, all of one size: this one is in a column. */
export interface Tile<Image> {
  sheet: Image;
  column: number;
  columns: number;
}

/** What a restyle can refer to: above in the sheet the picture, below what the generator makes of it. */
export interface Reference<Image> extends Tile<Image> {
  key: string;
  /** Is it a picture of the user's own? */
  own: boolean;
  decibel: number;
}

/** A scene of the gallery. */
export interface Scene<Image> extends Tile<Image> {
  title: string;
}

/** What a view has to draw again. */
export type Topic = "document" | "mask" | "picture" | "word";

export interface StrokeStart {
  edit: string | null;
  verb: Verb;
  concept: string;
  strength: number;
  erase: boolean;
  /** Of a restyle. */
  reference?: Referring | null;
}

/** The edits and their masks as they were; nothing paints in these masks any more. */
interface Step {
  edits: Edit[];
  masks: Map<string, Mask>;
}

interface Stroke {
  number: number;
  edit: Edit;
  /** A copy of the edit's mask, which takes its place with the first change. */
  mask: Mask;
  before: Step;
  erase: boolean;
  stamp: number;
  last: Dab | null;
  said: boolean;
}

/** Milliseconds: so long without a word from the kernel, and it is asked; again after so long; silent after so long. */
const ASK_AFTER = 2000;
const ASK_AGAIN_AFTER = 5000;
const SILENT_AFTER = 4000;
/** Where the host says that the kernel is idle, it may only be starved, as by another program. Not for so long. */
const GONE_AFTER = 20_000;

/** Milliseconds without a change after which the edits are blended again by themselves. */
const REST_BEFORE_BLEND = 900;

/** The commands that make a step of undo, if they change anything. */
const STEPPING: ReadonlySet<CommandName> = new Set(["retune", "toggle", "delete", "move"]);

/** So many steps back and forth show at once; for those before, the page waits for the kernel's state. */
const STEPS = 20;

const NAMES: PictureName[] = ["photo", "reconstruction", "preview", "result"];

/**
 * Which edit a brush stroke paints: the selected one or else the last one, if verb and concept agree with it; null
 * means a new edit.
 */
export function paintedEdit(
  edits: readonly Edit[],
  selected: string | null,
  verb: Verb,
  concept: string,
): string | null {
  const agrees = (edit: Edit | undefined): boolean => edit?.verb === verb && edit.concept === concept;
  const chosen = edits.find((edit) => edit.id === selected);
  if (agrees(chosen)) return (chosen as Edit).id;
  const last = edits[edits.length - 1];
  return agrees(last) ? (last as Edit).id : null;
}

/** What tells the edits of two states apart, but for the masks. Not all has its value yet in an edit of this page's own. */
const named = (edits: readonly Edit[]): string =>
  JSON.stringify(
    edits.map(({ id, verb, concept, strength, enabled }) => [id, verb, concept, strength, enabled]),
  );

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.every((value, at) => value === b[at]);

/** The edits with one of them at another place. */
export function moved(edits: readonly Edit[], id: string, index: number): Edit[] {
  const edit = edits.find((each) => each.id === id);
  const others = edits.filter((each) => each.id !== id);
  if (edit) others.splice(index, 0, edit);
  return others;
}

/** The edit that the eraser works on: the selected one, else the last one. */
export function erasedEdit(edits: readonly Edit[], selected: string | null): string | null {
  return (edits.find((edit) => edit.id === selected) ?? edits[edits.length - 1])?.id ?? null;
}

/** Random letters and digits. `crypto.randomUUID` is missing on pages served without TLS, as many hubs are. */
export function randomId(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}

export class Page<Image = unknown> {
  readonly outbox: Outbox;
  state: State | null = null;
  edits: Edit[] = [];
  readonly masks = new Map<string, Mask>();
  readonly pictures = new Map<PictureName, Picture<Image>>();
  /** Which class each pixel of the photo belongs to, where the kernel has a segmenter. */
  labels: Labels | null = null;
  health: Health = "answers";
  revision = 0;
  word: Word | null = { level: "info", text: "Choose a concept and paint." };
  /** Grows with every new word, so that views announce the same words again if they are said again. */
  words = 1;

  /** What restyles can refer to, by key, and of which concept the generator's samples among it are. */
  readonly references = new Map<string, Reference<Image>>();
  sampled = "";
  /** The variants that were asked for last. */
  variants: { edit: string; tiles: Tile<Image>[] } | null = null;

  /** The scenes of the gallery that have been looked at, by index, and how many there are. */
  readonly scenes = new Map<number, Scene<Image>>();
  sceneCount = 0;

  /** Are the edits to be blended again whenever the hand rests? */
  reblend = false;
  /** Was the last blend asked for by the page itself? */
  automatic = false;
  /** Has this page changed the edits since it last asked for a blend? */
  private edited = false;
  /** With how many messages sent it was found that a blend is due, and when. */
  private due: { sent: number; since: number } | null = null;

  /** The blend that the kernel was at when it was last heard. */
  private blend: Job | null = null;
  private stroke: Stroke | null = null;
  /** Was the last thing the user did an undo or a redo? */
  private undone = false;
  /** Where undo and redo will lead, as far as this page knows, the nearest last. */
  private past: Step[] = [];
  private future: Step[] = [];
  private ticking = false;
  private rest: Rest | null = null;
  /** Counts the attempts to take a state over: decoding takes time, and only the newest attempt may end. */
  private attempt = 0;
  private readonly taken = new Map<PictureName, Uint8Array>();
  private readonly grey = new WeakMap<Uint8Array, Uint8Array>();
  private decoding = false;
  private readonly arrived = new Map<PictureName, { message: Frame; bytes: Uint8Array }>();
  private newest = 0;
  /** The command that opens another picture, until it is done, and how far that is. */
  private opened: { sequence: number; fraction: number; secondsLeft: number | null } | null = null;
  /** When the kernel was last heard, and since when it owes an answer. */
  private now = 0;
  private heard = 0;
  private asked: number | null = null;
  private askedLast = 0;
  /** What earlier pages of this session could not deliver. */
  private readonly earlier = new Map<string, Outbox>();
  private searched = "";
  private readonly listeners = new Set<(topic: Topic) => void>();

  constructor(
    readonly id: string,
    readonly world: Surroundings<Image>,
  ) {
    this.outbox = new Outbox(id, (message, buffer) => world.send(message, buffer));
  }

  listen(listener: (topic: Topic) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  get width(): number {
    return this.state?.width ?? 64;
  }

  get height(): number {
    return this.state?.height ?? 64;
  }

  color(concept: string): string {
    return this.state?.concepts.find(({ name }) => name === concept)?.color ?? "#8a8f98";
  }

  /** The blend that is running. With a kernel that is gone it has gone, too, unless that comes back after all. */
  get job(): Job | null {
    return this.health === "gone" || this.saved ? null : this.blend;
  }

  /** What was just painted can be undone, even before the kernel has said so in its state. */
  get canUndo(): boolean {
    return this.state !== null && (this.state.can_undo || this.ahead);
  }

  get canRedo(): boolean {
    return this.state !== null && (this.ahead ? this.undone : this.state.can_redo);
  }

  /** Is this only to be looked at? */
  get saved(): boolean {
    return this.health === "saved";
  }

  /** Has this page sent what is not in the kernel's state at rest yet? */
  get ahead(): boolean {
    return this.state !== null && !this.outbox.coveredBy(this.state.covers);
  }

  // ------------------------------------------------------------------------------------------------- painting

  /** Begins a stroke of the brush and returns the id of the edit that it paints, or null if there is nothing to paint on. */
  begin(start: StrokeStart, dab: Dab, stamp: number): string | null {
    const id = this.open(start, stamp);
    this.paint(dab, stamp);
    return id;
  }

  paint(dab: Dab, stamp: number): void {
    const stroke = this.stroke;
    if (!stroke) return;
    stroke.mask.sweep(stroke.last ?? dab, dab, stroke.erase);
    stroke.last = dab;
    stroke.stamp = stamp;
    this.painted(stroke);
  }

  /** A stroke that is done at once: what a patch covers. */
  fill(start: StrokeStart, patch: Patch, stamp: number): string | null {
    return this.atOnce(start, stamp, (mask) => mask.fill(patch, start.erase));
  }

  /** A stroke that is done at once: the whole mask becomes `values`. */
  replace(start: StrokeStart, values: Uint8Array, stamp: number): string | null {
    return this.atOnce(start, stamp, (mask) => mask.replace(values));
  }

  private atOnce(start: StrokeStart, stamp: number, change: (mask: Mask) => void): string | null {
    const id = this.open(start, stamp);
    if (!this.stroke) return null;
    change(this.stroke.mask);
    this.painted(this.stroke);
    this.end(stamp);
    return id;
  }

  private open(start: StrokeStart, stamp: number): string | null {
    this.end(stamp);
    if (!this.state || this.saved || (start.erase && !start.edit)) return null;
    let edit = this.edits.find(({ id }) => id === start.edit);
    if (!edit) {
      const { verb, concept, strength, reference = null } = start;
      if (verb === "restyle" && !reference) return null;
      // Short, and long enough that two pages painting at once do not meet.
      edit = { id: randomId(12), verb, concept, strength, enabled: true, reference };
    }
    const mask = new Mask(this.width, this.height, this.masks.get(edit.id)?.values.slice());
    const number = this.outbox.nextStroke();
    const before = this.present;
    this.stroke = { number, edit, mask, before, erase: start.erase, stamp, last: null, said: false };
    return edit.id;
  }

  private painted(stroke: Stroke): void {
    if (!stroke.mask.changed) {
      this.outbox.unchanged(stroke.stamp);
      this.tell("picture");
      return;
    }
    if (!this.edits.includes(stroke.edit)) {
      // A new edit appears with its first painted pixel: a click beside the picture makes none.
      this.edits = [...this.edits, stroke.edit];
      this.tell("document");
    }
    this.masks.set(stroke.edit.id, stroke.mask);
    this.tell("mask");
    this.schedule();
  }

  end(stamp: number): void {
    const stroke = this.stroke;
    if (!stroke) return;
    stroke.stamp = Math.max(stroke.stamp, stamp);
    this.say(true);
    this.stroke = null;
    // A state may have come while the stroke was being painted, and been left aside for it.
    void this.consider();
  }

  get painting(): boolean {
    return this.stroke !== null;
  }

  /** One message a tick, with everything that changed since the last one. */
  private schedule(): void {
    if (this.ticking) return;
    this.ticking = true;
    this.world.tick(() => {
      this.ticking = false;
      this.flush();
    });
  }

  /** Says what has been painted and what has been drawn, in one message if possible. */
  private flush(): void {
    if (this.stroke?.mask.changed) {
      // When the kernel is behind, the change stays in the mask, and the next message carries more of it.
      if (this.outbox.congested) this.schedule();
      else this.say(false);
    }
    this.outbox.ack();
  }

  private say(last: boolean): void {
    const stroke = this.stroke;
    if (!stroke) return;
    const patch = stroke.mask.take();
    if (!patch && !(last && stroke.said)) return;
    if (!stroke.said) {
      this.changing();
      this.stepFrom(stroke.before);
    }
    stroke.said = true;
    this.undone = false;
    const { id, concept, strength, reference } = stroke.edit;
    // Nobody paints units away: such an edit has its mask from Python, and for a known one the verb says nothing.
    const verb = stroke.edit.verb === "suppress" ? "remove" : stroke.edit.verb;
    const fields = {
      stroke: stroke.number,
      last,
      edit: id,
      verb,
      concept: concept || "-",
      strength,
      ...(verb === "restyle" && reference ? { reference } : {}),
    };
    this.outbox.stroke(
      { ...fields, rect: patch?.rect ?? [0, 0, 0, 0] },
      patch?.values ?? new Uint8Array(0),
      stroke.stamp,
    );
    this.store();
  }

  // ------------------------------------------------------------------------------------------------- commands

  /** Sends a command, and shows at once what it will do where the page can know it. */
  command<N extends CommandName>(name: N, values: CommandArguments[N], buffer?: Uint8Array): void {
    if (this.saved) return;
    // In the order in which the user did them: what is painted comes first.
    this.end(0);
    const sequence = this.outbox.command(name, values, buffer);
    if (name === "scene" || name === "open") {
      this.opened = { sequence, fraction: 0, secondsLeft: null };
      this.past = this.future = [];
      this.edited = false;
    }
    this.store();
    const stepping = name === "undo" || name === "redo";
    if (stepping || STEPPING.has(name)) this.changing();
    if (name !== "blend") this.undone = stepping;
    if (name === "undo") this.travel(this.past, this.future);
    if (name === "redo") this.travel(this.future, this.past);
    const before = this.present;
    const { edit: id, ...changed } = values as Partial<Edit> & { edit?: string };
    if (name === "delete") this.edits = this.edits.filter((edit) => edit.id !== id);
    if (name === "retune" || name === "toggle") {
      this.edits = this.edits.map((edit) => (edit.id === id ? { ...edit, ...changed } : edit));
    }
    if (name === "move") this.edits = moved(this.edits, id as string, (values as { index: number }).index);
    if (STEPPING.has(name) && JSON.stringify(before.edits) !== JSON.stringify(this.edits))
      this.stepFrom(before);
    if (name === "faithful" && this.state) {
      this.state = { ...this.state, faithful: { ready: false, ...(values as { on: boolean }) } };
    }
    if (name === "blend") {
      this.blend = { fraction: 0, secondsLeft: null, decibel: null };
      this.edited = this.automatic = false;
    }
    this.tell("document");
    this.tell("mask");
  }

  // --------------------------------------------------------------------------------------------- blending again

  setReblend(on: boolean): void {
    this.reblend = on;
    this.tell("document");
  }

  /** Whoever paints on does not wait for a blend that nobody has asked for. */
  private changing(): void {
    this.edited = true;
    if (this.automatic && this.job) this.outbox.cancel();
    this.automatic = false;
  }

  /** Blends what this page has changed, once nothing has happened for a moment; never the same edits twice. */
  private blendAtRest(now: number): void {
    const { blended, revision = 0 } = this.state ?? {};
    const busy = this.painting || this.ahead || this.job || this.opening || this.health !== "answers";
    // The kernel, too, knows whether the edits have been blended since, as by another page.
    const stale = typeof blended === "number" && blended < revision;
    const { sent } = this.outbox;
    if (!this.reblend || !this.edited || busy || !stale) this.due = null;
    else if (this.due?.sent !== sent) this.due = { sent, since: now };
    else if (now - this.due.since >= REST_BEFORE_BLEND) {
      this.command("blend", {});
      this.automatic = true;
    }
  }

  // ---------------------------------------------------------------------------------------------- undo and redo
  // The kernel keeps the history and has the last word. But who undoes and paints on at once must not paint into what
  // the kernel has taken back already, so the page shows what it knows of the way.

  private get present(): Step {
    return { edits: this.edits, masks: new Map(this.masks) };
  }

  private stepFrom(before: Step): void {
    this.past.push(before);
    if (this.past.length > STEPS) this.past.shift();
    this.future = [];
  }

  private travel(from: Step[], to: Step[]): void {
    const step = from.pop();
    if (!step) return;
    to.push(this.present);
    this.show(step);
  }

  private show({ edits, masks }: Step): void {
    this.edits = edits;
    this.masks.clear();
    for (const [id, mask] of masks) this.masks.set(id, mask);
  }

  // ------------------------------------------------------------------------------------- what the kernel says

  receive(message: unknown, buffer: Uint8Array | null): void {
    const problem = kernelProblem(message, buffer?.byteLength ?? null);
    if (problem) {
      console.warn("ganpaint: a message from the kernel was not understood.", problem, message);
      return;
    }
    this.answered();
    this.handle(message as KernelMessage, buffer ?? new Uint8Array(0));
  }

  private handle(message: KernelMessage, bytes: Uint8Array): void {
    switch (message.type) {
      case "welcome":
      case "accepted":
        this.deliverEarlier(message);
        if (!this.outbox.receive(message)) return;
        this.store();
        this.revision = Math.max(this.revision, message.revision);
        this.tell("document");
        return;
      case "alive":
        // A kernel that has not got what was sent a while ago will not get it: say everything again.
        if (message.page === this.id && message.sequence < this.outbox.sent) this.outbox.hello();
        return;
      case "error": {
        this.deliverEarlier(message);
        if (!this.outbox.receive(message)) return;
        this.store();
        this.speak({ level: "error", text: message.what, mend: message.mend });
        // What the page showed ahead of a refused message has to go back to what the kernel has.
        if (message.sequence !== null) void this.consider();
        return;
      }
      case "frame":
        this.outbox.settle(message.covers[this.id] ?? 0);
        this.store();
        this.arrived.set(message.picture, { message, bytes });
        void this.decodeFrames();
        return;
      case "progress": {
        const { fraction, seconds_left: secondsLeft, decibel } = message;
        if (message.job === "open") {
          if (this.opened) Object.assign(this.opened, { fraction, secondsLeft });
        } else this.blend = { fraction, secondsLeft, decibel };
        this.tell("document");
        return;
      }
      case "notice":
        this.speak({ level: message.level, text: message.text });
        return;
      case "file":
        if (message.page !== this.id) return;
        this.world.download(bytes, message.name, message.format);
        this.speak({ level: "info", text: `Saved as ${message.name}.` });
        return;
      case "references":
      case "variants":
      case "scenes":
        if (message.page === this.id) void this.takeSheet(message, bytes);
        return;
    }
  }

  private async takeSheet(message: References | Variants | Scenes, bytes: Uint8Array): Promise<void> {
    const sheet = await this.world.decode(bytes, message.type === "scenes" ? "image/jpeg" : "image/png");
    if (message.type === "variants") {
      const { edit, variants } = message;
      this.variants = {
        edit,
        tiles: variants.map((column) => ({ sheet, column, columns: variants.length })),
      };
    } else if (message.type === "scenes") {
      const { first, titles } = message;
      this.sceneCount = message.total;
      for (const [column, title] of titles.entries()) {
        this.scenes.set(first + column, { title, sheet, column, columns: titles.length });
      }
    } else {
      const { concept, entries } = message;
      // A new strip replaces the one before; a picture of one's own joins it.
      if (concept) this.references.clear();
      this.sampled = concept || this.sampled;
      for (const [column, entry] of entries.entries()) {
        this.references.set(entry.key, { ...entry, sheet, column, columns: entries.length });
      }
    }
    this.tell("document");
  }

  /** How far a picture is that is being opened, 0 to 1, and how long it will still take; null if none is. */
  get opening(): { fraction: number; secondsLeft: number | null } | null {
    return this.opened && this.outbox.accepted < this.opened.sequence ? this.opened : null;
  }

  speak(word: Word | null): void {
    this.word = word;
    this.words++;
    this.tell("word");
  }

  /** Decodes one frame at a time; of those that arrive meanwhile only each picture's newest is worth it. */
  private async decodeFrames(): Promise<void> {
    if (this.decoding) return;
    this.decoding = true;
    for (let next = this.oldestArrived(); next; next = this.oldestArrived()) {
      const { message, bytes } = next;
      this.arrived.delete(message.picture);
      try {
        const image = await this.world.decode(bytes, message.format);
        const shown = this.pictures.get(message.picture);
        if (message.frame > (shown?.frame ?? 0)) {
          const sequence = Math.min(message.covers[this.id] ?? 0, this.outbox.sent);
          this.newest = Math.max(this.newest, message.frame);
          this.revision = Math.max(this.revision, message.revision);
          // At rest it is the same preview without the losses of a JPEG. Where a frame of the same revision shows
          // something else (the preview has become faithful), that comes at rest as well.
          const atRest =
            message.picture === "preview" &&
            this.taken.has("preview") &&
            shown?.revision === message.revision;
          this.pictures.set(message.picture, {
            image: atRest ? shown.image : image,
            revision: message.revision,
            sequence,
            frame: message.frame,
          });
          if (!atRest) this.taken.delete(message.picture); // what is at rest is not what is shown any more
          this.tell("picture");
        }
      } catch (reason) {
        console.warn("ganpaint: a frame could not be decoded", reason);
        // Its place in flight must not be lost for it.
        this.outbox.drew(message.frame);
        this.outbox.ack();
      }
    }
    this.decoding = false;
  }

  private oldestArrived(): { message: Frame; bytes: Uint8Array } | undefined {
    return [...this.arrived.values()].sort((a, b) => a.message.frame - b.message.frame)[0];
  }

  /** A view has drawn the pictures as they are now. */
  drawn(): void {
    this.outbox.drew(this.newest);
    // In the middle of a stroke its next piece says so as well: now if it may go, else with the next tick.
    if (this.stroke && (!this.stroke.mask.changed || this.outbox.congested)) this.schedule();
    else this.flush();
  }

  // ------------------------------------------------------------------------------------- is the kernel there?

  /** To be called every second or so; `now` in milliseconds. Asks the kernel for a word if it has been quiet. */
  beat(now: number): void {
    this.now = now;
    this.heard ||= now;
    const host = this.world.kernel?.() ?? null;
    if (host === "none") {
      this.setHealth("saved");
      return;
    }
    const quiet = now - this.heard >= ASK_AFTER;
    if (quiet && (this.asked === null || now - this.askedLast >= ASK_AGAIN_AFTER)) {
      this.asked ??= now;
      this.askedLast = now;
      // The first word may have been lost: then nothing would ever be sent.
      if (this.outbox.welcomed) this.outbox.beat();
      else this.outbox.hello();
    }
    const silence = this.asked === null ? 0 : now - this.asked;
    if (host === "dead") this.setHealth("gone");
    // What is gone stays gone until it answers: the kernel that the host tells of is another one.
    else if (silence >= SILENT_AFTER && this.health !== "gone") {
      if (host !== "idle") this.setHealth(host ?? "silent");
      else this.setHealth(silence >= GONE_AFTER ? "gone" : "silent");
    }
    this.blendAtRest(now);
  }

  private answered(): void {
    this.heard = this.now;
    this.asked = null;
    if (this.health === "answers") return;
    this.setHealth("answers");
    // What was sent meanwhile may be lost on either side.
    this.outbox.hello();
  }

  private setHealth(health: Health): void {
    if (health === this.health) return;
    this.health = health;
    if (health === "saved") this.speak(null); // no hint at what to do
    this.tell("document");
  }

  // ------------------------------------------------------------------------------------------- nothing is lost

  /** What is not delivered goes into the drawer, unless the session keeps no journal: then nobody wants traces. */
  private store(): void {
    const journal = this.state?.journal[0];
    if (journal) this.world.drawer?.keep(journal, this.id, this.outbox.undelivered);
  }

  /** Says again what earlier pages of this session, or of those that it continues, could not deliver. */
  private async searchDrawer(journals: readonly string[]): Promise<void> {
    const wanted = journals.join(" ");
    if (wanted === this.searched || !this.world.drawer) return;
    this.searched = wanted;
    for (const { page, kept } of await this.world.drawer.find(journals)) {
      if (page === this.id || this.earlier.has(page) || kept.length === 0) continue;
      const outbox = Outbox.resume(page, (message, buffer) => this.world.send(message, buffer), kept);
      this.earlier.set(page, outbox);
      outbox.hello();
    }
  }

  private deliverEarlier(message: Welcome | Accepted | Failure): void {
    const outbox = message.page === null ? undefined : this.earlier.get(message.page);
    if (!outbox?.waiting) return;
    outbox.receive(message);
    if (outbox.waiting > 0) return;
    this.world.drawer?.forget(outbox.page);
    this.speak({ level: "info", text: "What had not reached the kernel has been painted again." });
  }

  // ------------------------------------------------------------------------------------------- state at rest

  /** The kernel has written its state: take over what is not older than the page's own. Resolves when that is done. */
  restsAt(rest: Rest): Promise<void> {
    this.rest = rest;
    return this.consider();
  }

  /** The rule of the protocol, and the same for what is painted but not sent. */
  private mayTakeOver(state: State, rest: Rest): boolean {
    return (
      !this.stroke && this.outbox.coveredBy(state.covers) && state.edits.every(({ id }) => id in rest.masks)
    );
  }

  private async consider(): Promise<void> {
    const rest = this.rest;
    if (!rest || !isState(rest.state)) return;
    const state = rest.state;
    const attempt = ++this.attempt;
    const current = (): boolean => attempt === this.attempt;

    if (this.mayTakeOver(state, rest)) {
      const masks = new Map<string, Uint8Array>();
      for (const { id } of state.edits) {
        masks.set(id, await this.decodeMask(rest.masks[id] as Uint8Array, state));
      }
      if (!current()) return;
      // Decoding took time, in which a stroke may have begun.
      if (this.mayTakeOver(state, rest)) this.adopt(state, masks);
    }
    await this.considerLabels(rest.labels, state);
    if (!current()) return;
    for (const name of NAMES) {
      await this.considerPicture(name, rest.pictures[name], state);
      if (!current()) return;
    }
  }

  private async decodeMask(bytes: Uint8Array, state: State): Promise<Uint8Array> {
    const known = this.grey.get(bytes);
    if (known) return known;
    let values: Uint8Array = new Uint8Array(state.width * state.height);
    try {
      const grey = await decodeGrey(bytes);
      if (grey.width === state.width && grey.height === state.height) values = grey.values;
      else console.warn("ganpaint: a mask has another size than the picture");
    } catch (reason) {
      console.warn("ganpaint: a mask could not be read", reason);
    }
    this.grey.set(bytes, values);
    return values;
  }

  private adopt(state: State, masks: Map<string, Uint8Array>): void {
    const noticed = this.state?.notice?.text;
    let expected = named(state.edits) === named(this.edits);
    const adopted: Step = { edits: state.edits, masks: new Map() };
    for (const [id, values] of masks) {
      const own = this.masks.get(id);
      const same = own?.width === state.width && own.height === state.height && equal(own.values, values);
      adopted.masks.set(id, same ? own : new Mask(state.width, state.height, values.slice()));
      expected &&= same;
    }
    // Somebody else has edited: what this page knows of the way back is not the whole of it.
    if (!expected) this.past = this.future = [];
    this.state = state;
    this.show(adopted);
    this.revision = Math.max(this.revision, state.revision);
    if (!state.job) this.blend = null;
    else this.blend = { secondsLeft: null, decibel: null, ...this.blend, fraction: state.job.fraction };
    if (state.notice && state.notice.text !== noticed) this.speak(state.notice);
    void this.searchDrawer(state.journal);
    this.tell("document");
    this.tell("mask");
  }

  private async considerLabels(bytes: Uint8Array | null, state: State): Promise<void> {
    if (!bytes || bytes.byteLength === 0 || state.classes.length === 0) {
      this.labels = null;
      return;
    }
    const values = await this.decodeMask(bytes, state);
    if (values === this.labels?.values) return;
    this.labels = { width: state.width, height: state.height, values };
    this.tell("document");
  }

  /** A picture at rest replaces a frame only if it is not older. */
  private async considerPicture(name: PictureName, bytes: Uint8Array | null, state: State): Promise<void> {
    const shown = this.pictures.get(name);
    if (shown && shown.revision > state.revision) return;
    if (!bytes || bytes.byteLength === 0) {
      this.taken.delete(name);
      if (this.pictures.delete(name)) this.tell("picture");
      return;
    }
    const image =
      shown && bytes === this.taken.get(name)
        ? shown.image
        : await this.world.decode(bytes, "image/png").catch(() => null);
    // Decoding took time, in which a frame may have come, or a newer state.
    const overtaken = this.pictures.get(name);
    if (!image || (overtaken && overtaken.revision > state.revision)) return;
    let sequence = Math.min(state.covers[this.id] ?? 0, this.outbox.sent);
    // Of two pictures of one revision, what one covers the other covers too, whichever came first.
    if (overtaken?.revision === state.revision) sequence = Math.max(sequence, overtaken.sequence);
    this.taken.set(name, bytes);
    const { revision } = state;
    const same = overtaken?.image === image && overtaken.sequence === sequence;
    if (same && overtaken.revision === revision) return;
    // With the number of the frame that it replaces: an even older one may still come.
    const frame = overtaken?.frame ?? 0;
    this.pictures.set(name, { image, revision, sequence, frame });
    this.tell("picture");
  }

  private tell(topic: Topic): void {
    for (const listener of this.listeners) listener(topic);
  }
}
