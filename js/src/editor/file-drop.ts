/** Takes pictures that are pasted or dropped onto the editor. */

import { on, set } from "./dom";
import { pictureIn } from "./files";

/** `wanted` returns whether files are accepted at present. */
export function attachFileDrop(root: HTMLElement, wanted: () => boolean, open: (file: File) => void): void {
  const take = (event: Event): void => {
    event.preventDefault();
    event.stopPropagation();
  };
  const carriesFiles = (event: DragEvent): boolean =>
    wanted() && (event.dataTransfer?.types.includes("Files") ?? false);
  on(root, "paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file || !wanted()) return;
    take(event);
    open(file);
  });
  on(root, "dragover", (event) => {
    if (!carriesFiles(event)) return;
    take(event);
    set(root, { "data-dropping": true });
  });
  on(root, "dragleave", (event) => {
    if (!root.contains(event.relatedTarget as Node | null)) set(root, { "data-dropping": false });
  });
  on(root, "drop", (event) => {
    set(root, { "data-dropping": false });
    if (!carriesFiles(event)) return;
    take(event);
    const file = pictureIn(event.dataTransfer) ?? event.dataTransfer?.files[0];
    if (file) open(file);
  });
}
