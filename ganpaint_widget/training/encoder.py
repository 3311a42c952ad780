"""Training an encoder on a generator's own samples, and the demo world's on scenes as well."""

from __future__ import annotations

import logging

import torch
from torch.nn import functional as F

from ..models.encoder import Encoder
from ..models.generator import StagedGenerator
from ..models.networks import channels_last
from .data import Data, SampleBatches
from .descent import Descent
from .precision import bfloat16

log = logging.getLogger(__name__)


def new_encoder(generator: StagedGenerator) -> Encoder:
    """Return an encoder of a size that suits a generator, its weights random."""
    shape = generator.shape(generator.edit_layer)
    # From 128 px on, its first convolution sees blocks of pixels: 64 x 64 of them, or twice the layer's grid.
    fold = max(1, generator.resolution // max(64, 2 * shape[-1]))
    return Encoder(generator.resolution, generator.latent_size, shape, fold=fold)


def train_encoder(
    generator: StagedGenerator,
    data: Data | None = None,
    *,
    steps: int = 400,
    batch: int = 24,
    seed: int = 0,
) -> Encoder:
    """Train an encoder for a generator on its own samples; with ``data``, half of each batch are scenes.

    On samples, z and the edit layer's features are known: cosine distance of z, and mean squared error of the
    features relative to their own mean square (the losses of Bau et al. 2019, section 3.1, in one stage
    instead of layer by layer). Of all pictures the generator must draw the picture again from the features,
    and from z alone: mean absolute error.

    Args:
        generator: G; its weights stay.
        data: scenes at the generator's resolution.
        steps: of :class:`.Descent`, up to a rate of 1e-3.
        batch, seed: of :class:`.SampleBatches`.
    """
    batches = SampleBatches(generator, data, batch, seed)
    generator, device, own = batches.generator, batches.device, batches.own
    encoder = channels_last(new_encoder(generator).to(device))
    encoder.train().requires_grad_(True)
    descent = Descent(encoder, steps=steps, peak=1e-3)
    for step in range(steps):
        z = batches.latents()
        with bfloat16(device):
            with torch.no_grad():
                state = generator.run(generator.start(z), until=generator.edit_layer)
                samples = generator.picture(generator.run(state)).float().clamp(-1, 1)
            pictures = batches.beside(samples).contiguous(memory_format=torch.channels_last)
            guess_z, guess = encoder(pictures)
            from_z = generator.run(generator.start(guess_z), until=generator.edit_layer)
            drawn = generator.picture(generator.run(from_z.replace(guess))).float()
            drawn_z = generator.picture(generator.run(from_z)).float()
        features = state.features.float()
        loss_features = (guess[:own].float() - features).square().mean() / features.square().mean()
        loss_z = 1 - F.cosine_similarity(guess_z[:own].float(), z).mean()
        loss_drawn = (drawn - pictures).abs().mean()
        loss_drawn_z = (drawn_z - pictures).abs().mean()
        loss = 2 * loss_drawn + loss_drawn_z + loss_features + loss_z
        if data is not None:
            # On scenes the features must stay such as z could make, or edits would meet others.
            kind, there = from_z.features[own:].float(), guess[own:].float()
            loss = loss + 0.1 * (there - kind).square().mean() / kind.square().mean().detach()
        descent.step(loss)
        if step % 100 == 0 or step == steps - 1:
            log.info(
                "encoder step %d of %d: features %.3f, z %.3f, picture %.3f, picture by z %.3f",
                step,
                steps,
                *(float(one.detach()) for one in (loss_features, loss_z, loss_drawn, loss_drawn_z)),
            )
    return encoder.eval()
