"""A training run: what learns, at which pace, what judges it, and what is kept.

Here is what all runs share: their optimizers (convolutions learn by :class:`.Muon`, all else by Adam), the
running average, the penalty of judges, checkpoints and the log. What is asked of a batch, subclasses say:
``features.py`` for features from z, and below :class:`PictureRun` for an autoencoder at the edit layer
``demo/train_edits.py`` (scenes in pairs) and ``autoencoder.py`` (photos without labels).
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.networks import channels_last
from ..storage import replacing
from .judging import PatchDiscriminator, penalty
from .muon import Muon
from .painter import Painter, follow
from .precision import bfloat16

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
    """Return pictures with channels last in memory, which convolutions on CPUs are fastest with."""
    return pictures.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Rates:
    """What every run decides: the steps' lengths, and what its judges cost.

    ``step_length`` is Muon's, ``average`` the share of itself that the running average keeps a step. The
    penalty is taken every ``penalty_every`` steps, and then counts as often.
    """

    step_length: float = 0.01
    learning_rate: float = 3e-3
    learning_rate_encoder: float = 1e-3
    learning_rate_judge: float = 4e-4
    penalty: float = 0.02
    penalty_every: int = 8
    average: float = 0.998
    seed: int = 0


NOISE = 0.02
"""The noise in the features from which pictures are drawn, as a share of their root mean square."""


@dataclass(frozen=True)
class PictureRates(Rates):
    """What a run that draws pictures decides besides.

    Attributes:
        batch: how many pictures a step takes.
        warm_up: after how many pictures the judge begins to count.
        ramp: after how many more it counts fully.
        slopes: the weight of the errors of slopes, see :func:`.painter.slopes`.
        adversarial: the weight of the judge.
        details: how many times enlarged the judge sees a picture's details, see :class:`.PatchDiscriminator`.
    """

    batch: int = 16
    warm_up: int = 6_000
    ramp: int = 12_000
    slopes: float = 1.0
    adversarial: float = 0.05
    details: float = 0.0

    def grown(self, shown: int) -> float:
        """Return how far the judge counts, 0 to 1, after a number of pictures."""
        return min(1.0, max(0.0, (shown - self.warm_up) / self.ramp))


def noisy(features: Tensor) -> Tensor:
    """Return features with noise, so that what draws them cannot hide details in small differences."""
    scale = features.detach().square().mean().sqrt()
    return features + NOISE * scale * torch.randn_like(features)


B = TypeVar("B")


class Run(ABC, Generic[B]):
    """Everything that learns, and how far it has come.

    Args:
        rates: what decides it.
        learner: what learns, on the device where it stays.
        groups: the learner's parameters in two groups, of the rates ``learning_rate`` and
            ``learning_rate_encoder``. Their convolutions are Muon's.
        judges: what learns along to judge it, on the same device.
        momentum: of Adam's gradients of the learner.

    Attributes:
        average: the learner with averaged weights: what comes of the run.
        shown: how many pictures were drawn, or features made.
    """

    PARTS = ("learner", "average", "judges", "muon", "adam", "judging")
    """What a checkpoint keeps, by name."""

    def __init__(
        self,
        rates: Rates,
        learner: nn.Module,
        groups: Sequence[Sequence[nn.Parameter]],
        judges: nn.Module,
        momentum: float,
    ) -> None:
        self.rates, self.learner, self.judges = rates, learner, judges
        self.device = next(learner.parameters()).device
        self.average: nn.Module = copy.deepcopy(learner).requires_grad_(False)
        kernels = [p for group in groups for p in group if _is_kernel(p)]
        others = [[p for p in group if not _is_kernel(p)] for group in groups]
        fused = self.device.type != "mps"
        self.muon = Muon(kernels, lr=rates.step_length)
        self.adam = torch.optim.Adam(
            [{"params": group} for group in others], betas=(momentum, 0.99), fused=fused
        )
        self.judging = torch.optim.Adam(judges.parameters(), betas=(0.0, 0.99), fused=fused)
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
        groups = [*self.muon.param_groups, *self.adam.param_groups, *self.judging.param_groups]
        for group, length in zip(groups, self.lengths(), strict=True):
            group["lr"] = pace(done) * length

    def lengths(self) -> tuple[float, ...]:
        """Return the full rates at the present step: Muon's, those of Adam's two groups, the judges'."""
        rates = self.rates
        return rates.step_length, rates.learning_rate, rates.learning_rate_encoder, rates.learning_rate_judge

    def follow(self, loss: Tensor, made: int) -> None:
        """Take the learner a step down a loss, and its average along.

        Args:
            loss: of this step.
            made: how many pictures or features the learner has made for it.
        """
        descend(loss, self.muon, self.adam)
        self.step += 1
        self.shown += made
        follow(self.average, self.learner, self.step, self.rates.average)

    def penalties(self, *scored: tuple[Callable[[Tensor], Tensor], Tensor]) -> Tensor | float:
        """Return what judges pay for steep scores, now and then for several steps; 0 between.

        Args:
            scored: of each kind of input a score, which makes B x ... to B, and the inputs.
        """
        rates = self.rates
        if self.step % rates.penalty_every:
            return 0.0
        squared = torch.stack([penalty(score, inputs) for score, inputs in scored]).sum()
        return 0.5 * rates.penalty_every * rates.penalty * squared


def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """Take one step of each optimizer down a loss."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()


def _is_kernel(weight: nn.Parameter) -> bool:
    """Return whether Muon moves a weight: convolutions, but for those that read or write colors."""
    return weight.dim() == 4 and weight.shape[-1] > 1 and min(weight.shape[:2]) > 3


class PictureRun(Run[B]):
    """A run of an autoencoder at the edit layer, whose pictures a discriminator of patches judges.

    Args:
        rates: what decides it.
        painter: where to begin; it is moved to the device and changed.
        planes: how many label planes the discriminator reads beside a picture.
        device: where it runs.
    """

    PARTS = ("painter", "average", "discriminator", "muon", "adam", "judging")

    average: Painter

    def __init__(self, rates: PictureRates, painter: Painter, planes: int, device: str) -> None:
        self.painter = channels_last(painter.to(device)).train()
        self.discriminator = channels_last(PatchDiscriminator(planes, details=rates.details).to(device))
        groups = painter.fine(), painter.reading()
        super().__init__(rates, self.painter, groups, self.discriminator, momentum=0.7)

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
        discriminator = self.discriminator
        of_true, of_drawn = planes if planes is not None else (None, None)
        precision = bfloat16(self.device)
        side = drawn.shape[-1] // 8
        some = torch.randperm(len(drawn), device=self.device)[:PENALIZED]

        def score(classes: Tensor | None) -> Callable[[Tensor], Tensor]:
            own = None if classes is None else classes[some]

            def scored(pictures: Tensor) -> Tensor:
                with precision:
                    scores: Tensor = discriminator(augment(pictures), own)
                return side * scores.mean(dim=(1, 2, 3))

            return scored

        with precision:
            real = discriminator(augment(true), of_true)
            gap = real - discriminator(augment(drawn.detach()), of_drawn)
        steep = self.penalties((score(of_true), true[some]), (score(of_drawn), drawn[some]))
        descend((F.softplus(-gap) * weight).mean() + steep, self.judging)
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
    """Train for ``minutes``, or until ``budget`` pictures have been drawn (features: made) in all.

    Args:
        run: what learns. It goes on from the checkpoint where there is one.
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
