"""Units that are switched off or on in an editor: a brush of these units, and the session's edits with it."""

from __future__ import annotations

import numpy as np

from ...explorer.brushes import Brush
from ...explorer.exploration import Exploration
from ...method.edits import Edit
from ...session import EditingSession
from .look import SELECTED

COLOR = "#b03060"
"""The brush's color in the editor's palette."""

_ID = "explorer"
"""The id of the edit that switches units."""


def switch(
    session: EditingSession,
    found: Exploration,
    units: tuple[int, ...],
    verb: str,
    *,
    strength: float,
    everywhere: bool,
) -> None:
    """Replace a session's switches with an edit of these units.

    Args:
        session: edits the layer of ``found``.
        found: gives "on" its meaning, and has the shelf for the brush.
        units: their numbers.
        verb: ``"add"`` switches on, ``"remove"`` off.
        strength: of an addition.
        everywhere: whether in the whole picture. Otherwise the region that was painted before stays; without
            one, the user paints it with the brush in the editor.
    """
    old = _switches(session)
    _put_brush(found, units)
    mask = np.full((session.size, session.size), 255, np.uint8)
    if not everywhere:
        painted = [edit.mask for edit in old if not edit.mask.all()]
        mask = painted[-1] if painted else np.zeros_like(mask)
    for edit in old:
        session.delete(edit.id)
    rect = (0, 0, session.size, session.size)
    strength = strength if verb == "add" else 1.0
    session.paint(_ID, rect, mask, verb=verb, concept=SELECTED, strength=strength)


def switch_others(session: EditingSession, found: Exploration, units: tuple[int, ...]) -> None:
    """Switch these units in place of those that a session's switches have."""
    _put_brush(found, units)
    for edit in _switches(session):
        session.update(edit.id, units=units)


def switch_back(session: EditingSession, found: Exploration) -> None:
    """Delete a session's switches and the brush, so that units have the generator's own activations."""
    for edit in _switches(session):
        session.delete(edit.id)
    found.shelf.take(SELECTED)


def switched(session: EditingSession) -> str | None:
    """Return the verb of a session's switches, ``None`` if it has none."""
    return next((edit.verb for edit in _switches(session) if edit.enabled), None)


def _switches(session: EditingSession) -> list[Edit]:
    return [edit for edit in session.edits if edit.concept == SELECTED]


def _put_brush(found: Exploration, units: tuple[int, ...]) -> None:
    found.shelf.put(Brush(SELECTED, units, found.on_activations(), color=COLOR, kept=False))
