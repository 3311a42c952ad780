/** The bar below the picture, with the controls of the view. */

import type { Actions } from "../actions";
import { actionButton } from "../buttons";
import { element, hide, on, press, set, setText, setValue } from "../dom";
import type { Panel } from "../panel";

export function createViewBar(
  actions: Actions,
  zoom: () => number,
  toggled: Record<"overlay" | "grid" | "segments" | "divider", () => void>,
): Panel {
  const farther = actionButton(
    "farther",
    "Zoom out",
    "farther",
    "Zoom out (-, or Ctrl and the wheel)",
    () => actions.zoom(1 / 1.5),
    " gp-bare",
  );
  const closer = actionButton(
    "closer",
    "Zoom in",
    "closer",
    "Zoom in (+, or Ctrl and the wheel); hold the space bar to move the picture",
    () => actions.zoom(1.5),
    " gp-bare",
  );
  const whole = element("button", {
    class: "gp-button gp-whole",
    "data-action": "whole",
    title: "Show the whole picture (0)",
  });
  on(whole, "click", () => actions.zoom(0));
  const overlay = actionButton(
    "overlay",
    "Masks",
    "overlay",
    "Show the painted masks (O)",
    toggled.overlay,
    " gp-bare",
  );
  const opacity = element("input", {
    type: "range",
    class: "gp-opacity",
    min: 0,
    max: 1,
    step: 0.05,
    "data-slider": "opacity",
    "aria-label": "Opacity of the mask while painting",
    title: "Set the opacity of the mask while painting",
  });
  on(opacity, "input", () => actions.change({ opacity: Number(opacity.value), overlay: true }));
  const grid = actionButton(
    "grid",
    "Grid",
    "grid",
    "Show the grid of the edit layer (G)",
    toggled.grid,
    " gp-bare",
  );
  const segments = actionButton(
    "segments",
    "Segments",
    "segments",
    "Show what the segmenter sees (Shift+S)",
    toggled.segments,
    " gp-bare",
  );
  const divider = actionButton(
    "divider",
    "Divider",
    "divider",
    "Compare: photo left, edit right of a divider (D)",
    toggled.divider,
    " gp-bare",
  );
  const full = actionButton(
    "full-screen",
    "Full screen",
    "full",
    "Show in full screen (F)",
    actions.fullScreen,
    " gp-bare",
  );
  const root = element(
    "div",
    { class: "gp-view", role: "group", "aria-label": "View" },
    element("div", { class: "gp-zoom" }, farther, whole, closer),
    element("div", { class: "gp-zoom" }, overlay, opacity),
    element("div", { class: "gp-zoom gp-last" }, segments, grid, divider, full),
  );
  return {
    root,
    update(session, settings) {
      setText(whole, `${Math.round(100 * zoom())} %`);
      set(whole, { "aria-label": `Zoom ${whole.textContent}. Show the whole picture.` });
      farther.disabled = zoom() <= 1;
      press(overlay, settings.overlay);
      press(grid, settings.grid);
      press(segments, settings.segments);
      press(divider, settings.split !== null);
      setValue(opacity, String(settings.opacity));
      opacity.style.setProperty("--gp-part", `${100 * settings.opacity}%`);
      segments.disabled = session.labels === null;
      hide(full, !document.fullscreenEnabled);
    },
  };
}
