"""Image-specific adaptation: from G to G', whose picture keeps the photo wherever it was not edited.

After Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019), section 3.3.
The early layers G_H stay as they are. Each fine layer i of G_F gets one perturbation ``delta_i`` of its
output's shape, and that output is multiplied by ``1 + delta_i``::

    L = || (G'(z_e) - x) * keep ||  +  lambda_reg * sum_i mean(delta_i^2)

``keep`` is 1 where the photo must come back and 0 where the edit is. Inside the edit the loss is silent: what
delta does there is decided by what delta is made of, its *parametrization*, of which there are four (see
:class:`AdaptationConfig`). The published one is a network with a fixed random input, fitted by 1000 steps of
Adam on the L1 norm. Ours is a pyramid: each delta is a sum of grids, from 4 x 4 cells to the layer's own, so
that its coarse part, which the surroundings determine, goes on through the edit and gives it the photo's
colors, while its fine part ends where the edit begins. There are no weights between delta and the loss, so
with squared errors the problem is nearly quadratic, and L-BFGS solves it in tens of steps. No clamp is
applied while fitting, so that gradients reach dark and bright pixels as well. ``python -m benchmarks.speed``
compares the ways.

Two ways to a picture without fitting for each edit: a delta is fitted once to the photo as it is, and is then
shown with any edit as far as :func:`gated` lets it through; or ``initializer.py`` says one in a single pass.
:func:`adapt` may ``start`` from either.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..images.metrics import psnr as kept_psnr
from ..models.generator import Modifier, StagedGenerator, State
from ..tickets import Cancelled, Ticket

Delta = Mapping[str, Tensor]
"""A perturbation as named tensors, so that it can be stored as it is. Under a fine layer's name: what its
output is multiplied by, less 1; under ``+`` and its name: what is added to it (both 1 x C x H x W, the
layer's shape); under a parameter's name: the change of that weight."""

OnPicture = Callable[[Tensor, float], None]
"""Called with an intermediate G'(z_e) (1 x 3 x R x R) and the kept pixels' PSNR in dB."""

DILATION = 16 / 256
FEATHER = 4 / 256
"""The keep-mask's margin around the strokes and its Gaussian blur, as shares of the picture's side
(published: 16 px and sigma 4 px at 256 px)."""

HISTORY, HISTORY_BYTES = 12, 512 * 2**20
"""L-BFGS remembers this many of its steps, and their gradients' changes, as far as they fit into this memory:
the deltas of a large StyleGAN2 have twenty million numbers."""

TAU = 0.02
"""How far an edit must move a layer's features, in mean squares of that layer, to leave 1/e of delta."""


@dataclass(frozen=True)
class AdaptationConfig:
    """How G' is made. The default is ours; the others are for comparison.

    Attributes:
        parametrization: what is fitted. ``pyramid``: a sum of grids for each delta; ``network``: R, as
            published; ``direct``: every number of every delta by itself; ``weights``: no delta, but the
            weights of G_F themselves, as PTI does (Roich et al. 2021), though with the loss used here.
        combine: whether delta multiplies a layer's output (published) or is added to it.
        regularization: lambda_reg (published: 0.1 beside an L1 norm), with ``weights`` on their mean squared
            change; 0 for none.
    """

    parametrization: Literal["pyramid", "network", "direct", "weights"] = "pyramid"
    combine: Literal["multiply", "add"] = "multiply"
    regularization: float = 0.03

    @property
    def steps(self) -> int:
        """Enough of them: evaluations of the loss and its gradient."""
        return {"pyramid": 24, "direct": 24, "network": 160, "weights": 120}[self.parametrization]


@dataclass(frozen=True)
class Adaptation:
    """What :func:`adapt` found.

    Attributes:
        delta: the perturbation; give it to :func:`render`.
        before: PSNR of the kept pixels of G(z_e) against the photo, in dB.
        after: the same of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit: 1 when the edit is as strong in
            the result as in the preview; ``None`` when nothing is edited.
        steps: evaluations of the loss and its gradient.
        seconds: how long it took.
    """

    delta: Delta
    before: float
    after: float
    survival: float | None
    steps: int
    seconds: float


# --- what a delta is made of ---


class Pyramid(nn.Module):
    """For each fine layer a sum of grids, each twice as fine as the one before, upsampled bilinearly.

    All begin at zero, so that G' begins as G. A gradient step moves a coarse cell by the sum over all that it
    covers, so that coarse errors go first; ``BALANCE`` takes a part of that back.

    Args:
        shapes: (C, H, W) of each fine layer, by name.
        coarsest: cells along the side of the coarsest grid; ``None`` leaves the layer's own grid alone.
    """

    BALANCE = 0.5
    """0: a coarse grid learns by as much faster as its cells are larger; slow, and smooth across an edit.
    1: all grids learn alike; fast, but the edit hardly takes on the photo's colors, and seams show."""

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], coarsest: int | None = 4) -> None:
        super().__init__()
        self.layers = tuple(shapes)
        self.grids = nn.ParameterList()
        self.counts = []
        for channels, height, width in shapes.values():
            sizes = [(height, width)]
            while coarsest is not None and min(sizes[0]) >= 2 * coarsest:
                sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
            self.grids.extend(nn.Parameter(torch.zeros(1, channels, *size)) for size in sizes)
            self.counts.append(len(sizes))

    def forward(self) -> dict[str, Tensor]:
        """The deltas by layer, each 1 x C x H x W."""
        deltas = {}
        grids: Iterator[Tensor] = iter(self.grids)
        for name, count in zip(self.layers, self.counts, strict=True):
            delta = next(grids)
            for _ in range(count - 1):
                finer = next(grids)
                delta = finer + 2**-self.BALANCE * _upsampled(delta, finer)
            deltas[name] = delta
        return deltas


