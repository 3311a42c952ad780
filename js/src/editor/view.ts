/**
 * The stage: the picture and what lies over it, from back to front the segments' colours, the current mask's tint, the
 * masks' outlines, and marks that follow the hand. All of it is drawn through the viewport, at the screen's own
 * resolution.
 */

import type { PictureName, Rect } from "../protocol";
import { timeLeft } from "./blend";
import { contour } from "./contour";
import { element, hide, icon, set, setStyle, setText } from "./dom";
import type { Point } from "./geometry";
import type { Mask } from "./mask";
import type { Picture } from "./page";
import type { Labels } from "./shapes";
import { type Viewport, WHOLE } from "./viewport";

export interface ShownMask {
  mask: Mask;
  color: string;
  /** The edit that the next stroke would change stands out. */
  current: boolean;
}

/** What follows the hand, in picture pixels. */
export interface Marks {
  /** The brush's outline. */
  ring: { x: number; y: number; diameter: number } | null;
  /** Where the keyboard's cursor is. */
  cross: Point | null;
  /** The layer's cells that would change. */
  cells: Rect[];
  /** The layer's whole grid: cells across and down. */
  grid: readonly [number, number] | null;
  /** A rectangle or lasso that is being drawn. */
  shape: Point[];
  /** The outline of the segment under the cursor: x0, y0, x1, y1, ... */
  segment: number[];
}

export class View {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly compare: HTMLButtonElement;
  /** The handle between before and after. */
  readonly divider: HTMLElement;
  private readonly segments: HTMLCanvasElement;
  private readonly tint: HTMLCanvasElement;
  private readonly outline: HTMLCanvasElement;
  private readonly marks: HTMLCanvasElement;
  private readonly badge: HTMLElement;
  private readonly after: HTMLElement;
  private readonly opening: HTMLElement;
  private readonly sizes: ResizeObserver;
  private readonly scratch = document.createElement("canvas");
  /** What the canvas was drawn from. */
  private shown: unknown[] = [];
  private readonly outlines = new WeakMap<Mask, { version: number; path: Path2D }>();
  /** What the tint, the outlines and the marks were drawn from. */
  private tinted: unknown[] = [];
  private outlined: unknown[] = [];
  private marked = "";
  /** Is somebody painting? Then speed counts more than the last touch. */
  private moving = false;
  private width = 64;
  private height = 64;
  private port: Viewport = WHOLE;
  /** The stage in CSS pixels. */
  private stage = { width: 0, height: 0 };

  constructor(redraw: () => void) {
    this.canvas = element("canvas", {
      class: "gp-picture",
      tabindex: 0,
      role: "application",
      "data-ganpaint-canvas": true,
      "aria-label": "Picture",
      "aria-description": "Arrow keys move the cursor, Enter paints, Escape gives a shape up.",
    });
    const layer = (name: string): HTMLCanvasElement =>
      element("canvas", { class: `gp-layer ${name}`, "aria-hidden": "true" });
    this.segments = layer("gp-colors");
    this.tint = layer("gp-tint");
    this.outline = layer("gp-outline");
    this.marks = layer("gp-marks");
    this.badge = element("div", { class: "gp-badge", "aria-hidden": "true" });
    this.after = element("div", { class: "gp-badge gp-after", "aria-hidden": "true", hidden: true });
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
    this.opening = element(
      "div",
      { class: "gp-opening", hidden: true },
      element("div", { class: "gp-opening-track" }, element("div", { class: "gp-bar-fill" })),
      element("div", { class: "gp-opening-left" }),
    );
    const drop = element("div", { class: "gp-drop", "aria-hidden": "true" }, "Drop a picture to open it");
    this.root = element(
      "div",
      { class: "gp-stage" },
      this.canvas,
      this.segments,
      this.tint,
      this.outline,
      this.marks,
      this.divider,
      this.badge,
      this.after,
      this.compare,
      this.opening,
      drop,
    );
    this.sizes = new ResizeObserver(() => {
      this.measure();
      redraw();
    });
    this.sizes.observe(this.root);
  }

