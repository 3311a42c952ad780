/**
 * The canvas: the picture, over it the masks (a tint and an outline), and the brush's ring. It turns pointer events
 * into dabs in picture pixels; what they paint is the editor's business.
 */

import type { PictureName } from "../protocol";
import { contour } from "./contour";
import { element, icon, set, setText } from "./dom";
import { brushRadius, type Dab, toPicture } from "./geometry";
import type { Mask } from "./mask";
import type { Picture } from "./page";

export interface Hand {
  begin(dab: Dab, time: number): void;
  move(dab: Dab, time: number): void;
  end(time: number): void;
  /** The brush's diameter in picture pixels. */
  size(): number;
}

export interface ShownMask {
  mask: Mask;
  color: string;
  /** The edit that the next stroke would change stands out. */
  current: boolean;
}

export class View {
  readonly root: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly compare: HTMLButtonElement;
  private readonly stage: HTMLElement;
  private readonly tint: HTMLCanvasElement;
  private readonly outline: HTMLCanvasElement;
  private readonly ring: HTMLElement;
  private readonly badge: HTMLElement;
  private readonly sizes: ResizeObserver;
  private readonly scratch = document.createElement("canvas");
  private pointer: number | null = null;
  private width = 64;
  private height = 64;
  private hover: { x: number; y: number } | null = null;

  constructor(
    private readonly hand: Hand,
    redraw: () => void,
  ) {
    this.canvas = element("canvas", {
      class: "gp-picture",
      tabindex: 0,
      role: "img",
      "data-ganpaint-canvas": true,
      "aria-label": "Picture. Paint with the pointer.",
    });
    this.tint = element("canvas", { class: "gp-tint", "aria-hidden": "true" });
    this.outline = element("canvas", { class: "gp-outline", "aria-hidden": "true" });
    this.ring = element("div", { class: "gp-ring", hidden: true, "aria-hidden": "true" });
    this.badge = element("div", { class: "gp-badge", "aria-hidden": "true" });
    this.compare = element(
      "button",
      { class: "gp-button gp-compare", "data-action": "compare", title: "Hold to see the photo (C)" },
      icon("compare"),
      element("span", {}, "Compare"),
    );
    const drop = element("div", { class: "gp-drop", "aria-hidden": "true" }, "Drop a picture to open it");
    this.stage = element(
      "div",
      { class: "gp-stage" },
      this.canvas,
      this.tint,
      this.outline,
      this.ring,
      this.badge,
      this.compare,
      drop,
    );
    this.root = this.stage;

    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", this.down);
    canvas.addEventListener("pointermove", this.move);
    canvas.addEventListener("pointerup", this.up);
    canvas.addEventListener("pointercancel", this.up);
    canvas.addEventListener("lostpointercapture", this.up);
    canvas.addEventListener("pointerleave", () => this.point(null));
    this.sizes = new ResizeObserver(redraw);
    this.sizes.observe(this.stage);
  }

  destroy(): void {
    this.sizes.disconnect();
  }

  resize(width: number, height: number): void {
    this.width = width;
    this.height = height;
    this.stage.style.setProperty("--gp-aspect", `${width} / ${height}`);
    this.moveRing();
  }

  // -------------------------------------------------------------------------------------------------- drawing