def _upsampled(coarse: Tensor, like: Tensor) -> Tensor:
    """Bilinear, by two small matrices: torch's own and its gradient take longer than the generator does."""
    (height, width), (rows, columns) = coarse.shape[-2:], like.shape[-2:]
    return _linear(rows, height).to(coarse) @ coarse @ _linear(columns, width).to(coarse).T


@cache
def _linear(fine: int, coarse: int) -> Tensor:
    """The matrix (fine x coarse) of linear interpolation, with pixels as areas."""
    with torch.inference_mode(False):  # kept for whoever comes next, who may want gradients
        return F.interpolate(torch.eye(coarse)[None], size=fine, mode="linear", align_corners=False)[0].T


class PerturbationNetwork(nn.Module):
    """R: a fixed noise picture to one delta for each fine layer, chained from fine to coarse.

    Each stage is two 3 x 3 convolutions on the grid of its layer and a 1 x 1 head, which begins at zero
    so that G' begins as G; average pooling leads to the next coarser stage.

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
        """The deltas by layer, each 1 x C x H x W."""
        x: Tensor = self.noise  # type: ignore[assignment]
        deltas = {}
        for name in self.layers:
            _, height, breadth = self.shapes[name]
            if x.shape[-2:] != (height, breadth):
                x = F.adaptive_avg_pool2d(x, (height, breadth))
            x = self.stages[name](x)
            deltas[name] = self.heads[name](x)
        return deltas


# --- G' ---


def render(generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
    """G'(z_e): the picture (B x 3 x R x R, not clamped) of a state before the first fine layer."""
    modify = {name: _modifier(delta, name) for name in generator.fine_layers}
    weights = {name: change for name, change in delta.items() if name.lstrip("+") not in modify}
    if weights:
        generator = copy.deepcopy(generator)
        with torch.no_grad():
            for name, change in weights.items():
                generator.get_parameter(name).add_(change)
    return generator.picture(generator.run(state, modify=modify))


def _modifier(delta: Delta, layer: str) -> Modifier:
    def modify(features: Tensor) -> Tensor:
        if layer in delta:
            features = features * (1 + delta[layer])
        if f"+{layer}" in delta:
            features = features + delta[f"+{layer}"]
        return features

    return modify


