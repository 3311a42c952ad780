"""The demo world's gallery: scenes that no training has seen."""

from __future__ import annotations

import threading
from itertools import islice

import numpy as np
import numpy.typing as npt

from .scenes import HELD_OUT, Scene

COUNT = 200


class SceneGallery:
    """The first 200 scenes of the held-out seeds that have a church: an empty meadow offers little to edit.

    Args:
        size: pixels a side.
    """

    count = COUNT

    def __init__(self, size: int) -> None:
        self.size = size
        self._churches = (one for one in HELD_OUT if Scene.sample(one).parameters["church_present"] >= 0.5)
        self._found: list[int] = []
        self._looking = threading.Lock()

    def seed(self, index: int) -> int:
        """Return the seed of scene ``index`` (0 to 199), searching only as far as needed."""
        with self._looking:
            self._found += islice(self._churches, max(0, index + 1 - len(self._found)))
        return self._found[index]

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Return scene ``index`` (0 to 199), uint8 size x size x 3."""
        return Scene.sample(self.seed(index)).render(self.size)

    def title(self, index: int) -> str:
        """Return a title such as "Scene 3"."""
        return f"Scene {index}"
