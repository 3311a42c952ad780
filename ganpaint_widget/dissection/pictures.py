"""The pictures of a generator, and the labels that a segmenter gives to their pixels."""

from __future__ import annotations

from torch import Tensor

from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated


@evaluated
def drawn(generator: StagedGenerator, state: State) -> Tensor:
    """Return the pictures of a batch of states, as networks see them: float32 B x 3 x R x R in [-1, 1]."""
    return generator.picture(generator.run(state)).float().clamp(-1, 1)


@evaluated
def labeled(generator: StagedGenerator, segmenter: Segmenter, state: State) -> Tensor:
    """Return their label maps, int64 B x R x R, on the CPU, where they are counted."""
    return segmenter.segment(drawn(generator, state)).cpu()