@torch.no_grad()
def gated(
    generator: StagedGenerator,
    delta: Delta,
    original: State,
    edited: State,
    *,
    strokes: Tensor | None = None,
    tau: float = TAU,
) -> Delta:
    """A delta that was fitted to the photo without edits, held back where an edit is.

    With ``strokes`` as GANPaint Studio does, ``delta * (1 - strokes)``. Without, by what the edit changes at
    each fine layer, wherever the strokes are, since an edit reaches further than they do, and changes little
    in other places: ``delta_i * exp(-d / tau)``, where d is the mean over the channels of
    (f_i(z_e) - f_i(z))^2 at a place, divided by that of f_i(z)^2 over the layer.

    Args:
        generator: G.
        delta: from :func:`adapt`. Changes of weights have no place and are let through.
        original: z at the edit layer.
        edited: z_e at the edit layer.
        strokes: the union of the edits' masks, 1 x 1 x R x R in [0, 1].
        tau: see above.
    """
    through: dict[str, Tensor] = {}
    for name in generator.fine_layers:
        original = generator.run(original, until=name)
        edited = generator.run(edited, until=name)
        if strokes is None:
            moved = (edited.features - original.features).square().mean(dim=1, keepdim=True)
            gate = torch.exp(-moved / (tau * original.features.square().mean().clamp_min(1e-12)))
        else:
            gate = 1 - F.interpolate(strokes, edited.features.shape[-2:], mode="area")
        for key in (name, f"+{name}"):
            if key in delta:
                through[key] = delta[key] * gate
    return dict(delta) | through


@torch.no_grad()
def gates(
    generator: StagedGenerator, delta: Delta, original: State, *, tau: float = TAU
) -> Mapping[str, Modifier]:
    """:func:`gated` in the same pass that draws the picture: ``generator.run(edited, modify=gates(...))``.

    What an edit moves is measured against the features of G'(z), which are computed here and kept: so without
    an edit the picture is G'(z) itself, and with one no layer runs twice.

    Args:
        generator, delta, original, tau: as in :func:`gated`; changes of weights are left out.
    """
    modify: dict[str, Modifier] = {}
    state = original
    for name in generator.fine_layers:
        state = generator.run(state, until=name, modify={})
        modify[name] = _gate(state.features, delta.get(name), delta.get(f"+{name}"), tau)
        state = state.replace(modify[name](state.features))
    return modify


def _gate(home: Tensor, times: Tensor | None, plus: Tensor | None, tau: float) -> Modifier:
    scale = 1 / (tau * home.shape[1] * home.square().mean().clamp_min(1e-12))

    def modify(features: Tensor) -> Tensor:
        moved = features - home
        gate = moved.square_().sum(dim=1, keepdim=True).mul_(-scale).exp_()
        if times is not None:
            features = torch.addcmul(features, features, times * gate)
        return features if plus is None else torch.addcmul(features, plus, gate)

    return modify


# --- where the photo must stay ---


