"""From one object's mean activations to features that have its outline, its parts and its light.

An addition aims at an exemplar: one activation for each unit, the same in all cells of the mask. A cell of
the edit layer covers many pixels, and a mean cannot say where in a cell the outline runs, which side of a
dome is lit, or where the panes of a row of windows lie. The fine layers guess, and what they draw ends some
pixels off the mask. The shaper is a small network that reads the mask at the resolution of pixels, the
features around it and the exemplar, and says what the features inside are.

``training/shaper.py`` trains one. Its input does not name the concept: it learns how this generator draws
outlines, not what a tree is. So a discovery hands it on to all parts that it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .networks import channels_last

FOLD: Final = 8
"""Pixels of the mask a side that the network sees in each cell."""

MARGIN: Final = 2
"""Cells around the mask that the network sees."""

LARGEST: Final = {"units": 4096, "width": 512, "depth": 16}
"""Larger networks than this are not read from files."""


def filled(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """Return how far an addition fills each cell, B x 1 x H x W, for a mask B x 1 x R x R in [0, 1].

    It fills cells of which the mask covers two thirds or more, and others in proportion.

    Args:
        mask: what is painted.
        grid: H and W.
    """
    return (1.5 * F.adaptive_avg_pool2d(mask, (grid[0], grid[1]))).clamp_max(1)


class Shaper(nn.Module):
    """A mask, the features around it and an object's mean activations to the features inside the mask.

    Args:
        units: C, of the edit layer.
        concepts: those whose objects it shapes; ``None`` for all.
        width: channels of the convolutions.
        depth: pairs of convolutions.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, units: int, concepts: Sequence[str] | None, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.units, self.concepts = units, None if concepts is None else tuple(concepts)
        names = None if concepts is None else list(concepts)
        self.config: dict[str, Any] = {"units": units, "concepts": names, "width": width, "depth": depth}
        # Features are seen in units of each unit's spread.
        self.register_buffer("middle", torch.zeros(units, 1, 1))
        self.register_buffer("spread", torch.ones(units, 1, 1))
        self.mask = nn.Conv2d(FOLD**2, width, 3, padding=1)
        self.around = nn.Conv2d(units + 1, width, 1)
        self.object = nn.Conv2d(units, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(depth)
        )
        last = nn.Conv2d(width, units, 1)
        nn.init.zeros_(last.weight)  # so that it begins with the mean itself
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.last = nn.Sequential(nn.SiLU(), last)

    def knows(self, concept: str) -> bool:
        """Return whether it shapes objects of a concept."""
        return self.concepts is None or concept in self.concepts

    def for_all(self) -> Shaper:
        """Return a copy that shapes objects of all concepts."""
        made = Shaper(**{**self.config, "concepts": None})
        made.load_state_dict(self.state_dict())
        return channels_last(made.eval().requires_grad_(False))

    def forward(self, features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
        """Return p for each cell, B x C x H x W.

        Args:
            features: of the picture, B x C x H x W. What lies under the mask is not looked at.
            mask: what is painted, B x 1 x R x R in [0, 1].
            activations: the object's, B x C x 1 x 1.
        """
        height, width = features.shape[-2:]
        kind = features.dtype  # a user's generator may compute in half or double precision
        features, mask, activations = (one.to(self.middle) for one in (features, mask, activations))
        part = filled(mask, (height, width))
        if mask.shape[-2:] != (FOLD * height, FOLD * width):
            mask = F.adaptive_avg_pool2d(mask, (FOLD * height, FOLD * width))
        fine = F.pixel_unshuffle(mask, FOLD).contiguous(memory_format=torch.channels_last)
        around = (features - self.middle) / self.spread * (1 - part)
        seen = self.mask(fine) + self.around(torch.cat([around, part.expand_as(around[:, :1])], dim=1))
        seen = seen + self.object((activations - self.middle) / self.spread)
        for block in self.blocks:
            seen = seen + block(seen)
        shaped: Tensor = activations + self.spread * self.last(seen)
        return shaped.to(kind)

    @torch.no_grad()
    def within(self, features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
        """Return the same as a call does, B x C x H x W, computed only where the mask is.

        The network sees the mask's box and ``MARGIN`` cells around it. Cells elsewhere are ``activations``.

        Args:
            features, activations: as for a call.
            mask: 1 x 1 x R x R, the same for all pictures.
        """
        height, width = features.shape[-2:]
        shaped = activations.expand_as(features).clone()
        here = F.adaptive_max_pool2d(mask, (height, width))[0, 0] > 0
        if not bool(here.any()):
            return shaped
        spans = []
        for axis, length in ((1, height), (0, width)):
            places = here.any(dim=axis).nonzero()
            spans.append((max(0, int(places[0]) - MARGIN), min(length, int(places[-1]) + 1 + MARGIN)))
        (top, bottom), (left, right) = spans
        tall, wide = mask.shape[-2] // height, mask.shape[-1] // width
        seen = mask[..., tall * top : tall * bottom, wide * left : wide * right]
        box = (..., slice(top, bottom), slice(left, right))
        shaped[box] = self(features[box], seen, activations)
        return shaped

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain values from which :meth:`unpacked` makes the same, in half precision.

        Raises:
            ValueError: a weight is not finite in half precision, and would not be read again.
        """
        halved = {name: one.detach().cpu().half().contiguous() for name, one in self.state_dict().items()}
        _check_finite(halved)
        return halved, self.config

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Shaper:
        """Return what was :meth:`packed`; KeyError, TypeError or ValueError if it is not whole."""
        sizes = {name: plain[name] for name in LARGEST}
        if not all(type(one) is int and 1 <= one <= LARGEST[name] for name, one in sizes.items()):
            raise ValueError(f"a shaper of the sizes {sizes}")
        concepts = plain["concepts"]
        if concepts is not None and not all(isinstance(name, str) for name in concepts):
            raise ValueError("a shaper of concepts without names")
        made = cls(concepts=concepts, **sizes)
        try:
            made.load_state_dict({name: one.float() for name, one in tensors.items()})
        except RuntimeError as error:
            raise ValueError("weights that do not fit the shaper") from error
        _check_finite(tensors)
        return channels_last(made.eval().requires_grad_(False))


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    if not all(bool(one.isfinite().all()) for one in tensors.values()):
        raise ValueError("a shaper with weights that are not finite")
