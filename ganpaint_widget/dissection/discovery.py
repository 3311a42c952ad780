"""Concepts without labels: what a generator's features say by themselves, found, named and taken apart.

After Collins, Bala, Price and Süsstrunk, "Editing in Style" (CVPR 2020), and Collins, Achanta and Süsstrunk,
"Deep Feature Factorization" (ECCV 2018): cells of a layer that draw the same kind of thing point in the same
direction, so that spherical k-means on them segments the generator's world. Three steps follow each other:

1. *Cluster.* k-means makes several times as many clusters as parts are wanted, since it spends most of them
   on what covers most of a picture. Average linkage then joins those that are alike, by direction and not by
   area: a sky in ten shades becomes one part, and a door is left alone.
2. *Distill.* A small network learns from generated pictures which cluster is where (``models/parts.py``).
   From then on it is a segmenter like any other.
3. *Dissect.* With that segmenter every part is measured as a named class would be: units, target activations,
   exemplars, and what adding and removing it causes, seen in pictures.

What people then do with parts are plain functions from a dissection to another one: :func:`rename`,
:func:`merge`, :func:`split`, :func:`hide` and :func:`show`. Their tables of units are exact, since the counts
are kept for every cluster; what edits cause is an estimate until :func:`remeasure` has tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import GANPaintError
from ..images.arrays import Array, array_of
from ..models.generator import StagedGenerator
from ..models.networks import evaluated, usable
from ..models.parts import PartNetwork, Parts, directions, seen, similarity
from ..models.units import Dissection, Exemplars
from ..tickets import Ticket, share_of, watched
from ..validation import checked_name
from .causality import causal_effect
from .exemplars import COUNT, connected_regions, find_exemplars, medoids
from .measure import count, sampled, tabulate
from .pictures import drawn

PARTS: Final = 12
"""Parts that are looked for if nobody says how many."""

MOST: Final = 64
"""Parts that can be looked for: more than that nobody tells apart in a palette."""

FINE: Final = 4
"""Clusters a part, on average: so often can parts be split."""

LEAST: Final = 32
"""Clusters at least: with fewer, small things share theirs with what is around them."""

POINTS: Final = 30_000
"""Cells among which clusters are looked for."""

SAMPLES: Final = 200
"""Generated pictures that are looked at."""

SMALLEST: Final = 0.002
"""Of the area of all samples: what is smaller is no part by itself, but belongs to what it is most like."""

STEPS: Final = 200
"""Steps of the segmenter's training."""

TRIED: Final = 16
"""Pictures in which a part is added and removed to see what that causes."""


# --- clusters ---


def kmeans(points: Tensor, clusters: int, *, seed: int = 0, rounds: int = 20, starts: int = 2) -> Tensor:
    """Spherical k-means (Dhillon and Modha 2001) from k-means++ seeds: directions of clusters, M x D.

    Args:
        points: N x D, of length 1, on the CPU.
        clusters: M. Fewer are found where there are fewer different points.
        seed: of the first centroids.
        rounds: of assigning and averaging.
        starts: from how many first choices; the one in which points lie nearest to their centroids wins.
    """
    random = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor] | None = None
    for _ in range(starts):
        centroids = points[torch.randint(len(points), (1,), generator=random)]
        apart = _apart(points, centroids[0])
        while len(centroids) < clusters and float(apart.max()) > 1e-5:
            chosen = points[torch.multinomial(apart, 1, generator=random)]
            centroids = torch.cat([centroids, chosen])
            apart = torch.minimum(apart, _apart(points, chosen[0]))
        for _ in range(rounds):
            nearest = (points @ centroids.T).argmax(dim=1)
            sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
            # A cluster that has lost all its points stays where it was.
            sums = torch.where(sums.norm(dim=1, keepdim=True) > 0, sums, centroids)
            centroids = F.normalize(sums, dim=1)
        reached = (points @ centroids.T).max(dim=1)
        kept = torch.bincount(reached.indices, minlength=len(centroids)) > 0
        quality = float(reached.values.mean())
        if best is None or quality > best[0]:
            best = quality, centroids[kept]
    assert best is not None
    return best[1]


def _apart(points: Tensor, direction: Tensor) -> Tensor:
    """1 - cosine, N values from 0 on."""
    return (1 - points @ direction).clamp_min(0)


