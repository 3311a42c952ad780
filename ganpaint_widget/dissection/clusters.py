"""Clusters of directions, and the tree that joins them: spherical k-means and agglomeration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST: Final = 0.002
"""The share of all samples' area below which a part joins the most similar one."""

GRID: Final = 16
"""Cells a side of the grid on which the places of clusters are compared."""

SAME_PLACE: Final = 0.02
"""Added to 1 - overlap of two clusters' places, so that a distance remains if the places are the same."""


SAME: Final = 1e-4
"""The least 1 - cosine. Between clusters that point the same way, the other factors decide."""

LARGE: Final = 1 / 16
"""The power of both areas that divides a distance."""

SEEN: Final = 0.02
"""A share of the area of all samples. Below it, smaller clusters join sooner."""

TOUCH: Final = 200
"""Pixel pairs at which a border's own contrast begins to outweigh that of all borders."""


def kmeans(points: Tensor, clusters: int, *, seed: int = 0, rounds: int = 20, starts: int = 2) -> Tensor:
    """Run spherical k-means (Dhillon and Modha 2001) from k-means++ seeds; return M x D directions.

    Args:
        points: N x D, of length 1, on the CPU.
        clusters: M. The result has fewer if fewer points differ.
        seed: of the first centroids.
        rounds: rounds of assigning and averaging.
        starts: first choices to try. The result with the points nearest to their centroids wins.
    """
    random = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor] | None = None
    for _ in range(starts):
        centroids = points[torch.randint(len(points), (1,), generator=random)]
        apart = _apart(points, centroids[0])
        while len(centroids) < clusters and float(apart.max()) > 1e-5:
            chosen = points[torch.multinomial(apart, 1, generator=random)]
            centroids = torch.cat([centroids, chosen])
            apart = torch.minimum(apart, _apart(points, chosen[0]))
        for _ in range(rounds):
            nearest = (points @ centroids.T).argmax(dim=1)
            sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
            # A cluster without points keeps its centroid.
            sums = torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, centroids)
            centroids = F.normalize(sums, dim=1)
        reached = (points @ centroids.T).max(dim=1)
        kept = torch.bincount(reached.indices, minlength=len(centroids)) > 0
        quality = float(reached.values.mean())
        if best is None or quality > best[0]:
            best = quality, centroids[kept]
    assert best is not None
    return best[1]


def _apart(points: Tensor, direction: Tensor) -> Tensor:
    """Return 1 - cosine to the direction: N values, at least 0."""
    return (1 - points @ direction).clamp_min(0)


@dataclass(frozen=True)
class Borders:
    """The borders between clusters in pictures.

    Attributes:
        lengths: M x M, the number of pairs of neighboring pixels on both sides of a border.
        contrasts: M x M, the sum of the color differences over these pairs.
    """

    lengths: Tensor
    contrasts: Tensor


def linkage(
    centroids: Tensor, area: Tensor, places: Tensor | None = None, borders: Borders | None = None
) -> Tensor:
    """Join clusters step by step, always the most similar two: the tree, (M - 1) x 2.

    The distance of two clusters is 1 - cosine, times four factors:

    * The square of the contrast along their common border. Two bands of a sky flow into each other, but a
      window stands out from its wall. Clusters that hardly touch take the mean of all borders.
    * 1 - overlap of their places. The skies of noon and dusk look different but occur at the same places, and
      a tree stands out from the grass around it less by its color than by where it is.
    * A small power of their areas. k-means cuts large things to pieces, and these pieces join first.
    * The area of the smaller one, up to ``SEEN``. Slivers along edges mix both sides, and must not become
      parts of their own.

    Each step measures all of this anew for the union, which has the mean direction of its members, their
    places and their borders. Step s makes node M + s of the two nodes in row s, as SciPy numbers them.

    Args:
        centroids: M x D, of length 1.
        area: M, the share of all places that each cluster has.
        places: M x P, the distribution of each cluster over places in pictures. Each row sums to 1, or to 0
            for a cluster that never occurs. By default places do not count.
        borders: where clusters touch. By default borders do not count.
    """
    amount = len(centroids)
    share = area.double().clamp_min(1e-4)
    sums = centroids.double() * share[:, None]
    found = None if places is None else places.double() * share[:, None]
    sides = None if borders is None else torch.stack([borders.lengths, borders.contrasts]).double()
    typical = 0.0
    if sides is not None:
        apart = ~torch.eye(amount, dtype=torch.bool)
        typical = float(sides[1][apart].sum() / sides[0][apart].sum().clamp_min(1))
    nodes, left = list(range(amount)), torch.ones(amount, dtype=torch.bool)
    tree = []
    for step in range(amount - 1):
        directions = F.normalize(sums, dim=1)
        distance = (1 - directions @ directions.T).clamp_min(SAME) / (share[:, None] * share).pow(LARGE)
        distance *= torch.minimum(share[:, None], share).clamp_max(SEEN)
        if found is not None:
            spread = (found / found.sum(dim=1, keepdim=True).clamp_min(1e-9)).sqrt()
            # The Bhattacharyya coefficient of two distributions, 0 to 1.
            distance *= (1 + SAME_PLACE - spread @ spread.T).clamp_min(SAME_PLACE)
        if sides is not None:
            distance *= ((sides[1] + TOUCH * typical) / (sides[0] + TOUCH)).square()
        distance.fill_diagonal_(torch.inf)
        distance[~left], distance[:, ~left] = torch.inf, torch.inf
        one, other = sorted(divmod(int(distance.argmin()), amount))
        tree.append((nodes[one], nodes[other]))
        nodes[one], left[other] = amount + step, False
        for table in (sums, share, found):
            if table is not None:
                table[one] += table[other]
        if sides is not None:
            sides[:, one] += sides[:, other]
            sides[:, :, one] += sides[:, :, other]
    return torch.tensor(tree, dtype=torch.int64).view(-1, 2)


