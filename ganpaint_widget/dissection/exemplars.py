"""Exemplars: the features of single objects of a concept, which serve as targets of additions.

The mean over all domes mixes gold, teal and slate ones in every light, and looks like none of them. The mean
over one object keeps its color and its light together. So a concept keeps several different objects, each
with a description of the picture around it. An addition takes the object whose surroundings resemble the
photo most, and its variants take the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..method.equation import mean_activations
from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated, usable
from ..models.shaper import Shaper, filled
from ..models.units import Dissection, Exemplars, setting_of
from ..tickets import Ticket
from .pictures import labeled, sampled

COUNT = 24
"""The largest number of exemplars of a concept."""

MOST = 120
"""Objects of a concept among which its exemplars are chosen."""

PLACES = 3
"""Other objects of the same class over which each object's mean is painted on trial."""

BATCH = 16
"""Objects that are redrawn at a time."""

MINIMUM_SHARE = 0.002
"""The least share of the picture. The features of smaller objects come mostly from their surroundings."""

REDRAWN = 0.6
"""The share of a concept's objects that may become exemplars: those whose mean redraws others best. The rest
are half hidden, or mixed with objects in front of them."""

BESIDE = 4
"""Pixels around an object that also count when a mean has redrawn it."""


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
    power: int = 1,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Give a dissection the exemplars of its concepts, found in samples or in given states.

    An object is a connected region of one class in the segmenter's label map. Its target activations are each
    unit's mean over it (Bau et al. 2019), see ``power``. On trial, it is painted over other objects of
    the class in other pictures. The objects remain whose means best bring these back, and :func:`medoids`
    chooses among them. A trial at the object's own place would tell less: its mean was read there, and knows
    how the object lies in its cells.

    Args:
        generator: G.
        segmenter: names the pixels of G's pictures.
        dissection: of one of G's layers.
        concepts: those that get exemplars; by default, all.
        samples: generated pictures to look at.
        states: batches of states at or before the layer to look at instead, for example of inverted photos.
        count: how many exemplars to keep of a concept, at most.
        most: objects of a concept among which they are chosen, spread over the samples.
        power: of the shares of cells in an object's means; see :func:`.mean_activations`.
        seed: of the latents.
        batch: pictures at a time.
        ticket: progress and cancel.

    Returns:
        The dissection with ``exemplars``. Concepts without objects, or not asked for, have none.
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
        seen: list[_Seen] = []
        room = {name: most * done // len(states) - len(objects) for name, objects in found.items()}
        for one in range(len(labels)):
            numbers, sizes = torch.unique(regions[one], return_counts=True)
            for number in numbers[sizes >= MINIMUM_SHARE * labels[one].numel()]:
                where = regions[one] == number
                row = int(labels[one][where][0])
                name = segmenter.classes[row]
                if room.get(name, 0) > 0:
                    room[name] -= 1
                    picture = State(features[one : one + 1])
                    seen.append(_Seen(one, where, row, mean_activations(picture, where, power)))
        trials = [(mine, other) for mine in range(len(seen)) for other in _elsewhere(seen, mine)]
        shares: list[list[float]] = [[] for _ in seen]
        for start in range(0, len(trials), BATCH):
            some = trials[start : start + BATCH]
            ones, places, rows, _ = zip(*(seen[other] for _, other in some), strict=True)
            means = torch.stack([seen[mine].mean for mine, _ in some])
            alike = _redrawn(
                generator,
                segmenter,
                dissection.shaper,
                state.pick(ones),
                means,
                torch.stack(places),
                torch.tensor(rows),
            )
            for (mine, _), share in zip(some, alike.tolist(), strict=True):
                shares[mine].append(share)
        for thing, those in zip(seen, shares, strict=True):
            objects = found[segmenter.classes[thing.row]]
            objects.append(_Object(thing.mean, settings[thing.picture], sum(those) / len(those)))
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

    Pixels belong together if they have the same label and touch along an edge. All pixels of a region have
    the same number, and regions of one picture have different numbers.
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
            # One pass along a line carries the largest number of a run to its end, and one back to its start.
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
    """Choose ``count`` of N points (N x D) that represent the others (k-medoids).

    Each is the point that most reduces the sum of the distances from all points to the nearest chosen one
    (BUILD of Kaufman and Rousseeuw, "Finding Groups in Data", 1990). Then every cluster moves to its own
    medoid, until nothing moves. Return the indices, larger clusters first. If there are many points, clusters
    of one are dropped.
    """
    distance = torch.cdist(points, points)
    chosen = [int(distance.sum(dim=1).argmin())]
    while len(chosen) < count:
        apart = distance[:, chosen].amin(dim=1)
        reduced = (apart[:, None] - distance).clamp_min(0).sum(dim=0)
        if float(reduced.max()) == 0:
            break  # every other point equals a chosen one
        chosen.append(int(reduced.argmax()))
    for _ in range(rounds):
        nearest = distance[:, chosen].argmin(dim=1)
        moved = []
        for place in range(len(chosen)):
            members = (nearest == place).nonzero()[:, 0]
            if not len(members):  # after rounding, it equals another chosen point
                moved.append(chosen[place])
                continue
            within = distance[members][:, members].sum(dim=1)
            moved.append(int(members[within.argmin()]))
        if moved == chosen:
            break
        chosen = moved
    sizes = distance[:, chosen].argmin(dim=1).bincount(minlength=len(chosen))
    order = sizes.argsort(descending=True, stable=True).tolist()
    # Among many points, a cluster of one is an accident: an object that is half hidden or mislabeled.
    least = 2 if len(points) >= 4 * count else 1
    return [chosen[place] for place in order if sizes[place] >= least]


class _Seen(NamedTuple):
    """An object in a batch: its picture, its pixels (bool H x W), its class and its mean activations."""

    picture: int
    where: Tensor
    row: int
    mean: Tensor


class _Object(NamedTuple):
    """An object's mean activations and its picture's setting, C each; the mean IoU of what they redraw."""

    activations: Tensor
    setting: Tensor
    redrawn: float


def _elsewhere(seen: Sequence[_Seen], mine: int) -> list[int]:
    """Return the next objects of the same class in other pictures, for a trial; or itself if it is alone."""
    picture, row = seen[mine].picture, seen[mine].row
    order = [*range(mine + 1, len(seen)), *range(mine)]
    others = [other for other in order if seen[other].row == row and seen[other].picture != picture]
    return others[:PLACES] or [mine]


def _redrawn(
    generator: StagedGenerator,
    segmenter: Segmenter,
    shaper: Shaper | None,
    state: State,
    means: Tensor,
    places: Tensor,
    rows: Tensor,
) -> Tensor:
    """Paint means over B objects; return the IoU of each object with its class in the result.

    Args:
        generator, segmenter: as for :func:`find_exemplars`.
        shaper: of the dissection.
        state: a batch of B, each object's picture.
        means: B x C, of the same or other objects of these classes.
        places: bool B x H x W.
        rows: B, their classes.
    """
    masks = places.to(state.features)[:, None]
    alpha = filled(masks, state.features.shape[-2:])
    target = means.to(alpha)[:, :, None, None]
    if shaper is not None:
        known = [shaper.knows(segmenter.classes[row]) for row in rows.tolist()]
        shaped = usable(shaper, alpha.device)(state.features, masks, target)
        target = torch.where(torch.tensor(known, device=alpha.device)[:, None, None, None], shaped, target)
    painted = (1 - alpha) * state.features + alpha * target
    near = (F.max_pool2d(masks, 2 * BESIDE + 1, stride=1, padding=BESIDE)[:, 0] > 0).cpu()
    drawn = (labeled(generator, segmenter, state.replace(painted)) == rows[:, None, None]) & near
    places = places.cpu()
    return (drawn & places).sum(dim=(1, 2)) / (drawn | places).sum(dim=(1, 2))


def _chosen(objects: list[_Object], count: int, channels: int) -> tuple[Tensor, Tensor, int]:
    """Return the medoids of the best objects, padded with zeros to ``count`` rows, and their number."""
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
