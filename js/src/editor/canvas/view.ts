/**
 * The stage: the picture and the layers over it. From back to front, these are the segments' colors, the current
 * mask's tint, the masks' outlines, and marks that follow the hand. All of them are drawn through the viewport, at
 * the screen's own resolution.
 */

import type { Picture } from "../../core/pictures";
import type { PictureName } from "../../protocol/messages";
import { contour } from "../../raster/contour";
import type { Mask } from "../../raster/mask";
import type { Labels } from "../../raster/regions";
import { textButton } from "../buttons";
import { context2d, element, hide, set, setStyle, setText } from "../dom";
import { timeLeft } from "../format";
import { icon } from "../icons";
import { drawMarks, type Marks } from "./marks";
import { outlinePath, paintPixels, rgba, tints } from "./pixels";
import { type Viewport, WHOLE } from "./viewport";

export interface ShownMask {
  mask: Mask;
  color: string;
  /** The edit that the next stroke would change, which is highlighted. */
  current: boolean;
}

export class StageView {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly compare: HTMLButtonElement;
  /** The handle of the divider between before and after. */
  readonly divider: HTMLElement;
  readonly #segments: HTMLCanvasElement;
  readonly #tint: HTMLCanvasElement;
  readonly #outline: HTMLCanvasElement;
  readonly #marks: HTMLCanvasElement;
  readonly #badge: HTMLElement;
  readonly #after: HTMLElement;
  readonly #opening: HTMLElement;
  readonly #sizes: ResizeObserver;
  readonly #scratch = document.createElement("canvas");
  /** The sources of the canvas at the last drawing. */
  #shown: unknown[] = [];
  readonly #outlines = new WeakMap<Mask, { version: number; path: Path2D }>();
  /** The sources of the tint, the outlines and the marks at the last drawing. */
  #tinted: unknown[] = [];
  #outlined: unknown[] = [];
  #marked = "";
  /** Whether a stroke is open. Then speed counts more than the finest drawing. */
  #moving = false;
  #width = 64;
  #height = 64;
  #viewport: Viewport = WHOLE;
  /** The stage in CSS pixels. */
  #stage = { width: 0, height: 0 };

