"""Other methods of adaptation, for comparison: :func:`.adaptation.adapt` uses them with an :class:`Ablation`.

Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019), section 3.3, fit a
network that makes the perturbations. Roich et al., "Pivotal Tuning for Latent-based Editing of Real Images"
(2021), fit the generator's own weights. The editor uses neither. ``python -m benchmarks.speed`` compares
them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.generator import Modifier, StagedGenerator, State
from ..models.networks import evaluated
from .adaptation import AdaptationConfig, Delta, Fitted, Minimizer, Pyramid, PyramidFit


@dataclass(frozen=True)
class Ablation(AdaptationConfig):
    """A method to make G'; by default, the editor's.

    Attributes:
        parametrization: the parameters to fit. ``pyramid`` fits a sum of grids for each delta; ``network``
            fits R, as published; ``direct`` fits every number of every delta. ``weights`` fits the weights
            of G_F instead, as PTI does, but with the loss used here.
        combine: whether delta multiplies a layer's output (published) or is added to it. An added delta is
            in units of the layer's root mean square, and is stored under ``+`` and the layer's name. A change
            of a weight is stored under the parameter's name.
        regularization: lambda_reg. With ``weights``, it applies to their mean squared change.
    """

    parametrization: Literal["pyramid", "network", "direct", "weights"] = "pyramid"
    combine: Literal["multiply", "add"] = "multiply"

    @property
    def steps(self) -> int:
        return {"pyramid": 20, "direct": 20, "network": 160, "weights": 120}[self.parametrization]

    def fitted(self, generator: StagedGenerator, cached: State, start: Delta) -> Fitted:
        if self.parametrization == "weights":
            return _WeightFit(generator, cached, start)
        shapes = generator.shapes(generator.fine_layers)
        module: nn.Module = (
            PerturbationNetwork(shapes)
            if self.parametrization == "network"
            else Pyramid(shapes, coarsest=4 if self.parametrization == "pyramid" else None)
        )
        fit = {"multiply": PyramidFit, "add": _AddedFit}[self.combine](generator, cached, start, module)
        if self.parametrization == "network":
            fit.minimizer = lambda steps: _adam(fit.parameters, steps, 0.005)  # type: ignore[method-assign]
        return fit

    def missed(self, error: Tensor) -> Tensor:
        return error.abs() if self.parametrization == "network" else error.square()

    def render(self, generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
        return render(generator, state, delta)


@evaluated
def render(generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
    """Draw G'(z_e) like :func:`.adaptation.render`, for a delta of any of these methods."""
    weights = {name: change for name, change in delta.items() if name.lstrip("+") not in generator.stages}
    if weights:
        generator = copy.deepcopy(generator)
        with torch.no_grad():
            for name, change in weights.items():
                generator.get_parameter(name).add_(change)
    return generator.picture(generator.run(state, modify=_modifiers(generator, delta)))


def _modifiers(generator: StagedGenerator, delta: Delta) -> dict[str, Modifier]:
    def modifier(layer: str) -> Modifier:
        def modify(features: Tensor) -> Tensor:
            if layer in delta:
                features = features * (1 + delta[layer])
            if f"+{layer}" in delta:
                features = features + delta[f"+{layer}"] * features.square().mean().sqrt()
            return features

        return modify

    return {layer: modifier(layer) for layer in generator.fine_layers}


class PerturbationNetwork(nn.Module):
    """R: maps a fixed noise picture to one delta for each fine layer, in a chain from fine to coarse.

    Each stage has two 3 x 3 convolutions on the grid of its layer and a 1 x 1 head. The heads begin at zero,
    so that G' begins as G. Average pooling leads to the next coarser stage.

    Args:
        shapes: (C, H, W) of each fine layer, by name, from coarse to fine as in the generator.
        width: channels inside R.
        seed: of the noise (32 channels at the finest layer's grid, as published) and of the weights.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], width: int = 48, seed: int = 0) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.layers = tuple(reversed(tuple(shapes)))
        _, height, breadth = shapes[self.layers[0]]
        self.register_buffer("noise", torch.randn(1, 32, height, breadth, generator=source))
        self.stages = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        before = 32
        for name in self.layers:
            self.stages[name] = nn.Sequential(
                nn.Conv2d(before, width, 3, padding=1, padding_mode="reflect"),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
                nn.LeakyReLU(0.2),
            )
            self.heads[name] = nn.Conv2d(width, shapes[name][0], 1)
            before = width
        self.shapes = dict(shapes)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    fan_in = module.weight[0].numel()
                    drawn = torch.randn(module.weight.shape, generator=source)
                    module.weight.copy_(drawn * math.sqrt(2 / fan_in))
                    assert module.bias is not None
                    module.bias.zero_()
            for head in self.heads.values():
                head.weight.zero_()  # type: ignore[operator]

    def forward(self) -> dict[str, Tensor]:
        """Return the deltas by layer, each 1 x C x H x W."""
        x: Tensor = self.noise  # type: ignore[assignment]
        deltas = {}
        for name in self.layers:
            _, height, breadth = self.shapes[name]
            if x.shape[-2:] != (height, breadth):
                x = F.adaptive_avg_pool2d(x, (height, breadth))
            x = self.stages[name](x)
            deltas[name] = self.heads[name](x)
        return deltas


class _AddedFit(PyramidFit):
    """A fit of deltas that are added instead of multiplied."""

    def delta(self) -> dict[str, Tensor]:
        return {
            f"+{name}": one + self.start[f"+{name}"] if f"+{name}" in self.start else one
            for name, one in self.module().items()
        }

    def picture(self, delta: Delta) -> Tensor:
        modify = _modifiers(self.generator, delta)
        assert self.cached.stage is not None
        state = self.cached.replace(modify[self.cached.stage](self.cached.features))
        return self.generator.picture(self.generator.run(state, modify=modify))


class _WeightFit:
    """Fits the weights of the stages behind the cached one, in a copy of the generator."""

    def __init__(self, generator: StagedGenerator, cached: State, start: Delta) -> None:
        self.cached = cached
        self.copy = copy.deepcopy(generator)
        self.copy.requires_grad_(True)
        with torch.enable_grad():
            self.picture({}).sum().backward()  # type: ignore[no-untyped-call]
        self.moved = {name: one for name, one in self.copy.named_parameters() if one.grad is not None}
        self.parameters = list(self.moved.values())
        self.home = {name: one.detach().clone() for name, one in self.moved.items()}
        with torch.no_grad():
            for name, change in start.items():
                self.moved[name].add_(change)

    def delta(self) -> dict[str, Tensor]:
        return {name: one - self.home[name] for name, one in self.moved.items()}

    def picture(self, delta: Delta) -> Tensor:
        return self.copy.picture(self.copy.run(self.cached))

    def minimizer(self, steps: int) -> Minimizer:
        return _adam(self.parameters, steps, 0.01)


def _adam(parameters: list[nn.Parameter], steps: int, rate: float) -> Minimizer:
    """Step with Adam, at a one-cycle learning rate."""
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.1)
    while True:
        yield
        optimizer.step()
        schedule.step()
