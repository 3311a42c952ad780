"""VGG16 as a perceptual metric (Simonyan & Zisserman 2015), if its weights are in the cache.

They are torchvision's file ``vgg16-397923af.pth`` (528 MB), which this package neither ships nor fetches.
Once it is in the cache, models that have no segmenter are inverted by it; see ``method/inversion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import GANPaintError
from ..storage import cache_folder
from .checkpoints import checked_tensors, read_torch

FILE = "vgg16-397923af.pth"
ADDRESS = f"https://download.pytorch.org/models/{FILE}"

BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""The convolutions by their numbers in torchvision's ``features``; a pooling stands between two blocks."""


class VGG16(nn.Module):
    """The activations at the end of each of VGG16's five blocks, before it is pooled (relu1_2 to relu5_3).

    Args:
        tensors: ``features.N.weight`` and ``features.N.bias`` by name; the classifier's are passed over.
    """

    LAMBDA = 10.0
    """lambda of Bau et al. 2019 for these features."""

    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    """Of ImageNet's pictures in [0, 1]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for number in (number for block in BLOCKS for number in block):
            for part in ("weight", "bias"):
                self.register_buffer(f"{part}{number}", tensors[f"features.{number}.{part}"])
        for name, values in (("mean", self.MEAN), ("deviation", self.DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return five feature maps of pictures B x 3 x R x R in [-1, 1]; R is at least 16."""
        x = ((pictures + 1) / 2 - self.mean) / self.deviation
        maps: list[Tensor] = []
        for block in BLOCKS:
            if maps:
                x = F.max_pool2d(x, 2)
            for number in block:
                weight, bias = self.get_buffer(f"weight{number}"), self.get_buffer(f"bias{number}")
                x = F.conv2d(x, weight, bias, padding=1).relu()
            maps.append(x)
        return maps


def read_vgg16(path: Path) -> VGG16:
    """Read VGG16 from torchvision's file. Raises GANPaintError when it is damaged or another network's."""
    tensors = checked_tensors(read_torch(path), path.name)
    try:
        found = VGG16(tensors)
        with torch.no_grad():
            found(torch.zeros(1, 3, 16, 16))
    except (KeyError, RuntimeError) as error:
        raise GANPaintError(
            f"The tensors in {path.name} are not VGG16's.", f"Get the file again from {ADDRESS}."
        ) from error
    return found


def cached_vgg16() -> VGG16 | None:
    """Read VGG16 if its file is in the cache."""
    path = cache_folder() / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> VGG16:
    return read_vgg16(path)
