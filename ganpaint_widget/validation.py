"""Every check of a value that comes from outside: it returns the value as the package uses it, or raises."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import GANPaintError
from .method.edits import (
    MAX_SEED,
    MAX_STRENGTH,
    MAX_VARIANT,
    TARGETS,
    VERBS,
    Activations,
    Edit,
    Mask,
    Reference,
)
from .models.catalogue import UNITS

_ID = re.compile(r"[A-Za-z0-9-]{1,32}")
_COLOR = re.compile("#[0-9a-fA-F]{6}")

MAX_STUDENT: Final = 100
"""Characters of a student's name."""


def checked_verb(verb: object) -> str:
    """Return ``verb`` if there is such a verb; otherwise raise GANPaintError."""
    if not (isinstance(verb, str) and verb in VERBS):
        raise GANPaintError(f"The verb {_shown(verb)} does not exist.", f"Choose one of: {', '.join(VERBS)}.")
    return verb


def checked_concept(concept: object, known: Sequence[str], generator: str) -> str:
    """Return ``concept`` if the generator knows it; otherwise raise GANPaintError with those it knows."""
    if not known:
        raise GANPaintError(
            f"The generator {generator!r} has no dissection, so it knows no concepts to paint with.",
            "Call session.find_concepts(), press Find concepts, or measure one with `ganpaint dissect`.",
        )
    if not (isinstance(concept, str) and concept in known):
        raise GANPaintError(
            f"The generator {generator!r} knows no concept {_shown(concept)}.",
            f"Choose one of: {', '.join(known)}.",
        )
    return concept


def checked_name(name: object) -> str:
    """Return ``name`` if it has 1 to 64 visible characters; otherwise raise GANPaintError."""
    if not (isinstance(name, str) and 0 < len(name.strip()) == len(name) <= 64 and name.isprintable()):
        raise GANPaintError(
            f"{_shown(name)} cannot be the name of a brush or a part.", "Use 1 to 64 characters."
        )
    return name


def checked_color(color: object) -> str:
    """Return ``color`` if it has the form "#rrggbb"; otherwise raise GANPaintError."""
    if not (isinstance(color, str) and _COLOR.fullmatch(color)):
        raise GANPaintError(
            f"{_shown(color)} is not a color.", 'Pass six hexadecimal digits after a #, such as "#d81b60".'
        )
    return color


def checked_activations(activations: object, channels: int) -> Activations:
    """Return ``activations`` as float32, finite, one for each of C units; otherwise raise GANPaintError."""
    array = np.asarray(activations)
    numbers = array.dtype.kind in "iuf" and array.shape == (channels,)
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite there
        found = array.astype(np.float32) if numbers else np.full(1, np.nan, np.float32)
    if not np.isfinite(found).all():
        raise GANPaintError(
            f"The activations have the shape {array.shape}, or are not finite.",
            f"Pass one finite number for each of the {channels} units.",
        )
    return found


def checked_share(share: object, name: str) -> float:
    """Return ``share`` as a float from 0 to 1; otherwise raise GANPaintError that calls it ``name``."""
    number = isinstance(share, (int, float, np.integer, np.floating)) and not isinstance(share, bool)
    if not (number and 0 <= share <= 1):  # type: ignore[operator]
        raise GANPaintError(f"The {name} is {_shown(share)}.", "Pass a number from 0 to 1.")
    return float(share)  # type: ignore[arg-type]


def checked_finite(value: object, name: str) -> float:
    """Return ``value`` as a finite float; otherwise raise GANPaintError that calls it ``name``."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        found = float(value) if number else math.nan  # type: ignore[arg-type]
    except OverflowError:
        found = math.nan
    if not math.isfinite(found):
        raise GANPaintError(f"The {name} is {_shown(value)}.", "Pass a finite number.")
    return found


def checked_tensors(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return arrays that a project keeps, if each is float32 and finite; otherwise raise GANPaintError."""
    for name, value in tensors.items():
        if value.dtype != np.float32 or not np.isfinite(value).all():
            raise GANPaintError(
                f"The array {_shown(name)} is not finite float32.",
                "Undo the last edits, or open the picture again: these would not be read again.",
            )
    return dict(tensors)


