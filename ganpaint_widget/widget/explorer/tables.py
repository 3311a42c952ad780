"""Tables, bars and headings of the explorer as HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from ...explorer.exploration import Exploration


def heading(text: str) -> str:
    return f"<div class='gpx-title'>{escape(text)}</div>"


def note(text: str) -> str:
    return f"<div class='gpx-note'>{escape(text)}</div>"


def tracks(row: dict[str, Any], largest: int) -> str:
    """Two bars: units, those above the position baseline darker, and rotated axes."""
    units, rotated = row["units"], row.get("rotated")
    above = row.get("above_position", units)
    wide = 112

    def bar(count: int, style: str) -> str:
        return f"<i style='width:{wide * count / largest:.0f}px;{style}'></i>"

    end = wide * units / largest + 4
    first = bar(units, "background:#1e88e5;opacity:.45") + bar(above, "background:#1e88e5")
    first += f"<b style='left:{end:.0f}px'>{units}</b>"
    if rotated is None:
        return f"<div class='gpx-track'>{first}</div>"
    second = bar(rotated, "box-sizing:border-box;border:1.5px solid currentColor;opacity:.7")
    second += f"<b style='left:{wide * rotated / largest + 4:.0f}px'>{rotated}</b>"
    title = f"{units} units, {above} of them above position alone; {rotated} rotated axes"
    lines = "".join(f"<div class='gpx-track'>{line}</div>" for line in (first, second))
    return f"<div title='{title}'>{lines}</div>"


def unit_table(rows: list[dict[str, Any]], concept: str | None) -> str:
    names = ["concept", "iou", "iqr", "threshold", *(["effect"] if "effect" in rows[0] else [])]
    heads = {"iou": "IoU", "iqr": "IQR"}
    lines = ["<tr>" + "".join(f"<th>{heads.get(name, name)}</th>" for name in names) + "</tr>"]
    for row in rows:
        strong = " class='gpx-strong'" if row["concept"] == concept else ""
        cells = [escape(row["concept"]), *(_number(row[name]) for name in names[1:])]
        lines.append(f"<tr{strong}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<table class='gpx-table'>{''.join(lines)}</table>"


def comparison(one: Exploration, other: Exploration, rows: list[dict[str, Any]]) -> str:
    sides = [f"{each.model.name} {each.layer}" for each in (one, other)]
    head = "".join(f"<th>{escape(side)}: units</th><th>best IoU</th>" for side in sides)
    body = "".join(
        f"<tr><td>{escape(row['concept'])}</td>"
        + "".join(
            f"<td>{row[f'{side}_units']} ({row[f'{side}_share']:.0%})</td>"
            f"<td>{row[f'{side}_iou']:.2f} (unit {row[f'{side}_best']})</td>"
            for side in ("one", "other")
        )
        + "</tr>"
        for row in rows
    )
    return f"<table class='gpx-table'><tr><th>concept</th>{head}</tr>{body}</table>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
