"""The demo world's encoder: a photo to the latent and the edit layer's features in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.2),
    )


class _Residual(nn.Module):
    """x + f(x) at one resolution; f begins as 0, so that an encoder can grow without forgetting."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _block(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.norm(self.second(self.first(x)))
        return refined


class Encoder(nn.Module):
    """E: pictures B x 3 x R x R in [-1, 1] to z (B x latent) and features (B x C x G x G).

    The trunk halves the picture down to the edit layer's grid; one head reads the features there, and a
    second trunk goes on to 4 x 4 and reads z. ProGAN normalizes z first, so only z's direction means
    anything; it is returned with the norm of a typical draw.

    Args:
        resolution: R.
        latent_size: components of z.
        features: (C, G, G) of the generator's edit layer.
        width: channels after the first convolution; doubled at each halving, up to four times.
        fold: every fold x fold pixels become channels before the first convolution, to save time at larger R.
        residual: how many residual blocks follow each halving, from the first on; none where the list ends.
    """

    def __init__(
        self,
        resolution: int,
        latent_size: int,
        features: Sequence[int],
        width: int = 48,
        fold: int = 1,
        residual: Sequence[int] = (),
    ) -> None:
        super().__init__()
        channels, grid, _ = features
        self.latent_size = latent_size
        self.config: dict[str, object] = {
            "resolution": resolution,
            "latent_size": latent_size,
            "features": list(features),
            "width": width,
            "fold": fold,
            "residual": list(residual),
        }
        self.fold = fold
        trunk: list[nn.Module] = [_block(3 * fold**2, width)]
        now, size = width, resolution // fold
        blocks = iter(residual)
        while size > grid:
            wider = min(2 * now, 4 * width)
            trunk += [_block(now, wider, stride=2), _block(wider, wider)]
            trunk += [_Residual(wider) for _ in range(next(blocks, 0))]
            now, size = wider, size // 2
        self.trunk = nn.Sequential(*trunk)
        self.features = nn.Sequential(_block(now, now), nn.Conv2d(now, channels, 3, padding=1))
        deep: list[nn.Module] = []
        while size > 4:
            deep += [_block(now, 4 * width, stride=2)]
            now, size = 4 * width, size // 2
        self.deep = nn.Sequential(*deep, nn.Flatten())
        self.latent = nn.Linear(now * 16, latent_size)

    def shared(self, pictures: Tensor) -> Tensor:
        """Return what both heads read, on the edit layer's grid."""
        x: Tensor = self.trunk(nn.functional.pixel_unshuffle(pictures, self.fold))
        return x

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.shared(pictures)
        z = self.latent(self.deep(shared))
        z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        return z, self.features(shared)