  destroy(): void {
    this.sizes.disconnect();
  }

  resize(width: number, height: number, port: Viewport, moving: boolean): void {
    this.width = width;
    this.height = height;
    this.port = port;
    this.moving = moving;
    setStyle(this.root, "--gp-aspect", `${width} / ${height}`);
    const editor = this.root.closest<HTMLElement>(".ganpaint");
    if (editor) setStyle(editor, "--gp-ratio", String(width / height));
  }

  // -------------------------------------------------------------------------------------------------- drawing

  /**
   * Draws the picture and says what it covers, for tests and benchmarks outside: `covered` is the time of the newest
   * pointer event in it. Left of `split`, a fraction of the stage's width, the photo is drawn instead.
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
    setText(this.badge, divided ? "Photo" : label);
    setText(this.after, divided ? label : "");
    hide(this.after, !divided);
    hide(this.divider, !divided);
    hide(this.compare, divided); // the divider does that, and needs the corner for what is right of it
    if (!picture) {
      this.fit(this.canvas);
      this.shown = [];
      return;
    }
    // While somebody paints, most frames bring no new picture; drawing it again would cost as much as a new one.
    const { zoom, x, y } = this.port;
    const before = divided ? [photo.image, split] : [];
    const wanted = [picture.image, ...before, zoom, x, y, this.moving, ...this.sizeOnScreen()];
    if (differ(wanted, this.shown)) {
      this.shown = wanted;
      this.drawPicture(picture, divided ? photo : null, split ?? 0);
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

  private drawPicture(
    picture: Picture<ImageBitmap>,
    photo: Picture<ImageBitmap> | null,
    split: number,
  ): void {
    const context = this.fit(this.canvas);
    this.drawImage(context, picture.image);
    if (photo) {
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(split * this.canvas.width), this.canvas.height);
      context.clip();
      this.drawImage(context, photo.image);
      context.restore();
      this.divider.style.left = `${100 * split}%`;
      this.after.style.left = `max(${100 * split}% + 10px, 90px)`;
      set(this.divider, { "aria-valuenow": Math.round(100 * split) });
    }
  }

  drawSegments(labels: Labels | null, colors: readonly string[]): void {
    hide(this.segments, labels === null);
    if (!labels) return;
    const context = this.fit(this.segments);
    const palette = new Uint32Array(256);
    for (const [label, color] of colors.entries()) palette[label] = rgba(color, 255);
    this.drawScratch(context, labels.width, labels.height, labels.values, palette);
  }

  drawMasks(shown: ShownMask[]): void {
    const fitting = shown.filter(({ mask }) => mask.width === this.width && mask.height === this.height);
    this.drawTint(fitting.filter(({ current }) => current));
    this.drawOutlines(fitting);
  }

  private drawTint(shown: ShownMask[]): void {
    const { zoom, x, y } = this.port;
    const parts = shown.flatMap(({ mask, color }) => [mask, mask.version, color]);
    const wanted = [...parts, zoom, x, y, ...this.sizeOnScreen()];
    if (!differ(wanted, this.tinted)) return;
    this.tinted = wanted;
    const tint = this.fit(this.tint);
    for (const { mask, color } of shown) {
      this.drawScratch(tint, mask.width, mask.height, mask.values, tints(color));
    }
  }

  private drawOutlines(shown: ShownMask[]): void {
    const { zoom, x, y } = this.port;
    const place = [zoom, x, y, ...this.sizeOnScreen()];
    // Under a moving brush the tint tells where it has been, and the outline follows when the hand rests: to trace
    // and draw it takes as long as several pictures.
    if (this.moving && !differ(place, this.outlined.slice(0, place.length))) return;
    const parts = shown.flatMap(({ mask, color, current }) => [this.outlineOf(mask), color, current]);
    const wanted = [...place, ...parts];
    if (!differ(wanted, this.outlined)) return;
    this.outlined = wanted;
    const outline = this.fit(this.outline);
    const pixel = this.outline.width / Math.max(1, this.stage.width);
    outline.lineCap = outline.lineJoin = "round";
    for (const { mask, color, current } of shown) {
      const path = new Path2D();
      path.addPath(this.outlineOf(mask), this.transform(this.outline));
      // A dark line under a light one is seen on any picture.
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

  drawMarks(marks: Marks): void {
    const { ring, cross, cells, grid, shape, segment } = marks;
    const erasing = this.root.closest("[data-erasing]") !== null;
    const { zoom, x, y } = this.port;
    const wanted = JSON.stringify([marks, erasing, zoom, x, y, this.width, this.height, this.sizeOnScreen()]);
    if (wanted === this.marked) return;
    this.marked = wanted;
    const context = this.fit(this.marks);
    const pixel = this.marks.width / Math.max(1, this.stage.width);
    const transform = this.transform(this.marks);
    const place = (x: number, y: number): [number, number] => {
      const { x: left, y: top } = transform.transformPoint({ x, y });
      return [left, top];
    };
    /** Dark under light, so that it is seen on any picture. */
    const stroke = (path: Path2D, wide: number, light = "#fff", dark = "rgb(0 0 0 / 0.6)"): void => {
      context.strokeStyle = dark;
      context.lineWidth = (wide + 2) * pixel;
      context.stroke(path);
      context.strokeStyle = light;
      context.lineWidth = wide * pixel;
      context.stroke(path);
    };
    context.lineJoin = "round";

