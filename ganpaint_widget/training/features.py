"""Features from z: the early layers learn to make such features as the encoder reads from pictures.

Encoder and fine layers are done by now (``autoencoder.py``, for the demo ``demo/train_edits.py``) and stay as
they are. So all this happens in the space of the edit layer's features, which costs a fraction of drawing
pictures. Features count by direction alone (PixelNorm), as in the fine layers of a ProGAN that read them.

* The encoder's second head reads z from a picture, and the early layers must make the picture's features from
  it: mean absolute error. That comes first, alone, for ``warm_up`` batches.
* Convolutions learn by :class:`.Muon`, as in ``run.py``, with shorter steps once they are judged.
* A discriminator of features judges those made from drawn z, as a whole and by patches (``judging.py``).
* A small one judges the latents that the head reads, so that they fill the normal prior (adversarial
  autoencoders; Makhzani et al. 2015): what they leave empty, samples would fall into.
* Where pictures come with labels, classes must be present as often, and cover as much, in samples as in
  pictures; a linear probe, which learns along on pictures, says which class a cell is.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.progan import pixel_norm
from ..storage import replacing
from .data import Data, bfloat16, channels_last, to_bytes
from .judging import FeatureDiscriminator, LatentDiscriminator, augmented, penalty
from .muon import Muon
from .painter import Painter, follow
from .run import pace

log = logging.getLogger(__name__)

SMALL = 0.003
"""The share of a picture from which on a class counts as half present."""


@dataclass(frozen=True)
class FeatureRecipe:
    """Everything that decides a run; ``warm_up`` counts batches, and ``known`` the pictures that are read."""

    known: int = 9_000
    batch: int = 32
    warm_up: int = 600
    step_length: float = 0.015
    step_length_judged: float = 0.003
    learning_rate: float = 2e-3
    learning_rate_head: float = 5e-4
    learning_rate_judge: float = 3e-4
    adversarial: float = 0.1
    latent: float = 0.05
    balance: float = 0.1
    penalty: float = 1.0
    penalty_every: int = 8
    average: float = 0.998
    augment: bool = False
    seed: int = 0


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


class _Known:
    """What is read from pictures once: the trunk's output, unit features, and shares of classes in cells."""

    def __init__(self, painter: Painter, data: Data, count: int, classes: int, device: torch.device) -> None:
        trunk, features, shares = [], [], []
        grid = painter.generator.shape(painter.generator.edit_layer)[-1]
        some = min(20, count)
        batches = data.batches(some, 0)
        with torch.no_grad(), bfloat16(device):
            for _ in range(-(-count // some)):
                pictures, labels = next(batches)
                read = painter.encoder.shared(pictures.to(device))
                trunk.append(read.bfloat16())
                features.append(pixel_norm(painter.encoder.features(read).float()).bfloat16())
                if labels is not None and classes:
                    planes = F.one_hot(labels, classes).permute(0, 3, 1, 2).float()
                    shares.append(F.adaptive_avg_pool2d(planes, (grid, grid)).to(device))
        self.trunk, self.features = torch.cat(trunk), torch.cat(features)
        self.shares = torch.cat(shares) if shares else None


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
    """Teach a painter's early layers and its head for z, for ``minutes`` or ``budget`` steps in all.

    It goes on from ``folder/features.pt`` where there is one. Writes that file and
    ``features-*.png`` (24 samples, then eight pictures as features and as z draw them) every three minutes
    and at the end. In the last third of the time the rates fall.

    Args:
        folder: where it is kept.
        painter: its encoder and its fine layers are done.
        data: pictures of its world.
        recipe: what decides the run.
        minutes: how long.
        budget: how many steps in all, at most.
        classes: how many classes the data's labels tell apart; 0 without labels.
        device: where it runs.
        log_every: steps between two lines of the log.

    Returns:
        The painter with the averaged weights, on the device.
    """
    torch.manual_seed(recipe.seed)
    where = torch.device(device)
    painter = channels_last(copy.deepcopy(painter).to(where)).eval().requires_grad_(False)
    generator, encoder = painter.generator, painter.encoder
    learning = painter.making()
    average = copy.deepcopy(learning)
    learning.requires_grad_(True)
    encoder.deep.train()
    channels, grid, _ = generator.shape(generator.edit_layer)
    judges = nn.ModuleDict(
        {
            "features": channels_last(FeatureDiscriminator(channels, grid)),
            "latent": LatentDiscriminator(generator.latent_size),
            "probe": nn.Conv2d(channels, max(1, classes), 1),
        }
    ).to(where)
    judge, gate, probe = judges["features"], judges["latent"], judges["probe"]
    head = [*encoder.deep.parameters(), *encoder.latent.parameters()]
    matrices = [p for p in learning.parameters() if p.dim() == 4 and p.shape[-1] > 1]
    turned = {id(p) for p in matrices}
    turning = Muon(matrices, lr=recipe.step_length)
    making = torch.optim.Adam(
        [
            {
                "params": [p for p in learning["early"].parameters() if id(p) not in turned],
                "lr": recipe.learning_rate,
            },
            {"params": [p for p in head if id(p) not in turned], "lr": recipe.learning_rate_head},
        ],
        betas=(0.0, 0.99),
        fused=where.type != "mps",
    )
    judging = torch.optim.Adam(
        judges.parameters(), lr=recipe.learning_rate_judge, betas=(0.0, 0.99), fused=where.type != "mps"
    )
    kept: dict[str, nn.Module | torch.optim.Optimizer] = {
        "learning": learning, "average": average, "judges": judges,
        "turning": turning, "making": making, "judging": judging,
    }  # fmt: skip
    step = 0
    checkpoint = folder / "features.pt"
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True, map_location=where)
        for name, part in kept.items():
            part.load_state_dict(stored[name])
        step = stored["step"]
        log.info("going on from %d steps", step)
    known = _Known(painter, data, recipe.known, classes, where)
    balance = Balance()
    precision = bfloat16(where)
    quarter = recipe.batch // 4

    def made(z: Tensor) -> Tensor:
        with precision:
            features = generator.run(generator.start(z), until=generator.edit_layer).features
        return pixel_norm(features.float())

    def keep() -> None:
        content = {name: one.state_dict() for name, one in kept.items()} | {"step": step}
        with replacing(checkpoint) as partial:
            torch.save(content, partial)
        _write_sheet(_finished(painter, average.state_dict()), known, folder / f"features-{step:06d}.png")

    def judged(features: Tensor) -> Tensor:
        with precision:
            scores: Tensor = judge(augmented(features, color=False) if recipe.augment else features)
        return scores

    def gated(z: Tensor) -> Tensor:
        scores: Tensor = gate(z)
        return scores

    def told(score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of a judge that compares two batches, with its penalty now and then."""
        loss = F.softplus(score(fake) - score(real)).mean()
        if step % recipe.penalty_every == 0:
            both = sum(penalty(lambda x: score(x).view(len(x), -1).mean(dim=1), one) for one in (real, fake))
            loss = loss + 0.5 * recipe.penalty_every * recipe.penalty * both
        return loss

    began = saved = time.monotonic()
    sums: dict[str, float] = defaultdict(float)
    while time.monotonic() - began < 60 * minutes and step < budget:
        warm = step < recipe.warm_up
        factor = pace((time.monotonic() - began) / (60 * minutes))
        for group in making.param_groups:  # momentum serves regression and hurts the game of two
            group["betas"] = (0.8, 0.99) if warm else (0.0, 0.99)
        rates = (
            recipe.step_length if warm else recipe.step_length_judged,
            recipe.learning_rate,
            recipe.learning_rate_head,
            recipe.learning_rate_judge,
        )
        groups = [*turning.param_groups, *making.param_groups, *judging.param_groups]
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = factor * rate
        chosen = torch.randint(len(known.features), (recipe.batch,), device=where)
        real = known.features[chosen].float()
        coded = recipe.batch if warm else quarter
        with precision:
            read = encoder.latent(encoder.deep(known.trunk[chosen[:coded]])).float()
        read = pixel_norm(read)
        z = torch.cat([read, torch.randn(recipe.batch - coded, generator.latent_size, device=where)])
        fake = made(z)
        drawn = torch.randn(coded, generator.latent_size, device=where)
        missed = (fake[:coded] - real[:coded]).abs().mean()
        parts = {"missed": missed}
        loss = missed
        learn = told(gated, drawn, read.detach())
        if known.shares is not None:
            said = -(known.shares[chosen] * probe(real).log_softmax(dim=1)).sum(dim=1).mean()
            learn, parts["probe"] = learn + said, said
        if not warm:
            learn = learn + told(judged, real, fake.detach())
        judging.zero_grad(set_to_none=True)
        learn.backward()  # type: ignore[no-untyped-call]
        judging.step()
        judges.requires_grad_(False)
        loss = loss + recipe.latent * F.softplus(gate(drawn) - gate(read)).mean()
        if not warm:
            parts["fooling"] = F.softplus(judged(real) - judged(fake)).mean()
            loss = loss + recipe.adversarial * parts["fooling"]
            if known.shares is not None:
                uneven = balance(probe(real).softmax(dim=1), probe(fake[coded:]).softmax(dim=1))
                loss = loss + recipe.balance * uneven
        judges.requires_grad_(True)
        for optimizer in (turning, making):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in (turning, making):
            optimizer.step()
        step += 1
        follow(average, learning, step, recipe.average)
        for name, value in parts.items():
            sums[name] += float(value.detach())
        if step % log_every == 0:
            log.info("step %d: %s", step, {name: round(one / log_every, 4) for name, one in sums.items()})
            sums.clear()
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            keep()
    keep()
    return _finished(painter, average.state_dict())


def with_features(painter: Painter, folder: Path) -> Painter:
    """Return the painter with the early layers and the head for z that ``folder/features.pt`` keeps."""
    return _finished(painter, torch.load(folder / "features.pt", weights_only=True)["average"])


def _finished(painter: Painter, average: Mapping[str, Tensor]) -> Painter:
    """Return a copy of the painter with the averaged weights in place of those that learn."""
    finished = copy.deepcopy(painter)
    finished.making().load_state_dict(average)
    return finished.requires_grad_(False).eval()


@torch.no_grad()
def _write_sheet(painter: Painter, known: _Known, path: Path) -> None:
    generator, encoder = painter.generator, painter.encoder
    trunk = known.trunk[:8].float()

    def drawn(z: Tensor) -> Tensor:
        return painter.draw(generator.run(generator.start(z), until=generator.edit_layer).features)

    samples = drawn(generator.sample_z(24, seed=7).to(trunk))
    rows = [
        *torch.split(samples, 8),
        painter.draw(known.features[:8].float()),
        drawn(encoder.latent(encoder.deep(trunk))),
    ]
    sheet = np.concatenate([np.concatenate(list(to_bytes(row.cpu())), axis=1) for row in rows])
    Image.fromarray(sheet).save(path)
