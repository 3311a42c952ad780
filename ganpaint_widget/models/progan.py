"""The ProGAN generator (Karras et al., "Progressive Growing of GANs", ICLR 2018).

The module names (``layerN.conv.weight``, ``layerN.wscale.b``, ``output_RxR...``) are those of the
converted public checkpoints, so that a state dict of theirs loads as it is. One layer is

    PixelNorm  ->  (nearest x2, on the first layer of a resolution)  ->  convolution without bias
    ->  x * scale + b,  scale = gain / k / sqrt(C_in), gain = sqrt(2)  ->  LeakyReLU 0.2

with two layers a resolution, and the output is PixelNorm -> 1x1 convolution with gain 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .generator import StagedGenerator, State, WeightCache
from .prior import Prior


def pixel_norm(x: Tensor) -> Tensor:
    """Return x / sqrt(mean over channels of x^2 + 1e-8), for B x C x H x W."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class _PixelNorm(torch.autograd.Function):
    """:func:`pixel_norm` with few passes over memory, for layers: it can be differentiated once.

    With r = 1 / sqrt(mean x^2 + 1e-8) and y = x r the gradient is dx = r (dy - y mean(dy y)). Both ways
    allocate once and go on in what they have just written.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.square()
        r = y.mean(dim=1, keepdim=True).add_(1e-8).rsqrt_()
        torch.mul(x, r, out=y)
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        y, r = ctx.saved_tensors
        dx = dy * y
        mean = dx.mean(dim=1, keepdim=True)
        torch.mul(y, mean, out=dx)
        return torch.sub(dy, dx, out=dx).mul_(r)


def _draw(weight: Tensor) -> None:
    """Draw initial weights, except on the meta device, which holds none and would import for a second."""
    if not weight.is_meta:
        nn.init.normal_(weight)


class _ScaledBias(nn.Module):
    """The equalized learning rate's run-time scale, and the bias that follows it."""

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
        _draw(self.conv.weight)
        self._cache = WeightCache()

    def forward(self, x: Tensor) -> Tensor:
        x = _PixelNorm.apply(x)  # type: ignore[no-untyped-call]
        weight = self._cache(self.conv.weight, self._scaled)
        if self.upsample:
            x = F.conv_transpose2d(x, weight, self.wscale.b, stride=2, padding=1)
        else:
            x = F.conv2d(x, weight, self.wscale.b, padding=self.conv.padding)
        return F.leaky_relu_(x, 0.2)  # in place: nobody else has the convolution's output

    def _scaled(self) -> Tensor:
        """Return the factors of the convolution, channels last, see :func:`.networks.channels_last`."""
        # The scale goes into the weights, which are far fewer than the features.
        weight = self.conv.weight * self.wscale.scale
        if not self.upsample:
            return weight.contiguous(memory_format=torch.channels_last)
        # A pixel doubled and then seen through 3 x 3 weights is a pixel spread by 4 x 4 weights, each the
        # sum of those that meet it: the same features for 4/9 of the multiplications.
        pads = [(left, 1 - left, top, 1 - top) for left in (0, 1) for top in (0, 1)]
        spread = torch.stack([F.pad(weight, pad) for pad in pads]).sum(dim=0)
        return spread.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)