def checked_title(title: object) -> str:
    """Return ``title`` without what cannot be shown, up to 255 characters; otherwise raise GANPaintError."""
    if not isinstance(title, str):
        raise GANPaintError(f"{_shown(title)} cannot be the title of a picture.", "Pass a string.")
    return "".join(sign for sign in title[:255] if sign.isprintable())


def checked_scene(scene: object) -> int:
    """Return ``scene`` as the number of a scene or the seed of a sample; otherwise raise GANPaintError."""
    return checked_number(scene, "scene", MAX_SEED)


def checked_student(student: object) -> str:
    """Return a student's name with single spaces, else GANPaintError."""
    if not (
        isinstance(student, str) and student.strip() and len(student) <= MAX_STUDENT and student.isprintable()
    ):
        raise GANPaintError(
            f"{_shown(student)} is not a student's name.",
            f"Pass your name, in at most {MAX_STUDENT} characters.",
        )
    return " ".join(student.split())


def checked_strength(strength: Any) -> float:
    """Return ``strength`` as a float from 0 to 4; otherwise raise GANPaintError."""
    try:
        value = math.nan if isinstance(strength, (str, bytes, bool)) else float(strength)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value <= MAX_STRENGTH:  # false for NaN, too
        raise GANPaintError(
            f"The strength is {_shown(strength)}.",
            f"Pass a number from 0 to {MAX_STRENGTH:g}; 1 is the usual one.",
        )
    return value


def checked_units(units: object, channels: int) -> str | tuple[int, ...] | None:
    """Return ``units`` if ``None`` or one of ``UNITS``, or distinct numbers below ``channels``."""
    if units is None or (isinstance(units, str) and units in UNITS):
        return units
    try:
        if hasattr(units, "tolist"):  # of NumPy or torch
            units = units.tolist()
        numbers = [] if isinstance(units, (str, bytes)) else list(units)  # type: ignore[call-overload]
    except TypeError:
        numbers = []
    whole = [int(one) for one in numbers if isinstance(one, (int, np.integer)) and not isinstance(one, bool)]
    if not numbers or len(whole) < len(numbers) or not all(0 <= one < channels for one in whole):
        raise GANPaintError(
            f"This layer does not have the units {_shown(units)}.",
            f"Pass one of {', '.join(UNITS)}, or numbers from 0 to {channels - 1}.",
        )
    return tuple(sorted(set(whole)))


def checked_target(target: object) -> str:
    """Return ``target`` if there is such a target; otherwise raise GANPaintError."""
    if not (isinstance(target, str) and target in TARGETS):
        raise GANPaintError(
            f"Additions do not have the target {_shown(target)}.", f"Choose one of: {', '.join(TARGETS)}."
        )
    return target


