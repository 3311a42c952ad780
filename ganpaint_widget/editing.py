"""Edits: what a user paints, and what it does to a generator's features.

An :class:`Edit` says *what* (add or remove a concept), *where* (a mask in picture pixels) and *how
much*. :func:`apply` carries it out on the features of the edit layer. The equation is that of Bau,
Strobelt, Peebles, Wulff, Zhou, Zhu and Torralba, "Semantic Photo Manipulation with a Generative
Image Prior" (SIGGRAPH 2019), with the units and levels of "GAN Dissection" (ICLR 2019).

Importing this module does not import torch: the widget and the journal use edits, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from .errors import GANPaintError

if TYPE_CHECKING:
    from torch import Tensor

    from .generators.staged import State

Mask = npt.NDArray[np.uint8]

VERBS: Final = ("add", "remove")
MAX_STRENGTH: Final = 4.0

# How many of a concept's best units an edit acts on: the three levels of GANPaint's public server.
UNITS: Final = {"low": 4, "medium": 10, "high": 15}
DEFAULT_UNITS: Final = UNITS["high"]

_ID = re.compile(r"[A-Za-z0-9-]{1,32}")


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit, immutable: a change makes a new one, so that undo only has to keep the old.

    Attributes:
        id: 1 to 32 characters of ``A-Z a-z 0-9 -``.
        verb: ``"add"`` or ``"remove"``.
        concept: a concept that the generator's dissection knows.
        mask: uint8 R x R in picture pixels, 0 to 255, read-only.
        strength: s of the equation, 0 to 4. Without effect when removing, where s p = 0.
        enabled: an edit that is switched off stays in its place and does nothing.
    """

    id: str
    verb: str
    concept: str
    mask: Mask
    strength: float = 1.0
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.mask.flags.writeable:
            mask = self.mask.copy()
            mask.setflags(write=False)
            object.__setattr__(self, "mask", mask)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edit):
            return NotImplemented
        return self._plain == other._plain and np.array_equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash(self._plain)

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        covered = np.count_nonzero(self.mask) / max(self.mask.size, 1)
        return f"<Edit {self.id}: {self.verb} {self.concept}, strength {self.strength:g}, {covered:.1%}{off}>"

    @property
    def _plain(self) -> tuple[str, str, str, float, bool]:
        return self.id, self.verb, self.concept, self.strength, self.enabled


class Knowledge(Protocol):
    """What an edit has to know about a layer's units; a ``Dissection`` knows it."""

    @property
    def levels(self) -> Tensor:
        """K x C: the activation of each unit that stands for each concept."""

    def index(self, concept: str) -> int:
        """The row of a concept in ``levels``."""

    def units(self, concept: str, count: int) -> Tensor:
        """The ``count`` best units of a concept, best first."""

    def weights(self, concept: str, verb: str) -> Tensor:
        """C: how far each unit takes part in an edit, 0 to 1."""


def apply(state: State, edits: Iterable[Edit], dissection: Knowledge, *, units: int | None = None) -> State:
    """z to z_e: the edits carried out on the features of the edit layer, in their order.

    For every unit u and location i (Bau et al. 2019, section "Editing"; s is the strength there, too)::

        z_e[u,i] = (1 - alpha[u,i]) z[u,i] + alpha[u,i] (s p[u])

    alpha is the mask, max-pooled to the layer's grid as GANPaint does, times the unit's weight for the
    concept. p is the unit's level for the concept when adding, 0 when removing. The next edit starts from
    what this one has left; edits that are switched off are skipped.

    Args:
        state: the generator's state at ``dissection.layer``; it is not changed.
        edits: in the order of their strokes.
        dissection: says which units draw a concept, and at which level.
        units: take the concept's best so many units, wholly, instead of the dissection's weights.
    """
    import torch
    from torch.nn import functional as F

    features = state.features
    grid = features.shape[-2:]
    for edit in edits:
        if not edit.enabled:
            continue
        if units is None:
            weight = dissection.weights(edit.concept, edit.verb).to(features)
        else:
            weight = features.new_zeros(features.shape[1])
            weight[dissection.units(edit.concept, units).to(features.device)] = 1
        level = torch.zeros_like(weight)
        if edit.verb == "add":
            level = dissection.levels[dissection.index(edit.concept)].to(features)
        mask = torch.from_numpy(edit.mask.astype(np.float32) / 255).to(features)
        alpha = weight.view(1, -1, 1, 1) * F.adaptive_max_pool2d(mask[None, None], grid)
        features = (1 - alpha) * features + alpha * (edit.strength * level.view(1, -1, 1, 1))
    return state.replace(features)


# --- checks: everything that comes from outside goes through one of these ---


def checked_verb(verb: object) -> str:
    """``verb`` if there is such a verb, else GANPaintError."""
    if not (isinstance(verb, str) and verb in VERBS):
        raise GANPaintError(f"There is no verb {_shown(verb)}.", f"Choose one of: {', '.join(VERBS)}.")
    return verb


def checked_concept(concept: object, known: Sequence[str], generator: str) -> str:
    """``concept`` if the generator knows it, else GANPaintError with those that it knows."""
    if not known:
        raise GANPaintError(
            f"The generator {generator!r} has no dissection, so it knows no concepts to paint with.",
            "Choose a generator that comes with one.",
        )
    if not (isinstance(concept, str) and concept in known):
        raise GANPaintError(
            f"The generator {generator!r} knows no concept {_shown(concept)}.",
            f"Choose one of: {', '.join(known)}.",
        )
    return concept


def checked_strength(strength: Any) -> float:
    """``strength`` as a float from 0 to 4, else GANPaintError."""
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


def checked_id(edit: object) -> str:
    """``edit`` if it can be the id of an edit, else GANPaintError."""
    if not (isinstance(edit, str) and _ID.fullmatch(edit)):
        raise GANPaintError(
            f"{_shown(edit)} cannot be the id of an edit.", "Use 1 to 32 letters, digits and hyphens."
        )
    return edit


def checked_mask(mask: object, height: int, width: int) -> Mask:
    """``mask`` as uint8 ``height`` x ``width``, else GANPaintError. Boolean masks become 0 and 255."""
    try:
        array = np.asarray(mask)
    except (TypeError, ValueError) as error:  # ragged lists, for one
        raise GANPaintError(
            "The mask is no array.", f"Pass a uint8 array of the shape {height} x {width}."
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
    """``rect`` as x, y, width, height inside ``size`` x ``size``, else GANPaintError."""
    numbers = list(rect) if isinstance(rect, (tuple, list)) else []
    whole = all(isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers)
    if len(numbers) == 4 and whole:
        x, y, width, height = (int(number) for number in numbers)
        if min(x, y, width, height) >= 0 and x + width <= size and y + height <= size:
            return x, y, width, height
    raise GANPaintError(
        f"{_shown(rect)} is no rectangle inside the picture.",
        f"Pass four whole numbers x, y, width, height within {size} x {size} pixels.",
    )


def _shown(value: object) -> str:
    """``value`` for an error message: input from outside may be of any length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
