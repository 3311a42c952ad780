"""Renaming, merging, splitting and hiding of discovered parts. Each function returns a new dissection.

Tables of units are exact, since the dissection keeps the counts of every cluster. The effects of edits are
estimates until :func:`.remeasure` has measured them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import GANPaintError
from ..models.parts import directions
from ..models.units import Dissection, Exemplars
from ..validation import checked_name
from .clusters import branches
from .discovery import parts_of
from .exemplars import COUNT, medoids
from .measure import tabulate


@dataclass(frozen=True)
class _Row:
    """One concept of a new dissection.

    Attributes:
        name, color: the concept's.
        clusters: the clusters that it consists of.
        effect: 2, the effects of adding and removing it.
        exemplars: M x C activations and M x C settings of its M exemplars.
        hidden: whether the palette leaves it out.
        source: the concept's row in the old dissection; ``None`` if it is new.
    """

    name: str
    color: str
    clusters: list[int]
    effect: Tensor
    exemplars: tuple[Tensor, Tensor]
    hidden: bool
    source: int | None = None


def rename(dissection: Dissection, concept: str, name: str) -> Dissection:
    """Give a discovered concept another name.

    Raises:
        GANPaintError: the concept does not exist, or the name is taken or not 1 to 64 visible characters.
    """
    rows = _rows(dissection)
    row = dissection.index(concept)
    rows[row] = replace(rows[row], name=_new_name(dissection, name, {concept}))
    return _made_of(dissection, rows)


def merge(dissection: Dissection, concept: str, other: str, name: str | None = None) -> Dissection:
    """Make one concept of two discovered ones.

    Its tables of units are those of the union. Until :func:`remeasure` tries it, its effect is the mean of
    the two, weighted by area. For additions this is rather too low than too high: pixels that became the
    other concept count for the union as well.

    Args:
        dissection: a discovered one.
        concept, other: the names of the two.
        name: the new name, by default that of ``concept``.

    Raises:
        GANPaintError: a concept does not exist, they are the same, or the name is wrong or taken.
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
    """Split a discovered concept in two, where its clusters are least alike.

    The larger half keeps the name, and the other gets a number. Both keep the effect of the whole until
    :func:`remeasure` tries them. Each exemplar goes to the half whose direction is closer.

    Raises:
        GANPaintError: the concept does not exist, or it is a single cluster.
    """
    parts, rows, row = parts_of(dissection), _rows(dissection), dissection.index(concept)
    whole = rows[row]
    if len(whole.clusters) < 2:
        raise GANPaintError(
            f"The part {concept!r} cannot be split any further.", "Discover again, with more parts."
        )
    halves = branches(parts.tree.cpu(), whole.clusters)
    covered = parts.evidence.cells
    large, small = sorted(halves, key=lambda half: -float(covered[half].sum()))
    activations, settings = whole.exemplars
    # Exemplars have activations of the layer's own units only, not of the finer layers.
    units = len(dissection.high)
    towards = F.normalize(
        torch.stack([parts.centroids[half, :units].mean(dim=0) for half in (large, small)]).cpu(), dim=1
    )
    alike = directions([activations], [settings]) @ towards.T
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
    """Remove a discovered concept from the palette. The segmenter still finds it in pictures.

    Raises:
        GANPaintError: the concept does not exist, or it is the last one in the palette.
    """
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=True)
    if all(one.hidden for one in rows):
        raise GANPaintError("The last part cannot be hidden.", "Show another one first.")
    return _made_of(dissection, rows)


def show(dissection: Dissection, concept: str) -> Dissection:
    """Put a hidden concept back into the palette. GANPaintError if the concept does not exist."""
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=False)
    return _made_of(dissection, rows)


def _new_name(dissection: Dissection, name: str, free: set[str]) -> str:
    """Return the name if it is valid and not taken. Names in ``free`` may be reused."""
    name = checked_name(name)
    if name in dissection.concepts and name not in free:
        raise GANPaintError(f"The part {name!r} already exists.", "Choose another name, or merge the two.")
    return name


def _rows(dissection: Dissection) -> list[_Row]:
    parts, exemplars = parts_of(dissection), dissection.exemplars
    rows = []
    for row, name in enumerate(dissection.concepts):
        nothing = torch.zeros(0, len(dissection.high))
        shown = (nothing, nothing) if exemplars is None else exemplars.objects(row)
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
    """Return a dissection with these concepts. Unchanged ones keep their tables, even if tuned."""
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
    known = dissection.exemplars is not None
    return replace(
        made,
        high=dissection.high,
        samples=dissection.samples,
        effect=torch.stack([row.effect for row in rows]),
        exemplars=Exemplars.stacked([row.exemplars for row in rows]) if known else None,
        parts=parts.with_member(
            member.to(parts.member.device), names, [row.name for row in rows if row.hidden]
        ),
        shaper=dissection.shaper,
    )


def _shifted(color: str) -> str:
    """Return a color that differs visibly from the given one: darker, or lighter if it is dark."""
    channels = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    dark = sum(channels) < 300
    changed = [round(one + (255 - one) * 0.4) if dark else round(one * 0.6) for one in channels]
    return "#" + "".join(f"{one:02x}" for one in changed)
