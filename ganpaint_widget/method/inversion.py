"""Inversion: from a photo to the latent from which the generator draws it again, z = E(x).

The method is that of Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019),
section 3.1: an encoder gives a first guess, and optimization of the features improves it. Edits work on the
features of the edit layer, so these are optimized. A penalty keeps them near the encoder's guess, in the
region that the generator knows. The loss is the paper's::

    L_r = mean |x - G(z)|  +  lambda * sum_i mean |F_i(x) - F_i(G(z))|

F_i are the feature maps of a *perceptual metric*. The paper uses VGG16, but any callable from pictures to a
list of feature maps will do. The default is the model's segmenter, which knows what matters in its world.
Without one, it is VGG16, if its weights are in the cache (``models/vgg.py``).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..cpus import follow_load
from ..deprecated import Renamed
from ..images.metrics import psnr, ssim
from ..models.generator import StagedGenerator, State
from ..models.networks import evaluated, usable
from ..models.vgg import VGG16, cached_vgg16
from ..tickets import Cancelled, Ticket

if TYPE_CHECKING:
    from ..models.model import Model

Features = Callable[[Tensor], Sequence[Tensor]]
"""A perceptual metric: pictures B x 3 x R x R in [-1, 1] to feature maps B x C_i x H_i x W_i."""

STEPS = 60
LEARNING_RATE = 0.05
BETAS = 0.8, 0.9
"""The betas of Adam. They average less than usual, since the gradients for a fixed photo have no noise."""

PRIOR = 0.02
"""Weight of the mean squared distance from the guess, in units of the guess's own mean square."""

LAMBDA_PERCEPTUAL = 0.1
"""lambda for the segmenter's features, which batch normalization keeps near 1. The paper has 10 for VGG16."""

DRAWS, STARTS, SEARCH_STEPS = 64, 4, 150
"""The search without an encoder: latents to draw, the best of these to improve, and steps of improvement."""

DOMAIN_SAMPLES, DOMAIN_SCENES = 24, 8
"""The generator's own pictures to compare photos with: samples, and pictures of its gallery."""

OUTSIDE = 1.25
"""A photo with a larger :func:`distance` is outside the world. The margin allows for the small number of
pictures, at most 32."""


@dataclass(frozen=True)
class Scores:
    """The quality of an inversion; over a batch, the mean.

    Attributes:
        psnr: PSNR of the reconstruction against the photo, in dB, at most 99.
        ssim: structural similarity, at most 1.
        perceptual: ``sum_i mean |F_i(x) - F_i(G(z))|``, 0 for the same picture; ``None`` without a metric.
        in_domain, distance: see the functions of these names; ``None`` without an encoder, or if they were
            not requested.
    """

    psnr: float
    ssim: float
    perceptual: float | None
    in_domain: float | None
    distance: float | None = None

    decibel = Renamed("psnr")


@dataclass(frozen=True)
class Inversion:
    """The result of :func:`invert`.

    Attributes:
        z: the latent, B x latent_size. If the search left this space (for W+), it is the latent where the
            search began.
        state: the generator's state at its edit layer.
        scores: of the reconstruction from that state.
        seconds: the time that it took.
    """

    z: Tensor
    state: State
    scores: Scores
    seconds: float


def default_metric(model: Model) -> Features | None:
    """Return the activations of the model's segmenter, or VGG16's if that is in the cache."""
    features: Features | None = getattr(model.segmenter, "features", None)
    if features is not None:
        return features
    vgg = cached_vgg16()
    return None if vgg is None else usable(vgg, next(model.generator.parameters()).device)


# At a checkpoint, this may run inside a job that computes without gradients.
@torch.inference_mode(False)
@torch.enable_grad()
@evaluated
def invert(
    model: Model,
    x: Tensor,
    *,
    steps: int = STEPS,
    seconds: float | None = None,
    starts: int = STARTS,
    perceptual: Features | None = None,
    weight: float | None = None,
    domain: bool = False,
    ticket: Ticket | None = None,
) -> Inversion:
    """Find z and the edit layer's features for photos.

    Args:
        model: the generator and, if it has one, its encoder. Without an encoder, z is searched from several
            random starts.
        x: the photos, B x 3 x R x R in [-1, 1].
        steps: optimizer steps on the features.
        seconds: a time limit, after which the best so far is returned, or at least the first guess.
        starts: how many latents to improve together without an encoder. The best one is used.
        perceptual: the metric F, by default :func:`default_metric`.
        weight: lambda, the weight of the metric in the loss; 0 compares pixels only. The default is the
            paper's for VGG16, and ``LAMBDA_PERCEPTUAL`` for others.
        domain: also score whether the photos are of the generator's world. This takes a moment the first
            time.
        ticket: progress and cancel. A cancelled inversion returns the best so far.
    """
    began = time.monotonic()
    end = None if seconds is None else began + seconds
    own = next(model.generator.parameters())
    model = model.to()
    generator, x = model.generator, model.generator.here(x)
    metric = _metric(model, perceptual)
    if weight is None:
        weight = VGG16.LAMBDA if isinstance(metric, VGG16) else LAMBDA_PERCEPTUAL
    loss = _Loss(x, metric if weight else None, weight)
    work = _Work(ticket, 3 * steps)
    if model.encoder is None:
        work.total += len(x) * (DRAWS + 3 * min(starts, DRAWS) * SEARCH_STEPS)
        found = [_search(generator, loss.of(one), starts, end, work) for one in range(len(x))]
        z = torch.cat([near for near, _ in found])
        with torch.no_grad():
            begin = generator.start_extended(torch.cat([latents for _, latents in found]))
            state = generator.run(begin, until=generator.edit_layer)
    else:
        z, state = model.read(x)
    state = _refine(generator, state, loss, steps, end, work)
    with torch.no_grad():
        picture = generator.picture(generator.run(state))
    scores = score(model, picture, x, perceptual=metric, domain=domain)
    return Inversion(z.to(own), state.to(own), scores, time.monotonic() - began)


