/** Small pictures to choose from: buttons that show a part of a sheet. */

import type { Tile } from "../../core/questions";
import { context2d, element, on, press } from "../dom";

/** Draws a tile of a sheet with so many rows. */
export function drawTile(canvas: HTMLCanvasElement, tile: Tile<ImageBitmap>, row = 0): void {
  const side = tile.sheet.width / tile.columns;
  canvas.width = canvas.height = side;
  const context = context2d(canvas);
  context.drawImage(tile.sheet, tile.column * side, row * side, side, side, 0, 0, side, side);
}

export interface Choice {
  key: string;
  label: string;
  tile: Tile<ImageBitmap>;
}

/** Updates a row of tiles to the present choices. */
export function createChoices(label: string, choose: (key: string) => void) {
  const root = element("div", { class: "gp-choices", role: "group", "aria-label": label });
  let shown: Tile<ImageBitmap>[] = [];
  return {
    root,
    update(choices: Choice[], chosen: string | null): void {
      const tiles = choices.map(({ tile }) => tile);
      if (tiles.length !== shown.length || tiles.some((tile, at) => tile !== shown[at])) {
        shown = tiles;
        root.replaceChildren(
          ...choices.map((choice) => {
            const canvas = element("canvas", { "aria-hidden": "true" });
            drawTile(canvas, choice.tile);
            const attributes = { class: "gp-choice", "data-choice": choice.key, title: choice.label };
            const name = element("span", { class: "gp-unseen" }, choice.label);
            const button = element("button", attributes, canvas, name);
            on(button, "click", () => choose(choice.key));
            return button;
          }),
        );
      }
      for (const [at, button] of [...root.children].entries()) press(button, choices[at]?.key === chosen);
    },
  };
}
