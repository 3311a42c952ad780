"""Naming the pixels of a picture."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Segmenter(Protocol):
    """What dissection asks of a segmenter; any object with these two members is one.

    Attributes:
        classes: the names of the K classes.
    """

    classes: tuple[str, ...]

    def segment(self, pictures: Tensor) -> Tensor:
        """Label maps (B x H x W, int64 below K) of pictures B x 3 x H x W in [-1, 1]."""
        ...
