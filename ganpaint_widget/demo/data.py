"""Rendered scenes as training data: made once, kept in the cache as memory-mapped arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..storage import replacing
from ..training.data import to_tensor
from .scenes import TRAINING, render_many

CLASS_COLORS = {
    "sky": "#78aae6",
    "cloud": "#f0f0ee",
    "mountain": "#6d7a93",
    "grass": "#5a9b3c",
    "path": "#d2be96",
    "wall": "#dc9a5f",
    "roof": "#b23e2b",
    "dome": "#f2be2c",
    "window": "#33407a",
    "door": "#7c4a24",
    "tree": "#1f5f2d",
}
"""One color a class, for label maps and for the brushes' palette."""


class SceneData:
    """Scenes at one size as arrays on disk.

    Args:
        folder: where the arrays are kept; they are rendered there when they are missing.
        size: pixels a side.
        seeds: which scenes; by default the first 20,000 of the training range.

    Attributes:
        images: uint8 N x H x W x 3.
        labels: uint8 N x H x W, indices into :data:`~ganpaint_widget.demo.scenes.CLASSES`.
    """

    def __init__(self, folder: Path, size: int, seeds: range = TRAINING[:20_000]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"scenes-{size}-{seeds.start}-{seeds.stop}"
        images_path, labels_path = Path(f"{stem}-images.npy"), Path(f"{stem}-labels.npy")
        shape = (len(seeds), size, size)
        if _whole(labels_path, shape) is None or _whole(images_path, (*shape, 3)) is None:
            images, labels = render_many(seeds, size, processes=os.cpu_count() or 1)
            for path, array in ((images_path, images), (labels_path, labels)):
                with replacing(path) as partial, partial.open("wb") as file:
                    np.save(file, array)
        self.images = np.load(images_path, mmap_mode="r")
        self.labels = np.load(labels_path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, count: int, seed: int, *, flip: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield random batches without end: float B x 3 x H x W in [-1, 1], and labels int64 B x H x W."""
        if count > len(self):
            raise ValueError(f"A batch of {count} was asked for, of {len(self)} scenes.")
        random = np.random.default_rng(seed)
        while True:
            order = random.permutation(len(self))
            for start in range(0, len(order) - count + 1, count):
                chosen = np.sort(order[start : start + count])
                images, labels = self.images[chosen], self.labels[chosen]
                if flip:
                    mirrored = random.random(count) < 0.5
                    images, labels = images.copy(), labels.copy()
                    images[mirrored] = images[mirrored, :, ::-1]
                    labels[mirrored] = labels[mirrored, :, ::-1]
                yield to_tensor(images), torch.from_numpy(labels.astype(np.int64))


def _whole(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the bytes of a file of the cache, if the file is complete."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None
