"""An autoencoder at the edit layer from photos without labels: the first half of a GAN of one's own.

The encoder reads the features of the edit layer from a photo, and the fine layers draw the photo from them.
In half of the pictures a region has its features replaced with their mean, as an edit would: cells that are
alike and lie together. The truth is still the photo, so the fine layers learn to draw a thing from "this
thing, here".

Losses: mean absolute error, that of the slopes, and what a discriminator of patches says (``run.py``). Its
activations are compared as well (feature matching; Salimans et al. 2016), in place of a network that was
trained on other people's pictures. Few photos last longer by differentiable augmentation (``judging.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .data import to_bytes
from .judging import augmented
from .painter import Painter, slopes
from .photos import Photos
from .precision import bfloat16
from .run import PictureRates, PictureRun, carry_out, laid_out, noisy


@dataclass(frozen=True)
class AutoencoderRecipe(PictureRates):
    """Everything that decides a run.

    Attributes:
        matching: the weight of what the judge sees in the pictures, beside what it sees in the photos.
        edited: the share of pictures that are drawn with an edit.
    """

    matching: float = 0.5
    edited: float = 0.5


def regions(features: Tensor) -> Tensor:
    """Return a region of each picture whose cells are like a random one and near it, bool B x 1 x G x G.

    Args:
        features: B x C x G x G.
    """
    count, _, height, width = features.shape
    device = features.device
    unit = F.normalize(features.float(), dim=1)
    row = torch.randint(height, (count,), device=device)
    column = torch.randint(width, (count,), device=device)
    chosen = unit[torch.arange(count, device=device), :, row, column]
    alike = torch.einsum("bchw,bc->bhw", unit, chosen)
    y = torch.arange(height, device=device).view(1, -1, 1) - row.view(-1, 1, 1)
    x = torch.arange(width, device=device).view(1, 1, -1) - column.view(-1, 1, 1)
    reach = torch.randint(2, max(3, height // 2), (count, 1, 1), device=device)
    least = 0.5 + 0.4 * torch.rand(count, 1, 1, device=device)
    return ((alike >= least) & (torch.maximum(y.abs(), x.abs()) <= reach)).unsqueeze(1)


class PhotoRun(PictureRun[Tensor]):
    """A run on photos.

    Args:
        recipe: what decides it.
        painter: where to begin.
        device: where it runs.
    """

    def __init__(self, recipe: AutoencoderRecipe, painter: Painter, device: str = "cpu") -> None:
        super().__init__(recipe, painter, 0, device)
        self.recipe = recipe

    def learn(self, batch: Tensor) -> dict[str, float]:
        """Learn one step from photos B x 3 x R x R. Returns the parts of the loss, by name."""
        recipe = self.recipe
        photos = laid_out(batch.to(self.device))
        with bfloat16(self.device):
            features = noisy(self.painter.encode(photos).float())
            edited = torch.rand(len(features), 1, 1, 1, device=self.device) < recipe.edited
            where = (regions(features.detach()) & edited).to(features.dtype)
            share = where.sum(dim=(2, 3), keepdim=True).clamp_min(1)
            mean = (features * where).sum(dim=(2, 3), keepdim=True) / share
            drawn = self.painter.draw((1 - where) * features + where * mean)
        parts = {
            "pixels": (drawn - photos).abs().mean(),
            "slopes": (slopes(drawn) - slopes(photos)).abs().mean(),
            "outside": (drawn.abs() - 1).clamp_min(0).mean(),
        }
        loss = parts["pixels"] + recipe.slopes * parts["slopes"] + 0.2 * parts["outside"]
        fooling, parts["gap"] = self.judge(photos, drawn, augment=lambda x: augmented(x, color=True))
        parts["matching"] = self._unmatched(photos, drawn)
        loss = loss + recipe.matching * parts["matching"]
        loss = loss + recipe.adversarial * recipe.grown(self.shown) * fooling
        self.follow(loss, len(drawn))
        return {name: float(part.detach()) for name, part in parts.items()}

    def _unmatched(self, photos: Tensor, drawn: Tensor) -> Tensor:
        """How far the discriminator's activations of drawn pictures are from those of the photos."""
        self.discriminator.requires_grad_(False)
        with bfloat16(self.device):
            read = self.discriminator.activations(drawn)
            with torch.no_grad():
                wanted = self.discriminator.activations(photos)
        self.discriminator.requires_grad_(True)
        apart = [
            (a - b).abs().float().mean() / b.float().abs().mean().clamp_min(1e-4)
            for a, b in zip(read, wanted, strict=True)
        ]
        return torch.stack(apart).mean()

    @torch.no_grad()
    def write_sheet(self, batch: Tensor, path: Path) -> None:
        """Write photos, below each its reconstruction, and below that the same with a region as its mean."""
        average = self.average.eval()
        photos = batch.to(self.device)
        features = average.encode(photos)
        where = regions(features).to(features.dtype)
        mean = (features * where).sum(dim=(2, 3), keepdim=True) / where.sum(dim=(2, 3), keepdim=True)
        rows = [photos, average.draw(features), average.draw((1 - where) * features + where * mean)]
        sheet = np.concatenate([np.concatenate(list(to_bytes(row)), axis=1) for row in rows])
        Image.fromarray(sheet).save(path)
        average.train()


def train_autoencoder(
    folder: Path,
    painter: Painter,
    photos: Photos,
    recipe: AutoencoderRecipe,
    *,
    minutes: float,
    budget: float = math.inf,
    device: str = "cpu",
    log_every: int = 50,
) -> PhotoRun:
    """Train on photos for ``minutes``, or until ``budget`` pictures have been drawn in all.

    It goes on from ``folder/autoencoder.pt`` where there is one; see :func:`.carry_out`.
    """
    torch.manual_seed(recipe.seed)
    return carry_out(
        PhotoRun(recipe, painter, device),
        folder / "autoencoder.pt",
        lambda seed: (pictures for pictures, _ in photos.batches(recipe.batch, seed, device)),
        next(photos.batches(12, 0))[0],
        minutes=minutes,
        budget=budget,
        log_every=log_every,
    )
