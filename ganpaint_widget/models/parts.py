"""Parts: what was found in a generator's features without labels, and a network that sees it in any picture.

Discovery (``dissection/discovery.py``) makes many small *clusters* of regions with like features, and joins
those that are alike in a tree. A *part* is a set of clusters; each part is one concept of a dissection. So
joining two parts is a union, and the tree says how to take one apart.

Clusters are of features, and a photo has none. Asking the encoder would serve only generators that have one,
and at the resolution of the edit layer's cells. So a small network learns from pictures which cluster
is where (*distillation*). It reads any picture, and puts the edges where the picture has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE: Final = 128
"""Pixels a side at which pictures are looked at, at most; larger ones are brought to it."""

EVEN: Final = 1e-4
"""Features that differ from their picture's mean by less than this part of their length do not differ."""


@dataclass(frozen=True)
class Evidence:
    """What dissection has counted of C units and K classes, from which all its tables follow.

    Attributes:
        thresholds: C x T, growing.
        high: C, each unit's 0.99 quantile.
        counts: C x K x (T + 1), in how many places of a class a unit lies above exactly so many thresholds.
        sums: K x C, each unit's sum over the cells in which the class is present.
        cells: K, how many cells these are.
        samples: pictures that were measured.
    """

    thresholds: Tensor
    high: Tensor
    counts: Tensor
    sums: Tensor
    cells: Tensor
    samples: int

    def grouped(self, member: Tensor, groups: int) -> Evidence:
        """Return the same of groups of classes, exactly: class k belongs to group ``member[k]``."""

        def joined(table: Tensor, dim: int) -> Tensor:
            shape = [*table.shape]
            shape[dim] = groups
            return table.new_zeros(shape).index_add_(dim, member, table)

        return Evidence(
            self.thresholds,
            self.high,
            joined(self.counts, 1),
            joined(self.sums, 0),
            joined(self.cells, 0),
            self.samples,
        )


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


class PartNetwork(nn.Module):
    """Pictures B x 3 x S x S in [-1, 1] to logits of M clusters, B x M x S/2 x S/2. S is a multiple of 16.

    A U-Net whose first step folds every 2 x 2 pixels into channels.

    Args:
        clusters: M.
        width: channels at half resolution; half as many again at each halving.
    """

    def __init__(self, clusters: int, width: int = 20) -> None:
        super().__init__()
        w0, w1, w2, w3 = width, width * 3 // 2, 2 * width, 3 * width
        self.width = width
        self.down = nn.ModuleList(
            [
                nn.Sequential(_block(12, w0), _block(w0, w0)),
                nn.Sequential(_block(w0, w1, 2), _block(w1, w1)),
                nn.Sequential(_block(w1, w2, 2), _block(w2, w2)),
                nn.Sequential(_block(w2, w3, 2), _block(w3, w3)),
            ]
        )
        self.up = nn.ModuleList([_block(w3 + w2, w2), _block(w2 + w1, w1), _block(w1 + w0, w0)])
        self.head = nn.Conv2d(w0, clusters, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pictures, 2)
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), kept.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


