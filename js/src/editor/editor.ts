/** The painting editor, which puts the panels together and draws when something has changed. */

import type { Topic } from "../core/session";
import type { PictureName } from "../protocol/messages";
import { createActions } from "./actions";
import { BlendFollower } from "./blend-follower";
import type { BrowserSession } from "./browser-session";
import { attachCompare, attachDivider } from "./canvas/handles";
import { PointerInput } from "./canvas/pointers";
import { StageView } from "./canvas/view";
import { element, set, setStyle } from "./dom";
import { attachFileDrop } from "./file-drop";
import { attachKeyboard, type Toggles } from "./keyboard";
import { createBanner } from "./panels/banner";
import { createBlendPanel } from "./panels/blend-panel";
import { createEditList } from "./panels/edit-list";
import { createFindPanel } from "./panels/find-panel";
import { createFineTuning } from "./panels/fine-tuning";
import { createPictureStrip, PICTURES } from "./panels/picture-strip";
import { createReferencePanel } from "./panels/reference-panel";
import { createSegmentList } from "./panels/segment-list";
import { createStatusLine } from "./panels/status-line";
import { createToolPanel } from "./panels/tool-panel";
import { createTopBar } from "./panels/top-bar";
import { createViewBar } from "./panels/view-bar";
import { SettingsStore } from "./settings";
import { createToolController } from "./tools/tool-controller";

/** Milliseconds after a stroke in which the next one may begin. Slow work waits until they have passed. */
const PAUSE = 200;

export interface Editor {
  destroy(): void;
}

/** Puts an editor of the session into `container`. A session may have several. */
export function createEditor(container: HTMLElement, session: BrowserSession): Editor {
  const store = new SettingsStore(session, () => refresh(true));
  const settings = store.values;
  const follower = new BlendFollower(session, store);
  /** Ends with the editor, and with it everything that does not disappear with its elements. */
  const life = new AbortController();
  const actions = createActions(session, store, follower, () => ({
    root,
    tools,
    pointers,
    life: life.signal,
  }));

  const view = new StageView(() => refresh(true), actions.cancel);
  const tools = createToolController(session, store, {
    painting: () => follower.editsChange(),
    done(edit) {
      if (edit) store.change({ selected: edit });
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

  const toggles: Toggles = {
    overlay: () => actions.change({ overlay: !settings.overlay }),
    grid: () => actions.change({ grid: !settings.grid }),
    segments: () => session.labels && actions.change({ segments: !settings.segments }),
    divider: () => actions.change({ split: settings.split === null ? 0.5 : null }),
  };
  const bar = createTopBar(actions);
  const viewBar = createViewBar(actions, () => pointers.viewport.zoom, toggles);
  const strip = createPictureStrip(actions);
  const toolPanel = createToolPanel(actions);
  const find = createFindPanel(actions);
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
    find,
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
          find.root,
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

  /** Draws once before the next animation frame, however often it is called. */
  function refresh(masks: boolean, panels = true): void {
    masksToo ||= masks;
    panelsToo ||= panels;
    if (scheduled === 0 && !life.signal.aborted) scheduled = requestAnimationFrame(draw);
  }

  let painted = false;
  let pausing: ReturnType<typeof setTimeout> | undefined;

  /** Whether a stroke is open or has just ended. Draws once more when that is over. */
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

  /** Draws only the marks, which must follow the hand. */
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
      follower.update();
      store.reconcile();
      drawPanels();
    }
    view.resize(session.width, session.height, pointers.viewport, moving());
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
    const before = focused();
    for (const panel of panels) panel.update(session, settings);
    // If the focused button disappears or is disabled, the editor keeps the keys.
    if (before && (!before.isConnected || before.matches(":disabled, [hidden], [hidden] *"))) {
      view.canvas.focus({ preventScroll: true });
    }
  }

  function drawPicture(): void {
    const shown: PictureName = settings.comparing ? "photo" : settings.shown;
    const picture = session.pictures.get(shown);
    const covered = session.outbox.stampAt(picture?.sequence ?? 0);
    view.draw(shown, picture, covered, PICTURES[shown].label, session.pictures.get("photo"), settings.split);
  }

  /** The colors of concepts, and hues from around the color circle for the other classes. */
  function segmentColors(): string[] {
    const classes = session.state?.classes ?? [];
    return classes.map((name, index) => {
      const concept = session.state?.concepts.find((each) => each.name === name);
      if (concept) return concept.color;
      // The golden angle keeps neighbors apart.
      const [red, green, blue] = [0, 120, 240].map((turn) =>
        Math.round(128 + 70 * Math.cos(((index * 137.5 + turn) * Math.PI) / 180)),
      ) as [number, number, number];
      return `#${((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1)}`;
    });
  }

  /** Writes the state into attributes of the root, for the stylesheet and for tests. */
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

  /** The focused element of this editor, if there is one. Hosts may put widgets into a shadow root. */
  function focused(): Element | null {
    const { activeElement } = root.getRootNode() as Document | ShadowRoot;
    return activeElement && root.contains(activeElement) ? activeElement : null;
  }

  const silence = session.listen((topic: Topic) => {
    // At once, not with the next frame, because tests that wait for "sent" must see what was sent.
    if (topic === "document") {
      store.reconcile();
      mark();
    }
    // A picture during a stroke does not wait either, so that its acknowledgment leaves before the rest is drawn. A
    // hidden page draws nothing and requests nothing.
    if (topic === "picture" && session.painting && !document.hidden) {
      drawPicture();
      session.drawn();
    }
    // During a stroke, panels need not change with each picture and each piece.
    const passing = moving() && (topic === "picture" || topic === "mask");
    refresh(topic !== "picture" && topic !== "status", !passing);
  });

  // ----------------------------------------------------------------------------------------- keys and pointers

  const comparing = (comparing: boolean): void => {
    if (settings.comparing !== comparing) store.change({ comparing });
  };
  const segmentList = segments.root;
  attachKeyboard(session, store, actions, {
    root,
    view,
    pointers,
    tools,
    status,
    segmentList,
    toggles,
    comparing,
    focused,
  });
  attachCompare(view, comparing);
  attachDivider(
    view,
    () => settings.split,
    (split) => store.change({ split }),
  );
  attachFileDrop(root, () => !session.saved, actions.open);
  document.addEventListener("fullscreenchange", () => refresh(true), { signal: life.signal });

  refresh(true);
  return {
    destroy() {
      life.abort();
      silence();
      cancelAnimationFrame(scheduled);
      cancelAnimationFrame(marking);
      clearTimeout(pausing);
      view.destroy();
      root.remove();
    },
  };
}
