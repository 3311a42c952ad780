/** The editor in a bare page with the fake kernel: `npm run editor`. */

import { createEditor } from "./editor/editor";
import { decodePicture, download } from "./editor/files";
import { Page, randomId } from "./editor/page";
import { FakeKernel } from "./fake";

const wishes = new URLSearchParams(location.search);
const theme = wishes.get("theme");
if (theme) document.body.dataset.jpThemeLight = String(theme === "light");

const kernel = new FakeKernel({
  delay: Number(wishes.get("delay") ?? 12),
  pause: Number(wishes.get("pause") ?? 120),
});
const page = new Page<ImageBitmap>(randomId(32), {
  send: kernel.send,
  decode: decodePicture,
  tick: (step) => requestAnimationFrame(step),
  download,
});
kernel.page = page;
// `?views=2` shows it twice, as a notebook may.
for (let views = Number(wishes.get("views") ?? 1); views > 1; views--) {
  document.body.append(document.querySelector("[data-editor]")?.cloneNode() as Node);
}
for (const container of document.querySelectorAll<HTMLElement>("[data-editor]"))
  createEditor(container, page);
page.outbox.hello();
// For tests from outside.
Object.assign(window, { ganpaint: page });
setInterval(() => page.beat(performance.now()), 1000);
