/** What all panels have in common. */

import type { EditorSession } from "../core/session";
import type { Settings } from "./settings";

/** The session that an editor shows; its pictures are bitmaps. */
export type BrowserSession = EditorSession<ImageBitmap>;

/** A part of the interface: built once, brought up to date whenever something has changed. */
export interface Panel {
  root: HTMLElement;
  update(session: BrowserSession, settings: Readonly<Settings>): void;
}
