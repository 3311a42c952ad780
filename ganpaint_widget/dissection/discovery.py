"""Discovery of concepts without labels: parts of a generator's world, found in its features.

The idea is that of Collins, Bala, Price and Süsstrunk, "Editing in Style" (CVPR 2020), and of Collins,
Achanta and Süsstrunk, "Deep Feature Factorization" (ECCV 2018). Features that draw the same kind of thing
point in the same direction, so spherical k-means on them segments the generator's world. There are three
steps:

1. *Cluster.* Each picture of that world is cut into regions along its edges (``regions.py``). The means of a
   region's features describe it, in the layer and in the finer ones. k-means makes several times more
   clusters than the requested parts. Clusters are then joined that look alike, occur at the same places and
   flow into each other (``clusters.py``). Ten shades of sky become one part, and a door stays one.
2. *Distill.* A small network learns from these pictures which cluster is where (``models/parts.py``). It
   then serves as segmenter.
3. *Dissect.* With that segmenter, every part is measured like a named class: units, target activations,
   exemplars, and the effects of adding and removing it.

``rearranging.py`` lets people rename, merge, split and hide parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import GANPaintError
from ..images.arrays import Array, array_of
from ..models.checking import check, declared
from ..models.generator import StagedGenerator, State
from ..models.model import Model
from ..models.networks import evaluated, usable
from ..models.parts import PartNetwork, Parts, directions, seen
from ..models.shaper import Shaper
from ..models.units import Dissection, Exemplars
from ..tickets import Ticket, share_of, watched
from .causality import SEED, causal_effect
from .clusters import borders_of, cut, kmeans, linkage, places_of, visible
from .exemplars import connected_regions, find_exemplars
from .measure import Probe, count, tabulate
from .pictures import check_number, drawn, labeled, states_of
from .regions import ACROSS, joined, region_means, superpixels

PARTS: Final = 12
"""Parts to look for by default."""

MOST: Final = 64
"""The largest number of parts to look for. Users could not tell more apart in a palette."""

STEPS: Final = 200
"""Steps of the segmenter's training."""

SAMPLES: Final = 200
"""Pictures to look at."""


@dataclass(frozen=True)
class _World:
    """The pictures that discovery looks at and their regions, on the CPU.

    Attributes:
        pictures: N x 3 x S x S, as the network sees them.
        regions: int64 N x S/2 x S/2, the number of the region at each place. Numbers continue from picture to
            picture.
        points: the regions' directions, one a row.
    """

    pictures: Tensor
    regions: Tensor
    points: Tensor


FINE: Final = 4
"""The least number of clusters per part, on average. Parts can be split into these."""

LEAST: Final = 96
"""The least number of clusters. With fewer, small things share a cluster with their surroundings."""


