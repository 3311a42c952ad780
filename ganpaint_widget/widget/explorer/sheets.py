"""Pages of the atlas as pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...explorer.exploration import Exploration
from ...images.files import encode_jpeg
from .look import CELL, COLUMNS, GAP, HEAD, OUTLINE, PAGE, ROWS, SAMPLES, STORED_TILE, TILE
from .pads import SHARPNESS, Pad

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sheets:
    """Pages of an atlas as pictures, column by column, with a cache of the latest ones."""

    def __init__(self, found: Exploration) -> None:
        self.drawn = lru_cache(maxsize=64)(partial(_drawn, found))
        self.stored = lru_cache(maxsize=1)(partial(_stored, found))


def read(generator: Any, layer: str | None, device: str | None) -> tuple[Exploration, Sheets]:
    """Prepare a layer, and the first page of its atlas, which is needed at once."""
    found = Exploration(generator, layer, device=device)
    sheets = Sheets(found)
    if found.dissection is not None and found.atlas is not None:
        first = tuple(found.order()[:PAGE])
        for units in columns(first):
            sheets.drawn(units)
        sheets.stored(first)
    return found, sheets


def columns(units: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Split a page's units into columns. The last ones may be empty."""
    return [units[place * ROWS : (place + 1) * ROWS] for place in range(COLUMNS)]


def _drawn(found: Exploration, units: tuple[int, ...]) -> tuple[bytes, NDArray[np.float32]]:
    """Return a column for its canvas: one JPEG of all samples, and the borders of active regions.

    It is one JPEG because each picture costs a round trip. The borders are N x 2 x 2 in CSS pixels. The
    canvas clears the space between the units.
    """
    picture = np.full((ROWS * CELL[1] * SHARPNESS, CELL[0] * SHARPNESS, 3), 128, np.uint8)
    borders = [np.empty((0, 2, 2), np.float32)]
    for place, unit in enumerate(units):
        x, y = _corner(place)
        strip = found.strip(unit, TILE * SHARPNESS, SAMPLES)
        left, top = x * SHARPNESS, y * SHARPNESS
        picture[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
        borders += [
            border * TILE + np.array((x + index * TILE, y), np.float32)
            for index, border in enumerate(found.outlines(unit)[:SAMPLES])
        ]
    return encode_jpeg(picture), np.concatenate(borders)


def draw_column(units: Sequence[int], picture: bytes, borders: NDArray[np.float32], pad: Pad) -> None:
    """Draw a column of the atlas, with outlined active regions."""
    pad.encoded(picture, 0, 0)
    for gap in _gaps(len(units)):
        pad.wipe(*gap)
    pad.lines(borders, "rgba(0, 0, 0, 0.65)", 3)
    pad.lines(borders, OUTLINE, 1.5)


def _stored(found: Exploration, units: tuple[int, ...]) -> str:
    """Return a page for places without a kernel: a JPEG in base64, small enough for a notebook."""
    picture = encode_jpeg(found.picture(units, COLUMNS, STORED_TILE), quality=80)
    return base64.b64encode(picture).decode("ascii")


def _gaps(units: int) -> list[tuple[int, int, int, int]]:
    """Return the empty areas of a column with so many units: x, y, width, height in CSS pixels."""
    wide, high = CELL[0], ROWS * CELL[1]
    gaps = [(0, row * CELL[1] - GAP, wide, HEAD + GAP) for row in range(ROWS + 1)]
    gaps += [(0, 0, GAP, high), (wide - GAP, 0, GAP, high)]
    gaps += [(*_corner(place), SAMPLES * TILE, TILE) for place in range(units, ROWS)]
    return gaps


def _corner(place: int) -> tuple[int, int]:
    """Return the corner of the samples of a column's unit, in CSS pixels."""
    return GAP, place * CELL[1] + HEAD


def enlarged(array: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))
