"""The number of units of each concept, as bars beside the atlas. A click on a concept filters the atlas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ipywidgets import Button, HBox, Layout, VBox

from ...explorer.rows import LabelRow
from .kit import Kit, close_all, mark
from .tables import tracks


class Bars:
    """The bars, with a row for each concept.

    Args:
        kit: makes the controls.
        picked: called with a clicked concept.
    """

    def __init__(self, kit: Kit, picked: Callable[[str], object]) -> None:
        self._kit, self._picked = kit, picked
        self._name = Layout(width="84px", flex="none")
        self._track = Layout(width="140px", margin="0")
        self._rows: dict[str, HBox] = {}
        self._legend = kit.html()
        self.box = VBox(layout=kit.width(230))
        self.box.add_class("gpx-bars")

    def show(self, rows: Sequence[LabelRow], chosen: str | None, measured: bool) -> None:
        """Show these concepts, most units first.

        Args:
            rows: see :meth:`.Exploration.per_concept`.
            chosen: the concept that filters the atlas.
            measured: whether the baselines were measured.
        """
        largest = max([1, *(max(row.units, row.rotated or 0) for row in rows)])
        shown = []
        for row in sorted(rows, key=lambda row: -row.units):
            bar = self._row(row.concept)
            mark(bar.children[0], "gpx-current", row.concept == chosen)
            bar.children[1].value = tracks(row, largest)
            shown.append(bar)
        more = ", dark: better than position alone<br>□ axes rotated at random" if measured else ""
        self._legend.value = f"<div class='gpx-note'>■ units{more}</div>"
        self.box.children = (*shown, self._legend)

    def close(self) -> None:
        """Close all rows, including those that are not shown at present."""
        close_all([self.box, self._legend, self._name, self._track, *self._rows.values()])

    def _row(self, concept: str) -> HBox:
        """Return a concept's row, which is made once, because a page never forgets a widget."""
        if concept not in self._rows:
            tooltip = f"Show only units labeled {concept}, or all units again"
            button: Button = self._kit.button(description=concept, tooltip=tooltip, layout=self._name)
            button.on_click(partial(self._clicked, concept))
            track = self._kit.html(layout=self._track)
            self._rows[concept] = HBox([button, track], layout=self._kit.plain)
        return self._rows[concept]

    def _clicked(self, concept: str, _: Button) -> None:
        self._picked(concept)
