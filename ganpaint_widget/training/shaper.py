"""Training a shaper on objects of which the features are known, with and without them.

For each object there are the features of a picture without it and with it, its mask, and its mean activations
as an exemplar would give them. The shaper's answer is put where the mask is, as an addition is carried out,
and compared with the features of the picture that has the object. This happens twice:

* First in the features, hundreds of objects a second. A difference counts by what it changes in pictures
  (``importance.py``).
* Then in the pictures themselves: both are drawn, and their absolute differences count near the mask. This
  costs ten times as much for each object, and makes outlines sharp.

In a part of the lessons the mask is only roughly the object's: grown, rounded, or its box or ellipse. People
paint so, and the shaper learns to find the object in what they paint. Masks much larger than their objects
would teach it to draw less than what is painted.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..method.adaptation import dilate
from ..models.shaper import MARGIN, Shaper, filled
from .descent import Descent
from .importance import WEIGHED_BY, Seen, importance, important

log = logging.getLogger(__name__)

WINDOW = 12
"""Cells a side of what is learned at once. Objects that do not fit are shown whole."""

ROUGH = 0.12
"""Of the lessons: the mask is only roughly the object's."""

ALIKE = 0.2
"""Weight of the mean squared difference, each unit in terms of its spread, beside the important one."""

ON_CELLS = 0.2
"""Weight of the pixels of all painted cells, relative to those inside the mask and near it."""

NEAR = 4
"""Pixels around the mask in which differences count as much as inside."""

IMPORTANT = 0.1
"""Weight of the differences in the features while pictures are compared."""

LONGEST = 1.0
"""Longer gradients are shortened."""


class Lessons(NamedTuple):
    """N objects of C units and pictures of R x R pixels.

    Attributes:
        around: float16 N x C x H x W, features of the pictures without the objects.
        truth: of the pictures with them.
        activations: float16 N x C, means over the objects.
        masks: bool N x R x R.
    """

    around: npt.NDArray[np.float16]
    truth: npt.NDArray[np.float16]
    activations: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]


