"""A training run of an autoencoder at the edit layer: who learns, at which pace, and what is kept.

What is asked of the pictures, subclasses say: for scenes in pairs ``demo/train_edits.py``, for photos without
labels ``autoencoder.py``. Here are their optimizers (convolutions learn by :class:`.Muon`, all else by Adam),
the discriminator of patches that both ask, the running average, checkpoints and the log.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..storage import replacing
from .data import bfloat16, channels_last
from .judging import PatchDiscriminator, penalty
from .muon import Muon
from .painter import Painter, follow

log = logging.getLogger(__name__)

ANNEALED = 0.35
"""The last part of a run's time, in which the rates fall."""

LOWEST_PACE = 0.03
"""What remains of the rates at the end."""

KEPT_EVERY = 120
"""Seconds between two checkpoints."""

PENALIZED = 8
"""Pictures of a batch whose gradients are penalized."""


def pace(done: float) -> float:
    """Return the factor of all rates after the share ``done`` of a run: 1, then falling to nearly 0."""
    return min(1.0, max(LOWEST_PACE, (1 - done) / ANNEALED))


def laid_out(pictures: Tensor) -> Tensor:
    """Channels last in memory, which convolutions on CPUs are fastest with."""
    return pictures.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Rates:
    """What every run decides: the steps' lengths, and what the discriminator costs.

    ``step_length`` is Muon's, ``average`` the share of itself that the running average keeps a step.
    """

    step_length: float = 0.01
    learning_rate: float = 3e-3
    learning_rate_encoder: float = 1e-3
    learning_rate_judge: float = 4e-4
    penalty: float = 0.02
    penalty_every: int = 8
    average: float = 0.998
    seed: int = 0


B = TypeVar("B")


class Run(ABC, Generic[B]):
    """Everything that learns, and how far it has come.

    Args:
        rates: what decides it.
        painter: where to begin; it is moved to the device and changed.
        planes: how many label planes the discriminator reads beside a picture.
        device: where it runs.

    Attributes:
        average: the painter with averaged weights: what comes of the run.
        shown: how many pictures were drawn.
    """

    PARTS = ("painter", "average", "discriminator", "muon", "adam", "judging")
    """What a checkpoint keeps, by name."""

    def __init__(self, rates: Rates, painter: Painter, planes: int, device: str) -> None:
        self.rates, self.device = rates, torch.device(device)
        self.painter = channels_last(painter.to(device)).train()
        self.average = copy.deepcopy(self.painter).requires_grad_(False)
        self.discriminator = channels_last(PatchDiscriminator(planes).to(device))
        fine, encoder = self.painter.fine(), self.painter.reading()
        matrices = [
            p for p in (*fine, *encoder) if p.dim() == 4 and p.shape[-1] == 3 and min(p.shape[:2]) > 3
        ]
        kernels = {id(p) for p in matrices}
        self.muon = Muon(matrices, lr=rates.step_length)
        self.adam = torch.optim.Adam(
            [
                {"params": [p for p in fine if id(p) not in kernels], "lr": rates.learning_rate},
                {"params": [p for p in encoder if id(p) not in kernels], "lr": rates.learning_rate_encoder},
            ],
            betas=(0.7, 0.99),
            fused=self.device.type != "mps",
        )
        self.judging = torch.optim.Adam(
            self.discriminator.parameters(),
            lr=rates.learning_rate_judge,
            betas=(0.0, 0.99),
            fused=self.device.type != "mps",
        )
        self.shown, self.step, self.seconds = 0, 0, 0.0

    @abstractmethod
    def learn(self, batch: B) -> dict[str, float]:
        """Learn one step from a batch. Returns the parts of the loss, by name."""

    @abstractmethod
    def write_sheet(self, batch: B, path: Path) -> None:
        """Write a picture that shows how far the average has come."""

    def save(self, path: Path) -> None:
        """Write the run, so that :meth:`load` goes on from it."""
        content: dict[str, Any] = {name: getattr(self, name).state_dict() for name in self.PARTS}
        content |= {"shown": self.shown, "step": self.step, "seconds": self.seconds}
        with replacing(path) as partial:
            torch.save(content, partial)

    def load(self, path: Path) -> None:
        """Take a run up where it was saved."""
        content = torch.load(path, weights_only=True, map_location=self.device)
        for name in self.PARTS:
            getattr(self, name).load_state_dict(content[name])
        self.shown, self.step, self.seconds = content["shown"], content["step"], content["seconds"]

    def set_pace(self, done: float) -> None:
        """Set all rates for a run of which the share ``done`` has passed."""
        rates = self.rates
        groups = [*self.muon.param_groups, *self.adam.param_groups, *self.judging.param_groups]
        lengths = (
            rates.step_length,
            rates.learning_rate,
            rates.learning_rate_encoder,
            rates.learning_rate_judge,
        )
        for group, length in zip(groups, lengths, strict=True):
            group["lr"] = pace(done) * length

    def follow(self, loss: Tensor, drawn: int) -> None:
        """Take the painter a step down a loss, and its average along.

        Args:
            loss: of this step.
            drawn: how many pictures the painter has drawn for it.
        """
        for optimizer in (self.muon, self.adam):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in (self.muon, self.adam):
            optimizer.step()
        self.step += 1
        self.shown += drawn
        follow(self.average, self.painter, self.step, self.rates.average)

    def judge(
        self,
        true: Tensor,
        drawn: Tensor,
        planes: tuple[Tensor, Tensor] | None = None,
        weight: Tensor | float = 1.0,
        augment: Callable[[Tensor], Tensor] = lambda pictures: pictures,
    ) -> tuple[Tensor, Tensor]:
        """Teach the discriminator a step.

        Args:
            true, drawn: pictures, B x 3 x R x R.
            planes: label planes of the true and of the drawn pictures, B x K x R x R each.
            weight: of patches, with mean 1.
            augment: what both kinds of pictures go through.

        Returns:
            What the painter pays, and by how much true patches score higher.
        """
        rates, discriminator = self.rates, self.discriminator
        of_true, of_drawn = planes if planes is not None else (None, None)
        precision = bfloat16(self.device)
        side = drawn.shape[-1] // 8
        with precision:
            real = discriminator(augment(true), of_true)
            gap = real - discriminator(augment(drawn.detach()), of_drawn)
        loss = (F.softplus(-gap) * weight).mean()
        if self.step % rates.penalty_every == 0:
            some = torch.randperm(len(drawn), device=self.device)[:PENALIZED]
            for pictures, classes in ((true, of_true), (drawn, of_drawn)):
                own = None if classes is None else classes[some]

                def score(one: Tensor, own: Tensor | None = own) -> Tensor:
                    with precision:
                        scores: Tensor = discriminator(augment(one), own)
                    return side * scores.mean(dim=(1, 2, 3))

                squared = penalty(score, pictures[some])
                loss = loss + 0.5 * rates.penalty_every * rates.penalty * squared
        self.judging.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.judging.step()
        discriminator.requires_grad_(False)
        with precision:
            # The real scores are those of before the step: one forward pass less.
            fooling = F.softplus(real.detach() - discriminator(augment(drawn), of_drawn)) * weight
        discriminator.requires_grad_(True)
        return fooling.mean(), gap.mean()


