/** Which edit a tool works on, and edits in another order. */

import type { Verb } from "../protocol/messages";
import type { Edit } from "../protocol/state";

/**
 * Which edit a brush stroke paints: the selected one or else the last one, if verb and concept agree with it; null
 * means a new edit.
 */
export function paintedEdit(
  edits: readonly Edit[],
  selected: string | null,
  verb: Verb,
  concept: string,
): string | null {
  const candidates = [edits.find(({ id }) => id === selected), edits.at(-1)];
  return candidates.find((edit) => edit?.verb === verb && edit.concept === concept)?.id ?? null;
}

/** The edit that the eraser works on: the selected one, else the last one. */
export function erasedEdit(edits: readonly Edit[], selected: string | null): string | null {
  return (edits.find(({ id }) => id === selected) ?? edits.at(-1))?.id ?? null;
}

/** The edits with one of them at another place. */
export function movedEdit(edits: readonly Edit[], id: string, index: number): Edit[] {
  const edit = edits.find((each) => each.id === id);
  const others = edits.filter((each) => each.id !== id);
  if (edit) others.splice(index, 0, edit);
  return others;
}
