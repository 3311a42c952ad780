"""The explorer's look: sizes, words and styles."""

from __future__ import annotations

from importlib.resources import files

from ...explorer.exploration import Order

COLUMNS, ROWS = 3, 5
"""Units on a page of the atlas, which fills column by column. A narrow page stacks the columns."""

PAGE = COLUMNS * ROWS

SAMPLES = 3
"""Strongest samples that the page shows of each unit."""

TILE, HEAD, GAP = 72, 22, 5
"""CSS pixels: a sample's side, the line above the samples, the space around a unit."""

CELL = (SAMPLES * TILE + 2 * GAP, TILE + HEAD + GAP)

STORED_TILE = 56
"""Pixels of a sample's side in a stored notebook, which should stay small."""

COMPANY = 6
"""Of a unit: so many others that are active with it."""

HEAT = 200
"""CSS pixels of the heatmap's side."""

OUTLINE = "#ffd400"

SELECTED = "selected units"
"""How the units that are being tried out are called in the editor."""

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
