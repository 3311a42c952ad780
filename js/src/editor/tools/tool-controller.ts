/**
 * The response of each tool to a press, a drag and a release. Pointer and keyboard control the same tools: the arrow
 * keys move a cursor, and Enter presses there.
 */

import { erasedEdit, paintedEdit } from "../../core/edits";
import type { StrokeOptions } from "../../core/stroke";
import type { Rect } from "../../protocol/messages";
import { contour } from "../../raster/contour";
import { footprint } from "../../raster/footprint";
import { clamp, coverage, type Dab, type Point, reach } from "../../raster/geometry";
import { connectedRegion, type Region } from "../../raster/regions";
import { filledPatch, polygon, rectangleBetween } from "../../raster/shapes";
import type { BrowserSession } from "../browser-session";
import type { Marks } from "../canvas/marks";
import type { PointerTarget } from "../canvas/pointers";
import type { SettingsStore, Tool } from "../settings";

/** An unfinished shape. */
interface Shape {
  tool: Tool;
  erase: boolean;
  points: Point[];
}

export interface ToolController extends PointerTarget {
  /** The marks to draw over the picture. */
  marks(): Marks;
  /** The place of the keyboard's cursor, if the keyboard was used last. */
  readonly cursor: Point | null;
  /** Moves the keyboard's cursor by picture pixels, and announces its place. */
  moveCursor(dx: number, dy: number): string;
  /** Presses at the keyboard's cursor. */
  pressAtCursor(time: number): string;
  /** Whether a rectangle or a lasso is unfinished. */
  readonly shaping: boolean;
  /** Abandons an unfinished shape; false if there is none. */
  cancelShape(): boolean;
  /** Previews a place that is pointed at elsewhere, for example in a list; null ends that. */
  pointAt(place: Point | null): void;
  /** Takes the segment at a place. */
  takeSegment(place: Point, erase: boolean, time: number): void;
}

export interface ToolEvents {
  /** Painting is about to begin. */
  painting(): void;
  /** An edit was painted; null if the edit is already known. */
  done(edit: string | null): void;
  /** The marks over the picture have changed. */
  moved(): void;
  /** A message for the user. */
  say(text: string): void;
}

