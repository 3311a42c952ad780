"""z to z_e: an edit carried out on the features of a generator's edit layer.

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
"""How far a removal holds the concept's units down in what it continues from the surroundings, which still
show a trace of what is removed."""

SIDEWAYS: Final = 3.0
"""How much more a removal is like what lies beside it than like what lies above and below: ground, horizon
and sky are layers."""


class Knowledge(Protocol):
    """What an edit has to know about a layer's units; a ``Dissection`` knows it."""

    def target(self, concept: str, by: str) -> Tensor:
        """C: the activation of each unit that stands for the concept: "tuned", "quantile" or "mean"."""

    def exemplar(self, concept: str, features: Tensor, variant: int = 0) -> Tensor:
        """C: the activations of one object of the concept that suits the features of a picture."""

    def units(self, concept: str, count: int) -> Tensor:
        """Return the ``count`` best units of a concept, best first."""

    def weights(self, concept: str, verb: str) -> Tensor:
        """C: how far each unit takes part in an edit, 0 to 1."""


Imagine = Callable[["State", str], "tuple[Tensor, Tensor]"]
"""What the generator itself would draw in place of a state, see ``Model.imagine``: features of the state's
shape, and B x 1 x H x W in [0, 1], which of them are free of a concept."""


def apply(
    state: State, edits: Iterable[Edit], dissection: Knowledge, imagine: Imagine | None = None
) -> State:
    """Carry out edits on the features of the edit layer, in their order: z to z_e.

    For every unit u and location i (Bau et al. 2019, section "Editing"; s is the strength there, too)::

        z_e[u,i] = (1 - alpha[u,i]) z[u,i] + alpha[u,i] (s p[u])

    alpha is the mask on the layer's grid, times the unit's weight for the concept, or 1 for each of the
    edit's own units. An addition or a restyle goes wholly into cells of which the mask covers two thirds, and
    less into others, or it would spill over by up to a cell. Other edits take every cell that the mask
    touches (max-pooling, as in GANPaint), or remains of the object would show.

    p depends on the verb:

    * *add*: the unit's target for the concept; *restyle*: its activation in the reference;
    * *suppress*, and *remove* with units of the edit's own: 0, as published;
    * *remove* otherwise acts on all units, since zero does not mean "nothing here". p is then the
      surroundings, :func:`continued` into the mask, with the concept's units held down. That is smooth, but a
      horizon behind a tree is not. If the generator can be asked, ``imagine`` therefore draws the result
      again. p is its answer, matched to the surroundings, as far as it is free of the concept.

    s is a factor of alpha instead of p in two cases. It fades a removal, from 0 (nothing is removed) to 1
    (all of it is; more counts as 1). And it scales an exemplar, because a generator that normalizes features
    would undo a common factor of p. Below 1, the place's own picture remains visible; above 1, the object
    differs from it even more than the exemplar does.

    Each edit starts from the features that the one before has left. Edits that are switched off are skipped.

    Args:
        state: the generator's state at the dissected layer, B x C x H x W; it is not changed.
        edits: in the order of their strokes.
        dissection: says which units draw a concept, and at which level.
        imagine: asks the generator, for removals; without it they go by the surroundings alone.
    """
    import torch
    from torch.nn import functional as F

    features = state.features
    for edit in edits:
        if not edit.enabled:
            continue
        mask = torch.from_numpy(edit.mask.astype(np.float32) / 255).to(features)
        height, width = features.shape[-2:]
        if edit.verb in ("add", "restyle"):
            reach = (1.5 * F.adaptive_avg_pool2d(mask[None, None], (height, width))).clamp_max(1)
        else:
            reach = F.adaptive_max_pool2d(mask[None, None], (height, width))
        exemplary = edit.verb == "add" and edit.target == "exemplar"
        if edit.units is None and exemplary:
            weight = features.new_ones(1, features.shape[1], 1, 1)  # all of an object, not its typical units
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
            elif exemplary:
                # By the picture as it was before all edits, which stays the same while the user paints.
                chosen = dissection.exemplar(edit.concept, state.features, edit.variant)
                target = chosen.to(features).view(1, -1, 1, 1)
            elif edit.verb == "add":
                target = dissection.target(edit.concept, edit.target).to(features).view(1, -1, 1, 1)
            alpha = weight * reach
        if exemplary:
            alpha = edit.strength * alpha
        elif edit.verb in ("add", "restyle"):
            target = edit.strength * target
        else:
            alpha = min(edit.strength, 1.0) * alpha
        features = (1 - alpha) * features + alpha * target
    return state.replace(features)


def continued(features: Tensor, hidden: Tensor) -> Tensor:
    """Continue the surroundings into hidden cells: each becomes the mean of its four neighbors.

    Those to the left and right count ``SIDEWAYS`` times in that mean; at the picture's border a cell has only
    the neighbors that there are. This is Laplace's equation with the cells around as its boundary values,
    solved for all cells at once, by elimination row by row: forwards each row hands on what it knows, and
    backwards each is filled in from the row below.

    Args:
        features: B x C x H x W.
        hidden: H x W, boolean. Where all cells are hidden there is nothing to continue: they become 0.

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
    """From the first to the last of some places, and one more on either side."""
    return slice(max(0, int(places[0]) - 1), int(places[-1]) + 2)


def _elimination(hidden: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return the factors of each row of a box in :func:`continued`: rows x columns x columns.

    That depends on the mask alone, so it is computed on the CPU in double precision: other devices may have
    neither that nor matrix inversion.

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
        # A visible cell is what it is; a hidden one times its neighbors' weights is their sum.
        block = -here[:, None] * beside
        block.diagonal().copy_(torch.where(here > 0, count, 1.0))
        if row:
            block -= here[:, None] * found[-1] * inside[row - 1]
        found.append(torch.linalg.inv(block))
    return torch.stack(found)


def mean_activations(state: State, region: Tensor) -> Tensor:
    """Return p of a reference: each unit's mean activation over a region.

    After Bau et al. 2019, section "Editing"::

        p[u] = sum_i m[i] z[u,i] / sum_i m[i]

    m[i] is the share of cell i that the region covers, so that this is the mean over the region's pixels of
    the features brought to the picture's size without interpolation.

    Args:
        state: the reference's state at the edit layer, one picture.
        region: R x R, 0 to 1, with at least one pixel above 0.

    Returns:
        C activations.
    """
    from torch.nn import functional as F

    features = state.features[0]
    height, width = features.shape[-2:]
    share = F.adaptive_avg_pool2d(region.to(features)[None, None], (height, width))[0, 0]
    return (features * share).sum(dim=(1, 2)) / share.sum()
