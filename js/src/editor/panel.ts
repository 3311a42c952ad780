/** What all panels have in common. */

import type { BrowserSession } from "./browser-session";
import type { Settings } from "./settings";

/** A part of the interface: built once, brought up to date whenever something has changed. */
export interface Panel {
  root: HTMLElement;
  update(session: BrowserSession, settings: Readonly<Settings>): void;
}