@torch.no_grad()
def keep_mask(generator: StagedGenerator, original: State, edited: State, strokes: Tensor) -> Tensor:
    """How much each pixel must stay the photo's: 1 x 1 x R x R in [0, 1].

    Zero on the strokes dilated by ``DILATION`` and on the footprint that the edit really has, feathered by
    ``FEATHER``. An edit works in cells of the edit layer, and the convolutions behind it carry it further
    than the stroke; the footprint is where ``|G(z_e) - G(z)|`` is more than a quarter of its largest value
    within one cell of the dilated strokes. What it changes further away is not wanted and is given back to
    the photo.

    Args:
        generator: G.
        original: z at the edit layer.
        edited: z_e at the edit layer.
        strokes: the union of the edits' masks, 1 x 1 x R x R in [0, 1].
    """
    size = generator.resolution
    reach = max(1, round(DILATION * size))
    painted = dilate((strokes > 0.05).float(), reach)
    change = generator.picture(generator.run(edited)) - generator.picture(generator.run(original))
    change = change.abs().amax(dim=1, keepdim=True)
    cell = size // edited.features.shape[-1]
    footprint = (change > 0.25 * change.amax()).float() * dilate(painted, cell)
    edit = torch.maximum(painted, footprint)
    sigma = max(0.5, FEATHER * size)
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=edit.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    edit = F.pad(edit, (radius,) * 4, mode="replicate")
    edit = F.conv2d(F.conv2d(edit, kernel), kernel.transpose(2, 3))
    return (1 - edit).clamp(0, 1)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """A binary mask 1 x 1 x H x W grown by a disc of ``radius`` pixels."""
    if radius < 1:
        return mask
    offsets = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (offsets[:, None].square() + offsets[None].square() <= radius**2).float()
    return (F.conv2d(mask, disc[None, None], padding=radius) > 0.5).float()


# --- fitting ---


class _Enough(Exception):
    """The budget is used up: raised inside the optimizer, whose best so far is the result."""


