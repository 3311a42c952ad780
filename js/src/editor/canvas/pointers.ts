/**
 * Turns pointer events on the canvas into a press, a drag and a release of the current tool. Two fingers, the middle
 * button, or the space bar held down move the picture. The wheel with Ctrl or Command zooms.
 */

import { brushRadius, type Dab, type Point } from "../../raster/geometry";
import { on } from "../dom";
import { dragged, type Size, toPicture, type Viewport, WHOLE, within, zoomedAbout } from "./viewport";

/** The current tool, which pointers control. All places are in picture pixels. */
export interface PointerTarget {
  press(place: Dab, erase: boolean, time: number): void;
  drag(place: Dab, time: number): void;
  release(time: number): void;
  /** Cancels the press, because a second finger has come and both move the picture. */
  cancelPress(): void;
  hover(place: Point | null): void;
  /** The brush's diameter in picture pixels. */
  size(): number;
}

/** CSS pixels that a finger must move before it paints, since a second finger may follow. */
const FINGER_SLACK = 6;

export class PointerInput {
  viewport: Viewport = WHOLE;
  /** Whether the space bar is down. Then pointers move the picture. */
  spaceHeld = false;

  #painting: number | null = null;
  #panning: { pointer: number; last: Point } | null = null;
  readonly #fingers = new Map<number, Point>();
  /** A finger that is down but has not moved yet. */
  #held: { event: PointerEvent; from: Point } | null = null;

  readonly #canvas: HTMLCanvasElement;
  readonly #picture: () => Size;
  readonly #target: PointerTarget;
  readonly #moved: () => void;

