"""What training asks of its pictures, and how weights are laid out for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class Data(Protocol):
    """Pictures of a generator's world to train on."""

    def batches(self, count: int, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield random batches without end: pictures B x 3 x R x R in [-1, 1], and labels int64 B x R x R.

        Labels are ``None`` if they are unknown.
        """


def to_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 B x H x W x 3 to float B x 3 x H x W in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """Convert B x 3 x H x W, clamped to [-1, 1], to uint8 B x H x W x 3: the way back."""
    rounded = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


def beside_samples(data: Data | None, batch: int, seed: int) -> tuple[int, Iterator[Tensor] | None]:
    """How many samples of the generator are in a batch, and its other pictures: the data."""
    if data is None:
        return batch, None
    own = batch // 2
    return own, (pictures for pictures, _ in data.batches(batch - own, seed))


def bfloat16(device: torch.device) -> torch.autocast:
    """Bfloat16 for what follows, where torch has it at all versions that are allowed: not on Apple's GPUs."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "mps")


M = TypeVar("M", bound=nn.Module)


def channels_last(module: M) -> M:
    """Return the module itself, its weights laid out channels last: fastest on CPUs in bfloat16."""
    # One by one: Module.to fails on weights of five dimensions, as StyleGAN2's are.
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module
