"""What learns to read pictures and to draw them: a generator with its encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.encoder import Encoder
from ..models.generator import StagedGenerator, State
from ..models.shaper import filled


class Painter(nn.Module):
    """A generator and its encoder, as an autoencoder at the edit layer."""

    def __init__(self, generator: StagedGenerator, encoder: Encoder) -> None:
        super().__init__()
        self.generator = generator
        self.encoder = encoder

    def encode(self, pictures: Tensor) -> Tensor:
        """Read the edit layer's features, B x C x G x G, from pictures B x 3 x R x R."""
        features: Tensor = self.encoder.features(self.encoder.shared(pictures))
        return features

    def draw(self, features: Tensor) -> Tensor:
        """Draw the picture of features of the edit layer, float32 B x 3 x R x R."""
        generator = self.generator
        features = features.contiguous(memory_format=torch.channels_last)
        return generator.picture(generator.run(State(features, generator.edit_layer))).float()

    def fine(self) -> list[nn.Parameter]:
        """Return the parameters of everything behind the edit layer."""
        early = {id(p) for name in self._until_edit_layer() for p in self._stage(name).parameters()}
        return [p for p in self.generator.parameters() if id(p) not in early]

    def reading(self) -> list[nn.Parameter]:
        """Return the encoder's parameters that read the edit layer's features."""
        return [*self.encoder.trunk.parameters(), *self.encoder.features.parameters()]

    def making(self) -> nn.ModuleDict:
        """Return the modules between z and features: early layers, and the encoder's head for z."""
        early = nn.ModuleDict({name: self._stage(name) for name in self._until_edit_layer()})
        return nn.ModuleDict({"early": early, "deep": self.encoder.deep, "latent": self.encoder.latent})

    def _until_edit_layer(self) -> tuple[str, ...]:
        generator = self.generator
        return tuple(generator.stages[: generator.stage_index(generator.edit_layer) + 1])

    def _stage(self, name: str) -> nn.Module:
        return self.generator.get_submodule(name)


def slopes(pictures: Tensor) -> Tensor:
    """Return differences to the pixel on the right and the one below, B x 6 x R x R."""
    pad = nn.functional.pad
    across = pad(pictures[..., 1:] - pictures[..., :-1], (0, 1))
    down = pad(pictures[..., 1:, :] - pictures[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([across, down], dim=1)


def covered(mask: Tensor, grid: int) -> Tensor:
    """Return how much of each cell a mask B x 1 x R x R covers, B x 1 x G x G."""
    return nn.functional.adaptive_avg_pool2d(mask, (grid, grid))


def painted(features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
    """Return features with an addition, as :func:`.equation.apply` carries it out."""
    alpha = filled(mask, features.shape[-2:]).to(features)
    return (1 - alpha) * features + alpha * activations


def mean_inside(features: Tensor, mask: Tensor) -> Tensor:
    """Return each unit's mean over a mask, B x C x 1 x 1, as :func:`.equation.mean_activations` takes it."""
    share = covered(mask, features.shape[-1])
    total = share.sum(dim=(2, 3), keepdim=True).clamp_min(1e-4)
    return (features * share).sum(dim=(2, 3), keepdim=True) / total


@torch.no_grad()
def follow(average: nn.Module, learner: nn.Module, step: int, longest: float) -> None:
    """Move a running average a little towards what learns; at first more, so that it forgets its start.

    Args:
        average: the same module once more; its weights move.
        learner: what is averaged.
        step: how many steps there were, from 1 on.
        longest: the share of itself that the average keeps in the end.
    """
    keep = min(longest, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(learner.parameters()), 1 - keep)
    for old, new in zip(average.buffers(), learner.buffers(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)
