"""Can a simple classifier tell made objects from true ones?

A *crop* is a picture and the mask of one object in it. It is described by what the judge's activations, its
colors and its gradients are inside the mask, as means and spreads, so that neither the mask's shape nor its
place is part of the description. A logistic regression learns on four fifths of the scenes which crops are
true, and is asked about the last fifth, for each fifth in turn. How often it is right, as the mean over true
and made crops (balanced accuracy), is how well they are *told apart*: .5 by chance, 1 always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.judge import Judge

FOLDS, REPEATS = 5, 8
"""Scenes are split into this many folds, this many times at random; accuracies are means over the splits."""

PENALTY = 0.1
"""Weight of the squared coefficients beside the mean log-loss, on descriptors of deviation 1."""

LARGEST = 5.0
"""Descriptors further out than this count as so far out: one odd crop must not decide alone."""


class Crop(NamedTuple):
    """An object: a picture, 1 x 3 x R x R in [-1, 1], and where in it, 1 x 1 x R x R, 0 or 1."""

    picture: Tensor
    mask: Tensor


# --- what is inside a mask ---


def opponent(picture: Tensor) -> Tensor:
    """Convert pictures B x 3 x H x W in [-1, 1] to lightness and two color differences.

    These are (R + G + B) / 3, R - G and (R + G) / 2 - B, as parts of the range of sRGB.
    """
    red, green, blue = picture.div(2).unbind(dim=1)
    return torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], dim=1)


def gradient(picture: Tensor) -> Tensor:
    """Length of the color gradient by forward differences, 1 x 1 x H x W."""
    across = F.pad(picture[..., 1:] - picture[..., :-1], (0, 1))
    down = F.pad(picture[..., 1:, :] - picture[..., :-1, :], (0, 0, 0, 1))
    return (across.square() + down.square()).sum(dim=1, keepdim=True).sqrt()


def moments(maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of maps (1 x C x H x W) over a mask (1 x 1 x H x W in [0, 1])."""
    share = mask / mask.sum().clamp_min(1e-6)
    mean = (maps * share).sum(dim=(0, 2, 3))
    deviation = ((maps - mean.view(1, -1, 1, 1)).square() * share).sum(dim=(0, 2, 3)).sqrt()
    return mean, deviation


def chroma_spread(crop: Crop) -> float:
    """Deviation of the chroma (both opponent colors, root of the summed variances) inside the mask."""
    return float(moments(opponent(crop.picture)[:, 1:], crop.mask)[1].square().sum().sqrt())


def gradient_energy(crop: Crop) -> float:
    """Mean length of the color gradient inside the mask, its edge included: texture and crispness at once.

    A soft object has less of it than a true one, one in all colors of the rainbow has more.
    """
    return float(moments(gradient(crop.picture), crop.mask)[0])


@torch.no_grad()
def descriptor(judge: Judge, crop: Crop) -> np.ndarray:
    """Return D numbers: moments of activations, colors and gradients inside the mask.

    The activations are the judge's, at half and quarter resolution.
    """
    parts: list[Tensor] = []
    for maps in judge.activations(crop.picture):
        parts += moments(maps, F.interpolate(crop.mask, size=maps.shape[-2:], mode="area"))
    colors = opponent(crop.picture)
    mean, deviation = moments(colors, crop.mask)
    centered = colors - mean.view(1, -1, 1, 1)
    pairs = centered * centered.roll(1, dims=1)
    skews = moments(centered**3, crop.mask)[0]
    steps = [gradient(one[None]) for one in colors.transpose(0, 1)]
    parts += [mean, deviation, moments(pairs, crop.mask)[0], skews.sign() * skews.abs() ** (1 / 3)]
    parts += moments(torch.cat([gradient(crop.picture), *steps], dim=1), crop.mask)
    return torch.cat(parts).double().numpy()


# --- the classifier ---


def logistic(x: np.ndarray, y: np.ndarray, penalty: float, steps: int = 10) -> np.ndarray:
    """Fit an L2-penalized logistic regression with Newton's method: D + 1 coefficients, the last a constant.

    Args:
        x: N x D.
        y: N, 0 or 1.
        penalty: half the weight of the squared coefficients beside the mean log-loss; the constant is free.
    """
    # The best coefficients lie in the span of the N rows: of many dimensions no more than N matter.
    span = np.linalg.qr(x.T)[0]
    x = np.concatenate([x @ span, np.ones((len(x), 1))], axis=1)
    ridge = np.diag(np.append(np.full(x.shape[1] - 1, penalty), 1e-6))
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (chance - y) / len(x) + ridge @ weights
        curve = (x.T * (chance * (1 - chance))) @ x / len(x) + ridge
        weights = weights - np.linalg.solve(curve, slope)
    return np.append(span @ weights[:-1], weights[-1])


def told_apart(
    true: np.ndarray, made: np.ndarray, groups: Sequence[str], *, penalty: float = PENALTY, seed: int = 0
) -> np.ndarray:
    """How often a classifier is right about each of N pairs of a true and a made crop, 0 to 1.

    Args:
        true, made: N x D, their descriptors. A pair is never split between what is learned and what is asked.
        groups: N names; each group has its own classifier, for a window gives itself away otherwise than a
            tree does.
        penalty: of :func:`logistic`.
        seed: of the splits.
    """
    names = np.asarray(groups)
    random = np.random.default_rng(seed)
    right = np.zeros(len(true))
    for name in dict.fromkeys(groups):
        group = np.flatnonzero(names == name)
        for _ in range(REPEATS):
            folds = random.permutation(np.arange(len(group)) % FOLDS)
            for fold in range(min(FOLDS, len(group))):
                learned, asked = group[folds != fold], group[folds == fold]
                if len(learned) == 0:
                    continue
                x = np.concatenate([true[learned], made[learned]])
                middle, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
                y = np.repeat([1.0, 0.0], len(learned))
                weights = logistic(((x - middle) / spread).clip(-LARGEST, LARGEST), y, penalty)
                x = (np.concatenate([true[asked], made[asked]]) - middle) / spread
                says_true = x.clip(-LARGEST, LARGEST) @ weights[:-1] + weights[-1] > 0
                right[asked] += (says_true[: len(asked)] + 1.0 - says_true[len(asked) :]) / 2
    return right / REPEATS
