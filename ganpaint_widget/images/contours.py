"""Where a map crosses a level, as line segments (marching squares)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .arrays import Floats


def contours(maps: Floats, level: float) -> list[npt.NDArray[np.float32]]:
    """Find where each map (S x h x w) crosses a level: segments N x 2 x 2, x and y from 0 to 1.

    The values are those of the cells' middles; outside they are below the level, so that regions at the
    border are closed.
    """
    count, height, width = maps.shape
    low = min(float(maps.min()), level) - 1e-3 * (1 + abs(level))
    padded = np.full((count, height + 2, width + 2), low, np.float32)
    padded[:, 1:-1, 1:-1] = maps
    a, b = padded[:, :-1, :-1], padded[:, :-1, 1:]  # corners of each square: a b above, d c below
    d, c = padded[:, 1:, :-1], padded[:, 1:, 1:]
    case = (a > level) * 1 + (b > level) * 2 + (c > level) * 4 + (d > level) * 8
    which, y, x, line = np.nonzero(_SQUARES[case][..., 0] >= 0)

    def on(side: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return where the level is crossed on a side, between its two corners."""
        corners = np.stack([a, b, c, d])
        first, second = _SIDES[side].T
        one, two = corners[first, which, y, x], corners[second, which, y, x]
        span = np.where(np.abs(two - one) < 1e-9, 1, two - one)
        part = np.clip((level - one) / span, 0, 1)[:, None]
        return np.asarray((1 - part) * _CORNERS[first] + part * _CORNERS[second], np.float32)

    sides = _SQUARES[case[which, y, x], line]
    ends = np.stack([on(sides[:, 0]), on(sides[:, 1])], axis=1) + np.stack([x, y], axis=1)[:, None]
    # Squares lie between the middles of cells, the first one half a cell outside.
    segments = np.clip((ends - 0.5) / (width, height), 0, 1).astype(np.float32)
    return np.split(segments, np.searchsorted(which, np.arange(1, count)))


_CORNERS: Final = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
"""x and y of a square's corners a, b, c, d."""

_SIDES: Final = np.array([(0, 1), (1, 2), (3, 2), (0, 3)])
"""The corners at the ends of its sides: top, right, bottom, left."""


def _squares() -> npt.NDArray[np.int64]:
    top, right, bottom, left = range(4)
    joined = {
        1: [(left, top)],
        2: [(top, right)],
        3: [(left, right)],
        4: [(right, bottom)],
        5: [(left, top), (right, bottom)],
        6: [(top, bottom)],
        7: [(left, bottom)],
        8: [(bottom, left)],
        9: [(bottom, top)],
        10: [(top, right), (bottom, left)],
        11: [(bottom, right)],
        12: [(right, left)],
        13: [(right, top)],
        14: [(top, left)],
    }
    table = np.full((16, 2, 2), -1)
    for case, lines in joined.items():
        table[case, : len(lines)] = lines
    return table


_SQUARES: Final = _squares()
"""16 x 2 x 2: by the corners that lie above the level up to two lines, from side to side; -1 is none."""
