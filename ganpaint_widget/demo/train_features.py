"""Features from z: the early layers learn to make such features as the encoder reads from scenes.

Encoder and fine layers are done by now (``train_edits.py``) and stay as they are. So all this happens in the
space of the edit layer's features, which costs a fraction of drawing pictures; features count by direction
alone (PixelNorm), as in the fine layers that read them.

* The encoder's second head reads z from a scene, and the early layers must make the scene's features from
  it: mean absolute error. That comes first, alone, for ``warm_up`` batches.
* A discriminator of features judges those made from drawn z, as a whole and by patches, in relativistic pairs
  with gradient penalties on both sides (as in ``train_edits.py``).
* A small one judges the latents that the head reads, so that they fill the normal prior (adversarial
  autoencoders; Makhzani et al. 2015): what they leave empty, samples would fall into.
* Classes must be present as often, and cover as much, in samples as in scenes; a linear probe, which learns
  along on scenes, says which class a cell is.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.progan import pixel_norm
from ..storage import replacing
from ..training.data import bfloat16, channels_last
from .data import SceneData, to_bytes
from .scenes import CLASSES, TRAINING
from .train_edits import Painter

log = logging.getLogger(__name__)

SMALL = 0.003
"""The share of a picture from which on a class counts as half present."""


@dataclass(frozen=True)
class FeatureRecipe:
    """Everything that decides a run; ``warm_up`` counts batches."""

    scenes: int = 9_000
    batch: int = 32
    warm_up: int = 600
    learning_rate: float = 2e-3
    learning_rate_head: float = 5e-4
    learning_rate_judge: float = 1e-3
    adversarial: float = 0.3
    latent: float = 0.05
    balance: float = 0.1
    penalty: float = 1.0
    penalty_every: int = 8
    average: float = 0.998
    seed: int = 0


class FeatureDiscriminator(nn.Module):
    """Scores B x S of features B x C x G x G: one for the whole, which counts like all patches together."""

    def __init__(self, channels: int, grid: int, width: int = 192) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(0.2)
        self.fine = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            leaky,
            nn.Conv2d(width, width, 3, padding=1),
            leaky,
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            leaky,
        )
        self.patches = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1), leaky, nn.Conv2d(width // 2, 1, 1)
        )
        self.coarse = nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), leaky)
        side = grid // 4
        self.whole = nn.Sequential(
            nn.Conv2d(width + 1, width, 3, padding=1),
            leaky,
            nn.Flatten(),
            nn.Linear(width * side**2, width),
            leaky,
            nn.Linear(width, 1),
        )
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, 0.2)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        fine = self.fine(features)
        patches = self.patches(fine).float().flatten(1)
        coarse = self.coarse(fine)
        # Minibatch standard deviation in groups of four: the mean over everything, as one more plane.
        groups = coarse.float().view(4, -1, *coarse.shape[1:])
        spread = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3)).repeat(4)
        plane = spread.view(-1, 1, 1, 1).expand(-1, 1, *coarse.shape[2:]).to(coarse.dtype)
        whole = self.whole(torch.cat([coarse, plane], dim=1)).float()
        return torch.cat([math.sqrt(patches.shape[1]) * whole, patches], dim=1)


class LatentDiscriminator(nn.Sequential):
    """Scores (B) of latents B x Z; only their direction counts, as in the generator."""

    def __init__(self, latent_size: int, width: int = 512) -> None:
        leaky = nn.LeakyReLU(0.2)
        super().__init__(
            nn.Linear(latent_size, width), leaky, nn.Linear(width, width), leaky, nn.Linear(width, 1)
        )

    def forward(self, z: Tensor) -> Tensor:
        score: Tensor = super().forward(pixel_norm(z))  # type: ignore[no-untyped-call]
        return score.squeeze(1)


class Balance:
    """How often and how large each class is in samples, relative to scenes.

    Per picture and class it takes the area a and, in place of the step from absent to present, a / (a + s),
    whose gradient vanishes nowhere. Running means say how far samples are off; the loss has the gradient that
    half the squared relative error of these means would have.
    """

    KEPT = 0.98

    def __init__(self) -> None:
        self.scenes: Tensor | None = None
        self.samples: Tensor | None = None

    def __call__(self, scenes: Tensor, samples: Tensor) -> Tensor:
        """The loss, from class probabilities B x K x G x G of scenes and of samples."""
        of_scenes, of_samples = self._statistics(scenes).detach(), self._statistics(samples)
        if self.scenes is None or self.samples is None:
            self.scenes, self.samples = of_scenes, of_samples.detach()
        self.scenes = self.scenes.lerp(of_scenes, 1 - self.KEPT)
        self.samples = self.samples.lerp(of_samples.detach(), 1 - self.KEPT)
        scale = self.scenes.clamp_min(1e-4)
        return ((self.samples / scale - 1).clamp(-1, 1) * of_samples / scale).sum()

    @staticmethod
    def _statistics(seen: Tensor) -> Tensor:
        """2 x K, area and presence; undecided cells count less."""
        decided = seen.square()
        area = (decided / decided.sum(dim=1, keepdim=True)).mean(dim=(2, 3))
        return torch.stack([area.mean(dim=0), (area / (area + SMALL)).mean(dim=0)])


class _Known:
    """What is read from scenes once: the trunk's output, unit features, and shares of classes in cells."""

    def __init__(self, painter: Painter, scenes: SceneData, count: int, device: torch.device) -> None:
        trunk, features, shares = [], [], []
        grid = painter.generator.shape(painter.generator.edit_layer)[-1]
        batches = scenes.batches(min(50, len(scenes)), 0)
        with torch.no_grad(), bfloat16(device):
            for _ in range(-(-count // min(50, len(scenes)))):
                pictures, labels = next(batches)
                read = painter.encoder.shared(pictures.to(device))
                trunk.append(read.bfloat16())
                features.append(pixel_norm(painter.encoder.features(read).float()).bfloat16())
                planes = F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
                shares.append(F.adaptive_avg_pool2d(planes, (grid, grid)).to(device))
        self.trunk, self.features, self.shares = torch.cat(trunk), torch.cat(features), torch.cat(shares)


def train_features(
    folder: Path,
    painter: Painter,
    recipe: FeatureRecipe,
    *,
    minutes: float,
    budget: float = math.inf,
    device: str = "cpu",
    seeds: range = TRAINING[:20_000],
    log_every: int = 50,
) -> Painter:
    """Teach a painter's early layers and its head for z, for ``minutes`` or ``budget`` steps in all.

    It goes on from ``folder/features.pt`` where there is one. Writes that file and
    ``features-*.png`` (24 samples, then eight scenes as features and as z draw them) every three minutes and
    at the end.

    Returns:
        The painter with the averaged weights, on the device.
    """
    torch.manual_seed(recipe.seed)
    where = torch.device(device)
    painter = channels_last(copy.deepcopy(painter).to(where)).eval().requires_grad_(False)
    generator, encoder = painter.generator, painter.encoder
    learning = _taught(painter)
    average = copy.deepcopy(learning)
    learning.requires_grad_(True)
    encoder.deep.train()
    channels, grid, _ = generator.shape(generator.edit_layer)
    judges = nn.ModuleDict(
        {
            "features": channels_last(FeatureDiscriminator(channels, grid)),
            "latent": LatentDiscriminator(generator.latent_size),
            "probe": nn.Conv2d(channels, len(CLASSES), 1),
        }
    ).to(where)
    judge, gate, probe = judges["features"], judges["latent"], judges["probe"]
    head = [*encoder.deep.parameters(), *encoder.latent.parameters()]
    making = torch.optim.Adam(
        [
            {"params": learning["early"].parameters(), "lr": recipe.learning_rate},
            {"params": head, "lr": recipe.learning_rate_head},
        ],
        betas=(0.0, 0.99),
        fused=True,
    )
    judging = torch.optim.Adam(
        judges.parameters(), lr=recipe.learning_rate_judge, betas=(0.0, 0.99), fused=True
    )
    kept: dict[str, nn.Module | torch.optim.Optimizer] = {
        "learning": learning, "average": average, "judges": judges, "making": making, "judging": judging,
    }  # fmt: skip
    step = 0
    checkpoint = folder / "features.pt"
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True, map_location=where)
        for name, part in kept.items():
            part.load_state_dict(stored[name])
        step = stored["step"]
        log.info("going on from %d steps", step)
    known = _Known(
        painter, SceneData(folder.parent / "scenes", generator.resolution, seeds), recipe.scenes, where
    )
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
        _write_sheet(_finished(painter, average), known, folder / f"features-{step:06d}.png")

    def penalized(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """The loss of a judge that compares two batches, with its penalty now and then."""
        with precision:
            loss = F.softplus(judge(fake) - judge(real)).mean()
        if step % recipe.penalty_every == 0:
            for inputs in (real, fake):
                inputs = inputs.detach().clone().requires_grad_()
                with precision:
                    score = (
                        judge(inputs).flatten(1).mean(dim=1).sum()
                        if inputs.dim() > 2
                        else judge(inputs).sum()
                    )
                (gradient,) = torch.autograd.grad(score, inputs, create_graph=True)
                squared = gradient.float().flatten(1).square().sum(dim=1).mean()
                loss = loss + 0.5 * recipe.penalty_every * recipe.penalty * squared
        return loss

    began = saved = time.monotonic()
    sums: dict[str, float] = defaultdict(float)
    while time.monotonic() - began < 60 * minutes and step < budget:
        warm = step < recipe.warm_up
        for group in making.param_groups:  # momentum serves regression and hurts the game of two
            group["betas"] = (0.8, 0.99) if warm else (0.0, 0.99)
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
        learn = penalized(gate, drawn, read.detach())
        said = -(known.shares[chosen] * probe(real).log_softmax(dim=1)).sum(dim=1).mean()
        learn = learn + said
        if not warm:
            learn = learn + penalized(judge, real, fake.detach())
        judging.zero_grad(set_to_none=True)
        learn.backward()
        judging.step()
        judges.requires_grad_(False)
        empty = F.softplus(gate(drawn) - gate(read)).mean()
        loss = loss + recipe.latent * empty
        if not warm:
            with precision:
                fooling = F.softplus(judge(real) - judge(fake)).mean()
            uneven = balance(probe(real).softmax(dim=1), probe(fake[coded:]).softmax(dim=1))
            loss = loss + recipe.adversarial * fooling + recipe.balance * uneven
            parts |= {"fooling": fooling, "probe": said}
        judges.requires_grad_(True)
        making.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        making.step()
        step += 1
        with torch.no_grad():
            share = 1 - min(recipe.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(learning.parameters()), share)
            for old, new in zip(average.buffers(), learning.buffers(), strict=True):
                old.copy_(new)
        for name, value in parts.items():
            sums[name] += float(value.detach())
        if step % log_every == 0:
            log.info("step %d: %s", step, {name: round(one / log_every, 4) for name, one in sums.items()})
            sums.clear()
        if time.monotonic() - saved > 180:
            saved = time.monotonic()
            keep()
    keep()
    return _finished(painter, average)


def with_features(painter: Painter, folder: Path) -> Painter:
    """The painter with the early layers and the head for z that ``folder/features.pt`` keeps."""
    stored = torch.load(folder / "features.pt", weights_only=True)
    painter = copy.deepcopy(painter)
    _taught(painter).load_state_dict(stored["average"])
    return painter.requires_grad_(False).eval()


def _taught(painter: Painter) -> nn.ModuleDict:
    """What this stage teaches: the early layers, and the encoder's head for z."""
    generator, encoder = painter.generator, painter.encoder
    behind = generator.stage_index(generator.edit_layer) + 1
    early = nn.ModuleDict({name: generator.get_submodule(name) for name in generator.stages[:behind]})
    return nn.ModuleDict({"early": early, "deep": encoder.deep, "latent": encoder.latent})


def _finished(painter: Painter, average: nn.ModuleDict) -> Painter:
    """A copy of the painter with the averaged weights in place of those that learn."""
    finished = copy.deepcopy(painter)
    _taught(finished).load_state_dict(average.state_dict())
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
