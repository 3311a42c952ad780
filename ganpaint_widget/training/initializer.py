"""Training an initializer on a generator's own samples, and the demo world's on scenes as well."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..method.adaptation import DILATION, AdaptationConfig, dilate
from ..models.generator import StagedGenerator
from ..models.initializer import Initializer
from ..models.networks import channels_last, private
from .data import Data, SampleBatches
from .descent import Descent
from .precision import bfloat16

log = logging.getLogger(__name__)


def train_initializer(
    generator: StagedGenerator,
    encoder: nn.Module,
    data: Data | None = None,
    *,
    steps: int = 350,
    batch: int = 12,
    seed: int = 0,
) -> Initializer:
    """Train an initializer for a generator and its encoder; with ``data``, half of each batch are scenes.

    The pictures are made strange, each in a different place, by a part of another one, for photographs are
    not what a generator draws. They are inverted by the encoder; in every other one a part of another's
    features is pasted as an edit. What is minimized is the loss of :func:`.adaptation.adapt`.

    Args:
        generator: G; its weights stay.
        encoder: E; its weights stay.
        data: scenes at the generator's resolution.
        steps: of :class:`.Descent`, up to a rate of 2e-3.
        batch, seed: of :class:`.SampleBatches`.
    """
    batches = SampleBatches(generator, data, batch, seed)
    generator, device = batches.generator, batches.device
    encoder = channels_last(private(encoder, device))
    shapes = generator.shapes(generator.fine_layers)
    initializer = channels_last(Initializer(shapes).to(device)).train()
    descent = Descent(initializer, steps=steps, peak=2e-3)
    every_other = (torch.arange(batch) % 2).view(-1, 1, 1, 1).float().to(device)
    for step in range(steps):
        with torch.no_grad(), bfloat16(device):
            x = batches.beside(generator(batches.latents()).float().clamp(-1, 1))
            strange = (torch.rand(batch, 1, 1, 1) * _blobs(batch, generator.resolution)).to(device)
            x = torch.lerp(x, x.roll(1, 0), strange).contiguous(memory_format=torch.channels_last)
            z, features = encoder(x)
            state = generator.run(generator.start(z), until=generator.edit_layer).replace(features)
            painted = every_other * _rectangles(batch, generator.resolution).to(device)
            cells = F.interpolate(painted, features.shape[-2:], mode="area")
            edited = state.replace(torch.lerp(features, features.roll(2, 0), cells.to(features.dtype)))
            reach = max(1, round(DILATION * generator.resolution))
            keep = 1 - dilate(painted, reach)
        with bfloat16(device):
            deltas, drawn = initializer(generator, edited, x, keep)
        weight = keep / keep.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
        missed = ((drawn.float() - x).square() * weight).mean()
        size = torch.stack([one.float().square().mean() for one in deltas.values()]).sum()
        loss = missed + AdaptationConfig().regularization * size
        descent.step(loss)
        if step % 50 == 0 or step == steps - 1:
            log.info(
                "initializer step %d of %d: missed %.5f, size %.4f", step, steps, missed.item(), size.item()
            )
    return initializer.float().eval()


def _blobs(count: int, size: int) -> Tensor:
    """Smooth random regions, B x 1 x R x R in [0, 1]."""
    noise = F.interpolate(torch.randn(count, 1, 5, 5), size=(size, size), mode="bicubic")
    return torch.sigmoid(12 * (noise - 0.5))


def _rectangles(count: int, size: int) -> Tensor:
    """Return a random rectangle in each picture, B x 1 x R x R of 0 and 1."""
    masks = torch.zeros(count, 1, size, size)
    for mask in masks:
        height, width = (int(one) for one in torch.randint(size // 12, size // 2, (2,)))
        top, left = int(torch.randint(0, size - height, ())), int(torch.randint(0, size - width, ()))
        mask[:, top : top + height, left : left + width] = 1
    return masks
