/** The edit that a tool changes, and edits in another order. */

import type { Verb } from "../protocol/messages";
import type { Edit } from "../protocol/state";

/**
 * Returns the edit that a brush stroke paints: the selected one, or else the last one, if its verb and concept match.
 * Null stands for a new edit.
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

/** Returns the edit that the eraser changes: the selected one, or else the last one. */
export function erasedEdit(edits: readonly Edit[], selected: string | null): string | null {
  return (edits.find(({ id }) => id === selected) ?? edits.at(-1))?.id ?? null;
}

/** Returns the edits with one of them moved. */
export function movedEdit(edits: readonly Edit[], id: string, index: number): Edit[] {
  const edit = edits.find((each) => each.id === id);
  const others = edits.filter((each) => each.id !== id);
  if (edit) others.splice(index, 0, edit);
  return others;
}
