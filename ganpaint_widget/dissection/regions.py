"""Regions of pictures: superpixels, joined where they look alike.

A cell of features often lies across an edge, and a cluster of such cells mixes two things. Means over regions
that follow the picture's own edges avoid this. Regions are also far fewer than cells, and a window counts as
much as the sky.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

ACROSS: Final = 12
"""Superpixels a side, where pictures are large enough."""

LEFT: Final = 40
"""Regions that remain of a picture after joining."""

COMPACT: Final = 0.2
"""The distance between neighboring superpixels, in units of color. Colors lie in [-1, 1]."""

ROUNDS: Final = 5
"""Rounds of assigning pixels and averaging."""


def superpixels(pictures: Tensor, across: int) -> Tensor:
    """Cut pictures into superpixels: k-means of color and place (SLIC, Achanta et al. 2012).

    Args:
        pictures: B x 3 x H x W in [-1, 1].
        across: superpixels a side. They start on a grid.

    Returns:
        The superpixel of each pixel, int64 B x H x W, below ``across`` ** 2.
    """
    height, width = pictures.shape[-2:]
    rows, columns = ((torch.arange(size) + 0.5) / size for size in (height, width))
    place = COMPACT * across * torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    pixels = torch.cat([pictures, place.expand(len(pictures), -1, -1, -1)], dim=1)
    centers = F.adaptive_avg_pool2d(pixels, across).flatten(2).transpose(1, 2)
    points = pixels.flatten(2).transpose(1, 2)
    for _ in range(ROUNDS):
        nearest = ((centers**2).sum(dim=2)[:, None] - 2 * points @ centers.transpose(1, 2)).argmin(dim=2)
        labels = nearest.view(-1, height, width)
        means, areas = region_means(pixels, labels, across**2)
        centers = torch.where(areas[:, :, None] > 0, means, centers)
    return labels


def region_means(maps: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the means of maps over regions, B x R x C, and the regions' areas in pixels, B x R.

    Args:
        maps: B x C x h x w; they are resized to the labels.
        labels: int64 B x H x W, below ``count``. A region without a pixel has the mean 0.
        count: R.
    """
    if maps.shape[-2:] != labels.shape[-2:]:
        maps = F.interpolate(maps, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    numbers = (labels + count * torch.arange(len(labels))[:, None, None]).flatten()
    sums = torch.zeros(len(labels) * count, maps.shape[1])
    sums.index_add_(0, numbers, maps.movedim(1, -1).flatten(0, 2))
    areas = torch.bincount(numbers, minlength=len(sums)).float()
    means = sums / areas.clamp_min(1)[:, None]
    return means.view(len(labels), count, -1), areas.view(len(labels), count)


def joined(described: Tensor, areas: Tensor, labels: Tensor, left: int = LEFT) -> Tensor:
    """Join regions that touch, the most similar ones first, until ``left`` of each picture remain.

    The cost of a step is the distance of the two regions, times the root of a b / (a + b) for their areas a
    and b. Ward's method (1963) minimizes the square of this. A region that stays small therefore differs
    clearly from its neighbors.

    Args:
        described: B x R x D, the descriptions to compare.
        areas: B x R, in pixels; 0 for a region that does not exist.
        labels: int64 B x H x W, below R.
        left: regions of each picture.

    Returns:
        The number of the region that each region now belongs to, int64 B x R.
    """
    batch, count, _ = described.shape
    described, areas, member = described.clone(), areas.clone(), torch.arange(count).repeat(batch, 1)
    touching = _touching(labels, count)
    weight = _harmonic(areas[:, :, None], areas[:, None])
    cost = torch.where(touching, torch.cdist(described, described) * weight, torch.inf)
    for _ in range(count - left):
        cheapest, pair = cost.flatten(1).min(dim=1)
        # All pictures take their steps together. Finished ones stay as they are.
        at = ((cheapest < torch.inf) & ((areas > 0).sum(dim=1) > left)).nonzero()[:, 0]
        if not len(at):
            break
        one, other = pair[at] // count, pair[at] % count
        pieces = torch.stack([areas[at, one], areas[at, other]])[:, :, None]
        both = torch.stack([described[at, one], described[at, other]])
        described[at, one] = (pieces * both).sum(dim=0) / pieces.sum(dim=0)
        areas[at, one], areas[at, other] = pieces.sum(dim=0)[:, 0], 0
        beside = touching[at, one] | touching[at, other]
        beside[torch.arange(len(at)), one] = False
        beside[torch.arange(len(at)), other] = False
        apart = (described[at] - described[at, one][:, None]).norm(dim=2)
        apart = torch.where(beside, apart * _harmonic(areas[at], areas[at, one][:, None]), torch.inf)
        for place, near, far in ((one, beside, apart), (other, False, torch.inf)):
            touching[at, place] = near
            touching[at, :, place] = near
            cost[at, place] = far
            cost[at, :, place] = far
        member[at] = torch.where(member[at] == other[:, None], one[:, None], member[at])
    return member


def _harmonic(areas: Tensor, others: Tensor) -> Tensor:
    return (areas * others / (areas + others).clamp_min(1)).sqrt()


def _touching(labels: Tensor, count: int) -> Tensor:
    """Return which regions have pixels side by side: bool B x R x R."""
    found = torch.zeros(len(labels), count * count, dtype=torch.bool)
    for one, other in (
        (labels[:, :, 1:], labels[:, :, :-1]),
        (labels[:, 1:], labels[:, :-1]),
    ):
        for pairs in (one * count + other, other * count + one):
            found.scatter_(1, pairs.flatten(1), True)
    return found.view(-1, count, count) & ~torch.eye(count, dtype=torch.bool)