    if (grid) {
      const lines = new Path2D();
      for (let column = 1; column < grid[0]; column++) {
        const [x, top] = place((column * this.width) / grid[0], 0);
        lines.moveTo(Math.round(x) + 0.5, top);
        lines.lineTo(Math.round(x) + 0.5, place(0, this.height)[1]);
      }
      for (let row = 1; row < grid[1]; row++) {
        const [left, y] = place(0, (row * this.height) / grid[1]);
        lines.moveTo(left, Math.round(y) + 0.5);
        lines.lineTo(place(this.width, 0)[0], Math.round(y) + 0.5);
      }
      context.strokeStyle = "rgb(0 0 0 / 0.35)";
      context.lineWidth = 2 * pixel;
      context.stroke(lines);
      context.strokeStyle = "rgb(255 255 255 / 0.55)";
      context.lineWidth = pixel;
      context.stroke(lines);
    }
    if (cells.length > 0) {
      const path = new Path2D();
      for (const [x, y, width, height] of cells) {
        const [left, top] = place(x, y);
        const [right, bottom] = place(x + width, y + height);
        path.rect(left, top, right - left, bottom - top);
      }
      context.fillStyle = "rgb(255 255 255 / 0.14)";
      context.fill(path);
      stroke(path, 0.75, "rgb(255 255 255 / 0.75)", "rgb(0 0 0 / 0.25)");
    }
    if (segment.length > 0) {
      const path = new Path2D();
      path.addPath(pathOf(segment), transform);
      stroke(path, 1.5);
    }
    if (shape.length > 0) {
      const path = new Path2D();
      for (const { x, y } of shape) path.lineTo(...place(x, y));
      path.closePath();
      context.fillStyle = "rgb(255 255 255 / 0.2)";
      context.fill(path);
      stroke(path, 1.5);
    }
    if (ring) {
      const [x, y] = place(ring.x, ring.y);
      const path = new Path2D();
      path.arc(x, y, Math.max(2 * pixel, (ring.diameter / 2) * transform.a), 0, 2 * Math.PI);
      context.setLineDash(erasing ? [4 * pixel, 3 * pixel] : []);
      stroke(path, 1.5);
      context.setLineDash([]);
    }
    if (cross) {
      const [x, y] = place(cross.x, cross.y);
      const arm = 9 * pixel;
      const path = new Path2D();
      path.moveTo(x - arm, y);
      path.lineTo(x + arm, y);
      path.moveTo(x, y - arm);
      path.lineTo(x, y + arm);
      stroke(path, 1.5);
    }
  }

  /** A picture is being opened: how far that is, or null. How long it will take is said if that is long. */
  showOpening(opening: { fraction: number; secondsLeft: number | null } | null): void {
    hide(this.opening, opening === null);
    const fill = this.opening.querySelector<HTMLElement>(".gp-bar-fill") as HTMLElement;
    fill.style.transform = `scaleX(${opening?.fraction ?? 0})`;
    const left = opening?.secondsLeft ?? 0;
    const words = left > 3 ? `Finding the photo: ${timeLeft(left)} left` : "";
    setText(this.opening.lastElementChild as Element, words);
  }

  // ------------------------------------------------------------------------------------------ through the viewport

  private transform(canvas: HTMLCanvasElement): DOMMatrix {
    const across = (canvas.width * this.port.zoom) / this.width;
    const down = (canvas.height * this.port.zoom) / this.height;
    return new DOMMatrix([across, 0, 0, down, -this.port.x * across, -this.port.y * down]);
  }

  private drawImage(
    context: CanvasRenderingContext2D,
    image: CanvasImageSource & { width: number; height: number },
  ): void {
    const { width, height } = context.canvas;
    const { zoom, x, y } = this.port;
    // From so near, the pixels themselves are what one wants to see.
    context.imageSmoothingEnabled = (this.stage.width * zoom) / this.width < 12;
    context.imageSmoothingQuality = this.moving ? "low" : "high";
    const across = image.width / this.width;
    const down = image.height / this.height;
    const source = [x * across, y * down, image.width / zoom, image.height / zoom] as const;
    context.drawImage(image, ...source, 0, 0, width, height);
  }

  /** Draws pixels given as indices into a palette. */
  private drawScratch(
    context: CanvasRenderingContext2D,
    width: number,
    height: number,
    values: Uint8Array,
    palette: Uint32Array,
  ): void {
    if (this.scratch.width !== width) this.scratch.width = width;
    if (this.scratch.height !== height) this.scratch.height = height;
    paintPixels(this.scratch, values, palette);
    this.drawImage(context, this.scratch);
  }

  private outlineOf(mask: Mask): Path2D {
    const known = this.outlines.get(mask);
    if (known?.version === mask.version) return known.path;
    const path = pathOf(contour(mask.values, mask.width, mask.height));
    this.outlines.set(mask, { version: mask.version, path });
    return path;
  }

  /** To ask the page for this would have it lay everything out anew, in the middle of drawing. */
  private measure(): void {
    this.stage = { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  /** The stage in the device's pixels. */
  private sizeOnScreen(): [number, number] {
    const scale = window.devicePixelRatio || 1;
    const { width, height } = this.stage;
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  }

  /** Sizes a canvas to the device's pixels and clears it. */
  private fit(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
    const [width, height] = this.sizeOnScreen();
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    context.clearRect(0, 0, width, height);
    return context;
  }
}

function differ(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length !== other.length || one.some((part, at) => part !== other[at]);
}

/** Segments x0, y0, x1, y1, ... as a path. */
function pathOf(segments: readonly number[]): Path2D {
  const path = new Path2D();
  for (let at = 0; at < segments.length; at += 4) {
    path.moveTo(segments[at] as number, segments[at + 1] as number);
    path.lineTo(segments[at + 2] as number, segments[at + 3] as number);
  }
  return path;
}

/** A colour "#rrggbb" as one pixel's four bytes, in the order in which a canvas has them: red first. */
function rgba(color: string, alpha: number): number {
  const rgb = Number.parseInt(color.slice(1), 16);
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, ((rgb << 8) | alpha) >>> 0);
  return new Uint32Array(word.buffer)[0] as number;
}

/** A colour in every opacity from 0 to 255. */
function tints(color: string): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, alpha) => rgba(color, alpha));
}

/** Gives each pixel the palette's colour for its value: whole pixels at once, this is done for every piece of a stroke. */
function paintPixels(canvas: HTMLCanvasElement, values: Uint8Array, palette: Uint32Array): void {
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = palette[values[at] as number] as number;
  context.putImageData(image, 0, 0);
}

/** Fills a canvas of the mask's size with the colour, the mask's values as opacity. */
export function paintMask(canvas: HTMLCanvasElement, mask: Mask, color: string): void {
  paintPixels(canvas, mask.values, tints(color));
}
