"""Edits: what a user paints.

An :class:`Edit` says *what* (add, remove or restyle a concept), *where* (a mask in picture pixels) and
*how much*. :func:`.equation.apply` carries it out on the features of the edit layer.

Importing this module does not import torch: the widget and the journal use edits, too.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Reference:
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

    def __post_init__(self) -> None:
        for name in ("picture", "region"):
            _freeze(self, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return (
            self.seed == other.seed
            and _same(self.picture, other.picture)
            and _same(self.region, other.region)
        )

    def __hash__(self) -> int:
        return hash((self.seed, self.picture is None, self.region is None))


@dataclass(frozen=True, eq=False)
class Edit:
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

    def __post_init__(self) -> None:
        for name in ("mask", "activations"):
            _freeze(self, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edit):
            return NotImplemented
        return (
            self._plain == other._plain
            and np.array_equal(self.mask, other.mask)
            and _same(self.activations, other.activations)
            and self.reference == other.reference
        )

    def __hash__(self) -> int:
        return hash(self._plain)

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        covered = np.count_nonzero(self.mask) / max(self.mask.size, 1)
        what = f"{self.verb} {self.concept}" if self.concept else f"{self.verb} units {self.units}"
        return f"<Edit {self.id}: {what}, strength {self.strength:g}, {covered:.1%}{off}>"

    @property
    def _plain(self) -> tuple[object, ...]:
        return (
            self.id, self.verb, self.concept, self.strength, self.enabled,
            self.units, self.target, self.variant,
        )  # fmt: skip


def _freeze(owner: object, name: str) -> None:
    """Replace an array attribute that can be written to by a copy that cannot."""
    array = getattr(owner, name)
    if array is not None and array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
        object.__setattr__(owner, name, array)


def _same(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