def train_shaper(
    lessons: Lessons,
    concepts: Sequence[str],
    seen: Seen,
    *,
    steps: int = 12_000,
    drawn: int = 2_500,
    batch: int = 32,
    seed: int = 0,
    width: int = 64,
    depth: int = 4,
    start: Shaper | None = None,
) -> Shaper:
    """Train a shaper on the CPU.

    Args:
        lessons: the objects.
        concepts: what they are.
        seen: what counts of a picture.
        steps: of :class:`.Descent` in the features, up to a rate of 3e-3.
        drawn: steps in the pictures after that, up to a rate of 1e-3.
        batch: objects a step: half as many of the large ones, and a third where pictures are drawn.
        seed: of weights, of the order and of rough masks.
        width, depth: of the shaper.
        start: a shaper to go on from, in place of a new one; it is not changed.
    """
    torch.manual_seed(seed)
    some = torch.from_numpy(lessons.truth[:WEIGHED_BY].astype(np.float32))
    if start is None:
        shaper = Shaper(lessons.truth.shape[1], concepts, width, depth)
        shaper.middle.copy_(some.mean(dim=(0, 2, 3)).view(-1, 1, 1))
        shaper.spread.copy_(some.std(dim=(0, 2, 3)).clamp_min(1e-4).view(-1, 1, 1))
    else:
        shaper = copy.deepcopy(start).float()
    shaper.train().requires_grad_(True)
    matters = importance(seen, some)

    def learn(batches: Iterator[_Batch], steps: int, peak: float, drawn: bool) -> None:
        descent = Descent(shaper, steps=steps, peak=peak)
        heard: list[list[float]] = []
        for step in range(steps):
            around, truth, activations, mask = next(batches)
            part = filled(mask, around.shape[-2:])
            made = (1 - part) * around + part * shaper(around, mask, activations)
            there = (part > 0).float()
            share = there / there.sum(dim=(2, 3), keepdim=True).clamp_min(1) / len(there)
            missed = made - truth
            weighed = (important(missed, matters) * share).sum()
            if drawn:
                inside = F.max_pool2d(mask, 2 * NEAR + 1, stride=1, padding=NEAR)
                near = inside + ON_CELLS * F.interpolate(there, size=mask.shape[-2:])
                apart = _apart(seen, made, truth, near)
                loss = apart + IMPORTANT * weighed
            else:
                apart = ((missed / shaper.spread).square().mean(dim=1, keepdim=True) * share).sum()
                loss = weighed + ALIKE * apart
            descent.step(loss, LONGEST)
            heard.append([weighed.item(), apart.item()])
            if step % 250 == 0 or step == steps - 1:
                log.info(
                    "shaper%s, step %d of %d: missed %.4f of what matters, %.4f in all",
                    " in pictures" if drawn else "",
                    step,
                    steps,
                    *np.mean(heard[-250:], axis=0),
                )

    if steps:
        learn(_batches(lessons, batch, seed), steps, 3e-3, drawn=False)
    if drawn:
        learn(_batches(lessons, max(1, batch // 3), seed + 1), drawn, 1e-3, drawn=True)
    return shaper.eval().requires_grad_(False)


def _apart(seen: Seen, made: Tensor, truth: Tensor, near: Tensor) -> Tensor:
    """Return the weighted mean absolute difference of pictures of two features, where ``near`` is large."""
    with torch.no_grad():
        wanted = seen(truth)
    found = []
    for (weight, one), (_, other) in zip(seen(made), wanted, strict=True):
        share = F.adaptive_avg_pool2d(near, (one.shape[-2], one.shape[-1]))
        share = share / share.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6) / len(near)
        found.append(weight * ((one - other).abs().mean(dim=1, keepdim=True) * share).sum())
    return torch.stack(found).sum()


_Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Windows of the features around and of the truth, means, and windows of the masks."""


def _batches(lessons: Lessons, count: int, seed: int) -> Iterator[_Batch]:
    """Yield random batches without end."""
    random = np.random.default_rng(seed)
    grid = lessons.truth.shape[-1]
    cell = lessons.masks.shape[-1] // grid
    spans = np.stack([_span(np.asarray(lessons.masks.any(axis=axis))) for axis in (2, 1)]) // cell
    first, last = spans[:, 0], spans[:, 1]
    window = min(WINDOW, grid)
    fits = (last - first + 1).max(axis=0) <= window - 2 * MARGIN
    middles = (first + last + 1) // 2
    groups = [(np.flatnonzero(fits), window, count), (np.flatnonzero(~fits), grid, max(1, count // 2))]
    while True:
        chosen, side, number = groups[int(random.random() < len(groups[1][0]) / len(fits))]
        places = random.choice(chosen, number)
        corners = middles[:, places] - window // 2 + random.integers(-1, 2, (2, number))
        corners = np.clip(corners, 0, grid - side)
        pairs: tuple[list[npt.NDArray[np.float16]], ...] = ([], [])
        masks = []
        for place, (top, left) in zip(places, corners.T, strict=True):
            box = np.s_[:, top : top + side, left : left + side]
            pairs[0].append(lessons.around[place][box])
            pairs[1].append(lessons.truth[place][box])
            mask = torch.from_numpy(lessons.masks[place].astype(np.float32))
            if random.random() < ROUGH:
                mask = rough(mask, random)
            masks.append(mask[cell * top : cell * (top + side), cell * left : cell * (left + side)])
        around, truth = (torch.from_numpy(np.stack(one).astype(np.float32)) for one in pairs)
        activations = torch.from_numpy(lessons.activations[places].astype(np.float32))[:, :, None, None]
        yield around, truth, activations, torch.stack(masks)[:, None]


def _span(lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return for each row of N x R the places of its first and its last true value, 2 x N."""
    return np.stack([lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)])


def rough(mask: Tensor, random: np.random.Generator) -> Tensor:
    """Return a mask (R x R, 0 or 1) as a hand might paint it: grown, rounded, a box or an ellipse."""
    size = len(mask)
    kind, radius = random.integers(4), int(random.integers(1, 2 + size // 64))
    rows, columns = torch.nonzero(mask > 0, as_tuple=True)
    middle = [(float(one.min()) + float(one.max())) / 2 for one in (rows, columns)]
    half = [(float(one.max()) - float(one.min()) + 1) / 2 for one in (rows, columns)]
    away = [(torch.arange(size) - at).abs() / span for at, span in zip(middle, half, strict=True)]
    if kind == 0:
        return ((away[0] <= 1)[:, None] & (away[1] <= 1)[None]).float()
    if kind == 1:  # a little larger, as it would cut the object otherwise
        return (away[0][:, None].square() + away[1][None].square() <= 1.05**2).float()
    if kind == 2:
        return dilate(mask, radius)
    return (F.avg_pool2d(mask[None], 2 * radius + 1, stride=1, padding=radius)[0] > 0.4).float()
