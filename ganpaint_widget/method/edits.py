"""Edits: a user's strokes as data.

An :class:`Edit` says *what* (add, remove or restyle a concept), *where* (a mask in picture pixels) and
*how much*. :func:`.equation.apply` carries it out on the features of the edit layer.

Importing this module does not import torch: the widget and the journal use edits, too.
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
"""What an addition aims at: the activation that dissection has tuned, the unit's 0.99 quantile over many
samples (GAN Dissection), its mean over the places where the concept is (GANPaint), or its mean over one
object of the concept, from the picture that is most like the one that is edited."""

MAX_VARIANT: Final = 9999
MAX_SEED: Final = 2**31 - 1


class _WithArrays:
    """Data of which some fields may be arrays: read-only, and compared by their values."""

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
        """Of all but the arrays, whose values it would take long to go through."""
        return hash(tuple(None if isinstance(value, np.ndarray) else value for value in self._values()))

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is other or (one is not None and other is not None and np.array_equal(one, other))
    return bool(one == other)


@dataclass(frozen=True, eq=False)
class Reference(_WithArrays):
    """Where a restyle takes the look of its concept from: a sample of the generator, or a picture.

    Attributes:
        seed: of the sample G(z); ``None`` for a picture.
        picture: uint8 R x R x 3, read-only; ``None`` for a sample.
        region: which part of it counts: uint8 R x R, 0 to 255, read-only; ``None``: where the segmenter
            sees the concept.
    """

    seed: int | None = None
    picture: npt.NDArray[np.uint8] | None = None
    region: Mask | None = None


@dataclass(frozen=True, eq=False)
class Edit(_WithArrays):
    """One edit, immutable: a change makes a new one, so that undo only has to keep the old.

    Attributes:
        id: 1 to 32 characters of ``A-Z a-z 0-9 -``.
        verb: ``"add"``, ``"remove"``, ``"restyle"`` (draw the concept as a reference does) or
            ``"suppress"`` (switch units off whatever they draw, such as those that cause artifacts).
        concept: a concept that the generator's dissection knows, or the name of a brush (then the edit has
            units of its own, and activations if it adds); empty for ``"suppress"``.
        mask: uint8 R x R in picture pixels, 0 to 255, read-only.
        strength: s of the equation, 0 to 4. It fades what takes away, from 0 (nothing is) to 1 (all is); more
            is as 1 there.
        enabled: an edit that is switched off stays in its place and does nothing.
        units: on which units it acts: ``None`` for all, each as far as the dissection says;
            ``"low"``, ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or their numbers.
        target: one of ``TARGETS``, for an addition.
        variant: which of several plausible versions of an addition this is; 0 is the plain one.
        activations: p of the equation where it does not come from the dissection alone, as for restyles,
            variants and brushes: float32, one for each unit, read-only.
        reference: where a restyle's ``activations`` come from.
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

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        covered = np.count_nonzero(self.mask) / max(self.mask.size, 1)
        what = f"{self.verb} {self.concept}" if self.concept else f"{self.verb} units {self.units}"
        return f"<Edit {self.id}: {what}, strength {self.strength:g}, {covered:.1%}{off}>"