def linkage(centroids: Tensor) -> Tensor:
    """Join clusters by average linkage of 1 - cosine: the tree, (M - 1) x 2.

    Every cluster counts as much as every other, whatever its area. Node M + s is what step s has made of the
    two nodes in row s, as in SciPy's linkages.
    """
    amount = len(centroids)
    distance = (1 - centroids @ centroids.T).double().fill_diagonal_(torch.inf)
    nodes, sizes = list(range(amount)), torch.ones(amount, dtype=torch.float64)
    tree = []
    for step in range(amount - 1):
        one, other = sorted(divmod(int(distance.argmin()), amount))
        tree.append((nodes[one], nodes[other]))
        share = sizes[one] / (sizes[one] + sizes[other])
        joined = share * distance[one] + (1 - share) * distance[other]
        joined[one] = torch.inf
        distance[one], distance[:, one] = joined, joined
        distance[other], distance[:, other] = torch.inf, torch.inf
        nodes[one], sizes[one] = amount + step, sizes[one] + sizes[other]
    return torch.tensor(tree, dtype=torch.int64).view(-1, 2)


def cut(tree: Tensor, groups: int) -> Tensor:
    """Which of ``groups`` each of M clusters belongs to, if the last steps of a tree are not taken: M."""
    amount = len(tree) + 1
    below: dict[int, list[int]] = {node: [node] for node in range(amount)}
    for step, (one, other) in enumerate(tree[: max(0, amount - groups)].tolist()):
        below[amount + step] = below.pop(one) + below.pop(other)
    member = torch.zeros(amount, dtype=torch.int64)
    for group, clusters in enumerate(below.values()):
        member[clusters] = group
    return member


def visible(tree: Tensor, centroids: Tensor, area: Tensor, groups: int) -> Tensor:
    """The :func:`cut` into as many groups as it takes until ``groups`` of them are large enough to be seen.

    Differences between cells need not show in pictures. A group that the segmenter finds on less than
    ``SMALLEST`` of the area joins the group that its clusters are most like.

    Args:
        tree: as there.
        centroids: M x C, of length 1.
        area: M, the share of all pictures on which each cluster is seen.
        groups: how many are wanted; fewer where there are fewer.

    Returns:
        The group of each cluster, M.
    """
    for tried in range(groups, len(area) + 1):
        member = cut(tree, tried)
        shares = torch.zeros(tried).index_add_(0, member, area)
        large = shares >= SMALLEST
        if int(large.sum()) >= groups or tried == len(area):
            break
    if not bool(large.any()):
        return torch.zeros_like(member)
    middles = torch.stack([centroids[member == group].mean(dim=0) for group in range(tried)])
    alike = (middles @ middles.T).masked_fill(~large, -torch.inf)
    joined = torch.where(large, torch.arange(tried), alike.argmax(dim=1))
    return torch.unique(joined[member], return_inverse=True)[1]


def branches(tree: Tensor, clusters: list[int]) -> tuple[list[int], list[int]]:
    """The two sides into which a tree parts some clusters, at the last step that has joined any of them."""
    amount = len(tree) + 1
    wanted = {*clusters}
    below = {node: {node} & wanted for node in range(amount)}
    found: tuple[set[int], set[int]] = ({*clusters}, set())
    for step, (one, other) in enumerate(tree.tolist()):
        if below[one] and below[other]:
            found = below[one], below[other]
        below[amount + step] = below[one] | below[other]
    return sorted(found[0]), sorted(found[1])


# --- discovering ---


@dataclass(frozen=True)
class _World:
    """What was looked at.

    Attributes:
        pictures: N x 3 x S x S, as the network sees them.
        points: directions of cells, one a row.
        middle: C, the mean of all cells.
    """

    pictures: Tensor
    points: Tensor
    middle: Tensor


