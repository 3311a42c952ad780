/** Details of the selected edit: the units that take part, its target, and its other versions. */

import type { EditChanges, Target, Units } from "../../protocol/messages";
import type { Actions } from "../actions";
import { element, hide, on, setText, setValue } from "../dom";
import type { Panel } from "../panel";
import { createAnswerLine } from "./answer-line";
import { createChoices } from "./tiles";

const UNITS: [string, string][] = [
  ["", "all"],
  ["low", "the 4 best"],
  ["medium", "the 10 best"],
  ["high", "the 15 best"],
  ["own", "chosen in Python"],
];
const TARGETS: [Target, string][] = [
  ["tuned", "tuned"],
  ["exemplar", "one true object"],
  ["quantile", "high: the 0.99 quantile"],
  ["mean", "mean over the concept"],
];

function select(label: string, name: string, options: [string, string][], chosen: (value: string) => void) {
  const input = element("select", { "data-select": name });
  for (const [value, text] of options) input.append(element("option", { value }, text));
  on(input, "change", () => chosen(input.value));
  return { input, root: element("label", { class: "gp-select-row" }, element("span", {}, label), input) };
}

export function createFineTuning(actions: Actions): Panel {
  const update = (changes: EditChanges): void => actions.updateEdit(changes);
  const units = select("Units", "units", UNITS, (value) => update({ units: (value || null) as Units }));
  const target = select("Target", "target", TARGETS, (value) => update({ target: value as Target }));
  const versions = createChoices("Variants", (key) => update({ variant: Number(key) }));
  const line = createAnswerLine(() => {
    asked = "";
    again();
  });
  const variants = element("div", { class: "gp-versions" }, line.root, versions.root);
  const summary = element("summary", {});
  const root = element(
    "details",
    { class: "gp-more", "data-panel": "tuning" },
    summary,
    variants,
    units.root,
    target.root,
  );
  let again = (): void => {};
  on(root, "toggle", () => again());

  /** The edit and the state for which the present variants were requested. */
  let asked = "";
  return {
    root,
    update(session, settings) {
      const edit = session.edits.find(({ id }) => id === settings.selected);
      hide(root, !edit || edit.verb === "suppress" || !session.state);
      if (!edit || !session.state || root.hidden) return;
      setText(summary, `Fine-tune “${edit.verb} ${edit.concept}”`);
      setValue(units.input, edit.units ?? "");
      hide(units.input.lastElementChild as HTMLElement, edit.units !== "own");
      setValue(target.input, edit.target ?? "tuned");
      hide(variants, edit.verb !== "add");
      hide(target.root, edit.verb !== "add");
      if (variants.hidden) return;

      // The variants include the other edits, so they are requested again when any edit has changed and come to rest.
      const { revision } = session.state;
      again = (): void => {
        const wanted = `${edit.id} ${revision}`;
        if (!root.open || wanted === asked || session.painting || session.outbox.waiting > 0) return;
        asked = wanted;
        session.questions.ask({ type: "variants", edit: edit.id });
      };
      again();
      const tiles = session.questions.variants?.edit === edit.id ? session.questions.variants.tiles : [];
      const words = tiles.length ? "Other plausible versions." : "Drawing other versions…";
      line.update(words, session.questions.failure("variants"));
      versions.update(
        tiles.map((tile, number) => ({
          key: String(number),
          label: number === 0 ? "The plain version" : `Version ${number}`,
          tile,
        })),
        String(edit.variant ?? 0),
      );
    },
  };
}
