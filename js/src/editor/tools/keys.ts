/** The keys, which act only while the focus is inside the editor. */

export type KeyAction =
  | "brush"
  | "eraser"
  | "rectangle"
  | "lasso"
  | "segment"
  | "add"
  | "remove"
  | "restyle"
  | "smaller"
  | "larger"
  | "undo"
  | "redo"
  | "compare"
  | "overlay"
  | "divider"
  | "grid"
  | "segments"
  | "fullScreen"
  | "faithful"
  | "closer"
  | "farther"
  | "whole"
  | "escape";

export interface Pressed {
  key: string;
  shiftKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

const PLAIN: Record<string, KeyAction> = {
  b: "brush",
  e: "eraser",
  m: "rectangle",
  l: "lasso",
  s: "segment",
  a: "add",
  r: "remove",
  t: "restyle",
  "[": "smaller",
  "]": "larger",
  z: "undo",
  c: "compare",
  o: "overlay",
  d: "divider",
  g: "grid",
  f: "fullScreen",
  p: "faithful",
  "+": "closer",
  "=": "closer",
  "-": "farther",
  "0": "whole",
};

/** Returns the action of a key; null for a key without one. */
export function keyAction(event: Pressed): KeyAction | null {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (event.altKey) return null;
    if (key === "z") return event.shiftKey ? "redo" : "undo";
    return key === "y" && !event.shiftKey ? "redo" : null;
  }
  if (event.key === "Escape") return "escape";
  // "[" and "]" need AltGr on some keyboards, which browsers report as Alt.
  if (event.altKey && key !== "[" && key !== "]") return null;
  if (key === "z" && event.shiftKey) return "redo";
  if (key === "s" && event.shiftKey) return "segments";
  return Object.hasOwn(PLAIN, key) ? (PLAIN[key] as KeyAction) : null;
}

/** The steps of the arrow keys, across and down. */
export const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
