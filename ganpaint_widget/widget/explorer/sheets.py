"""Pages of the atlas as pictures."""

from __future__ import annotations

import base64
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...explorer.atlas import STRONGEST
from ...explorer.exploration import Exploration
from ...images.files import encode_jpeg
from .look import CELL, COLUMNS, GAP, HEAD, PAGE, ROWS, TILE
from .pads import SHARPNESS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sheets:
    """Pages of an atlas as pictures. Those that were asked for lately are kept."""

    def __init__(self, found: Exploration) -> None:
        self.drawn = lru_cache(maxsize=64)(partial(_drawn, found))
        self.stored = lru_cache(maxsize=1)(partial(_stored, found))


def read(generator: Any, layer: str | None, device: str | None) -> tuple[Exploration, Sheets]:
    """Prepare a layer, and the first page of its atlas, which will be needed at once."""
    found = Exploration(generator, layer, device=device)
    sheets = Sheets(found)
    if found.dissection is not None and found.atlas is not None:
        first = tuple(found.order()[:PAGE])
        sheets.drawn(first)
        sheets.stored(first)
    return found, sheets


def _drawn(found: Exploration, units: tuple[int, ...]) -> tuple[bytes, NDArray[np.float32]]:
    """Return a page for the canvas: one JPEG of all samples, and the borders of active regions.

    One JPEG, because each picture costs a round trip of its own. The borders are N x 2 x 2 in CSS pixels. The
    canvas wipes what lies between the units.
    """
    picture = np.full((ROWS * CELL[1] * SHARPNESS, COLUMNS * CELL[0] * SHARPNESS, 3), 128, np.uint8)
    borders = [np.empty((0, 2, 2), np.float32)]
    for place, unit in enumerate(units):
        x, y = _corner(place)
        strip = found.strip(unit, TILE * SHARPNESS)
        left, top = x * SHARPNESS, y * SHARPNESS
        picture[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
        borders += [
            border * TILE + np.array((x + index * TILE, y), np.float32)
            for index, border in enumerate(found.outlines(unit))
        ]
    return encode_jpeg(picture), np.concatenate(borders)


def _stored(found: Exploration, units: tuple[int, ...]) -> str:
    """Return a page for places without a kernel: a JPEG in base64, small enough for a notebook."""
    picture = encode_jpeg(found.picture(units, COLUMNS, TILE), quality=80)
    return base64.b64encode(picture).decode("ascii")


def gaps(units: int) -> list[tuple[int, int, int, int]]:
    """Where a page of so many units shows nothing: x, y, width, height in CSS pixels."""
    wide, high = COLUMNS * CELL[0], ROWS * CELL[1]
    gaps = [(0, row * CELL[1] - GAP, wide, HEAD + GAP) for row in range(ROWS + 1)]
    gaps += [(column * CELL[0] - GAP, 0, 2 * GAP, high) for column in range(COLUMNS + 1)]
    gaps += [(*_corner(place), STRONGEST * TILE, TILE) for place in range(units, PAGE)]
    return gaps


def _corner(place: int) -> tuple[int, int]:
    """Where the samples of a page's unit begin, in CSS pixels."""
    row, column = divmod(place, COLUMNS)
    return column * CELL[0] + GAP, row * CELL[1] + HEAD


def enlarged(array: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))
