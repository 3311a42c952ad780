"""Discriminators, and what keeps them honest: penalties and differentiable augmentation.

All compare pairs of a true and a made input (relativistic pairs; Jolicoeur-Martineau 2019), with gradient
penalties on both sides (R1 and R2; Huang et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Judges patches of pictures (Isola et al. 2017): B x 3 x R x R to scores B x 1 x R/8 x R/8.

    Args:
        planes: how many label planes come with each picture.
        widths: channels at a half, a quarter and an eighth of the resolution.
        details: how many times enlarged it sees a picture's :func:`details`, beside the picture; 0 without.
            It learns several times as fast with them what distinguishes a texture from a blur.
    """

    def __init__(
        self, planes: int = 0, widths: tuple[int, int, int] = (48, 96, 128), details: float = 0.0
    ) -> None:
        super().__init__()
        self.details = details
        first, second, third = widths
        layers: list[nn.Module] = []
        now = 4 * (3 * (2 if details else 1) + planes)
        for width, stride in ((first, 1), (second, 2), (second, 1), (third, 2), (third, 1)):
            layers += [nn.Conv2d(now, width, 3, stride=stride, padding=1), nn.LeakyReLU(0.2)]
            now = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(now, 1, 1))
        initialize(self)

    def forward(self, pictures: Tensor, classes: Tensor | None = None) -> Tensor:
        """Judge pictures whose ``classes`` are B x K x R x R, 1 where the class is."""
        scores: Tensor = self.layers(self._folded(pictures, classes))
        return scores.float()

    def activations(self, pictures: Tensor) -> list[Tensor]:
        """Return the outputs of the layers before the last one for pictures, from fine to coarse."""
        found, x = [], self._folded(pictures, None)
        for layer in list(self.layers)[:-1]:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return found

    def _folded(self, pictures: Tensor, classes: Tensor | None) -> Tensor:
        enlarged = self.details * details(pictures) if self.details else None
        parts = [F.pixel_unshuffle(one, 2) for one in (pictures, enlarged, classes) if one is not None]
        return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)


def details(pictures: Tensor) -> Tensor:
    """Return what a blur over 5 x 5 pixels takes from pictures B x C x H x W."""
    padded = F.pad(pictures, (2, 2, 2, 2), mode="reflect")
    return pictures - F.avg_pool2d(padded, 5, stride=1)


def initialize(judge: nn.Module) -> None:
    """Draw initial weights that keep the size of activations through leaky layers (He et al. 2015)."""
    for layer in judge.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def penalty(score: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return the mean squared norm of the gradient of each input's score: R1 on true inputs, R2 on made ones.

    Args:
        score: inputs B x ... to one number each, B.
        inputs: B x ...; nothing flows back to where they came from.
    """
    inputs = inputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(inputs).sum(), inputs, create_graph=True)
    return gradient.float().flatten(1).square().sum(dim=1).mean()


def augmented(inputs: Tensor, *, color: bool) -> Tensor:
    """Augment differentiably (Zhao et al. 2020), so that few pictures last for a long training.

    Each input is moved by up to an eighth of its side and loses a square of half its side. With ``color``,
    brightness, saturation and contrast change too.

    Args:
        inputs: B x C x H x W, pictures or features.
        color: whether they are pictures.
    """
    if color:
        inputs = _recolored(inputs)
    count, _, height, width = inputs.shape
    device = inputs.device
    reach = max(1, round(height / 8)), max(1, round(width / 8))
    moved_y, moved_x = (torch.randint(-most, most + 1, (count, 1, 1), device=device) for most in reach)
    y = torch.arange(height, device=device).view(1, -1, 1)
    x = torch.arange(width, device=device).view(1, 1, -1)
    from_y, from_x = y + moved_y, x + moved_x
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    picked = inputs.permute(0, 2, 3, 1)[
        torch.arange(count, device=device).view(-1, 1, 1),
        from_y.clamp(0, height - 1),
        from_x.clamp(0, width - 1),
    ]
    center_y = torch.randint(0, height, (count, 1, 1), device=device)
    center_x = torch.randint(0, width, (count, 1, 1), device=device)
    cut = ((y - center_y).abs() < height / 4) & ((x - center_x).abs() < width / 4)
    return (picked * (inside & ~cut).unsqueeze(-1).to(inputs.dtype)).permute(0, 3, 1, 2)


def _recolored(pictures: Tensor) -> Tensor:
    def drawn() -> Tensor:
        return torch.rand(len(pictures), 1, 1, 1, device=pictures.device, dtype=pictures.dtype)

    pictures = pictures + drawn() - 0.5
    gray = pictures.mean(dim=1, keepdim=True)
    pictures = gray + (pictures - gray) * 2 * drawn()
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * (drawn() + 0.5)


class FeatureDiscriminator(nn.Module):
    """Scores B x S of features B x C x G x G: one for the whole, which counts like all patches together."""

    def __init__(self, channels: int, grid: int, width: int = 192) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(0.2)
        self.fine = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            leaky,
            nn.Conv2d(width, width, 3, padding=1),
            leaky,
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            leaky,
        )
        self.patches = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1), leaky, nn.Conv2d(width // 2, 1, 1)
        )
        self.coarse = nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), leaky)
        side = grid // 4
        self.whole = nn.Sequential(
            nn.Conv2d(width + 1, width, 3, padding=1),
            leaky,
            nn.Flatten(),
            nn.Linear(width * side**2, width),
            leaky,
            nn.Linear(width, 1),
        )
        initialize(self)

    def forward(self, features: Tensor) -> Tensor:
        fine = self.fine(features)
        patches = self.patches(fine).float().flatten(1)
        coarse = self.coarse(fine)
        # Minibatch standard deviation in groups of four: the mean over everything, as one more plane.
        groups = coarse.float().view(4, -1, *coarse.shape[1:])
        spread = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3)).repeat(4)
        plane = spread.view(-1, 1, 1, 1).expand(-1, 1, *coarse.shape[2:]).to(coarse.dtype)
        whole = self.whole(torch.cat([coarse, plane], dim=1)).float()
        return torch.cat([math.sqrt(patches.shape[1]) * whole, patches], dim=1)
