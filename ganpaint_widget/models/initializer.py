"""A first delta in one pass: a network that has learned what :func:`.adaptation.adapt` would find.

At each fine layer of G_F a few convolutions read that layer's features, G(z_e), what of the photo is to be
kept less G(z_e), and the keep-mask, and say what the layer's output is to be multiplied by, less 1. What is
not kept is not shown to them, so nothing of the photo can come back inside an edit. The picture that this
gives is faithful to the photo before any optimization, which may then begin from there.

``training/initializer.py`` trains one, for any generator that has an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .generator import Modifier, StagedGenerator, State

SEEN = 7
"""Channels of what every layer is shown beside its features: two pictures and a mask."""


class Initializer(nn.Module):
    """x, z_e and the keep-mask to one delta for each fine layer, and the picture that they make.

    Args:
        shapes: (C, H, W) of each fine layer, by name, in the generator's order.
        width: channels of the convolutions.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], width: int = 48) -> None:
        super().__init__()
        stored = {name: list(shape) for name, shape in shapes.items()}
        self.config: dict[str, object] = {"shapes": stored, "width": width}
        self.heads = nn.ModuleDict()
        for name, (channels, _, _) in shapes.items():
            last = nn.Conv2d(width, channels, 1)
            nn.init.zeros_(last.weight)  # so that G' begins as G
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            self.heads[name] = nn.Sequential(
                nn.Conv2d(channels + SEEN, width, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
                nn.LeakyReLU(0.2),
                last,
            )

    def forward(
        self, generator: StagedGenerator, edited: State, x: Tensor, keep: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the deltas (B x C x H x W, by layer) and G'(z_e) (B x 3 x R x R, not clamped).

        Args:
            generator: G.
            edited: z_e at the edit layer.
            x: the photo, B x 3 x R x R in [-1, 1].
            keep: where it must come back, B x 1 x R x R in [0, 1].
        """
        drawn = generator.picture(generator.run(edited))
        seen = torch.cat([(x - drawn) * keep, drawn, keep.expand_as(x[:, :1])], dim=1)
        deltas: dict[str, Tensor] = {}

        def modifier(name: str) -> Modifier:
            def modify(features: Tensor) -> Tensor:
                scale = features.square().mean(dim=1, keepdim=True).add(1e-8).rsqrt()
                shown = F.interpolate(seen, features.shape[-2:], mode="area").to(features.dtype)
                deltas[name] = self.heads[name](torch.cat([features * scale, shown], dim=1))
                return features * (1 + deltas[name])

            return modify

        state = generator.run(edited, modify={name: modifier(name) for name in self.heads})
        return deltas, generator.picture(state)