def discover(
    generator: StagedGenerator,
    parts: int = PARTS,
    *,
    layer: str | None = None,
    samples: int = SAMPLES,
    steps: int = STEPS,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Find concepts in a generator's features, with no label and no segmenter.

    On the demo this takes two or three minutes of one core. The result is a dissection like any other, whose
    ``parts`` are its segmenter: ``Model("mine", generator, dissection=discover(generator))`` can be painted.

    Args:
        generator: G.
        parts: how many concepts, 2 to ``MOST``. There may be fewer in a small world.
        layer: the stage whose features are clustered, by default the edit layer.
        samples: generated pictures to look at.
        steps: of the segmenter's training.
        seed: of the latents, the first centroids and the training.
        batch: pictures at a time.
        ticket: progress and cancel.

    Raises:
        GANPaintError: ``parts`` is out of range, or the layer's cells are all the same.
    """
    if not 2 <= parts <= MOST:
        raise GANPaintError(f"{parts} parts cannot be looked for.", f"Choose from 2 to {MOST}.")
    layer = layer or generator.edit_layer
    looking, teaching, measuring, trying = (
        share_of(ticket, *span) for span in ((0, 0.1), (0.15, 0.5), (0.5, 0.6), (0.6, 1))
    )
    world = _look(generator, layer, samples, seed, batch, looking)
    centroids = kmeans(world.points, max(LEAST, FINE * parts), seed=seed)
    if len(centroids) < 2:
        raise GANPaintError(
            f"All cells of the layer {layer!r} point in the same direction.", "Choose another layer."
        )
    tree = linkage(centroids)
    lessons = _lessons(
        generator, layer, world.middle, centroids, samples, seed, batch, len(world.pictures[0, 0]) // 2
    )
    network = distill(
        generator, world.pictures, lessons, len(centroids), steps=steps, seed=seed, ticket=teaching
    )
    seeing = _Clusters(network, tuple(str(one) for one in range(len(centroids))))
    evidence = count(
        generator, seeing, layer=layer, samples=samples, seed=seed, batch=batch, ticket=measuring
    )
    area = evidence.counts[0].sum(dim=1).float()
    member = visible(tree, centroids, area / area.sum(), min(parts, len(centroids)))
    # The largest part is the first.
    groups = int(member.max()) + 1
    area = torch.zeros(groups).index_add_(0, member, area)
    member = area.argsort(descending=True, stable=True).argsort()[member]
    names = [f"part {number}" for number in range(1, groups + 1)]
    found = tabulate(
        evidence.grouped(member, groups), layer, names, _colors(world.pictures, member[lessons], names)
    )
    found = replace(
        found,
        parts=Parts(
            network.cpu(),
            classes=names,
            middle=world.middle,
            centroids=centroids,
            tree=tree,
            member=member,
            evidence=evidence,
        )
        .eval()
        .requires_grad_(False),
    )
    return remeasure(generator, found, samples=samples, seed=seed, batch=batch, ticket=trying)


@evaluated
@torch.no_grad()
def remeasure(
    generator: StagedGenerator,
    dissection: Dissection,
    *concepts: str,
    samples: int = SAMPLES,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> Dissection:
    """Find the exemplars of discovered concepts anew, and try what adding and removing them causes.

    Args:
        generator: G.
        dissection: of one of its layers; it was discovered.
        concepts: which ones to try; by default all. Exemplars are found for all.
        samples: generated pictures in which exemplars are looked for.
        seed: of the latents.
        batch: pictures at a time.
        ticket: progress and cancel.
    """
    parts = usable(parts_of(dissection), next(generator.parameters()).device)
    finding, trying = share_of(ticket, 0, 0.3), share_of(ticket, 0.3, 1)
    found = find_exemplars(
        generator, parts, dissection, samples=samples, seed=seed, batch=batch, ticket=finding
    )
    effect = found.effect.clone()
    chosen = concepts or found.concepts
    for place, concept in enumerate(chosen):
        share = share_of(trying, place / len(chosen), (place + 1) / len(chosen))
        effects = causal_effect(generator, parts, found, concept, samples=TRIED, ticket=share)
        effect[found.index(concept)] = torch.tensor(effects)
    return replace(found, effect=effect)


@evaluated
@torch.no_grad()
def _look(
    generator: StagedGenerator, layer: str, samples: int, seed: int, batch: int, ticket: Ticket | None
) -> _World:
    """Generated pictures and some of their cells, on the CPU."""
    pictures, cells, settings = [], [], []
    for number, state in enumerate(watched(sampled(generator, samples, seed, batch), ticket)):
        state = generator.run(state, until=layer)
        features = state.features.float().cpu()
        pictures.append(seen(drawn(generator, state)).cpu())
        random = torch.Generator().manual_seed(1 + seed + 1_000_003 * number)
        amount = max(1, min(features[0, 0].numel(), POINTS // samples))
        places = torch.stack(
            [torch.randperm(features[0, 0].numel(), generator=random)[:amount] for _ in features]
        )
        cells.append(features.flatten(2).gather(2, places[:, None].expand(-1, features.shape[1], -1)))
        settings.append(features.mean(dim=(2, 3)))
    middle = torch.cat(settings).mean(dim=0)
    # Cells as pictures of one row, each with its own picture's mean and not with that of the chosen cells.
    chosen, around = torch.cat(cells), torch.cat(settings)
    points = directions(chosen[:, :, None], middle, around)[:, :, 0]
    return _World(torch.cat(pictures), points.transpose(1, 2).flatten(0, 1).contiguous(), middle)


@evaluated
@torch.no_grad()
def _lessons(
    generator: StagedGenerator,
    layer: str,
    middle: Tensor,
    centroids: Tensor,
    samples: int,
    seed: int,
    batch: int,
    side: int,
) -> Tensor:
    """Which cluster is where in the same samples, int64 N x ``side`` x ``side``, on the CPU."""
    found = []
    for state in sampled(generator, samples, seed, batch):
        features = generator.run(state, until=layer).features.float().cpu()
        alike = similarity(features, middle, centroids)
        found.append(F.interpolate(alike, size=(side, side), mode="bilinear", align_corners=False).argmax(1))
    return torch.cat(found)


def distill(
    generator: StagedGenerator,
    pictures: Tensor,
    lessons: Tensor,
    clusters: int,
    *,
    steps: int = STEPS,
    batch: int = 8,
    rate: float = 4e-3,
    seed: int = 0,
    ticket: Ticket | None = None,
) -> PartNetwork:
    """Teach a small network which cluster is where in pictures, by cross-entropy and Adam.

    Args:
        generator: the network learns where it computes.
        pictures: N x 3 x S x S in [-1, 1].
        lessons: N x S/2 x S/2, the cluster that is there, below ``clusters``.
        clusters: M.
        steps: of Adam, of ``batch`` pictures each; the rate falls to 0 as a cosine.
        batch: pictures a step.
        rate: at the beginning.
        seed: of the first weights and of the batches.
        ticket: progress and cancel.
    """
    device = next(generator.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PartNetwork(clusters)
    network = network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    random = torch.Generator().manual_seed(seed)
    with torch.enable_grad():
        for _ in watched(range(steps), ticket):
            drawn_now = torch.randint(len(pictures), (batch,), generator=random)
            logits = network(pictures[drawn_now].to(device))
            loss = F.cross_entropy(logits, lessons[drawn_now].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


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
    """The mean color of each part, as "#rrggbb"."""
    small = F.interpolate(pictures, size=labels.shape[-2:], mode="area").movedim(1, -1)
    colors = {}
    for row, name in enumerate(names):
        inside = small[labels == row]
        mean = inside.mean(dim=0) if len(inside) else torch.zeros(3)
        red, green, blue = ((mean.clamp(-1, 1) + 1) * 127.5).round().int().tolist()
        colors[name] = f"#{red:02x}{green:02x}{blue:02x}"
    return colors


# --- what people do with parts ---


@dataclass(frozen=True)
class _Row:
    """One concept of a new dissection.

    Attributes:
        name, color: of it.
        clusters: what it consists of.
        effect: 2, what adding and removing it causes.
        exemplars: M x C activations and M x C settings, as many as there are.
        hidden: whether it is offered for painting no more.
        source: the row of the concept in the old dissection that it is, if it is one.
    """

    name: str
    color: str
    clusters: list[int]
    effect: Tensor
    exemplars: tuple[Tensor, Tensor]
    hidden: bool
    source: int | None = None


def parts_of(dissection: Dissection) -> Parts:
    """The parts of a dissection. GANPaintError if it was not discovered."""
    if dissection.parts is None:
        raise GANPaintError(
            "These concepts were named by a segmenter, and are no parts that could be changed.",
            "Discover some: ganpaint_widget.discover(generator).",
        )
    return dissection.parts


def rename(dissection: Dissection, concept: str, name: str) -> Dissection:
    """Give a discovered concept another name.

    Raises:
        GANPaintError: there is no such concept, or the name is not 1 to 64 visible characters or is taken.
    """
    rows = _rows(dissection)
    row = dissection.index(concept)
    rows[row] = replace(rows[row], name=_new_name(dissection, name, {concept}))
    return _made_of(dissection, rows)


def merge(dissection: Dissection, concept: str, other: str, name: str | None = None) -> Dissection:
    """Make one concept of two discovered ones.

    Its tables of units are those of the union. Its effect is the mean of the two, weighted by their area,
    until :func:`remeasure` tries it: what became either of them has become their union, so that this is too
    low rather than too high for additions.

    Args:
        dissection: was discovered.
        concept, other: which two.
        name: by default that of ``concept``.

    Raises:
        GANPaintError: there are no such concepts, they are the same, or the name is wrong or taken.
    """
    rows = _rows(dissection)
    first, second = dissection.index(concept), dissection.index(other)
    if first == second:
        raise GANPaintError(f"A part cannot be merged with itself: {concept!r}.", "Choose two parts.")
    cells = parts_of(dissection).evidence.cells
    one, two = rows[first], rows[second]
    areas = torch.stack([cells[row.clusters].sum() for row in (one, two)]).float().clamp_min(1)
    activations, settings = (torch.cat(pair) for pair in zip(one.exemplars, two.exemplars, strict=True))
    if len(activations) > COUNT:
        spread = activations.std(dim=0, unbiased=False).clamp_min(1e-6)
        kept = medoids(activations / spread, COUNT)
        activations, settings = activations[kept], settings[kept]
    rows[first] = _Row(
        one.name if name is None else _new_name(dissection, name, {concept, other}),
        (one if areas[0] >= areas[1] else two).color,
        sorted(one.clusters + two.clusters),
        (areas[:, None] * torch.stack([one.effect, two.effect])).sum(dim=0) / areas.sum(),
        (activations, settings),
        one.hidden and two.hidden,
    )
    del rows[second]
    return _made_of(dissection, rows)


def split(dissection: Dissection, concept: str) -> Dissection:
    """Make two concepts of a discovered one, where its clusters are least alike.

    The larger half keeps the name, the other gets a number. Both keep the effect of the whole until
    :func:`remeasure` tries them; each exemplar goes to the half that it points to.

    Raises:
        GANPaintError: there is no such concept, or it is a single cluster.
    """
    parts, rows, row = parts_of(dissection), _rows(dissection), dissection.index(concept)
    whole = rows[row]
    if len(whole.clusters) < 2:
        raise GANPaintError(
            f"The part {concept!r} cannot be split any further.", "Discover again, with more parts."
        )
    halves = branches(parts.tree.cpu(), whole.clusters)
    cells = parts.evidence.cells
    large, small = sorted(halves, key=lambda half: -float(cells[half].sum()))
    activations, settings = whole.exemplars
    towards = F.normalize(
        torch.stack([parts.centroids[half].mean(dim=0) for half in (large, small)]).cpu(), dim=1
    )
    alike = directions(activations[:, :, None, None], parts.middle.cpu(), settings)[:, :, 0, 0] @ towards.T
    nearest = alike.argmax(dim=1)
    number = 2
    while (name := f"{concept[:60]} {number}") in dissection.concepts:
        number += 1
    made = [
        replace(
            whole,
            name=name_of_half,
            color=color,
            clusters=half,
            exemplars=(activations[nearest == place], settings[nearest == place]),
            source=None,
        )
        for place, (half, name_of_half, color) in enumerate(
            [(large, concept, whole.color), (small, name, _shifted(whole.color))]
        )
    ]
    return _made_of(dissection, [*rows[:row], *made, *rows[row + 1 :]])


def hide(dissection: Dissection, concept: str) -> Dissection:
    """Offer a discovered concept for painting no more. It is still seen in pictures.

    Raises:
        GANPaintError: there is no such concept, or it is the last one that is offered.
    """
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=True)
    if all(one.hidden for one in rows):
        raise GANPaintError("The last part cannot be hidden.", "Show another one first.")
    return _made_of(dissection, rows)


def show(dissection: Dissection, concept: str) -> Dissection:
    """Offer a concept again that was hidden. GANPaintError if there is no such concept."""
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=False)
    return _made_of(dissection, rows)


def _new_name(dissection: Dissection, name: str, free: set[str]) -> str:
    """A name that is allowed and not taken; those in ``free`` are not."""
    name = checked_name(name)
    if name in dissection.concepts and name not in free:
        raise GANPaintError(f"There is a part {name!r} already.", "Choose another name, or merge the two.")
    return name


def _rows(dissection: Dissection) -> list[_Row]:
    parts, exemplars = parts_of(dissection), dissection.exemplars
    rows = []
    for row, name in enumerate(dissection.concepts):
        if exemplars is None:
            shown = (torch.zeros(0, len(dissection.high)),) * 2
        else:
            filled = int(exemplars.counts[row])
            shown = exemplars.activations[row, :filled], exemplars.settings[row, :filled]
        rows.append(
            _Row(
                name,
                dissection.colors[name],
                parts.clusters_of(row),
                dissection.effect[row],
                shown,
                name in parts.hidden,
                row,
            )
        )
    return rows


def _made_of(dissection: Dissection, rows: list[_Row]) -> Dissection:
    """The dissection whose concepts are these. What is as it was keeps its tables, tuned ones too."""
    parts = parts_of(dissection)
    member = torch.empty(len(parts.member), dtype=torch.int64)
    for place, row in enumerate(rows):
        member[row.clusters] = place
    names = [row.name for row in rows]
    made = tabulate(
        parts.evidence.grouped(member, len(rows)),
        dissection.layer,
        names,
        {row.name: row.color for row in rows},
    )
    for table in ("iou", "iqr", "present", "level", "weight", "threshold"):
        new, old = getattr(made, table), getattr(dissection, table)
        for place, row in enumerate(rows):
            if row.source is not None:
                new[place] = old[row.source]
    most = max(len(row.exemplars[0]) for row in rows)
    pad = [tuple(F.pad(one, (0, 0, 0, most - len(one))) for one in row.exemplars) for row in rows]
    exemplars = (
        None
        if dissection.exemplars is None
        else Exemplars(
            torch.stack([one for one, _ in pad]),
            torch.stack([one for _, one in pad]),
            torch.tensor([len(row.exemplars[0]) for row in rows]),
        )
    )
    return replace(
        made,
        high=dissection.high,
        samples=dissection.samples,
        effect=torch.stack([row.effect for row in rows]),
        exemplars=exemplars,
        parts=parts.with_member(
            member.to(parts.member.device), names, [row.name for row in rows if row.hidden]
        ),
    )


def _shifted(color: str) -> str:
    """A color that can be told from another one: darker, or lighter if that is dark."""
    channels = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    dark = sum(channels) < 300
    changed = [round(one + (255 - one) * 0.4) if dark else round(one * 0.6) for one in channels]
    return "#" + "".join(f"{one:02x}" for one in changed)


# --- to look at ---


@evaluated
@torch.no_grad()
def exemplar_crops(
    generator: StagedGenerator,
    dissection: Dissection,
    *,
    crops: int = 6,
    samples: int = 32,
    seed: int = 0,
    side: int = 64,
    batch: int = 8,
    ticket: Ticket | None = None,
) -> dict[str, list[Array]]:
    """Cut out where a generator's pictures show each discovered concept most clearly.

    From each sample the largest connected region of a part is a candidate. Those with the highest mean of the
    soft mask, times the root of their area, come first.

    Args:
        generator: G.
        dissection: of one of its layers; it was discovered.
        crops: how many of each concept, at most.
        samples: generated pictures to look at.
        seed: of them.
        side: the crops are uint8 ``side`` x ``side`` x 3.
        batch: pictures at a time.
        ticket: progress and cancel.
    """
    parts = usable(parts_of(dissection), next(generator.parameters()).device)
    found: dict[str, list[tuple[float, Array]]] = {name: [] for name in dissection.concepts}
    for state in watched(sampled(generator, samples, seed, batch), ticket):
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
    """The square around a region of a picture 3 x R x R, with a margin: uint8 ``side`` x ``side`` x 3."""
    size = picture.shape[-1]
    spans = [where.any(dim=axis).nonzero() for axis in (1, 0)]
    width = max(int(span[-1] - span[0]) + 1 for span in spans)
    width = min(size, max(size // 8, round(1.3 * width)))
    top, left = (min(max(0, int(span[0] + span[-1] + 1 - width) // 2), size - width) for span in spans)
    part = picture[None, :, top : top + width, left : left + width]
    return array_of(F.interpolate(part, size=(side, side), mode="bilinear", antialias=True))
