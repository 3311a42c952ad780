/** The editor in a bare page with the fake kernel: `npm run editor`. */

import { decodePicture, download } from "../browser/pictures";
import { randomId } from "../core/random-id";
import { EditorSession } from "../core/session";
import { createEditor } from "../editor/editor";
import { FakeKernel } from "./fake-kernel";

const wishes = new URLSearchParams(location.search);
const theme = wishes.get("theme");
if (theme) document.body.dataset.jpThemeLight = String(theme === "light");

const kernel = new FakeKernel({
  delay: Number(wishes.get("delay") ?? 12),
  pause: Number(wishes.get("pause") ?? 120),
});
const session = new EditorSession<ImageBitmap>(randomId(32), {
  send: kernel.send,
  decode: decodePicture,
  release: (image) => image.close(),
  onNextFrame: (step) => requestAnimationFrame(step),
  download,
});
kernel.session = session;
// `?views=2` shows it twice, as a notebook may.
for (let views = Number(wishes.get("views") ?? 1); views > 1; views--) {
  document.body.append(document.querySelector("[data-editor]")?.cloneNode() as Node);
}
const containers = [...document.querySelectorAll<HTMLElement>("[data-editor]")];
const editors = containers.map((container) => createEditor(container, session));
session.outbox.hello();
// For tests from outside.
Object.assign(window, { ganpaint: session, editors });
setInterval(() => session.beat(performance.now()), 1000);
