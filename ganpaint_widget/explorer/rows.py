"""The rows of the explorer's tables. ``pandas.DataFrame(rows)`` turns a list of them into a table."""

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
    """A unit with its scores for the requested concept, else for its label, else for its best concept.

    Attributes:
        unit: its number.
        label: the concept that it is interpretable for, if there is one.
        iou, iqr: its scores for the concept.
        effect: the effect of the unit alone on the concept's area; ``None`` if it was not measured.
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
        iou, iqr: the unit's scores for the concept.
        threshold: the activation above which the unit counts as on; ``None`` if it is unknown.
        target: the target activation of an addition.
        effect: the effect of the unit alone on the concept's area; ``None`` if it was not measured.
    """

    concept: str
    iou: float
    iqr: float
    threshold: float | None
    target: float
    effect: float | None = None


@dataclass(frozen=True)
class LabelRow(Row):
    """The number of units with a concept as their label, beside chance.

    Attributes:
        concept: its name.
        units: the number of units with this label.
        iou: the IoU of the best unit.
        color: "#rrggbb".
        above_position: the number of these units whose IoU exceeds that of a position-only detector.
        rotated: the number of randomly rotated axes with this label.
        position_iou: the IoU of the position-only detector.

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
        units: the number of units.
        added, removed, ablated: the effects of the best units; see :class:`.CausalCurve`.
        ablated_random, added_random: the effects of random units.
        ablated_published: the published effect; ``None`` if nothing was published.
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