export function createToolController(
  session: BrowserSession,
  store: SettingsStore,
  events: ToolEvents,
): ToolController {
  const settings = store.values;
  let shape: Shape | null = null;
  let hovered: Point | null = null;
  let cursor: Point | null = null;
  let pointed: Point | null = null;
  let under: { region: Region; outline: number[] } | null = null;
  let labels = session.labels;

  function options(erase: boolean): StrokeOptions {
    const { verb, concept, selected, strength, reference } = settings;
    const edit = erase
      ? erasedEdit(session.edits, selected)
      : paintedEdit(session.edits, selected, verb, concept);
    if (erase && !edit) events.say("There is nothing to erase yet.");
    if (verb === "restyle" && !edit && !erase && !reference) events.say("Choose a reference first.");
    return { edit, verb, concept, strength, erase, reference };
  }

  /** Returns the segment at a place, which is found once for all of its pixels. */
  function segmentAt(place: Point | null): Region | null {
    if (labels !== session.labels) under = null;
    labels = session.labels;
    if (!place || !labels) return null;
    if (under && has(under.region, place)) return under.region;
    const found = connectedRegion(labels, place);
    if (!found) return null;
    const [x, y, width, height] = found.rect;
    const outline = contour(found.values, width, height).map((value, at) => value + (at % 2 ? y : x));
    under = { region: found, outline };
    return found;
  }

  function takeSegment(place: Point, erase: boolean, time: number): void {
    if (!session.labels) {
      events.say("This generator has no segmenter: paint with the brush instead.");
      return;
    }
    const found = segmentAt(place);
    if (!found) return;
    const name = session.state?.classes[found.label] ?? "";
    // Users point at the object that they want to remove.
    const offered = session.state?.concepts.some((concept) => concept.name === name);
    if (settings.verb === "remove" && offered && !erase) store.change({ concept: name });
    events.painting();
    const edit = session.fill(options(erase), found, time);
    events.done(edit);
    if (edit) events.say(`Took the ${name} here: ${found.area} pixels.`);
  }

  function end(time: number): void {
    const ended = shape;
    shape = null;
    events.moved();
    if (!ended) return;
    const patch = patchOf(ended);
    if (!patch) return;
    events.painting();
    events.done(session.fill(options(ended.erase), patch, time));
  }

  function patchOf({ tool, points }: Shape) {
    const { width, height } = session;
    if (tool === "lasso") return polygon(points, width, height);
    const box = boxOf(points);
    return box && filledPatch(box);
  }

  const boxOf = (points: Point[]): Rect | null =>
    rectangleBetween(points[0] as Point, points[points.length - 1] as Point, session.width, session.height);

  /** Returns the pixels that the tool would touch if it pressed here. */
  function footprintAt(place: Point | null): Rect[] {
    const cells = session.state?.cells;
    if (!cells || !place || settings.comparing) return [];
    const { width, height } = session;
    if (settings.tool === "segment") {
      const found = segmentAt(place);
      return found ? footprint(found.rect, (x, y) => valueAt(found, x, y) > 0, cells, width, height) : [];
    }
    if (settings.tool === "rectangle" || settings.tool === "lasso") {
      const box = shape?.tool === "rectangle" ? boxOf(shape.points) : null;
      return box ? footprint(box, () => true, cells, width, height) : [];
    }
    const dab = { ...place, radius: settings.size / 2 };
    const touched = reach(dab, dab, width, height);
    const covered = (x: number, y: number) => coverage({ x: x + 0.5, y: y + 0.5 }, dab, dab) > 1 / 510;
    return touched ? footprint(touched, covered, cells, width, height) : [];
  }

  const controller: ToolController = {
    press(place, erase, time) {
      cursor = null;
      erase ||= settings.tool === "eraser";
      const { tool } = settings;
      if (tool === "segment") takeSegment(place, erase, time);
      else if (tool === "rectangle" || tool === "lasso") {
        shape = { tool, erase, points: [place] };
        events.moved();
      } else {
        events.painting();
        events.done(session.begin(options(erase), place, time));
      }
    },
    drag(place, time) {
      if (!shape) session.paint(place, time);
      else if (shape.tool === "lasso") shape.points.push(place);
      else shape.points[1] = place;
    },
    release(time) {
      if (shape) end(time);
      else if (session.painting) {
        session.end(time);
        events.done(null);
      }
    },
    cancelPress() {
      shape = null;
      if (session.painting) controller.release(0);
      events.moved();
    },
    hover(place) {
      hovered = place;
      if (place) cursor = null;
      events.moved();
    },
    size: () => settings.size,
    pointAt(place) {
      pointed = place;
      events.moved();
    },
    takeSegment,
    get cursor() {
      return cursor;
    },
    get shaping() {
      return shape !== null;
    },

    marks() {
      if (settings.tool !== "segment") pointed = null;
      const place = pointed ?? hovered ?? cursor;
      const brush = settings.tool === "brush" || settings.tool === "eraser";
      const found = settings.tool === "segment" && !settings.comparing ? segmentAt(place) : null;
      return {
        ring: brush && place ? { ...place, diameter: settings.size } : null,
        cross: cursor,
        cells: footprintAt(place),
        grid: settings.grid ? (session.state?.cells ?? null) : null,
        shape: shape ? outlineOf(shape) : [],
        segment: found && under ? under.outline : [],
      };
    },

    moveCursor(dx, dy) {
      hovered = null;
      cursor ??= { x: Math.floor(session.width / 2) + 0.5, y: Math.floor(session.height / 2) + 0.5 };
      cursor = {
        x: clamp(cursor.x + dx, 0.5, session.width - 0.5),
        y: clamp(cursor.y + dy, 0.5, session.height - 0.5),
      };
      if (shape?.tool === "rectangle") shape.points[1] = cursor;
      events.moved();
      const label = session.labels && (segmentAt(cursor)?.label ?? 0);
      const name = label === null ? "" : `, ${session.state?.classes[label] ?? ""}`;
      return `x ${Math.floor(cursor.x)}, y ${Math.floor(cursor.y)}${name}`;
    },
    pressAtCursor(time) {
      if (!cursor) return controller.moveCursor(0, 0);
      const place: Dab = { ...cursor, radius: settings.size / 2 };
      const { tool } = settings;
      const erase = tool === "eraser";
      if (tool === "segment") {
        takeSegment(place, erase, time);
        return "";
      }
      if (tool === "brush" || tool === "eraser") {
        const at = cursor;
        controller.press(place, erase, time);
        controller.release(time);
        cursor = at;
        events.moved();
        return erase ? "Erased." : "Painted.";
      }
      if (shape?.tool !== tool) {
        shape = { tool, erase, points: tool === "lasso" ? [cursor] : [cursor, cursor] };
        events.moved();
        return tool === "lasso"
          ? "First corner. Move on and press Enter for each corner, twice for the last."
          : "First corner. Move to the opposite one and press Enter.";
      }
      const last = shape.points[shape.points.length - 1] as Point;
      const again = last.x === cursor.x && last.y === cursor.y;
      if (tool === "lasso" && !again) {
        shape.points.push(cursor);
        events.moved();
        return "Corner.";
      }
      end(time);
      return "Painted.";
    },
    cancelShape() {
      const had = shape !== null;
      shape = null;
      events.moved();
      return had;
    },
  };

  function outlineOf({ tool, points }: Shape): Point[] {
    if (tool === "lasso") return cursor ? [...points, cursor] : points;
    const box = boxOf(points);
    if (!box) return [];
    const [x, y, width, height] = box;
    return [
      { x, y },
      { x: x + width, y },
      { x: x + width, y: y + height },
      { x, y: y + height },
    ];
  }

  return controller;
}

function valueAt({ rect: [left, top, width, height], values }: Region, x: number, y: number): number {
  const [column, row] = [Math.floor(x) - left, Math.floor(y) - top];
  return column >= 0 && row >= 0 && column < width && row < height
    ? (values[row * width + column] as number)
    : 0;
}

const has = (found: Region, { x, y }: Point): boolean => valueAt(found, x, y) > 0;
