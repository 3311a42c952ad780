/**
 * One page's side of an editing session. It puts the parts of `core/` together: the copy of what the kernel has, what is
 * sent and what comes back. All views of one widget share it, because frames and sequences are counted per page.
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

export interface StatusMessage {
  level: "info" | "warning" | "error";
  /** What happened. */
  text: string;
  /** What to do about it. */
  hint?: string;
}

const INVITATION: StatusMessage = { level: "info", text: "Choose a concept and paint." };

export interface BlendProgress {
  fraction: number;
  secondsLeft: number | null;
  /** Of the kept pixels so far, in dB. */
  psnr: number | null;
}

export interface OpenProgress {
  /** Of the command that opens the picture. */
  sequence: number;
  fraction: number;
  secondsLeft: number | null;
}

/** The part that a view has to draw again. */
export type Topic = "document" | "mask" | "picture" | "status";

export class EditorSession<Image = unknown> {
  readonly outbox: Outbox;
  readonly pictures: PictureStore<Image>;
  readonly questions: Questions<Image>;
  readonly blendPolicy = new BlendPolicy();
  revision = 0;
  status: StatusMessage | null = INVITATION;
  /** Grows with every new status, so that views announce the same words again if they are said again. */
  statusCount = 1;

  readonly #mirror = new SessionMirror();
  readonly #health = new KernelHealth();
  readonly #stroke: StrokeRecorder;
  readonly #sync: StateSync<Image>;
  readonly #redelivery: Redelivery;
  readonly #listeners = new Set<(topic: Topic) => void>();
  /** The blend that the kernel told of last. */
  #blend: BlendProgress | null = null;
  #opening: OpenProgress | null = null;
  /** The status line while that goes on, such as "Opening the next scene…". */
  #openingStatus: StatusMessage | null = null;
  #finding: OpenProgress | null = null;
  #disposed = false;

