/** The tools, the brush's size, verb, concept and strength. */

import type { Verb } from "../../protocol/messages";
import { STRENGTH_MAX } from "../../protocol/messages";
import type { Concept } from "../../protocol/state";
import { largestBrush } from "../../raster/geometry";
import type { Actions } from "../actions";
import { element, hide, on, press, set, setStyle, setText, setValue } from "../dom";
import { type IconName, icon } from "../icons";
import type { Panel } from "../panel";
import type { Tool } from "../settings";

interface Slider {
  root: HTMLElement;
  input: HTMLInputElement;
  value: HTMLElement;
  label: HTMLElement;
}

/** Labels refer to inputs by id, and ids must differ between the widgets of a notebook. */
let sliders = 0;

function slider(label: string, attributes: Record<string, string | number>): Slider {
  const id = `gp-slider-${++sliders}`;
  const input = element("input", { type: "range", id, ...attributes });
  const value = element("output", { class: "gp-value", for: id });
  const text = element("label", { for: id }, label);
  return { root: element("div", { class: "gp-slider" }, text, value, input), input, value, label: text };
}

/** The stylesheet draws the filled part of a slider's track. */
function setSlider({ input, value }: Slider, number: number, text: string): void {
  const [least, most] = [Number(input.min), Number(input.max)];
  setValue(input, String(number));
  setStyle(input, "--gp-part", `${(100 * (number - least)) / Math.max(most - least, 1e-6)}%`);
  setText(value, text);
}

function segment(
  data: string,
  name: string,
  label: string,
  picture: IconName,
  title: string,
  run: () => void,
) {
  const attributes = { class: "gp-segment", [data]: name, title, "aria-pressed": "false" };
  const button = element("button", attributes, icon(picture), element("span", {}, label));
  on(button, "click", run);
  return button;
}

const TOOLS: [Tool, string, string][] = [
  ["brush", "Brush", "Paint with the brush (B); Alt erases"],
  ["eraser", "Eraser", "Erase from the edit's mask (E)"],
  ["rectangle", "Box", "Draw a rectangle (M); Alt erases"],
  ["lasso", "Lasso", "Draw around an area (L); Alt erases"],
  ["segment", "Segment", "Take the whole segment that you click (S)"],
];

const VERBS: [Verb, string, IconName, string][] = [
  ["add", "Add", "plus", "Add the concept where you paint (A)"],
  ["remove", "Remove", "minus", "Remove the concept where you paint (R)"],
  ["restyle", "Restyle", "restyle", "Give the concept a reference's look where you paint (T)"],
];

export function createToolPanel(actions: Actions): Panel {
  const tools = TOOLS.map(([tool, label, title]) =>
    segment("data-tool", tool, label, tool, title, () => actions.change({ tool })),
  );
  const size = slider("Size", {
    min: 1,
    max: 16,
    step: 1,
    "data-slider": "size",
    title: "Set the brush size ([ and ])",
  });
  on(size.input, "input", () => actions.change({ size: Number(size.input.value) }));

  const verbs = VERBS.map(([verb, label, icon, title]) =>
    segment("data-verb", verb, label, icon, title, () => actions.change({ verb })),
  );

  const concepts = element("div", { class: "gp-concepts", role: "group", "aria-label": "Concept" });
  const chips = new Map<string, HTMLButtonElement>();
  let offered: Concept[] | null = null;

  const strength = slider("Strength", {
    min: 0,
    max: STRENGTH_MAX,
    step: 0.05,
    "data-slider": "strength",
    title: "Set the strength of the edit",
  });
  on(strength.input, "input", () => actions.strength(Number(strength.input.value), false));
  on(strength.input, "change", () => actions.strength(Number(strength.input.value), true));

  const root = element(
    "div",
    { class: "gp-tools" },
    element("div", { class: "gp-segments gp-toolbox", role: "group", "aria-label": "Tool" }, ...tools),
    size.root,
    element("div", { class: "gp-segments gp-verbs", role: "group", "aria-label": "Verb" }, ...verbs),
    concepts,
    strength.root,
  );
  return {
    root,
    update(session, settings) {
      for (const [index, [tool]] of TOOLS.entries()) press(tools[index] as Element, settings.tool === tool);
      size.input.disabled = settings.tool !== "brush" && settings.tool !== "eraser";
      (tools[4] as HTMLButtonElement).disabled = session.state !== null && session.state.classes.length === 0;
      for (const [index, [verb]] of VERBS.entries()) {
        const button = verbs[index] as HTMLButtonElement;
        press(button, settings.verb === verb);
        hide(button, session.state !== null && !session.state.verbs.includes(verb));
      }
      set(size.input, { max: largestBrush(session.width, session.height) });
      setSlider(size, settings.size, `${settings.size} px`);

      const edit = session.edits.find(({ id }) => id === settings.selected);
      setText(
        strength.label,
        edit ? `Strength of “${edit.verb} ${edit.concept || "units"}”` : "Strength of the next edit",
      );
      setSlider(strength, settings.strength, `× ${settings.strength.toFixed(2)}`);

      const known = session.state?.concepts ?? [];
      if (known !== offered) {
        offered = known;
        if (known.map(({ name }) => name).join("\n") !== [...chips.keys()].join("\n")) {
          chips.clear();
          for (const concept of known)
            chips.set(
              concept.name,
              chip(concept, () => actions.change({ concept: concept.name })),
            );
          concepts.replaceChildren(...chips.values());
        }
      }
      for (const [name, button] of chips) press(button, name === settings.concept);
    },
  };
}

function chip(concept: Concept, choose: () => void): HTMLButtonElement {
  const bars = Math.max(1, Math.round(4 * concept.quality));
  const meter = element("span", { class: "gp-quality", "aria-hidden": "true" });
  for (let bar = 0; bar < 4; bar++) meter.append(element("i", { class: bar < bars ? "gp-on" : "" }));
  const quality = `${Math.round(100 * concept.quality)} %`;
  const button = element(
    "button",
    {
      class: "gp-chip",
      "data-concept": concept.name,
      "aria-pressed": "false",
      title: `Paint ${concept.name} (adding or removing it changes ${quality} of a patch)`,
    },
    element("span", { class: "gp-swatch", style: `--gp-color: ${concept.color}` }),
    element("span", { class: "gp-name" }, concept.name),
    meter,
  );
  on(button, "click", choose);
  return button;
}
