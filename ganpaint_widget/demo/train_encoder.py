"""Training the demo world's encoder on the generator's own samples and on scenes."""

from __future__ import annotations

import logging

import torch
from torch.nn import functional as F

from ..generators.staged import StagedGenerator
from .data import SceneData, channels_last
from .encoder import Encoder

log = logging.getLogger(__name__)


def train_encoder(
    generator: StagedGenerator,
    data: SceneData,
    *,
    encoder: Encoder | None = None,
    steps: int = 400,
    batch: int = 24,
    seed: int = 0,
) -> Encoder:
    """An encoder for a generator: half of each batch are its samples, half are scenes.

    On samples, z and the edit layer's features are known: cosine distance of z, and mean squared error of the
    features relative to their own mean square (the losses of Bau et al. 2019, section 3.1, in one stage
    instead of layer by layer). On both halves the generator must draw the picture again from the features,
    and from z alone: mean absolute error.

    Args:
        generator: G; its weights stay.
        data: scenes at the generator's resolution.
        encoder: where to begin, for example the one that was trained along with the generator; it is changed.
        steps: optimiser steps (AdamW, one-cycle up to 1e-3).
        batch: pictures a step.
        seed: of the initial weights, latents and batches.
    """
    torch.manual_seed(seed)
    channels_last(generator).requires_grad_(False).eval()
    encoder = channels_last(
        encoder or Encoder(generator.resolution, generator.latent_size, generator.shape(generator.edit_layer))
    )
    encoder.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=steps)
    batches = data.batches(batch - batch // 2, seed)
    for step in range(steps):
        z = torch.randn(batch // 2, generator.latent_size)
        scenes, _ = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                state = generator.run(generator.start(z), until=generator.edit_layer)
                samples = generator.picture(generator.run(state)).float().clamp(-1, 1)
            pictures = torch.cat([samples, scenes]).contiguous(memory_format=torch.channels_last)
            guess_z, guess = encoder(pictures)
            from_z = generator.run(generator.start(guess_z), until=generator.edit_layer)
            drawn = generator.picture(generator.run(from_z.replace(guess))).float()
            drawn_z = generator.picture(generator.run(from_z)).float()
        features = state.features.float()
        loss_features = (guess[: len(z)].float() - features).square().mean() / features.square().mean()
        loss_z = 1 - F.cosine_similarity(guess_z[: len(z)].float(), z).mean()
        loss_drawn = (drawn - pictures).abs().mean()
        loss_drawn_z = (drawn_z - pictures).abs().mean()
        # On scenes the features must stay such as z could make, or edits would meet features of another kind.
        own = from_z.features[len(z) :].float()
        loss_kind = (guess[len(z) :].float() - own).square().mean() / own.square().mean().detach()
        loss = 2 * loss_drawn + loss_drawn_z + loss_features + loss_z + 0.1 * loss_kind
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            log.info(
                "encoder step %d of %d: features %.3f, z %.3f, picture %.3f, picture by z %.3f",
                step,
                steps,
                *(float(one.detach()) for one in (loss_features, loss_z, loss_drawn, loss_drawn_z)),
            )
    return encoder.eval()
