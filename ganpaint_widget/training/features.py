"""Features from z: the early layers learn to make such features as the encoder reads from pictures.

Encoder and fine layers are done by now (``autoencoder.py``, for the demo ``demo/train_edits.py``) and stay as
they are. So all this happens in the space of the edit layer's features, which costs a fraction of drawing
pictures. Features count by direction alone (PixelNorm), as in the fine layers of a ProGAN that read them.

* The encoder's second head reads z from a picture, and the early layers must make the picture's features from
  it and from latents near it. Their errors count by what they change in pictures (``importance.py``), and a
  little by themselves. For the first ``warm_up`` batches, nothing judges what is made.
* Convolutions learn by :class:`.Muon`, as in ``run.py``, with shorter steps once they are judged.
* A discriminator of features judges what is made, as a whole and by patches (``judging.py``): an error that
  cannot be avoided should be one of detail, not a blur.
* Where pictures come with labels, a linear probe, which learns along on pictures, says which class a cell is.
  It must see in what is made what labels say, and rare classes count more: errors leave out small objects
  first. Besides, classes must be present as often, and cover as much, in what is made as in pictures.

Which latents there are, a prior learns afterwards (``prior.py``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.networks import channels_last
from ..models.progan import pixel_norm
from .data import Data, to_bytes
from .importance import WEIGHED_BY, importance, important
from .judging import FeatureDiscriminator, augmented
from .painter import Painter, slopes
from .precision import bfloat16
from .run import Rates, Run, carry_out, descend

SMALL = 0.003
"""The share of a picture from which on a class counts as half present."""


@dataclass(frozen=True)
class FeatureRecipe(Rates):
    """Everything that decides a run; others are weights.

    ``known`` counts the pictures that are read, and ``warm_up`` batches. ``near`` is how far at most latents
    are moved, relative to their length. Of the rates, ``learning_rate`` is that of the early layers,
    ``learning_rate_encoder`` that of the encoder's head, and ``step_length_judged`` Muon's after the warm-up.
    """

    known: int = 9_000
    batch: int = 32
    step_length: float = 0.015
    warm_up: int = 600
    step_length_judged: float = 0.003
    learning_rate: float = 2e-3
    learning_rate_encoder: float = 5e-4
    learning_rate_judge: float = 3e-4
    penalty: float = 1.0
    augment: bool = False
    near: float = 0.2
    missed: float = 0.5
    important: float = 1.5
    labeled: float = 0.1
    adversarial: float = 0.1
    balance: float = 0.02


class Balance:
    """How often and how large each class is in samples, relative to pictures of the world.

    Per picture and class it takes the area a and, in place of the step from absent to present, a / (a + s),
    whose gradient vanishes nowhere. Running means say how far samples are off; the loss has the gradient that
    half the squared relative error of these means would have.
    """

    KEPT = 0.98

    def __init__(self) -> None:
        self.known: Tensor | None = None
        self.samples: Tensor | None = None

    def __call__(self, known: Tensor, samples: Tensor) -> Tensor:
        """Return the loss, from class probabilities B x K x G x G of pictures and of samples."""
        of_known, of_samples = self._statistics(known).detach(), self._statistics(samples)
        if self.known is None or self.samples is None:
            self.known, self.samples = of_known, of_samples.detach()
        self.known = self.known.lerp(of_known, 1 - self.KEPT)
        self.samples = self.samples.lerp(of_samples.detach(), 1 - self.KEPT)
        scale = self.known.clamp_min(1e-4)
        return ((self.samples / scale - 1).clamp(-1, 1) * of_samples / scale).sum()

    @staticmethod
    def _statistics(seen: Tensor) -> Tensor:
        """2 x K, area and presence; undecided cells count less."""
        decided = seen.square()
        area = (decided / decided.sum(dim=1, keepdim=True)).mean(dim=(2, 3))
        return torch.stack([area.mean(dim=0), (area / (area + SMALL)).mean(dim=0)])


class Read(NamedTuple):
    """What is read from B pictures.

    Attributes:
        trunk: the output of the encoder's trunk, from which it reads z.
        features: of the edit layer, B x C x G x G, each cell of length 1 (PixelNorm).
        shares: of each class in each cell, B x K x G x G; ``None`` without labels.
    """

    trunk: Tensor
    features: Tensor
    shares: Tensor | None

    def pick(self, which: Tensor | slice) -> Read:
        """Return what is read from some of the pictures."""
        shares = None if self.shares is None else self.shares[which]
        return Read(self.trunk[which], self.features[which], shares)

    def batches(self, count: int, seed: int) -> Iterator[Read]:
        """Yield random batches without end."""
        random = torch.Generator().manual_seed(seed)
        while True:
            chosen = torch.randint(len(self.trunk), (count,), generator=random)
            yield self.pick(chosen.to(self.trunk.device))


@torch.no_grad()
def read_pictures(painter: Painter, data: Data, count: int, classes: int) -> Read:
    """Read ``count`` pictures once, with the shares of ``classes`` if the data has labels.

    All of it is kept in bfloat16, to save memory.
    """
    device = next(painter.parameters()).device
    grid = painter.generator.shape(painter.generator.edit_layer)[-1]
    some = min(20, count)
    found: list[Tensor] = []
    with bfloat16(device):
        for start, (pictures, labels) in zip(range(0, count, some), data.batches(some, 0), strict=False):
            trunk = painter.encoder.shared(pictures.to(device))
            read = [trunk, pixel_norm(painter.encoder.features(trunk).float())]
            if labels is not None and classes:
                planes = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
                read.append(F.adaptive_avg_pool2d(planes, (grid, grid)).to(device))
            # Room for all is made once: they take gigabytes, and joining them would take as much again.
            found = found or [one.new_empty((count, *one.shape[1:]), dtype=torch.bfloat16) for one in read]
            for all_of_it, one in zip(found, read, strict=True):
                all_of_it[start : start + some] = one[: count - start]
    return Read(found[0], found[1], found[2] if len(found) > 2 else None)


class FeatureRun(Run[Read]):
    """A run in the space of features.

    Args:
        recipe: what decides it.
        painter: its encoder and its fine layers are done, and it is in evaluation mode, on the device where
            the run takes place. Its early layers and the encoder's head for z are changed.
        matters: what differences of features of length 1 matter, C x C, see :func:`.importance`.
        areas: the share of pictures that each of K classes covers; ``None`` without labels.
    """

    def __init__(
        self, recipe: FeatureRecipe, painter: Painter, matters: Tensor, areas: Tensor | None = None
    ) -> None:
        self.recipe, self.painter, self.matters = recipe, painter, matters
        # A class that is a hundred times as rare counts ten times as much, cell by cell.
        areas = matters.new_ones(1) if areas is None else areas
        rare = areas.clamp_min(1e-3).rsqrt()
        self.counts = rare / (rare * areas).sum()
        generator, encoder = painter.generator, painter.encoder
        channels, grid, _ = generator.shape(generator.edit_layer)
        self.judge = channels_last(FeatureDiscriminator(channels, grid))
        self.probe = nn.Conv2d(channels, len(areas), 1)
        self.balance = Balance()
        learner = painter.making()
        head = [*encoder.deep.parameters(), *encoder.latent.parameters()]
        judges = nn.ModuleDict({"features": self.judge, "probe": self.probe}).to(matters.device)
        super().__init__(recipe, learner, (list(learner["early"].parameters()), head), judges, momentum=0.0)
        learner.requires_grad_(True)
        encoder.deep.train()

    @property
    def warmed_up(self) -> bool:
        """Whether the warm-up is over, so that features are judged."""
        return self.step >= self.recipe.warm_up

    def lengths(self) -> tuple[float, ...]:
        """Return the full rates at the present step; judged convolutions take shorter ones."""
        regression, *others = super().lengths()
        return (self.recipe.step_length_judged if self.warmed_up else regression, *others)

    def set_pace(self, done: float) -> None:
        """Set all rates. Momentum serves regression, and hurts the game of two."""
        super().set_pace(done)
        for group in self.adam.param_groups:
            group["betas"] = (0.0 if self.warmed_up else 0.8, 0.99)

    def learn(self, batch: Read) -> dict[str, float]:
        """Learn one step from what is read from pictures. Returns the parts of the loss, by name."""
        recipe = self.recipe
        real = batch.features.float()
        read = self._latents(batch.trunk.float())
        away = recipe.near * torch.rand(len(read), 1, device=self.device) * torch.randn_like(read)
        made = self._made(pixel_norm(read + away))
        missed = made - real
        parts = {"missed": missed.abs().mean(), "important": important(missed, self.matters).mean()}
        # What small errors change says little of large ones, so that it counts fully after the warm-up only.
        grown = min(1.0, self.step / max(1, recipe.warm_up))
        loss = recipe.missed * parts["missed"] + recipe.important * grown * parts["important"]

        taught = []
        if batch.shares is not None:
            parts["probe"] = self._mislabeled(real, batch.shares)
            taught.append(parts["probe"])
        if self.warmed_up:
            taught.append(self._taught(real, made.detach()))
        if taught:
            descend(torch.stack(taught).sum(), self.judging)

        self.judges.requires_grad_(False)
        if batch.shares is not None:
            parts["labeled"] = self._mislabeled(made, batch.shares)
            loss = loss + recipe.labeled * grown * parts["labeled"]
        if self.warmed_up:
            parts["fooling"] = F.softplus(self._judged(real) - self._judged(made)).mean()
            loss = loss + recipe.adversarial * parts["fooling"]
            if batch.shares is not None:
                seen = self.probe(real).softmax(dim=1), self.probe(made).softmax(dim=1)
                loss = loss + recipe.balance * self.balance(*seen)
        self.judges.requires_grad_(True)
        self.follow(loss, len(made))
        return {name: float(part.detach()) for name, part in parts.items()}

    def _latents(self, trunk: Tensor) -> Tensor:
        """Read z from the trunk's output, B x Z."""
        encoder = self.painter.encoder
        with bfloat16(self.device):
            read = encoder.latent(encoder.deep(trunk)).float()
        return pixel_norm(read)

    def _made(self, z: Tensor) -> Tensor:
        """Make features from z, each cell of length 1."""
        generator = self.painter.generator
        with bfloat16(self.device):
            features = generator.run(generator.start(z), until=generator.edit_layer).features
        return pixel_norm(features.float())

    def _mislabeled(self, features: Tensor, shares: Tensor) -> Tensor:
        """Return the cross-entropy of what the probe sees, with rare classes counting more."""
        logs = self.probe(features).log_softmax(dim=1)
        missed: Tensor = -(self.counts[:, None, None] * shares * logs).sum(dim=1).mean()
        return missed

    def _judged(self, features: Tensor) -> Tensor:
        with bfloat16(self.device):
            scores: Tensor = self.judge(augmented(features, color=False) if self.recipe.augment else features)
        return scores

    def _taught(self, real: Tensor, made: Tensor) -> Tensor:
        """Return the loss of the judge that compares two batches, with its penalty."""

        def whole(features: Tensor) -> Tensor:
            return self._judged(features).view(len(features), -1).mean(dim=1)

        gap = self._judged(made) - self._judged(real)
        return F.softplus(gap).mean() + self.penalties((whole, real), (whole, made))

    def finished(self) -> Painter:
        """Return the painter with averaged weights."""
        return _with_weights(self.painter, self.average.state_dict())

    @torch.no_grad()
    def write_sheet(self, batch: Read, path: Path) -> None:
        """Write eight pictures as their features draw them, as z does, and as latents near it do."""
        painter = self.finished()
        generator, encoder = painter.generator, painter.encoder
        z = pixel_norm(encoder.latent(encoder.deep(batch.trunk.float())))
        away = self.recipe.near / 2 * torch.randn(z.shape, generator=torch.Generator().manual_seed(7))
        both = generator.start(torch.cat([z, z + away.to(z)]))
        features = torch.cat(
            [batch.features.float(), generator.run(both, until=generator.edit_layer).features]
        )
        rows = torch.split(painter.draw(features), len(z))
        sheet = np.concatenate([np.concatenate(list(to_bytes(row.cpu())), axis=1) for row in rows])
        Image.fromarray(sheet).save(path)


