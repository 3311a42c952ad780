"""Causality curves: effects of a concept's units against their number, beside chance and published values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..dissection import CausalCurve, causal_curve
from ..models.catalogue import CATALOGUE
from ..models.generator import StagedGenerator
from ..models.model import Segmenter
from ..models.units import Dissection
from ..tickets import Ticket, share_of
from . import charts
from .rows import CurveRow

CURVE: Final = (1, 2, 4, 6, 8, 10, 15, 20)
"""Numbers of units that a causality curve tries. The published figures have 20."""


@dataclass(frozen=True)
class Causality:
    """Effects of a concept's best units against their number, beside chance and published values.

    Attributes:
        curve: for the units ranked for the concept.
        random: for equally many random units, the mean of several draws.
        published: the published share of the concept's pixels that vanishes with 20 units off, for this
            generator and layer; ``None`` if nothing was published.
        source: the publication.
    """

    curve: CausalCurve
    random: CausalCurve
    published: float | None
    source: str

    def table(self) -> list[CurveRow]:
        """Return one row for each number of units."""
        return [
            CurveRow(
                units=count,
                added=self.curve.added[row],
                removed=self.curve.removed[row],
                ablated=self.curve.ablated[row],
                ablated_random=self.random.ablated[row],
                added_random=self.random.added[row],
                ablated_published=self.published if count == 20 else None,
            )
            for row, count in enumerate(self.curve.units)
        ]

    def figure(self) -> charts.Chart:
        """Return the curves as an SVG."""
        lines = {
            "ablated": self.curve.ablated,
            "ablated, random units": self.random.ablated,
            "added": self.curve.added,
            "added, random units": self.random.added,
        }
        marks = [] if self.published is None else [(20.0, self.published, "published")]
        return charts.lines(
            self.curve.units,
            lines,
            marks,
            f"Effect of the best units for “{self.curve.concept}”",
            "units",
            "share of pixels",
        )


def measure_curves(
    generator: StagedGenerator,
    segmenter: Segmenter,
    found: Dissection,
    concept: str,
    ranking: Sequence[int],
    published: tuple[float | None, str],
    *,
    units: Sequence[int],
    samples: int,
    draws: int,
    seed: int,
    ticket: Ticket | None = None,
) -> Causality:
    """Measure the curve for ranked units, beside the mean of random orders.

    Args:
        generator, segmenter, found: G, the segmenter that names its pixels, and its dissection.
        concept: its name.
        ranking: the units' numbers, best first.
        published: see :func:`published_removal`.
        units: numbers of units. Numbers above C are left out.
        samples: pictures.
        draws: how many random orders to average.
        seed: of the pictures and of the random orders.
        ticket: progress and cancel.
    """
    channels = len(ranking)
    counts = [count for count in units if count <= channels]

    def one(number: int, order: Sequence[int]) -> CausalCurve:
        share = share_of(ticket, number / (draws + 1), (number + 1) / (draws + 1))
        given = {"units": counts, "ranking": order, "samples": samples, "seed": seed, "ticket": share}
        return causal_curve(generator, segmenter, found, concept, **given)  # type: ignore[arg-type]

    best = one(0, ranking)
    source = np.random.default_rng(seed)
    chance = [one(1 + draw, source.permutation(channels).tolist()) for draw in range(draws)]

    def mean(name: str) -> tuple[float, ...]:
        return tuple(np.mean([getattr(curve, name) for curve in chance], axis=0).tolist())

    random = CausalCurve(concept, best.units, mean("added"), mean("removed"), mean("ablated"))
    return Causality(best, random, *published)


def published_removal(model: str, layer: str, concept: str) -> tuple[float | None, str]:
    """Return the published effect of switching off 20 units of a concept, or ``None``, and its source."""
    entry = CATALOGUE.get(model)
    if entry is None or entry.edit_layer != layer or concept not in entry.brushes:
        return None, ""
    removed = entry.brushes[concept].removed
    return removed, "" if removed is None else entry.units_source
