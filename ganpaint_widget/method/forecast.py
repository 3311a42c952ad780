"""The forecast of an opening: how a photo will be inverted, and how long that will take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from ..models.networks import evaluated
from .inversion import DRAWS, SEARCH_STEPS, STARTS, STEPS

if TYPE_CHECKING:
    from ..models.model import Model

PASSES: Final = DRAWS + 3 * (STARTS * SEARCH_STEPS + STEPS)
"""Passes through the generator in an inversion without an encoder; three for a step with its gradient."""

ENOUGH: Final = 0.2
"""Seconds after which no further pass is timed."""


@dataclass(frozen=True)
class Forecast:
    """The forecast of an opening.

    Attributes:
        seconds: its approximate duration.
        sentence: the same for users, in words.
    """

    seconds: float
    sentence: str


@evaluated
@torch.no_grad()
def forecast(model: Model) -> Forecast | None:
    """Estimate the time to open a photo without an encoder; return ``None`` for a model with an encoder.

    The estimate comes from a few timed passes. It leaves out the perceptual metric, and other work on the
    machine distorts it.
    """
    if model.encoder is not None:
        return None
    generator = model.generator
    z = generator.here(generator.sample_z(1, seed=0))
    passes: list[float] = []
    while sum(passes) < ENOUGH and len(passes) < 5:  # the first pass of a quick generator says little
        began = time.perf_counter()
        generator(z).sum().item()  # item() waits for a GPU
        passes.append(time.perf_counter() - began)
    seconds = PASSES * min(passes)
    return Forecast(
        seconds,
        f"{model.name} has no encoder. Opening a photo searches its latent from {STARTS} starts, and takes "
        f"about {_spoken(seconds)} on this machine. `ganpaint train encoder` reduces that to seconds.",
    )


def _spoken(seconds: float) -> str:
    """Return a duration in everyday words: 7 seconds, 40 seconds, 12 minutes, 3 hours."""
    if seconds < 90:
        return f"{max(1, round(seconds, -1 if seconds >= 20 else None)):.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"