def train_features(
    folder: Path,
    painter: Painter,
    data: Data,
    recipe: FeatureRecipe,
    *,
    minutes: float,
    budget: float = math.inf,
    classes: int = 0,
    device: str = "cpu",
    log_every: int = 50,
) -> Painter:
    """Teach a painter's early layers and its head for z, for ``minutes`` or ``budget`` features in all.

    It goes on from ``folder/features.pt`` where there is one; see :func:`.carry_out`.

    Args:
        folder: where it is kept.
        painter: its encoder and its fine layers are done; it is not changed.
        data: pictures of its world.
        recipe: what decides the run.
        minutes: how long.
        budget: how many pictures' features are made in all, at most.
        classes: how many classes the data's labels tell apart; 0 without labels.
        device: where it runs.
        log_every: steps between two lines of the log.

    Returns:
        The painter with the averaged weights, on the device.
    """
    torch.manual_seed(recipe.seed)
    painter = channels_last(copy.deepcopy(painter).to(device)).eval().requires_grad_(False)
    known = read_pictures(painter, data, recipe.known, classes)

    def seen(features: Tensor) -> Sequence[tuple[float, Tensor]]:
        drawn = painter.draw(features)
        return [(1.0, drawn), (1.0, slopes(drawn))]

    some = known.features[:WEIGHED_BY].float()
    matters = importance(seen, some)
    # Errors as large as the features themselves matter 1, even where features hardly vary.
    matters /= important(some, matters).mean()
    areas = None if known.shares is None else known.shares.mean(dim=(0, 2, 3), dtype=torch.float32)
    run = FeatureRun(recipe, painter, matters, areas)
    carry_out(
        run,
        folder / "features.pt",
        lambda seed: known.batches(recipe.batch, seed),
        known.pick(slice(8)),
        minutes=minutes,
        budget=budget,
        log_every=log_every,
    )
    return run.finished()


def with_features(painter: Painter, folder: Path) -> Painter:
    """Return the painter with the early layers and the head for z that ``folder/features.pt`` keeps."""
    return _with_weights(painter, torch.load(folder / "features.pt", weights_only=True)["average"])


def _with_weights(painter: Painter, average: Mapping[str, Tensor]) -> Painter:
    """Return a copy of the painter with these weights in place of those that learn."""
    finished = copy.deepcopy(painter)
    finished.making().load_state_dict(average)
    return finished.requires_grad_(False).eval()
