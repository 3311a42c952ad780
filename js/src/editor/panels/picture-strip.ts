/** The four pictures, any of which can be put on the canvas. */

import type { Picture } from "../../core/pictures";
import type { PictureName } from "../../protocol/messages";
import type { Actions } from "../actions";
import { context2d, element, on, press, setText } from "../dom";
import type { Panel } from "../panel";

/** The name of a picture in words and in the method's notation, with the e as a subscript. */
export const PICTURES: Record<
  PictureName,
  { label: string; symbol: string; subscript: string; after: string }
> = {
  photo: { label: "Photo", symbol: "x", subscript: "", after: "" },
  reconstruction: { label: "Reconstruction", symbol: "G(z", subscript: "", after: ")" },
  preview: { label: "Preview", symbol: "G(z", subscript: "e", after: ")" },
  result: { label: "Result", symbol: "G′(z", subscript: "e", after: ")" },
};

export function createPictureStrip(actions: Actions): Panel {
  const root = element("div", { class: "gp-strip", role: "group", "aria-label": "Pictures" });
  const entries = (Object.keys(PICTURES) as PictureName[]).map((name) => {
    const { label, symbol, subscript, after } = PICTURES[name];
    const canvas = element("canvas", { width: 64, height: 64 });
    const notation = element("span", {}, symbol);
    const button = element(
      "button",
      { class: "gp-thumb", "data-picture": name, "aria-pressed": "false" },
      element("span", { class: "gp-frame" }, canvas),
      element(
        "span",
        { class: "gp-caption" },
        element("span", { class: "gp-name" }, label),
        element("i", {}, notation, element("sub", {}, subscript), after),
      ),
    );
    on(button, "click", () => actions.show(name));
    root.append(button);
    return { name, button, canvas, symbol: notation, drawn: null as Picture<ImageBitmap> | null };
  });
  return {
    root,
    update(session, settings) {
      for (const entry of entries) {
        const { name, button, canvas, symbol } = entry;
        const picture = session.pictures.get(name) ?? null;
        press(button, settings.shown === name);
        if (name === "preview") setText(symbol, session.state?.faithful?.ready ? "G′(z" : "G(z");
        button.disabled = picture === null;
        button.title = picture
          ? `Show the ${PICTURES[name].label.toLowerCase()} on the canvas`
          : name === "result"
            ? "The blended picture will appear here"
            : "Not drawn yet";
        // Not during a stroke, when the user looks at the large picture.
        if (picture === entry.drawn || (picture && entry.drawn && session.painting)) continue;
        entry.drawn = picture;
        const context = context2d(canvas);
        if (picture) {
          canvas.width = picture.image.width;
          canvas.height = picture.image.height;
          context.drawImage(picture.image, 0, 0);
        } else context.clearRect(0, 0, canvas.width, canvas.height);
      }
    },
  };
}
