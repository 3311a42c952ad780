import type { EditorSession } from "../core/session";

/** The session that an editor shows; its pictures are bitmaps. */
export type BrowserSession = EditorSession<ImageBitmap>;