  /** `moved` is called when the viewport has changed. */
  constructor(canvas: HTMLCanvasElement, picture: () => Size, target: PointerTarget, moved: () => void) {
    this.#canvas = canvas;
    this.#picture = picture;
    this.#target = target;
    this.#moved = moved;
    on(canvas, "pointerdown", this.#down);
    on(canvas, "pointermove", this.#move);
    on(canvas, "pointerup", this.#up);
    on(canvas, "pointercancel", this.#up);
    on(canvas, "lostpointercapture", this.#up);
    on(canvas, "pointerleave", () => target.hover(null));
    on(canvas, "wheel", this.#wheel, { passive: false });
    // A pen that is held still would open the menu.
    on(canvas, "contextmenu", (event) => {
      if (this.#painting !== null) event.preventDefault();
    });
  }

  /** Zooms about the middle of the visible part. */
  zoom(factor: number): void {
    const { width, height } = this.#picture();
    const { x, y, zoom } = this.viewport;
    const middle = { x: x + width / zoom / 2, y: y + height / zoom / 2 };
    this.setViewport(zoomedAbout(this.viewport, factor, middle, this.#picture()));
  }

  /** Moves the picture just enough to make a place visible. */
  reveal({ x, y }: Point): void {
    const { width, height } = this.#picture();
    const { zoom } = this.viewport;
    const [across, down] = [width / zoom, height / zoom];
    const left = Math.min(Math.max(this.viewport.x, x - 0.9 * across), x - 0.1 * across);
    const top = Math.min(Math.max(this.viewport.y, y - 0.9 * down), y - 0.1 * down);
    if (left !== this.viewport.x || top !== this.viewport.y) this.setViewport({ zoom, x: left, y: top });
  }

  setViewport(port: Viewport): void {
    this.viewport = within(port, this.#picture());
    this.#moved();
  }

  // --------------------------------------------------------------------------------------------------- events

  readonly #down = (event: PointerEvent): void => {
    // The keys act while the editor has the focus, and painting is the simplest way to focus it.
    this.#canvas.focus({ preventScroll: true });
    if (event.pointerType === "touch") {
      this.#fingers.set(event.pointerId, clientOf(event));
      if (this.#fingers.size === 2) this.#beginPinch();
      if (this.#fingers.size > 1) return;
    }
    if (this.#painting !== null || this.#panning) return;
    const middle = event.button === 1;
    const eraserEnd = event.pointerType === "pen" && event.button === 5;
    if (middle || (this.spaceHeld && event.button === 0)) {
      event.preventDefault();
      this.#capture(event);
      this.#panning = { pointer: event.pointerId, last: clientOf(event) };
      return;
    }
    if ((event.button !== 0 && !eraserEnd) || !event.isPrimary) return;
    this.#capture(event);
    if (event.pointerType === "touch") this.#held = { event, from: clientOf(event) };
    else this.#press(event, event.altKey || eraserEnd);
  };

  readonly #move = (event: PointerEvent): void => {
    if (this.#fingers.has(event.pointerId)) {
      if (this.#fingers.size > 1) {
        this.#pinch(event);
        return;
      }
      this.#fingers.set(event.pointerId, clientOf(event));
      if (this.#held) {
        const { from } = this.#held;
        if (Math.hypot(event.clientX - from.x, event.clientY - from.y) < FINGER_SLACK) return;
        this.#pressHeld();
      }
    }
    if (event.pointerId === this.#panning?.pointer) {
      this.#pan({ x: event.clientX - this.#panning.last.x, y: event.clientY - this.#panning.last.y });
      this.#panning.last = clientOf(event);
      return;
    }
    // A finger covers the ring, which would only be visible after the finger has left.
    if (event.pointerType !== "touch") this.#target.hover(this.#dab(event));
    if (event.pointerId !== this.#painting) return;
    // The browser sends one event per frame. The coalesced events have the pointer's places in between.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) {
      this.#target.drag(this.#dab(each), event.timeStamp);
    }
  };

  readonly #up = (event: PointerEvent): void => {
    this.#fingers.delete(event.pointerId);
    if (event.pointerId === this.#panning?.pointer) this.#panning = null;
    // A tap is a press as well, unless the browser takes the finger for itself.
    if (this.#held && event.type === "pointerup") this.#pressHeld();
    this.#held = null;
    if (event.pointerId !== this.#painting) return;
    this.#painting = null;
    this.#target.release(event.timeStamp);
  };

  readonly #wheel = (event: WheelEvent): void => {
    // Without a key, or without the focus, the wheel belongs to the notebook. Trackpads report a pinch as Ctrl.
    const focused = (this.#canvas.getRootNode() as Document | ShadowRoot).activeElement === this.#canvas;
    if (!focused || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    const factor = Math.exp(Math.max(-0.5, Math.min(0.5, -event.deltaY * lines * 0.004)));
    this.setViewport(zoomedAbout(this.viewport, factor, this.#place(event), this.#picture()));
  };

  // --------------------------------------------------------------------------------------------------- meaning

  #press(event: PointerEvent, erase: boolean): void {
    this.#painting = event.pointerId;
    if (event.pointerType !== "touch") this.#target.hover(this.#dab(event));
    this.#target.press(this.#dab(event), erase, event.timeStamp);
  }

  #pressHeld(): void {
    const held = this.#held;
    this.#held = null;
    if (held) this.#press(held.event, false);
  }

  #beginPinch(): void {
    this.#held = null;
    if (this.#painting === null) return;
    this.#painting = null;
    this.#target.cancelPress();
  }

  #pinch(event: PointerEvent): void {
    const before = [...this.#fingers.values()].slice(0, 2) as [Point, Point];
    this.#fingers.set(event.pointerId, clientOf(event));
    const after = [...this.#fingers.values()].slice(0, 2) as [Point, Point];
    const factor = distance(after) / Math.max(distance(before), 1);
    const middle = between(before);
    const place = this.#place({ clientX: middle.x, clientY: middle.y });
    this.viewport = zoomedAbout(this.viewport, factor, place, this.#picture());
    this.#pan({ x: between(after).x - middle.x, y: between(after).y - middle.y });
  }

  /** Scrolls the page by the part of a movement that the picture cannot follow, so that a finger is never stuck. */
  #pan(by: Point): void {
    const { port, left } = dragged(this.viewport, by, this.#canvas.getBoundingClientRect(), this.#picture());
    this.setViewport(port);
    if (this.#fingers.size > 1) scrollerOf(this.#canvas)?.scrollBy(-left.x, -left.y);
  }

  #capture(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId);
  }

  #dab(event: PointerEvent): Dab {
    return { ...this.#place(event), radius: brushRadius(this.#target.size(), event) };
  }

  #place(event: { clientX: number; clientY: number }): Point {
    return toPicture(clientOf(event), this.#canvas.getBoundingClientRect(), this.#picture(), this.viewport);
  }
}

function clientOf(event: { clientX: number; clientY: number }): Point {
  return { x: event.clientX, y: event.clientY };
}

const distance = ([a, b]: [Point, Point]): number => Math.hypot(a.x - b.x, a.y - b.y);
const between = ([a, b]: [Point, Point]): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

/** Returns the nearest ancestor that can be scrolled. */
function scrollerOf(start: Element): Element | null {
  for (let around = start.parentElement; around; around = around.parentElement) {
    const { overflowY } = getComputedStyle(around);
    if (/auto|scroll/.test(overflowY) && around.scrollHeight > around.clientHeight) return around;
  }
  return document.scrollingElement;
}
