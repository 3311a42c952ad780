/** The painting editor: puts the panels together and turns what the user does into the page's words. */

import { paintedEdit } from "../core/edits";
import type { Topic } from "../core/session";
import type { PictureName } from "../protocol/messages";
import { clamp, largestBrush, stepBrush } from "../raster/geometry";
import { encodeGray } from "../raster/png";
import type { Actions } from "./actions";
import { PointerInput } from "./canvas/pointers";
import { StageView } from "./canvas/view";
import { WHOLE } from "./canvas/viewport";
import { element, set, setStyle } from "./dom";
import { pictureIn, prepareFile, readMask } from "./files";
import type { BrowserSession } from "./panel";
import { createBanner } from "./panels/banner";
import { createBlendPanel } from "./panels/blend-panel";
import { createEditList } from "./panels/edit-list";
import { createFineTuning } from "./panels/fine-tuning";
import { askFit } from "./panels/fit-dialog";
import { createPictureStrip, PICTURES } from "./panels/picture-strip";
import { createReferencePanel } from "./panels/reference-panel";
import { createSegmentList } from "./panels/segment-list";
import { createStatusLine } from "./panels/status-line";
import { createToolPanel } from "./panels/tool-panel";
import { createTopBar } from "./panels/top-bar";
import { createViewBar } from "./panels/view-bar";
import type { Settings } from "./settings";
import { type KeyAction, keyAction } from "./tools/keys";
import { createToolController } from "./tools/tool-controller";

const BLENDING = "Blending the edit into the photo…";
const STOPPING = "Stopping; the best so far is kept.";
const UNHEARD = "Nothing was heard of the blend since the kernel answered last.";
const ON_THE_WAY: readonly (string | undefined)[] = [BLENDING, STOPPING, UNHEARD];

/** Milliseconds after a stroke in which the next one may begin: what takes long waits until they have passed. */
const PAUSE = 200;

/** These go on while their key is held down. */
const REPEATING = new Set<KeyAction>(["smaller", "larger", "undo", "redo", "closer", "farther"]);

export interface Editor {
  destroy(): void;
}

