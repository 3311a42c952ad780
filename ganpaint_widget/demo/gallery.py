"""The demo world's gallery: scenes that no training has seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .scenes import HELD_OUT, Scene


class SceneGallery:
    """The scenes of the held-out seeds, in their order.

    Args:
        size: pixels a side.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = len(HELD_OUT)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Scene ``index`` of the held-out range: uint8 size x size x 3."""
        return Scene.sample(HELD_OUT[index]).render(self.size)

    def title(self, index: int) -> str:
        """For example "Scene 3"."""
        return f"Scene {index + 1}"
