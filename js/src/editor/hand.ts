/**
 * What each tool does with a press, a drag and a release. Pointer and keyboard lead the same hand: with the keys, the
 * arrows move it and Enter presses.
 */

import type { Rect, Verb } from "../protocol";
import { contour } from "./contour";
import { clamp, coverage, type Dab, type Point, reach } from "./geometry";
import { erasedEdit, paintedEdit, type StrokeStart } from "./page";
import type { Painter } from "./pointers";
import type { EditorPage, Settings, Tool } from "./settings";
import { filled, footprint, polygon, type Region, rectangle, region } from "./shapes";
import type { Marks } from "./view";

/** A shape that has been begun and not ended yet. */
interface Shape {
  tool: Tool;
  erase: boolean;
  points: Point[];
}

export interface Hand extends Painter {
  /** What to draw over the picture. */
  marks(): Marks;
  /** Where the keyboard's cursor is, if it was used last. */
  readonly cursor: Point | null;
  /** Moves the keyboard's cursor by picture pixels, and says where it is. */
  step(dx: number, dy: number): string;
  /** Presses at the keyboard's cursor. */
  strike(time: number): string;
  /** Is a rectangle or a lasso being drawn? */
  readonly shaping: boolean;
  /** Gives up a shape that has been begun; false if there is none. */
  escape(): boolean;
  /** Looks at a place that is pointed at elsewhere, as in a list; null ends that. */
  point(place: Point | null): void;
  /** Takes the segment at a place. */
  take(place: Point, erase: boolean, time: number): void;
}

/**
 * `painting` is told before something is painted, `done` after. `show` draws the marks again.
 */
