/** The gallery: small pictures of all scenes of the generator's world, some at a time, to choose one. */

import type { Actions } from "../actions";
import type { BrowserSession } from "../browser-session";
import { actionButton, textButton } from "../buttons";
import { element, hide, on, set } from "../dom";
import { createAnswerLine } from "./answer-line";
import { silenceOf } from "./banner";
import { createChoices } from "./tiles";

/** Scenes at a time: five across, or four in a narrow dialog. */
const AT_ONCE = 20;

export function createGallery(actions: Actions) {
  const choices = createChoices("Scenes", (key) => {
    dialog.close();
    actions.scene(Number(key), session?.questions.scenes.get(Number(key))?.title);
  });
  const line = createAnswerLine(() => {
    asked = -1;
    show();
  });
  const turn = (label: string, name: string, by: number) => {
    const run = (): void => {
      // The gallery starts over after its end, like the next scene. A button that is disabled would lose the focus.
      const pages = Math.ceil(total() / AT_ONCE);
      first = ((first / AT_ONCE + by + pages) % pages) * AT_ONCE;
      show();
    };
    return textButton(name, label, run, "gp-button gp-plain");
  };
  const close = textButton("close-gallery", "Close", () => dialog.close(), "gp-button gp-plain");
  const turns = element(
    "div",
    { class: "gp-turns" },
    turn("Previous", "earlier-scenes", -1),
    turn("Next", "later-scenes", 1),
    close,
  );
  const dialog = element(
    "dialog",
    { class: "gp-dialog gp-gallery", "aria-label": "Gallery of scenes" },
    line.root,
    choices.root,
    turns,
  );
  const button = actionButton(
    "gallery",
    "Gallery",
    "grid",
    "Choose a scene from the gallery",
    () => {
      // It opens at the present scene. A user's photo has no place in it.
      first = Math.floor((session?.state?.scene ?? 0) / AT_ONCE) * AT_ONCE;
      asked = -1;
      button.closest(".ganpaint")?.append(dialog);
      dialog.showModal();
      show();
    },
    " gp-bare",
  );
  set(button, { "aria-haspopup": "dialog" });
  // The editor's keys do not act here.
  on(dialog, "keydown", (event) => event.stopPropagation());
  on(dialog, "close", () => dialog.remove());
  on(dialog, "click", (event) => {
    if (event.target === dialog) dialog.close(); // a click beside the dialog
  });

  let session: BrowserSession | null = null;
  let first = 0;
  let asked = -1;
  const total = (): number => session?.questions.sceneCount || AT_ONCE;

  /** Keeps the old pictures until the new ones have come. */
  function show(): void {
    if (!session || !dialog.open) return;
    const { questions, state } = session;
    const { scenes } = questions;
    const here = scenes.has(first);
    if (!here && asked !== first) {
      asked = first;
      questions.ask({ type: "scenes", first, count: AT_ONCE });
    }
    const failure = here ? null : questions.failure("scenes");
    hide(turns.firstElementChild as HTMLElement, total() <= AT_ONCE);
    hide(turns.children[1] as HTMLElement, total() <= AT_ONCE);
    set(choices.root, { "aria-busy": String(!here && !failure) });
    const last = Math.min(first + AT_ONCE, total());
    const waiting = silenceOf(session) || "Drawing the scenes…";
    line.update(here ? `Scenes ${first} to ${last - 1} of ${total()}` : waiting, failure);
    if (!here) return;
    choices.update(
      Array.from({ length: last - first }, (_, at) => first + at).flatMap((index) => {
        const scene = scenes.get(index);
        return scene ? [{ key: String(index), label: scene.title, tile: scene }] : [];
      }),
      state?.scene === undefined || state.scene === null ? null : String(state.scene),
    );
  }

  return {
    button,
    update(current: BrowserSession): void {
      session = current;
      hide(button, !session.state?.has_gallery);
      show();
    },
  };
}
