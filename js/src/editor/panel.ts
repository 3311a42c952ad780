/** The interface of all panels. */

import type { BrowserSession } from "./browser-session";
import type { Settings } from "./settings";

/** A part of the editor, which is built once and updated whenever something has changed. */
export interface Panel {
  root: HTMLElement;
  update(session: BrowserSession, settings: Readonly<Settings>): void;
}
