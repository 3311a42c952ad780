"""Tables, bars and headings of the explorer as HTML."""

from __future__ import annotations

from html import escape

from ...explorer.exploration import Exploration
from ...explorer.rows import ComparisonRow, ConceptRow, LabelRow


def heading(text: str) -> str:
    return f"<div class='gpx-title'>{escape(text)}</div>"


def note(text: str) -> str:
    return f"<div class='gpx-note'>{escape(text)}</div>"


def tracks(row: LabelRow, largest: int) -> str:
    """Return two bars: units, with a darker part above the position baseline, and rotated axes."""
    units, rotated = row.units, row.rotated
    above = units if row.above_position is None else row.above_position
    wide = 112

    def bar(count: int, kind: str) -> str:
        return f"<i class='gpx-{kind}' style='width:{wide * count / largest:.0f}px'></i>"

    end = wide * units / largest + 4
    first = bar(units, "all") + bar(above, "above")
    first += f"<b style='left:{end:.0f}px'>{units}</b>"
    if rotated is None:
        return f"<div class='gpx-track'>{first}</div>"
    second = bar(rotated, "rotated")
    second += f"<b style='left:{wide * rotated / largest + 4:.0f}px'>{rotated}</b>"
    title = f"{units} units, {above} of them above position alone; {rotated} rotated axes"
    lines = "".join(f"<div class='gpx-track'>{line}</div>" for line in (first, second))
    return f"<div title='{title}'>{lines}</div>"


def unit_table(rows: list[ConceptRow], concept: str | None) -> str:
    measured = any(row.effect is not None for row in rows)
    heads = ["concept", "IoU", "IQR", "threshold", *(["effect"] if measured else [])]
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for row in rows:
        strong = " class='gpx-strong'" if row.concept == concept else ""
        numbers = (row.iou, row.iqr, row.threshold, *([row.effect] if measured else []))
        cells = [escape(row.concept), *map(_number, numbers)]
        lines.append(f"<tr{strong}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table class='gpx-table'>{''.join(lines)}</table>"


def comparison(one: Exploration, other: Exploration, rows: list[ComparisonRow]) -> str:
    sides = [f"{each.model.name} {each.layer}" for each in (one, other)]
    head = "".join(f"<th>{escape(side)}: units</th><th>best IoU</th>" for side in sides)
    body = "".join(
        f"<tr><td>{escape(row.concept)}</td>"
        + "".join(
            f"<td>{side.units} ({side.share:.0%})</td><td>{side.iou:.2f} (unit {side.best})</td>"
            for side in (row.one, row.other)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table class='gpx-table'><tr><th>concept</th>{head}</tr>{body}</table>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