def discover(
    generator: StagedGenerator | Model,
    parts: int = PARTS,
    *,
    layer: str | None = None,
    samples: int = SAMPLES,
    steps: int = STEPS,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Find concepts in a generator's features, without labels or a segmenter.

    On the demo, this takes two to three minutes of one core. The result is a dissection whose ``parts`` serve
    as segmenter: ``Model("mine", generator, dissection=discover(generator))`` can be painted with.

    Args:
        generator: G, whose samples are looked at, or a model. If that has an encoder, pictures of its gallery
            are looked at first, with the features that the encoder reads (:func:`.states_of`). If its
            dissection has a shaper of this layer, all parts get it.
        parts: how many concepts to find, 2 to ``MOST``. A small world may have fewer.
        layer: the stage whose features are clustered, by default the edit layer.
        samples: pictures to look at.
        steps: of the segmenter's training.
        seed: of the pictures, the first centroids and the training.
        batch: pictures at a time.
        ticket: progress and cancel.

    Raises:
        GANPaintError: ``parts`` is out of range, the generator, the layer or a number is none that can be
            used, or the layer's features are the same everywhere.
    """
    check_parts(parts)
    model = _model(generator)
    generator = model.generator
    layer = layer or generator.edit_layer
    reading, looking, teaching, measuring, trying = (
        share_of(ticket, *span) for span in ((0, 0.05), (0.05, 0.15), (0.15, 0.5), (0.5, 0.6), (0.6, 1))
    )
    states = states_of(model, layer, samples, seed, batch, reading)
    world = _look(generator, _layers(generator, layer), states, looking)
    centroids = kmeans(world.points, max(LEAST, FINE * parts), seed=seed)
    if len(centroids) < 2 or not bool(centroids.any()):
        raise GANPaintError(
            f"All features of the layer {layer!r} point in the same direction.", "Choose another layer."
        )
    lessons = (world.points @ centroids.T).argmax(dim=1)[world.regions]
    covered = torch.bincount(lessons.flatten(), minlength=len(centroids)) / lessons.numel()
    tree = linkage(
        centroids,
        covered,
        places_of(lessons, len(centroids)),
        borders_of(world.pictures, lessons, len(centroids)),
    )
    groups = cut(tree, min(parts, len(centroids)))
    network = distill(generator, world.pictures, lessons, groups, steps=steps, seed=seed, ticket=teaching)
    seeing = _Clusters(network, tuple(str(one) for one in range(len(centroids))))
    evidence = count(Probe(generator, seeing, layer, seed=seed), states, ticket=measuring)
    area = evidence.counts[0].sum(dim=1).float()
    member = visible(tree, centroids, area / area.sum(), min(parts, len(centroids)))
    # The largest part is the first.
    amount = int(member.max()) + 1
    area = torch.zeros(amount).index_add_(0, member, area)
    member = area.argsort(descending=True, stable=True).argsort()[member]
    names = [f"part {number}" for number in range(1, amount + 1)]
    found = tabulate(
        evidence.grouped(member, amount), layer, names, _colors(world.pictures, member[lessons], names)
    )
    found = replace(
        found,
        parts=Parts(
            network.cpu(),
            classes=names,
            centroids=centroids,
            tree=tree,
            member=member,
            evidence=evidence,
        )
        .eval()
        .requires_grad_(False),
        shaper=_shaper(model, layer),
    )
    return _remeasured(model, found, found.concepts, states, trying)


def _model(generator: StagedGenerator | Model) -> Model:
    """Return a model that is ready for use, on the generator's device. GANPaintError if it is none."""
    found = declared(generator)
    model = replace(generator, generator=found) if isinstance(generator, Model) else Model("", found)
    model = model.to()
    check(model)
    return model


def _shaper(model: Model, layer: str) -> Shaper | None:
    """Return the shaper of a model's present dissection, for all concepts, if it is one of this layer."""
    present = model.dissection
    if present is None or present.layer != layer or present.shaper is None:
        return None
    return present.shaper.for_all()


def check_parts(parts: int) -> None:
    """Raise GANPaintError if the number of parts is out of range."""
    check_number("parts", parts, 2, MOST)


TRIED: Final = 12
"""Pictures in which the effects of adding and removing a part are measured."""

EXEMPLARS: Final = 6
"""The largest number of exemplars of a part. Its segmenter is not exact, so that with more of them, some
would stand for accidents instead of groups of objects."""

OBJECTS: Final = 40
"""Objects of a part among which its exemplars are chosen."""

INNER: Final = 2
"""The power of the shares of cells in an object's means. The masks of parts are inexact at their borders."""


def remeasure(
    generator: StagedGenerator | Model,
    dissection: Dissection,
    *concepts: str,
    samples: int = SAMPLES,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Find the exemplars of discovered concepts anew, and measure the effects of adding and removing them.

    Args:
        generator: G, or a model, as for :func:`discover`.
        dissection: a discovered dissection of one of G's layers.
        concepts: names of concepts; by default all. The others keep their exemplars and effects.
        samples: pictures in which to look for exemplars.
        seed: of their choice.
        batch: pictures at a time.
        ticket: progress and cancel.
    """
    model = _model(generator)
    reading, measuring = share_of(ticket, 0, 0.2), share_of(ticket, 0.2, 1)
    states = states_of(model, dissection.layer, samples, seed, batch, reading)
    return _remeasured(model, dissection, concepts or dissection.concepts, states, measuring)


@torch.no_grad()
def _remeasured(
    model: Model,
    dissection: Dissection,
    chosen: Sequence[str],
    states: Sequence[State],
    ticket: Ticket | None,
) -> Dissection:
    """Do what :func:`remeasure` does, with exemplars from batches of states."""
    generator, layer = model.generator, dissection.layer
    parts = usable(parts_of(dissection), next(generator.parameters()).device)
    finding, trying = share_of(ticket, 0, 0.6), share_of(ticket, 0.6, 1)
    rows = [dissection.index(concept) for concept in chosen]
    found = find_exemplars(
        generator,
        parts,
        dissection,
        concepts=chosen,
        states=states,
        count=EXEMPLARS,
        most=OBJECTS,
        power=INNER,
        ticket=finding,
    )
    assert found.exemplars is not None
    old, new, effect = dissection.exemplars, found.exemplars, found.effect.clone()
    objects = [
        new.objects(row) if old is None or row in rows else old.objects(row)
        for row in range(len(found.concepts))
    ]
    tried = replace(found, exemplars=Exemplars.stacked(objects))
    # The same pictures serve all concepts, and are labeled once. They are samples, since the exemplars may
    # come from any picture of the gallery.
    others = states_of(replace(model, gallery=None), layer, TRIED, SEED, TRIED)
    state = generator.run(others[0], until=layer)
    labels = labeled(generator, parts, state)
    for place, (concept, row) in enumerate(zip(chosen, rows, strict=True)):
        share = share_of(trying, place / len(chosen), (place + 1) / len(chosen))
        effects = causal_effect(generator, parts, tried, concept, state=state, labels=labels, ticket=share)
        effect[row] = torch.tensor(effects)
    return replace(tried, effect=effect)


UNITS: Final = 8
"""Units that a finer layer must have. With fewer, its directions carry little information."""


def _layers(generator: StagedGenerator, layer: str) -> list[str]:
    """Return the layer, and the last stage of each finer grid with at least ``UNITS`` units."""
    side = generator.shape(layer)[1]
    finer: dict[int, str] = {}
    for stage in generator.stages[generator.stage_index(layer) + 1 :]:
        units, grid, _ = generator.shape(stage)
        if units >= UNITS and grid > side:
            finer[grid] = stage
    return [layer, *finer.values()]


PIXELS: Final = 3
"""The least side of a superpixel, in pixels."""

JOINED: Final = 25
"""Pictures at a time whose regions are joined."""

FEATURES: Final = 0.5
"""The weight of a difference of features, relative to one of colors, when regions are joined."""


@evaluated
@torch.no_grad()
def _look(
    generator: StagedGenerator,
    layers: Sequence[str],
    states: Sequence[State],
    ticket: Ticket | None,
) -> _World:
    """Return the pictures of states, their regions, and the direction of each region's features."""
    pictures: list[Tensor] = []
    labels: list[Tensor] = []
    described: list[list[Tensor]] = []
    colors: list[Tensor] = []
    areas: list[Tensor] = []
    settings: list[list[Tensor]] = []
    for state in watched(states, ticket):
        maps: list[Tensor] = []
        for layer in layers:
            state = generator.run(state, until=layer)
            maps.append(state.features.float().cpu())
        shown = seen(drawn(generator, state)).cpu()
        half = F.avg_pool2d(shown, 2)
        across = max(2, min(ACROSS, half.shape[-1] // PIXELS))
        found = superpixels(half, across)
        mean, area = region_means(half, found, across**2)
        pictures.append(shown)
        labels.append(found)
        colors.append(mean)
        areas.append(area)
        described.append([region_means(one, found, across**2)[0] for one in maps])
        settings.append([one.mean(dim=(2, 3)) for one in maps])
    around = [torch.cat(one) for one in zip(*settings, strict=True)]
    features = [torch.cat(one) for one in zip(*described, strict=True)]
    color, area, places = torch.cat(colors), torch.cat(areas), torch.cat(labels)
    count = area.shape[1]

    def directed(maps: Sequence[Tensor]) -> Tensor:
        beside = [one[:, None].expand(-1, count, -1).flatten(0, 1) for one in around]
        return directions([one.flatten(0, 1) for one in maps], beside)

    fine = directed(features).view(len(area), count, -1)
    compared = torch.cat([color, FEATURES * fine], dim=2)
    batches = zip(*(torch.split(one, JOINED) for one in (compared, area, places)), strict=True)
    member = torch.cat([joined(*some) for some in batches])
    flat = (member + count * torch.arange(len(member))[:, None]).flatten()
    weights = area.flatten()[:, None]

    def united(means: Tensor) -> Tensor:
        """Return the means over unions of regions: the area-weighted means of their pieces."""
        total = torch.zeros_like(weights).index_add_(0, flat, weights).clamp_min(1)
        sums = torch.zeros_like(means.flatten(0, 1)).index_add_(0, flat, means.flatten(0, 1) * weights)
        return (sums / total).view_as(means)

    there, numbers = torch.unique(flat[area.flatten() > 0], return_inverse=True)
    numbered = torch.zeros_like(flat)
    numbered[area.flatten() > 0] = numbers
    regions = numbered.view(len(area), count).gather(1, places.flatten(1)).view_as(places)
    points = directed([united(one) for one in features])[there]
    return _World(torch.cat(pictures), regions, points)


LEAST_CHANCE: Final = 1e-6
"""The least chance of a group in the segmenter's training, which avoids a logarithm of 0."""


def distill(
    generator: StagedGenerator,
    pictures: Tensor,
    lessons: Tensor,
    groups: Tensor,
    *,
    steps: int = STEPS,
    batch: int = 8,
    rate: float = 4e-3,
    seed: int = 0,
    ticket: Ticket | None = None,
) -> PartNetwork:
    """Train a small network to tell which cluster is where in pictures, with cross-entropy and Adam.

    It learns the groups of clusters as well, whose chances are the sums of their members': the right shade of
    sky matters less than that a place is sky. Each place has a weight, the inverse root of the area of its
    cluster or group. Otherwise, domes would not be learned in so short a training.

    Args:
        generator: the network trains on its device.
        pictures: N x 3 x S x S in [-1, 1].
        lessons: N x S/2 x S/2, the cluster at each place, below M.
        groups: M, the group of each cluster.
        steps: steps of Adam. The learning rate falls to 0 along a cosine.
        batch: pictures in each step.
        rate: the first learning rate.
        seed: of the first weights and of the batches.
        ticket: progress and cancel.
    """
    device = next(generator.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PartNetwork(len(groups))
    network = network.to(device).train()
    belongs = F.one_hot(groups).float()
    covered = torch.bincount(lessons.flatten(), minlength=len(groups)).float()
    weights, group_weights = (_balanced(areas).to(device) for areas in (covered, covered @ belongs))
    belongs = belongs.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in watched(range(steps), ticket):
            drawn_now = torch.randint(len(pictures), (batch,), generator=random)
            logits, wanted = network(pictures[drawn_now].to(device)), lessons[drawn_now]
            chances = torch.einsum("bmhw,mk->bkhw", logits.softmax(dim=1), belongs).contiguous()
            loss = F.cross_entropy(logits, wanted.to(device), weights)
            loss = loss + F.nll_loss(
                chances.clamp_min(LEAST_CHANCE).log(), groups[wanted].to(device), group_weights
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def _balanced(areas: Tensor) -> Tensor:
    """Return the weights of classes in a loss: the inverse roots of their areas."""
    return areas.clamp_min(1).rsqrt()


@dataclass
class _Clusters:
    """The clusters themselves as the classes of a segmenter, for counting."""

    network: PartNetwork
    classes: tuple[str, ...]

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        found = self.network(seen(pictures))
        return F.interpolate(found, size=pictures.shape[-2:], mode="bilinear", align_corners=False).argmax(1)


def _colors(pictures: Tensor, labels: Tensor, names: list[str]) -> dict[str, str]:
    """Return the mean color of each part, as "#rrggbb"."""
    small = F.interpolate(pictures, size=labels.shape[-2:], mode="area").movedim(1, -1)
    colors = {}
    for row, name in enumerate(names):
        inside = small[labels == row]
        mean = inside.mean(dim=0) if len(inside) else torch.zeros(3)
        red, green, blue = ((mean.clamp(-1, 1) + 1) * 127.5).round().int().tolist()
        colors[name] = f"#{red:02x}{green:02x}{blue:02x}"
    return colors


def parts_of(dissection: Dissection) -> Parts:
    """Return the parts of a discovered dissection. Raise GANPaintError for any other."""
    if dissection.parts is None:
        raise GANPaintError(
            "These concepts were named by a segmenter, so they cannot be changed like discovered parts.",
            "Discover some: ganpaint_widget.discover(generator).",
        )
    return dissection.parts


CROPPED_AT_ONCE = 8
"""Pictures in a batch of :func:`exemplar_crops`."""


@torch.no_grad()
def exemplar_crops(
    generator: StagedGenerator | Model,
    dissection: Dissection,
    *,
    crops: int = 6,
    samples: int = 32,
    seed: int = 0,
    side: int = 64,
    ticket: Ticket | None = None,
) -> dict[str, list[Array]]:
    """Cut out the places where pictures show each discovered concept most clearly.

    In each picture, the largest connected region of a part is a candidate. Candidates are sorted by the mean
    of the soft mask, times the root of their area.

    Args:
        generator: G, or a model, as for :func:`discover`.
        dissection: a discovered dissection of one of G's layers.
        crops: how many of each concept, at most.
        samples: pictures to look at.
        seed: of their choice.
        side: the crops are uint8 ``side`` x ``side`` x 3.
        ticket: progress and cancel.
    """
    model = _model(generator)
    generator = model.generator
    parts = usable(parts_of(dissection), next(generator.parameters()).device)
    found: dict[str, list[tuple[float, Array]]] = {name: [] for name in dissection.concepts}
    reading, cutting = share_of(ticket, 0, 0.5), share_of(ticket, 0.5, 1)
    states = states_of(model, dissection.layer, samples, seed, CROPPED_AT_ONCE, reading)
    for state in watched(states, cutting):
        pictures = drawn(generator, state)
        labels, masks = parts.segment(pictures).cpu(), parts.masks(pictures).cpu()
        regions = connected_regions(labels)
        for one in range(len(labels)):
            for row in sorted({*labels[one].flatten().tolist()}):
                name = dissection.concepts[row]
                numbers, sizes = torch.unique(regions[one][labels[one] == row], return_counts=True)
                where = regions[one] == numbers[sizes.argmax()]
                clear = float(masks[one, row][where].mean()) * float(where.float().mean()) ** 0.5
                found[name].append((clear, _crop(pictures[one], where, side)))
    return {
        name: [crop for _, crop in sorted(candidates, key=lambda one: -one[0])[:crops]]
        for name, candidates in found.items()
    }


def _crop(picture: Tensor, where: Tensor, side: int) -> Array:
    """Cut out the square around a region of a picture 3 x R x R, with a margin: uint8 side x side x 3."""
    size = picture.shape[-1]
    spans = [where.any(dim=axis).nonzero() for axis in (1, 0)]
    width = max(int(span[-1] - span[0]) + 1 for span in spans)
    width = min(size, max(size // 8, round(1.3 * width)))
    top, left = (min(max(0, int(span[0] + span[-1] + 1 - width) // 2), size - width) for span in spans)
    part = picture[None, :, top : top + width, left : left + width]
    return array_of(F.interpolate(part, size=(side, side), mode="bilinear", antialias=True))
