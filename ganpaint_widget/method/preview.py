"""G(z_e) while the user paints: only the part that an edit can change is computed again.

Edits act on the output of the edit layer. Everything up to there is the same for all edits of a picture, and
is computed once. A preview then takes the edit equation and the layers that follow.

A piece of a stroke changes little in those layers, since a convolution looks no further than its ``reach``.
So the features of the last preview are kept. In each layer, only the *window* that the changed cells can
reach is computed again. The result is that of the whole layer, up to the rounding of sums.

A trial with one cell finds how far a change spreads in a layer's output. It may be less than the layer's
reach. A layer that doubles its input spreads a change by one pixel of the doubled grid on each side. That is
half a cell of its input. Over the octaves it adds up: at 256 px, a small stroke's window has 156 pixels a
side, not 248.

A removal needs more while its mask changes: the picture that the generator itself would draw there.

An object that is added has another shape after each piece of its stroke, and then all of its cells change.
While the hand moves, it is shaped four times a second. In between, new cells get the exemplar's mean, and the
others stay. Whether a preview was drawn so is known (:attr:`Preview.exact`), so that it can be drawn once
more when the hand rests.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..cpus import follow_load, threads
from ..models.generator import State
from .edits import Edit
from .equation import apply

if TYPE_CHECKING:
    from ..models.generator import Modifier, StagedGenerator
    from ..models.model import Model


SHAPED_EVERY = 0.25
"""Seconds from one shaping of an object to the next, while its stroke goes on."""

LITTLE = 100_000_000
"""A window's layer with fewer products than this (2 ms of one core) runs on one thread. More threads would
wait for each other, on cores that the browser needs."""


@dataclass(frozen=True)
class _Shape:
    """An added object as it was last shaped.

    Attributes:
        concept, features, mask, activations: what :meth:`.Dissection.shaped` was given.
        shaped: what came of it, 1 x C x H x W.
        exact: whether it came of just this mask and these features.
        at: when it was last shaped, in seconds.
    """

    concept: str
    features: Tensor
    mask: Tensor
    activations: Tensor
    shaped: Tensor
    exact: bool
    at: float


class Preview:
    """The fast path of G(z_e) for one picture.

    Args:
        model: a model with the generator and the dissection of its units. A model without a dissection can
            only draw G(z).
        state: the picture's state at the edit layer, from inversion or sampling.

    Attributes:
        exact: whether the last edits were carried out exactly, see ``moving`` of :meth:`edited`.
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
        self._spreads: list[_Spread] = []  # from each of these grids to the next
        # The imagined pictures for the removals of the last preview: concept, features, answer.
        self._imagined: list[tuple[str, Tensor, tuple[Tensor, Tensor]]] = []
        self._shapes: list[_Shape] = []  # of the additions of the last preview
        self.exact = True

    def edited(self, edits: Sequence[Edit], *, moving: bool = False) -> State:
        """Return the state at the edit layer with the edits carried out.

        Args:
            edits: in the order of their strokes.
            moving: a stroke goes on. Objects may then have the shapes of a moment ago.
        """
        self.exact = True
        model = self.model
        if model.dissection is None:
            return self.state
        known, self._imagined = self._imagined, []

        def imagine(state: State, concept: str) -> tuple[Tensor, Tensor]:
            """Ask the model once, not at every piece of a later stroke."""
            for entry in known:
                if entry[0] == concept and torch.equal(entry[1], state.features):
                    break
            else:
                entry = (concept, state.features, model.imagine(state, concept))
            self._imagined.append(entry)
            return entry[2]

        shapes, self._shapes = self._shapes, []

        def shaped(concept: str, features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
            """Shape an object once, not at every piece of other strokes."""
            assert model.dissection is not None and model.dissection.shaper is not None
            if not model.dissection.shaper.knows(concept):
                return activations
            now, place = time.monotonic(), len(self._shapes)
            last = shapes[place] if place < len(shapes) else None
            if last is not None and (
                last.concept != concept or not torch.equal(last.activations, activations)
            ):
                last = None
            same = last is not None and torch.equal(last.mask, mask) and torch.equal(last.features, features)
            if last is not None and same and (last.exact or moving):
                made = last
            elif last is not None and moving and now < last.at + SHAPED_EVERY:
                fresh = F.adaptive_max_pool2d(last.mask, features.shape[-2:]) == 0
                put = torch.where(fresh, activations, last.shaped)
                made = _Shape(concept, features, mask, activations, put, False, last.at)
            else:
                put = model.dissection.shaped(concept, features, mask, activations)
                made = _Shape(concept, features, mask, activations, put, True, now)
            self._shapes.append(made)
            self.exact = self.exact and made.exact
            return made.shaped

        return apply(
            self.state,
            edits,
            model.dissection,
            imagine if model.encoder is not None else None,
            shaped if model.dissection.shaper is not None else None,
        )

    def render(
        self,
        edits: Sequence[Edit],
        modify: Mapping[str, Modifier] | None = None,
        *,
        moving: bool = False,
    ) -> Tensor:
        """Draw G(z_e), on the thread that owns the model: 1 x 3 x R x R, about [-1, 1], not clamped.

        Args:
            edits, moving: as for :meth:`edited`.
            modify: as in :meth:`StagedGenerator.run`. With :func:`.adaptation.gates`, the picture is the
                faithful preview G'(z_e), whose layers run whole.
        """
        generator = self.model.generator
        with torch.inference_mode():
            # A mask is little work. More threads would wait for each other, on cores that the browser needs.
            with threads(1):
                edited = self.edited(edits, moving=moving)
            if generator.reach is None or modify:
                follow_load()
                return generator.picture(generator.run(edited, modify=modify))
            # Taken away while they are renewed, so that an interruption leaves no half-renewed grids.
            grids, self._grids = self._grids, []
            if grids:
                self._renew(grids, edited.features)
                picture = grids[-1].clone()
            else:
                states = [edited]
                for name in self._stages:
                    states.append(generator.run(states[-1], until=name))
                # Copies, since windows are written into them, and a stage may return its input or a view.
                drawn = [*(state.features for state in states[1:]), generator.picture(states[-1])]
                grids = [edited.features, *(grid.clone() for grid in drawn)]
                if generator not in _spreads:
                    _spreads[generator] = [
                        _spread(partial(self._step, index), grid, generator.reach)
                        for index, grid in enumerate(grids[:-1])
                    ]
                self._spreads = _spreads[generator]
                picture = grids[-1].clone()
            self._grids = grids
            return picture

    def _renew(self, grids: list[Tensor], edited: Tensor) -> None:
        """Update the grids, from the edit layer to the picture, for the features ``edited``."""
        changed = (edited != grids[0]).any(dim=1)[0]
        if not changed.any():
            return
        grids[0] = edited
        rows, columns = (_window(changed.any(dim=axis)) for axis in (1, 0))
        for index, spread in enumerate(self._spreads):
            before, after = grids[index], grids[index + 1]
            height, width = before.shape[-2:]
            # The cells that can change, and the cells that they depend on. Results too close to a cut are
            # dropped, except at the picture's border, where the whole grid ends as well.
            rows, columns = rows.spread(spread, height), columns.spread(spread, width)
            seen_rows, seen_columns = rows.seen(spread, height), columns.seen(spread, width)
            part = before[..., seen_rows.slice(), seen_columns.slice()]
            products = 9 * part.numel() * after.shape[1]
            with threads(1 if products < LITTLE else torch.get_num_threads()):
                made = self._step(index, part)
            scale = spread.scale
            inside = rows.slice(seen_rows.start * scale), columns.slice(seen_columns.start * scale)
            after[(..., rows.slice(), columns.slice())] = made[(..., *inside)]

    def _step(self, index: int, features: Tensor) -> Tensor:
        """Run the stage after the ``index``-th one, counted from the edit layer, or draw the picture."""
        generator = self.model.generator
        state = State(features, (generator.edit_layer, *self._stages)[index])
        if index == len(self._stages):
            return generator.picture(state)
        return generator.run(state, until=self._stages[index]).features


@dataclass(frozen=True)
class _Spread:
    """How a stage spreads the change of one cell.

    The output has ``scale`` cells a side for each cell of the input. The changed cell's own output cells
    change, as well as so many ``before`` and ``after`` them.
    """

    scale: int
    before: int
    after: int


def _spread(step: Callable[[Tensor], Tensor], features: Tensor, reach: int) -> _Spread:
    """Measure how far a stage spreads a cell's change, with a piece of its input features.

    One cell is set to NaN. Every value that depends on it becomes NaN, whatever the weights are.
    """
    piece = features[..., : 2 * reach + 1, : 2 * reach + 1].clone()
    cell = piece.shape[-1] // 2
    piece[..., cell, cell] = torch.nan
    made = step(piece)
    scale = made.shape[-1] // piece.shape[-1]
    where = made.isnan().any(dim=1)[0].nonzero()
    if not len(where):  # a stage that hides NaN has its declared reach
        return _Spread(scale, scale * reach, scale * reach)
    return _Spread(
        scale,
        before=scale * cell - int(where.min()),
        after=int(where.max()) + 1 - scale * (cell + 1),
    )


_spreads: weakref.WeakKeyDictionary[StagedGenerator, list[_Spread]] = weakref.WeakKeyDictionary()
"""From each grid of a generator to the next. They follow from its layers, so all pictures share them."""


@dataclass(frozen=True)
class _Window:
    """Cells ``start`` to ``stop`` along one side of a grid."""

    start: int
    stop: int

    def spread(self, by: _Spread, size: int) -> _Window:
        """Return the cells that change in a stage's output, for an input of ``size`` cells on this side."""
        start, stop = self.start * by.scale - by.before, self.stop * by.scale + by.after
        return _Window(max(0, start), min(size * by.scale, stop))

    def seen(self, by: _Spread, size: int) -> _Window:
        """Return the input cells, of ``size`` on this side, that these output cells depend on."""
        start, stop = (self.start - by.after) // by.scale, -(-(self.stop + by.before) // by.scale)
        return _Window(max(0, start), min(size, stop))

    def slice(self, origin: int = 0) -> slice:
        """Count from the cell ``origin``."""
        return slice(self.start - origin, self.stop - origin)


def _window(changed: Tensor) -> _Window:
    """Return a window around all changed cells, in steps of two because each new size costs setup time."""
    where = changed.nonzero()
    start, stop = int(where[0]), int(where[-1]) + 1
    return _Window(start - start % 2, min(stop + stop % 2, len(changed)))