def adapt(
    generator: StagedGenerator,
    edited: State,
    x: Tensor,
    keep: Tensor,
    *,
    original: State,
    steps: int | None = None,
    seconds: float | None = None,
    config: AdaptationConfig | None = None,
    start: Delta | None = None,
    ticket: Ticket | None = None,
    on_picture: OnPicture | None = None,
) -> Adaptation:
    """Fit delta so that G'(z_e) is the photo wherever ``keep`` says so; the best on the way is returned.

    Args:
        generator: G; its weights are not changed.
        edited: z_e at the edit layer; z itself for a delta that is to serve for any edit (see :func:`gated`).
        x: the photo, 1 x 3 x R x R in [-1, 1].
        keep: see :func:`keep_mask`.
        original: z at the edit layer, for the survival of the edit.
        steps: most evaluations of the loss and its gradient; by default ``way.steps``.
        seconds: most time for them. The result then depends on the machine.
        config: what is fitted and how.
        start: a delta from before, of the same way, to go on from.
        ticket: progress and cancel; a cancelled run returns the best so far.
        on_picture: receives the best picture about eight times, the first time as soon as it is better
            than the preview, or with what ``start`` gives before any step.
    """
    began = time.monotonic()
    config = config or AdaptationConfig()
    steps = steps or config.steps
    with torch.no_grad():
        # What no perturbation reaches is computed once: all up to the first fine layer's own output.
        first = generator.fine_layers[0]
        cached = generator.run(edited, until=first)
        before = kept_psnr(generator.picture(generator.run(edited)), x, keep)
    fit = (_WeightFit if config.parametrization == "weights" else _DeltaFit)(
        generator, cached, config, start or {}
    )
    weight = keep / keep.mean().clamp_min(1e-6)
    best: Delta = {}
    best_loss, after, taken, shown = math.inf, before, 0, 0

    def evaluate() -> Tensor:
        nonlocal best, best_loss, after, taken, shown
        delta = fit.delta()
        picture = fit.picture(delta)
        error = picture - x
        error = error.abs() if config.parametrization == "network" else error.square()
        size = sum(one.square().mean() for one in delta.values())
        loss = (error * weight).mean() + config.regularization * size
        for parameter in fit.parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        taken += 1
        value = float(loss.detach())
        if value < best_loss:
            best_loss = value
            best = {name: one.detach().clone() for name, one in delta.items()}
            after = kept_psnr(picture.detach(), x, keep)
            early = shown == 0 and (bool(start) or after > before)
            if on_picture is not None and (early or taken - shown >= max(1, steps // 8)):
                shown = taken
                on_picture(picture.detach(), after)
        used = time.monotonic() - began
        fraction = max(taken / steps, 0.0 if seconds is None else used / seconds)
        if ticket is not None:
            ticket.checkpoint(min(fraction, 1.0), psnr=after)
        if fraction >= 1:
            raise _Enough
        return loss

    try:
        with _frozen(generator):
            fit.minimize(evaluate, steps)
    except (Cancelled, _Enough):
        pass  # the best so far is the result that was asked for
    return Adaptation(
        delta=best,
        before=before,
        after=after,
        survival=survival(generator, original, edited, best, keep),
        steps=taken,
        seconds=time.monotonic() - began,
    )


class _DeltaFit:
    """Fits deltas: the tensors of a pyramid, or the weights of R. What it starts from stays added."""

    def __init__(
        self, generator: StagedGenerator, cached: State, config: AdaptationConfig, start: Delta
    ) -> None:
        self.generator, self.cached, self.start = generator, cached, start
        self.prefix = "+" if config.combine == "add" else ""
        shapes = {name: generator.shape(name) for name in generator.fine_layers}
        self.adam = 0.005 if config.parametrization == "network" else None
        self.module: nn.Module
        if config.parametrization == "network":
            self.module = PerturbationNetwork(shapes)
        else:
            self.module = Pyramid(shapes, coarsest=4 if config.parametrization == "pyramid" else None)
        self.module.to(cached.features.device)
        self.parameters = list(self.module.parameters())

    def delta(self) -> dict[str, Tensor]:
        deltas = dict(self.start)
        for name, one in self.module().items():
            key = self.prefix + name
            deltas[key] = one + deltas[key] if key in deltas else one
        return deltas

    def picture(self, delta: Delta) -> Tensor:
        modify = {name: _modifier(delta, name) for name in self.generator.fine_layers}
        assert self.cached.stage is not None
        state = self.cached.replace(modify[self.cached.stage](self.cached.features))
        return self.generator.picture(self.generator.run(state, modify=modify))

    def minimize(self, evaluate: Callable[[], Tensor], steps: int) -> None:
        if self.adam is None:
            _lbfgs(self.parameters, evaluate, steps)
        else:
            _adam(self.parameters, evaluate, steps, self.adam)


class _WeightFit:
    """Fits the weights of the stages behind the cached one, in a copy of the generator."""

    def __init__(
        self, generator: StagedGenerator, cached: State, config: AdaptationConfig, start: Delta
    ) -> None:
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

    def minimize(self, evaluate: Callable[[], Tensor], steps: int) -> None:
        _adam(self.parameters, evaluate, steps, 0.01)


def _lbfgs(parameters: list[nn.Parameter], evaluate: Callable[[], Tensor], steps: int) -> None:
    """L-BFGS with a line search by the strong Wolfe conditions (Nocedal & Wright, chapters 3 and 7)."""
    size = sum(one.numel() * one.element_size() for one in parameters)
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=steps,
        max_eval=steps + 1,
        history_size=max(2, min(HISTORY, HISTORY_BYTES // (2 * size))),
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(lambda: float(evaluate().detach()))  # type: ignore[no-untyped-call]


def _adam(parameters: list[nn.Parameter], evaluate: Callable[[], Tensor], steps: int, rate: float) -> None:
    """Adam with a one-cycle learning rate."""
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.1)
    for _ in range(steps):
        evaluate()
        optimizer.step()
        schedule.step()


@contextmanager
def _frozen(generator: StagedGenerator) -> Iterator[None]:
    """No gradients for the generator's own weights meanwhile."""
    learning = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


# --- measures ---


@torch.no_grad()
def survival(
    generator: StagedGenerator, original: State, edited: State, delta: Delta, keep: Tensor
) -> float | None:
    """||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| over the pixels that need not be kept.

    ``None`` without an edit that can be seen.
    """
    inside = 1 - keep
    if not bool(inside.any()):
        return None

    def change(picture: Tensor, other: Tensor) -> float:
        return float(((picture - other) * inside).norm())

    plain = change(*(generator.picture(generator.run(state)) for state in (edited, original)))
    if plain < 1e-3:
        return None
    return change(*(render(generator, state, delta) for state in (edited, original))) / plain
