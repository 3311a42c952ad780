"""Scenes in pairs that differ by one object: what the generator learns to draw from edits."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..storage import replacing
from ..training.data import to_tensor
from .scenes import TRAINING, Scene

ByteArray = npt.NDArray[np.uint8]

OFTEN = ("tree", "dome", "window", "door", "cloud") * 2 + ("tree", "path", "mountain")
"""The concepts by which pairs differ, each as often as it stands here."""

INDICES: dict[str, Sequence[int | None]] = {
    "tree": (0, 1, 2, 3),
    "cloud": (0, 1, 2),
    "window": (None, None, 0, 1, 2, 3, 5),
    "dome": (None, 0, 1),
}
"""Which object of a concept: all of them for ``None``, as for concepts that are not listed."""

MINIMUM_SHARE = 0.002
"""Smaller objects (33 of 128 x 128 pixels) are mostly hidden and teach nothing."""

SEEDS_PER_PAIR = 2
"""A scene may offer no object that is large enough, so more seeds are set aside than pairs are wanted."""

CHUNK = 100


class Pair(NamedTuple):
    """Two pictures uint8 H x W x 3, their instance maps uint8 H x W, and the object's mask, bool H x W."""

    without: ByteArray
    with_: ByteArray
    instances_without: ByteArray
    instances_with: ByteArray
    mask: npt.NDArray[np.bool_]


def draw_pair(seed: int, size: int) -> Pair | None:
    """Draw the scene ``seed`` with and without one of its objects; ``None`` if none is large enough."""
    random = np.random.default_rng(seed)
    scene = Scene.sample(seed)
    for concept in random.permutation(OFTEN):
        choices = INDICES.get(str(concept), (None,))
        index = choices[int(random.integers(len(choices)))]
        for verb in random.permutation(["with_", "without"]):
            try:
                other = getattr(scene, verb)(str(concept), index, size=size)
            except ValueError:
                continue  # it has no such object to remove, or has it already
            if (other.object_mask > 0).mean() < MINIMUM_SHARE:
                continue
            without, with_ = (scene, other.scene) if verb == "with_" else (other.scene, scene)
            return Pair(
                without.render(size),
                with_.render(size),
                without.instance_map(size),
                with_.instance_map(size),
                other.object_mask > 0,
            )
    return None


def _draw_chunk(task: tuple[range, int, int]) -> list[npt.NDArray[np.generic]]:
    """Return the first ``count`` pairs of some seeds, stacked field by field."""
    seeds, count, size = task
    pairs = []
    for seed in seeds:
        pair = draw_pair(seed, size)
        if pair is not None:
            pairs.append(pair)
        if len(pairs) == count:
            break
    return [np.stack(field) for field in zip(*pairs, strict=True)]


class Batch(NamedTuple):
    """B pairs as tensors: pictures B x 3 x R x R in [-1, 1], maps int64 B x R x R, masks B x 1 x R x R."""

    without: Tensor
    with_: Tensor
    instances_without: Tensor
    instances_with: Tensor
    mask: Tensor


class Pairs:
    """Pairs at one size as arrays on disk, rendered by all processors when they are missing.

    Args:
        folder: where the arrays are kept.
        size: pixels a side.
        count: how many pairs.
        first: the training seed from which they begin.
    """

    def __init__(self, folder: Path, size: int, count: int, first: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"pairs-{size}-{first}-{count}-{name}.npy" for name in Pair._fields]
        if not paths[-1].exists():
            for path, array in zip(paths, self._rendered(size, count, first), strict=True):
                with replacing(path) as partial, partial.open("wb") as file:
                    np.save(file, array)
        self.arrays = [np.load(path, mmap_mode="r") for path in paths]

    @staticmethod
    def _rendered(size: int, count: int, first: int) -> list[npt.NDArray[np.generic]]:
        tasks = []
        for start in range(0, count, CHUNK):
            seeds = TRAINING[first + SEEDS_PER_PAIR * start :][: SEEDS_PER_PAIR * CHUNK]
            tasks.append((seeds, min(CHUNK, count - start), size))
        with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, len(tasks))) as pool:
            chunks = pool.map(_draw_chunk, tasks, chunksize=1)
        return [np.concatenate(field) for field in zip(*chunks, strict=True)]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def batches(self, count: int, seed: int) -> Iterator[Batch]:
        """Yield random batches without end, each pair mirrored half of the time."""
        random = np.random.default_rng(seed)
        while True:
            order = random.permutation(len(self))
            for start in range(0, len(order) - count + 1, count):
                chosen = np.sort(order[start : start + count])
                mirrored = random.random(count) < 0.5
                fields = []
                for array in self.arrays:
                    field = array[chosen]
                    field[mirrored] = field[mirrored, :, ::-1]
                    fields.append(field)
                without, with_, *maps, mask = fields
                instances = [torch.from_numpy(one.astype(np.int64)) for one in maps]
                yield Batch(
                    to_tensor(without),
                    to_tensor(with_),
                    instances[0],
                    instances[1],
                    torch.from_numpy(mask.astype(np.float32))[:, None],
                )
