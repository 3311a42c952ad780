"""What people do with discovered parts: plain functions from a dissection to another one.

Tables of units are exact, since the counts are kept for every cluster; what edits cause is an estimate until
:func:`.remeasure` has tried.
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


def rename(dissection: Dissection, concept: str, name: str) -> Dissection:
    """Give a discovered concept another name.

    Raises:
        GANPaintError: the concept does not exist, or the name is not 1 to 64 visible characters or is taken.
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
    """Make two concepts of a discovered one, where its clusters are least alike.

    The larger half keeps the name, the other gets a number. Both keep the effect of the whole until
    :func:`remeasure` tries them; each exemplar goes to the half that it points to.

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
    # Of exemplars only the layer's own units are known.
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
    """Offer a discovered concept for painting no more. It is still seen in pictures.

    Raises:
        GANPaintError: the concept does not exist, or it is the last one that is offered.
    """
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=True)
    if all(one.hidden for one in rows):
        raise GANPaintError("The last part cannot be hidden.", "Show another one first.")
    return _made_of(dissection, rows)


def show(dissection: Dissection, concept: str) -> Dissection:
    """Offer a concept again that was hidden. GANPaintError if the concept does not exist."""
    rows, row = _rows(dissection), dissection.index(concept)
    rows[row] = replace(rows[row], hidden=False)
    return _made_of(dissection, rows)


def _new_name(dissection: Dissection, name: str, free: set[str]) -> str:
    """Return A name that is allowed and not taken; those in ``free`` are not."""
    name = checked_name(name)
    if name in dissection.concepts and name not in free:
        raise GANPaintError(f"There is a part {name!r} already.", "Choose another name, or merge the two.")
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
    """Return the dissection whose concepts are these. Unchanged ones keep their tables, tuned ones too."""
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
    )


def _shifted(color: str) -> str:
    """Return A color that can be told from another one: darker, or lighter if that is dark."""
    channels = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    dark = sum(channels) < 300
    changed = [round(one + (255 - one) * 0.4) if dark else round(one * 0.6) for one in channels]
    return "#" + "".join(f"{one:02x}" for one in changed)
