"""What training asks of its pictures, and how weights are laid out for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..models.generator import StagedGenerator
from ..models.networks import channels_last, private


class Data(Protocol):
    """Pictures of a generator's world to train on."""

    def batches(self, count: int, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield random batches without end: pictures B x 3 x R x R in [-1, 1], and labels int64 B x R x R.

        Labels are ``None`` if they are unknown.
        """


def to_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """Convert uint8 B x H x W x 3 to float B x 3 x H x W in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_bytes(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """Convert B x 3 x H x W, clamped to [-1, 1], to uint8 B x H x W x 3: the way back."""
    rounded = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


class SampleBatches:
    """Batches of a generator's own samples; with data, half of each batch are pictures of its world.

    It also seeds torch, so that what is made next has the same weights for the same seed.

    Args:
        generator: G; its weights stay.
        data: pictures of its world.
        batch: pictures a batch.
        seed: of latents, weights and pictures.

    Attributes:
        generator: a copy that is laid out for training.
        device: where it is.
        own: how many pictures of a batch are samples.
    """

    def __init__(self, generator: StagedGenerator, data: Data | None, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.generator = channels_last(private(generator))
        self.device = next(self.generator.parameters()).device
        self.own = batch if data is None else batch // 2
        self._world = None if data is None else data.batches(batch - self.own, seed)

    def latents(self) -> Tensor:
        """Draw latents of a batch's samples, B x Z."""
        return self.generator.latents(torch.randn(self.own, self.generator.latent_size))

    def beside(self, samples: Tensor) -> Tensor:
        """Return a whole batch: the samples, followed by the next pictures of the world."""
        if self._world is None:
            return samples
        return torch.cat([samples, next(self._world)[0].to(self.device)])
