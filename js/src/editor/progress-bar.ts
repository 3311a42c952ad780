/** A progress bar with its percentage, for jobs of the kernel. */

import { element, set, setText } from "./dom";

export interface ProgressBar {
  root: HTMLElement;
  /** Shows the progress of a job, from 0 to 1. */
  show(fraction: number): void;
}

export function createProgressBar(label: string): ProgressBar {
  const bar = element("div", { class: "gp-bar-fill" });
  const text = element("span", { class: "gp-percent" });
  const range = { "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": label };
  const root = element("div", { class: "gp-progress", role: "progressbar", ...range }, bar, text);
  return {
    root,
    show(fraction) {
      const percent = Math.round(100 * fraction);
      set(root, { "aria-valuenow": percent });
      bar.style.transform = `scaleX(${fraction})`;
      setText(text, `${percent} %`);
    },
  };
}
