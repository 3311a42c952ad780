"""Two baselines for a dissection: they show how much of its scores the units themselves explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import GANPaintError
from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated
from ..tickets import Ticket
from .measure import THRESHOLDS, best_threshold, quantiles, random_places, tally
from .pictures import labeled, sampled


def random_rotation(channels: int, seed: int = 0) -> Tensor:
    """Return a random orthogonal matrix C x C, uniformly distributed (QR of a Gaussian one, signs evened)."""
    source = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(channels, channels, generator=source, dtype=torch.float64))
    rotation: Tensor = q * r.diagonal().sign()
    return rotation.float()


@dataclass(frozen=True)
class PositionBaseline:
    """The scores of a detector that never looks at the picture: K concepts, ``iou`` and ``iqr`` (K each).

    A concept's best unit carries information about it only if its IoU is above this one.
    """

    concepts: tuple[str, ...]
    iou: Tensor
    iqr: Tensor


@evaluated
@torch.no_grad()
def position_baseline(
    generator: StagedGenerator,
    segmenter: Segmenter,
    *,
    samples: int = 1000,
    states: Sequence[State] | None = None,
    seed: int = 0,
    batch: int = 25,
    pixels: int = 512,
    ticket: Ticket | None = None,
) -> PositionBaseline:
    """Measure the IoU of a detector that knows only how often each concept is at each pixel.

    The first half of the samples gives the frequencies. The second half scores them like the activations of
    a unit, with the threshold of the highest IQR.

    Args:
        generator, segmenter, samples, states, seed, batch, pixels, ticket: as for :func:`.measure.dissect`.
    """
    if states is None:
        states = sampled(generator, samples, seed, batch)
    if len(states) < 2:
        raise GANPaintError(
            "The baseline needs at least two batches of samples.", "Take more samples, or smaller batches."
        )
    concepts = len(segmenter.classes)
    half = len(states) // 2
    often: Tensor | None = None
    for number, state in enumerate(states[:half]):
        labels = labeled(generator, segmenter, state)
        found = F.one_hot(labels, concepts).permute(0, 3, 1, 2).double().sum(dim=0)
        often = found if often is None else often + found
        if ticket is not None:
            ticket.checkpoint((number + 1) / len(states))
    assert often is not None
    frequency = (often / sum(len(state.features) for state in states[:half])).flatten(1).float()
    ranked = frequency.sort(dim=1).values
    thresholds = quantiles(ranked)
    counts = torch.zeros(concepts, concepts, THRESHOLDS + 1, dtype=torch.int64)
    for number, state in enumerate(states[half:]):
        labels = labeled(generator, segmenter, state)
        places = random_places(len(labels), pixels, labels[0].numel(), seed, number)
        chosen = labels.flatten(1).gather(1, places).flatten()
        if ticket is not None:
            ticket.checkpoint((half + number + 1) / len(states))
        counts += tally(frequency[:, places.flatten()].contiguous(), chosen, thresholds, concepts)
    iou, iqr, _ = best_threshold(counts.double())
    return PositionBaseline(tuple(segmenter.classes), iou.diagonal().clone(), iqr.diagonal().clone())
