/** The actions of panels and keys, and the session's commands that carry them out. */

import { paintedEdit } from "../core/edits";
import type { EditChanges, PictureName, ReferenceSelection } from "../protocol/messages";
import type { Point } from "../raster/geometry";
import { encodeGray } from "../raster/png";
import type { BlendFollower } from "./blend-follower";
import type { BrowserSession } from "./browser-session";
import type { PointerInput } from "./canvas/pointers";
import { WHOLE } from "./canvas/viewport";
import { prepareFile, readMask, UnusableMask } from "./files";
import { askFit } from "./panels/fit-dialog";
import type { Settings, SettingsStore } from "./settings";
import type { ToolController } from "./tools/tool-controller";

export interface Actions {
  change(changes: Partial<Settings>): void;
  select(edit: string | null): void;
  strength(value: number, done: boolean): void;
  /** Changes the selected edit. */
  updateEdit(changes: EditChanges): void;
  /** The reference of the next restyle, and of the selected edit if it is a restyle. */
  refer(reference: ReferenceSelection): void;
  /** Adds one of the user's own pictures as a reference. */
  referTo(file: File): void;
  faithful(): void;
  show(picture: PictureName): void;
  /** Shows the segment at a place like the segment tool under the pointer, or takes it like a click there. */
  pointAt(place: Point | null): void;
  takeSegment(place: Point, erase: boolean, time: number): void;
  undo(): void;
  redo(): void;
  toggle(edit: string): void;
  remove(edit: string): void;
  move(edit: string, index: number): void;
  /** Opens a scene of the gallery, or the next one. */
  scene(index?: number, title?: string): void;
  blend(): void;
  /** Sets whether edits are blended again when the user pauses. All views of the page share this. */
  reblend(on: boolean): void;
  cancel(): void;
  /** Finds concepts for a generator that has none, or cancels the search. */
  discover(): void;
  stopDiscovery(): void;
  save(what: "picture" | "project", where: "page" | "kernel"): void;
  open(file: File): void;
  /** Exports the current edit's mask as a PNG file, and imports one. */
  exportMask(): void;
  importMask(file: File): void;
  /** Zooms by a factor; 0 shows the whole picture. */
  zoom(factor: number): void;
  fullScreen(): void;
}

/** The parts of an editor that actions use. They are made after the actions, because the panels need the actions. */
export interface EditorParts {
  /** Ends with the editor. */
  life: AbortSignal;
  root: HTMLElement;
  tools: ToolController;
  pointers: PointerInput;
}

export function createActions(
  session: BrowserSession,
  settings: SettingsStore,
  blend: BlendFollower,
  parts: () => EditorParts,
): Actions {
  const say = (text: string): void => session.setStatus({ level: "info", text });
  const fail = (text: string, hint: string): void => session.setStatus({ level: "error", text, hint });

  const actions: Actions = {
    change: (changes) => settings.change(changes),
    select: (id) => settings.select(id),
    strength(value, done) {
      const { selected } = settings.values;
      settings.setStrength(value, done);
      // Sent when the slider is released, since each `retune` is a step of undo.
      if (!done || !selected) return;
      blend.editsChange();
      session.command("retune", { edit: selected, strength: value });
    },
    updateEdit(changes) {
      const { selected } = settings.values;
      if (!selected) return;
      blend.editsChange();
      session.command("retune", { edit: selected, ...changes });
    },
    refer(reference) {
      settings.change({ reference });
      if (settings.edit?.verb === "restyle") actions.updateEdit({ reference });
    },
    async referTo(file) {
      say(`Reading ${file.name}…`);
      try {
        const { name, bytes } = await prepareFile(file);
        session.questions.ask({ type: "refer", name }, bytes);
      } catch {
        fail(`${file.name} could not be read as a picture.`, "Choose a PNG or JPEG file instead.");
      }
    },
    faithful() {
      if (!session.state) return;
      blend.editsChange();
      session.command("faithful", { on: !session.state.faithful?.on });
    },
    show(picture) {
      blend.leave();
      settings.change({ shown: picture });
    },
    pointAt: (place) => parts().tools.pointAt(place),
    takeSegment: (place, erase, time) => parts().tools.takeSegment(place, erase, time),
    undo() {
      if (!session.canUndo) return;
      blend.editsChange();
      session.command("undo", {});
    },
    redo() {
      if (!session.canRedo) return;
      blend.editsChange();
      session.command("redo", {});
    },
    toggle(id) {
      const edit = session.edits.find((each) => each.id === id);
      if (!edit) return;
      blend.editsChange();
      session.command("toggle", { edit: id, enabled: !edit.enabled });
    },
    remove(id) {
      blend.editsChange();
      session.command("delete", { edit: id });
    },
    move(id, index) {
      if (index < 0 || index >= session.edits.length) return;
      blend.editsChange();
      session.command("move", { edit: id, index });
    },
    scene(index, title = "the next scene") {
      say(`Opening ${title}…`);
      session.command("scene", index === undefined ? {} : { index });
    },
    blend: () => blend.start(),
    reblend: (on) => session.setReblend(on),
    cancel() {
      if (session.opening) session.outbox.cancel();
      else blend.cancel();
    },
    discover() {
      say("Looking for things that this generator draws…");
      session.command("discover", {});
    },
    stopDiscovery: () => session.outbox.cancel(),
    save(what, where) {
      say("Saving…");
      session.command("save", { what, where });
    },
    async open(file) {
      try {
        const { root, life } = parts();
        const fit = await askFit(root, file, life);
        if (!fit) return;
        say(`Opening ${file.name}…`);
        const { name, bytes, scaled } = await prepareFile(file);
        if (scaled) say(scaled);
        if (bytes.length === 0) throw new Error("empty");
        session.command("open", { name, fit }, bytes);
      } catch {
        const text = `${file.name} could not be read as a picture, or is too large to be sent.`;
        fail(text, "Open a PNG or JPEG file, or open it in a cell.");
      }
    },
    async exportMask() {
      const { edit } = settings;
      const mask = edit && session.masks.get(edit.id);
      if (!mask) return;
      try {
        const bytes = await encodeGray(mask.values, mask.width, mask.height);
        session.host.download(bytes, `mask-${edit.verb}-${edit.concept}.png`, "image/png");
      } catch {
        fail("The mask could not be saved as a picture.", "Read paint.mask in a cell instead.");
      }
    },
    async importMask(file) {
      const { selected, verb, concept, strength, reference } = settings.values;
      try {
        const values = await readMask(file, session.width, session.state?.photo ?? null);
        const edit = paintedEdit(session.edits, selected, verb, concept);
        blend.editsChange();
        const options = { edit, verb, concept, strength, reference, erase: false };
        const painted = session.replace(options, values, 0);
        if (painted) settings.change({ selected: painted });
        say(`${file.name} is now the mask of “${verb} ${concept}”.`);
      } catch (reason) {
        if (reason instanceof UnusableMask) fail(reason.message, reason.hint);
        else
          fail(`${file.name} could not be read as a mask.`, "Choose a PNG: white is painted, black is not.");
      }
    },
    zoom(factor) {
      const { pointers } = parts();
      if (factor === 0) pointers.setViewport(WHOLE);
      else pointers.zoom(factor);
    },
    async fullScreen() {
      try {
        await (document.fullscreenElement ? document.exitFullscreen() : parts().root.requestFullscreen());
      } catch {
        fail("The browser does not show this in full screen.", "Open the notebook in a tab of its own.");
      }
    },
  };
  return actions;
}