class _Output(nn.Module):
    """``output_RxR``: features to RGB."""

    def __init__(self, in_channels: int, out_channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.wscale = _ScaledBias(in_channels, out_channels, 1, 1.0)
        _draw(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = _PixelNorm.apply(x)  # type: ignore[no-untyped-call]
        return F.conv2d(x, self.conv.weight * self.wscale.scale, self.wscale.b)


class ProGAN(StagedGenerator):
    """A ProGAN of any size.

    Args:
        latent_size: components of z (512 in the public models).
        channels: output channels of each resolution's two layers, beginning at 4 x 4; the public
            256 px model is ``(512, 512, 512, 256, 128, 64, 32)``.
        edit_layer: where edits are made; by default the second layer at 16 x 16 for pictures up to
            128 px, whose cells then fit small objects, and ``layer4`` (8 x 8, as published) above.
        prior: the sizes of its :class:`.Prior`, if it has one.

    Raises:
        ValueError: fewer than three resolutions or more than nine (1024 px).

    The fine layers are the second layer of every resolution after the one that follows the edit
    layer (published for 256 px with ``layer4``: layers 8, 10, 12, 14), or after the edit layer
    itself where that would leave fewer than two.
    """

    reach = 1

    def __init__(
        self,
        latent_size: int,
        channels: Sequence[int],
        edit_layer: str | None = None,
        prior: Mapping[str, int] | None = None,
    ) -> None:
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
        after = [name for name in names[1::2] if self.stage_index(name) > self.stage_index(edit_layer)]
        self.fine_layers = tuple(after[1:] if len(after) > 2 else after)
        if prior is not None:
            self.prior = Prior(latent_size, **prior)

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
            "prior": None if self.prior is None else self.prior.config,
        }


# --- the public checkpoints, whose tensors have had three sets of names ---


def public_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ProGAN's state dict under this module's names, from any of the three that public files use.

    - converted: ``layer3.conv.weight``, ``layer3.wscale.b``, ``output_256x256.conv.weight`` ...: as here;
    - old: ``features.2.conv.weight``, ``features.2.wscale.b``, ``output.conv.weight`` ...;
    - TensorFlow's: ``4x4/Dense/weight``, ``4x4/Conv/bias``, ``8x8/Conv0_up/weight``, ``8x8/Conv1/weight``,
      ``ToRGB_lod0/weight`` ..., whose axes are in another order.

    A stored ``wscale.scale`` follows from the shapes and is left out, like all else that is none of these.

    Raises:
        KeyError: the tensors do not contain a ProGAN.
    """
    if "4x4/Dense/weight" in tensors:
        return _from_tensorflow(tensors)
    if "features.0.conv.weight" in tensors:
        layers = sum(1 for name in tensors if re.fullmatch(r"features\.\d+\.conv\.weight", name))
        size = 4 * 2 ** (layers // 2 - 1)

        def renamed(name: str) -> str:
            name = re.sub(r"^features\.(\d+)\.", lambda found: f"layer{int(found[1]) + 1}.", name)
            return re.sub(r"^output\.", f"output_{size}x{size}.", name)

        tensors = {renamed(name): tensor for name, tensor in tensors.items()}
    if "layer1.conv.weight" not in tensors:
        raise KeyError("layer1.conv.weight")
    kept = re.compile(r"(layer\d+|output_\d+x\d+)\.(conv\.weight|wscale\.b)")
    return {
        name: tensor.flatten() if name.endswith(".b") else tensor
        for name, tensor in tensors.items()
        if kept.fullmatch(name)
    }


def _from_tensorflow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return names and axes of the original implementation, with RGB outputs of every size: lod0 is G(z)."""
    found = {}
    for number in range(1, 19):
        size = 4 * 2 ** ((number - 1) // 2)
        kind = ("Dense", "Conv")[number - 1] if size == 4 else ("Conv0_up", "Conv1")[(number - 1) % 2]
        weight = tensors.get(f"{size}x{size}/{kind}/weight")
        if weight is None:
            break
        if kind == "Dense":  # in x (out * 4 * 4); seen as a convolution of one pixel it is mirrored
            weight = weight.view(weight.shape[0], -1, 4, 4).transpose(0, 1).flip(2, 3)
        elif kind == "Conv0_up":  # 3 x 3 x out x in, of a transposed convolution, which mirrors
            weight = weight.permute(2, 3, 0, 1).flip(2, 3)
        else:  # 3 x 3 x in x out
            weight = weight.permute(3, 2, 0, 1)
        found[f"layer{number}.conv.weight"] = weight.contiguous()
        found[f"layer{number}.wscale.b"] = tensors[f"{size}x{size}/{kind}/bias"]
    size = 4 * 2 ** (len(found) // 4 - 1)
    found[f"output_{size}x{size}.conv.weight"] = tensors["ToRGB_lod0/weight"].permute(3, 2, 0, 1).contiguous()
    found[f"output_{size}x{size}.wscale.b"] = tensors["ToRGB_lod0/bias"]
    return found


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the constructor's arguments of a ProGAN whose state dict this is, from the tensors' shapes.

    Raises:
        KeyError: it is not the state dict of a ProGAN.
    """
    channels: list[int] = []
    while (key := f"layer{2 * len(channels) + 2}.conv.weight") in tensors:
        channels.append(tensors[key].shape[0])
    return {"latent_size": tensors["layer1.conv.weight"].shape[1], "channels": channels}