  constructor(redraw: () => void, cancel: () => void) {
    this.canvas = element("canvas", {
      class: "gp-picture",
      tabindex: 0,
      role: "application",
      "data-ganpaint-canvas": true,
      "aria-label": "Picture",
      "aria-description": "Arrow keys move the cursor, Enter paints, Escape discards a shape.",
    });
    const layer = (name: string): HTMLCanvasElement =>
      element("canvas", { class: `gp-layer ${name}`, "aria-hidden": "true" });
    this.#segments = layer("gp-colors");
    this.#tint = layer("gp-tint");
    this.#outline = layer("gp-outline");
    this.#marks = layer("gp-marks");
    this.#badge = element("div", { class: "gp-badge", "aria-hidden": "true" });
    this.#after = element("div", { class: "gp-badge gp-after", "aria-hidden": "true", hidden: true });
    this.compare = element(
      "button",
      { class: "gp-button gp-compare", "data-action": "compare", title: "Hold to see the photo (C)" },
      icon("compare"),
      element("span", {}, "Compare"),
    );
    this.divider = element(
      "div",
      {
        class: "gp-divider",
        role: "slider",
        tabindex: 0,
        hidden: true,
        "aria-label": "Border between the photo and the edited picture",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      icon("divider"),
    );
    this.#opening = element(
      "div",
      { class: "gp-opening", hidden: true },
      element("div", { class: "gp-opening-track" }, element("div", { class: "gp-bar-fill" })),
      element("div", { class: "gp-opening-left" }),
      textButton("cancel-opening", "Cancel", cancel, "gp-button gp-plain"),
    );
    const drop = element("div", { class: "gp-drop", "aria-hidden": "true" }, "Drop a picture to open it");
    this.root = element(
      "div",
      { class: "gp-stage" },
      this.canvas,
      this.#segments,
      this.#tint,
      this.#outline,
      this.#marks,
      this.divider,
      this.#badge,
      this.#after,
      this.compare,
      this.#opening,
      drop,
    );
    this.#sizes = new ResizeObserver(() => {
      this.#measure();
      redraw();
    });
    this.#sizes.observe(this.root);
  }

  destroy(): void {
    this.#sizes.disconnect();
  }

  resize(width: number, height: number, port: Viewport, moving: boolean): void {
    this.#width = width;
    this.#height = height;
    this.#viewport = port;
    this.#moving = moving;
    setStyle(this.root, "--gp-aspect", `${width} / ${height}`);
    const editor = this.root.closest<HTMLElement>(".ganpaint");
    if (editor) setStyle(editor, "--gp-ratio", String(width / height));
  }

  // -------------------------------------------------------------------------------------------------- drawing

  /**
   * Draws the picture. `covered`, the time of the newest pointer event in it, is for tests and benchmarks. Left of
   * `split`, a fraction of the stage's width, it draws the photo instead.
   */
  draw(
    name: PictureName,
    picture: Picture<ImageBitmap> | undefined,
    covered: number,
    label: string,
    photo: Picture<ImageBitmap> | undefined,
    split: number | null,
  ): void {
    const divided = split !== null && photo !== undefined && name !== "photo";
    setText(this.#badge, divided ? "Photo" : label);
    setText(this.#after, divided ? label : "");
    hide(this.#after, !divided);
    hide(this.divider, !divided);
    hide(this.compare, divided); // the divider compares, and its right side needs this corner
    if (!picture) {
      this.#fit(this.canvas);
      this.#shown = [];
      return;
    }
    // During a stroke, most frames have no new picture, and drawing the old one again would cost as much.
    const { zoom, x, y } = this.#viewport;
    const before = divided ? [photo.image, split] : [];
    const wanted = [picture.image, ...before, zoom, x, y, this.#moving, ...this.#sizeOnScreen()];
    if (differ(wanted, this.#shown)) {
      this.#shown = wanted;
      this.#drawPicture(picture, divided ? photo : null, split ?? 0);
    }
    set(this.canvas, {
      "data-shown": name,
      "data-revision": picture.revision,
      "data-sequence": picture.sequence,
      "data-covered": covered,
      "data-frame": picture.frame,
      "data-viewport": `${zoom} ${x} ${y}`,
      "aria-label": `Picture: ${label}`,
    });
  }

  #drawPicture(picture: Picture<ImageBitmap>, photo: Picture<ImageBitmap> | null, split: number): void {
    const context = this.#fit(this.canvas);
    this.#drawImage(context, picture.image);
    if (photo) {
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(split * this.canvas.width), this.canvas.height);
      context.clip();
      this.#drawImage(context, photo.image);
      context.restore();
      this.divider.style.left = `${100 * split}%`;
      this.#after.style.left = `max(${100 * split}% + 10px, 90px)`;
      set(this.divider, { "aria-valuenow": Math.round(100 * split) });
    }
  }

  drawSegments(labels: Labels | null, colors: readonly string[]): void {
    hide(this.#segments, labels === null);
    if (!labels) return;
    const context = this.#fit(this.#segments);
    const palette = new Uint32Array(256);
    for (const [label, color] of colors.entries()) palette[label] = rgba(color, 255);
    this.#drawScratch(context, labels.width, labels.height, labels.values, palette);
  }

  drawMasks(shown: ShownMask[]): void {
    const fitting = shown.filter(({ mask }) => mask.width === this.#width && mask.height === this.#height);
    this.#drawTint(fitting.filter(({ current }) => current));
    this.#drawOutlines(fitting);
  }

  #drawTint(shown: ShownMask[]): void {
    const { zoom, x, y } = this.#viewport;
    const parts = shown.flatMap(({ mask, color }) => [mask, mask.version, color]);
    const wanted = [...parts, zoom, x, y, ...this.#sizeOnScreen()];
    if (!differ(wanted, this.#tinted)) return;
    this.#tinted = wanted;
    const tint = this.#fit(this.#tint);
    for (const { mask, color } of shown) {
      this.#drawScratch(tint, mask.width, mask.height, mask.values, tints(color));
    }
  }

  #drawOutlines(shown: ShownMask[]): void {
    const { zoom, x, y } = this.#viewport;
    const place = [zoom, x, y, ...this.#sizeOnScreen()];
    // Under a moving brush, the tint shows the painted area. The outline follows at the next pause, since tracing and
    // drawing it takes as long as several pictures.
    if (this.#moving && !differ(place, this.#outlined.slice(0, place.length))) return;
    const parts = shown.flatMap(({ mask, color, current }) => [this.#outlineOf(mask), color, current]);
    const wanted = [...place, ...parts];
    if (!differ(wanted, this.#outlined)) return;
    this.#outlined = wanted;
    const outline = this.#fit(this.#outline);
    const pixel = this.#outline.width / Math.max(1, this.#stage.width);
    outline.lineCap = outline.lineJoin = "round";
    for (const { mask, color, current } of shown) {
      const path = new Path2D();
      path.addPath(this.#outlineOf(mask), this.#transform(this.#outline));
      // A light line over a dark one is visible on any picture.
      for (const [style, wide] of [
        ["rgb(0 0 0 / 0.55)", current ? 4.5 : 2.5],
        [current ? "#fff" : color, current ? 2.5 : 1.25],
        [color, current ? 1.25 : 0],
      ] as const) {
        if (wide === 0) continue;
        outline.strokeStyle = style;
        outline.lineWidth = wide * pixel;
        outline.stroke(path);
      }
    }
  }

  showMarks(marks: Marks): void {
    const erasing = this.root.closest("[data-erasing]") !== null;
    const { zoom, x, y } = this.#viewport;
    const wanted = JSON.stringify([
      marks,
      erasing,
      zoom,
      x,
      y,
      this.#width,
      this.#height,
      this.#sizeOnScreen(),
    ]);
    if (wanted === this.#marked) return;
    this.#marked = wanted;
    const context = this.#fit(this.#marks);
    const pixel = this.#marks.width / Math.max(1, this.#stage.width);
    drawMarks(context, marks, [this.#width, this.#height], this.#transform(this.#marks), pixel, erasing);
  }

  /** Shows the progress of opening a picture, or null for none. The remaining time is shown if it is long. */
  showOpening(opening: { fraction: number; secondsLeft: number | null } | null): void {
    hide(this.#opening, opening === null);
    const fill = this.#opening.querySelector<HTMLElement>(".gp-bar-fill") as HTMLElement;
    fill.style.transform = `scaleX(${opening?.fraction ?? 0})`;
    const left = opening?.secondsLeft ?? 0;
    const words = left > 3 ? `Inverting the photo: ${timeLeft(left)} left` : "";
    setText(this.#opening.querySelector(".gp-opening-left") as Element, words);
  }

  // ------------------------------------------------------------------------------------------ through the viewport

  #transform(canvas: HTMLCanvasElement): DOMMatrix {
    const across = (canvas.width * this.#viewport.zoom) / this.#width;
    const down = (canvas.height * this.#viewport.zoom) / this.#height;
    return new DOMMatrix([across, 0, 0, down, -this.#viewport.x * across, -this.#viewport.y * down]);
  }

  #drawImage(
    context: CanvasRenderingContext2D,
    image: CanvasImageSource & { width: number; height: number },
  ): void {
    const { width, height } = context.canvas;
    const { zoom, x, y } = this.#viewport;
    // At high zoom, users want to see the pixels themselves.
    context.imageSmoothingEnabled = (this.#stage.width * zoom) / this.#width < 12;
    context.imageSmoothingQuality = this.#moving ? "low" : "high";
    const across = image.width / this.#width;
    const down = image.height / this.#height;
    const source = [x * across, y * down, image.width / zoom, image.height / zoom] as const;
    context.drawImage(image, ...source, 0, 0, width, height);
  }

  /** Draws pixels given as indices into a palette. */
  #drawScratch(
    context: CanvasRenderingContext2D,
    width: number,
    height: number,
    values: Uint8Array,
    palette: Uint32Array,
  ): void {
    if (this.#scratch.width !== width) this.#scratch.width = width;
    if (this.#scratch.height !== height) this.#scratch.height = height;
    paintPixels(this.#scratch, values, palette);
    this.#drawImage(context, this.#scratch);
  }

  #outlineOf(mask: Mask): Path2D {
    const known = this.#outlines.get(mask);
    if (known?.version === mask.version) return known.path;
    const path = outlinePath(contour(mask.values, mask.width, mask.height));
    this.#outlines.set(mask, { version: mask.version, path });
    return path;
  }

  /** Keeps the stage's size, since asking the page during drawing would make it lay everything out again. */
  #measure(): void {
    this.#stage = { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  /** The stage in the device's pixels. */
  #sizeOnScreen(): [number, number] {
    const scale = window.devicePixelRatio || 1;
    const { width, height } = this.#stage;
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  }

  /** Sizes a canvas to the device's pixels and clears it. */
  #fit(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
    const [width, height] = this.#sizeOnScreen();
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = context2d(canvas);
    context.clearRect(0, 0, width, height);
    return context;
  }
}

function differ(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length !== other.length || one.some((part, at) => part !== other[at]);
}
