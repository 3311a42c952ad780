"""Construction of edits: a verb's arguments become a complete edit, or an error before anything changes.

A complete edit carries all data that it needs to be drawn. This file measures the target activations of a
restyle, a variant or an exemplar once for each edit, before its first pixel is painted.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from enum import Enum
from typing import Any, Final

import numpy as np

from ..errors import GANPaintError
from ..method.edits import MAX_VARIANT, Edit
from ..validation import checked_number, checked_verb
from . import project
from .processes.inverting import OpenedPicture
from .processes.references import read_reference
from .state import SessionState


class Keep(Enum):
    """The type of :data:`KEEP`."""

    KEEP = 0


KEEP: Final = Keep.KEEP
"""Leaves a setting as it is. ``None`` has a meaning of its own in :meth:`.EditingSession.update`."""


def new_id() -> str:
    """Return an id that no other edit has."""
    return f"e-{uuid.uuid4().hex[:10]}"


def new_edit(
    state: SessionState,
    edit_id: str,
    verb: str,
    concept: str,
    strength: float,
    *,
    reference: object = None,
    region: object = None,
    **details: Any,
) -> Edit:
    """Return a complete edit with an empty mask. This may wait for the model.

    Args:
        state: the state with the picture to edit.
        edit_id: the new edit's id.
        verb, concept, strength, reference, region, details: see :meth:`.EditingSession.paint`.

    Raises:
        GANPaintError: an argument is wrong.
    """
    if details.get("variant", 0) is None:
        details["variant"] = 0  # until the mask is known; see processes/choosing.py
    if reference is not None:
        details["reference"] = read_reference(reference, region, state.model.generator.resolution)
    return completed(state, state.palette.fresh(edit_id, verb, concept, strength, **details))


def altered(state: SessionState, before: Edit, *, region: object, **settings: Any) -> dict[str, Any]:
    """Return the attributes of an edit that new settings change. This may wait for the model.

    Args:
        state: the state with the edited picture.
        before: the present edit.
        region: of the reference, the new one or the present one.
        settings: see :meth:`.EditingSession.update`. Settings that are :data:`KEEP` stay.

    Raises:
        GANPaintError: a setting is wrong for this edit.
    """
    changes = {name: value for name, value in settings.items() if value is not KEEP}
    if region is not None and before.reference is None and "reference" not in changes:
        raise GANPaintError(
            f"The edit {before.id!r} has no reference whose region could be set.", "Pass a restyle's id."
        )
    if "reference" in changes or region is not None:
        size = state.model.generator.resolution
        changes["reference"] = read_reference(changes.get("reference", before.reference), region, size)
    if changes.keys() & {"target", "variant", "reference"}:
        changes["activations"] = None  # measured anew
    after = completed(state, replace(before, **changes))
    return {name: getattr(after, name) for name in changes}


def recorded(state: SessionState, source: object) -> list[Edit]:
    """Return the edits of a recording of GANPaint Studio, with their masks. This may wait for the model.

    Raises:
        GANPaintError: see :meth:`.EditingSession.import_studio`.
    """
    size = state.model.generator.resolution
    return [
        replace(new_edit(state, new_id(), verb, concept, strength), mask=mask)
        for verb, concept, strength, mask in project.read_interventions(source, size)
    ]


def completed(state: SessionState, edit: Edit, picture: OpenedPicture | None = None) -> Edit:
    """Check an edit, and measure its target activations if it needs them. This may wait for the model.

    Args:
        state: the state with the palette.
        edit: an edit, complete or not.
        picture: the picture to edit; by default, the one that is open.

    Raises:
        GANPaintError: the edit is wrong, or its activations cannot be measured.
    """
    palette = state.palette
    verb, variant = checked_verb(edit.verb), checked_number(edit.variant, "variant", MAX_VARIANT)
    if edit.activations is not None or not (verb == "restyle" or variant or edit.by_exemplar):
        return palette.checked(edit)
    # Measuring takes a while, so everything else is checked first.
    blank = np.zeros(palette.channels, np.float32)
    checked = palette.checked(replace(edit, activations=blank))
    if edit.by_exemplar:
        picture = state.picture if picture is None else picture
        activations = palette.exemplar(checked, picture.fast.state.features)
    else:
        activations = state.references.activations(checked)
    return replace(checked, activations=activations)
