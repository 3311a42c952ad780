"""Inversion: from a photo to the latent that makes the generator draw it again, z = E(x).

After section 3.1 of Bau et al., "Semantic Photo Manipulation with a Generative Image Prior" (SIGGRAPH 2019):
an encoder gives a first guess, and optimisation of the features goes on from it. Edits work on the features
of the edit layer, so those are what is optimised; staying near the encoder's guess keeps them in the
region that the generator knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .generators.staged import StagedGenerator, State
from .jobs import Ticket
from .measures import decibel

if TYPE_CHECKING:
    from .generators.zoo import Model

STEPS = 60
LEARNING_RATE = 0.05
PRIOR = 0.02
"""Weight of the mean squared distance from the guess, in units of the guess's own mean square."""

STARTS, SEARCH_STEPS = 64, 150


@dataclass(frozen=True)
class Inversion:
    """What :func:`invert` found.

    Attributes:
        z: the latent, 1 x latent_size.
        state: the generator's state at its edit layer.
        decibel: PSNR of the reconstruction G(z) from that state against the photo, in dB.
    """

    z: Tensor
    state: State
    decibel: float


def invert(model: Model, x: Tensor, *, steps: int = STEPS, ticket: Ticket | None = None) -> Inversion:
    """Find z and the edit layer's features for a photo.

    Args:
        model: the generator and, if it has one, its encoder; without an encoder z is searched from
            several random starts.
        x: the photo, 1 x 3 x R x R in [-1, 1].
        steps: optimiser steps on the features.
        ticket: progress and cancel (a cancelled inversion raises :class:`~ganpaint_widget.jobs.Cancelled`).
    """
    generator = model.generator
    if model.encoder is None:
        z = _search(generator, x, ticket)
        with torch.no_grad():
            state = generator.run(generator.start(z), until=generator.edit_layer)
    else:
        with torch.no_grad():
            z, features = model.encoder(x)
            state = generator.run(generator.start(z), until=generator.edit_layer).replace(features)
    state = _refine(generator, state, x, steps, ticket)
    with torch.no_grad():
        return Inversion(z, state, decibel(generator.picture(generator.run(state)), x))


def _search(generator: StagedGenerator, x: Tensor, ticket: Ticket | None) -> Tensor:
    """The best of several random latents, then improved by Adam on the mean absolute error."""
    with torch.no_grad():
        starts = generator.sample_z(STARTS, seed=0).to(x)
        errors = [float((generator(one[None]) - x).abs().mean()) for one in starts]
    z = starts[errors.index(min(errors))][None].clone().requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.05)
    for step in range(SEARCH_STEPS):
        loss = (generator(z) - x).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if ticket is not None:
            ticket.checkpoint(0.6 * (step + 1) / SEARCH_STEPS)
    return z.detach()


def _refine(generator: StagedGenerator, state: State, x: Tensor, steps: int, ticket: Ticket | None) -> State:
    """Adam on the features, mean absolute error of the picture plus the distance from where they began."""
    guess = state.features.detach()
    scale = guess.square().mean().sqrt()
    offset = torch.zeros_like(guess).requires_grad_()
    optimiser = torch.optim.Adam([offset], lr=LEARNING_RATE)
    for step in range(steps):
        picture = generator.picture(generator.run(state.replace(guess + scale * offset)))
        loss = (picture - x).abs().mean() + PRIOR * offset.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if ticket is not None:
            ticket.checkpoint((step + 1) / steps)
    return state.replace((guess + scale * offset).detach())
