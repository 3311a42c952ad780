"""Training a scene segmenter: minutes on two cores."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from ..models.model import Segmenter
from ..models.networks import channels_last
from ..storage import replacing
from ..training.descent import Descent
from ..training.precision import bfloat16
from .data import SceneData
from .scenes import CLASSES
from .segmenter import SceneSegmenter

log = logging.getLogger(__name__)


NOISE = 0.05
"""The largest standard deviation of the noise that is added to pictures in [-1, 1]."""

M = TypeVar("M", bound=nn.Module)


def train_segmenter(segmenter: M, data: SceneData, *, steps: int, batch: int = 32, seed: int = 0) -> M:
    """Fit a segmenter to rendered scenes by cross entropy.

    Pictures get Gaussian noise, a random contrast and a random blur, so that it also reads the softer
    pictures that a generator makes.

    Args:
        segmenter: from pictures B x 3 x H x W in [-1, 1] to logits B x K x H x W of the scenes' classes; it
            is changed, and returned ready for use.
        data: the scenes.
        steps: of :class:`.Descent`, up to a rate of 4e-3.
        batch: pictures a step.
        seed: of the batches' order and the disturbances.
    """
    torch.manual_seed(seed)
    channels_last(segmenter).train()
    descent = Descent(segmenter, steps=steps, peak=4e-3, decay=1e-3)
    batches = data.batches(batch, seed)
    for step in range(steps):
        pictures, labels = next(batches)
        count = len(pictures)
        pictures = pictures * (0.85 + 0.3 * torch.rand(count, 1, 1, 1))
        if step % 2:
            sigma = 0.3 + 0.9 * float(torch.rand(()))
            offsets = torch.arange(-2, 3)
            kernel = torch.exp(-offsets.square() / (2 * sigma**2))
            kernel = kernel / kernel.sum()
            row = kernel.view(1, 1, 1, 5).expand(3, 1, 1, 5)
            padded = F.pad(pictures, (2, 2, 2, 2), mode="reflect")
            pictures = F.conv2d(F.conv2d(padded, row, groups=3), row.transpose(2, 3), groups=3)
        pictures = pictures + NOISE * torch.rand(count, 1, 1, 1) * torch.randn_like(pictures)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with bfloat16(pictures.device):
            logits = segmenter(pictures)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.02)
        descent.step(loss)
        if step % 100 == 0 or step == steps - 1:
            log.info("segmenter step %d of %d, loss %.4f", step, steps, float(loss.detach()))
    return segmenter.eval()


@torch.no_grad()
def mean_iou(segmenter: Segmenter, data: SceneData, count: int = 500) -> tuple[float, dict[str, float]]:
    """Return mean and per-class intersection over union on the first ``count`` scenes of ``data``."""
    confusion = torch.zeros(len(CLASSES), len(CLASSES))
    batches = data.batches(50, 0, flip=False)
    for _ in range(count // 50):
        pictures, labels = next(batches)
        found = segmenter.segment(pictures)
        confusion += torch.bincount(
            labels.flatten() * len(CLASSES) + found.flatten(), minlength=len(CLASSES) ** 2
        ).view(len(CLASSES), -1)
    hits = confusion.diag()
    ious = hits / (confusion.sum(0) + confusion.sum(1) - hits).clamp_min(1)
    return float(ious.mean()), dict(zip(CLASSES, ious.tolist(), strict=True))


def cached_segmenter(path: Path, data: SceneData, *, steps: int, seed: int, fold: int = 1) -> SceneSegmenter:
    """Return the segmenter stored at ``path``; a missing one is trained on ``data`` and stored there.

    ``seed`` is also that of its initial weights; the rest as in :func:`train_segmenter`.
    """
    torch.manual_seed(seed)
    segmenter = SceneSegmenter(CLASSES, fold=fold)
    if path.exists():
        segmenter.load_state_dict(torch.load(path, weights_only=True))
        return segmenter.eval()
    train_segmenter(segmenter, data, steps=steps, seed=seed)
    with replacing(path) as partial:
        torch.save(segmenter.state_dict(), partial)
    return segmenter