def checked_number(value: object, name: str, largest: int) -> int:
    """Return ``value`` as a whole number from 0 to ``largest``; otherwise raise GANPaintError."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and 0 <= value <= largest):  # type: ignore[operator]
        raise GANPaintError(f"The {name} is {_shown(value)}.", f"Pass a whole number from 0 to {largest}.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def checked_edit(edit: Edit, known: Sequence[str], generator: str, size: int, channels: int) -> Edit:
    """Check an edit whose fields may hold anything, and return one that can be carried out.

    Args:
        edit: to be checked, for example from a file; its arrays are arrays.
        known: the concepts of the generator.
        generator: what to call it in messages.
        size: R of its pictures.
        channels: C of its edit layer.
    """
    checked_id(edit.id)
    verb = checked_verb(edit.verb)
    units = checked_units(edit.units, channels)
    # A brush's edit: it says itself what its name stands for, so that it outlives the brush.
    own = isinstance(units, tuple) and (verb == "remove" or edit.activations is not None)
    if own and edit.concept not in known:
        checked_name(edit.concept)
    elif verb != "suppress" or edit.concept != "":
        checked_concept(edit.concept, known, generator)
    if verb == "suppress" and not isinstance(units, tuple):
        raise GANPaintError("The edit names no units to suppress.", "Pass their numbers.")
    variant = checked_number(edit.variant, "variant", MAX_VARIANT)
    target = checked_target(edit.target)
    if verb != "add" and (variant or target != TARGETS[0]):
        raise GANPaintError(
            f"The verb {verb} has neither variants nor targets.", "Leave them out; only an addition has them."
        )
    if verb == "restyle" and (edit.reference is None or edit.activations is None):
        raise GANPaintError(
            "A restyle needs a reference.", "Pass a picture, or the seed of one of the generator's samples."
        )
    if verb != "restyle" and edit.reference is not None:
        raise GANPaintError(f"The verb {verb} takes no reference.", "Leave it out, or restyle instead.")
    if edit.activations is not None and not (
        edit.activations.shape == (channels,)
        and edit.activations.dtype == np.float32
        and np.isfinite(edit.activations).all()
        and (verb == "restyle" or variant or target == "exemplar" or (verb == "add" and own))
    ):
        raise GANPaintError(
            "The edit's activations do not fit this generator.", "Make the edit anew with this generator."
        )
    if verb == "add" and (variant or target == "exemplar") and edit.activations is None:
        raise GANPaintError("The addition comes without its activations.", "Make the edit anew.")
    if edit.reference is not None:
        _check_reference(edit.reference, size)
    enabled = checked_switch(edit.enabled)
    return replace(
        edit,
        mask=checked_mask(edit.mask, size, size),
        strength=checked_strength(edit.strength),
        enabled=enabled,
        units=units,
        variant=variant,
    )


def _check_reference(reference: Reference, size: int) -> None:
    if (reference.seed is None) == (reference.picture is None):
        raise GANPaintError("The reference is neither a sample nor a picture.", "Pass one of the two.")
    if reference.seed is not None:
        checked_number(reference.seed, "seed of the reference", MAX_SEED)
    elif reference.picture is not None and (
        reference.picture.shape != (size, size, 3) or reference.picture.dtype != np.uint8
    ):
        raise GANPaintError(
            f"The reference's picture has the shape {reference.picture.shape}.",
            f"Pass one of {size} x {size} x 3.",
        )
    if reference.region is not None:
        checked_mask(reference.region, size, size)
        if not reference.region.any():
            raise GANPaintError("The region of the reference is empty.", "Paint where its concept is.")


def checked_id(edit: object) -> str:
    """Return ``edit`` if it can be the id of an edit; otherwise raise GANPaintError."""
    if not (isinstance(edit, str) and _ID.fullmatch(edit)):
        raise GANPaintError(
            f"{_shown(edit)} cannot be the id of an edit.",
            "Pass its id: edit.id." if isinstance(edit, Edit) else "Use 1 to 32 letters, digits and hyphens.",
        )
    return edit


def checked_switch(enabled: object) -> bool:
    """Return ``enabled`` if it is true or false, else GANPaintError."""
    if not isinstance(enabled, (bool, np.bool_)):
        raise GANPaintError(f"{_shown(enabled)} does not say whether the edit is on.", "Pass True or False.")
    return bool(enabled)


def checked_mask(mask: object, height: int, width: int) -> Mask:
    """Return ``mask`` as uint8 ``height`` x ``width``, booleans as 0 and 255; otherwise raise GANPaintError.

    This is for pieces of strokes, and for what was stored. A mask from a user, which may be a file, floats or
    as large as the photo, goes through :func:`.images.files.read_mask` first.
    """
    try:
        array = np.asarray(mask)
    except (TypeError, ValueError) as error:  # ragged lists, for one
        raise GANPaintError(
            "The mask is not an array.", f"Pass a uint8 array of the shape {height} x {width}."
        ) from error
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        raise GANPaintError(
            f"The mask has the data type {array.dtype}.",
            "Pass uint8 values from 0 (not painted) to 255 (painted).",
        )
    if array.shape != (height, width):
        raise GANPaintError(
            f"The mask has the shape {array.shape}.",
            f"Pass one of {height} x {width}, in the picture's own pixels.",
        )
    return array


def checked_rect(rect: object, size: int) -> tuple[int, int, int, int]:
    """Return ``rect`` as x, y, width, height inside ``size`` x ``size``; otherwise raise GANPaintError."""
    numbers = list(rect) if isinstance(rect, (tuple, list)) else []
    whole = all(isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers)
    if len(numbers) == 4 and whole:
        x, y, width, height = (int(number) for number in numbers)
        if min(x, y, width, height) >= 0 and x + width <= size and y + height <= size:
            return x, y, width, height
    raise GANPaintError(
        f"{_shown(rect)} is not a rectangle inside the picture.",
        f"Pass four whole numbers x, y, width, height within {size} x {size} pixels.",
    )


def _shown(value: object) -> str:
    """``value`` for an error message: input from outside may be of any length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
