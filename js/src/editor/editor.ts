/** The painting editor: puts the panels together and turns what the user does into the page's words. */

import type { PictureName } from "../protocol";
import { createBar } from "./bar";
import { createBlend } from "./blend";
import { element, icon, press, set } from "./dom";
import { pictureIn, prepareFile } from "./files";
import { clamp, largestBrush, stepBrush } from "./geometry";
import { createHistory } from "./history";
import { type KeyAction, keyAction } from "./keys";
import { erasedEdit, paintedEdit, type Topic } from "./page";
import type { Actions, EditorPage, Settings } from "./settings";
import { createStatus } from "./status";
import { createStrip, PICTURES } from "./strip";
import { createTools } from "./tools";
import { View } from "./view";

const BLENDING = "Blending the edit into the photo…";
const STOPPING = "Stopping; the best so far is kept.";

export interface Editor {
  destroy(): void;
}

/** Puts an editor of `page` into `container`. A page may have several. */
export function createEditor(container: HTMLElement, page: EditorPage): Editor {
  const settings: Settings = {
    tool: "brush",
    size: 8,
    verb: "add",
    concept: "",
    strength: 1,
    selected: null,
    shown: "preview",
    comparing: false,
    overlay: true,
    pointed: null,
  };
  /** Until the user has chosen a size, it follows the picture's. */
  let sized = false;
  /** After "Blend", the first blended picture comes onto the canvas by itself. */
  let awaitsResult = false;
  /** Was a blend running when this was last drawn? */
  let blending = false;
  /** While the strength is being dragged, the slider leads and the edit follows; otherwise it shows the edit's. */
  let tuning = false;

  /** A blended picture is of the edits as they were: whoever changes them wants to see what comes of it. */
  function lookAtEdits(): void {
    awaitsResult = false;
    settings.shown = "preview";
  }

  const actions: Actions = {
    change(changes) {
      if (changes.size !== undefined) sized = true;
      Object.assign(settings, changes);
      if (changes.verb !== undefined || changes.concept !== undefined) {
        // Another verb or concept: the next stroke works on the edit that it would continue, or on a new one.
        settings.selected = paintedEdit(page.edits, settings.selected, settings.verb, settings.concept);
        const edit = page.edits.find(({ id }) => id === settings.selected);
        settings.strength = edit?.strength ?? 1;
      }
      refresh(true);
      view.moveRing();
    },
    select(id) {
      const edit = page.edits.find((each) => each.id === id);
      if (!edit) return;
      const { verb, concept, strength } = edit;
      Object.assign(settings, { selected: id, verb, concept, strength });
      refresh(true);
    },
    strength(value, done) {
      settings.strength = value;
      tuning = !done;
      // Told when the slider is let go: each `retune` is a step of undo.
      if (done && settings.selected) {
        lookAtEdits();
        page.command("retune", { edit: settings.selected, strength: value });
      }
      refresh(false);
    },
    show(picture) {
      awaitsResult = false;
      actions.change({ shown: picture });
    },
    undo() {
      if (!page.canUndo) return;
      lookAtEdits();
      page.command("undo", {});
    },
    redo() {
      if (!page.canRedo) return;
      lookAtEdits();
      page.command("redo", {});
    },
    toggle(id) {
      const edit = page.edits.find((each) => each.id === id);
      if (!edit) return;
      lookAtEdits();
      page.command("toggle", { edit: id, enabled: !edit.enabled });
    },
    remove(id) {
      lookAtEdits();
      page.command("delete", { edit: id });
    },
    scene() {
      page.speak({ level: "info", text: "Opening the next scene…" });
      page.command("scene", {});
    },
    blend() {
      if (page.job) return;
      awaitsResult = true;
      page.speak({ level: "info", text: BLENDING });
      page.command("blend", {});
    },
    cancel() {
      if (!page.job) return;
      page.speak({ level: "info", text: STOPPING });
      page.outbox.cancel();
    },
    save() {
      page.speak({ level: "info", text: "Saving…" });
      page.command("save", {});
    },
    async open(file) {
      page.speak({ level: "info", text: `Opening ${file.name}…` });
      try {
        const { name, bytes, scaled } = await prepareFile(file);
        if (scaled) page.speak({ level: "info", text: scaled });
        if (bytes.length === 0) throw new Error("empty");
        page.command("open", { name }, bytes);
      } catch {
        const text = `${file.name} could not be read as a picture.`;
        page.speak({ level: "error", text, mend: "Open a PNG or JPEG file instead." });
      }
    },
  };

  const view = new View(
    {
      begin(dab, time) {
        const erase = settings.tool === "eraser";
        const { verb, concept, strength } = settings;
        const edit = erase
          ? erasedEdit(page.edits, settings.selected)
          : paintedEdit(page.edits, settings.selected, verb, concept);
        lookAtEdits();
        settings.selected =
          page.begin({ edit, verb, concept, strength, erase }, dab, time) ?? settings.selected;
        if (erase && !edit) page.speak({ level: "info", text: "There is nothing to erase yet." });
        refresh(true);
      },
      move: (dab, time) => page.paint(dab, time),
      end(time) {
        page.end(time);
        mark();
        refresh(true);
      },
      size: () => settings.size,
    },
    () => refresh(true),
  );

  const overlay = element(
    "button",
    { class: "gp-button gp-bare", "data-action": "overlay", title: "Show the painted masks (O)" },
    icon("overlay"),
    element("span", { class: "gp-unseen" }, "Overlay"),
  );
  overlay.addEventListener("click", () => actions.change({ overlay: !settings.overlay }));

  const bar = createBar(actions);
  bar.root.children[1]?.append(overlay);
  const strip = createStrip(actions);
  const tools = createTools(actions);
  const history = createHistory(actions);
  const blend = createBlend(actions);
  const status = createStatus();
  const panels = [bar, strip, tools, history, blend, status];

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
      element(
        "div",
        { class: "gp-body" },
        element("div", { class: "gp-left" }, view.root, strip.root),
        element("div", { class: "gp-panel" }, tools.root, history.root, blend.root),
      ),
      status.root,
    ),
  );
  container.append(root);

  // --------------------------------------------------------------------------------------------------- drawing

  let scheduled = 0;
  let masksToo = true;

  /** Draws before the next animation frame, however often it is asked to. */
  function refresh(masks: boolean): void {
    masksToo ||= masks;
    if (scheduled === 0) scheduled = requestAnimationFrame(draw);
  }

  function draw(): void {
    scheduled = 0;
    settle();
    const focused = focus();
    for (const panel of panels) panel.update(page, settings);
    // A button that goes away or is disabled under the focus must not take the keys with it.
    if (focused && (!focused.isConnected || focused.matches(":disabled, [hidden], [hidden] *"))) {
      view.canvas.focus({ preventScroll: true });
    }
    view.resize(page.width, page.height);
    const shown: PictureName = settings.comparing ? "photo" : settings.shown;
    view.draw(shown, page.pictures.get(shown), PICTURES[shown].label);
    if (masksToo) {
      masksToo = false;
      view.drawMasks(
        page.edits
          .filter((edit) => edit.enabled || edit.id === settings.selected || edit.id === settings.pointed)
          .map((edit) => ({
            mask: page.masks.get(edit.id),
            color: page.color(edit.concept),
            current: edit.id === (settings.pointed ?? settings.selected),
          }))
          .flatMap(({ mask, ...rest }) => (mask ? [{ mask, ...rest }] : [])),
      );
    }
    press(overlay, settings.overlay);
    mark();
    page.drawn();
  }

  /** Says on the root where things stand, for the stylesheet and for tests from outside. */
  function mark(): void {
    set(root, {
      "data-painting": page.painting,
      "data-overlay": settings.overlay ? (settings.pointed ? "pointed" : "on") : "off",
      "data-comparing": settings.comparing,
      "data-erasing": settings.tool === "eraser",
      "data-accepted": page.outbox.accepted,
      "data-sent": page.outbox.sent,
      "data-revision": page.revision,
      "data-job": page.job ? "blend" : "",
      "data-title": page.state?.title ?? "",
      "data-ready": page.outbox.welcomed,
    });
  }

  /** The element of this editor that has the focus, if one has; hosts may put widgets into a shadow root. */
  function focus(): Element | null {
    const { activeElement } = root.getRootNode() as Document | ShadowRoot;
    return activeElement && root.contains(activeElement) ? activeElement : null;
  }

  /** What the user chose may be gone: an edit undone, a picture not there, a concept of another generator. */
  function settle(): void {
    const concepts = page.state?.concepts ?? [];
    if (!concepts.some(({ name }) => name === settings.concept)) settings.concept = concepts[0]?.name ?? "";
    if (settings.selected && !page.edits.some(({ id }) => id === settings.selected)) {
      settings.selected = null;
      settings.strength = 1;
    }
    // What the next stroke would go on with is what the strength is about.
    settings.selected ??= paintedEdit(page.edits, null, settings.verb, settings.concept);
    const edit = page.edits.find(({ id }) => id === settings.selected);
    if (edit && !tuning) settings.strength = edit.strength;
    if (settings.pointed && !page.edits.some(({ id }) => id === settings.pointed)) settings.pointed = null;
    if (awaitsResult && page.pictures.has("result")) settings.shown = "result";
    if (awaitsResult && !page.job) awaitsResult = false;
    if (blending && !page.job && (page.word?.text === BLENDING || page.word?.text === STOPPING)) {
      page.speak({
        level: "info",
        text: page.pictures.has("result") ? "Blended into the photo." : "Stopped.",
      });
    }
    blending = page.job !== null;
    if (!page.pictures.has(settings.shown)) settings.shown = "preview";
    const largest = largestBrush(page.width, page.height);
    if (!sized) settings.size = Math.max(1, Math.round(largest / 2));
    settings.size = clamp(settings.size, 1, largest);
  }

  const silence = page.listen((topic: Topic) => {
    // At once, not with the next frame: who waits from outside for "sent" to be accepted must see what was sent.
    if (topic === "document") mark();
    refresh(topic !== "picture" && topic !== "word");
  });

  // ------------------------------------------------------------------------------------------------------ keys

  const comparing = (comparing: boolean): void => {
    if (settings.comparing !== comparing) actions.change({ comparing });
  };

  const run: Record<KeyAction, () => void> = {
    brush: () => actions.change({ tool: "brush" }),
    eraser: () => actions.change({ tool: "eraser" }),
    add: () => actions.change({ verb: "add", tool: "brush" }),
    remove: () => actions.change({ verb: "remove", tool: "brush" }),
    smaller: () =>
      actions.change({ size: stepBrush(settings.size, -1, largestBrush(page.width, page.height)) }),
    larger: () =>
      actions.change({ size: stepBrush(settings.size, 1, largestBrush(page.width, page.height)) }),
    undo: () => page.painting || actions.undo(),
    redo: () => page.painting || actions.redo(),
    compare: () => comparing(true),
    overlay: () => actions.change({ overlay: !settings.overlay }),
    escape: () => actions.cancel(),
  };

  // A canvas that was clicked needs no focus ring: the ring is for those who come by keyboard.
  root.addEventListener("pointerdown", () => set(root, { "data-by-pointer": true }), { capture: true });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Tab") set(root, { "data-by-pointer": false });
    const action = keyAction(event);
    // Tab moves on, and an Escape that has nothing to stop here belongs to the notebook. No other key gets there.
    if (event.key === "Tab") return;
    if (action === "escape" && !status.dismiss() && !page.job) return;
    event.stopPropagation();
    if (!action) return;
    event.preventDefault();
    const repeats = action === "smaller" || action === "larger" || action === "undo" || action === "redo";
    if (!event.repeat || repeats) run[action]();
  });
  root.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "c") comparing(false);
  });
  root.addEventListener("focusout", () => comparing(false));
  // A click into the editor gives it the keys, wherever it lands.
  root.addEventListener("pointerdown", (event) => {
    const target = event.target as Element;
    if (!target.closest("button, input, canvas, [tabindex]")) {
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

  // ----------------------------------------------------------------------------------------------------- files

  root.addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    actions.open(file);
  });
  const carries = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
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
      view.destroy();
      root.remove();
    },
  };
}
