/** The icons, as SVG paths. */

import { set } from "./dom";

/** They are drawn on a 20 x 20 grid with strokes of 1.6, so that they look alike at the used sizes. */
const PATHS = {
  brush:
    "M16.6 3.4a1.7 1.7 0 0 0-2.4 0L8 9.8l2.2 2.2 6.4-6.2a1.7 1.7 0 0 0 0-2.4ZM7.2 10.8c-1.9 0-3 1.2-3 2.9 0 1.3-.8 2-1.7 2.3 1 .8 2.2 1.2 3.4 1.2 2.1 0 3.6-1.3 3.6-3.3 0-.4-.1-.8-.2-1.1Z",
  eraser:
    "M11.8 3.6 3.6 11.8a1.5 1.5 0 0 0 0 2.1l2.6 2.6h4.3l6-6a1.5 1.5 0 0 0 0-2.1l-4.8-4.8a1.5 1.5 0 0 0-2 0ZM7.6 7.8l5 5M6.5 16.5h10",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  undo: "M7 4 3.5 7.5 7 11M3.5 7.5h8a4.5 4.5 0 0 1 0 9H8",
  redo: "m13 4 3.5 3.5L13 11M16.5 7.5h-8a4.5 4.5 0 0 0 0 9H12",
  scene: "M3 5.5h9v9H3zM14.5 7l3 3-3 3M5 12.5l2.2-2.7 1.6 1.7 1-1.2 1.7 2.2",
  open: "M3 15.5v-10h4.5l1.5 2h8v8zM10 13.5v-4M8 11.3l2-2 2 2",
  save: "M10 3v9M6.5 8.8 10 12.3l3.5-3.5M3.5 13.5v3h13v-3",
  blend: "M10 2.8c2.8 3.3 5 5.8 5 8.9a5 5 0 0 1-10 0c0-3.1 2.2-5.6 5-8.9ZM7.7 12a2.4 2.4 0 0 0 2.3 2.4",
  eye: "M2.5 10S5 5 10 5s7.5 5 7.5 5-2.5 5-7.5 5-7.5-5-7.5-5ZM10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4Z",
  hidden:
    "m3.5 3.5 13 13M8 5.2A8 8 0 0 1 10 5c5 0 7.5 5 7.5 5a13 13 0 0 1-2.3 2.9M5.7 6.7A13 13 0 0 0 2.5 10S5 15 10 15c1.4 0 2.6-.4 3.6-.9",
  delete: "M4 5.8h12M8 5.5V3.5h4v2M5.5 5.8l.7 10.7h7.6l.7-10.7M8.5 8.8v4.7M11.5 8.8v4.7",
  compare: "M10 3v14M8 5.5H3.5v9H8M12 5.5h4.5v9H12",
  overlay: "M10 3.5 2.8 7.3 10 11.1l7.2-3.8ZM3 11l7 3.7L17 11",
  rectangle: "M3.5 5h13v10h-13z",
  lasso:
    "M10 3.5c4.1 0 7.2 2 7.2 4.7s-3.1 4.7-7.2 4.7-7.2-2-7.2-4.7S5.9 3.5 10 3.5ZM5.6 12.1a1.9 1.9 0 1 0 .9 2.9M7 13.8c.5 1.4.2 2.6-1 3.2",
  segment:
    "M11.5 8.5 4 16M13.5 3v2.5M13.5 9.5V12M9 7.5h2.5M15.5 7.5H18M10.5 4.5l1 1M16.5 4.5l-1 1M16.5 10.5l-1-1",
  grid: "M3.5 3.5h13v13h-13zM3.5 7.8h13M3.5 12.2h13M7.8 3.5v13M12.2 3.5v13",
  segments: "M3.5 3.5h13v13h-13zM3.5 11.5c3-2.5 4.5-.5 6.5-2s2.5-3.5 6.5-3M10 9.5c1 2.5-1 4 .5 7",
  divider: "M10 2.5v15M7 7.5 4.5 10 7 12.5M13 7.5l2.5 2.5-2.5 2.5",
  closer: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM13 13l3.8 3.8M9 6.7v4.6M6.7 9h4.6",
  farther: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM13 13l3.8 3.8M6.7 9h4.6",
  full: "M3.5 7.5v-4h4M16.5 7.5v-4h-4M3.5 12.5v4h4M16.5 12.5v4h-4",
  grip: "M4 7h12M4 10h12M4 13h12",
  close: "m5 5 10 10M15 5 5 15",
  restyle: "M3 5.5h7v9H3zM12.5 7.5h4.5v7h-9M5 8l1.5 2L8 8.5M11 3.5l1.5 1.5L11 6.5",
  more: "M5 10h.1M10 10h.1M15 10h.1",
  warning: "M10 3.2 2.5 16.3h15ZM10 8v4.2M10 14.2v.3",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  set(svg, { viewBox: "0 0 20 20", class: "gp-icon", "aria-hidden": "true" });
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export function setIcon(button: Element, name: IconName): void {
  if (button.getAttribute("data-icon") === name) return;
  button.setAttribute("data-icon", name);
  const shown = button.querySelector("svg");
  if (shown) shown.replaceWith(icon(name));
  else button.prepend(icon(name));
}
