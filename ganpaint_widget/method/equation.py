"""The edit equation, from z to z_e: edits are carried out on the features of a generator's edit layer.

The equation is that of Bau, Strobelt, Peebles, Wulff, Zhou, Zhu and Torralba, "Semantic Photo Manipulation
with a Generative Image Prior" (SIGGRAPH 2019), with the units and levels of "GAN Dissection" (ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ..models.catalogue import UNITS
from .edits import Edit

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.generator import State

HELD_DOWN: Final = 0.5
"""How far a removal lowers the concept's units in the continued surroundings, which still show a trace of the
removed object."""

SIDEWAYS: Final = 3.0
"""The weight of neighbors to the left and right in a removal, relative to those above and below. Ground,
horizon and sky are layers."""


class Knowledge(Protocol):
    """What an edit must know about a layer's units. A ``Dissection`` provides it."""

    def target(self, concept: str, by: str) -> Tensor:
        """Return each unit's target activation for the concept, C: "tuned", "quantile" or "mean"."""

    def exemplar(self, concept: str, features: Tensor, variant: int = 0) -> Tensor:
        """Return the activations of one object of the concept that suits a picture's features: C."""

    def shaped(self, concept: str, features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
        """Return an object's activations (1 x C x 1 x 1) for each cell of a mask, if it knows how."""

    def units(self, concept: str, count: int) -> Tensor:
        """Return the ``count`` best units of a concept, best first."""

    def weights(self, concept: str, verb: str) -> Tensor:
        """Return how far each unit takes part in an edit, 0 to 1: C."""


Shaped = Callable[[str, "Tensor", "Tensor", "Tensor"], "Tensor"]
"""Stands for :meth:`Knowledge.shaped`."""

Imagine = Callable[["State", str], "tuple[Tensor, Tensor]"]
"""Returns what the generator itself would draw in place of a state: features of the state's shape, and which
of their cells are free of a concept, B x 1 x H x W in [0, 1]. See ``Model.imagine``."""


def apply(
    state: State,
    edits: Iterable[Edit],
    dissection: Knowledge,
    imagine: Imagine | None = None,
    shaped: Shaped | None = None,
) -> State:
    """Carry out edits on the features of the edit layer, in their order: z to z_e.

    For every unit u and location i (Bau et al. 2019, section "Editing", with the same strength s)::

        z_e[u,i] = (1 - alpha[u,i]) z[u,i] + alpha[u,i] (s p[u])

    alpha is the mask on the layer's grid, times the unit's weight for the concept, or 1 for each of the
    edit's own units. An addition or a restyle fills cells of which the mask covers two thirds or more, and
    others in proportion. Otherwise it would spill over by up to a cell. Other edits take every cell that the
    mask touches (max-pooling, as in GANPaint). Otherwise remains of the object would show.

    p depends on the verb:

    * *add*: the unit's target for the concept; *restyle*: its activation in the reference;
    * *add* with an exemplar: the activation that the object's outline and light ask for in each cell of the
      mask (``models/shaper.py``), or the same in all cells if no shaper was trained;
    * *suppress*, and *remove* with units of the edit's own: 0, as published;
    * *remove* otherwise acts on all units, since zero does not mean "nothing here". p is then the
      surroundings, :func:`continued` into the mask, with the concept's units lowered. That is smooth, but a
      horizon behind a tree is not. With ``imagine``, the generator therefore draws the result again. p is its
      answer, matched to the surroundings, as far as that is free of the concept.

    s is a factor of alpha instead of p in two cases. First, it fades a removal, from 0 (nothing is removed)
    to 1 (everything is, and more counts as 1). Second, it scales an exemplar, because a generator that
    normalizes features would undo a common factor of p. Below 1, the place's own picture remains visible;
    above 1, the object differs from it even more than the exemplar does.

    Each edit starts from the features that the last one has left. Disabled edits are skipped.

    Args:
        state: the generator's state at the dissected layer, B x C x H x W; it is not changed.
        edits: in the order of their strokes.
        dissection: knows the units of each concept and their activations.
        imagine: asks the generator, for removals. Without it, they use the surroundings alone.
        shaped: gives objects the outline of their mask, by default as the dissection does.
    """
    import torch
    from torch.nn import functional as F

    from ..models.shaper import filled

    features = state.features
    for edit in edits:
        if not edit.enabled:
            continue
        mask = torch.from_numpy(edit.mask.astype(np.float32) / 255).to(features)[None, None]
        grid = features.shape[-2:]
        if edit.verb in ("add", "restyle"):
            reach = filled(mask, grid)
        else:
            reach = F.adaptive_max_pool2d(mask, grid)
        if edit.units is None and edit.by_exemplar:
            weight = features.new_ones(1, features.shape[1], 1, 1)  # an exemplar sets all units
        elif edit.units is None:
            weight = dissection.weights(edit.concept, edit.verb).to(features).view(1, -1, 1, 1)
        else:
            numbers = (
                dissection.units(edit.concept, UNITS[edit.units]).tolist()
                if isinstance(edit.units, str)
                else list(edit.units)
            )
            weight = features.new_zeros(1, features.shape[1], 1, 1)
            weight[:, numbers] = 1
        if edit.verb == "remove" and edit.units is None:
            hidden = reach[0, 0] > 0
            target = (1 - HELD_DOWN * weight) * continued(features, hidden)
            alpha = reach
            if imagine is not None and bool(hidden.any()):
                emptied = state.replace((1 - alpha) * features + alpha * target)
                imagined, free = imagine(emptied, edit.concept)
                target = target + free * (imagined + continued(features - imagined, hidden) - target)
        else:
            target = torch.zeros_like(weight)
            if edit.activations is not None:
                target = torch.tensor(edit.activations).to(features).view(1, -1, 1, 1)
            elif edit.by_exemplar:
                # Chosen by the picture before all edits, which stays the same while the user paints.
                chosen = dissection.exemplar(edit.concept, state.features, edit.variant)
                target = chosen.to(features).view(1, -1, 1, 1)
            elif edit.verb == "add":
                target = dissection.target(edit.concept, edit.target).to(features).view(1, -1, 1, 1)
            if edit.by_exemplar:
                target = (shaped or dissection.shaped)(edit.concept, features, mask, target)
            alpha = weight * reach
        if edit.by_exemplar:
            alpha = edit.strength * alpha
        elif edit.verb in ("add", "restyle"):
            target = edit.strength * target
        else:
            alpha = min(edit.strength, 1.0) * alpha
        features = (1 - alpha) * features + alpha * target
    return state.replace(features)


def continued(features: Tensor, hidden: Tensor) -> Tensor:
    """Continue the surroundings into hidden cells: each becomes the mean of its four neighbors.

    Neighbors to the left and right count ``SIDEWAYS`` times in that mean. At the picture's border, a cell has
    fewer neighbors. This is Laplace's equation, with the visible cells as boundary values. It is solved for
    all cells at once by block elimination: a forward pass carries known values down row by row, and a
    backward pass fills each row from the one below.

    Args:
        features: B x C x H x W.
        hidden: H x W, boolean. If all cells are hidden, they become 0.

    Returns:
        ``features`` with other values in the hidden cells.
    """
    import torch

    here = hidden.cpu()
    if bool(here.all()):
        return torch.zeros_like(features)
    if not bool(here.any()):
        return features.clone()
    rows, columns = (_around(here.any(dim=axis).nonzero()) for axis in (1, 0))
    part, inside = features[..., rows, columns], here[rows, columns].to(features)
    back = _elimination(here, rows, columns).transpose(1, 2).to(features)
    known = part * (1 - inside)
    handed = [known[..., 0, :]]
    for row in range(1, len(back)):
        handed.append(known[..., row, :] + inside[row] * (handed[-1] @ back[row - 1]))
    filled = [handed[-1] @ back[-1]]
    for row in reversed(range(len(back) - 1)):
        filled.append((handed[row] + inside[row] * filled[-1]) @ back[row])
    result = features.clone()
    result[..., rows, columns] = torch.where(inside > 0, torch.stack(filled[::-1], dim=-2), part)
    return result


def _around(places: Tensor) -> slice:
    """Return the range from the first to the last of some places, and one more on each side."""
    return slice(max(0, int(places[0]) - 1), int(places[-1]) + 2)


def _elimination(hidden: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the factors of each row of a box in :func:`continued`: rows x columns x columns.

    They depend on the mask alone, and are computed on the CPU in double precision. Other devices may lack
    double precision or matrix inversion.

    Args:
        hidden: H x W, on the CPU.
        rows, columns: a box around all hidden cells.
    """
    import torch

    neighbors = hidden.new_zeros(hidden.shape, dtype=torch.float64)
    for part, other, weight in (
        (neighbors[:, 1:], neighbors[:, :-1], SIDEWAYS),
        (neighbors[1:], neighbors[:-1], 1.0),
    ):
        part += weight
        other += weight
    inside = hidden[rows, columns].double()
    width = inside.shape[1]
    beside = SIDEWAYS * torch.ones(width, width, dtype=torch.float64).tril(1).triu(-1)
    found: list[Tensor] = []
    for row, (here, count) in enumerate(zip(inside, neighbors[rows, columns], strict=True)):
        # A visible cell keeps its value. For a hidden one, value times count is the neighbors' weighted sum.
        block = -here[:, None] * beside
        block.diagonal().copy_(torch.where(here > 0, count, 1.0))
        if row:
            block -= here[:, None] * found[-1] * inside[row - 1]
        found.append(torch.linalg.inv(block))
    return torch.stack(found)


def mean_activations(state: State, region: Tensor, power: int = 1) -> Tensor:
    """Return p of a reference: each unit's mean activation over a region.

    After Bau et al. 2019, section "Editing"::

        p[u] = sum_i m[i] z[u,i] / sum_i m[i]

    m[i] is the share of cell i that the region covers. This equals the mean over the region's pixels, with
    the features enlarged to the picture's size without interpolation.

    Args:
        state: the reference's state at the edit layer, one picture.
        region: R x R, 0 to 1, with at least one pixel above 0.
        power: m is raised to it. Above 1, cells at the border of the region count less: what lies beside an
            inexact region has a part in these.

    Returns:
        C activations.
    """
    from torch.nn import functional as F

    features = state.features[0]
    height, width = features.shape[-2:]
    share = F.adaptive_avg_pool2d(region.to(features)[None, None], (height, width))[0, 0] ** power
    return (features * share).sum(dim=(1, 2)) / share.sum()