class Parts(nn.Module):
    """The parts of a generator's world, and a segmenter of them.

    Attributes:
        classes: the names of the K parts, in the order of the dissection's concepts.
        hidden: those that are not offered for painting.
        centroids: M x D, the clusters' directions in the units of the layer and of finer ones, of length 1;
            see :func:`directions`.
        tree: (M - 1) x 2, which two nodes were joined in each step; node M + s is what step s has made.
        member: M, the part of each cluster, 0 to K - 1.
        evidence: what dissection has counted of the M clusters; on the CPU.

    Args:
        network: tells clusters in pictures.
        classes, hidden, centroids, tree, member, evidence: see the attributes.
    """

    centroids: Tensor
    tree: Tensor
    member: Tensor

    def __init__(
        self,
        network: PartNetwork,
        *,
        classes: Sequence[str],
        hidden: Sequence[str] = (),
        centroids: Tensor,
        tree: Tensor,
        member: Tensor,
        evidence: Evidence,
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.hidden = tuple(hidden)
        self.evidence = evidence
        for name, one in (("centroids", centroids), ("tree", tree), ("member", member)):
            self.register_buffer(name, one.clone())

    def with_member(self, member: Tensor, classes: Sequence[str], hidden: Sequence[str]) -> Parts:
        """Return the same clusters as other parts; the network is shared."""
        made = Parts(
            self.network,
            classes=classes,
            hidden=hidden,
            centroids=self.centroids,
            tree=self.tree,
            member=member,
            evidence=self.evidence,
        )
        return made.train(self.training)

    def clusters_of(self, part: int) -> list[int]:
        """Return the numbers of the clusters that make up a part."""
        found: list[int] = (self.member == part).nonzero()[:, 0].tolist()
        return found

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits of the M clusters, B x M x H x W, of pictures B x 3 x H x W in [-1, 1]."""
        found = self.network(seen(pictures))
        return F.interpolate(found, size=pictures.shape[-2:], mode="bilinear", align_corners=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits of the K parts, B x K x H x W: the log of the sum of the clusters' odds."""
        chances = self.logits(pictures).log_softmax(dim=1)
        lowest = chances.new_full((), -1e4)
        return torch.stack(
            [
                torch.where((self.member == part).view(1, -1, 1, 1), chances, lowest).logsumexp(dim=1)
                for part in range(len(self.classes))
            ],
            dim=1,
        )

    @torch.no_grad()
    def masks(self, pictures: Tensor) -> Tensor:
        """Return soft masks of the K parts, B x K x H x W in [0, 1], of pictures B x 3 x H x W in [-1, 1].

        They sum to 1 over the parts.
        """
        logits: Tensor = self(pictures)
        return logits.softmax(dim=1)

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        """Label maps (B x H x W, int64 below K) of pictures B x 3 x H x W in [-1, 1].

        A pixel belongs to the part of its likeliest cluster, so that a union of parts is exactly that.
        """
        labels: Tensor = self.member[self.logits(pictures).argmax(dim=1)]
        return labels

    # --- as a part of a file ---

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which :meth:`unpacked` makes the same."""
        evidence = self.evidence
        tensors = {f"network.{name}": one for name, one in self.network.state_dict().items()}
        tensors |= {
            "centroids": self.centroids,
            "tree": self.tree,
            "member": self.member,
            # A count is at most the number of places, which int32 holds; it halves the file.
            "counts": evidence.counts.to(torch.int32),
            "sums": evidence.sums,
            "cells": evidence.cells,
            "thresholds": evidence.thresholds,
            "high": evidence.high,
        }
        plain = {
            "classes": list(self.classes),
            "hidden": list(self.hidden),
            "width": self.network.width,
            "samples": evidence.samples,
        }
        return {name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}, plain

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Parts:
        """Return what was :meth:`packed`; KeyError, TypeError or ValueError if it is not whole."""
        weights = {
            name.removeprefix("network."): one for name, one in tensors.items() if name.startswith("network.")
        }
        clusters, width = len(tensors["centroids"]), plain["width"]
        if type(width) is not int or not 4 <= width <= 256:
            raise ValueError(f"a network of the width {width!r}")
        network = PartNetwork(clusters, width)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError("weights that do not fit the network") from error
        made = cls(
            network,
            classes=plain["classes"],
            hidden=plain["hidden"],
            centroids=tensors["centroids"].float(),
            tree=tensors["tree"].long(),
            member=tensors["member"].long(),
            evidence=Evidence(
                tensors["thresholds"].float(),
                tensors["high"].float(),
                tensors["counts"].long(),
                tensors["sums"].float(),
                tensors["cells"].float(),
                plain["samples"],
            ),
        )
        made.check()
        return made.eval().requires_grad_(False)

    def check(self) -> None:
        """Raise ValueError if its tables do not fit together, or hold numbers that are not finite."""
        clusters, width = self.centroids.shape
        channels = len(self.evidence.high)
        bins = self.evidence.thresholds.shape[-1] + 1
        shapes = {
            "tree": (self.tree, (clusters - 1, 2)),
            "member": (self.member, (clusters,)),
            "counts": (self.evidence.counts, (channels, clusters, bins)),
            "sums": (self.evidence.sums, (clusters, channels)),
            "cells": (self.evidence.cells, (clusters,)),
            "thresholds": (self.evidence.thresholds, (channels, bins - 1)),
            "high": (self.evidence.high, (channels,)),
        }
        for name, (table, shape) in shapes.items():
            if table.shape != shape:
                raise ValueError(f"{name} of the shape {tuple(table.shape)}")
            if not table.isfinite().all():
                raise ValueError(f"{name} with numbers that are not finite")
        if width < channels:
            raise ValueError("directions of fewer numbers than the layer has units")
        weights = [*self.network.state_dict().values(), self.centroids]
        if not all(bool(one.isfinite().all()) for one in weights):
            raise ValueError("weights that are not finite")
        if not all(isinstance(name, str) for name in (*self.classes, *self.hidden)):
            raise ValueError("parts without names")
        if not {*self.hidden} <= {*self.classes} or type(self.evidence.samples) is not int:
            raise ValueError("hidden parts that are not there")
        if sorted({*self.member.tolist()}) != list(range(len(self.classes))):
            raise ValueError("clusters that belong to no part, or parts without clusters")
        nodes = torch.arange(clusters, 2 * clusters - 1)[:, None]
        if not bool(((self.tree >= 0) & (self.tree.cpu() < nodes)).all()):
            raise ValueError("a tree that is none")
        if len({*self.tree.flatten().tolist()}) != self.tree.numel():
            raise ValueError("a tree in which a branch hangs twice")


def seen(pictures: Tensor) -> Tensor:
    """Return pictures as the network is shown them: at most ``SIDE`` pixels a side, and a multiple of 16."""
    side = max(16, min(SIDE, pictures.shape[-1]) // 16 * 16)
    if pictures.shape[-2:] == (side, side):
        return pictures
    smaller = side < pictures.shape[-1]
    return F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False, antialias=smaller)


def directions(maps: Sequence[Tensor], settings: Sequence[Tensor]) -> Tensor:
    """Return features as they are compared: unit vectors, N x D, of what sets them apart from their picture.

    From each layer's features their picture's mean is taken away, since dusk must not make another sky. Then
    each layer's are brought to length 1 and put side by side with those of the others.

    Args:
        maps: of each layer features, N x C.
        settings: of each layer the means of the pictures that the features are from, N x C.
    """
    found = []
    for features, setting in zip(maps, settings, strict=True):
        apart = features - setting
        differs = apart.norm(dim=1, keepdim=True) > EVEN * setting.norm(dim=1, keepdim=True)
        found.append(F.normalize(apart * differs, dim=1))
    return F.normalize(torch.cat(found, dim=1), dim=1)
