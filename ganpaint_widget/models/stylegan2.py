"""The StyleGAN2 generator (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020).

Written in plain PyTorch operations; nothing is compiled. The module names (``style.1``, ``conv1``,
``convs.0``, ``to_rgbs.0``, ``noises.noise_0``) are those of the widespread PyTorch checkpoints, so that a
state dict of theirs loads as it is. A mapping network turns z into w; every layer then is

    x * style(w)  ->  convolution  ->  / norm of the modulated weights  ->  + strength * noise  ->  + b
    ->  sqrt(2) * LeakyReLU 0.2

with one layer at 4 x 4 and two at each resolution after it, of which the first doubles the size: a transposed
convolution, blurred by the binomial (1, 3, 3, 1). Each resolution adds an RGB picture of its features to that
of the resolution before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .generator import StagedGenerator, State, WeightCache

MEAN_SAMPLES = 4096
"""Latents whose mean w stands for ``latent_avg`` in files that carry none."""


def binomial() -> Tensor:
    """Return (1, 3, 3, 1) in both directions, four in sum: one in four of the pixels it blurs is not zero."""
    row = (1, 3, 3, 1)
    return torch.tensor([[a * b / 16 for a in row] for b in row])


def _normal(*shape: int, std: float = 1.0) -> Tensor:
    """Draw initial weights, except on the meta device, which holds none and would import for seconds."""
    weight = torch.empty(shape)
    return weight if weight.is_meta else weight.normal_(std=std)


def _blur(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Every channel of B x C x H x W convolved with a 4 x 4 kernel, zeros around."""
    channels = x.shape[1]
    each = kernel.flip(0, 1).expand(channels, 1, -1, -1)
    # As one group a channel: several times quicker on CPUs than channels as a batch.
    return F.conv2d(x, each, padding=padding, groups=channels)


class _Linear(nn.Module):
    """Fully connected, with the run-time scale of the equalized learning rate."""

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(_normal(outputs, inputs, std=1 / rate))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)


class _PixelNorm(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class _MappingLayer(_Linear):
    """One of the mapping network's layers, which learn a hundred times slower than the others."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, rate=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(super().forward(x), 0.2) * math.sqrt(2)


class _Kernel(nn.Module):
    """A blur's kernel, which is stored in checkpoints."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", binomial())


class _ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style.

    Scaling the features before and after it gives the same as scaling the weights for each picture of the
    batch, and then one convolution does for all of them, with the weights as they are. What it returns is
    the caller's own, so that the caller may change it in place.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool, upsample: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(_normal(1, outputs, inputs, kernel, kernel))
        self.modulation = _Linear(style, inputs, bias=1.0)
        self.demodulate = demodulate
        self.upsample = upsample
        if upsample:
            self.blur = _Kernel()
        self._cache = WeightCache()

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
        weight = self.weight[0]
        style = self.modulation(w) / math.sqrt(weight[0].numel())
        x = x * style[:, :, None, None]
        if self.upsample:
            x = _blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), self.blur.kernel, 1)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            # The squared norm of an output's weights, each scaled by its input's style (section 2.2).
            norms = style.square() @ self._cache(self.weight, self._squares).T
            x.mul_(gain * torch.rsqrt(norms + 1e-8)[:, :, None, None])
        return x

    def _squares(self) -> Tensor:
        """Return the sums of the weights' squares, outputs x inputs."""
        return self.weight[0].square().sum(dim=(2, 3))


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class _Layer(nn.Module):
    """One of the layers, ``conv1`` or ``convs.i``."""

    def __init__(self, inputs: int, outputs: int, style: int, *, upsample: bool) -> None:
        super().__init__()
        self.conv = _ModulatedConv(inputs, outputs, 3, style, demodulate=True, upsample=upsample)
        self.noise = _Noise()
        self.activate = _Bias(outputs)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor, clamp: float | None = None) -> Tensor:
        # sqrt(2) goes into what is small: LeakyReLU does not mind whether it comes before or after. And
        # nothing is copied that need not be: at 256 px a copy is 32 MiB, kept for the gradient.
        gain = math.sqrt(2)
        x = self.conv(x, w, gain)
        x.add_(gain * self.noise.weight * noise).add_(gain * self.activate.bias[:, None, None])
        return _clamped(F.leaky_relu_(x, 0.2), clamp)


