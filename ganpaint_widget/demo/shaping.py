"""What the demo world's shaper learns from: pairs of scenes that differ by one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..models.shaper import Shaper
from ..training.data import to_tensor
from ..training.painter import Painter, mean_inside, slopes
from ..training.shaper import Lessons, train_shaper
from .pairs import OFTEN, Pairs
from .segmenter import SceneSegmenter
from .train_edits import moved

CONCEPTS = tuple(dict.fromkeys(OFTEN))
"""The concepts whose objects are shaped."""

DRAWN_AGAIN = 5_500
"""Steps in pictures of a shaper that goes on."""


class Shown(NamedTuple):
    """Some of the pairs, by their places: pictures B x 3 x R x R, masks B x 1 x R x R.

    ``elsewhere`` is ``with_`` moved, and ``there`` the objects' masks in it.
    """

    places: slice
    without: Tensor
    with_: Tensor
    objects: Tensor
    elsewhere: Tensor
    there: Tensor


def shown(pairs: Pairs, count: int, seed: int) -> Iterator[Shown]:
    """Yield the first ``count`` pairs, each also moved, scaled and perhaps mirrored by ``seed``.

    Means are read there: an exemplar comes from elsewhere, too.
    """
    random = np.random.default_rng(seed)
    without, with_, _, instances, masks = pairs.arrays
    for start in range(0, count, 16):
        some = slice(start, min(start + 16, count))
        pictures = to_tensor(with_[some])
        objects = torch.from_numpy(masks[some].astype(np.float32))[:, None]
        numbers = torch.from_numpy(instances[some].astype(np.int64))
        elsewhere, there, _ = moved(pictures, objects, numbers, random)
        yield Shown(some, to_tensor(without[some]), pictures, objects, elsewhere, there)


def shaper_of_scenes(
    painter: Painter,
    segmenter: SceneSegmenter,
    pairs: Pairs,
    *,
    count: int = 20_000,
    seed: int = 0,
    start: Shaper | None = None,
) -> Shaper:
    """Return a shaper for the demo world: half an hour on two cores, 4 GB of memory.

    The means are read from the scene moved, scaled and perhaps mirrored, as for the fine layers
    (``train_edits.py``): an exemplar comes from elsewhere, too.

    Args:
        painter: generator and encoder, as they are shipped.
        segmenter: what it sees in pictures counts, beside colors and slopes.
        pairs: scenes without and with an object.
        count: of the pairs, at most.
        seed: of the moves and the training.
        start: a shaper that learned from the same features, with other fine layers. It goes on in pictures.
    """
    count = min(count, len(pairs))
    shape = painter.generator.shape(painter.generator.edit_layer)
    found = Lessons(
        np.empty((count, *shape), np.float16),
        np.empty((count, *shape), np.float16),
        np.empty((count, shape[0]), np.float16),
        np.asarray(pairs.arrays[-1][:count]),
    )
    with torch.no_grad():
        for one in shown(pairs, count, seed):
            found.around[one.places] = painter.encode(one.without).half()
            found.truth[one.places] = painter.encode(one.with_).half()
            means = mean_inside(painter.encode(one.elsewhere), one.there)
            found.activations[one.places] = means[..., 0, 0].half()

    def seen(features: Tensor) -> Sequence[tuple[float, Tensor]]:
        drawn = painter.draw(features)
        read = segmenter.features(drawn.clamp(-1.2, 1.2))
        return [(1.0, drawn), (0.5, slopes(drawn)), *((0.5 / len(read), one) for one in read)]

    if start is None:
        return train_shaper(found, CONCEPTS, seen, seed=seed)
    return train_shaper(found, CONCEPTS, seen, steps=0, drawn=DRAWN_AGAIN, seed=seed, start=start)
