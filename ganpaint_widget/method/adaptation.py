"""Image-specific adaptation: from G to G', whose picture keeps the photo wherever it was not edited.

After Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019), section 3.3.
The early layers G_H stay as they are. Each fine layer i of G_F gets one perturbation ``delta_i`` of its
output's shape, and that output is multiplied by ``1 + delta_i``::

    L = || (G'(z_e) - x) * keep ||  +  lambda_reg * sum_i mean(delta_i^2)

``keep`` is 1 where the photo must come back and 0 where the edit is. Inside the edit the loss is silent: what
delta does there is decided by what delta is made of, its *parametrization*. The published one is a network
with a fixed random input, fitted by 1000 steps of Adam on the L1 norm; that and others are in
``ablation.py``. Ours is a pyramid: each delta is a sum of grids, from 4 x 4 cells to the layer's own, so that
its coarse part, which the surroundings determine, goes on through the edit and gives it the photo's colors,
while its fine part ends where the edit begins. No weights stand between delta and the loss, so with
squared errors the problem is nearly quadratic, and L-BFGS solves it in tens of steps. No clamp is applied
while fitting, so that gradients reach dark and bright pixels as well. ``python -m benchmarks.speed`` compares
the ways.

Two ways to a picture without fitting for each edit: a delta is fitted once to the photo as it is, and is then
shown with any edit as far as :func:`gated` lets it through; or ``initializer.py`` says one in a single pass.
:func:`adapt` may ``start`` from either.
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
"""A perturbation as named tensors, so that it can be stored as it is: under a fine layer's name what its
output is multiplied by, less 1 (1 x C x H x W, the layer's shape)."""

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
"""L-BFGS remembers this many of its steps, and their gradients' changes, as far as they fit into this memory:
the deltas of a large StyleGAN2 have twenty million numbers."""

TAU = 0.02
"""How far an edit must move a layer's features, in mean squares of that layer, to leave 1/e of delta."""


class Fitted(Protocol):
    """What is fitted: see :class:`PyramidFit`."""

    parameters: list[nn.Parameter]

    def delta(self) -> dict[str, Tensor]: ...

    def picture(self, delta: Delta) -> Tensor: ...

    def minimizer(self, steps: int) -> Minimizer: ...


@dataclass(frozen=True)
class AdaptationConfig:
    """How G' is made. :class:`.ablation.Ablation` has other ways, for comparison.

    Attributes:
        regularization: lambda_reg (published: 0.1 beside an L1 norm); 0 for none.
    """

    regularization: float = field(default=0.03, kw_only=True)

    @property
    def steps(self) -> int:
        """Enough of them: evaluations of the loss and its gradient."""
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

    By two small matrices: torch's own upsampling and its gradient take longer than the generator does.
    """
    (height, width), (rows, columns) = coarse.shape[-2:], fine.shape[-2:]
    down, across = _linear(rows, height).to(coarse), _linear(columns, width).to(coarse).T
    tall = (down * share) @ coarse[0]
    return torch.baddbmm(fine[0], tall, across.expand(len(tall), -1, -1))[None]


@cache
def _linear(fine: int, coarse: int) -> Tensor:
    """Return the matrix (fine x coarse) of linear interpolation, with pixels as areas."""
    with torch.inference_mode(False):  # kept for the next caller, who may want gradients
        return F.interpolate(torch.eye(coarse)[None], size=fine, mode="linear", align_corners=False)[0].T


# --- G' ---


@evaluated
def render(generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
    """G'(z_e): the picture (B x 3 x R x R, not clamped) of a state before the first fine layer."""
    return generator.picture(generator.run(state, modify=modifiers(delta)))


def modifiers(delta: Delta) -> dict[str, Modifier]:
    """Return the functions that turn G into G', by layer, for :meth:`.StagedGenerator.run`."""

    def modifier(one: Tensor) -> Modifier:
        return lambda features: torch.addcmul(features, features, one.to(features))

    return {layer: modifier(one) for layer, one in delta.items()}


@evaluated
@torch.no_grad()
def gated(generator: StagedGenerator, delta: Delta, original: State, edited: State) -> dict[str, Tensor]:
    """Return a delta that was fitted to the photo without edits, held back where an edit is.

    GANPaint Studio multiplies it by 1 - strokes. Here, the change that the edit makes at each fine layer
    decides, because an edit reaches further than its strokes, and changes little in other places:
    ``delta_i * exp(-d / TAU)``, where d is the mean over the channels of (f_i(z_e) - f_i(z))^2 at a place,
    divided by that of f_i(z)^2 over the layer.

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
    """:func:`gated` in the same pass that draws the picture: ``generator.run(edited, modify=gates(...))``.

    What an edit moves is measured against the features of G'(z), which are computed here and kept: so without
    an edit the picture is G'(z) itself, and with one no layer runs twice.

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


# --- where the photo must stay ---


@evaluated
@torch.no_grad()
def keep_mask(
    generator: StagedGenerator, original: State, edited: State, strokes: Tensor, *, painted: bool = True
) -> Tensor:
    """How much each pixel must stay the photo's: 1 x 1 x R x R in [0, 1].

    Zero on the strokes dilated by ``DILATION`` and on the footprint that the edit really has, feathered by
    ``FEATHER``. An edit works in cells of the edit layer, and the convolutions behind it carry it further
    than the stroke; the footprint is where ``|G(z_e) - G(z)|`` can be seen and is more than a quarter of its
    largest value, within one cell of the dilated strokes. What it changes further away is not wanted and is
    given back to the photo.

    Args:
        generator: G.
        original: z at the edit layer.
        edited: z_e at the edit layer.
        strokes: the union of the edits' masks, 1 x 1 x R x R in [0, 1].
        painted: ``False`` for strokes that say no more than where the edit may show: only its footprint
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

    The disc is a row of columns: dx beside its middle, it reaches ``sqrt(radius^2 - dx^2)`` up and down. So
    the mask is grown up and down pixel by pixel, from the disc's edge to its middle, and laid beside itself
    at each dx: O(H W radius), where a convolution by the disc would take O(H W radius^2).

    Args:
        mask: above 0.5 is painted.
        radius: in pixels; below 1 the mask stays as it is.

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
    """G' of one picture, being fitted. It can be interrupted after each evaluation of the loss.

    It then goes on as if nothing had happened: the optimizer keeps what it has learned, and the budget counts
    what was done.

    Args:
        generator: G; its weights are not changed.
        edited: z_e at the edit layer; z itself for a delta that is to serve for any edit (see :func:`gated`).
        x: the photo, 1 x 3 x R x R in [-1, 1].
        keep: see :func:`keep_mask`.
        original: z at the edit layer, for the survival of the edit.
        steps: most evaluations of the loss and its gradient; by default ``config.steps``.
        config: what is fitted and how.
        start: a delta from before, of the same config, to go on from.

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
        # In float32 whatever a user's generator computes in, and its weights take no gradients.
        self._generator = generator = usable(generator, edited.features.device)
        like = next(generator.parameters())
        self._original, self._edited = original.to(like), edited.to(like)
        self._x, self._keep = x, keep = generator.here(x), generator.here(keep)
        self._weight = keep / keep.mean().clamp_min(1e-6)
        self._begun = bool(start)
        with torch.inference_mode(False), torch.no_grad():
            # What no perturbation reaches is computed once: all up to the first fine layer's own output.
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
        """Go on until it is :attr:`done`, time is up or the ticket is cancelled, by one step at least.

        Args:
            seconds: most time for this run. The result then depends on the machine.
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
        """Evaluate the loss once; the picture, if it is the best so far."""
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
            # Only leaves are written to later.
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
    """Fit delta so that G'(z_e) is the photo wherever ``keep`` says so; the best on the way is returned.

    Args:
        generator, edited, x, keep, original, steps, config, start: as for :class:`Fit`.
        seconds: most time. The result then depends on the machine.
        ticket: progress and cancel; a cancelled run returns the best so far.
        on_picture: receives the best picture about eight times, the first time as soon as it is better
            than the preview, or with what ``start`` gives before any step.
    """
    fit = Fit(generator, edited, x, keep, original=original, steps=steps, config=config, start=start)
    fit.run(seconds=seconds, ticket=ticket, on_picture=on_picture)
    return fit.found()


class PyramidFit:
    """Fits the grids of a pyramid. What it starts from stays added.

    Attributes:
        parameters: what is fitted; the gradients belong into their ``grad``.
    """

    def __init__(
        self, generator: StagedGenerator, cached: State, start: Delta, module: nn.Module | None = None
    ) -> None:
        self.generator, self.cached, self.start = generator, cached, start
        self.module = module or Pyramid({name: generator.shape(name) for name in generator.fine_layers})
        self.module.to(cached.features.device)
        self.parameters = list(self.module.parameters())

    def delta(self) -> dict[str, Tensor]:
        """Return the perturbation that the parameters make now."""
        deltas = dict(self.start)
        for name, one in self.module().items():
            deltas[name] = one + deltas[name] if name in deltas else one
        return deltas

    def picture(self, delta: Delta) -> Tensor:
        """G'(z_e), with gradients."""
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
    """||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| over the pixels that need not be kept.

    ``None`` without an edit that can be seen.

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
