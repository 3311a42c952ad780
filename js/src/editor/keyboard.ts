/** The editor's keys, which act while the focus is inside it and never reach the notebook. */

import { largestBrush, stepBrush } from "../raster/geometry";
import type { Actions } from "./actions";
import type { BrowserSession } from "./browser-session";
import type { PointerInput } from "./canvas/pointers";
import type { StageView } from "./canvas/view";
import { on, set } from "./dom";
import type { StatusLine } from "./panels/status-line";
import type { Settings, SettingsStore } from "./settings";
import { ARROWS, type KeyAction, keyAction } from "./tools/keys";
import type { ToolController } from "./tools/tool-controller";

/** Actions that repeat while their key is held down. */
const REPEATING = new Set<KeyAction>(["smaller", "larger", "undo", "redo", "closer", "farther"]);

/** The views that a key and a button switch. */
export type Toggles = Record<"overlay" | "grid" | "segments" | "divider", () => void>;

interface KeyboardParts {
  root: HTMLElement;
  view: StageView;
  pointers: PointerInput;
  tools: ToolController;
  status: StatusLine;
  segmentList: HTMLElement;
  toggles: Toggles;
  comparing(on: boolean): void;
  focused(): Element | null;
}

export function attachKeyboard(
  session: BrowserSession,
  settings: SettingsStore,
  actions: Actions,
  parts: KeyboardParts,
): void {
  const { root, view, pointers, tools, status, segmentList, toggles, comparing, focused } = parts;
  const focusCanvas = (): void => view.canvas.focus({ preventScroll: true });

  const resize = (direction: 1 | -1): void => {
    const largest = largestBrush(session.width, session.height);
    actions.change({ size: stepBrush(settings.values.size, direction, largest) });
  };
  const tool = (tool: Settings["tool"]) => () => actions.change({ tool });
  const verb = (verb: Settings["verb"]) => () => actions.change({ verb });

  const run: Record<KeyAction, () => void> = {
    brush: tool("brush"),
    eraser: tool("eraser"),
    rectangle: tool("rectangle"),
    lasso: tool("lasso"),
    segment: tool("segment"),
    add: verb("add"),
    remove: verb("remove"),
    restyle: verb("restyle"),
    smaller: () => resize(-1),
    larger: () => resize(1),
    undo: () => session.painting || actions.undo(),
    redo: () => session.painting || actions.redo(),
    compare: () => comparing(true),
    ...toggles,
    fullScreen: actions.fullScreen,
    faithful: actions.faithful,
    closer: () => actions.zoom(1.5),
    farther: () => actions.zoom(1 / 1.5),
    whole: () => actions.zoom(0),
    escape() {
      if (tools.cancelShape()) return;
      // From the list of segments, it returns to the picture.
      if (!session.job && !session.opening && segmentList.contains(focused())) focusCanvas();
      else actions.cancel();
    },
  };

  /** Paints with the keyboard: the arrows move the cursor, by eight pixels with Shift, and Enter presses there. */
  function paintingKey(event: KeyboardEvent): boolean {
    if (event.target !== view.canvas || event.ctrlKey || event.metaKey || event.altKey) return false;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const far = event.shiftKey ? 8 : 1;
      status.announce(tools.moveCursor(far * arrow[0], far * arrow[1]));
      if (tools.cursor) pointers.reveal(tools.cursor);
    } else if (event.key === "Enter") status.announce(tools.pressAtCursor(event.timeStamp));
    else if (event.key === " ") pointers.spaceHeld = true;
    else return false;
    return true;
  }

  // A clicked canvas does not need a focus ring, which is for users of the keyboard.
  on(root, "pointerdown", () => set(root, { "data-by-pointer": true }), { capture: true });
  on(root, "keydown", (event) => {
    if (event.key === "Tab") set(root, { "data-by-pointer": false });
    const action = keyAction(event);
    // Tab moves on, and Escape goes to the notebook if it has nothing to stop here. No other key reaches it.
    if (event.key === "Tab") return;
    const dismissed = action === "escape" && status.dismiss();
    const listed = segmentList.contains(event.target as Node);
    const stops = session.job || session.opening || tools.shaping || listed;
    if (action === "escape" && !dismissed && !stops) return;
    event.stopPropagation();
    if (dismissed || paintingKey(event)) event.preventDefault();
    if (dismissed || !action) return;
    event.preventDefault();
    if (!event.repeat || REPEATING.has(action)) run[action]();
  });
  on(root, "keyup", (event) => {
    if (event.key === " ") pointers.spaceHeld = false;
    if (event.key.toLowerCase() === "c") comparing(false);
  });
  on(root, "focusout", () => {
    comparing(false);
    pointers.spaceHeld = false;
  });
  // A click anywhere in the editor gives it the keys.
  on(root, "pointerdown", (event) => {
    const target = event.target as Element;
    if (!target.closest("button, input, select, summary, label, canvas, [tabindex]")) {
      event.preventDefault();
      focusCanvas();
    }
  });
}
