"""The pictures of a generator's world, and the labels that a segmenter gives to their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..images.arrays import tensor_of
from ..models.generator import StagedGenerator, State
from ..models.model import Model, Segmenter
from ..models.networks import evaluated


@evaluated
def drawn(generator: StagedGenerator, state: State) -> Tensor:
    """Return the pictures of a batch of states, as networks see them: float32 B x 3 x R x R in [-1, 1]."""
    return generator.picture(generator.run(state)).float().clamp(-1, 1)


@evaluated
def labeled(generator: StagedGenerator, segmenter: Segmenter, state: State) -> Tensor:
    """Return their label maps, int64 B x R x R, on the CPU, where they are counted."""
    return segmenter.segment(drawn(generator, state)).cpu()


def sampled(generator: StagedGenerator, samples: int, seed: int, batch: int) -> list[State]:
    """Return the states of ``samples`` latents before the first stage, in batches."""
    return [generator.start(generator.here(z)) for z in torch.split(generator.sample_z(samples, seed), batch)]


@evaluated
@torch.no_grad()
def states_of(model: Model, layer: str, samples: int, seed: int, batch: int) -> list[State]:
    """Return the states of ``samples`` pictures of a model's world, in batches.

    People edit features that an encoder reads from photos, and those differ a little from what z draws. So
    if the model has an encoder, the states are at the edit layer, with the features that it reads from
    pictures of the gallery and, when these are used up, from samples. Otherwise, and for layers before the
    edit layer, the states are those of :func:`sampled`.

    Args:
        model: one that is ready for use, see :meth:`.Model.to`.
        layer: where the states are looked at.
        samples: how many pictures.
        seed: of the choice.
        batch: pictures at a time.
    """
    generator, gallery = model.generator, model.gallery
    if model.encoder is None or generator.stage_index(layer) < generator.stage_index(generator.edit_layer):
        return sampled(generator, samples, seed, batch)
    latents = generator.sample_z(samples, seed)
    shown: Sequence[int] = (
        [] if gallery is None else np.random.default_rng(seed).permutation(gallery.count)[:samples].tolist()
    )
    states = []
    for start in range(0, samples, batch):
        some, z = shown[start : start + batch], latents[start : start + batch]
        pictures = [] if gallery is None else [tensor_of(gallery.picture(one), z.device) for one in some]
        if len(some) < len(z):
            pictures.append(drawn(generator, generator.start(generator.here(z[len(some) :]))).to(z.device))
        z, features = model.encoder(generator.here(torch.cat(pictures)))
        states.append(generator.run(generator.start(z), until=generator.edit_layer).replace(features))
    return states
