"""Causal effects of units, measured by switching the units on and off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..method.edits import Activations, Edit, Mask
from ..method.equation import apply
from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated
from ..models.units import Dissection
from ..tickets import Ticket, share_of, watched
from .pictures import labeled

SEED = 10_000
"""The seed of the samples on which effects are measured. A dissection counts other samples."""

MINIMUM_AREA = 16
"""Pixels that a concept needs in a picture to count as an object that can be removed."""


@evaluated
@torch.no_grad()
def causal_effect(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    *,
    units: tuple[int, ...] | None = None,
    activations: Activations | None = None,
    samples: int = 100,
    state: State | None = None,
    labels: Tensor | None = None,
    seed: int = SEED,
    ticket: Ticket | None = None,
) -> tuple[float, float]:
    """Measure how well the editor's own edits add and remove a concept in generated pictures.

    In each sample, the concept is added to one square patch of 3 x 3 cells that lacks it. The patch lies at a
    *likely place*: a random cell, drawn in proportion to how often the concept occurs there. The effect is
    read at that place, unlike in the public code. The concept is removed under its own mask.

    Args:
        units, activations: a brush's units and its C float32 values; by default the dissection's.
        samples, state, seed: generated pictures, or a batch of states at the layer to take instead.
        labels: the segmenter's label maps of the states' pictures, B x R x R, where they are known.
        ticket: progress and cancel.

    Returns:
        (added, removed): the mean share of the patch's pixels that became the concept, and the mean share
        of the concept's pixels that stopped being it. Each is 0 if no sample offered a place.
    """
    if state is None:
        state = generator.sampled(samples, seed, until=dissection.layer)
    first, second, third = (share_of(ticket, part / 3, (part + 1) / 3) for part in range(3))
    trial = _Trial(generator, segmenter, dissection, concept, state, seed, labels, first)
    added = trial.share("add", trial.patches, units, activations, ticket=second)
    return added, trial.share("remove", trial.objects, units, ticket=third)


@evaluated
@torch.no_grad()
def unit_effects(
    generator: StagedGenerator,
    segmenter: Segmenter,
    layer: str,
    activations: Tensor,
    *,
    samples: int = 8,
    seed: int = SEED,
    ticket: Ticket | None = None,
) -> Tensor:
    """Measure the average causal effect of each unit on each class's area: K x C, as shares of the picture.

    Each picture is drawn twice: with unit u at its level in every cell, and with u at 0 in every cell (GAN
    Dissection, ICLR 2019, section 3.2)::

        ACE(u, c) = mean over pictures of area(c; u on) - area(c; u off)

    Units work together, so a single one often causes little. :func:`causal_curve` measures sets of units.

    Args:
        generator, segmenter: G, and the segmenter that names its pixels.
        layer: the stage with the C units.
        activations: C, the activations that mean "on": as published, each unit's 0.99 quantile.
        samples: pictures; each is drawn 2 C times.
        seed: of the pictures.
        ticket: progress and cancel.
    """
    state = generator.sampled(samples, seed, until=layer)
    classes = len(segmenter.classes)
    effects = torch.zeros(classes, len(activations))
    for unit, level in enumerate(activations.tolist()):
        areas = []
        for value in (level, 0.0):
            features = state.features.clone()
            features[:, unit] = value
            labels = labeled(generator, segmenter, state.replace(features)).flatten()
            areas.append(torch.bincount(labels, minlength=classes) / labels.numel())
        effects[:, unit] = areas[0] - areas[1]
        if ticket is not None:
            ticket.checkpoint((unit + 1) / len(activations))
    return effects


@dataclass(frozen=True)
class CausalCurve:
    """Effects of the best 1, 2, ... units of a concept; all tuples are as long as ``units``.

    Attributes:
        concept: its name.
        units: numbers of units.
        added: mean share of a patch at a likely place that became the concept.
        removed: mean share of the concept's pixels that stopped being it, with the units off at these pixels.
        ablated: the same with the units off in the whole picture, as published in GAN Dissection.
    """

    concept: str
    units: tuple[int, ...]
    added: tuple[float, ...]
    removed: tuple[float, ...]
    ablated: tuple[float, ...]


@evaluated
@torch.no_grad()
def causal_curve(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    *,
    units: Sequence[int] = range(1, 41),
    ranking: Sequence[int] | None = None,
    samples: int = 50,
    state: State | None = None,
    seed: int = SEED,
    ticket: Ticket | None = None,
) -> CausalCurve:
    """Measure added and removed shares against the number of units, each at its full activation.

    The places and pictures are the same for every number of units; see :func:`causal_effect`.

    Args:
        units: which numbers of units to try, each at most C.
        ranking: the order in which units come in; by default that of their IoU.
        samples, state, seed: generated pictures, or a batch of states at the layer to take instead.
        ticket: progress and cancel.
    """
    if state is None:
        state = generator.sampled(samples, seed, until=dissection.layer)
    trial = _Trial(generator, segmenter, dissection, concept, state, seed)
    everywhere = {one: torch.ones_like(patch) for one, patch in trial.objects.items()}
    rows = []
    for done, count in enumerate(units, start=1):
        order = dissection.units(concept, count).tolist() if ranking is None else ranking
        chosen = tuple(order[:count])
        rows.append(
            (
                trial.share("add", trial.patches, chosen),
                trial.share("remove", trial.objects, chosen),
                trial.share("remove", everywhere, chosen),
            )
        )
        if ticket is not None:
            ticket.checkpoint(done / len(units))
    added, removed, ablated = (tuple(column) for column in zip(*rows, strict=True)) if rows else ((), (), ())
    return CausalCurve(concept, tuple(units), added, removed, ablated)


class _Trial:
    """Pictures with places at which a concept can be added and removed, and the effect of doing it.

    Attributes:
        patches: for the number of a picture, a likely place that lacks the concept: bool H x W.
        objects: for the number of a picture, where the concept is.
    """

    BATCH = 16

    def __init__(
        self,
        generator: StagedGenerator,
        segmenter: Segmenter,
        dissection: Dissection,
        concept: str,
        state: State,
        seed: int,
        labels: Tensor | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        self.generator, self.segmenter = generator, segmenter
        # A patch is a square, and the question is what activations cause in it. A shaper would look for an
        # object's outline there.
        self.dissection = replace(dissection, shaper=None)
        self.concept, self.state = concept, state
        # The dissection may know fewer concepts than the segmenter.
        self.row = segmenter.classes.index(concept)
        random = torch.Generator().manual_seed(seed)
        if labels is None:
            parts = watched(_parts(range(len(state.features)), self.BATCH), ticket)
            labels = torch.cat([labeled(generator, segmenter, state.pick(part)) for part in parts])
        found = labels == self.row
        self.patches: dict[int, Tensor] = {}
        self.objects: dict[int, Tensor] = {}
        for one in range(len(found)):
            patch = _likely_patch(found, one, state, random, 3)
            if patch is not None:
                self.patches[one] = patch
            if int(found[one].sum()) >= MINIMUM_AREA:
                self.objects[one] = found[one]

    def share(
        self,
        verb: str,
        masks: Mapping[int, Tensor],
        units: tuple[int, ...] | None,
        activations: Activations | None = None,
        ticket: Ticket | None = None,
    ) -> float:
        """Return the mean share of the region that became the concept, or for removals stopped being it.

        The region is the mask for additions, and the place of the concept for removals. ``activations``
        replace those of the dissection.
        """
        # An exemplar sets all units at once. Given units are measured on their own.
        whole = verb == "add" and units is None and activations is None
        target = self.dissection.default_target(self.concept) if whole else "tuned"

        def edited(one: int) -> Tensor:
            edit = Edit(
                "e",
                verb,
                self.concept,
                _painted(masks[one]),
                units=units,
                target=target,
                activations=activations,
            )
            return apply(self.state.one(one), [edit], self.dissection).features

        shares: list[float] = []
        for part in watched(_parts(list(masks), self.BATCH), ticket):
            edits = torch.cat([edited(one) for one in part])
            state = self.state.pick(part).replace(edits)
            found = labeled(self.generator, self.segmenter, state) == self.row
            for one, after in zip(part, found, strict=True):
                place = masks[one] if verb == "add" else self.objects[one]
                inside = float(after[place].float().mean())
                shares.append(inside if verb == "add" else 1 - inside)
        return sum(shares) / max(1, len(shares))


def _likely_patch(
    found: Tensor, one: int, state: State, random: torch.Generator, cells: int
) -> Tensor | None:
    """Choose a square of ``cells`` x ``cells`` cells where picture ``one`` lacks the concept: bool H x W.

    The chance of a place is proportional to how often the concept occurs there in the whole batch ``found``.
    The result is None if no place has a chance above 0.
    """
    grid = state.features.shape[-1]
    cell = found.shape[-1] // grid
    share = F.avg_pool2d(found.float()[:, None], cell)[:, 0]
    near = F.max_pool2d(share[one][None], 3, stride=1, padding=1)[0]
    chance = (share.mean(dim=0) * (near == 0)).flatten()
    if float(chance.sum()) <= 0:
        return None
    top, left = divmod(int(torch.multinomial(chance, 1, generator=random)), grid)
    patch = torch.zeros_like(found[one])
    rows = slice(max(0, top - 1) * cell, (top - 1 + cells) * cell)
    patch[rows, max(0, left - 1) * cell : (left - 1 + cells) * cell] = True
    return patch


def _painted(mask: Tensor) -> Mask:
    """Return a boolean mask as an edit's mask of bytes."""
    painted: Mask = (mask * 255).byte().cpu().numpy()
    return painted


def _parts(numbers: Sequence[int], length: int) -> list[list[int]]:
    return [list(numbers[start : start + length]) for start in range(0, len(numbers), length)]
