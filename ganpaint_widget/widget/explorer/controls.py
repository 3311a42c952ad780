"""The explorer's controls and their arrangement. `explorer.py` defines their actions."""

from __future__ import annotations

import ipywidgets
from ipywidgets import FloatSlider, GridBox, HBox, Layout, VBox

from .bars import Bars
from .kit import Kit
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
)
from .pads import Pad
from .tables import heading, note


class Controls(VBox):  # type: ignore[misc]
    """The explorer's controls, without handlers. Those of its tabs are in `further.py`."""

    def _build(self, kit: Kit, bars: Bars) -> None:
        """Make all controls."""
        html, button, row, column = kit.html, kit.button, kit.row, kit.column
        self._layer = kit.dropdown(description="Layer", layout=kit.width(160))
        self._sort = kit.dropdown(options=list(SORTS), description="Sort by", layout=kit.width(190))
        self._concept = kit.dropdown(options=[ANY], description="for", layout=kit.width(160))
        self._search = kit.text(placeholder="Search concepts", layout=kit.width(150))
        self._back = button(icon="chevron-left", tooltip="Previous page", layout=kit.width(36))
        self._next = button(icon="chevron-right", tooltip="Next page", layout=kit.width(36))
        self._where = html()

        self._cancel = button(description="Cancel", icon="stop", layout=kit.width(100))
        self._offer = button(layout=Layout(width="auto", display="none"))
        self._offer.button_style = "primary"

        self._cells = [button(tooltip="Look at this unit") for _ in range(PAGE)]
        self._columns = [Pad(CELL[0], ROWS * CELL[1]) for _ in range(COLUMNS)]
        self._stages = []
        for place, pad in enumerate(self._columns):
            cells = GridBox(
                self._cells[place * ROWS : (place + 1) * ROWS],
                layout=Layout(
                    grid_area="1 / 1 / 2 / 2",
                    grid_template_columns=f"{CELL[0]}px",
                    grid_template_rows=f"repeat({ROWS}, {CELL[1]}px)",
                ),
            )
            cells.add_class("gpx-cells")
            self._stages.append(GridBox([pad.canvas, cells], layout=Layout(flex="none", margin="0")))
        atlas = row(self._stages)
        atlas.add_class("gpx-atlas")

        # It has a layout of its own, because it appears and disappears.
        self._baseline = button(
            description="Measure baselines", layout=Layout(width="auto", align_self="flex-start")
        )
        beside = column([html(heading("Units per concept")), bars.box, self._baseline])
        beside.add_class("gpx-column")

        self._heat = Pad(HEAT, HEAT)
        self._named = html()
        self._rows = html()
        self._histogram = html()
        self._together = row()
        self._together.add_class("gpx-chips")
        self._company = [button(layout=kit.auto) for _ in range(COMPANY)]
        told = column([self._rows, html(note("Active together with")), self._together])
        unit = row([column([self._named, self._heat.canvas]), told, column([self._histogram])])
        for part in unit.children:
            part.add_class("gpx-column")
        told.add_class("gpx-facts")

        self._add = button(icon="plus", layout=kit.auto)
        self._chosen = kit.text(
            description="Units", placeholder="numbers", continuous_update=False, layout=Layout(width="300px")
        )
        self._mode = kit.switch(options=list(MODES), description="Switch")
        self._region = kit.switch(options=[EVERYWHERE, PAINTED], description="in the")
        self._strength = FloatSlider(
            value=1, min=0, max=4, step=0.1, description="Strength", continuous_update=False,
            style=ipywidgets.SliderStyle(description_width="initial"), layout=Layout(width="240px"),
        )  # fmt: skip
        self._reset = button(description="Reset", icon="undo", layout=kit.width(90))
        self._brush_name = kit.text(description="Brush", placeholder="name", layout=kit.width(190))
        self._brush = button(description="Make brush", icon="paint-brush", layout=kit.width(130))
        self._brushes = row()
        self._brushes.add_class("gpx-chips")
        self._hint = html()
        act = column(
            [
                row([self._add, self._chosen, self._brush_name, self._brush, self._brushes]),
                row([self._mode, self._region, self._strength, self._reset]),
                self._hint,
            ]
        )
        act.add_class("gpx-column")

        self._editor = column()
        self._known = VBox([row([atlas, beside])])
        self._known.add_class("gpx-known")
        self._unit_row, self._act = unit, act
        pages = HBox([self._back, self._where, self._next])
        pages.add_class("gpx-pages")
        self._head = row([self._layer, self._sort, self._concept, self._search, pages])
        self._head.add_class("gpx-head")
