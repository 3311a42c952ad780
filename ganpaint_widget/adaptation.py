"""Image-specific adaptation: from G to G', whose picture keeps the photo wherever it was not edited.

After Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019), section 3.3.
The early layers G_H stay as they are. A small network R with a fixed random input emits one perturbation
``delta_i`` for each fine layer i of G_F, and that layer's output is multiplied by ``1 + delta_i``::

    L = || (G'(z_e) - x) * keep ||_1  +  lambda_reg * sum_i mean(delta_i^2),     lambda_reg = 0.1 (published)

``keep`` is 1 where the photo must come back and 0 where the edit is. R's structure is the only thing that
says what delta does inside the edit, where the loss is silent: it goes on smoothly from the surroundings, so
that the edit survives and takes on the photo's colours. Before the last layer's output no clamp is applied,
so that gradients reach dark and bright pixels as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .generators.staged import StagedGenerator, State
from .jobs import Cancelled, Ticket
from .measures import decibel as kept_decibel

Delta = Mapping[str, Tensor]
"""A perturbation: for each fine layer's name a tensor 1 x C x H x W of that layer's own shape."""

OnPicture = Callable[[Tensor, float], None]
"""Called with an intermediate G'(z_e) (1 x 3 x R x R) and the kept pixels' PSNR in dB."""

LAMBDA_REG = 0.1
STEPS = 160
LEARNING_RATE = 0.005
DILATION = 16 / 256
FEATHER = 4 / 256
"""The keep-mask's margin around the strokes and its Gaussian blur, as shares of the picture's side
(published: 16 px and sigma 4 px at 256 px)."""


@dataclass(frozen=True)
class Adaptation:
    """What :func:`adapt` found.

    Attributes:
        delta: the perturbation, by fine layer; give it to :func:`render`.
        before: PSNR of the kept pixels of G(z_e) against the photo, in dB.
        after: the same of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit: 1 when the edit is as strong in
            the result as in the preview; ``None`` when nothing is edited.
        steps: optimiser steps taken.
        seconds: how long it took.
    """

    delta: Delta
    before: float
    after: float
    survival: float | None
    steps: int
    seconds: float


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


def render(generator: StagedGenerator, state: State, delta: Delta) -> Tensor:
    """G'(z_e): the picture (B x 3 x R x R, not clamped) of a state at or before the first fine layer's input.

    Each fine layer's output is multiplied by ``1 + delta``.
    """
    modify = {name: _times(one) for name, one in delta.items()}
    return generator.picture(generator.run(state, modify=modify))


def _times(delta: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda features: features * (1 + delta)


@torch.no_grad()
def keep_mask(generator: StagedGenerator, original: State, edited: State, strokes: Tensor) -> Tensor:
    """How much each pixel must stay the photo's: 1 x 1 x R x R in [0, 1].

    Zero on the strokes dilated by ``DILATION`` and on the footprint that the edit really has, feathered by
    ``FEATHER``. An edit works in cells of the edit layer, and the convolutions behind it carry it further
    than the stroke; the footprint is where |G(z_e) - G(z)| is more than a quarter of its largest value within
    one cell of the dilated strokes. What it changes further away is not wanted and is given back to the
    photo.

    Args:
        generator: G.
        original: z at the edit layer.
        edited: z_e at the edit layer.
        strokes: the union of the edits' masks, 1 x 1 x R x R in [0, 1].
    """
    size = generator.resolution
    reach = max(1, round(DILATION * size))
    painted = _dilate((strokes > 0.05).float(), reach)
    change = generator.picture(generator.run(edited)) - generator.picture(generator.run(original))
    change = change.abs().amax(dim=1, keepdim=True)
    cell = size // edited.features.shape[-1]
    footprint = (change > 0.25 * change.amax()).float() * _dilate(painted, cell)
    edit = torch.maximum(painted, footprint)
    sigma = max(0.5, FEATHER * size)
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=edit.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    edit = F.pad(edit, (radius,) * 4, mode="replicate")
    edit = F.conv2d(F.conv2d(edit, kernel), kernel.transpose(2, 3))
    return (1 - edit).clamp(0, 1)


def _dilate(mask: Tensor, radius: int) -> Tensor:
    """A binary mask 1 x 1 x H x W grown by a disc of ``radius`` pixels."""
    if radius < 1:
        return mask
    offsets = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (offsets[:, None].square() + offsets[None].square() <= radius**2).float()
    return (F.conv2d(mask, disc[None, None], padding=radius) > 0.5).float()


def adapt(
    generator: StagedGenerator,
    edited: State,
    x: Tensor,
    keep: Tensor,
    *,
    original: State,
    steps: int = STEPS,
    ticket: Ticket | None = None,
    on_picture: OnPicture | None = None,
) -> Adaptation:
    """Fit delta so that G'(z_e) is the photo wherever ``keep`` says so.

    Adam on R's weights with a one-cycle learning rate; the best delta met on the way is returned.

    Args:
        generator: G; its weights are not changed.
        edited: z_e at the edit layer.
        x: the photo, 1 x 3 x R x R in [-1, 1].
        keep: see :func:`keep_mask`.
        original: z at the edit layer, for the survival of the edit.
        steps: optimiser steps.
        ticket: progress and cancel; a cancelled run returns the best so far.
        on_picture: receives a picture about eight times.
    """
    began = time.monotonic()
    with torch.no_grad():
        # What no perturbation reaches is computed once: the stages before the first fine layer.
        first = min(generator.position(name) for name in generator.fine_layers)
        edited, original = (
            generator.run(state, until=generator.stages[first - 1])
            if state.stage is not None and generator.position(state.stage) < first - 1
            else state
            for state in (edited, original)
        )
        plain = generator.picture(generator.run(edited))
        before = kept_decibel(plain, x, keep)
    network = PerturbationNetwork({name: generator.shape(name) for name in generator.fine_layers})
    network.to(x.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    weight = keep / keep.mean().clamp_min(1e-6)
    best_loss = math.inf
    best: dict[str, Tensor] = {
        name: torch.zeros(1, *generator.shape(name), device=x.device) for name in generator.fine_layers
    }
    after, taken = before, 0
    frozen = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        for taken in range(1, steps + 1):
            delta = network()
            picture = render(generator, edited, delta)
            loss = ((picture - x).abs() * weight).mean()
            loss = loss + LAMBDA_REG * sum(one.square().mean() for one in delta.values())
            value = float(loss.detach())
            if value < best_loss:
                best_loss = value
                best = {name: one.detach() for name, one in delta.items()}
                after = kept_decibel(picture.detach(), x, keep)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if on_picture is not None and taken % max(1, steps // 8) == 0:
                on_picture(picture.detach(), after)
            if ticket is not None:
                ticket.checkpoint(taken / steps, decibel=after)
    except Cancelled:
        pass  # the best so far is the result that was asked for
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    return Adaptation(
        delta=best,
        before=before,
        after=after,
        survival=survival(generator, original, edited, best, keep),
        steps=taken,
        seconds=time.monotonic() - began,
    )


@torch.no_grad()
def survival(
    generator: StagedGenerator, original: State, edited: State, delta: Delta, keep: Tensor
) -> float | None:
    """||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| over the pixels that need not be kept.

    ``None`` without an edit that can be seen.
    """
    inside = 1 - keep

    def change(picture: Tensor, other: Tensor) -> float:
        return float(((picture - other) * inside).norm())

    plain = change(*(generator.picture(generator.run(state)) for state in (edited, original)))
    if plain < 1e-3:
        return None
    return change(*(render(generator, state, delta) for state in (edited, original))) / plain
