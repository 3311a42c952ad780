/** The picture's segments as a list, for the segment tool: an overview, and a way without a pointer. */

import { type Labels, largestRegions, type RegionSummary } from "../../raster/regions";
import type { Actions } from "../actions";
import { element, hide, on } from "../dom";
import type { Panel } from "../panel";

const STEPS: Record<string, number> = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };

export function createSegmentList(actions: Actions): Panel {
  const list = element("div", {
    class: "gp-listed",
    role: "toolbar",
    "aria-orientation": "vertical",
    "aria-label": "Segments, the largest first",
  });
  const root = element(
    "section",
    { class: "gp-regions", hidden: true },
    element("div", { class: "gp-head" }, element("h3", {}, "Segments, the largest first")),
    list,
  );
  let shown: Labels | null = null;

  function row({ label, part, inside, place }: RegionSummary, classes: readonly string[]): HTMLButtonElement {
    const name = classes[label] ?? "";
    const where = `${(100 * part).toFixed(part < 0.01 ? 1 : 0)} %, ${place}`;
    const button = element(
      "button",
      { class: "gp-region", "data-segment": name, tabindex: -1 },
      element("span", {}, name, element("span", { class: "gp-unseen" }, ", ")),
      element("span", { class: "gp-hint" }, where),
    );
    for (const come of ["focus", "pointerenter"] as const) on(button, come, () => actions.pointAt(inside));
    for (const go of ["blur", "pointerleave"] as const) on(button, go, () => actions.pointAt(null));
    on(button, "click", (event) => actions.takeSegment(inside, event.altKey, event.timeStamp));
    // Some browsers do not turn Enter with Alt into a click.
    on(button, "keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) actions.takeSegment(inside, event.altKey, event.timeStamp);
    });
    return button;
  }

  // The list is one stop for Tab. Inside it, the arrow keys move between segments.
  on(list, "focusin", (event) => {
    for (const each of list.children) each.setAttribute("tabindex", each === event.target ? "0" : "-1");
  });
  on(list, "keydown", (event) => {
    const rows = [...list.children] as HTMLElement[];
    const at = rows.indexOf(event.target as HTMLElement);
    const step = STEPS[event.key];
    const next =
      event.key === "Home" ? 0 : event.key === "End" ? rows.length - 1 : step === undefined ? -1 : at + step;
    if (!rows[next]) return;
    event.preventDefault();
    rows[next].focus();
  });

  return {
    root,
    update(session, settings) {
      hide(root, settings.tool !== "segment" || !session.labels);
      if (root.hidden || shown === session.labels) return;
      shown = session.labels as Labels;
      actions.pointAt(null);
      list.replaceChildren(...largestRegions(shown).map((each) => row(each, session.state?.classes ?? [])));
      list.firstElementChild?.setAttribute("tabindex", "0");
    },
  };
}
