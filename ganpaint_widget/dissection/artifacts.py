"""The search for units that cause artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.generator import StagedGenerator
from ..models.networks import evaluated
from ..tickets import Ticket
from .pictures import drawn, sampled


@dataclass(frozen=True)
class ArtifactCandidate:
    """A unit whose strongest pictures are unlike the others.

    Attributes:
        unit: its number.
        distance: Fréchet distance of its pictures' features from those of all.
        excess: the distance above that of equally many random pictures, in standard deviations.
    """

    unit: int
    distance: float
    excess: float


@evaluated
@torch.no_grad()
def artifact_candidates(
    generator: StagedGenerator,
    features: Callable[[Tensor], Sequence[Tensor]],
    *,
    layer: str | None = None,
    real: Tensor | None = None,
    samples: int = 500,
    top: int = 25,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> list[ArtifactCandidate]:
    """Rank all units by how likely they are to cause artifacts. A person has to judge the candidates.

    GAN Dissection (Bau et al. 2019, section 4.2) ranks units by the Fréchet distance between real pictures
    and the samples that activate a unit most. This function takes any network's features, averages them over
    the picture, and treats the covariances as diagonal: ``|m - m'|^2 + sum (sd - sd')^2``. Units of rare
    concepts rank high as well. To switch units off, see ``EditingSession.suppress``.

    Args:
        generator: G.
        features: pictures B x 3 x R x R in [-1, 1] to feature maps, for example a segmenter's.
        layer: the stage, the edit layer by default.
        real: pictures to compare with, N x 3 x R x R; by default all samples.
        samples: generated pictures.
        top: how many samples count as a unit's strongest.
        seed: of the latents.
        batch: pictures at a time.
        ticket: progress and cancel.
    """
    layer = layer or generator.edit_layer

    def described(pictures: Tensor) -> Tensor:
        return torch.cat([one.float().mean(dim=(2, 3)) for one in features(pictures)], dim=1).cpu()

    strengths, descriptions = [], []
    for begin in sampled(generator, samples, seed, batch):
        state = generator.run(begin, until=layer)
        strengths.append(state.features.float().amax(dim=(2, 3)).cpu())
        descriptions.append(described(drawn(generator, state)))
        if ticket is not None:
            ticket.checkpoint(batch * len(strengths) / samples)
    strength, description = torch.cat(strengths), torch.cat(descriptions)
    usual = (
        description
        if real is None
        else torch.cat(
            [described(generator.here(part).float().clamp(-1, 1)) for part in torch.split(real, batch)]
        )
    )
    # Each feature is divided by its own spread. Otherwise the largest ones would decide alone.
    scale = usual.std(dim=0).clamp_min(1e-6)
    mean, deviation = (usual / scale).mean(dim=0), (usual / scale).std(dim=0)

    def distance(chosen: Tensor) -> float:
        part = description[chosen] / scale
        return float((part.mean(dim=0) - mean).square().sum() + (part.std(dim=0) - deviation).square().sum())

    random = torch.Generator().manual_seed(seed)
    chance = torch.tensor([distance(torch.randperm(samples, generator=random)[:top]) for _ in range(200)])
    found = []
    for unit, order in enumerate(strength.argsort(dim=0, descending=True)[:top].T):
        value = distance(order)
        excess = (value - float(chance.mean())) / max(float(chance.std()), 1e-9)
        found.append(ArtifactCandidate(unit, value, excess))
    return sorted(found, key=lambda one: one.distance, reverse=True)
