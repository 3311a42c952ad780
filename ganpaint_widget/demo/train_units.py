"""Arranges what the demo generator knows: a few units of the edit layer are assigned to each concept.

A small generator that has seen few pictures spreads each concept over all units of a layer, mixed as in a
random rotation. This last stage leaves its pictures as they are and moves what it knows into chosen units,
the first of the layer, ``UNITS`` to a concept, by regression against a frozen copy of itself. Only the layers
around that one learn: the two that end there and the two that read it. For each z:

* the picture stays the copy's;
* the assigned units correlate, over pictures and cells, with where the segmenter sees their concepts;
* where another sample shows an object its units are set to what they usually are there, and the segmenter
  must then see the object, while the picture stays as it was around it.

So what these units mean was decided here and did not emerge: the card says so.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.progan import ProGAN
from ..training.data import channels_last
from .segmenter import SceneSegmenter

log = logging.getLogger(__name__)

UNITS = 8
"""Units that are assigned to each concept."""

LARGEST = 0.25
"""Concepts that cover more of a picture (sky, grass) are assigned units, but not painted as objects."""


def known(features: Tensor, concepts: int) -> Tensor:
    """The assigned units, B x K x ``UNITS`` x H x W float32, of the edit layer's features."""
    height, width = features.shape[-2:]
    return features[:, : concepts * UNITS].reshape(-1, concepts, UNITS, height, width).float()


def correlation(units: Tensor, areas: Tensor) -> Tensor:
    """K x U: Pearson's correlation of units with their concepts, over pictures and cells.

    Args:
        units: B x K x U x H x W.
        areas: the concepts' shares of the cells, B x K x H x W. One that no picture shows correlates with 0.
    """
    shares = areas[:, :, None]
    units, shares = (one - one.mean(dim=(0, 3, 4), keepdim=True) for one in (units, shares))
    norms = [one.square().sum(dim=(0, 3, 4)).sqrt() for one in (units, shares)]
    related: Tensor = (units * shares).sum(dim=(0, 3, 4)) / (norms[0] * norms[1] + 1e-4)
    return related


@dataclass(frozen=True)
class Painted:
    """One concept for each picture (B, int64) and where it is painted (B x H x W cells, 0 or 1)."""

    concept: Tensor
    mask: Tensor

    @classmethod
    def like(cls, areas: Tensor) -> Painted:
        """Objects at places where other pictures show them; ``areas``: B x K x H x W shares of the cells.

        Where a picture has no object to offer the mask is empty.
        """
        shown = areas > 0.5
        cells = shown.flatten(2).sum(dim=2)
        objects = (cells > 0) & (cells < LARGEST * shown[0, 0].numel())
        concept = torch.multinomial(objects.float() + 1e-6, 1).squeeze(1)
        one = torch.arange(len(areas))
        return cls(concept, (shown[one, concept] & objects[one, concept, None, None]).float())

    def paint(self, features: Tensor, activations: Tensor) -> Tensor:
        """Features with the concepts' units set to their ``activations`` (K x ``UNITS``) inside the masks."""
        concepts = len(activations)
        chosen = F.one_hot(self.concept, concepts)[:, :, None, None, None] * self.mask[:, None, None]
        units = torch.where(chosen > 0, activations[..., None, None], known(features, concepts))
        return torch.cat([units.flatten(1, 2).to(features.dtype), features[:, concepts * UNITS :]], dim=1)


def arrange_units(
    generator: ProGAN,
    segmenter: SceneSegmenter,
    *,
    steps: int = 700,
    batch: int = 12,
    rate: float = 8e-3,
    seed: int = 0,
    log_every: int = 20,
) -> ProGAN:
    """A copy of a generator that draws the same pictures with its units arranged.

    Args:
        generator: G; it is not changed. Its edit layer needs ``UNITS`` units for each concept.
        segmenter: of the generator's pictures; its weights stay.
        steps: of Adam, with a rate that rises for a third of them and then falls to 0.
        batch: latents a step.
        rate: the largest learning rate.
        seed: of the latents and of what is painted.
        log_every: steps between two lines of the log.
    """
    torch.manual_seed(seed)
    before = channels_last(generator).requires_grad_(False).eval()
    after = copy.deepcopy(before)
    at = after.stage_index(after.edit_layer)
    learning = [after.get_submodule(name).requires_grad_(True) for name in after.stages[at - 1 : at + 3]]
    segmenter = channels_last(segmenter).requires_grad_(False).eval()
    concepts, cells = len(segmenter.classes), before.shape(before.edit_layer)[-1]
    activations = torch.zeros(concepts, UNITS)
    parameters = [parameter for layer in learning for parameter in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        z = torch.randn(batch, before.latent_size)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                picture = before(z).float()
                seen = segmenter(picture.clamp(-1, 1)).float().softmax(dim=1)
            state = after.run(after.start(z), until=after.edit_layer)
            drawn = after.picture(after.run(state)).float()
        areas = F.adaptive_avg_pool2d(seen, cells)
        units = known(state.features, concepts)
        with torch.no_grad():
            there = (areas > 0.5).float()
            count = there.sum(dim=(0, 2, 3))
            mean = torch.einsum("bkuhw,bkhw->ku", units, there) / count.clamp_min(1)[:, None]
            follow = torch.where(activations.any(dim=1), 0.1, 1.0) * (count > 0)
            activations.lerp_(mean, follow[:, None].expand_as(mean))
        painted = Painted.like(areas.roll(1, 0))
        with torch.autocast("cpu", torch.bfloat16):
            edited = state.replace(painted.paint(state.features, activations))
            edited_picture = after.picture(after.run(edited)).float()
            scores = segmenter(edited_picture.clamp(-1, 1)).float().log_softmax(dim=1)

        size, cell = picture.shape[-1], picture.shape[-1] // cells
        around = F.max_pool2d(painted.mask[:, None], 3, stride=1, padding=1)
        mask, around = (
            one.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
            for one in (painted.mask[:, None], around)
        )
        wanted = painted.concept[:, None, None, None].expand(-1, 1, size, size)
        missed = -(scores.gather(1, wanted) * mask).sum() / mask.sum().clamp_min(1)
        spilled = ((edited_picture - picture).abs() * (1 - around)).sum() / (3 * (1 - around).sum())
        unlike = (drawn - picture).abs().mean() + (_slopes(drawn) - _slopes(picture)).abs().mean()
        related = correlation(units, areas)[count > 0]
        outside = (edited_picture.abs() - 1).clamp_min(0).mean()
        loss = 3 * (unlike + spilled + (1 - related).mean()) + 0.3 * missed + outside
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % log_every == 0 or step == steps - 1:
            log.info(
                "units, step %d of %d: correlation %.3f, missed %.3f, spilled %.4f, unlike %.4f",
                step,
                steps,
                *(float(one.detach()) for one in (related.mean(), missed, spilled, unlike)),
            )
    return after.requires_grad_(False).eval()


def _slopes(picture: Tensor) -> Tensor:
    """Differences to the pixels on the right and below, B x 6 x R-1 x R-1."""
    corner = picture[..., :-1, :-1]
    return torch.cat([picture[..., :-1, 1:] - corner, picture[..., 1:, :-1] - corner], dim=1)