  /** Draws the picture at the screen's own resolution and says what it covers, for tests and benchmarks outside. */
  draw(name: PictureName, picture: Picture<ImageBitmap> | undefined, label: string): void {
    const context = this.fit(this.canvas);
    setText(this.badge, label);
    if (!picture) return;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.image, 0, 0, this.canvas.width, this.canvas.height);
    set(this.canvas, {
      "data-shown": name,
      "data-revision": picture.revision,
      "data-sequence": picture.sequence,
      "data-covered": picture.covered,
      "data-frame": picture.frame,
      "aria-label": `${label}. Paint with the pointer.`,
    });
  }

  drawMasks(shown: ShownMask[]): void {
    const tint = this.fit(this.tint);
    const outline = this.fit(this.outline);
    const across = this.tint.width / this.width;
    const down = this.tint.height / this.height;
    const pixel = this.tint.width / Math.max(1, this.stage.clientWidth);
    tint.imageSmoothingQuality = "high";
    outline.lineCap = "round";
    for (const { mask, color, current } of shown) {
      if (mask.width !== this.width || mask.height !== this.height) continue;
      if (current) {
        this.fillScratch(mask, color);
        tint.drawImage(this.scratch, 0, 0, this.tint.width, this.tint.height);
      }
      const segments = contour(mask.values, mask.width, mask.height);
      const path = new Path2D();
      for (let at = 0; at < segments.length; at += 4) {
        path.moveTo((segments[at] as number) * across, (segments[at + 1] as number) * down);
        path.lineTo((segments[at + 2] as number) * across, (segments[at + 3] as number) * down);
      }
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

  /** The mask as a picture of one colour, its values as opacity. */
  private fillScratch(mask: Mask, color: string): void {
    this.scratch.width = mask.width;
    this.scratch.height = mask.height;
    paintMask(this.scratch, mask, color);
  }

  /** Sizes a canvas to the device's pixels and clears it. */
  private fit(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
    const scale = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(this.stage.clientWidth * scale));
    const height = Math.max(1, Math.round(this.stage.clientHeight * scale));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    context.clearRect(0, 0, width, height);
    return context;
  }

  // -------------------------------------------------------------------------------------------------- pointer

  private dab(event: PointerEvent): Dab {
    const point = toPicture(
      { x: event.clientX, y: event.clientY },
      this.canvas.getBoundingClientRect(),
      this.width,
      this.height,
    );
    return { ...point, radius: brushRadius(this.hand.size(), event) };
  }

  private readonly down = (event: PointerEvent): void => {
    if (this.pointer !== null || event.button !== 0 || !event.isPrimary) return;
    // The keys act while the editor has the focus, and painting is the plainest way to give it.
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.point(event);
    this.hand.begin(this.dab(event), event.timeStamp);
  };

  private readonly move = (event: PointerEvent): void => {
    this.point(event);
    if (event.pointerId !== this.pointer) return;
    // The browser hands over one event a frame; the coalesced ones are where the hand has been in between.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) this.hand.move(this.dab(each), event.timeStamp);
  };

  private readonly up = (event: PointerEvent): void => {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.hand.end(event.timeStamp);
  };

  private point(event: PointerEvent | null): void {
    // A finger covers the ring: it would only be seen after the finger has gone.
    if (!event || event.pointerType === "touch") this.hover = null;
    else {
      const box = this.canvas.getBoundingClientRect();
      this.hover = { x: event.clientX - box.left, y: event.clientY - box.top };
    }
    this.moveRing();
  }

  /** The ring has the brush's true size on the screen. */
  moveRing(): void {
    const ring = this.ring;
    const hover = this.hover;
    ring.hidden = hover === null;
    if (!hover) return;
    const diameter = Math.max(4, (this.hand.size() * this.stage.clientWidth) / this.width);
    ring.style.width = ring.style.height = `${diameter}px`;
    ring.style.transform = `translate(${hover.x - diameter / 2}px, ${hover.y - diameter / 2}px)`;
  }
}

/** Fills a canvas of the mask's size with the colour, the mask's values as opacity. */
export function paintMask(canvas: HTMLCanvasElement, mask: Mask, color: string): void {
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(mask.width, mask.height);
  const rgb = Number.parseInt(color.slice(1), 16);
  for (let at = 0; at < mask.values.length; at++) {
    image.data[4 * at] = (rgb >> 16) & 255;
    image.data[4 * at + 1] = (rgb >> 8) & 255;
    image.data[4 * at + 2] = rgb & 255;
    image.data[4 * at + 3] = mask.values[at] as number;
  }
  context.putImageData(image, 0, 0);
}
