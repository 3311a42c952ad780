"""How much a difference of features matters: by what it changes in pictures.

Units of a layer differ. Some matter ten times as much as others, and some only together. Let J be the
Jacobian of what counts of a picture (its colors, its slopes, what a segmenter sees in it) by a cell's
features. A small difference d of the features changes all that by J d, whose squared length is d' J'J d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WEIGHED_BY = 160
"""Pictures that suffice to estimate it."""

Seen = Callable[[Tensor], Sequence[tuple[float, Tensor]]]
"""Draws features, B x C x H x W, and returns what counts of the pictures: weights, and maps B x K x h x w."""


def importance(seen: Seen, features: Tensor, probes: int = 2) -> Tensor:
    """Return the mean of J'J over cells, C x C, estimated with random probes.

    It is positive semidefinite: a difference d matters d' M d. Differences like those between ``features``
    themselves matter 1 on average.

    Args:
        seen: what counts of a picture. All maps count the same here.
        features: some hundred pictures' features, N x C x H x W.
        probes: random directions for each batch.
    """
    units = features.shape[1]
    varied = torch.cov(features.movedim(1, -1).reshape(-1, units).T)
    found: dict[int, Tensor] = {}
    for batch in torch.split(features, 8):
        asked = batch.clone().requires_grad_(True)
        with torch.enable_grad():
            for place, (_, one) in enumerate(seen(asked)):
                for _ in range(probes):
                    probe = (one * torch.randn_like(one)).sum()
                    (slope,) = torch.autograd.grad(probe, asked, retain_graph=True)
                    flat = slope.movedim(1, -1).reshape(-1, units)
                    found[place] = found.get(place, torch.zeros_like(varied)) + flat.T @ flat
    shares = [one / (one * varied).sum() for one in found.values()]
    return torch.stack(shares).mean(dim=0)


def important(missed: Tensor, matters: Tensor) -> Tensor:
    """Return how much differences B x C x H x W matter, B x 1 x H x W."""
    return (torch.einsum("bchw,cd->bdhw", missed, matters) * missed).sum(dim=1, keepdim=True)
