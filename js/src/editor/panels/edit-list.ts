/** The list of edits, newest on top: what, where and how strong, with controls to select, hide and delete. */

import type { Edit } from "../../protocol/state";
import type { Mask } from "../../raster/mask";
import type { Actions } from "../actions";
import type { BrowserSession } from "../browser-session";
import { actionButton } from "../buttons";
import { paintMask } from "../canvas/pixels";
import { element, filePicker, hide, on, press, set, setText } from "../dom";
import { PICTURES } from "../files";
import { setIcon } from "../icons";
import type { Panel } from "../panel";

const VERBS: Record<Edit["verb"], string> = {
  add: "Add",
  remove: "Remove",
  restyle: "Restyle",
  suppress: "Suppress",
};

/** For a generator without concepts. */
const UNKNOWN = "This generator has no concepts yet. Press Find concepts.";

interface Row {
  root: HTMLElement;
  update(edit: Edit, session: BrowserSession, selected: boolean): void;
}

export function createEditList(actions: Actions): Panel {
  const rows = new Map<string, Row>();
  const list = element("ul", { class: "gp-edits", "aria-label": "Edits" });
  const count = element("span", { class: "gp-count" });
  const none = element("p", { class: "gp-none" });
  const exporting = actionButton(
    "export-mask",
    "Export the mask",
    "save",
    "Save this edit's mask as a PNG",
    actions.exportMask,
    " gp-bare gp-small",
  );
  const file = filePicker(PICTURES, actions.importMask);
  const importing = actionButton(
    "import-mask",
    "Import a mask",
    "open",
    "Replace the mask with a PNG: white is painted",
    () => file.click(),
    " gp-bare gp-small",
  );
  const root = element(
    "section",
    { class: "gp-history" },
    element("div", { class: "gp-head" }, element("h3", {}, "Edits", count), importing, exporting, file),
    element("div", { class: "gp-scroll" }, list, none),
  );
  return {
    root,
    update(session, settings) {
      exporting.disabled = settings.selected === null;
      importing.disabled = session.state === null;
      setText(count, session.edits.length ? String(session.edits.length) : "");
      hide(none, session.edits.length > 0);
      const hint =
        session.state?.concepts.length === 0 ? UNKNOWN : "Choose a concept and paint on the picture.";
      setText(none, session.saved ? "No edits." : `No edits yet. ${hint}`);
      const ids = session.edits.map(({ id }) => id);
      for (const [id, row] of rows) {
        if (ids.includes(id)) continue;
        row.root.remove();
        rows.delete(id);
      }
      for (const edit of session.edits) {
        let row = rows.get(edit.id);
        if (!row) {
          row = createRow(edit.id, actions);
          rows.set(edit.id, row);
        }
        row.update(edit, session, edit.id === settings.selected);
      }
      // Only if the order has changed, since a moved element loses the focus.
      const wanted = [...ids].reverse().map((id) => (rows.get(id) as Row).root);
      if (wanted.some((each, index) => list.children[index] !== each)) list.replaceChildren(...wanted);
    },
  };
}

function createRow(id: string, actions: Actions): Row {
  const thumbnail = element("canvas", { class: "gp-thumbnail", "aria-hidden": "true" });
  const name = element("span", { class: "gp-name" });
  const detail = element("span", { class: "gp-detail" });
  const swatch = element("span", { class: "gp-swatch" });
  const select = element(
    "button",
    { class: "gp-select", title: "Select this edit" },
    thumbnail,
    element("span", { class: "gp-words" }, element("span", { class: "gp-line" }, swatch, name), detail),
  );
  const eye = element("button", { class: "gp-button gp-bare gp-small", "data-action": "toggle" });
  const small = " gp-bare gp-small";
  const remove = () => actions.remove(id);
  const bin = actionButton("delete", "Delete", "delete", "Delete this edit", remove, small);
  const gripTitle = "Reorder: drag, or use the arrow keys";
  const grip = actionButton("move", "Move", "grip", gripTitle, () => {}, small);
  grip.classList.add("gp-grip");
  const root = element("li", { class: "gp-edit", "data-edit": id }, grip, select, eye, bin);
  on(select, "click", () => actions.select(id));
  on(eye, "click", () => actions.toggle(id));
  makeMovable(root, grip, id, actions);
  on(root, "pointerenter", () => actions.change({ pointed: id }));
  on(root, "pointerleave", () => actions.change({ pointed: null }));

  let drawn: Mask | null = null;
  let version = -1;
  return {
    root,
    update(edit, session, selected) {
      const color = session.color(edit.concept);
      setText(name, `${VERBS[edit.verb]} ${edit.concept || "units"}`);
      setText(detail, edit.enabled ? `× ${edit.strength.toFixed(2)}` : `× ${edit.strength.toFixed(2)} · off`);
      swatch.style.setProperty("--gp-color", color);
      press(select, selected);
      set(root, { "data-enabled": String(edit.enabled) });
      setIcon(eye, edit.enabled ? "eye" : "hidden");
      const label = edit.enabled ? "Switch this edit off" : "Switch this edit on";
      set(eye, { title: label, "aria-label": label, "aria-pressed": String(!edit.enabled) });
      const mask = session.masks.get(edit.id);
      if (!mask || (mask === drawn && (mask.version === version || session.painting))) return;
      drawn = mask;
      version = mask.version;
      if (thumbnail.width !== mask.width) thumbnail.width = mask.width;
      if (thumbnail.height !== mask.height) thumbnail.height = mask.height;
      paintMask(thumbnail, mask, color);
    },
  };
}

/** Converts places: the list has the newest on top, and edits are counted from the oldest. */
function makeMovable(row: HTMLElement, grip: HTMLElement, id: string, actions: Actions): void {
  const rows = (): HTMLElement[] => [...(row.parentElement?.children ?? [])] as HTMLElement[];
  const moveTo = (place: number): void => actions.move(id, rows().length - 1 - place);
  const show = (target: HTMLElement | undefined): void => {
    for (const each of rows()) set(each, { "data-target": each === target && each !== row });
  };
  let target: HTMLElement | undefined;
  on(grip, "pointerdown", (event) => grip.setPointerCapture(event.pointerId));
  on(grip, "pointermove", (event) => {
    if (!grip.hasPointerCapture(event.pointerId)) return;
    target = rows().find((each) => event.clientY < each.getBoundingClientRect().bottom) ?? rows().at(-1);
    show(target);
  });
  on(grip, "pointerup", () => {
    if (target && target !== row) moveTo(rows().indexOf(target));
    target = undefined;
    show(target);
  });
  on(grip, "pointercancel", () => {
    target = undefined;
    show(target);
  });
  on(grip, "keydown", (event) => {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (step === 0) return;
    event.preventDefault();
    moveTo(rows().indexOf(row) + step);
    // The list may move the row, which then loses the focus.
    requestAnimationFrame(() => requestAnimationFrame(() => grip.focus()));
  });
}
