"""G(z_e) while the user paints: only what an edit can change is computed again.

Edits act on the output of the edit layer, so everything up to there is the same for all edits of a
picture and is computed once. A preview is then the edit equation and the layers that follow.

Of those layers, too, a piece of a stroke changes little: a convolution looks no further than its
``reach``. So the features of the last preview are kept, and of each layer only the *window* is computed
again that the changed cells can reach. The result is that of the whole layer, up to the rounding of sums.

Only a removal asks for more while its mask changes: for what the generator itself would draw there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..cpus import follow_load, threads
from ..models.generator import State
from .edits import Edit
from .equation import apply

if TYPE_CHECKING:
    from ..models.generator import Modifier
    from ..models.model import Model


LITTLE = 100_000_000
"""A window's layer with fewer products than this (2 ms of one core) is computed by one thread: others would
wait for each other, on the browser's cores."""


class Preview:
    """The fast path of G(z_e) for one picture.

    Args:
        model: its generator draws, its dissection says which units an edit acts on. A model without
            a dissection can draw G(z) only.
        state: the picture's state at the edit layer, from inversion or sampling.
    """

    def __init__(self, model: Model, state: State) -> None:
        if state.stage != model.generator.edit_layer:
            raise ValueError(
                f"The state comes from stage {state.stage!r}, but edits are made at "
                f"{model.generator.edit_layer!r}. Run the generator up to there first."
            )
        self.model = model = model.to()
        generator = model.generator
        self.state = state.to(next(generator.parameters()))
        self._stages = generator.stages[generator.stage_index(generator.edit_layer) + 1 :]
        # The features of the edit layer and of the stages after it, then the picture, as last rendered.
        self._grids: list[Tensor] = []
        # What the generator imagined for the removals of the last preview: concept, features, answer.
        self._imagined: list[tuple[str, Tensor, tuple[Tensor, Tensor]]] = []

    def edited(self, edits: Sequence[Edit]) -> State:
        """Return the state at the edit layer with the edits carried out."""
        model = self.model
        if model.dissection is None:
            return self.state
        known, self._imagined = self._imagined, []

        def imagine(state: State, concept: str) -> tuple[Tensor, Tensor]:
            """Asked once, not at every piece of a later stroke."""
            for entry in known:
                if entry[0] == concept and torch.equal(entry[1], state.features):
                    break
            else:
                entry = (concept, state.features, model.imagine(state, concept))
            self._imagined.append(entry)
            return entry[2]

        return apply(self.state, edits, model.dissection, imagine if model.encoder is not None else None)

    def render(self, edits: Sequence[Edit], modify: Mapping[str, Modifier] | None = None) -> Tensor:
        """G(z_e): 1 x 3 x R x R, nominally in [-1, 1], not clamped. On the thread that owns the model.

        Args:
            modify: as in :meth:`StagedGenerator.run`; with :func:`.adaptation.gates` the picture is the
                faithful preview G'(z_e), whose layers are run whole.
        """
        generator = self.model.generator
        with torch.inference_mode():
            with threads(
                1
            ):  # a mask is little work: threads would wait for each other, on the browser's cores
                edited = self.edited(edits)
            if generator.reach is None or modify:
                follow_load()
                return generator.picture(generator.run(edited, modify=modify))
            # Absent while they are renewed: an interruption must not leave half-renewed ones.
            grids, self._grids = self._grids, []
            if grids:
                self._renew(grids, edited.features, generator.reach)
                picture = grids[-1].clone()
            else:
                states = [edited]
                for name in self._stages:
                    states.append(generator.run(states[-1], until=name))
                grids = [*(state.features for state in states), generator.picture(states[-1])]
                picture = grids[-1].clone()
            self._grids = grids
            return picture

    def _renew(self, grids: list[Tensor], edited: Tensor, reach: int) -> None:
        """Bring the grids, from the edit layer's to the picture, to what follows from ``edited``."""
        generator = self.model.generator
        changed = (edited != grids[0]).any(dim=1)[0]
        if not changed.any():
            return
        grids[0] = edited
        rows, columns = (_window(changed.any(dim=axis)) for axis in (1, 0))
        names = [generator.edit_layer, *self._stages]
        for index, name in enumerate(names):
            before, after = grids[index], grids[index + 1]
            height, width = before.shape[-2:]
            # What can change, and what has to be seen for it. At the picture's border the grid ends, as it
            # does for the whole; anywhere else what lies too near to a cut is not taken.
            rows, seen_rows = rows.grown(reach, height), rows.grown(2 * reach, height)
            columns, seen_columns = columns.grown(reach, width), columns.grown(2 * reach, width)
            part = State(before[..., seen_rows.slice(), seen_columns.slice()], name)
            last = index == len(names) - 1
            products = 9 * part.features.numel() * after.shape[1]
            with threads(1 if products < LITTLE else torch.get_num_threads()):
                made = (
                    generator.picture(part) if last else generator.run(part, until=names[index + 1]).features
                )
            scale = after.shape[-1] // width
            inside = rows.slice(scale, seen_rows.start), columns.slice(scale, seen_columns.start)
            after[(..., rows.slice(scale), columns.slice(scale))] = made[(..., *inside)]
            rows, columns = rows.scaled(scale), columns.scaled(scale)


@dataclass(frozen=True)
class _Window:
    """Cells ``start`` to ``stop`` along one side of a grid."""

    start: int
    stop: int

    def grown(self, by: int, size: int) -> _Window:
        return _Window(max(0, self.start - by), min(size, self.stop + by))

    def scaled(self, scale: int) -> _Window:
        return _Window(self.start * scale, self.stop * scale)

    def slice(self, scale: int = 1, origin: int = 0) -> slice:
        """On a grid ``scale`` times as fine, counted from the cell ``origin``."""
        return slice((self.start - origin) * scale, (self.stop - origin) * scale)


def _window(changed: Tensor) -> _Window:
    """Around all cells that have changed; in steps of two, since each new size costs preparations."""
    where = changed.nonzero()
    start, stop = int(where[0]), int(where[-1]) + 1
    return _Window(start - start % 2, min(stop + stop % 2, len(changed)))
