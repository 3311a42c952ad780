"""The explorer's controls and how they are arranged. What they do is said in `explorer.py`."""

from __future__ import annotations

from functools import partial

import ipywidgets
from ipywidgets import HTML, Button, Dropdown, FloatSlider, GridBox, HBox, Layout, Text, VBox
from ipywidgets.widgets.widget_description import DescriptionStyle
from ipywidgets.widgets.widget_string import HTMLStyle, TextStyle

from .look import (
    ANY,
    CELL,
    COLUMNS,
    COMPANY,
    EVERYWHERE,
    HEAT,
    MODES,
    PAGE,
    PAINTED,
    ROWS,
    SORTS,
    STYLE,
)
from .pads import Pad
from .tables import heading, note


class Controls(VBox):  # type: ignore[misc]
    """All controls of the explorer, not connected to anything."""

    # Here, because ipywidgets closes also what was never finished.
    _pads: tuple[Pad, ...] = ()

    def _build(self) -> None:
        """All controls, once."""
        # Layouts and styles in common: each of its own would be one more model for the page to build.
        plain, wrap = Layout(), Layout(flex_flow="row wrap")
        html = partial(HTML, layout=plain, style=HTMLStyle())
        button = partial(Button, layout=plain, style=ipywidgets.ButtonStyle())
        row, column = partial(HBox, layout=wrap), partial(VBox, layout=plain)
        narrow = DescriptionStyle(description_width="initial")
        dropdown = partial(Dropdown, style=narrow)
        text = partial(Text, style=TextStyle(description_width="initial"))
        switch = partial(
            ipywidgets.ToggleButtons, style=ipywidgets.ToggleButtonsStyle(button_width="auto"), layout=plain
        )

        self._layer = dropdown(description="Layer", layout=Layout(width="160px"))
        self._sort = dropdown(options=list(SORTS), description="Sort by", layout=Layout(width="190px"))
        self._concept = dropdown(options=[ANY], description="for", layout=Layout(width="160px"))
        self._search = text(placeholder="Search concepts", layout=Layout(width="150px"))
        self._back = button(icon="chevron-left", tooltip="Previous page", layout=Layout(width="36px"))
        self._next = button(icon="chevron-right", tooltip="Next page", layout=Layout(width="36px"))
        self._where = html()

        self._status = html()
        self._status.add_class("gpx-status")
        self._progress = ipywidgets.FloatProgress(min=0, max=1, layout=Layout(width="220px"))
        self._cancel = button(description="Cancel", icon="stop", layout=Layout(width="100px"))
        self._job = HBox([self._progress, self._cancel], layout=Layout(display="none"))
        self._offer = button(layout=Layout(width="auto", display="none"))
        self._offer.button_style = "primary"

        self._atlas = Pad(COLUMNS * CELL[0], ROWS * CELL[1])
        self._cells = [button(tooltip="Look at this unit") for _ in range(PAGE)]
        cells = GridBox(
            self._cells,
            layout=Layout(
                grid_area="1 / 1 / 2 / 2",
                grid_template_columns=f"repeat({COLUMNS}, {CELL[0]}px)",
                grid_template_rows=f"repeat({ROWS}, {CELL[1]}px)",
            ),
        )
        cells.add_class("gpx-cells")
        stage = GridBox([self._atlas.canvas, cells], layout=Layout(flex="none", margin="0"))

        self._bars = VBox(layout=Layout(width="236px"))
        self._bars.add_class("gpx-bars")
        self._bar_button = partial(button, layout=Layout(width="80px", flex="none"))
        self._bars_row = plain
        self._bar_track = partial(html, layout=Layout(width="150px", margin="0"))
        self._legend = html()
        fitting = Layout(width="auto", align_self="flex-start")
        self._baseline = button(
            description="Measure baselines", layout=Layout(width="auto", align_self="flex-start")
        )
        bars = column([html(heading("Units per concept")), self._bars, self._baseline])

        self._heat = Pad(HEAT, HEAT)
        self._named = html()
        self._rows = html()
        self._histogram = html()
        self._together = row()
        self._company = [button(layout=Layout(width="auto")) for _ in range(COMPANY)]
        unit = row(
            [
                VBox([self._named, self._heat.canvas], layout=Layout(width="240px", flex="none")),
                column([self._rows, html(note("Active together with")), self._together]),
                column([self._histogram]),
            ]
        )

        self._add = button(icon="plus", layout=Layout(width="auto"))
        self._chosen = text(
            description="Units", placeholder="numbers", continuous_update=False, layout=Layout(width="300px")
        )
        self._mode = switch(options=list(MODES), description="Switch")
        self._region = switch(options=[EVERYWHERE, PAINTED], description="in the")
        self._strength = FloatSlider(
            value=1, min=0, max=4, step=0.1, description="Strength", continuous_update=False,
            style=ipywidgets.SliderStyle(description_width="initial"), layout=Layout(width="240px"),
        )  # fmt: skip
        self._reset = button(description="Reset", icon="undo", layout=Layout(width="90px"))
        self._brush_name = text(description="Brush", placeholder="name", layout=Layout(width="190px"))
        self._brush = button(description="Make brush", icon="paint-brush", layout=Layout(width="130px"))
        self._brushes = row()
        self._hint = html()
        act = column(
            [
                row([self._add, self._chosen, self._brush_name, self._brush, self._brushes]),
                row([self._mode, self._region, self._strength, self._reset]),
                self._hint,
            ]
        )
        act.add_class("gpx-act")

        self._curve_concept = dropdown(description="Concept", layout=Layout(width="200px"))
        self._curve = button(description="Measure curves", layout=fitting)
        self._curves = html()
        self._find = button(description="Rank all units", layout=fitting)
        self._suspects = row()
        self._pair_title = html()
        self._pair = Pad(4 * 120, 2 * 120)
        self._other = dropdown(description="Layer", layout=Layout(width="160px"))
        self._other_generator = text(
            description="of", placeholder="this generator", layout=Layout(width="260px")
        )
        self._compare_button = button(description="Compare", layout=fitting)
        self._compared = html()
        self._more = ipywidgets.Tab(
            [
                column([row([self._curve_concept, self._curve]), self._curves]),
                column([self._find, self._suspects, self._pair_title, self._pair.canvas]),
                column([row([self._other, self._other_generator, self._compare_button]), self._compared]),
            ],
            titles=("Causality", "Artifact units", "Compare"),
            layout=plain,
        )

        self._pads = (self._atlas, self._heat, self._pair)
        self._editor = column()
        self._known = VBox([row([stage, bars])])
        self._below = (unit, act, self._editor, self._more)
        turn = [self._back, self._where, self._next]
        head = row([self._layer, self._sort, self._concept, self._search, *turn])
        self._rooms = [html(STYLE), head, row([self._status, self._job, self._offer]), self._known]
