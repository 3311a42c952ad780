"""The pictures of a generator's world, and the labels that a segmenter gives to their pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import GANPaintError
from ..images.arrays import tensor_of
from ..models.checking import segmented
from ..models.generator import StagedGenerator, State
from ..models.model import Model, Segmenter
from ..models.networks import evaluated
from ..tickets import Ticket, watched


@evaluated
def drawn(generator: StagedGenerator, state: State) -> Tensor:
    """Return the pictures of a batch of states, as networks see them: float32 B x 3 x R x R in [-1, 1]."""
    return generator.picture(generator.run(state)).float().clamp(-1, 1)


@evaluated
def labeled(generator: StagedGenerator, segmenter: Segmenter, state: State) -> Tensor:
    """Return their label maps, int64 B x R x R, on the CPU, where they are counted.

    Raises:
        GANPaintError: the segmenter returns something else.
    """
    return segmented(segmenter, drawn(generator, state)).cpu()


def check_number(of: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Raise GANPaintError if a number of something is not whole or out of range."""
    if (
        not isinstance(value, int | np.integer)
        or isinstance(value, bool)
        or value < least
        or (most is not None and value > most)
    ):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise GANPaintError(
            f"The number of {of} is out of range: {value!r}.", f"Choose a whole number {span}."
        )


def check_numbers(samples: int, batch: int) -> None:
    """Raise GANPaintError if pictures cannot be drawn in these numbers."""
    check_number("samples", samples)
    check_number("pictures in a batch", batch)


def sampled(generator: StagedGenerator, samples: int, seed: int, batch: int) -> list[State]:
    """Return the states of ``samples`` latents before the first stage, in batches."""
    check_numbers(samples, batch)
    return [generator.start(generator.here(z)) for z in torch.split(generator.sample_z(samples, seed), batch)]


@torch.no_grad()
def states_of(
    model: Model, layer: str, samples: int, seed: int, batch: int, ticket: Ticket | None = None
) -> list[State]:
    """Return the states of ``samples`` pictures of a model's world, in batches.

    People edit features that an encoder has read from a photo, and those differ a little from what z draws.
    So if the model has an encoder, the states are at the edit layer, with the features that it reads from
    pictures of the gallery and, when these are used up, from samples. Otherwise, and for layers before the
    edit layer, the states are those of :func:`sampled`.

    Args:
        model: one that is ready for use, see :meth:`.Model.to`.
        layer: where the states are looked at.
        samples: how many pictures. All states stay in memory.
        seed: of the choice.
        batch: pictures at a time.
        ticket: progress and cancel.

    Raises:
        GANPaintError: the gallery's pictures do not have the generator's size, or a number is below 1.
    """
    check_numbers(samples, batch)
    generator, gallery = model.generator, model.gallery
    if model.encoder is None or generator.stage_index(layer) < generator.stage_index(generator.edit_layer):
        return sampled(generator, samples, seed, batch)
    latents = generator.here(generator.sample_z(samples, seed))
    size = generator.resolution
    shown: list[int] = []
    if gallery is not None:
        shown = np.random.default_rng(seed).permutation(gallery.count)[:samples].tolist()
    states = []
    for start in watched(range(0, samples, batch), ticket):
        some, drawn_from = shown[start : start + batch], latents[start : start + batch]
        pictures = []
        for index in some:
            assert gallery is not None
            picture = gallery.picture(index)
            if picture.shape != (size, size, 3):
                raise GANPaintError(
                    f"A picture of the gallery has the shape {picture.shape}, and {model.name!r} makes "
                    f"pictures of {size} x {size}.",
                    "Pass a model whose gallery shows pictures of its own size.",
                )
            pictures.append(tensor_of(picture, latents.device))
        if len(some) < len(drawn_from):
            pictures.append(drawn(generator, generator.start(drawn_from[len(some) :])))
        states.append(model.read(torch.cat(pictures))[1])
    return states
