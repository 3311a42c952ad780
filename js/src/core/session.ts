/**
 * One page's side of an editing session. It puts the parts of `core/` together: the copy of the kernel's state, the
 * messages to the kernel, and its answers. All views of one widget share it, because frames and sequences are counted
 * per page.
 */

import type { CommandArguments, CommandName, ErrorMessage, KernelMessage } from "../protocol/messages";
import type { Edit, SessionState } from "../protocol/state";
import { kernelProblem } from "../protocol/validate-kernel-message";
import type { Dab } from "../raster/geometry";
import type { Mask, Patch } from "../raster/mask";
import type { Labels } from "../raster/regions";
import { BlendPolicy } from "./blend-policy";
import { type Health, KernelHealth } from "./health";
import type { Host } from "./host";
import { changesEdits, SessionMirror } from "./mirror";
import { Outbox } from "./outbox";
import { PictureStore } from "./pictures";
import { Questions } from "./questions";
import { StateSync, type SyncedState } from "./state-sync";
import { type StrokeOptions, StrokeRecorder } from "./stroke";
import { Redelivery } from "./undelivered";
import { warn } from "./warn";

export interface StatusMessage {
  level: "info" | "warning" | "error";
  /** What happened. */
  text: string;
  /** The remedy. */
  hint?: string;
}

const INVITATION: StatusMessage = { level: "info", text: "Choose a concept and paint." };
const LOADING: StatusMessage = {
  level: "info",
  text: "The kernel is loading PyTorch. You can paint already; the preview follows in a moment.",
};

export interface BlendProgress {
  fraction: number;
  secondsLeft: number | null;
  /** PSNR of the kept pixels so far, in dB. */
  psnr: number | null;
}

export interface OpenProgress {
  /** The sequence of the command that opens the picture. */
  sequence: number;
  fraction: number;
  secondsLeft: number | null;
}

/** Milliseconds between two `hello`s, since a kernel without a session never says `welcome`. */
const GREET_AGAIN_AFTER = 5000;

/** The part that a view must draw again. */
export type Topic = "document" | "mask" | "picture" | "status";

export class EditorSession<Image = unknown> {
  readonly outbox: Outbox;
  readonly pictures: PictureStore<Image>;
  readonly questions: Questions<Image>;
  readonly blendPolicy = new BlendPolicy();
  revision = 0;
  status: StatusMessage | null = INVITATION;
  /** Grows with every new status, so that views announce a repeated status again. */
  statusCount = 1;

  readonly #mirror = new SessionMirror();
  readonly #health = new KernelHealth();
  readonly #stroke: StrokeRecorder;
  readonly #sync: StateSync<Image>;
  readonly #redelivery: Redelivery;
  readonly #listeners = new Set<(topic: Topic) => void>();
  /** The last progress of a blend from the kernel. */
  #blend: BlendProgress | null = null;
  #opening: OpenProgress | null = null;
  /** The status line during an opening, such as "Opening the next scene…". */
  #openingStatus: StatusMessage | null = null;
  #finding: OpenProgress | null = null;
  #disposed = false;
  /** The time of the last `hello` to a kernel that has not said `welcome`. */
  #greeted = -GREET_AGAIN_AFTER;

