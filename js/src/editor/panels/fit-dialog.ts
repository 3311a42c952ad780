/** Asks which square of a photo to edit, and shows both. */

import type { Fit } from "../../protocol/messages";
import { textButton } from "../buttons";
import { context2d, element, on } from "../dom";

const SIDE = 176;
/** A photo this close to a square is cropped without a question. */
const SQUARE = 0.02;

/** Asks how a photo becomes a square; null if the user cancels or the editor ends. The kernel has the same rules. */
export async function askFit(host: HTMLElement, file: File, life: AbortSignal): Promise<Fit | null> {
  // The kernel may read files that the browser cannot.
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return "crop";
  try {
    if (Math.abs(image.width / image.height - 1) <= SQUARE) return "crop";
    return await chosen(host, file.name, image, life);
  } finally {
    image.close();
  }
}

function chosen(host: HTMLElement, name: string, image: ImageBitmap, life: AbortSignal): Promise<Fit | null> {
  return new Promise((resolve) => {
    let fit: Fit | null = null;
    const choice = (value: Fit, label: string, text: string): HTMLButtonElement => {
      const button = element(
        "button",
        { class: "gp-fit", "data-fit": value },
        drawn(image, value),
        element("strong", {}, label),
        element("span", {}, text),
      );
      on(button, "click", () => {
        fit = value;
        dialog.close();
      });
      return button;
    };
    const close = (): void => dialog.close();
    const cancel = textButton("cancel-open", "Cancel", close, "gp-button gp-plain");
    const title = `${name}: ${image.width} × ${image.height} pixels. Which square do you want to edit?`;
    const dialog = element(
      "dialog",
      { class: "gp-dialog", "aria-label": title },
      element("p", {}, title),
      element(
        "div",
        { class: "gp-fits" },
        choice("crop", "Crop", "The middle, larger"),
        choice("pad", "Pad", "All of it, smaller, with mirrored edges"),
      ),
      element("p", { class: "gp-hint" }, "The result goes back into the photo at its full size."),
      cancel,
    );
    // The editor's keys do not act here.
    on(dialog, "keydown", (event) => event.stopPropagation());
    on(dialog, "close", () => {
      dialog.remove();
      life.removeEventListener("abort", close);
      resolve(fit);
    });
    // If it left the page with its editor, it would never be closed.
    life.addEventListener("abort", close);
    host.append(dialog);
    dialog.showModal();
  });
}

/** The square that the kernel will make of a photo. */
function drawn(image: ImageBitmap, fit: Fit): HTMLCanvasElement {
  const pixels = Math.round(SIDE * devicePixelRatio);
  const canvas = element("canvas", { width: pixels, height: pixels, "aria-hidden": "true" });
  const context = context2d(canvas);
  context.imageSmoothingQuality = "high";
  const side = fit === "crop" ? Math.min(image.width, image.height) : Math.max(image.width, image.height);
  const [width, height] = [(image.width / side) * pixels, (image.height / side) * pixels];
  const [left, top] = [(pixels - width) / 2, (pixels - height) / 2];
  // The photo, with as many mirrored copies on both sides as the square has room for.
  const across = Math.max(0, Math.ceil(left / width));
  const down = Math.max(0, Math.ceil(top / height));
  for (let row = -down; row <= down; row++) {
    for (let column = -across; column <= across; column++) {
      context.save();
      context.translate(left + column * width + width / 2, top + row * height + height / 2);
      context.scale(column % 2 ? -1 : 1, row % 2 ? -1 : 1);
      context.drawImage(image, -width / 2, -height / 2, width, height);
      context.restore();
    }
  }
  return canvas;
}
