"""What the explorer looks like: sizes, words and styles."""

from __future__ import annotations

from ...explorer.atlas import STRONGEST
from ...explorer.exploration import Order

COLUMNS, ROWS = 3, 6
"""Units on a page of the atlas."""

PAGE = COLUMNS * ROWS

TILE, HEAD, GAP = 56, 20, 6
"""CSS pixels: a sample's side, the line above the samples, the space around a unit."""

CELL = (STRONGEST * TILE + 2 * GAP, TILE + HEAD + GAP)

COMPANY = 6
"""Of a unit: so many others that are active with it."""

HEAT = 224
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

STYLE = """<style>
.gpx { color: var(--jp-ui-font-color1, inherit); }
.gpx .gpx-canvas { pointer-events: none; margin: 0; }
.gpx .gpx-cells { margin: 0; overflow: hidden; }
.gpx .gpx-cells > button { width: auto; height: auto; margin: 1px; padding: 0 5px; border: 0;
  border-radius: 4px; background: transparent; color: var(--jp-ui-font-color1, inherit); font-size: 12px;
  line-height: 18px;
  text-align: left; display: block; align-self: stretch; overflow: hidden; box-shadow: none; }
.gpx .gpx-cells > button { padding-bottom: 57px; }
.gpx .gpx-cells > button.gpx-none { visibility: hidden; }
.gpx .gpx-cells > button:hover { box-shadow: inset 0 0 0 1px var(--jp-border-color1, #999); }
.gpx button.gpx-current { box-shadow: inset 0 0 0 2px var(--jp-brand-color1, #1976d2) !important; }
.gpx button.gpx-chosen { font-weight: 700; }
.gpx button:focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: -2px; }
.gpx .gpx-bars button { text-align: left; height: 24px; line-height: 24px; margin: 0; }
.gpx .gpx-bars .widget-html-content { align-self: center; line-height: normal; }
.gpx .gpx-track { position: relative; height: 9px; margin: 1px 0; }
.gpx .gpx-track i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 2px; }
.gpx .gpx-track b { position: absolute; font: 10px/9px system-ui, sans-serif; }
.gpx table.gpx-table { border-collapse: collapse; font-size: 12px; line-height: 1.35; }
.gpx .gpx-table td, .gpx .gpx-table th { padding: 1px 8px 1px 0; text-align: right; }
.gpx .gpx-table td:first-child, .gpx .gpx-table th:first-child { text-align: left; }
.gpx .gpx-table tr.gpx-strong td { font-weight: 700; }
.gpx .gpx-title { font-size: 14px; font-weight: 600; }
.gpx .gpx-hidden .jupyter-widgets, .gpx .gpx-hidden img { opacity: 0.55; }
.gpx .gpx-note { font-size: 12px; color: var(--jp-ui-font-color1, inherit); }
.gpx .gpx-wrong { color: var(--jp-error-color1, #b00020); font-weight: 600; }
.gpx .jupyter-widget-tab-contents, .gpx .widget-tab-contents { color: var(--jp-ui-font-color1, inherit); }
</style>"""
