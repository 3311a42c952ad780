"""Image-specific adaptation: from G to G', whose picture keeps the photo outside the edits.

The method is that of Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019),
section 3.3. The early layers G_H do not change. Each fine layer i of G_F gets one perturbation ``delta_i`` of
its output's shape, and the output is multiplied by ``1 + delta_i``::

    L = || (G'(z_e) - x) * keep ||  +  lambda_reg * sum_i mean(delta_i^2)

``keep`` is 1 where the photo must come back and 0 inside the edit. There the loss says nothing, and delta's
*parametrization* decides what delta does. The published one is a network with a fixed random input, which
1000 steps of Adam fit to the L1 norm. ``ablation.py`` has that and others. This file uses a pyramid: each
delta is a sum of grids, from 4 x 4 cells to the layer's own. The surroundings determine its coarse part,
which continues through the edit and gives it the photo's colors. Its fine part ends at the edit's border. No
weights stand between delta and the loss, so with squared errors the problem is nearly quadratic, and L-BFGS
solves it in tens of steps. The fit does not clamp pictures, so that gradients reach dark and bright pixels as
well. ``python -m benchmarks.speed`` compares the methods.

Two methods need no fit for each edit. A delta can be fitted once to the unedited photo; :func:`gated` then
shows it with any edit. Or ``initializer.py`` predicts one in a single pass. :func:`adapt` can ``start`` from
either.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..cpus import follow_load
from ..images.metrics import psnr as kept_psnr
from ..models.generator import Modifier, StagedGenerator, State
from ..models.networks import evaluated, usable
from ..tickets import Cancelled, Ticket
from .lbfgs import lbfgs

Delta = Mapping[str, Tensor]
"""A perturbation as named tensors, which can be stored directly. Under a fine layer's name is the factor of
its output, less 1 (1 x C x H x W, the layer's shape)."""

Draw = Callable[[StagedGenerator, State, Delta], Tensor]
"""See :func:`render`."""

Minimizer = Generator[None, float, None]
"""See :func:`.lbfgs.lbfgs`."""

OnPicture = Callable[[Tensor, float], None]
"""Called with an intermediate G'(z_e) (1 x 3 x R x R) and the kept pixels' PSNR in dB."""

DILATION = 16 / 256
FEATHER = 4 / 256
"""The keep-mask's margin around the strokes and its Gaussian blur, as shares of the picture's side
(published: 16 px and sigma 4 px at 256 px)."""

VISIBLE = 2 / 127.5
"""A change of a picture in [-1, 1] that can be seen: two steps of 255."""

HISTORY, HISTORY_BYTES = 8, 512 * 2**20
"""L-BFGS remembers this many steps and changes of gradients, or as many as fit into this memory. The deltas
of a large StyleGAN2 have twenty million numbers."""

TAU = 0.02
"""The change of a layer's features that leaves 1/e of delta, in mean squares of that layer."""


class Fitted(Protocol):
    """The parameters of a fit and the picture that they give; see :class:`PyramidFit`."""

    parameters: list[nn.Parameter]

    def delta(self) -> dict[str, Tensor]: ...

    def picture(self, delta: Delta) -> Tensor: ...

    def minimizer(self, steps: int) -> Minimizer: ...


@dataclass(frozen=True)
class AdaptationConfig:
    """The settings of the fit of G'. :class:`.ablation.Ablation` has other methods, for comparison.

    Attributes:
        regularization: lambda_reg (published: 0.1 beside an L1 norm); 0 for none.
    """

    regularization: float = field(default=0.03, kw_only=True)

    @property
    def steps(self) -> int:
        """The default budget: evaluations of the loss and its gradient."""
        return 20

    def fitted(self, generator: StagedGenerator, cached: State, start: Delta) -> Fitted:
        """Return the fitted object, from the state at the first fine layer and an initial delta."""
        return PyramidFit(generator, cached, start)

    def missed(self, error: Tensor) -> Tensor:
        """Return the loss for the difference between a picture and the photo."""
        return error.square()

    def render(self, generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
        """See :func:`render`."""
        return render(generator, state, delta)


@dataclass(frozen=True)
class Adaptation:
    """The result of :func:`adapt`.

    Attributes:
        delta: the perturbation; give it to :func:`render`.
        before: PSNR of the kept pixels of G(z_e) against the photo, in dB.
        after: the same of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit. It is 1 if the edit is as strong in
            the result as in the preview, and ``None`` without a visible edit.
        steps: evaluations of the loss and its gradient.
        seconds: the time that they took.
    """

    delta: Delta
    before: float
    after: float
    survival: float | None
    steps: int
    seconds: float


# --- the parametrization of a delta ---


class Pyramid(nn.Module):
    """A sum of grids for each fine layer, each twice as fine as the last one and upsampled bilinearly.

    All begin at zero, so that G' begins as G. A gradient step moves a coarse cell by the sum over all cells
    that it covers, so coarse errors vanish first. ``BALANCE`` takes a part of that back.

    Args:
        shapes: (C, H, W) of each fine layer, by name.
        coarsest: cells along the side of the coarsest grid; ``None`` leaves the layer's own grid alone.
    """

    BALANCE = 0.5
    """At 0, a grid learns faster in proportion to the size of its cells: slow, but smooth across an edit.
    At 1, all grids learn alike: fast, but the edit hardly takes on the photo's colors, and seams show."""

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
        """Return the deltas by layer, each 1 x C x H x W."""
        deltas = {}
        grids: Iterator[Tensor] = iter(self.grids)
        for name, count in zip(self.layers, self.counts, strict=True):
            delta = next(grids)
            for _ in range(count - 1):
                delta = _added(next(grids), delta, 2**-self.BALANCE)
            deltas[name] = delta
        return deltas


def _added(fine: Tensor, coarse: Tensor, share: float) -> Tensor:
    """Return a fine grid plus a share of a coarse one, upsampled bilinearly.

    This uses two small matrices. Torch's own upsampling and its gradient take longer than the generator.
    """
    (height, width), (rows, columns) = coarse.shape[-2:], fine.shape[-2:]
    down, across = _linear(rows, height).to(coarse), _linear(columns, width).to(coarse).T
    tall = (down * share) @ coarse[0]
    return torch.baddbmm(fine[0], tall, across.expand(len(tall), -1, -1))[None]


@cache
def _linear(fine: int, coarse: int) -> Tensor:
    """Return the matrix (fine x coarse) of linear interpolation, with pixels as areas."""
    with torch.inference_mode(False):  # the cache's next caller may need gradients
        return F.interpolate(torch.eye(coarse)[None], size=fine, mode="linear", align_corners=False)[0].T


# --- G' ---


@evaluated
def render(generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
    """Draw G'(z_e): the picture (B x 3 x R x R, not clamped) of a state before the first fine layer."""
    return generator.picture(generator.run(state, modify=modifiers(delta)))


def modifiers(delta: Delta) -> dict[str, Modifier]:
    """Return the functions that turn G into G', by layer, for :meth:`.StagedGenerator.run`."""

    def modifier(one: Tensor) -> Modifier:
        return lambda features: torch.addcmul(features, features, one.to(features))

    return {layer: modifier(one) for layer, one in delta.items()}


@evaluated
@torch.no_grad()
def gated(generator: StagedGenerator, delta: Delta, original: State, edited: State) -> dict[str, Tensor]:
    """Weaken a delta that was fitted to the unedited photo inside an edit; return the result.

    GANPaint Studio multiplies it by 1 - strokes. Here, the change of features at each fine layer decides:
    ``delta_i * exp(-d / TAU)``, where d is the mean over the channels of (f_i(z_e) - f_i(z))^2 at a place,
    divided by that of f_i(z)^2 over the layer. This follows the edit itself, which reaches beyond the strokes
    in some places and changes little in others.

    Args:
        generator: G.
        delta: from :func:`adapt`.
        original: z at the edit layer.
        edited: z_e at the edit layer.
    """
    through: dict[str, Tensor] = {}
    for name in generator.fine_layers:
        original = generator.run(original, until=name)
        edited = generator.run(edited, until=name)
        moved = (edited.features - original.features).square().mean(dim=1, keepdim=True)
        gate = torch.exp(-moved / (TAU * original.features.square().mean().clamp_min(1e-12)))
        if name in delta:
            through[name] = delta[name].to(gate) * gate
    return through


@evaluated
@torch.no_grad()
def gates(generator: StagedGenerator, delta: Delta, original: State) -> Mapping[str, Modifier]:
    """Do the same as :func:`gated` while drawing: ``generator.run(edited, modify=gates(...))``.

    The change of an edit is measured against the features of G'(z), which this function computes and keeps.
    So the picture without an edit is G'(z) itself, and with an edit no layer runs twice.

    Args:
        generator, delta, original: as in :func:`gated`.
    """
    modify: dict[str, Modifier] = {}
    state = original
    for name in generator.fine_layers:
        state = generator.run(state, until=name)
        modify[name] = _gate(state.features, delta[name].to(state.features))
        state = state.replace(modify[name](state.features))
    return modify


def _gate(home: Tensor, delta: Tensor) -> Modifier:
    scale = 1 / (TAU * home.shape[1] * home.square().mean().clamp_min(1e-12))

    def modify(features: Tensor) -> Tensor:
        moved = features - home
        gate = moved.square_().sum(dim=1, keepdim=True).mul_(-scale).exp_()
        return torch.addcmul(features, features, delta * gate)

    return modify


# --- the pixels that must keep the photo ---


@evaluated
@torch.no_grad()
def keep_mask(
    generator: StagedGenerator, original: State, edited: State, strokes: Tensor, *, painted: bool = True
) -> Tensor:
    """Return how much each pixel must keep the photo: 1 x 1 x R x R in [0, 1].

    It is zero on the strokes, dilated by ``DILATION``, and on the edit's footprint, feathered by ``FEATHER``.
    An edit works in cells of the edit layer, and the convolutions behind it carry it beyond the stroke. In
    the footprint, ``|G(z_e) - G(z)|`` is visible and more than a quarter of its largest value. It ends one
    cell beyond the dilated strokes. Changes further away are unwanted, and the photo replaces them.

    Args:
        generator: G.
        original: z at the edit layer.
        edited: z_e at the edit layer.
        strokes: the union of the edits' masks, 1 x 1 x R x R in [0, 1].
        painted: ``False`` for strokes that only limit where the edit may show. Then only its footprint
            counts.
    """
    size = generator.resolution
    reach = max(1, round(DILATION * size))
    near = dilate((strokes > 0.05).float(), reach)
    change = generator.picture(generator.run(edited)) - generator.picture(generator.run(original))
    change = change.abs().amax(dim=1, keepdim=True)
    cell = size // edited.features.shape[-1]
    seen = change > (0.25 * change.amax()).clamp_min(VISIBLE)
    edit = seen.float() * dilate(near, cell)
    if painted:
        edit = torch.maximum(near, edit)
    sigma = max(0.5, FEATHER * size)
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=edit.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    edit = F.pad(edit, (radius,) * 4, mode="replicate")
    edit = F.conv2d(F.conv2d(edit, kernel), kernel.transpose(2, 3))
    return (1 - edit).clamp(0, 1)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Grow a binary mask, ... x H x W, by a disc of ``radius`` pixels.

    The disc is a row of columns: at dx from its center, it reaches ``sqrt(radius^2 - dx^2)`` up and down. So
    the mask grows up and down pixel by pixel, from the disc's edge to its center, and is shifted sideways by
    each dx. This takes O(H W radius), and a convolution with the disc would take O(H W radius^2).

    Args:
        mask: painted above 0.5.
        radius: in pixels. Below 1, the mask does not change.

    Returns:
        0 and 1, of the mask's shape and type.
    """
    if radius < 1:
        return mask
    tall, grown, height = mask > 0.5, torch.zeros_like(mask, dtype=torch.bool), 0
    for across in range(radius, -1, -1):
        while height < math.isqrt(radius**2 - across**2):
            taller = tall.clone()
            taller[..., 1:, :] |= tall[..., :-1, :]
            taller[..., :-1, :] |= tall[..., 1:, :]
            tall, height = taller, height + 1
        if across == 0:
            grown |= tall
        elif across < mask.shape[-1]:
            grown[..., across:] |= tall[..., :-across]
            grown[..., :-across] |= tall[..., across:]
    return grown.to(mask.dtype)


# --- fitting ---


class Fit:
    """The fit of G' to one picture. It can be interrupted after each evaluation of the loss.

    An interrupted fit resumes without a loss: the optimizer keeps the curvature that it has measured, and the
    budget counts the steps so far.

    Args:
        generator: G; its weights do not change.
        edited: z_e at the edit layer, or z for a delta that is to serve any edit (see :func:`gated`).
        x: the photo, 1 x 3 x R x R in [-1, 1].
        keep: see :func:`keep_mask`.
        original: z at the edit layer, for the survival of the edit.
        steps: the budget, in evaluations of the loss and its gradient; by default ``config.steps``.
        config: the settings of the fit.
        start: an earlier delta of the same config to start from.

    Attributes:
        delta: the best perturbation so far; empty before the first evaluation.
        before: PSNR of the kept pixels of G(z_e) against the photo, in dB.
        after: the same of G'(z_e) with :attr:`delta`.
        steps: evaluations so far.
        seconds: time that they took.
        done: whether the budget is used up, or no step leads further.
    """

    def __init__(
        self,
        generator: StagedGenerator,
        edited: State,
        x: Tensor,
        keep: Tensor,
        *,
        original: State,
        steps: int | None = None,
        config: AdaptationConfig | None = None,
        start: Delta | None = None,
    ) -> None:
        self._config = config or AdaptationConfig()
        self._budget = steps or self._config.steps
        # In float32, whatever type a user's generator computes in, and without gradients of its weights.
        self._generator = generator = usable(generator, edited.features.device)
        like = next(generator.parameters())
        self._original, self._edited = original.to(like), edited.to(like)
        self._x, self._keep = x, keep = generator.here(x), generator.here(keep)
        self._weight = keep / keep.mean().clamp_min(1e-6)
        self._begun = bool(start)
        with torch.inference_mode(False), torch.no_grad():
            # Everything up to the first fine layer's own output is computed once, since no delta changes it.
            cached = generator.run(self._edited, until=generator.fine_layers[0])
            self.before = self.after = kept_psnr(generator.picture(generator.run(cached)), x, keep)
        self.delta: Delta = {}
        self.steps, self.seconds, self.done = 0, 0.0, False
        self._best_loss, self._shown = math.inf, 0
        started = {name: generator.here(one) for name, one in (start or {}).items()}
        self._fitted = self._config.fitted(generator, cached, started)
        self._minimizer = self._fitted.minimizer(self._budget)
        next(self._minimizer)

    def run(
        self,
        *,
        seconds: float | None = None,
        ticket: Ticket | None = None,
        on_picture: OnPicture | None = None,
    ) -> None:
        """Run until it is :attr:`done`, time is up or the ticket is cancelled, for at least one step.

        Args:
            seconds: the time limit of this run. The result then depends on the machine.
            ticket: progress and cancel.
            on_picture: see :func:`adapt`.
        """
        began, before = time.monotonic(), self.seconds
        # The caller may be in the middle of a computation without gradients.
        with torch.inference_mode(False), torch.enable_grad():
            while not self.done:
                follow_load()
                picture = self._step()
                used = time.monotonic() - began
                self.seconds = before + used
                if picture is not None and on_picture is not None:
                    early = self._shown == 0 and (self._begun or self.after > self.before)
                    if early or self.steps - self._shown >= max(1, self._budget // 8):
                        self._shown = self.steps
                        on_picture(picture, self.after)
                fraction = max(self.steps / self._budget, 0.0 if seconds is None else used / seconds)
                if ticket is not None:
                    try:
                        ticket.checkpoint(min(fraction, 1.0), psnr=self.after)
                    except Cancelled:
                        return
                if fraction >= 1:
                    return

    def _step(self) -> Tensor | None:
        """Evaluate the loss once; return the picture if it is the best so far."""
        delta = self._fitted.delta()
        picture = self._fitted.picture(delta)
        missed = self._config.missed(picture - self._x)
        size = sum(torch.linalg.vector_norm(one).square() / one.numel() for one in delta.values())
        loss = (missed * self._weight).mean() + self._config.regularization * size
        for parameter in self._fitted.parameters:
            parameter.grad = None
        loss.backward()
        value = float(loss.detach())
        better = value < self._best_loss
        if better:
            self._best_loss = value
            # The optimizer writes to leaves later, so only these are copied.
            self.delta = {
                name: one.detach().clone() if one.is_leaf else one.detach() for name, one in delta.items()
            }
            self.after = kept_psnr(picture.detach(), self._x, self._keep)
        self.steps += 1
        self.done = self.steps >= self._budget
        try:
            self._minimizer.send(value)
        except StopIteration:
            self.done = True
        return picture.detach() if better else None

    def found(self) -> Adaptation:
        """Return the best so far."""
        alive = survival(
            self._generator, self._original, self._edited, self.delta, self._keep, self._config.render
        )
        return Adaptation(self.delta, self.before, self.after, alive, self.steps, self.seconds)


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
    """Fit delta so that G'(z_e) matches the photo where ``keep`` demands it; return the best that was found.

    Args:
        generator, edited, x, keep, original, steps, config, start: as for :class:`Fit`.
        seconds: the time limit. The result then depends on the machine.
        ticket: progress and cancel. A cancelled run returns the best so far.
        on_picture: receives the best picture about eight times. The first call comes as soon as the picture
            is better than the preview, or before any step if ``start`` is given.
    """
    fit = Fit(generator, edited, x, keep, original=original, steps=steps, config=config, start=start)
    fit.run(seconds=seconds, ticket=ticket, on_picture=on_picture)
    return fit.found()


class PyramidFit:
    """The fit of a pyramid's grids. The initial delta stays added to them.

    Attributes:
        parameters: the parameters to fit. Their gradients go into their ``grad``.
    """

    def __init__(
        self, generator: StagedGenerator, cached: State, start: Delta, module: nn.Module | None = None
    ) -> None:
        self.generator, self.cached, self.start = generator, cached, start
        self.module = module or Pyramid(generator.shapes(generator.fine_layers))
        self.module.to(cached.features.device)
        self.parameters = list(self.module.parameters())

    def delta(self) -> dict[str, Tensor]:
        """Return the perturbation for the present parameters."""
        deltas = dict(self.start)
        for name, one in self.module().items():
            deltas[name] = one + deltas[name] if name in deltas else one
        return deltas

    def picture(self, delta: Delta) -> Tensor:
        """Draw G'(z_e), with gradients."""
        modify = modifiers(delta)
        assert self.cached.stage is not None
        state = self.cached.replace(modify[self.cached.stage](self.cached.features))
        return self.generator.picture(self.generator.run(state, modify=modify))

    def minimizer(self, steps: int) -> Minimizer:
        """Return the minimizer of the parameters, for ``steps`` evaluations of the loss."""
        size = sum(one.numel() * one.element_size() for one in self.parameters)
        return lbfgs(self.parameters, max(2, min(HISTORY, HISTORY_BYTES // (2 * size))))


# --- measures ---


@evaluated
@torch.no_grad()
def survival(
    generator: StagedGenerator,
    original: State,
    edited: State,
    delta: Delta,
    keep: Tensor,
    draw: Draw | None = None,
) -> float | None:
    """Return ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| over the pixels that need not be kept.

    It is ``None`` without a visible edit.

    Args:
        generator, original, edited, delta, keep: as for :class:`Fit`.
        draw: makes G'(z_e), as :func:`render` does.
    """
    draw = draw or render
    inside = 1 - keep
    if not bool(inside.any()):
        return None

    def change(picture: Tensor, other: Tensor) -> float:
        return float(((picture - other) * inside).norm())

    plain = change(*(generator.picture(generator.run(state)) for state in (edited, original)))
    if plain < 1e-3:
        return None
    return change(*(draw(generator, state, delta) for state in (edited, original))) / plain
