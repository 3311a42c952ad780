"""Which latents a generator's pictures have: from standard normal numbers to z.

An autoencoder's encoder reads z from pictures, and its decoder draws them. If z is drawn from a standard
normal distribution, however, many z are unlike any that a picture has, and the decoder draws fragments. A
prior says which z there are. It is fitted after the autoencoder, to the latents of many pictures (Dai and
Wipf, "Diagnosing and Enhancing VAE Models", ICLR 2019).

This one is a rectified flow (Liu, Gong and Liu, "Flow Straight and Fast", ICLR 2023). A number x of each
component moves from noise (t = 0) to z (t = 1) with a velocity v(x, t) that a small network has learned. It
has learned the mean of z - noise over all straight lines from noise to latents that cross x at t.

``training/prior.py`` trains one.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS: Final = 16
"""Steps from noise to z, each with two looks at the velocity."""

TURNS: Final = tuple(0.5 * 16 ** (place / 15) for place in range(16))
"""How often the sines and cosines that say what t is turn between t = 0 and t = 1."""


class Prior(nn.Module):
    """A rectified flow among latents of ``latent_size`` components.

    Args:
        latent_size: Z.
        width: of the hidden layers.
        depth: hidden layers.
    """

    def __init__(self, latent_size: int, width: int = 480, depth: int = 2) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.config = {"width": width, "depth": depth}
        self.time = nn.Linear(2 * len(TURNS), width)
        self.inward = nn.ModuleList(nn.Linear(latent_size, width) for _ in range(depth))
        self.outward = nn.ModuleList(nn.Linear(width, latent_size) for _ in range(depth))
        self.last = nn.Linear(latent_size, latent_size)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Return v(x, t), B x Z.

        Args:
            x: B x Z, on the way from noise to latents.
            t: B, from 0 to 1.
        """
        angles = 2 * math.pi * t[:, None] * torch.tensor(TURNS, dtype=x.dtype, device=x.device)
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        hidden = x
        for inward, outward in zip(self.inward, self.outward, strict=True):
            hidden = hidden + outward(F.silu(inward(_normal(hidden)) + time))
        velocity: Tensor = self.last(_normal(hidden))
        return velocity

    def forward(self, noise: Tensor) -> Tensor:
        """Return latents, B x Z, for standard normal numbers of the same shape, by Heun's method."""
        x = noise
        for step in range(STEPS):
            start = x.new_full((len(x),), step / STEPS)
            begun = self.velocity(x, start)
            ended = self.velocity(x + begun / STEPS, start + 1 / STEPS)
            x = x + (begun + ended) / (2 * STEPS)
        return x


def _normal(x: Tensor) -> Tensor:
    """Return B x Z, each row with mean 0 and variance 1. Encoders give latents of equal lengths anyway."""
    return F.layer_norm(x, x.shape[1:])
