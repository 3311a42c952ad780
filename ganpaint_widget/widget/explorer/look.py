"""The explorer's look: sizes, words and styles."""

from __future__ import annotations

from importlib.resources import files

from ...explorer.exploration import Order

COLUMNS, ROWS = 3, 5
"""Units on a page of the atlas, which is filled column by column. A narrow page stacks the columns."""

PAGE = COLUMNS * ROWS

SAMPLES = 3
"""Strongest samples of each unit to show."""

TILE, HEAD, GAP = 72, 22, 5
"""A sample's side, the height of the line above the samples, and the space around a unit, in CSS pixels."""

CELL = (SAMPLES * TILE + 2 * GAP, TILE + HEAD + GAP)

STORED_TILE = 56
"""A sample's side in a stored notebook, in pixels. Stored notebooks should stay small."""

COMPANY = 6
"""Coactive units to show for a unit."""

HEAT = 200
"""The heatmap's side, in CSS pixels."""

OUTLINE = "#ffd400"

SELECTED = "selected units"
"""The editor's name for the units that the explorer switches."""

ANY = "any concept"
SORTS: dict[str, Order] = {
    "IoU": "iou",
    "causal effect": "effect",
    "quality": "quality",
    "number": "number",
}
MODES = {"as it is": None, "off": "remove", "on": "add"}
EVERYWHERE, PAINTED = "whole picture", "painted region"

_WIDGET = files("ganpaint_widget.widget")
_SHEETS = (_WIDGET / "colors.css", _WIDGET / "explorer" / "explorer.css")
STYLE = f"<style>{''.join(sheet.read_text(encoding='utf-8') for sheet in _SHEETS)}</style>"
