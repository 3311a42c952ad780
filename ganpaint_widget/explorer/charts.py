"""Three small charts as SVG: sharp at any size, legible on light and dark pages, without a plotting library.

A :class:`Chart` as the last expression of a cell shows itself on white. Inside a page, ``chart.inline`` has
the page's text color.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

COLORS: Final = ("#1e88e5", "#00897b", "#e07b00", "#c2488f", "#7a6ff0")
"""Colors of the series, in turn, with a contrast of at least 3 on white and on JupyterLab's dark gray."""

DASHES: Final = ("none", "6 3", "2 3")
"""Patterns of a histogram's marks, in turn, for readers who cannot tell the colors apart."""

WIDTH: Final = 460
ROW: Final = 13
"""Height of one bar."""


@dataclass(frozen=True)
class Chart:
    """An SVG.

    Attributes:
        title: its title, which screen readers read.
        width, height: in CSS pixels.
        body: the content of the svg element.
    """

    title: str
    width: int
    height: int
    body: str

    @property
    def inline(self) -> str:
        """The svg element, with text in the color of the page around it."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}" '
            f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor">{self.body}</svg>'
        )

    def _repr_svg_(self) -> str:
        ground = f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        start, body = self.inline.split(">", 1)
        return f'{start} style="color: #202124">{ground}{body}'


def bars(names: Sequence[str], series: Mapping[str, Sequence[float]], title: str) -> Chart:
    """Draw horizontal bars: one of each series for each name, with its value at its end."""
    left, top = 90, 24 + 15 * len(series)
    largest = max([1.0, *(value for values in series.values() for value in values)])
    step = ROW * len(series) + 8
    parts = [_text(4, 14, title, bold=True), *_legend(series, 4, 20)]
    for row, name in enumerate(names):
        y = top + row * step
        parts.append(_text(left - 6, y + step / 2, name, anchor="end"))
        for index, values in enumerate(series.values()):
            value = values[row]
            length = (WIDTH - left - 50) * value / largest
            place = y + index * ROW
            parts.append(
                f'<rect x="{left}" y="{place}" width="{length:.1f}" height="{ROW - 2}" rx="2" '
                f'fill="{COLORS[index % len(COLORS)]}"/>'
            )
            parts.append(_text(left + length + 4, place + ROW - 3, f"{value:g}"))
    return Chart(title, WIDTH, top + len(names) * step + 4, "".join(parts))


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    marks: Sequence[tuple[float, float, str]],
    title: str,
    x_title: str,
    y_title: str,
) -> Chart:
    """Draw curves over ``x``, from 0 to 1 on the vertical axis, or further if values go beyond.

    Args:
        x: the rising values of the horizontal axis, common to all series.
        series: the values of each series, by name.
        marks: single points with a name: x, y, name.
        title, x_title, y_title: the titles of the chart and its axes.
    """
    height, top, left, bottom = 260, 24, 44, 34
    values = [value for one in series.values() for value in one] + [y for _, y, _ in marks] or [0.0]
    low, high = min(0.0, *values), max(1.0, *values)
    last = max([*x, *(place for place, _, _ in marks), 1])

    def across(value: float) -> float:
        return left + (WIDTH - left - 14) * value / last

    def down(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = [_text(4, 14, title, bold=True)]
    for tick in (low, 0.25, 0.5, 0.75, high):
        parts.append(_line(left, down(tick), WIDTH - 14, down(tick), 0.15))
        parts.append(_text(left - 5, down(tick) + 4, f"{tick:.2g}", anchor="end"))
    parts += [
        _text(across(value), height - bottom + 14, f"{value:g}", anchor="middle") for value in _ticks(last)
    ]
    parts.append(_text((left + WIDTH) / 2, height - 6, x_title, anchor="middle"))
    parts.append(
        f'<text transform="translate(11 {(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>"
    )
    for index, one in enumerate(series.values()):
        points = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in zip(x, one, strict=True))
        color = COLORS[index % len(COLORS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{across(a):.1f}" cy="{down(b):.1f}" r="2.5" fill="{color}"/>'
            for a, b in zip(x, one, strict=True)
        ]
    for place, value, name in marks:
        px, py = across(place), down(value)
        parts.append(
            f'<path d="M{px - 5:.1f} {py:.1f}l5 -5l5 5l-5 5Z" fill="none" '
            'stroke="currentColor" stroke-width="1.5"/>'
        )
        parts.append(_text(px - 9, py + 4, f"{name} {value:g}", anchor="end"))
    parts += _legend(series, left, height)
    return Chart(title, WIDTH, height + 15 * len(series) + 4, "".join(parts))


def histogram(
    counts: Sequence[int], edges: Sequence[float], marks: Sequence[tuple[float, str]], title: str
) -> Chart:
    """Draw bars over ``edges`` (one more than ``counts``), and upright lines with a legend above the bars.

    The heights are square roots of the counts, so that the few high activations are visible beside the many
    low ones. The legend lists the lines from left to right, each with its color and dashes. Names beside the
    lines would cross them where marks lie close together.
    """
    height, left, bottom = 150, 8, 20
    top = 30 + 15 * len(marks)
    low = min([edges[0], *(value for value, _ in marks)])
    high = max([edges[-1], *(value for value, _ in marks)])
    span = (high - low) or 1.0
    largest = math.sqrt(max([1, *counts]))

    def across(value: float) -> float:
        return left + (WIDTH - 2 * left) * (value - low) / span

    parts = [_text(4, 14, title, bold=True)]
    for count, (start, end) in zip(counts, pairwise(edges), strict=True):
        tall = height * math.sqrt(count) / largest
        parts.append(
            f'<rect x="{across(start):.1f}" y="{top + height - tall:.1f}" '
            f'width="{max(0.5, across(end) - across(start) - 0.5):.1f}" height="{tall:.1f}" '
            f'fill="{COLORS[0]}" opacity="0.75"><title>{start:.3g} to {end:.3g}: {count}</title></rect>'
        )
    for index, (value, name) in enumerate(sorted(marks)):
        px, y = across(value), 29 + 15 * index
        pen = (
            f'stroke="{COLORS[(index + 2) % len(COLORS)]}" stroke-width="1.5" '
            f'stroke-dasharray="{DASHES[index % len(DASHES)]}"'
        )
        parts.append(f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{top}" y2="{top + height}" {pen}/>')
        parts.append(f'<line x1="4" x2="28" y1="{y - 4}" y2="{y - 4}" {pen}/>')
        parts.append(_text(34, y, f"{name} {value:.3g}"))
    for value in (low, (low + high) / 2, high):
        anchor = {low: "start", high: "end"}.get(value, "middle")
        parts.append(_text(across(value), top + height + 13, f"{value:.3g}", anchor=anchor))
    return Chart(title, WIDTH, top + height + bottom, "".join(parts))


def _legend(names: Sequence[str] | Mapping[str, object], x: float, y: float) -> list[str]:
    parts = []
    for index, name in enumerate(names):
        place = y + 15 * index
        color = COLORS[index % len(COLORS)]
        parts.append(f'<rect x="{x}" y="{place + 2}" width="10" height="10" rx="2" fill="{color}"/>')
        parts.append(_text(x + 15, place + 11, name))
    return parts


def _ticks(last: float) -> list[float]:
    step = 10 ** math.floor(math.log10(max(last, 1)))
    step = step / 2 if last / step < 3 else step
    return [index * step for index in range(int(last / step) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="currentColor" opacity="{opacity}"/>'
    )
