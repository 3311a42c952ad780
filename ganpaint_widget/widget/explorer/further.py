"""The tabs below the atlas: effects of units, artifacts, a comparison of two layers, and discovered parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import ipywidgets
import numpy as np
from ipywidgets import Button, HBox

from ...explorer.curves import Causality
from ...explorer.exploration import Exploration, compare
from ...explorer.rows import ComparisonRow
from ...tickets import Ticket
from .jobs import Jobs
from .kit import Kit, replace_children
from .pads import SHARPNESS, Pad
from .parts import PartsTab
from .sheets import enlarged
from .tables import comparison

SUSPECTS = 12
"""Candidates for artifacts to show."""

PAIR = (4 * 120, 2 * 120)
"""CSS pixels of the pictures with and without a unit."""


class Further:
    """The tabs, and the measurements of their buttons.

    Args:
        kit: makes the controls.
        jobs: runs long jobs.
        found: returns the exploration on display.
        explore: opens a layer of a generator, on the explorer's device.
        generator: the generator as the explorer got it, for its other layers.
        look_at: shows a unit.
        other_concepts: called after discovered concepts were renamed, merged, split or hidden.
    """

    def __init__(
        self,
        kit: Kit,
        jobs: Jobs,
        found: Callable[[], Exploration],
        explore: Callable[[Any, str | None], Exploration],
        generator: Any,
        look_at: Callable[[int], object],
        other_concepts: Callable[[], object],
    ) -> None:
        self._kit, self._jobs, self._found = kit, jobs, found
        self._explore, self._generator, self._look_at = explore, generator, look_at
        self.curve_concept = kit.dropdown(description="Concept", layout=kit.width(200))
        self.curve = kit.button(description="Measure curves", layout=kit.fitting)
        self.curves = kit.html()
        self.find = kit.button(description="Rank all units", layout=kit.fitting)
        self.suspects: HBox = kit.row()
        self.suspects.add_class("gpx-chips")
        self.pair_title = kit.html()
        self.pair = Pad(*PAIR)
        self.other = kit.dropdown(description="Layer", layout=kit.width(160))
        self.other_generator = kit.text(description="of", placeholder="this generator", layout=kit.width(260))
        self.compare = kit.button(description="Compare", layout=kit.fitting)
        self.compared = kit.html()
        self.parts = PartsTab(kit, jobs, found, other_concepts)
        self.tab = ipywidgets.Tab(
            [
                kit.column([kit.row([self.curve_concept, self.curve]), self.curves]),
                kit.column([self.find, self.suspects, self.pair_title, self.pair.canvas]),
                kit.column([kit.row([self.other, self.other_generator, self.compare]), self.compared]),
                self.parts.box,
            ],
            titles=("Causality", "Artifact units", "Compare", "Parts"),
            layout=kit.plain,
        )
        for button, clicked in (
            (self.curve, self._measure_curve),
            (self.find, self._find_artifacts),
            (self.compare, self._compare),
        ):
            self._on_click(button, clicked)

    def enter(self) -> None:
        """Begin with another layer, without any results."""
        found = self._found()
        for dropdown, names in (
            (self.curve_concept, found.concepts),
            (self.other, found.model.generator.stages),
        ):
            dropdown.options = names
            dropdown.value = names[0]  # ipywidgets does not choose one by itself
        self.curves.value = self.compared.value = self.pair_title.value = ""
        self.pair.show(lambda pad: None)
        replace_children(self.suspects, ())
        self.parts.enter()

    def _on_click(self, button: Button, clicked: Callable[[], object]) -> None:
        button.on_click(lambda _: self._jobs.guarded(clicked))

    def _measure_curve(self) -> None:
        found, concept = self._found(), self.curve_concept.value

        def done(curves: Causality) -> None:
            source = "" if curves.published is None else f"◇ {escape(curves.source)}"
            self.curves.value = f"{curves.figure().inline}<div class='gpx-note'>{source}</div>"

        self._jobs.start(f"Measuring “{concept}”", lambda ticket: found.curve(concept, ticket=ticket), done)

    def _find_artifacts(self) -> None:
        found, kit = self._found(), self._kit

        def done(ranked: list[Any]) -> None:
            shown = []
            for one in ranked[:SUSPECTS]:
                button = kit.button(
                    description=f"{one.unit} (+{one.excess:.1f})",
                    tooltip=f"{one.excess:.1f} standard deviations farther from the average than chance",
                    layout=kit.auto,
                )
                self._on_click(button, partial(self._draw_pair, one.unit))
                shown.append(button)
            replace_children(self.suspects, shown)
            self.pair_title.value = (
                "<div class='gpx-note'>Candidates for artifacts, the likeliest first: judge them by eye. "
                "Click one: its strongest samples, and below them the same with the unit off.</div>"
            )

        self._jobs.start("Ranking units", lambda ticket: found.artifact_candidates(ticket=ticket), done)

    def _draw_pair(self, unit: int) -> None:
        found = self._found()

        def done(pictures: tuple[Any, Any]) -> None:
            rows = [np.concatenate(list(row), axis=1) for row in pictures]
            size = (PAIR[0] * SHARPNESS, PAIR[1] * SHARPNESS)
            sheet = enlarged(np.concatenate(rows, axis=0), size)
            self.pair.show(lambda pad: pad.picture(sheet, 0, 0))
            self._look_at(unit)

        self._jobs.start(
            f"Drawing without unit {unit}", lambda ticket: found.before_after(unit, ticket=ticket), done
        )

    def _compare(self) -> None:
        found, layer = self._found(), self.other.value
        named = self.other_generator.value.strip()

        def work(ticket: Ticket) -> tuple[Exploration, list[ComparisonRow]]:
            other = self._explore(named or self._generator, None if named else layer)
            return other.measure("dissection", ticket=ticket), compare(found, other)

        def done(result: tuple[Exploration, list[ComparisonRow]]) -> None:
            other, rows = result
            self.compared.value = comparison(found, other, rows)

        self._jobs.start("Comparing", work, done)