  constructor(
    readonly id: string,
    readonly host: Host<Image>,
  ) {
    const { undelivered } = host;
    this.outbox = new Outbox(id, host.send);
    this.#redelivery = new Redelivery(id, host.send, undelivered);
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
        console.warn("ganpaint: the kernel's state could not be read", reason);
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
      // A state may have come while the stroke was being painted, and been left aside for it.
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

  /** The widget is gone: releases its pictures, keeps what is undelivered, and hears nothing any more. */
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

  /** Is this only to be looked at? */
  get saved(): boolean {
    return this.health === "saved";
  }

  /** The blend that is running. With a kernel that is gone it has gone, too, unless that comes back after all. */
  get job(): BlendProgress | null {
    return this.health === "gone" || this.saved ? null : this.#blend;
  }

  /** How far the picture is that is being opened; null if none is. */
  get opening(): OpenProgress | null {
    return this.#opening && this.outbox.accepted < this.#opening.sequence ? this.#opening : null;
  }

  /** How far the search for concepts is; null if there is none. */
  get finding(): OpenProgress | null {
    return this.#finding && this.outbox.accepted < this.#finding.sequence ? this.#finding : null;
  }

  /** Has this page sent what is not in the kernel's state at rest yet? */
  get ahead(): boolean {
    return this.state !== null && !this.outbox.coveredBy(this.state.covers);
  }

  /** A new stroke can be undone even before the kernel's state says so. */
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

  /** A stroke that is done at once: what a patch covers. */
  fill(options: StrokeOptions, patch: Patch, stamp: number): string | null {
    if (this.saved) return null;
    return this.#stroke.atOnce(options, stamp, (mask) => mask.fill(patch, options.erase));
  }

  /** A stroke that is done at once: the whole mask becomes `values`. */
  replace(options: StrokeOptions, values: Uint8Array, stamp: number): string | null {
    return this.saved ? null : this.#stroke.atOnce(options, stamp, (mask) => mask.replace(values));
  }

  get painting(): boolean {
    return this.#stroke.painting;
  }

  /** A view has drawn the pictures as they are now. */
  drawn(): void {
    this.outbox.frameDrawn(this.pictures.newestFrame);
    this.#stroke.frameDrawn();
  }

  // -------------------------------------------------------------------------------------------------- commands

  /** Sends a command, and shows at once what it will do where the page can know it. */
  command<N extends CommandName>(name: N, values: CommandArguments[N], buffer?: Uint8Array): void {
    if (this.saved) return;
    // In the order in which the user did them: what is painted comes first.
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

  /** A user who paints on does not wait for a blend that started by itself. */
  #editing(): void {
    if (this.blendPolicy.edited(this.job !== null)) this.outbox.cancel();
  }

  // ------------------------------------------------------------------------------------- what the kernel says

  receive(message: unknown, buffer: Uint8Array | null): void {
    if (this.#disposed) return;
    const problem = kernelProblem(message, buffer?.byteLength ?? null);
    if (problem) {
      console.warn("ganpaint: a message from the kernel was not understood.", problem, message);
      return;
    }
    if (this.#health.answered()) {
      this.#notify("document");
      // Messages of the meantime may be lost on either side.
      this.outbox.hello();
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
          // A notice of the kernel about the picture stays.
          const stale = this.status === this.#openingStatus && this.status.text.endsWith("…");
          this.#openingStatus = null;
          if (stale) this.setStatus(INVITATION);
        }
        this.#notify("document");
        return;
      case "alive":
        if (message.page !== this.id) return;
        // A kernel that knows less than it did has started anew; one that has not accepted all may lack something.
        if (message.sequence < this.outbox.accepted) this.outbox.hello();
        else if (message.sequence < this.outbox.sent) this.outbox.checkDelivery();
        this.#saveUndelivered();
        return;
      case "error": {
        const expected = message.page === this.id && this.outbox.isProbe(message.sequence);
        this.#redeliver(message);
        if (!this.outbox.receive(message)) return;
        this.#saveUndelivered();
        if (expected) return;
        this.#fail(message);
        // The page has shown a refused message's effect in advance, and goes back to the kernel's state.
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
    this.setStatus({ level: "error", text, hint });
    // Commands have numbers, questions have none.
    if (page !== null && sequence === null) this.questions.fail({ text, hint });
  }

  /** The kernel has written its state: take over what is not older than the page's own. Resolves when that is done. */
  async sync(synced: SyncedState): Promise<void> {
    if (!this.#disposed) await this.#sync.receive(synced);
  }

  #adopt(state: SessionState, masks: ReadonlyMap<string, Uint8Array>): void {
    const noticed = this.state?.notice?.text;
    this.#mirror.adopt(state, masks);
    this.revision = Math.max(this.revision, state.revision);
    if (!state.job) this.#blend = null;
    else this.#blend = { secondsLeft: null, psnr: null, ...this.#blend, fraction: state.job.fraction };
    if (state.notice && state.notice.text !== noticed) this.setStatus(state.notice);
    void this.#redelivery.search(state.journal);
    this.#notify("document");
    this.#notify("mask");
  }

  // --------------------------------------------------------------------------------- is the kernel there?

  /** To be called every second or so; `now` in milliseconds. */
  beat(now: number): void {
    const before = this.health;
    if (this.#health.check(now, this.host.kernelStatus?.() ?? null)) {
      // The first hello may have been lost: then nothing would ever be sent.
      if (this.outbox.welcomed) this.outbox.beat();
      else this.outbox.hello();
    }
    if (this.health !== before) {
      if (this.saved) this.setStatus(null); // no hint at what to do
      this.#notify("document");
    }
    this.#blendWhenDue(now);
  }

  #blendWhenDue(now: number): void {
    const { blended, revision = 0 } = this.state ?? {};
    const busy = this.painting || this.ahead || this.job || this.opening || this.health !== "answers";
    // The kernel, too, knows whether the edits have been blended since, as by another page.
    const stale = typeof blended === "number" && blended < revision;
    if (!this.blendPolicy.isDue(now, this.outbox.sent, stale && !busy)) return;
    this.command("blend", {});
    this.blendPolicy.blendStarted(true);
  }

  // ------------------------------------------------------------------------------------------ nothing is lost

  /** Undelivered messages outlive the page, unless the session keeps no journal: then it is to leave no traces. */
  #saveUndelivered(): void {
    const journal = this.state?.journal[0];
    if (journal) this.host.undelivered?.save(journal, this.id, this.outbox.undelivered);
  }

  #redeliver(message: Parameters<Redelivery["receive"]>[0]): void {
    if (!this.#redelivery.receive(message)) return;
    this.setStatus({ level: "info", text: "Strokes that had not reached the kernel were painted again." });
  }
}