def _metric(model: Model, given: Features | None) -> Features | None:
    """Return the default metric of a ready model, or the given one on the model's device."""
    return (
        default_metric(model) if given is None else usable(given, next(model.generator.parameters()).device)
    )


@evaluated
@torch.no_grad()
def score(
    model: Model, picture: Tensor, x: Tensor, *, perceptual: Features | None = None, domain: bool = True
) -> Scores:
    """Score pictures G(z) as reconstructions of photos x, both B x 3 x R x R.

    Args:
        perceptual: the metric, by default :func:`default_metric`.
        domain: also measure :func:`in_domain` and :func:`distance`, which takes a moment the first time.
    """
    model = model.to()
    metric = _metric(model, perceptual)
    picture, x = model.generator.here(picture).clamp(-1, 1), model.generator.here(x)
    return Scores(
        psnr(picture, x),
        ssim(picture, x),
        None if metric is None else float(_distance(metric(picture), metric(x)).mean()),
        in_domain(model, x) if domain else None,
        distance(model, x) if domain else None,
    )


class _Loss:
    """The loss L_r of pictures against fixed photos: one number for each picture of the batch."""

    def __init__(self, x: Tensor, metric: Features | None, weight: float) -> None:
        self.x, self.metric, self.weight = x, metric, weight
        with torch.no_grad():
            self.wanted = [] if metric is None else [one.detach() for one in metric(x)]

    def __call__(self, picture: Tensor) -> Tensor:
        loss = (picture - self.x).abs().flatten(1).mean(dim=1)
        if self.metric is not None:
            # The metric is meaningless beyond [-1, 1], the range of pictures.
            loss = loss + self.weight * _distance(self.metric(picture.clamp(-1, 1)), self.wanted)
        return loss

    def of(self, index: int) -> _Loss:
        """Return the loss against one photo of the batch, for any number of pictures."""
        return _Loss(self.x[index : index + 1], self.metric, self.weight)