/** Puts an editor of `page` into `container`. A page may have several. */
export function createEditor(container: HTMLElement, session: BrowserSession): Editor {
  const settings: Settings = {
    tool: "brush",
    size: 8,
    verb: "add",
    concept: "",
    strength: 1,
    reference: null,
    selected: null,
    shown: "preview",
    comparing: false,
    overlay: true,
    opacity: 0.4,
    footprint: true,
    grid: false,
    segments: false,
    split: null,
    pointed: null,
  };
  /** Until the user has chosen a size, it follows the picture's. */
  let sized = false;
  /** After "Blend", the first blended picture comes onto the canvas by itself. */
  let awaitsResult = false;
  /** The picture that was there before that blend. */
  let resultBefore: ImageBitmap | undefined;
  /** Has something been edited here, and nothing else been looked at since? */
  let editing = false;
  /** Was a blend running when this was last drawn? */
  let blending = false;
  /** While the strength is being dragged, the slider leads and the edit follows; otherwise it shows the edit's. */
  let tuning = false;

  /** A blended picture is of the edits as they were: whoever changes them wants to see what comes of it. */
  function lookAtEdits(): void {
    if (session.saved) return;
    awaitsResult = false;
    editing = true;
    settings.shown = "preview";
  }

  function awaitResult(): void {
    awaitsResult = true;
    resultBefore = session.pictures.get("result")?.image;
  }

  const actions: Actions = {
    change(changes) {
      if (changes.size !== undefined) sized = true;
      Object.assign(settings, changes);
      if (changes.verb !== undefined || changes.concept !== undefined) {
        // Another verb or concept: the next stroke works on the edit that it would continue, or on a new one.
        settings.selected = paintedEdit(session.edits, settings.selected, settings.verb, settings.concept);
        const edit = session.edits.find(({ id }) => id === settings.selected);
        settings.strength = edit?.strength ?? 1;
      }
      refresh(true);
    },
    select(id) {
      const edit = session.edits.find((each) => each.id === id);
      if (!edit) return;
      const { verb, concept, strength } = edit;
      // What was suppressed from Python can be looked at and switched; painting goes on with something else.
      Object.assign(settings, { selected: id, strength }, verb === "suppress" ? {} : { verb, concept });
      settings.reference = edit.reference ?? settings.reference;
      refresh(true);
    },
    strength(value, done) {
      settings.strength = value;
      tuning = !done;
      // Told when the slider is let go: each `retune` is a step of undo.
      if (done && settings.selected) {
        lookAtEdits();
        session.command("retune", { edit: settings.selected, strength: value });
      }
      refresh(false);
    },
    retune(changes) {
      if (!settings.selected) return;
      lookAtEdits();
      session.command("retune", { edit: settings.selected, ...changes });
    },
    refer(reference) {
      settings.reference = reference;
      const edit = session.edits.find(({ id }) => id === settings.selected);
      if (edit?.verb === "restyle") actions.retune({ reference });
      refresh(false);
    },
    async referTo(file) {
      session.setStatus({ level: "info", text: `Looking at ${file.name}…` });
      try {
        const { name, bytes } = await prepareFile(file);
        session.questions.ask({ type: "refer", name }, bytes);
      } catch {
        const text = `${file.name} could not be read as a picture.`;
        session.setStatus({ level: "error", text, hint: "Choose a PNG or JPEG file instead." });
      }
    },
    faithful() {
      if (!session.state) return;
      lookAtEdits();
      session.command("faithful", { on: !session.state.faithful?.on });
    },
    show(picture) {
      awaitsResult = editing = false;
      actions.change({ shown: picture });
    },
    point: (place) => tools.point(place),
    take: (place, erase, time) => tools.take(place, erase, time),
    undo() {
      if (!session.canUndo) return;
      lookAtEdits();
      session.command("undo", {});
    },
    redo() {
      if (!session.canRedo) return;
      lookAtEdits();
      session.command("redo", {});
    },
    toggle(id) {
      const edit = session.edits.find((each) => each.id === id);
      if (!edit) return;
      lookAtEdits();
      session.command("toggle", { edit: id, enabled: !edit.enabled });
    },
    remove(id) {
      lookAtEdits();
      session.command("delete", { edit: id });
    },
    move(id, index) {
      if (index < 0 || index >= session.edits.length) return;
      lookAtEdits();
      session.command("move", { edit: id, index });
    },
    scene(index, title = "the next scene") {
      session.setStatus({ level: "info", text: `Opening ${title}…` });
      session.command("scene", index === undefined ? {} : { index });
    },
    blend() {
      if (session.job) return;
      awaitResult();
      session.setStatus({ level: "info", text: BLENDING });
      session.command("blend", {});
    },
    reblend: (on) => session.setReblend(on),
    cancel() {
      if (!session.job) return;
      session.setStatus({ level: "info", text: STOPPING });
      session.outbox.cancel();
    },
    save(what, where) {
      session.setStatus({ level: "info", text: "Saving…" });
      session.command("save", { what, where });
    },
    async open(file) {
      const fit = await askFit(root, file);
      if (!fit) return;
      session.setStatus({ level: "info", text: `Opening ${file.name}…` });
      try {
        const { name, bytes, scaled } = await prepareFile(file);
        if (scaled) session.setStatus({ level: "info", text: scaled });
        if (bytes.length === 0) throw new Error("empty");
        session.command("open", { name, fit }, bytes);
      } catch {
        const text = `${file.name} could not be read as a picture, or is too large to be sent.`;
        session.setStatus({ level: "error", text, hint: "Open a PNG or JPEG file, or open it in a cell." });
      }
    },
    async exportMask() {
      const edit = session.edits.find(({ id }) => id === settings.selected);
      const mask = edit && session.masks.get(edit.id);
      if (!mask) return;
      const bytes = await encodeGray(mask.values, mask.width, mask.height);
      session.host.download(bytes, `mask-${edit.verb}-${edit.concept}.png`, "image/png");
    },
    async importMask(file) {
      const { verb, concept, strength, reference } = settings;
      try {
        const values = await readMask(file, session.width, session.height);
        const edit = paintedEdit(session.edits, settings.selected, verb, concept);
        lookAtEdits();
        settings.selected =
          session.replace({ edit, verb, concept, strength, reference, erase: false }, values, 0) ??
          settings.selected;
        session.setStatus({ level: "info", text: `${file.name} is now the mask of “${verb} ${concept}”.` });
      } catch {
        const text = `${file.name} could not be read as a mask.`;
        session.setStatus({ level: "error", text, hint: "Choose a PNG: white is painted, black is not." });
      }
    },
    zoom(factor) {
      if (factor === 0) pointers.look(WHOLE);
      else pointers.zoom(factor);
    },
    fullScreen() {
      if (document.fullscreenElement) void document.exitFullscreen();
      else void root.requestFullscreen();
    },
  };

  const view = new StageView(() => refresh(true));
  const tools = createToolController(session, settings, {
    painting: lookAtEdits,
    done(edit) {
      settings.selected = edit ?? settings.selected;
      mark();
      refresh(true);
    },
    moved: () => refreshMarks(),
    say: (text) => session.setStatus({ level: "info", text }),
  });
  const pointers = new PointerInput(
    view.canvas,
    () => ({ width: session.width, height: session.height }),
    tools,
    () => refresh(true),
  );

  const toggled = {
    overlay: () => actions.change({ overlay: !settings.overlay }),
    grid: () => actions.change({ grid: !settings.grid }),
    segments: () => session.labels && actions.change({ segments: !settings.segments }),
    divider: () => actions.change({ split: settings.split === null ? 0.5 : null }),
  };
  const bar = createTopBar(actions);
  const viewBar = createViewBar(actions, () => pointers.port.zoom, toggled);
  const strip = createPictureStrip(actions);
  const toolPanel = createToolPanel(actions);
  const segments = createSegmentList(actions);
  const references = createReferencePanel(actions);
  const details = createFineTuning(actions);
  const history = createEditList(actions);
  const blend = createBlendPanel(actions);
  const status = createStatusLine();
  const banner = createBanner();
  const panels = [
    bar,
    viewBar,
    strip,
    toolPanel,
    segments,
    references,
    details,
    history,
    blend,
    status,
    banner,
  ];

  const root = element(
    "div",
    {
      class: "ganpaint",
      role: "region",
      "aria-label": "GAN paint editor",
      "data-ganpaint-root": true,
      "data-lm-suppress-shortcuts": "true",
    },
    element(
      "div",
      { class: "gp-inner" },
      bar.root,
      banner.root,
      element(
        "div",
        { class: "gp-body" },
        element("div", { class: "gp-left" }, view.root, viewBar.root, strip.root),
        element(
          "div",
          { class: "gp-panel" },
          toolPanel.root,
          segments.root,
          references.root,
          details.root,
          history.root,
          blend.root,
        ),
      ),
      status.root,
    ),
  );
  container.append(root);

  // --------------------------------------------------------------------------------------------------- drawing

  let scheduled = 0;
  let masksToo = true;
  let panelsToo = true;

  /** Draws before the next animation frame, however often it is asked to. */
  function refresh(masks: boolean, panels = true): void {
    masksToo ||= masks;
    panelsToo ||= panels;
    if (scheduled === 0) scheduled = requestAnimationFrame(draw);
  }

  let painted = false;
  let pausing: ReturnType<typeof setTimeout> | undefined;

  /** Is somebody painting, or has only just lifted the hand? Draws once more when that is over. */
  function moving(): boolean {
    if (painted && !session.painting) {
      clearTimeout(pausing);
      pausing = setTimeout(() => {
        pausing = undefined;
        refresh(true);
      }, PAUSE);
    }
    painted = session.painting;
    return painted || pausing !== undefined;
  }

  let marking = 0;

  /** The marks alone: they follow the hand, and nothing else has to. */
  function refreshMarks(): void {
    if (marking === 0) marking = requestAnimationFrame(drawMarks);
  }

  function drawMarks(): void {
    cancelAnimationFrame(marking);
    marking = 0;
    view.showMarks(tools.marks());
  }

  function draw(): void {
    scheduled = 0;
    if (panelsToo) {
      panelsToo = false;
      settle();
      drawPanels();
    }
    view.resize(session.width, session.height, pointers.port, moving());
    drawPicture();
    if (masksToo) {
      masksToo = false;
      view.drawSegments(settings.segments ? session.labels : null, segmentColors());
      view.drawMasks(
        session.edits
          .filter((edit) => edit.enabled || edit.id === settings.selected || edit.id === settings.pointed)
          .map((edit) => ({
            mask: session.masks.get(edit.id),
            color: session.color(edit.concept),
            current: edit.id === (settings.pointed ?? settings.selected),
          }))
          .flatMap(({ mask, ...rest }) => (mask ? [{ mask, ...rest }] : [])),
      );
    }
    view.showOpening(session.opening);
    drawMarks();
    mark();
    session.drawn();
  }

  function drawPanels(): void {
    const focused = focus();
    for (const panel of panels) panel.update(session, settings);
    // A button that goes away or is disabled under the focus must not take the keys with it.
    if (focused && (!focused.isConnected || focused.matches(":disabled, [hidden], [hidden] *"))) {
      view.canvas.focus({ preventScroll: true });
    }
  }

  function drawPicture(): void {
    const shown: PictureName = settings.comparing ? "photo" : settings.shown;
    const picture = session.pictures.get(shown);
    const covered = session.outbox.stampAt(picture?.sequence ?? 0);
    view.draw(shown, picture, covered, PICTURES[shown].label, session.pictures.get("photo"), settings.split);
  }

  /** The concepts' own colours; the other classes take theirs from round the circle of hues. */
  function segmentColors(): string[] {
    const classes = session.state?.classes ?? [];
    return classes.map((name, index) => {
      const concept = session.state?.concepts.find((each) => each.name === name);
      if (concept) return concept.color;
      // The golden angle keeps neighbours apart.
      const [red, green, blue] = [0, 120, 240].map((turn) =>
        Math.round(128 + 70 * Math.cos(((index * 137.5 + turn) * Math.PI) / 180)),
      ) as [number, number, number];
      return `#${((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1)}`;
    });
  }

  /** Says on the root where things stand, for the stylesheet and for tests from outside. */
  function mark(): void {
    setStyle(root, "--gp-opacity", String(settings.opacity));
    set(root, {
      "data-painting": session.painting,
      "data-overlay": settings.overlay ? (settings.pointed ? "pointed" : "on") : "off",
      "data-comparing": settings.comparing,
      "data-erasing": settings.tool === "eraser",
      "data-accepted": session.outbox.accepted,
      "data-sent": session.outbox.sent,
      "data-revision": session.revision,
      "data-ahead": session.ahead,
      "data-job": session.job ? "blend" : "",
      "data-title": session.state?.title ?? "",
      "data-ready": session.outbox.welcomed,
      "data-kernel": session.health,
    });
  }

  /** The element of this editor that has the focus, if one has; hosts may put widgets into a shadow root. */
  function focus(): Element | null {
    const { activeElement } = root.getRootNode() as Document | ShadowRoot;
    return activeElement && root.contains(activeElement) ? activeElement : null;
  }

  /** What the user chose may be gone: an edit undone, a picture not there, a concept of another generator. */
  function settle(): void {
    const concepts = session.state?.concepts ?? [];
    if (!concepts.some(({ name }) => name === settings.concept)) settings.concept = concepts[0]?.name ?? "";
    if (settings.selected && !session.edits.some(({ id }) => id === settings.selected)) {
      settings.selected = null;
      settings.strength = 1;
    }
    // What the next stroke would go on with is what the strength is about.
    settings.selected ??= paintedEdit(session.edits, null, settings.verb, settings.concept);
    const edit = session.edits.find(({ id }) => id === settings.selected);
    if (edit && !tuning) settings.strength = edit.strength;
    // A new restyle begins with the first reference that shows the concept.
    if (
      !edit &&
      session.questions.sampledConcept === settings.concept &&
      !session.questions.references.has(settings.reference?.key ?? "")
    ) {
      const key = [...session.questions.references.keys()][0];
      settings.reference = key === undefined ? null : { key, region: null };
    }
    if (settings.pointed && !session.edits.some(({ id }) => id === settings.pointed)) settings.pointed = null;
    if (!blending && session.job && session.blendPolicy.automatic && editing) awaitResult();
    const result = session.pictures.get("result");
    if (awaitsResult && result && result.image !== resultBefore) settings.shown = "result";
    followBlend();
    if (!session.pictures.has(settings.shown)) settings.shown = "preview";
    if (settings.tool === "segment" && session.state?.classes.length === 0) settings.tool = "brush";
    const largest = largestBrush(session.width, session.height);
    if (!sized) settings.size = Math.max(1, Math.round(largest / 2));
    settings.size = clamp(settings.size, 1, largest);
  }

  /** Says what becomes of a blend, in place of what was said of it before, and of nothing else. */
  function followBlend(): void {
    const word = session.status?.text;
    const gone = session.health === "gone"; // it may still come back, and the blend with it
    if (blending && ON_THE_WAY.includes(word)) {
      let text = session.state?.measures.blend ? "Blended into the photo." : "Stopped.";
      if (gone) text = UNHEARD;
      else if (session.job) text = word === STOPPING ? STOPPING : BLENDING;
      if (text !== word) session.setStatus({ level: "info", text });
    }
    if (gone) return;
    blending = session.job !== null;
    awaitsResult &&= blending;
  }

  const silence = session.listen((topic: Topic) => {
    // At once, not with the next frame: who waits from outside for "sent" to be accepted must see what was sent.
    if (topic === "document") mark();
    // A picture under the hand does not wait, either: what answers it is on its way while the rest is drawn. A page
    // that nobody sees draws nothing, and asks for nothing.
    if (topic === "picture" && session.painting && !document.hidden) {
      drawPicture();
      session.drawn();
    }
    // Under a moving hand, panels have nothing to say of each picture and each piece of the stroke.
    const passing = moving() && (topic === "picture" || topic === "mask");
    refresh(topic !== "picture" && topic !== "status", !passing);
  });

  // ------------------------------------------------------------------------------------------------------ keys

  const comparing = (comparing: boolean): void => {
    if (settings.comparing !== comparing) actions.change({ comparing });
  };

  const resize = (direction: 1 | -1): void =>
    actions.change({
      size: stepBrush(settings.size, direction, largestBrush(session.width, session.height)),
    });

  const run: Record<KeyAction, () => void> = {
    brush: () => actions.change({ tool: "brush" }),
    eraser: () => actions.change({ tool: "eraser" }),
    rectangle: () => actions.change({ tool: "rectangle" }),
    lasso: () => actions.change({ tool: "lasso" }),
    segment: () => actions.change({ tool: "segment" }),
    add: () => actions.change({ verb: "add", ...drawing() }),
    remove: () => actions.change({ verb: "remove", ...drawing() }),
    restyle: () => actions.change({ verb: "restyle", ...drawing() }),
    smaller: () => resize(-1),
    larger: () => resize(1),
    undo: () => session.painting || actions.undo(),
    redo: () => session.painting || actions.redo(),
    compare: () => comparing(true),
    ...toggled,
    fullScreen: actions.fullScreen,
    faithful: actions.faithful,
    closer: () => actions.zoom(1.5),
    farther: () => actions.zoom(1 / 1.5),
    whole: () => actions.zoom(0),
    escape() {
      if (tools.cancelShape()) return;
      // Out of the list of segments it goes back to the picture.
      if (!session.job && segments.root.contains(focus())) view.canvas.focus({ preventScroll: true });
      else actions.cancel();
    },
  };
  /** Who chooses what to paint is done with erasing. */
  const drawing = (): Partial<Settings> => (settings.tool === "eraser" ? { tool: "brush" } : {});

  const ARROWS: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  /** Painting by keyboard: the arrows move the cursor, by eight pixels with Shift; Enter presses there. */
  function paintingKey(event: KeyboardEvent): boolean {
    if (event.target !== view.canvas || event.ctrlKey || event.metaKey || event.altKey) return false;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const far = event.shiftKey ? 8 : 1;
      status.whisper(tools.moveCursor(far * arrow[0], far * arrow[1]));
      if (tools.cursor) pointers.reveal(tools.cursor);
    } else if (event.key === "Enter") status.whisper(tools.pressAtCursor(event.timeStamp));
    else if (event.key === " ") pointers.spaced = true;
    else return false;
    return true;
  }

  // A canvas that was clicked needs no focus ring: the ring is for those who come by keyboard.
  root.addEventListener("pointerdown", () => set(root, { "data-by-pointer": true }), { capture: true });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Tab") set(root, { "data-by-pointer": false });
    const action = keyAction(event);
    // Tab moves on, and an Escape that has nothing to stop here belongs to the notebook. No other key gets there.
    if (event.key === "Tab") return;
    const dismissed = action === "escape" && status.dismiss();
    const listed = segments.root.contains(event.target as Node);
    if (action === "escape" && !dismissed && !session.job && !tools.shaping && !listed) return;
    event.stopPropagation();
    if (dismissed || paintingKey(event)) event.preventDefault();
    if (dismissed || !action) return;
    event.preventDefault();
    if (!event.repeat || REPEATING.has(action)) run[action]();
  });
  root.addEventListener("keyup", (event) => {
    if (event.key === " ") pointers.spaced = false;
    if (event.key.toLowerCase() === "c") comparing(false);
  });
  root.addEventListener("focusout", () => {
    comparing(false);
    pointers.spaced = false;
  });
  // A click into the editor gives it the keys, wherever it lands.
  root.addEventListener("pointerdown", (event) => {
    const target = event.target as Element;
    if (!target.closest("button, input, select, summary, label, canvas, [tabindex]")) {
      event.preventDefault();
      view.canvas.focus({ preventScroll: true });
    }
  });

  view.compare.addEventListener("pointerdown", (event) => {
    view.compare.setPointerCapture(event.pointerId);
    comparing(true);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    view.compare.addEventListener(end, () => comparing(false));
  }

  // The divider follows the pointer, and the arrow keys when it has the focus.
  const divide = (split: number): void => actions.change({ split: clamp(split, 0.02, 0.98) });
  view.divider.addEventListener("pointerdown", (event) => {
    view.divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  view.divider.addEventListener("pointermove", (event) => {
    if (!view.divider.hasPointerCapture(event.pointerId)) return;
    const box = view.root.getBoundingClientRect();
    divide((event.clientX - box.left) / box.width);
  });
  view.divider.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || settings.split === null) return;
    event.preventDefault();
    divide(settings.split + 0.02 * (arrow[0] - arrow[1]));
  });
  const fullScreenChanged = (): void => refresh(true);
  document.addEventListener("fullscreenchange", fullScreenChanged);

  // ----------------------------------------------------------------------------------------------------- files

  root.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file || session.saved) return;
    event.preventDefault();
    event.stopPropagation();
    actions.open(file);
  });
  const carries = (event: DragEvent): boolean =>
    !session.saved && (event.dataTransfer?.types.includes("Files") ?? false);
  root.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.stopPropagation();
    set(root, { "data-dropping": true });
  });
  root.addEventListener("dragleave", (event) => {
    if (!root.contains(event.relatedTarget as Node | null)) set(root, { "data-dropping": false });
  });
  root.addEventListener("drop", (event) => {
    set(root, { "data-dropping": false });
    if (!carries(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const file = pictureIn(event.dataTransfer) ?? event.dataTransfer?.files[0];
    if (file) actions.open(file);
  });

  refresh(true);
  return {
    destroy() {
      silence();
      cancelAnimationFrame(scheduled);
      cancelAnimationFrame(marking);
      clearTimeout(pausing);
      document.removeEventListener("fullscreenchange", fullScreenChanged);
      view.destroy();
      root.remove();
    },
  };
}
