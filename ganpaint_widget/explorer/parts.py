"""Discovered concepts in the explorer: finding, showing and rearranging them.

units = Exploration(generator)               # a generator without concepts
find(units, 12)
shown(units)[2].crops                        # pictures of the third part
rearrange(units, lambda found: merge(found, "part 3", "part 7", "tree"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..dissection import discover, exemplar_crops, remeasure
from ..errors import GANPaintError
from ..images.arrays import Array
from ..models.units import Dissection
from ..tickets import Ticket

if TYPE_CHECKING:
    from .exploration import Exploration


@dataclass(frozen=True, eq=False)
class Part:
    """A discovered concept, as the explorer shows it.

    Attributes:
        name, color, hidden: its present name and color, and whether the palette leaves it out.
        quality: 0 to 1, the mean of the effects of adding and removing it.
        clusters: the number of its clusters.
        crops: uint8 S x S x 3, cut out where pictures show it most clearly, the clearest first.
    """

    name: str
    color: str
    hidden: bool
    quality: float
    clusters: int
    crops: tuple[Array, ...]


def find(exploration: Exploration, parts: int = 12, *, ticket: Ticket | None = None) -> None:
    """Discover the concepts of a layer that has none; see :func:`.discover`.

    Raises:
        GANPaintError: the layer already has concepts, or the new ones cannot be kept.
    """
    if exploration.dissection is not None:
        raise GANPaintError(
            f"The layer {exploration.layer!r} already has concepts.", "Rename, merge or split them."
        )
    exploration.take(discover(exploration.model, parts, layer=exploration.layer, ticket=ticket))


def rearrange(
    exploration: Exploration, change: Callable[[Dissection], Dissection], *, ticket: Ticket | None = None
) -> None:
    """Change the parts, measure the effects of edits with the new ones, and keep the result.

    Args:
        exploration: an exploration with discovered concepts.
        change: calls :func:`.rename`, :func:`.merge`, :func:`.split`, :func:`.hide` or :func:`.show`, with
            its arguments.
        ticket: progress and cancel. A cancelled call changes nothing.

    Raises:
        GANPaintError: the change is not possible, or cannot be kept; nothing has changed then.
    """
    before = exploration.dissection
    if before is None or before.parts is None:
        raise GANPaintError(
            "This layer does not have discovered parts that could be changed.", "Find some first."
        )
    after = change(before)
    assert after.parts is not None
    known = {tuple(before.parts.clusters_of(row)) for row in range(len(before.concepts))}
    new = [
        name for row, name in enumerate(after.concepts) if tuple(after.parts.clusters_of(row)) not in known
    ]
    if new:
        after = remeasure(exploration.model, after, *new, ticket=ticket)
    exploration.take(after)


def shown(exploration: Exploration, *, crops: int = 6, ticket: Ticket | None = None) -> list[Part]:
    """Return the discovered concepts with pictures of them, in their order.

    The list is empty if a segmenter named the concepts.

    Args:
        exploration: the layer's exploration.
        crops: how many pictures of each part, at most.
        ticket: progress and cancel.
    """
    found = exploration.dissection
    if found is None or found.parts is None:
        return []
    cut = exemplar_crops(exploration.model, found, crops=crops, ticket=ticket)
    return [
        Part(
            name,
            found.colors[name],
            name in found.parts.hidden,
            found.quality(name),
            len(found.parts.clusters_of(row)),
            tuple(cut[name]),
        )
        for row, name in enumerate(found.concepts)
    ]