def _clamped(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else x.clamp(-clamp, clamp)


class _ToRGB(nn.Module):
    """``to_rgb1`` or ``to_rgbs.i``: the features' RGB, added to what the resolution before has drawn."""

    def __init__(self, inputs: int, style: int, *, upsample: bool) -> None:
        super().__init__()
        self.conv = _ModulatedConv(inputs, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = _Kernel()

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None, clamp: float | None = None) -> Tensor:
        rgb = _clamped(self.conv(x, w) + self.bias, clamp)
        if skip is None:
            return rgb
        # Zeros between the pixels, two around: of the blurred rows and columns the last is one too many.
        spread = rgb.new_zeros(rgb.shape)
        spread[:, :, ::2, ::2] = skip
        return rgb + _blur(spread, self.upsample.kernel, 2)[:, :, :-1, :-1]


class _Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(_normal(1, channels, 4, 4))


class StyleGAN2(StagedGenerator):
    """A StyleGAN2 of any size, with skip connections to RGB (the paper's configuration F).

    The stages are ``b4_conv1``, ``b8_conv0``, ``b8_conv1``, ``b16_conv0`` ...: the first and second layer of
    each resolution. The state's ``extra`` carries

    - ``w``, B x :attr:`layers_of_w` x style_size: the style of each layer and each RGB output;
    - ``skip``, B x 3 x H x H: the RGB of the resolutions before this one;
    - ``noise_<stage>``, B x 1 x H x H: another noise than the checkpoint's own for a stage, where
      :meth:`start_w` was given one.

    A resolution's RGB is read from its second layer's features only when the next stage runs, so what an
    edit or a perturbation makes of them reaches the picture on both ways.

    Args:
        channels: of each resolution's layers, beginning at 4 x 4; the public 256 px models have
            ``(512, 512, 512, 512, 512, 256, 128)``.
        latent_size: components of z.
        style_size: components of w.
        mapping_layers: depth of the mapping network (8 in the public models).
        truncation_psi: psi: w is moved towards its mean to ``mean + psi * (w - mean)``; 1 leaves it, smaller
            values trade variety for quality (section "truncation trick" of StyleGAN, CVPR 2019).
        edit_layer: where edits are made; by default the second layer at 16 x 16 for pictures up to 128 px,
            above at R / 32: cells of 32 px, as published for 256 px pictures of ProGAN.
        clamp: the largest value, without its sign, of what a layer or an RGB output draws, for networks that
            were trained with such a bound (NVIDIA's ``conv_clamp``: 256 in StyleGAN2-ADA's half precision).
        noise_seed: from which the noises were drawn (:func:`drawn_noises`), where the checkpoint had none.

    Raises:
        ValueError: fewer than three resolutions or more than nine (1024 px), or a bound that is not positive.

    The fine layers are chosen as in :class:`~.progan.ProGAN`.
    """

    latent_avg: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        latent_size: int = 512,
        style_size: int = 512,
        mapping_layers: int = 8,
        truncation_psi: float = 1.0,
        edit_layer: str | None = None,
        clamp: float | None = None,
        noise_seed: int | None = None,
    ) -> None:
        super().__init__()
        if clamp is not None and not clamp > 0:
            raise ValueError(f"A bound of {clamp} was asked for. Pass a positive number, or none.")
        if not 3 <= len(channels) <= 9:
            raise ValueError(
                f"A StyleGAN2 of {len(channels)} resolutions was asked for. Pass 3 to 9 channels."
            )
        if not 1 <= mapping_layers <= 64:
            raise ValueError(f"A mapping network of {mapping_layers} layers was asked for. Pass 1 to 64.")
        self.latent_size = latent_size
        self.style_size = style_size
        self.channels = tuple(channels)
        self.mapping_layers = mapping_layers
        self.truncation_psi = float(truncation_psi)
        self.clamp = None if clamp is None else float(clamp)
        self.noise_seed = noise_seed
        self.resolution = 4 * 2 ** (len(channels) - 1)
        self.layers_of_w = 2 * len(channels)

        sizes = [latent_size, *[style_size] * mapping_layers]
        self.style = nn.Sequential(
            _PixelNorm(), *(_MappingLayer(sizes[i], sizes[i + 1]) for i in range(mapping_layers))
        )
        self.input = _Constant(channels[0])
        self.conv1 = _Layer(channels[0], channels[0], style_size, upsample=False)
        self.to_rgb1 = _ToRGB(channels[0], style_size, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        names = ["b4_conv1"]
        for block, (before, width) in enumerate(pairwise(channels), start=1):
            self.convs.append(_Layer(before, width, style_size, upsample=True))
            self.convs.append(_Layer(width, width, style_size, upsample=False))
            self.to_rgbs.append(_ToRGB(width, style_size, upsample=True))
            names += [f"b{4 * 2**block}_conv{half}" for half in (0, 1)]
        self.stages = tuple(names)
        for index, noise in enumerate(drawn_noises(len(names), noise_seed)):
            self.noises.register_buffer(f"noise_{index}", noise.to(self.input.input.device))
        self.register_buffer("latent_avg", torch.zeros(style_size))

        if edit_layer is None:
            grid = self.resolution // 32 if self.resolution > 128 else min(16, self.resolution // 4)
            edit_layer = f"b{grid}_conv1"
        self.edit_layer = edit_layer
        seconds = names[2::2]
        after = [name for name in seconds if self.stage_index(name) > self.stage_index(edit_layer)]
        self.fine_layers = tuple(after[1:] if len(after) > 2 else after)

    @classmethod
    def stored(cls, *, truncation: float = 1.0, **config: Any) -> StyleGAN2:
        """Return the network of a stored :attr:`config`, where psi goes by an earlier name."""
        return cls(truncation_psi=truncation, **config)

    # --- from z to w ---

    def mapped(self, z: Tensor) -> Tensor:
        """Return w of latents z, B x latent_size to B x style_size, before truncation."""
        w: Tensor = self.style(z)
        return w

    def start(self, z: Tensor) -> State:
        return self.start_w(self._truncated(z))

    def truncated(self, truncation_psi: float) -> StyleGAN2:
        other = copy(self)  # of the same weights: sessions share what was read
        other.truncation_psi = float(truncation_psi)
        return other

    def _truncated(self, z: Tensor) -> Tensor:
        w = self.mapped(z)
        psi = self.truncation_psi
        return w if psi == 1 else self.latent_avg + psi * (w - self.latent_avg)

    def extended(self, z: Tensor) -> Tensor:
        """Return the styles of z as a point in W+, where each layer may have a style of its own.

        After Abdal et al., "Image2StyleGAN" (ICCV 2019), who found photographs in W+ that are not in W.
        """
        return self._truncated(z)[:, None].repeat(1, self.layers_of_w, 1)

    def start_extended(self, latents: Tensor) -> State:
        return self.start_w(latents)

    def start_w(self, w: Tensor, noise: Mapping[str, Tensor] | None = None) -> State:
        """Return the state before the first stage, from styles instead of z.

        Args:
            w: B x style_size, or B x :attr:`layers_of_w` x style_size (the space W+): one for each layer and
                its resolution's RGB, in the order in which they use it. It is taken as it is, not truncated.
            noise: by stage, B x 1 x H x H in place of the stored noise.

        Raises:
            ValueError: the shape is none of these, or a name is not a stage.
        """
        if w.dim() == 2:
            w = w[:, None].expand(-1, self.layers_of_w, -1)
        if w.dim() != 3 or w.shape[1:] != (self.layers_of_w, self.style_size):
            raise ValueError(
                f"The styles have the shape {tuple(w.shape)}. Pass B x {self.style_size} or "
                f"B x {self.layers_of_w} x {self.style_size}."
            )
        extra = {"w": w}
        for stage, value in (noise or {}).items():
            self.stage_index(stage)
            extra[f"noise_{stage}"] = value.expand(len(w), *value.shape[1:])
        return State(features=self.input.input.expand(len(w), -1, -1, -1), extra=extra)

    @torch.no_grad()
    def estimate_mean(self) -> None:
        """Set :attr:`latent_avg` to the mean w of 4096 latents, for checkpoints that carry none."""
        z = self.sample_z(MEAN_SAMPLES, seed=0).to(self.latent_avg)
        self.latent_avg = self.mapped(z).mean(dim=0)

    # --- from w to the picture ---

    def stage(self, name: str, state: State) -> State:
        index = self.stage_index(name)
        w = state.extra["w"]
        if index % 2 == 1:  # a new resolution: what the one before draws is known by now
            state = replace(state, extra={**state.extra, "skip": self._drawn(state, index - 1)})
        layer = self.conv1 if index == 0 else self.convs[index - 1]
        noise = state.extra.get(f"noise_{name}")
        if noise is None:
            noise = self.noises.get_buffer(f"noise_{index}")
        return State(layer(state.features, w[:, index], noise, self.clamp), name, state.extra)

    def picture(self, state: State) -> Tensor:
        return self._drawn(state, len(self.stages) - 1)

    def _drawn(self, state: State, index: int) -> Tensor:
        """Return the RGB of all resolutions up to that whose second layer is stage ``index``."""
        layer = self.to_rgb1 if index == 0 else self.to_rgbs[index // 2 - 1]
        w = state.extra["w"][:, index + 1]
        rgb: Tensor = layer(state.features, w, state.extra.get("skip"), self.clamp)
        return rgb

    @property
    def config(self) -> dict[str, object]:
        """The constructor's arguments, as they are stored beside the weights."""
        return {
            "channels": list(self.channels),
            "latent_size": self.latent_size,
            "style_size": self.style_size,
            "mapping_layers": self.mapping_layers,
            "truncation": self.truncation_psi,
            "edit_layer": self.edit_layer,
            **({} if self.clamp is None else {"clamp": self.clamp}),
            **({} if self.noise_seed is None else {"noise_seed": self.noise_seed}),
        }


def drawn_noises(count: int, seed: int | None) -> list[Tensor]:
    """Return the noises of ``count`` layers, each 1 x 1 x H x H, fixed by the seed unless it is ``None``.

    They are drawn on the CPU, so that they are the same whatever device is used later.
    """
    source = torch.default_generator if seed is None else torch.Generator("cpu").manual_seed(seed)
    sizes = [4 * 2 ** ((index + 1) // 2) for index in range(count)]
    return [torch.randn(1, 1, size, size, generator=source, device="cpu") for size in sizes]


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the constructor's arguments of a StyleGAN2 whose state dict this is, from the tensors' shapes.

    Raises:
        KeyError: it is not the state dict of a StyleGAN2.
    """
    channels = [tensors["conv1.conv.weight"].shape[1]]
    while (key := f"convs.{2 * len(channels) - 2}.conv.weight") in tensors:
        channels.append(tensors[key].shape[1])
    layers = 0
    while f"style.{layers + 1}.weight" in tensors:
        layers += 1
    style_size, latent_size = tensors[f"style.{layers}.weight"].shape[0], tensors["style.1.weight"].shape[1]
    return {
        "channels": channels,
        "latent_size": latent_size,
        "style_size": style_size,
        "mapping_layers": layers,
    }