def borders_of(pictures: Tensor, labels: Tensor, clusters: int) -> Borders:
    """Measure the borders between clusters, and the color differences across them.

    Args:
        pictures: N x 3 x S x S.
        labels: int64 N x H x W, below ``clusters``; pictures are brought to their size.
        clusters: M.
    """
    colors = F.interpolate(pictures, size=labels.shape[-2:], mode="area")
    lengths, contrasts = torch.zeros(2, clusters**2, dtype=torch.float64)
    for dim in (1, 2):
        length = labels.shape[dim] - 1
        here, there = labels.narrow(dim, 0, length), labels.narrow(dim, 1, length)
        differ = (colors.narrow(dim + 1, 0, length) - colors.narrow(dim + 1, 1, length)).norm(dim=1)
        pairs = (here * clusters + there)[here != there]
        lengths += torch.bincount(pairs, minlength=clusters**2)
        contrasts.index_add_(0, pairs, differ[here != there].double())
    both = [table.view(clusters, clusters) for table in (lengths, contrasts)]
    return Borders(*(table + table.T for table in both))


def places_of(labels: Tensor, clusters: int) -> Tensor:
    """Return each cluster's distribution over a blurred grid of places: M x P, for :func:`linkage`.

    Args:
        labels: int64 N x H x W, below ``clusters``.
        clusters: M.
    """
    height, width = labels.shape[-2:]
    pixels = height * width
    place = torch.arange(pixels).expand(len(labels), -1)
    found = torch.bincount((labels.flatten(1) * pixels + place).flatten(), minlength=clusters * pixels)
    maps = found.view(clusters, 1, height, width).float()
    maps = F.adaptive_avg_pool2d(maps, (min(GRID, height), min(GRID, width)))
    maps = F.avg_pool2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), 3, stride=1).flatten(1)
    return maps / maps.sum(dim=1, keepdim=True).clamp_min(1e-9)


def cut(tree: Tensor, groups: int) -> Tensor:
    """Undo the last steps of a tree, so that ``groups`` remain; return the group of each cluster, M."""
    amount = len(tree) + 1
    below: dict[int, list[int]] = {node: [node] for node in range(amount)}
    for step, (one, other) in enumerate(tree[: max(0, amount - groups)].tolist()):
        below[amount + step] = below.pop(one) + below.pop(other)
    member = torch.zeros(amount, dtype=torch.int64)
    for group, clusters in enumerate(below.values()):
        member[clusters] = group
    return member


def visible(tree: Tensor, centroids: Tensor, area: Tensor, groups: int) -> Tensor:
    """Return the :func:`cut` in which ``groups`` groups are large enough to be seen.

    Differences between cells need not show in pictures. A group that covers less than ``SMALLEST`` of the
    area joins the most similar group.

    Args:
        tree: as for :func:`cut`.
        centroids: M x C, of length 1.
        area: M, the share of all pixels that the segmenter gives to each cluster.
        groups: how many groups to return. There may be fewer.

    Returns:
        The group of each cluster, M.
    """
    for tried in range(groups, len(area) + 1):
        member = cut(tree, tried)
        shares = torch.zeros(tried).index_add_(0, member, area)
        large = shares >= SMALLEST
        if int(large.sum()) >= groups or tried == len(area):
            break
    if not bool(large.any()):
        return torch.zeros_like(member)
    middles = torch.stack([centroids[member == group].mean(dim=0) for group in range(tried)])
    alike = (middles @ middles.T).masked_fill(~large, -torch.inf)
    joined = torch.where(large, torch.arange(tried), alike.argmax(dim=1))
    numbered: Tensor = torch.unique(joined[member], return_inverse=True)[1]
    return numbered


def branches(tree: Tensor, clusters: list[int]) -> tuple[list[int], list[int]]:
    """Split some clusters in two, at the last step of the tree that joined any of them."""
    amount = len(tree) + 1
    wanted = {*clusters}
    below = {node: {node} & wanted for node in range(amount)}
    found: tuple[set[int], set[int]] = ({*clusters}, set())
    for step, (one, other) in enumerate(tree.tolist()):
        if below[one] and below[other]:
            found = below[one], below[other]
        below[amount + step] = below[one] | below[other]
    return sorted(found[0]), sorted(found[1])