  constructor(
    readonly id: string,
    readonly host: Host<Image>,
  ) {
    const { undelivered } = host;
    this.outbox = new Outbox(id, host.send);
    this.#redelivery = new Redelivery(this.outbox, undelivered);
    this.pictures = new PictureStore(host, this.outbox, (revision) => {
      this.revision = Math.max(this.revision, revision);
      this.#notify("picture");
    });
    this.questions = new Questions(host, this.outbox, {
      changed: () => this.#notify("document"),
      unreadable: (failure) => this.setStatus({ level: "error", ...failure }),
    });
    this.#sync = new StateSync(this.#mirror, this.pictures, {
      mayAdopt: (state) => !this.#disposed && !this.painting && this.outbox.coveredBy(state.covers),
      adopt: (state, masks) => this.#adopt(state, masks),
      labelsChanged: () => this.#notify("document"),
      unreadable: (reason) => {
        warn("the kernel's state could not be read", reason);
        this.setStatus({
          level: "error",
          text: "The kernel's state could not be read.",
          hint: "Run the cell with the editor again.",
        });
      },
    });
    this.#stroke = new StrokeRecorder(this.#mirror, this.outbox, {
      onNextFrame: host.onNextFrame,
      changed: (topic) => this.#notify(topic),
      starts: () => this.#editing(),
      sent: () => this.#saveUndelivered(),
      // A state that came during the stroke may have been set aside.
      ended: () => void this.#sync.reconsider(),
    });
  }

  listen(listener: (topic: Topic) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #notify(topic: Topic): void {
    for (const listener of this.#listeners) listener(topic);
  }

  /** Ends with the widget: releases pictures, keeps undelivered messages, and stops listening. */
  dispose(): void {
    this.end(0);
    this.#disposed = true;
    this.#listeners.clear();
    this.pictures.dispose();
    this.questions.dispose();
    this.host.undelivered?.close();
  }

  setStatus(status: StatusMessage | null): void {
    this.status = status;
    this.statusCount++;
    this.#notify("status");
  }

  // ----------------------------------------------------------------------------------------- what is there now

  get state(): SessionState | null {
    return this.#mirror.state;
  }

  get edits(): Edit[] {
    return this.#mirror.edits;
  }

  get masks(): ReadonlyMap<string, Mask> {
    return this.#mirror.masks;
  }

  get labels(): Labels | null {
    return this.#mirror.labels;
  }

  get width(): number {
    return this.#mirror.width;
  }

  get height(): number {
    return this.#mirror.height;
  }

  color(concept: string): string {
    return this.#mirror.color(concept);
  }

  get health(): Health {
    return this.#health.status;
  }

  /** Whether the session is read-only. */
  get saved(): boolean {
    return this.health === "saved";
  }

  /** The running blend. If the kernel is gone, the blend is as well, unless the kernel comes back. */
  get job(): BlendProgress | null {
    return this.health === "gone" || this.saved ? null : this.#blend;
  }

  /** The progress of opening a picture; null if none is opening. */
  get opening(): OpenProgress | null {
    return this.#opening && this.outbox.accepted < this.#opening.sequence ? this.#opening : null;
  }

  /** The progress of the search for concepts; null if there is none. */
  get finding(): OpenProgress | null {
    return this.#finding && this.outbox.accepted < this.#finding.sequence ? this.#finding : null;
  }

  /** Whether this page has sent messages that the kernel's state at rest lacks. */
  get ahead(): boolean {
    return this.state !== null && !this.outbox.coveredBy(this.state.covers);
  }

  /** Whether undo is possible. A new stroke can be undone before the kernel's state shows it. */
  get canUndo(): boolean {
    return this.state !== null && (this.state.can_undo || this.ahead);
  }

  get canRedo(): boolean {
    return this.state !== null && (this.ahead ? this.#mirror.undone : this.state.can_redo);
  }

  // -------------------------------------------------------------------------------------------------- painting

  /** Begins a stroke of the brush and returns the id of the edit that it paints, or null if there is nothing to paint on. */
  begin(options: StrokeOptions, dab: Dab, stamp: number): string | null {
    return this.saved ? null : this.#stroke.begin(options, dab, stamp);
  }

  paint(dab: Dab, stamp: number): void {
    this.#stroke.paint(dab, stamp);
  }

  end(stamp: number): void {
    this.#stroke.end(stamp);
  }

  /** Paints a patch as one stroke. */
  fill(options: StrokeOptions, patch: Patch, stamp: number): string | null {
    if (this.saved) return null;
    return this.#stroke.atOnce(options, stamp, (mask) => mask.fill(patch, options.erase));
  }

  /** Replaces the whole mask with `values`, as one stroke. */
  replace(options: StrokeOptions, values: Uint8Array, stamp: number): string | null {
    return this.saved ? null : this.#stroke.atOnce(options, stamp, (mask) => mask.replace(values));
  }

  get painting(): boolean {
    return this.#stroke.painting;
  }

  /** Notes that a view has drawn the present pictures. */
  drawn(): void {
    this.outbox.frameDrawn(this.pictures.newestFrame);
    this.#stroke.frameDrawn();
  }

  // -------------------------------------------------------------------------------------------------- commands

  /** Sends a command, and shows its effect at once if the page can know it. */
  command<N extends CommandName>(name: N, values: CommandArguments[N], buffer?: Uint8Array): void {
    if (this.saved) return;
    // Painted pieces are sent first, to keep the order of the user's actions.
    this.end(0);
    const sequence = this.outbox.command(name, values, buffer);
    this.#saveUndelivered();
    if (name === "scene" || name === "open") {
      this.#opening = { sequence, fraction: 0, secondsLeft: null };
      this.#openingStatus = this.status;
      this.blendPolicy.pictureChanged();
    }
    if (name === "discover") this.#finding = { sequence, fraction: 0, secondsLeft: null };
    if (changesEdits(name)) this.#editing();
    this.#mirror.apply(name, values);
    if (name === "blend") {
      this.#blend = { fraction: 0, secondsLeft: null, psnr: null };
      this.blendPolicy.blendStarted();
    }
    this.#notify("document");
    this.#notify("mask");
  }

  setReblend(on: boolean): void {
    this.blendPolicy.enabled = on;
    this.#notify("document");
  }

  /** Cancels a blend that started by itself, when the user continues to paint. */
  #editing(): void {
    if (this.blendPolicy.edited(this.job !== null)) this.outbox.cancel();
  }

  // ------------------------------------------------------------------------------------- what the kernel says

  receive(message: unknown, buffer: Uint8Array | null): void {
    if (this.#disposed) return;
    const problem = kernelProblem(message, buffer?.byteLength ?? null);
    if (problem) {
      warn("a message from the kernel was not understood.", problem, message);
      return;
    }
    if (this.#health.answered()) {
      this.#notify("document");
      // Messages during the silence may be lost on either side. Before the welcome, there were none.
      if (this.outbox.welcomed) this.outbox.hello();
      this.#redelivery.retry();
      this.questions.lose();
    }
    this.#handle(message as KernelMessage, buffer ?? new Uint8Array(0));
  }

  #handle(message: KernelMessage, bytes: Uint8Array): void {
    switch (message.type) {
      case "welcome":
      case "accepted":
        this.#redeliver(message);
        if (!this.outbox.receive(message)) return;
        this.#saveUndelivered();
        this.revision = Math.max(this.revision, message.revision);
        if (!this.opening && this.#openingStatus) {
          // The kernel's notice about the picture stays.
          const stale = this.status === this.#openingStatus && this.status.text.endsWith("…");
          this.#openingStatus = null;
          if (stale) this.setStatus(INVITATION);
        }
        this.#notify("document");
        return;
      case "alive":
        if (message.page !== this.id) return;
        // A kernel that knows less than before has restarted. One that has not accepted all messages may lack some.
        if (message.sequence < this.outbox.accepted) this.outbox.hello();
        else if (message.sequence < this.outbox.sent && this.outbox.welcomed) this.outbox.checkDelivery();
        this.#saveUndelivered();
        return;
      case "error": {
        const expected = message.page === this.id && this.outbox.isProbe(message.sequence);
        this.#redeliver(message);
        if (!this.outbox.receive(message)) return;
        this.#saveUndelivered();
        if (expected) return;
        this.#fail(message);
        // The page showed the refused message's effect in advance, and returns to the kernel's state.
        if (message.sequence !== null) void this.#sync.reconsider();
        return;
      }
      case "frame":
        this.outbox.acceptUpTo(message.covers[this.id] ?? 0);
        this.#saveUndelivered();
        void this.pictures.receiveFrame(message, bytes);
        return;
      case "progress": {
        const { fraction, seconds_left: secondsLeft, decibel: psnr } = message;
        if (message.job === "open") {
          if (this.#opening) Object.assign(this.#opening, { fraction, secondsLeft });
        } else if (message.job === "discover") {
          if (this.#finding) Object.assign(this.#finding, { fraction, secondsLeft });
        } else this.#blend = { fraction, secondsLeft, psnr };
        this.#notify("document");
        return;
      }
      case "notice":
        this.setStatus({ level: message.level, text: message.text });
        return;
      case "file":
        if (message.page !== this.id) return;
        this.host.download(bytes, message.name, message.format);
        this.setStatus({ level: "info", text: `Saved as ${message.name}.` });
        return;
      case "references":
      case "variants":
      case "scenes":
        if (message.page === this.id) void this.questions.receive(message, bytes);
        return;
    }
  }

  #fail({ page, sequence, what: text, mend: hint }: ErrorMessage): void {
    // A kernel without a session says the same to whatever it is asked.
    if (page === null && sequence === null && this.status?.text === text) return;
    this.setStatus({ level: "error", text, hint });
    // Commands have numbers, questions have none.
    if (page !== null && sequence === null) this.questions.fail({ text, hint });
  }

  /** Takes over the kernel's new state, except parts that are older than the page's own. Resolves when that is done. */
  async sync(synced: SyncedState): Promise<void> {
    if (!this.#disposed) await this.#sync.receive(synced);
  }

  #adopt(state: SessionState, masks: ReadonlyMap<string, Uint8Array>): void {
    const noticed = this.state?.notice?.text;
    this.#mirror.adopt(state, masks);
    this.revision = Math.max(this.revision, state.revision);
    if (!state.job) this.#blend = null;
    else this.#blend = { secondsLeft: null, psnr: null, ...this.#blend, fraction: state.job.fraction };
    const loading = Boolean(state.loading) && !this.saved;
    if (loading !== (this.status === LOADING)) this.setStatus(loading ? LOADING : INVITATION);
    if (state.notice && state.notice.text !== noticed) this.setStatus(state.notice);
    void this.#redelivery.search(state.journal);
    this.#notify("document");
    this.#notify("mask");
  }

  // --------------------------------------------------------------------------------- is the kernel there?

  /** Call this about every second, with `now` in milliseconds. */
  beat(now: number): void {
    const before = this.health;
    if (this.#health.check(now, this.host.kernelStatus?.() ?? null)) {
      if (this.outbox.welcomed || now - this.#greeted < GREET_AGAIN_AFTER) this.outbox.beat();
      else {
        // The first hello may have been lost. Then nothing would ever be sent.
        this.#greeted = now;
        this.outbox.hello();
      }
    }
    if (this.health !== before) {
      if (this.saved) this.setStatus(null); // no hint at what to do
      if (["silent", "gone", "saved"].includes(this.health)) this.#redelivery.leave();
      this.#notify("document");
    }
    this.#blendWhenDue(now);
  }

  #blendWhenDue(now: number): void {
    const { blended, revision = 0 } = this.state ?? {};
    const busy = this.painting || this.ahead || this.job || this.opening || this.health !== "answers";
    // The kernel also knows whether the edits were blended since, for example for another page.
    const stale = typeof blended === "number" && blended < revision;
    if (!this.blendPolicy.isDue(now, this.outbox.sent, stale && !busy)) return;
    this.command("blend", {});
    this.blendPolicy.blendStarted(true);
  }

  // ------------------------------------------------------------------------------------------ nothing is lost

  /** Keeps undelivered messages beyond the page's end, except for a session without a journal: it leaves no traces. */
  #saveUndelivered(): void {
    const journal = this.state?.journal[0];
    if (journal) this.host.undelivered?.save(journal, this.id, this.outbox.undelivered);
  }

  #redeliver(message: Parameters<Redelivery["receive"]>[0]): void {
    if (!this.#redelivery.receive(message)) return;
    this.setStatus({ level: "info", text: "Strokes that had not reached the kernel were painted again." });
  }
}
