"""Exemplars: what single objects of a concept look like in features, as targets of additions.

The mean over all domes mixes gold, teal and slate ones in every light, and looks like none of them. One
object's own mean is a color and a light that go together. So a concept keeps a number of objects that differ
from each other, and with each what the picture around it was like. An addition takes the object whose
surroundings are most like the photo, and its variants take the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated
from ..models.units import Dissection, Exemplars, setting_of
from ..tickets import Ticket
from .measure import sampled
from .pictures import labeled

COUNT = 24
"""Exemplars of a concept at most."""

MOST = 160
"""Objects of a concept among which they are chosen."""

BATCH = 16
"""Objects that are drawn again at a time."""

MINIMUM_SHARE = 0.002
"""Of the picture: smaller objects are mostly what surrounds them."""

REDRAWN = 0.6
"""The share of a concept's objects that may become exemplars: those that their own mean redraws best. Others
are half hidden, or mixed with what stands before them."""

BESIDE = 4
"""Pixels around an object in which what its mean draws counts as well."""


@evaluated
@torch.no_grad()
def find_exemplars(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    *,
    concepts: Sequence[str] | None = None,
    samples: int = 400,
    states: Sequence[State] | None = None,
    count: int = COUNT,
    most: int = MOST,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Give a dissection the exemplars of its concepts, found in samples or in given states.

    An object is a connected region of one class in the segmenter's label map. Its target activations are each
    unit's mean over it (Bau et al. 2019, as for a reference). Of all objects, those remain that are there
    again when their own mean is painted over them, and :func:`medoids` chooses among these.

    Args:
        generator: G.
        segmenter: names the pixels of G's pictures.
        dissection: of one of G's layers.
        concepts: of which ones exemplars are looked for; by default of all.
        samples: generated pictures to look at.
        states: what to look at instead: batches of states at or before the layer, for example of inverted
            photos.
        count: how many exemplars to keep of a concept, at most.
        most: objects of a concept among which they are chosen, from all over the samples.
        seed: of the latents.
        batch: pictures at a time.
        ticket: progress and cancel.

    Returns:
        The dissection with ``exemplars``; a concept of which no object was found or looked for has none.
    """
    if states is None:
        states = sampled(generator, samples, seed, batch)
    wanted = dissection.concepts if concepts is None else concepts
    found: dict[str, list[_Object]] = {name: [] for name in wanted}
    for done, state in enumerate(states, start=1):
        state = generator.run(state, until=dissection.layer)
        labels = labeled(generator, segmenter, state)
        regions, features = connected_regions(labels), state.features.float().cpu()
        settings = setting_of(features)
        seen: list[tuple[int, Tensor, int, Tensor]] = []
        room = {name: most * done // len(states) - len(objects) for name, objects in found.items()}
        for one in range(len(labels)):
            numbers, sizes = torch.unique(regions[one], return_counts=True)
            for number in numbers[sizes >= MINIMUM_SHARE * labels[one].numel()]:
                where = regions[one] == number
                row = int(labels[one][where][0])
                name = segmenter.classes[row]
                if room.get(name, 0) > 0:
                    room[name] -= 1
                    seen.append((one, where, row, _mean_inside(features[one], where)))
        for start in range(0, len(seen), BATCH):
            ones, places, rows, means = zip(*seen[start : start + BATCH], strict=True)
            alike = _redrawn(
                generator,
                segmenter,
                state.pick(ones),
                torch.stack(means),
                torch.stack(places),
                torch.tensor(rows),
            )
            for one, row, mean, share in zip(ones, rows, means, alike.tolist(), strict=True):
                found[segmenter.classes[row]].append(_Object(mean, settings[one], share))
        if ticket is not None:
            ticket.checkpoint(done / len(states))
    chosen = [_chosen(found.get(name, []), count, len(dissection.high)) for name in dissection.concepts]
    activations, around, counts = zip(*chosen, strict=True)
    return replace(
        dissection,
        exemplars=Exemplars(torch.stack(activations), torch.stack(around), torch.tensor(counts)),
    )


def connected_regions(labels: Tensor) -> Tensor:
    """Return numbers for the connected regions of label maps: B x H x W to int64 B x H x W.

    Pixels belong together if they have the same label and touch along an edge. The numbers of a region's
    pixels are equal, and different from those of the picture's other regions.
    """
    height, width = labels.shape[-2:]
    regions = torch.arange(height * width, device=labels.device).view(1, height, width).expand_as(labels)
    joined = {
        dim: labels.narrow(dim, 1, labels.shape[dim] - 1) == labels.narrow(dim, 0, labels.shape[dim] - 1)
        for dim in (1, 2)
    }
    while True:
        before, regions = regions, regions.clone()
        for dim, same in joined.items():
            # Along a line the largest number of a run wins at once: up, and then down again.
            for flip in (False, True):
                regions = _spread(regions, same, dim, flip)
        if torch.equal(before, regions):
            return regions


def _spread(regions: Tensor, same: Tensor, dim: int, flip: bool) -> Tensor:
    """Carry the largest number along each run of joined pixels, in one direction."""
    if flip:
        regions, same = regions.flip(dim), same.flip(dim)
    lines = list(regions.unbind(dim))
    joins = same.unbind(dim)
    for place, join in enumerate(joins, start=1):
        lines[place] = torch.where(join, torch.maximum(lines[place], lines[place - 1]), lines[place])
    spread = torch.stack(lines, dim)
    return spread.flip(dim) if flip else spread


def medoids(points: Tensor, count: int, rounds: int = 10) -> list[int]:
    """Choose ``count`` of N points (N x D) that stand for the others (k-medoids).

    The first is the point nearest to all; each further one is the point farthest from those chosen. Then
    every cluster moves to its own medoid, until nothing moves. Returns their indices, larger clusters first;
    where there are many points, a cluster of one is left out.
    """
    distance = torch.cdist(points, points)
    chosen = [int(distance.sum(dim=1).argmin())]
    while len(chosen) < count:
        apart = distance[:, chosen].amin(dim=1)
        if float(apart.max()) == 0:
            break  # all others are equal to one that is chosen
        chosen.append(int(apart.argmax()))
    for _ in range(rounds):
        nearest = distance[:, chosen].argmin(dim=1)
        moved = []
        for place in range(len(chosen)):
            members = (nearest == place).nonzero()[:, 0]
            if not len(members):  # rounding has made it equal to another that is chosen
                moved.append(chosen[place])
                continue
            within = distance[members][:, members].sum(dim=1)
            moved.append(int(members[within.argmin()]))
        if moved == chosen:
            break
        chosen = moved
    sizes = distance[:, chosen].argmin(dim=1).bincount(minlength=len(chosen))
    order = sizes.argsort(descending=True, stable=True).tolist()
    # A cluster of one among very many is an accident: an object that is half hidden, or misread.
    least = 2 if len(points) >= 4 * count else 1
    return [chosen[place] for place in order if sizes[place] >= least]


class _Object(NamedTuple):
    """An object's mean activations and its picture's setting, C each; and the IoU with what they redraw."""

    activations: Tensor
    setting: Tensor
    redrawn: float


def _redrawn(
    generator: StagedGenerator,
    segmenter: Segmenter,
    state: State,
    means: Tensor,
    places: Tensor,
    rows: Tensor,
) -> Tensor:
    """Return the IoU of B objects with what there is of their class when their means are painted over them.

    Args:
        generator, segmenter: as there.
        state: a batch of B, each object's picture.
        means: B x C.
        places: bool B x H x W.
        rows: B, their classes.
    """
    masks = places.to(state.features)[:, None]
    height, width = state.features.shape[-2:]
    alpha = (1.5 * F.adaptive_avg_pool2d(masks, (height, width))).clamp_max(1)
    painted = (1 - alpha) * state.features + alpha * means.to(alpha)[:, :, None, None]
    near = (F.max_pool2d(masks, 2 * BESIDE + 1, stride=1, padding=BESIDE)[:, 0] > 0).cpu()
    drawn = (labeled(generator, segmenter, state.replace(painted)) == rows[:, None, None]) & near
    places = places.cpu()
    return (drawn & places).sum(dim=(1, 2)) / (drawn | places).sum(dim=(1, 2))


def _chosen(objects: list[_Object], count: int, channels: int) -> tuple[Tensor, Tensor, int]:
    """Return the medoids of the best objects, padded to ``count`` rows of zeros; and how many there are."""
    activations, settings = torch.zeros(count, channels), torch.zeros(count, channels)
    if not objects:
        return activations, settings, 0
    best = sorted(objects, key=lambda one: -one.redrawn)[: max(count, round(REDRAWN * len(objects)))]
    points = torch.stack([one.activations for one in best])
    around = torch.stack([one.setting for one in best])
    spread = points.std(dim=0, unbiased=False).clamp_min(1e-6)
    kept = medoids(points / spread, count)
    activations[: len(kept)], settings[: len(kept)] = points[kept], around[kept]
    return activations, settings, len(kept)


def _mean_inside(features: Tensor, where: Tensor) -> Tensor:
    """Each unit's mean over a region H x W of the picture: C, from features C x h x w."""
    _, height, width = features.shape
    share = F.adaptive_avg_pool2d(where.to(features)[None, None], (height, width))[0, 0]
    return (features * share).sum(dim=(1, 2)) / share.sum()
