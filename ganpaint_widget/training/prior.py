"""Training a prior on the latents that an encoder reads from pictures, after all else is done."""

from __future__ import annotations

import copy
import itertools
import logging
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.prior import Prior
from .data import Data
from .muon import Muon
from .painter import Painter, follow
from .precision import bfloat16

log = logging.getLogger(__name__)

AVERAGE = 0.999
"""What the running average of the weights keeps in a step, at the end of a long training."""

KEPT_APART = 0.05
"""The share of the latents that decides which average is kept: few latents are soon learned by heart."""

TRIED_EVERY = 500
"""Steps between two trials of the average."""

READ = 25
"""Pictures that are read at a time."""

LONGEST = 1.0
"""Longer gradients are shortened."""


def train_prior(
    latents: Tensor,
    *,
    steps: int,
    step_length: float = 0.02,
    learning_rate: float = 2e-3,
    batch: int = 512,
    seed: int = 0,
    width: int = 480,
    depth: int = 2,
) -> Prior:
    """Return a prior of latents: some minutes of one core.

    Args:
        latents: z of some thousand pictures, N x Z.
        steps: how many; the rates fall to 0 along a cosine.
        step_length: of Muon, which moves the hidden layers' weights. Adam alone needs more steps to miss as
            little. Long trainings need shorter ones: at their full length, errors grow again.
        learning_rate: of Adam, which moves all else.
        batch: latents a step, each at a random place on its line from noise.
        seed: of weights, noise, places and order. Torch is seeded with it.
        width, depth: of the prior.
    """
    torch.manual_seed(seed)
    latents = latents[torch.randperm(len(latents))]
    apart, latents = latents.tensor_split([max(1, round(KEPT_APART * len(latents)))])
    prior = Prior(latents.shape[1], width, depth).to(latents.device).train()
    average = copy.deepcopy(prior).requires_grad_(False)
    best, least = copy.deepcopy(average), math.inf
    kept = 0
    places = torch.rand(len(apart)), torch.randn(apart.shape)  # the same for all trials
    hidden = [p for layers in (prior.inward, prior.outward) for p in layers.parameters() if p.dim() == 2]
    others = [p for p in prior.parameters() if all(p is not weight for weight in hidden)]
    muon, adam = Muon(hidden, step_length), torch.optim.AdamW(others, learning_rate, betas=(0.9, 0.99))
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, steps) for one in (muon, adam)]
    for step in range(1, steps + 1):
        z = latents[torch.randint(len(latents), (batch,))]
        prior.zero_grad()
        _missed(prior, z, torch.rand(batch), torch.randn(z.shape)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(prior.parameters(), LONGEST)
        muon.step()
        adam.step()
        for schedule in schedules:
            schedule.step()
        follow(average, prior, step, AVERAGE)
        if step % TRIED_EVERY == 0 or step == steps:
            missed = float(_missed(average, apart, *places))
            log.info("prior, step %d of %d: missed %.4f", step, steps, missed)
            if missed < least:
                least, kept = missed, step
                best.load_state_dict(average.state_dict())
    log.info("prior: that of step %d is kept", kept)
    return best.eval()


def _missed(prior: Prior, z: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Return the mean squared error of the velocities at ``t`` on the lines from noise to latents."""
    t, noise = t.to(z), noise.to(z)
    with bfloat16(z.device):
        velocity = prior.velocity(torch.lerp(noise, z, t[:, None]), t)
    return F.mse_loss(velocity.float(), z - noise)


@torch.no_grad()
def read_latents(painter: Painter, data: Data, count: int, seed: int = 0) -> Tensor:
    """Return z of at least ``count`` random pictures of ``data``, float32 N x Z."""
    device = next(painter.parameters()).device
    found = []
    for pictures, _ in itertools.islice(data.batches(READ, seed), -(-count // READ)):
        with bfloat16(device):
            z, _ = painter.encoder(pictures.to(device))
        found.append(z.float())
    return torch.cat(found)
