/** The visible part of the picture: pure arithmetic, without the DOM. */

import { type Box, clamp, type Point } from "../../raster/geometry";

/** `zoom` 1 shows the whole picture. (x, y) is the place of the picture in the stage's upper left corner. */
export interface Viewport {
  zoom: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export const WHOLE: Viewport = { zoom: 1, x: 0, y: 0 };

/** At the largest zoom, eight picture pixels fill the stage, so that a finger can aim at each. */
export function largestZoom(picture: Size): number {
  return Math.max(1, Math.min(picture.width, picture.height) / 8);
}

/** Limits the viewport so that the picture fills the stage. */
export function within(port: Viewport, picture: Size): Viewport {
  const zoom = clamp(port.zoom, 1, largestZoom(picture));
  return {
    zoom,
    x: clamp(port.x, 0, picture.width - picture.width / zoom),
    y: clamp(port.y, 0, picture.height - picture.height / zoom),
  };
}

/** Zooms by a factor about a place in the picture, which stays where it is on the screen. */
export function zoomedAbout(port: Viewport, factor: number, place: Point, picture: Size): Viewport {
  const zoom = clamp(port.zoom * factor, 1, largestZoom(picture));
  const shrunk = port.zoom / zoom;
  return within(
    { zoom, x: place.x - (place.x - port.x) * shrunk, y: place.y - (place.y - port.y) * shrunk },
    picture,
  );
}

/** Moves the picture with the pointer, by distances on the screen. Returns the rest that the picture cannot follow. */
export function dragged(
  port: Viewport,
  by: Point,
  box: Size,
  picture: Size,
): { port: Viewport; left: Point } {
  const across = picture.width / (Math.max(box.width, 1e-6) * port.zoom);
  const down = picture.height / (Math.max(box.height, 1e-6) * port.zoom);
  const moved = within({ zoom: port.zoom, x: port.x - by.x * across, y: port.y - by.y * down }, picture);
  return {
    port: moved,
    left: { x: by.x - (port.x - moved.x) / across, y: by.y - (port.y - moved.y) / down },
  };
}

/** Converts the browser's client coordinates to picture pixels. Pixel (0, 0) covers [0, 1) x [0, 1). */
export function toPicture(client: Point, box: Box, picture: Size, port: Viewport): Point {
  return {
    x: port.x + ((client.x - box.left) * picture.width) / (Math.max(box.width, 1e-6) * port.zoom),
    y: port.y + ((client.y - box.top) * picture.height) / (Math.max(box.height, 1e-6) * port.zoom),
  };
}
