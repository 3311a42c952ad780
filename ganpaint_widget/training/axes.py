"""Axes for a layer whose axes mean nothing: units that are seldom on, and then strongly.

A layer whose features are only normalized and convolved afterwards can be turned by any orthogonal matrix, if
the convolutions before and behind are turned along: no picture changes. So an autoencoder has no reason to
prefer one set of axes to another, and its units end up as mixtures. Turned to axes along which the features
are as skewed as can be, a unit is on where one kind of thing is, without any label (independent component
analysis by its simplest contrast; Hyvärinen and Oja 2000, here within rotations only, as in varimax).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..models.progan import ProGAN, pixel_norm
from .painter import Painter

ROUNDS = 60

EVERY = 3
"""Of how many cells one is looked at: neighbors are alike."""


def skewed_axes(features: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Find the rotation of features that makes every axis as skewed as can be, and positive where it is on.

    Args:
        features: N x C.
        rounds: of the fixed-point iteration.

    Returns:
        An orthogonal C x C matrix R: ``features @ R`` has the new axes.
    """
    centered = features - features.mean(dim=0)
    rotation = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
    for _ in range(rounds):
        found = centered @ rotation
        left, _, right = torch.linalg.svd(centered.T @ found.clamp_min(0).square() / len(found))
        rotation = left @ right
    found = centered @ rotation
    return rotation * torch.where(found.pow(3).mean(dim=0) < 0, -1.0, 1.0)


@torch.no_grad()
def turn(painter: Painter, rotation: Tensor) -> None:
    """Turn the edit layer's axes of a painter, which goes on drawing the same pictures.

    The encoder's last convolution and the first one behind the edit layer are turned. The layer that makes
    features from z has a nonlinearity after its convolution, and is turned as well as that allows; it has to
    learn on (``features.py``).

    Args:
        painter: its generator is a ProGAN.
        rotation: orthogonal, C x C, as of :func:`skewed_axes`.
    """
    generator = painter.generator
    assert isinstance(generator, ProGAN)
    place = generator.stage_index(generator.edit_layer)
    own: Any = generator.get_submodule(generator.edit_layer)
    behind: Any = generator.get_submodule(generator.stages[place + 1])
    read: Any = painter.encoder.features[-1]
    for weight in (read.weight, own.conv.weight):
        weight.copy_(torch.einsum("oikl,on->nikl", weight, rotation.to(weight)))
    for bias in (read.bias, own.wscale.b):
        bias.copy_(bias @ rotation.to(bias))
    weight = behind.conv.weight
    weight.copy_(torch.einsum("oikl,in->onkl", weight, rotation.to(weight)))


@torch.no_grad()
def turned(painter: Painter, pictures: Tensor) -> Painter:
    """Return a painter whose edit layer has skewed axes, and that draws the same pictures.

    Args:
        painter: its generator is a ProGAN; it stays as it is.
        pictures: of its world, B x 3 x R x R.
    """
    painter = copy.deepcopy(painter)
    read = torch.cat([pixel_norm(painter.encode(some)) for some in torch.split(pictures, 25)])
    cells = read.permute(0, 2, 3, 1).flatten(0, 2)
    turn(painter, skewed_axes(cells[::EVERY]))
    return painter