R = TypeVar("R", bound=Run[Any])


def carry_out(
    run: R,
    checkpoint: Path,
    batches: Callable[[int], Iterator[Any]],
    watched: Any,
    *,
    minutes: float,
    budget: float = math.inf,
    log_every: int = 50,
) -> R:
    """Train for ``minutes``, or until ``budget`` pictures have been drawn in all.

    Args:
        run: who learns. It goes on from the checkpoint where there is one.
        checkpoint: NAME.pt. It is written every two minutes and at the end, with sheets ``NAME-*.png`` and
            the log ``NAME.jsonl`` beside it.
        batches: batches without end, from a seed.
        watched: the batch that sheets show.
        minutes: how long.
        budget: how many pictures in all, at most.
        log_every: steps between two lines of the log.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    name = checkpoint.stem
    if checkpoint.exists():
        run.load(checkpoint)
        log.info("going on from %d pictures", run.shown)
    own = batches(run.rates.seed + run.step)

    def keep() -> None:
        run.save(checkpoint)
        run.write_sheet(watched, checkpoint.with_name(f"{name}-{run.shown // 1000:05d}k.png"))

    began = saved = logged = time.monotonic()
    sums: dict[str, float] = defaultdict(float)
    while time.monotonic() - began < 60 * minutes and run.shown < budget:
        run.set_pace((time.monotonic() - began) / (60 * minutes))
        for part, value in run.learn(next(own)).items():
            sums[part] += value
        now = time.monotonic()
        if run.step % log_every == 0:
            line = {part: round(value / log_every, 4) for part, value in sums.items()}
            line |= {"shown": run.shown, "seconds_a_step": round((now - logged) / log_every, 3)}
            with open(checkpoint.with_suffix(".jsonl"), "a") as file:
                file.write(json.dumps(line) + "\n")
            log.info("%s", line)
            sums.clear()
            logged = now
        if now - saved > KEPT_EVERY:
            run.seconds += now - saved
            saved = now
            keep()
    run.seconds += time.monotonic() - saved
    keep()
    return run
