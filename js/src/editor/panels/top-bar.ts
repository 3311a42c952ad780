/** The bar above the picture: title, undo and redo, scenes and files. */

import type { Actions } from "../actions";
import { actionButton } from "../buttons";
import { element, filePicker, hide, on, setText } from "../dom";
import { PICTURES } from "../files";
import { icon } from "../icons";
import type { Panel } from "../panel";
import { createGallery } from "./gallery";

/** Projects, and files beside the kernel in hosts that do not let a page save files. */
function createSaveMenu(actions: Actions): HTMLDetailsElement {
  const entry = (label: string, title: string, what: "picture" | "project", where: "page" | "kernel") => {
    const button = element("button", { "data-save": `${what}-${where}`, title }, label);
    on(button, "click", () => {
      root.open = false;
      actions.save(what, where);
    });
    return button;
  };
  const summary = element(
    "summary",
    { class: "gp-button gp-bare", title: "Show more ways to save" },
    icon("more"),
    element("span", { class: "gp-unseen" }, "More ways to save"),
  );
  const root = element(
    "details",
    { class: "gp-menu" },
    summary,
    element(
      "div",
      { class: "gp-entries" },
      entry("Save project", "Keep photo, edits and blend in one file, to continue later", "project", "page"),
      entry(
        "Save PNG in the notebook's folder",
        "Write the file where the kernel runs, if downloads do not work",
        "picture",
        "kernel",
      ),
      entry(
        "Save project in the notebook's folder",
        "Write the file where the kernel runs, if downloads do not work",
        "project",
        "kernel",
      ),
    ),
  );
  on(root, "focusout", (event) => {
    if (!root.contains(event.relatedTarget as Node | null)) root.open = false;
  });
  on(root, "keydown", (event) => {
    if (event.key !== "Escape" || !root.open) return;
    event.stopPropagation();
    root.open = false;
    summary.focus();
  });
  return root;
}

export function createTopBar(actions: Actions): Panel {
  const title = element("span", { class: "gp-title" });
  const generator = element("span", { class: "gp-generator" });
  const undo = actionButton("undo", "Undo", "undo", "Undo (Z)", actions.undo, " gp-bare");
  const redo = actionButton("redo", "Redo", "redo", "Redo (Shift+Z)", actions.redo, " gp-bare");
  const scene = actionButton("scene", "Next scene", "scene", "Edit the next scene of the gallery", () =>
    actions.scene(),
  );
  const gallery = createGallery(actions);
  const file = filePicker(`${PICTURES},.ganpaint`, actions.open);
  const open = actionButton(
    "open",
    "Open",
    "open",
    "Open a picture or a project (or drop or paste one)",
    () => file.click(),
  );
  const save = actionButton("save", "Save PNG", "save", "Save the edited picture as a PNG", () =>
    actions.save("picture", "page"),
  );
  const menu = createSaveMenu(actions);
  const root = element(
    "div",
    { class: "gp-bar" },
    element("div", { class: "gp-what" }, title, generator),
    element("div", { class: "gp-group" }, undo, redo),
    element("div", { class: "gp-group" }, scene, gallery.button, open, save, menu, file),
  );
  return {
    root,
    update(session) {
      const state = session.state;
      setText(title, state?.title ?? "Waiting for the kernel…");
      title.title = title.textContent ?? "";
      const score = state?.measures.reconstruction_decibel;
      setText(
        generator,
        state
          ? `${state.generator} · ${state.width} × ${state.height} px` +
              (typeof score === "number" ? ` · inversion ${score.toFixed(1)} dB` : "")
          : "",
      );
      undo.disabled = !session.canUndo;
      redo.disabled = !session.canRedo;
      hide(scene, state !== null && !state.has_gallery);
      gallery.update(session);
      scene.disabled = open.disabled = save.disabled = state === null;
      hide(menu, state === null);
    },
  };
}
