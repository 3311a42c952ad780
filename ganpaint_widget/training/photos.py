"""A folder of photos as training data: read once, cut to squares of one size, kept in memory as bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import GANPaintError
from ..images.files import SUFFIXES, read_square
from .data import to_tensor

log = logging.getLogger(__name__)

HELD_OUT = 20

FEWEST = 50
"""With fewer photos a generator only learns them by heart."""


class Photos:
    """The photos of a folder and of the folders in it.

    They are upright and in sRGB, and each is cut to the square in its middle (see :mod:`..images.files`).

    Args:
        folder: where they lie.
        size: pixels a side that they are brought to.

    Attributes:
        images: uint8 N x S x S x 3, what training sees.
        count: N. As a gallery, they show these.
        held_out: uint8 M x S x S x 3, one photo in ``HELD_OUT``, which it never sees.
        refused: the names of files that could not be read, with the reason.

    Raises:
        GANPaintError: the folder does not exist, or has fewer than ``FEWEST`` readable photos.
    """

    def __init__(self, folder: Path, size: int) -> None:
        if not folder.is_dir():
            raise GANPaintError(f"The folder {str(folder)!r} does not exist.", "Pass a folder of photos.")
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        self.refused: dict[str, str] = {}

        def read(path: Path) -> npt.NDArray[np.uint8] | None:
            try:
                return read_square(path, size)
            except GANPaintError as error:
                self.refused[path.name] = error.message
                return None

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the interpreter's lock
            found = [one for one in pool.map(read, paths) if one is not None]
        for name, reason in self.refused.items():
            log.warning("left out %s: %s", name, reason)
        if len(found) < FEWEST:
            raise GANPaintError(
                f"The folder {str(folder)!r} holds {len(found)} readable photos.",
                f"Pass a folder with at least {FEWEST}; a few hundred of one kind are a good start.",
            )
        self.held_out = np.stack(found[::HELD_OUT])
        self.images = np.stack([one for number, one in enumerate(found) if number % HELD_OUT])
        self.count = len(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Return photo ``index`` (0 to ``count`` - 1), uint8 S x S x 3."""
        photo: npt.NDArray[np.uint8] = self.images[index]
        return photo

    def title(self, index: int) -> str:
        """Return a title such as "Photo 3"."""
        return f"Photo {index}"

    def batches(self, count: int, seed: int, device: str = "cpu") -> Iterator[tuple[Tensor, None]]:
        """Yield random batches without end: pictures B x 3 x S x S in [-1, 1], half of them mirrored.

        Args:
            count: B; it may be larger than the number of photos.
            seed: of the choice.
            device: where the batches are made. All photos are moved there once, as bytes.
        """
        random = torch.Generator().manual_seed(seed)
        if device == "cpu":
            while True:
                chosen = torch.randint(len(self), (count,), generator=random).numpy()
                pictures = to_tensor(self.images[chosen])
                yield _mirrored(pictures, random), None
        everything = torch.from_numpy(self.images).to(device)
        while True:
            at = torch.randint(len(self), (count,), generator=random).to(device)
            yield _mirrored(everything[at].permute(0, 3, 1, 2).float().div(127.5).sub(1), random), None


def _mirrored(pictures: Tensor, random: torch.Generator) -> Tensor:
    half = (torch.rand(len(pictures), generator=random) < 0.5).to(pictures.device).view(-1, 1, 1, 1)
    return torch.where(half, pictures.flip(3), pictures)
