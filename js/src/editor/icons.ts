/** The icons, as SVG paths. */

import { set } from "./dom";

/** Drawn on a 20 x 20 grid with strokes of 1.6, so that they look alike at the sizes used. */
const PATHS = {
  brush:
    "M16.6 3.4a1.7 1.7 0 0 0-2.4 0L8 9.8l2.2 2.2 6.4-6.2a1.7 1.7 0 0 0 0-2.4ZM7.2 10.8c-1.9 0-3 1.2-3 2.9 0 1.300-.8 2-1.700 2.300 1 .8 2.200 1.200 3.400 1.200 2.100 0 3.600-1.300 3.600-3.300 0-.4-.1-.8-.2-1.100Z",
  eraser:
    "M11.800 3.600 3.600 11.800a1.500 1.500 0 0 0 0 2.100l2.600 2.600h4.300l6-6a1.500 1.500 0 0 0 0-2.100l-4.800-4.800a1.500 1.500 0 0 0-2 0ZM7.600 7.800l5 5M6.500 16.500h10",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  undo: "M7 4 3.500 7.500 7 11M3.500 7.500h8a4.500 4.500 0 0 1 0 9H8",
  redo: "m13 4 3.500 3.500L13 11M16.500 7.500h-8a4.500 4.500 0 0 0 0 9H12",
  scene: "M3 5.500h9v9H3zM14.500 7l3 3-3 3M5 12.500l2.200-2.700 1.600 1.700 1-1.200 1.700 2.200",
  open: "M3 15.500v-10h4.500l1.500 2h8v8zM10 13.500v-4M8 11.300l2-2 2 2",
  save: "M10 3v9M6.500 8.800 10 12.300l3.500-3.500M3.500 13.500v3h13v-3",
  blend:
    "M10 2.800c2.800 3.300 5 5.800 5 8.900a5 5 0 0 1-10 0c0-3.100 2.200-5.600 5-8.900ZM7.700 12a2.400 2.400 0 0 0 2.300 2.400",
  eye: "M2.500 10S5 5 10 5s7.500 5 7.500 5-2.500 5-7.500 5-7.500-5-7.500-5ZM10 12.200a2.200 2.200 0 1 0 0-4.400 2.200 2.200 0 0 0 0 4.400Z",
  hidden:
    "m3.500 3.500 13 13M8 5.200A8 8 0 0 1 10 5c5 0 7.500 5 7.500 5a13 13 0 0 1-2.300 2.900M5.700 6.700A13 13 0 0 0 2.500 10S5 15 10 15c1.400 0 2.600-.4 3.600-.9",
  delete:
    "M4 5.800h12M8 5.500V3.500h4v2M5.500 5.800l.7 10.700h7.600l.7-10.700M8.500 8.800v4.700M11.500 8.800v4.700",
  compare: "M10 3v14M8 5.500H3.500v9H8M12 5.500h4.500v9H12",
  overlay: "M10 3.500 2.800 7.300 10 11.100l7.200-3.800ZM3 11l7 3.700L17 11",
  rectangle: "M3.500 5h13v10h-13z",
  lasso:
    "M10 3.500c4.100 0 7.200 2 7.200 4.700s-3.100 4.700-7.200 4.700-7.200-2-7.200-4.700S5.900 3.500 10 3.500ZM5.600 12.100a1.900 1.900 0 1 0 .9 2.900M7 13.800c.5 1.400.2 2.600-1 3.200",
  segment:
    "M11.500 8.500 4 16M13.500 3v2.500M13.500 9.500V12M9 7.500h2.500M15.500 7.500H18M10.500 4.500l1 1M16.500 4.500l-1 1M16.500 10.500l-1-1",
  grid: "M3.500 3.500h13v13h-13zM3.500 7.800h13M3.500 12.200h13M7.800 3.500v13M12.200 3.500v13",
  segments:
    "M3.500 3.500h13v13h-13zM3.500 11.500c3-2.500 4.500-.5 6.500-2s2.500-3.500 6.500-3M10 9.500c1 2.500-1 4 .5 7",
  divider: "M10 2.500v15M7 7.500 4.500 10 7 12.500M13 7.500l2.500 2.500-2.500 2.500",
  closer:
    "M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11ZM13 13l3.800 3.800M9 6.700v4.600M6.700 9h4.600",
  farther: "M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11ZM13 13l3.800 3.800M6.700 9h4.600",
  full: "M3.500 7.500v-4h4M16.500 7.500v-4h-4M3.500 12.500v4h4M16.500 12.500v4h-4",
  grip: "M4 7h12M4 10h12M4 13h12",
  close: "m5 5 10 10M15 5 5 15",
  restyle: "M3 5.500h7v9H3zM12.500 7.500h4.500v7h-9M5 8l1.500 2L8 8.500M11 3.500l1.500 1.500L11 6.500",
  more: "M5 10h.1M10 10h.1M15 10h.1",
  warning: "M10 3.200 2.500 16.300h15ZM10 8v4.200M10 14.200v.3",
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
