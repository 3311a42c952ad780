"""Edits: a user's strokes as data.

An :class:`Edit` states *what* to do (add, remove or restyle a concept), *where* (a mask in picture pixels)
and *how much*. :func:`.equation.apply` carries it out on the features of the edit layer.

Importing this module does not import torch, because the widget and the journal use edits as well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..deprecated import Renamed

Mask = npt.NDArray[np.uint8]
Activations = npt.NDArray[np.float32]

VERBS: Final = ("add", "remove", "restyle", "suppress")
MAX_STRENGTH: Final = 4.0

TARGETS: Final = ("tuned", "quantile", "mean", "exemplar")
"""The targets of an addition: the activation that dissection has tuned, the unit's 0.99 quantile over many
samples (GAN Dissection), its mean over the places of the concept (GANPaint), or its mean over one object of
the concept, from the picture most similar to the edited one."""

MAX_VARIANT: Final = 9999
MAX_SEED: Final = 2**31 - 1


class _WithArrays:
    """Data with fields that may be arrays. Arrays are read-only and compared by their values."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value = value.copy()
                value.setflags(write=False)
                object.__setattr__(self, field.name, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(map(_same, self._values(), other._values()))

    def __hash__(self) -> int:
        """Hash all fields except arrays, whose values would take long to read."""
        return hash(tuple(None if isinstance(value, np.ndarray) else value for value in self._values()))

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other or (one is not None and other is not None and np.array_equal(one, other))
    return bool(one == other)


@dataclass(frozen=True, eq=False)
class Reference(_WithArrays):
    """The source of a restyle's look: a sample of the generator, or a picture.

    Attributes:
        seed: of the sample G(z); ``None`` for a picture.
        picture: uint8 R x R x 3, read-only; ``None`` for a sample.
        region: the part of it that counts: uint8 R x R, 0 to 255, read-only; ``None`` stands for the pixels
            where the segmenter sees the concept.
    """

    seed: int | None = None
    picture: npt.NDArray[np.uint8] | None = None
    region: Mask | None = None


@dataclass(frozen=True, eq=False)
class Edit(_WithArrays):
    """One edit. It is immutable, and a change makes a new one, so that undo only keeps the old ones.

    Attributes:
        id: 1 to 32 characters of ``A-Z a-z 0-9 -``.
        verb: ``"add"``, ``"remove"``, ``"restyle"`` (draw the concept as it looks in a reference) or
            ``"suppress"`` (switch units off, such as those that cause artifacts).
        concept: a concept of the generator's dissection, or the name of a brush. An edit with a brush has the
            brush's units, and its activations if it adds. Empty for ``"suppress"``.
        mask: uint8 R x R in picture pixels, 0 to 255, read-only.
        strength: s of the equation, 0 to 4. For ``"remove"`` and ``"suppress"``, it fades the effect from 0
            (none) to 1 (full), and more counts as 1.
        enabled: whether the edit has an effect. A disabled one keeps its place.
        units: the units that it acts on: ``None`` for all, each with its weight in the dissection; ``"low"``,
            ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or their numbers.
        target: one of ``TARGETS``, for an addition.
        variant: the number of one of several plausible versions of an addition; 0 is the plain one.
        activations: p of the equation if it does not come from the dissection alone, as for restyles,
            variants and brushes: float32, one for each unit, read-only.
        reference: the source of a restyle's ``activations``.
    """

    id: str
    verb: str
    concept: str
    mask: Mask
    strength: float = 1.0
    enabled: bool = True
    units: str | tuple[int, ...] | None = None
    target: str = "tuned"
    variant: int = 0
    activations: Activations | None = None
    reference: Reference | None = None

    levels = Renamed("activations")

    @property
    def by_exemplar(self) -> bool:
        """Whether it is an addition that aims at one true object of the concept."""
        return self.verb == "add" and self.target == "exemplar"

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        covered = np.count_nonzero(self.mask) / max(self.mask.size, 1)
        what = f"{self.verb} {self.concept}" if self.concept else f"{self.verb} units {self.units}"
        return f"<Edit {self.id}: {what}, strength {self.strength:g}, {covered:.1%}{off}>"