def _distance(maps: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return ``sum_i mean |F_i - F_i'|`` for each picture of the batch."""
    parts = [(one - other).abs().flatten(1).mean(dim=1) for one, other in zip(maps, wanted, strict=True)]
    return torch.stack(parts).sum(dim=0)


class _Work:
    """The progress of an inversion, for its ticket.

    It counts passes through the generator, three for a pass with its gradient, so that the time used predicts
    the time left.
    """

    def __init__(self, ticket: Ticket | None, total: int) -> None:
        self.ticket, self.total, self.done = ticket, total, 0

    def passed(self, passes: int) -> None:
        """Count some more passes as done. Raises Cancelled as :meth:`Ticket.checkpoint` does."""
        self.done += passes
        if self.ticket is not None:
            self.ticket.checkpoint(self.done / self.total)


def _search(
    generator: StagedGenerator, loss: _Loss, starts: int, end: float | None, work: _Work
) -> tuple[Tensor, Tensor]:
    """Return the best of several random latents, each improved by Adam in the generator's extended space.

    All latents take each step together, but one picture at a time, since the gradient of a large picture
    takes a gigabyte.

    Returns:
        The z from which the best one began, 1 x latent_size, and its final place in the extended space.
    """
    draws = generator.here(generator.sample_z(DRAWS, seed=0))
    drawn = []
    try:
        with torch.no_grad():
            for one in draws:
                drawn.append(loss(generator(one[None])))
                work.passed(1)
    except Cancelled:
        pass  # the latents drawn so far are still compared
    with torch.no_grad():
        begins = draws[torch.cat(drawn).argsort()[:starts]]
        guess, scale = generator.extended(begins), generator.extended(draws).std()
    best_offset = torch.zeros_like(guess)
    best = torch.full((len(guess),), torch.inf, device=loss.x.device)
    offset = torch.zeros_like(guess).requires_grad_()
    adam = _Adam(offset)
    # The search gets half of the time, and the features the rest.
    half = None if end is None else time.monotonic() + (end - time.monotonic()) / 2
    try:
        for step in range(SEARCH_STEPS + 1):
            follow_load()
            last = step == SEARCH_STEPS or (half is not None and time.monotonic() >= half)
            offset.grad = None
            for place in range(len(guess)):
                only = slice(place, place + 1)
                state = generator.run(generator.start_extended(guess[only] + scale * offset[only]))
                error = loss(generator.picture(state))
                if float(error.detach()) < best[place]:
                    best[place], best_offset[place] = error.detach()[0], offset.detach()[place]
                if not last:
                    error.sum().backward(inputs=[offset])  # type: ignore[no-untyped-call]
                    work.passed(3)
            if last:
                break
            adam.step()
    except Cancelled:
        pass  # the best so far is returned
    chosen = best.argmin()
    return begins[chosen][None].clone(), (guess + scale * best_offset)[chosen][None].clone()


def _refine(
    generator: StagedGenerator,
    state: State,
    loss: _Loss,
    steps: int,
    end: float | None,
    work: _Work,
) -> State:
    """Improve features with Adam on the loss plus their distance from the guess; return the best."""
    guess = state.features.detach()
    scale = guess.square().mean().sqrt()
    offset = torch.zeros_like(guess).requires_grad_()
    best_offset = torch.zeros_like(guess)
    best = torch.full((len(guess),), torch.inf, device=guess.device)
    adam = _Adam(offset)
    try:
        for step in range(steps + 1):
            follow_load()
            picture = generator.picture(generator.run(state.replace(guess + scale * offset)))
            errors = loss(picture) + PRIOR * offset.square().flatten(1).mean(dim=1)
            better = errors.detach() < best
            best = torch.where(better, errors.detach(), best)
            best_offset = torch.where(better.view(-1, 1, 1, 1), offset.detach(), best_offset)
            if step == steps or (end is not None and time.monotonic() >= end):
                break
            offset.grad = None
            errors.mean().backward(inputs=[offset])  # type: ignore[no-untyped-call]
            adam.step()
            work.passed(3)
    except Cancelled:
        pass  # the best so far is returned
    return state.replace((guess + scale * best_offset).detach())


class _Adam:
    """Adam (Kingma and Ba, 2015) on one tensor.

    The first Adam of PyTorch, up to 2.13 at least, imports its compiler (``torch._dynamo``). That adds a
    second to the opening of a photo, and many seconds on a cold disk.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.steps = tensor, 0
        self.mean, self.square = torch.zeros_like(tensor), torch.zeros_like(tensor)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the tensor's gradient."""
        gradient = self.tensor.grad
        assert gradient is not None
        self.steps += 1
        first, second = BETAS
        mean = self.mean.lerp_(gradient, 1 - first) / (1 - first**self.steps)
        square = self.square.lerp_(gradient**2, 1 - second) / (1 - second**self.steps)
        self.tensor -= LEARNING_RATE * mean / (square.sqrt() + 1e-8)


# --- is the photo of the generator's world? ---

_own_errors: weakref.WeakKeyDictionary[StagedGenerator, Tensor] = weakref.WeakKeyDictionary()


def in_domain(model: Model, x: Tensor) -> float | None:
    """Score how typical photos are of the generator's world, 0 to 1; return ``None`` without an encoder.

    Each picture is redrawn from its latent, G(E(x)). The score is the share of the generator's own pictures
    with at least the photo's mean absolute error. For one of its own pictures, all values are equally likely.
    At 0, none is redrawn that badly. Only z is used, because free features can redraw pictures that lie
    outside the world.

    Args:
        model: a model with an encoder. At most 32 of its own pictures are measured once and remembered.
        x: the photos, B x 3 x R x R in [-1, 1]. The score of a batch is the mean.
    """
    if model.encoder is None:
        return None
    model = model.to()
    return float((_own(model)[None] >= _errors(model, x)[:, None]).float().mean())


def distance(model: Model, x: Tensor) -> float | None:
    """Measure how far photos are from the generator's world; arguments as for :func:`in_domain`.

    The distance is the error that is described there, divided by that of the worst of the generator's own
    pictures.
    """
    if model.encoder is None:
        return None
    model = model.to()
    return float((_errors(model, x) / _own(model).max()).mean())


@torch.no_grad()
def _errors(model: Model, x: Tensor) -> Tensor:
    """Return the mean absolute error of G(E(x)) for each photo of a batch."""
    assert model.encoder is not None
    x = model.generator.here(x)
    z, _ = model.encoder(x)
    redrawn: Tensor = model.generator(z).clamp(-1, 1)
    return (redrawn - x).abs().flatten(1).mean(dim=1)


@torch.no_grad()
def _own(model: Model) -> Tensor:
    """Return the errors of the generator's own pictures."""
    generator, gallery = model.generator, model.gallery
    if generator not in _own_errors:
        batches = [
            generator(generator.here(z)).clamp(-1, 1)
            for z in torch.split(generator.sample_z(DOMAIN_SAMPLES, seed=1), 8)
        ]
        if gallery is not None:
            scenes = np.stack([gallery.picture(one) for one in range(min(DOMAIN_SCENES, gallery.count))])
            batches.append(generator.here(torch.from_numpy(scenes).permute(0, 3, 1, 2)) / 127.5 - 1)
        _own_errors[generator] = torch.cat([_errors(model, batch) for batch in batches])
    return _own_errors[generator]
