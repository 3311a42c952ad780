"""The rows of the explorer's tables. ``pandas.DataFrame(rows)`` makes a table of a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..deprecated import warn


class Row:
    """A row of a table."""

    def __getitem__(self, name: str) -> Any:
        """Return a column by its name, as rows had them when they were dictionaries."""
        warn(f"row[{name!r}]", f"row.{name}")
        return getattr(self, name)


@dataclass(frozen=True)
class UnitRow(Row):
    """A unit, by the concept that was asked for, else by that of its label, else by its best.

    Attributes:
        unit: its number.
        label: the concept that it is interpretable for, if there is one.
        iou, iqr: of the concept.
        effect: what the unit alone causes on the concept's area; ``None`` where that was not measured.
    """

    unit: int
    label: str | None
    iou: float
    iqr: float
    effect: float | None = None


@dataclass(frozen=True)
class ConceptRow(Row):
    """A unit against one concept.

    Attributes:
        concept: its name.
        iou, iqr: of the two.
        threshold: above which the unit counts as on; ``None`` where that is not known.
        target: the activation that an addition aims at.
        effect: what the unit alone causes on the concept's area; ``None`` where that was not measured.
    """

    concept: str
    iou: float
    iqr: float
    threshold: float | None
    target: float
    effect: float | None = None


@dataclass(frozen=True)
class LabelRow(Row):
    """How many units have a concept as their label, beside chance.

    Attributes:
        concept: its name.
        units: how many have it as their label.
        iou: of the best unit.
        color: "#rrggbb".
        above_position: those of the units whose IoU is above that of a detector that knows the position only.
        rotated: how many of the randomly rotated axes have the label.
        position_iou: of that detector.

    The last three are ``None`` until the baselines are measured.
    """

    concept: str
    units: int
    iou: float
    color: str
    above_position: int | None = None
    rotated: int | None = None
    position_iou: float | None = None


@dataclass(frozen=True)
class CurveRow(Row):
    """The effect of a number of units, as shares of a concept's pixels.

    Attributes:
        units: how many.
        added, removed, ablated: by the best of them; see :class:`.CausalCurve`.
        ablated_random, added_random: by random ones.
        ablated_published: as it was published, where it was.
    """

    units: int
    added: float
    removed: float
    ablated: float
    ablated_random: float
    added_random: float
    ablated_published: float | None


@dataclass(frozen=True)
class Side:
    """A concept in one layer: its units, their share of the layer's, the best unit and its IoU."""

    units: int
    share: float
    best: int
    iou: float


@dataclass(frozen=True)
class ComparisonRow(Row):
    """A concept in two layers, or in two generators."""

    concept: str
    one: Side
    other: Side
