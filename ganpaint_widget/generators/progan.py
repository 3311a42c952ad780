"""The ProGAN generator (Karras et al., "Progressive Growing of GANs", ICLR 2018).

The module names (``layerN.conv.weight``, ``layerN.wscale.b``, ``output_RxR...``) are those of the
converted public checkpoints, so that a state dict of theirs loads as it is. One layer is

    PixelNorm  ->  (nearest x2, on the first layer of a resolution)  ->  convolution without bias
    ->  x * scale + b,  scale = gain / k / sqrt(C_in), gain = sqrt(2)  ->  LeakyReLU 0.2

with two layers a resolution, and the output is PixelNorm -> 1x1 convolution with gain 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .staged import StagedGenerator, State


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean over channels of x^2 + 1e-8), for B x C x H x W."""
    mean_square = torch.linalg.vector_norm(x, dim=1, keepdim=True).square() / x.shape[1]
    return x * torch.rsqrt(mean_square + 1e-8)


class _ScaledBias(nn.Module):
    """The equalised learning rate's run-time scale, and the bias that follows it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, gain: float) -> None:
        super().__init__()
        self.scale = gain / kernel / math.sqrt(in_channels)
        self.b = nn.Parameter(torch.zeros(out_channels))


class _Layer(nn.Module):
    """One of the layers ``layer1`` ... ``layerN``."""

    def __init__(self, in_channels: int, out_channels: int, *, first: bool, upsample: bool) -> None:
        super().__init__()
        kernel, padding = (4, 3) if first else (3, 1)
        self.upsample = upsample
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, bias=False)
        self.wscale = _ScaledBias(in_channels, out_channels, kernel, math.sqrt(2.0))
        nn.init.normal_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = pixel_norm(x)
        # The scale goes into the weights, which are far fewer than the features.
        weight, bias = self.conv.weight * self.wscale.scale, self.wscale.b
        if self.upsample:
            # A pixel doubled and then seen through 3 x 3 weights is a pixel spread by 4 x 4 weights, each the
            # sum of those that meet it: the same features for 4/9 of the multiplications.
            pads = [(left, 1 - left, top, 1 - top) for left in (0, 1) for top in (0, 1)]
            spread = torch.stack([F.pad(weight, pad) for pad in pads]).sum(dim=0)
            x = F.conv_transpose2d(x, spread.transpose(0, 1).flip(2, 3), bias, stride=2, padding=1)
        else:
            x = F.conv2d(x, weight, bias, padding=self.conv.padding)
        return F.leaky_relu(x, 0.2)


class _Output(nn.Module):
    """``output_RxR``: features to RGB."""

    def __init__(self, in_channels: int, out_channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.wscale = _ScaledBias(in_channels, out_channels, 1, 1.0)
        nn.init.normal_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(pixel_norm(x), self.conv.weight * self.wscale.scale, self.wscale.b)


class ProGAN(StagedGenerator):
    """A ProGAN of any size.

    Args:
        latent_size: components of z (512 in the public models).
        channels: output channels of each resolution's two layers, beginning at 4 x 4; the public
            256 px model is ``(512, 512, 512, 256, 128, 64, 32)``.
        edit_layer: where edits are made; by default the second layer at 16 x 16 for pictures up to
            128 px, whose cells then fit small objects, and ``layer4`` (8 x 8, as published) above.

    Raises:
        ValueError: fewer than three resolutions or more than nine (1024 px).

    The fine layers are the second layer of every resolution after the one that follows the edit
    layer (published for 256 px with ``layer4``: layers 8, 10, 12, 14), or after the edit layer
    itself where that would leave fewer than two.
    """

    def __init__(self, latent_size: int, channels: Sequence[int], edit_layer: str | None = None) -> None:
        super().__init__()
        if not 3 <= len(channels) <= 9:
            raise ValueError(f"A ProGAN of {len(channels)} resolutions was asked for. Pass 3 to 9 channels.")
        self.latent_size = latent_size
        self.channels = tuple(channels)
        self.resolution = 4 * 2 ** (len(channels) - 1)
        names: list[str] = []
        before = latent_size
        for block, width in enumerate(channels):
            for half in (1, 2):
                name = f"layer{2 * block + half}"
                layer = _Layer(before, width, first=not names, upsample=block > 0 and half == 1)
                self.add_module(name, layer)
                names.append(name)
                before = width
        self.stages = tuple(names)
        self.output_name = f"output_{self.resolution}x{self.resolution}"
        self.add_module(self.output_name, _Output(before))

        if edit_layer is None:
            edit_layer = "layer4" if self.resolution > 128 else f"layer{min(6, len(names) - 4)}"
        self.edit_layer = edit_layer
        after = [name for name in names[1::2] if self.position(name) > self.position(edit_layer)]
        self.fine_layers = tuple(after[1:] if len(after) > 2 else after)

    def start(self, z: Tensor) -> State:
        return State(features=z.view(z.shape[0], self.latent_size, 1, 1))

    def stage(self, name: str, state: State) -> State:
        return State(features=self.get_submodule(name)(state.features), stage=name)

    def picture(self, state: State) -> Tensor:
        picture: Tensor = self.get_submodule(self.output_name)(state.features)
        return picture

    @property
    def config(self) -> dict[str, object]:
        """The constructor's arguments, as they are stored beside the weights."""
        return {
            "latent_size": self.latent_size,
            "channels": list(self.channels),
            "edit_layer": self.edit_layer,
        }
