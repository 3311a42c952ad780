/** References for restyles: a strip of samples and of the user's pictures, and a large view of the chosen one. */

import type { ReferenceTile } from "../../core/questions";
import type { Rect } from "../../protocol/messages";
import { clamp } from "../../raster/geometry";
import type { Actions } from "../actions";
import { textButton } from "../buttons";
import { element, filePicker, hide, on, set, setText } from "../dom";
import { PICTURES } from "../files";
import type { Panel } from "../panel";
import { createAnswerLine } from "./answer-line";
import { createChoices, drawTile } from "./tiles";

export function createReferencePanel(actions: Actions): Panel {
  const strip = createChoices("Reference", (key) => actions.refer({ key, region: null }));
  let awaited = false;
  const file = filePicker(PICTURES, (picture) => {
    awaited = true;
    actions.referTo(picture);
  });
  const own = textButton("refer", "Your own picture…", () => file.click());
  own.title = "Take the look from a picture of your own";
  const looking = createAnswerLine(() => {
    asked = "";
    actions.change({});
  });

  const photo = element("canvas", {
    class: "gp-refers",
    tabindex: 0,
    role: "img",
    title: "Drag a box around the part that counts. Keys: Enter, arrows; Shift and arrows resize; Delete.",
  });
  const made = element("canvas", { role: "img", "aria-label": "The generator's version of the reference" });
  const box = element("div", { class: "gp-box", hidden: true });
  const part = element("p", { class: "gp-hint" });
  const whole = textButton("no-region", "Without the box", () => choose(null));
  const chosen = element(
    "div",
    { class: "gp-chosen" },
    element(
      "figure",
      {},
      element("div", { class: "gp-frame" }, photo, box),
      element("figcaption", {}, "Reference"),
    ),
    element(
      "figure",
      {},
      element("div", { class: "gp-frame" }, made),
      element("figcaption", {}, "as ", element("i", {}, "G"), " sees it"),
    ),
    element("div", { class: "gp-part" }, part, whole),
  );
  const root = element(
    "section",
    { class: "gp-references", hidden: true },
    element("div", { class: "gp-head" }, element("h3", {}, "Reference"), own, file),
    strip.root,
    looking.root,
    chosen,
  );

  let key = "";
  let size: [number, number] = [1, 1];
  let region: Rect | null = null;
  let drawn: ReferenceTile<ImageBitmap> | null = null;
  let asked = "";

  const show = (): void => {
    hide(box, region === null);
    const [x, y, width, height] = region ?? [0, 0, 0, 0];
    const [across, down] = size;
    Object.assign(box.style, {
      left: `${(100 * x) / across}%`,
      top: `${(100 * y) / down}%`,
      width: `${(100 * width) / across}%`,
      height: `${(100 * height) / down}%`,
    });
  };
  const choose = (next: Rect | null): void => {
    region = next;
    actions.refer({ key, region });
  };

  /** The place of a pointer, in picture pixels. */
  const place = (event: PointerEvent): [number, number] => {
    const { left, top, width, height } = photo.getBoundingClientRect();
    return [
      clamp(Math.round(((event.clientX - left) / width) * size[0]), 0, size[0]),
      clamp(Math.round(((event.clientY - top) / height) * size[1]), 0, size[1]),
    ];
  };
  let corner: [number, number] | null = null;
  on(photo, "pointerdown", (event) => {
    photo.setPointerCapture(event.pointerId);
    corner = place(event);
  });
  on(photo, "pointermove", (event) => {
    if (!corner) return;
    const [x, y] = place(event);
    const wide: Rect = [Math.min(x, corner[0]), Math.min(y, corner[1]), 0, 0];
    region = [wide[0], wide[1], Math.abs(x - corner[0]), Math.abs(y - corner[1])];
    show();
  });
  on(photo, "pointerup", () => {
    corner = null;
    // A click does not draw a box.
    if (region) choose(region[2] > 1 && region[3] > 1 ? region : null);
  });
  on(photo, "pointercancel", () => {
    corner = null;
  });
  on(photo, "keydown", (event) => {
    const [across, down] = size;
    const step = Math.max(1, Math.round(across / 32));
    const [dx, dy] = (
      { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] } as const
    )[event.key] ?? [0, 0];
    if (event.key === "Enter" && !region) choose([across >> 2, down >> 2, across >> 1, down >> 1]);
    else if (event.key === "Delete" && region) choose(null);
    else if ((dx || dy) && region) {
      const [x, y, width, height] = region;
      if (event.shiftKey) {
        choose([x, y, clamp(width + dx, 2, across - x), clamp(height + dy, 2, down - y)]);
      } else choose([clamp(x + dx, 0, across - width), clamp(y + dy, 0, down - height), width, height]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    root,
    update(session, settings) {
      hide(root, settings.verb !== "restyle");
      if (root.hidden || !session.state) return;
      const { questions } = session;
      if (asked !== settings.concept) {
        asked = settings.concept;
        if (questions.sampledConcept !== asked) questions.ask({ type: "samples", concept: asked });
      }
      const { reference, concept } = settings;
      const entries = [...questions.references.values()];
      const fresh = entries.filter((entry) => entry.own).at(-1);
      if (awaited && fresh && fresh.key !== key) {
        awaited = false;
        queueMicrotask(() => actions.refer({ key: fresh.key, region: null }));
      }
      strip.update(
        entries.map((entry) => ({
          key: entry.key,
          label: entry.own ? "A picture of your own" : `Sample ${entry.key.slice(1)} of the generator`,
          tile: entry,
        })),
        reference?.key ?? null,
      );
      hide(looking.root, questions.sampledConcept === concept);
      looking.update("Searching for samples that show it…", questions.failure("samples"));
      awaited &&= questions.failure("refer") === null;
      const current = reference ? (questions.references.get(reference.key) ?? null) : null;
      hide(chosen, current === null);
      if (!reference || !current) return;
      key = reference.key;
      size = [session.width, session.height];
      if (!corner) region = reference.region;
      show();
      if (drawn !== current) {
        drawn = current;
        drawTile(photo, current, 0);
        drawTile(made, current, 1);
      }
      set(photo, {
        "aria-label": region ? "Reference, with a box around the part that counts" : "Reference",
      });
      setText(
        part,
        region
          ? "Takes the look of the box."
          : `Takes the look of each ${concept} in it. Drag a box to choose a part.`,
      );
      hide(whole, region === null);
    },
  };
}