export function createHand(
  page: EditorPage,
  settings: Settings,
  told: { painting(): void; done(edit: string | null): void; moved(): void; say(text: string): void },
): Hand {
  let shape: Shape | null = null;
  let hovered: Point | null = null;
  let cursor: Point | null = null;
  let pointed: Point | null = null;
  let under: { region: Region; outline: number[] } | null = null;
  let labels = page.labels;

  function start(erase: boolean, verb: Verb = settings.verb, concept = settings.concept): StrokeStart {
    const { selected, strength, reference } = settings;
    const edit = erase ? erasedEdit(page.edits, selected) : paintedEdit(page.edits, selected, verb, concept);
    if (erase && !edit) told.say("There is nothing to erase yet.");
    if (verb === "restyle" && !edit && !erase && !reference) told.say("Choose a reference first.");
    return { edit, verb, concept, strength, erase, reference };
  }

  /** The segment under a place, found once for all of its pixels. */
  function segmentAt(place: Point | null): Region | null {
    if (labels !== page.labels) under = null;
    labels = page.labels;
    if (!place || !labels) return null;
    if (under && has(under.region, place)) return under.region;
    const found = region(labels, place);
    if (!found) return null;
    const [x, y, width, height] = found.rect;
    const outline = contour(found.values, width, height).map((value, at) => value + (at % 2 ? y : x));
    under = { region: found, outline };
    return found;
  }

  function take(place: Point, erase: boolean, time: number): void {
    if (!page.labels) {
      told.say("This generator has no segmenter: paint with the brush instead.");
      return;
    }
    const found = segmentAt(place);
    if (!found) return;
    const name = page.state?.classes[found.label] ?? "";
    // Who takes something away points at what it is.
    const offered = page.state?.concepts.some((concept) => concept.name === name);
    if (settings.verb === "remove" && offered && !erase) settings.concept = name;
    told.painting();
    told.done(page.fill(start(erase), found, time));
    told.say(`Took the ${name} here: ${found.area} pixels.`);
  }

  function end(time: number): void {
    const ended = shape;
    shape = null;
    told.moved();
    if (!ended) return;
    const patch = patchOf(ended);
    if (!patch) return;
    told.painting();
    told.done(page.fill(start(ended.erase), patch, time));
  }

  function patchOf({ tool, points }: Shape) {
    const { width, height } = page;
    if (tool === "lasso") return polygon(points, width, height);
    const box = boxOf(points);
    return box && filled(box);
  }

  const boxOf = (points: Point[]): Rect | null =>
    rectangle(points[0] as Point, points[points.length - 1] as Point, page.width, page.height);

  /** What the tool would touch if it pressed here. */
  function footprintAt(place: Point | null): Rect[] {
    const cells = page.state?.cells;
    if (!cells || !place || settings.comparing || !settings.footprint) return [];
    const { width, height } = page;
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

  const hand: Hand = {
    press(place, erase, time) {
      cursor = null;
      erase ||= settings.tool === "eraser";
      const { tool } = settings;
      if (tool === "segment") take(place, erase, time);
      else if (tool === "rectangle" || tool === "lasso") {
        shape = { tool, erase, points: [place] };
        told.moved();
      } else {
        told.painting();
        told.done(page.begin(start(erase), place, time));
      }
    },
    drag(place, time) {
      if (!shape) page.paint(place, time);
      else if (shape.tool === "lasso") shape.points.push(place);
      else shape.points[1] = place;
    },
    release(time) {
      if (shape) end(time);
      else if (page.painting) {
        page.end(time);
        told.done(null);
      }
    },
    giveUp() {
      shape = null;
      if (page.painting) hand.release(0);
      told.moved();
    },
    hover(place) {
      hovered = place;
      if (place) cursor = null;
      told.moved();
    },
    size: () => settings.size,
    point(place) {
      pointed = place;
      told.moved();
    },
    take,
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
        grid: settings.grid ? (page.state?.cells ?? null) : null,
        shape: shape ? outlineOf(shape) : [],
        segment: found && under ? under.outline : [],
      };
    },

    step(dx, dy) {
      hovered = null;
      cursor ??= { x: Math.floor(page.width / 2) + 0.5, y: Math.floor(page.height / 2) + 0.5 };
      cursor = {
        x: clamp(cursor.x + dx, 0.5, page.width - 0.5),
        y: clamp(cursor.y + dy, 0.5, page.height - 0.5),
      };
      if (shape?.tool === "rectangle") shape.points[1] = cursor;
      told.moved();
      const label = page.labels && (segmentAt(cursor)?.label ?? 0);
      const name = label === null ? "" : `, ${page.state?.classes[label] ?? ""}`;
      return `x ${Math.floor(cursor.x)}, y ${Math.floor(cursor.y)}${name}`;
    },
    strike(time) {
      if (!cursor) return hand.step(0, 0);
      const place: Dab = { ...cursor, radius: settings.size / 2 };
      const { tool } = settings;
      const erase = tool === "eraser";
      if (tool === "segment") {
        take(place, erase, time);
        return "";
      }
      if (tool === "brush" || tool === "eraser") {
        const at = cursor;
        hand.press(place, erase, time);
        hand.release(time);
        cursor = at;
        told.moved();
        return erase ? "Erased." : "Painted.";
      }
      if (shape?.tool !== tool) {
        shape = { tool, erase, points: tool === "lasso" ? [cursor] : [cursor, cursor] };
        told.moved();
        return tool === "lasso"
          ? "First corner. Move on and press Enter for each corner, twice for the last."
          : "First corner. Move to the opposite one and press Enter.";
      }
      const last = shape.points[shape.points.length - 1] as Point;
      const again = last.x === cursor.x && last.y === cursor.y;
      if (tool === "lasso" && !again) {
        shape.points.push(cursor);
        told.moved();
        return "Corner.";
      }
      end(time);
      return "Painted.";
    },
    escape() {
      const had = shape !== null;
      shape = null;
      told.moved();
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

  return hand;
}

function valueAt({ rect: [left, top, width, height], values }: Region, x: number, y: number): number {
  const [column, row] = [Math.floor(x) - left, Math.floor(y) - top];
  return column >= 0 && row >= 0 && column < width && row < height
    ? (values[row * width + column] as number)
    : 0;
}

const has = (found: Region, { x, y }: Point): boolean => valueAt(found, x, y) > 0;
