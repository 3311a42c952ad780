"""Which of a concept's exemplars an addition takes, once its mask is known.

The exemplar whose picture is most like the photo has the right light, but its object may not fit the mask: a
round tree leaves the tip of a fir's outline empty. So the segmenter looks at what is drawn. If the concept
fills the mask badly, the exemplars that come next are drawn as well, until one fills it clearly better.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ..method.edits import Edit
from ..models.checking import segmented
from ..models.generator import State
from ..models.model import Model
from ..models.networks import evaluated

FITTING: Final = 0.75
"""The IoU of the mask and of what the segmenter sees appear, from which no other exemplar is tried. On 40
held-out additions of each concept of the demo, four fifths of the trees and nearly all other objects reach it
at once."""

BETTER: Final = 0.1
"""How much larger the IoU of another exemplar must be. No exemplar fills a rough stroke exactly, and a dome
must not change its color for a slightly fuller outline. With this much, a third of the trees in rough strokes
take another exemplar, and none of the other objects."""

TRIED: Final = 8
"""The exemplars that are tried, at most. Their pictures are less and less like the photo."""


@evaluated
@torch.no_grad()
def best_fitting(
    model: Model,
    original: State,
    before: Sequence[Edit],
    edit: Edit,
    carried_out: Callable[[Sequence[Edit]], State],
    patience: float = math.inf,
) -> Edit:
    """Return an addition with an exemplar that fills its mask, as far as the segmenter can tell.

    Args:
        model: G, its dissection and its segmenter.
        original: the picture at the edit layer, before all edits.
        before: the edits that the addition follows, in the order of their strokes.
        edit: the addition.
        carried_out: carries out edits on the picture; see :func:`.equation.apply`.
        patience: seconds. If drawing a picture and looking at it takes longer, no other exemplar is tried.

    Returns:
        The addition with its ``variant`` and ``activations``. It is the same object if no other exemplar is
        to be taken, or none can be tried: the edit is not an addition by exemplar, no segmenter knows the
        concept, or less than one cell of the layer is painted. The strength has no part in it.
    """
    dissection, segmenter = model.dissection, model.segmenter
    exchangeable = edit.by_exemplar and edit.units is None and edit.enabled
    if not exchangeable or dissection is None or dissection.exemplars is None:
        return edit
    painted = edit.mask >= 128
    cell = painted.size / original.features[0, 0].numel()
    if segmenter is None or edit.concept not in segmenter.classes or painted.sum() < cell:
        return edit
    number, inside = segmenter.classes.index(edit.concept), torch.from_numpy(painted)

    def seen(*last: Edit) -> Tensor:
        state = carried_out([*before, *last])
        picture = model.generator.picture(model.generator.run(state)).float().clamp(-1, 1)
        return segmented(segmenter, picture)[0].cpu() == number

    began = time.monotonic()
    without = seen()
    if time.monotonic() - began > patience:
        return edit
    choices = int(dissection.exemplars.counts[dissection.index(edit.concept)])
    best, most, least = edit, 0.0, 0.0
    for variant in range(min(TRIED, choices)):
        activations = dissection.exemplar(edit.concept, original.features, variant).cpu().numpy()
        tried = replace(edit, variant=variant, activations=np.asarray(activations, np.float32))
        there = seen(replace(tried, strength=1.0))
        # What lies in the mask and was there before counts, since the object may well cover it.
        fit = float((there & inside).sum() / (inside | (there & ~without)).sum())
        if not variant:
            most, least = fit, fit + BETTER
        elif fit >= max(most, least):
            best, most = tried, fit
        if most >= FITTING:
            break
    return best
