"""Details: the fine layers learn textures, from features that stay.

Absolute errors punish a detail that is drawn a pixel off twice: where it lacks and where it is. So fine
layers that are not sure leave details out. Bricks become stripes, and conifers lose their branches. Here a
discriminator counts as much as all other losses. It sees details enlarged beside the picture, without which
it would hardly learn what these are.

All that comes before the fine layers is done and stays, so that nothing else has to learn again. The features
are read once, and the fine layers draw crops of them, more often where scenes have objects:

* as the encoder reads them;
* with an object as the shaper makes it, the way an addition does;
* with a part of a ground as z makes it, the way a removal does;
* with one class replaced with its mean, as an edit without a shaper replaces it;
* as z makes them. These have no truth, while that of the others is the scene. The discriminator judges them,
  and coarsely they must stay what the fine layers drew at first: else these find patterns that fool it.

Losses are those of ``train_edits.py``. Without that of the classes, and without many crops that were edited,
the fine layers would learn to draw what belongs somewhere in place of what is painted there.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..dissection.exemplars import connected_regions
from ..models.networks import channels_last
from ..models.progan import pixel_norm
from ..models.shaper import Shaper
from ..training.data import to_bytes, to_tensor
from ..training.painter import Painter, covered, mean_inside, painted, slopes
from ..training.precision import bfloat16
from ..training.run import PictureRates, PictureRun, carry_out, laid_out, noisy
from .data import SceneData
from .scenes import CLASSES
from .segmenter import SceneSegmenter
from .shaping import CONCEPTS
from .train_edits import GROUNDS, SMALLEST, chroma

SHAPED: Final = tuple(CLASSES.index(name) for name in CONCEPTS)
"""The classes whose objects the shaper makes."""

COARSE: Final = 4
"""Pixels a side over which pictures by z must stay what they were."""

Bytes = npt.NDArray[np.uint8]

CELLS: Final = 10
"""Cells a side of what is drawn at a time."""

INNER: Final = 8
"""Cells a side of what is judged: beside a crop's border the fine layers lack the cells that follow."""

INTEREST: Final = {"tree": 5.0, "dome": 3.0, "roof": 2.0, "door": 2.0, "window": 2.0, "wall": 1.0}
"""How often crops lie on a class; on others a quarter as often as on walls."""

AVERAGED_EVERY: Final = 5
"""Steps between two looks at how strong the losses pull."""


@dataclass(frozen=True)
class DetailsRecipe(PictureRates):
    """Everything that decides a run; of ``adversarial``, relative to how strong the other losses pull.

    Attributes:
        known: how many scenes are read.
        perceptual: the weight of errors in the segmenter's features.
        classes: the weight of errors in the segmenter's classes, which count where something was edited.
        by_z: the share of crops that z makes.
        flat: the share of crops in which a class has its mean.
        shaped: the share of crops in which the shaper makes an object.
        imagined: the share of crops in which z makes a part of a ground.
    """

    batch: int = 16
    step_length: float = 0.004
    learning_rate: float = 1e-3
    learning_rate_judge: float = 1e-3
    penalty: float = 0.0006
    warm_up: int = 4_800
    ramp: int = 4_800
    slopes: float = 0.5
    adversarial: float = 1.0
    details: float = 6.0
    known: int = 10_000
    perceptual: float = 0.5
    classes: float = 0.3
    by_z: float = 0.15
    flat: float = 0.3
    shaped: float = 0.25
    imagined: float = 0.1


class Crops(NamedTuple):
    """B parts of scenes.

    Attributes:
        features: B x C x CELLS x CELLS.
        inner: B pairs, the row and the column of the cell where that begins which counts.
        pictures: the truth of what counts, B x 3 x S x S; where it is not known, part of another scene.
        known: B x 1 x 1 x 1, 1 where it is known and else 0.
        labels: int64 B x S x S, the classes in ``pictures``.
        focus: B x S x S, 1 where the features were edited and else 0.
    """

    features: Tensor
    inner: list[tuple[int, int]]
    pictures: Tensor
    known: Tensor
    labels: Tensor
    focus: Tensor


class _Edited(NamedTuple):
    """Features 1 x C x G x G, and where they were edited, 1 x 1 x R x R."""

    features: Tensor
    focus: Tensor


class Gallery:
    """Scenes with their features, to take crops from.

    Args:
        painter: reads the features, and makes those by z.
        shaper: makes objects.
        data: the scenes; the first ones are taken.
        count: how many, at most.
    """

    @torch.no_grad()
    def __init__(self, painter: Painter, shaper: Shaper, data: SceneData, count: int) -> None:
        count = min(count, len(data))
        self.shaper = shaper.cpu()
        generator = painter.generator
        self.device = next(painter.parameters()).device
        shape = generator.shape(generator.edit_layer)
        self.scale = generator.resolution // shape[-1]
        self.images, self.labels = data.images[:count], data.labels[:count]
        self.read, self.made = (torch.empty(count, *shape, dtype=torch.float16) for _ in range(2))
        self.regions = np.empty(self.labels.shape, np.int32)
        for start in range(0, count, 20):
            some = slice(start, min(start + 20, count))
            self.regions[some] = connected_regions(
                torch.from_numpy(self.labels[some].astype(np.int64))
            ).numpy()
            with bfloat16(self.device):
                trunk = painter.encoder.shared(laid_out(to_tensor(self.images[some]).to(self.device)))
                z = pixel_norm(painter.encoder.latent(painter.encoder.deep(trunk)).float())
                made = generator.run(generator.start(z), until=generator.edit_layer).features
                read = painter.encoder.features(trunk)
            for kept, features in ((self.read, read), (self.made, made)):
                kept[some] = pixel_norm(features.float()).half().cpu()
        self.interest = np.array([INTEREST.get(name, 0.25) for name in CLASSES])

    def batches(self, recipe: DetailsRecipe, seed: int) -> Iterator[Crops]:
        """Yield random crops without end."""
        random = np.random.default_rng(seed)
        while True:
            rows = [self._crop(recipe, random) for _ in range(recipe.batch)]
            features, inner, pictures, known, labels, focus = zip(*rows, strict=True)
            yield Crops(
                torch.stack(features).to(self.device),
                list(inner),
                to_tensor(np.stack(pictures)).to(self.device),
                torch.tensor(known, dtype=torch.float32, device=self.device).view(-1, 1, 1, 1),
                torch.from_numpy(np.stack(labels).astype(np.int64)).to(self.device),
                torch.stack(focus).to(self.device),
            )

    def _crop(
        self, recipe: DetailsRecipe, random: np.random.Generator
    ) -> tuple[Tensor, tuple[int, int], Bytes, bool, Bytes, Tensor]:
        """Return one row of :class:`Crops`."""
        one = int(random.integers(len(self.images)))
        labels = self.labels[one]
        shares = recipe.by_z, recipe.flat, recipe.shaped, recipe.imagined
        kind = int(np.searchsorted(np.cumsum(shares), random.random(), side="right"))
        known = kind != 0
        features = (self.read if known else self.made)[one].float()[None]
        edited = _Edited(features, torch.zeros(1, 1, *labels.shape))
        if kind == 1:
            edited = self._flat(features, labels, random)
        elif kind == 2:
            edited = self._shaped(features, one, random)
        elif kind == 3:
            edited = self._imagined(features, self.made[one].float()[None], labels, random)
        top, left = self._place(labels, random)
        # A crop at the picture's border counts up to it, and is padded there as a picture is.
        last = features.shape[-1] - CELLS
        inner = tuple(0 if at == 0 else CELLS - INNER if at == last else 1 for at in (top, left))
        other, y, x = one, top, left
        if not known:
            other = int(random.integers(len(self.images)))
            y, x = self._place(self.labels[other], random)
        side = self.scale * INNER
        y, x = (self.scale * (at + begun) for at, begun in zip((y, x), inner, strict=True))
        box = np.s_[y : y + side, x : x + side]
        return (
            edited.features[0, :, top : top + CELLS, left : left + CELLS],
            (inner[0], inner[1]),
            np.array(self.images[other][box]),
            known,
            np.array(self.labels[other][box]),
            edited.focus[0, 0][box],
        )

    def _place(self, labels: Bytes, random: np.random.Generator) -> tuple[int, int]:
        """Return the first row and column of a crop's cells, so that it lies about something of interest."""
        grid = len(labels) // self.scale
        interest = self.interest[labels].reshape(grid, self.scale, grid, self.scale).mean(axis=(1, 3)).ravel()
        center = random.choice(grid * grid, p=interest / interest.sum())
        shift = random.integers(-2, 3, 2) - CELLS // 2
        top, left = np.clip(np.array(divmod(int(center), grid)) + shift, 0, grid - CELLS)
        return int(top), int(left)

    def _flat(self, features: Tensor, labels: Bytes, random: np.random.Generator) -> _Edited:
        """Return features with one class as its mean; of a ground, in a box."""
        kind = random.choice(np.flatnonzero(np.bincount(labels.ravel()) >= SMALLEST))
        where = labels == kind
        if kind in GROUNDS:
            part = where & _box(labels.shape, random)
            where = part if part.sum() >= SMALLEST else where
        mask = _mask(where)
        return _Edited(painted(features, mask, mean_inside(features, mask)), mask)

    def _shaped(self, features: Tensor, one: int, random: np.random.Generator) -> _Edited:
        """Return features with an object as the shaper makes it; it does not see what lies under a mask."""
        labels, regions = self.labels[one], self.regions[one]
        kinds = [kind for kind in SHAPED if (labels == kind).sum() >= SMALLEST]
        if not kinds:
            return _Edited(features, torch.zeros(1, 1, *labels.shape))
        rows, columns = np.nonzero(labels == random.choice(kinds))
        at = random.integers(len(rows))
        mask = _mask(regions == regions[rows[at], columns[at]])
        shaped = self.shaper.within(features, mask, mean_inside(features, mask))
        return _Edited(painted(features, mask, shaped), mask)

    @staticmethod
    def _imagined(features: Tensor, made: Tensor, labels: Bytes, random: np.random.Generator) -> _Edited:
        """Return features with a part of a ground as z makes it."""
        mask = _mask((labels == random.choice(GROUNDS)) & _box(labels.shape, random))
        return _Edited(torch.lerp(features, made, covered(mask, features.shape[-1])), mask)


def _box(shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return a random square of a third of the picture's side."""
    side = shape[0] // 3
    y, x = random.integers(0, shape[0] - side, 2)
    box = np.zeros(shape, bool)
    box[y : y + side, x : x + side] = True
    return box


def _mask(where: npt.NDArray[np.bool_]) -> Tensor:
    """Convert R x R to 1 x 1 x R x R, 0 or 1."""
    return torch.from_numpy(where.astype(np.float32))[None, None]


def draw(painter: Painter, features: Tensor, inner: list[tuple[int, int]]) -> Tensor:
    """Draw crops, and return what counts of them, B x 3 x S x S; see :class:`Crops`."""
    drawn = painter.draw(features)
    scale = drawn.shape[-1] // CELLS
    side = scale * INNER
    parts = [
        one[:, scale * y : scale * y + side, scale * x : scale * x + side]
        for one, (y, x) in zip(drawn, inner, strict=True)
    ]
    return torch.stack(parts)


class DetailsRun(PictureRun[Crops]):
    """A run of the fine layers alone.

    Args:
        recipe: what decides it.
        painter: where to begin, on the device where the run takes place; its fine layers are changed.
        segmenter: frozen; its activations are the perceptual loss.
    """

    def __init__(self, recipe: DetailsRecipe, painter: Painter, segmenter: SceneSegmenter) -> None:
        torch.manual_seed(recipe.seed)
        self.begun = copy.deepcopy(painter).requires_grad_(False)
        super().__init__(recipe, painter, 0, str(next(painter.parameters()).device))
        painter.requires_grad_(False)
        for weight in painter.fine():
            weight.requires_grad_(True)
        for group in self.judging.param_groups:
            group["betas"] = (0.5, 0.99)
        self.recipe = recipe
        self.segmenter = channels_last(copy.deepcopy(segmenter).to(self.device)).eval().requires_grad_(False)
        self.pull = 0.0

    def learn(self, batch: Crops) -> dict[str, float]:
        """Learn one step. Returns the parts of the loss, by name."""
        recipe, known = self.recipe, batch.known
        with bfloat16(self.device):
            drawn = draw(self.painter, noisy(batch.features), batch.inner)
            read = self.segmenter.features(laid_out(drawn.clamp(-1.2, 1.2)))
            logits = self.segmenter.classify(read).float()
            with torch.no_grad():
                wanted = self.segmenter.features(laid_out(batch.pictures))
        missed = drawn - batch.pictures
        parts = {
            "pixels": (missed.abs() * known).mean(),
            "slopes": (slopes(missed).abs() * known).mean(),
            "chroma": (chroma(missed).abs() * known).mean(),
            "perceptual": torch.stack(
                [
                    ((a - b).abs().float() * known).mean() / b.float().abs().mean()
                    for a, b in zip(read, wanted, strict=True)
                ]
            ).mean(),
            "classes": (
                F.cross_entropy(logits, batch.labels, reduction="none") * (batch.focus + 0.05) * known[:, 0]
            ).mean(),
            "coarse": self._strayed(batch, drawn),
            "outside": (drawn.abs() - 1).clamp_min(0).mean(),
        }
        loss = parts["pixels"] + parts["chroma"] + recipe.slopes * 2 * parts["slopes"]
        loss = loss + recipe.perceptual * parts["perceptual"]
        loss = loss + recipe.classes * parts["classes"]
        loss = loss + 2 * parts["coarse"] + 0.2 * parts["outside"]
        fooling, parts["gap"] = self.judge(batch.pictures, drawn)
        if self.step % AVERAGED_EVERY == 0:
            self._compare(loss, fooling, drawn, known)
        grown = recipe.grown(self.shown)
        self.follow(loss + recipe.adversarial * grown * self.pull * fooling, len(drawn))
        return {name: float(part.detach()) for name, part in parts.items()}

    def _strayed(self, batch: Crops, drawn: Tensor) -> Tensor:
        """Return how far crops without a truth are, coarsely, from what the fine layers drew at first."""
        rows = torch.nonzero(batch.known.flatten() == 0).flatten()
        if len(rows) == 0:
            return drawn.new_zeros(())
        with torch.no_grad(), bfloat16(self.device):
            begun = draw(self.begun, batch.features[rows], [batch.inner[row] for row in rows.tolist()])
        return F.avg_pool2d(drawn[rows] - begun, COARSE).abs().mean() * len(rows) / len(drawn)

    def _compare(self, loss: Tensor, fooling: Tensor, drawn: Tensor, known: Tensor) -> None:
        """Let ``pull`` follow how many times as strong the losses pull at pictures as the judge does.

        Only crops with a truth count: at the others, the losses hardly pull.

        Esser et al. ("Taming Transformers", CVPR 2021, eq. 7) weigh a discriminator so.
        """
        pulled, judged = (
            float((torch.autograd.grad(one, drawn, retain_graph=True)[0] * known).norm())
            for one in (loss, fooling)
        )
        ratio = pulled / max(judged, 1e-9)
        self.pull = ratio if self.pull == 0 else 0.95 * self.pull + 0.05 * ratio

    @torch.no_grad()
    def write_sheet(self, batch: Crops, path: Path) -> None:
        """Write two rows: crops of scenes, which are the truth where one is known, and what is drawn."""
        drawn = draw(self.average.eval(), batch.features, batch.inner)
        self.average.train()
        rows = [np.concatenate(list(to_bytes(row.cpu())), axis=1) for row in (batch.pictures, drawn)]
        Image.fromarray(np.concatenate(rows)).save(path)


def train_details(
    folder: Path,
    painter: Painter,
    shaper: Shaper,
    segmenter: SceneSegmenter,
    data: SceneData,
    recipe: DetailsRecipe,
    *,
    minutes: float,
    budget: float = math.inf,
    device: str = "cpu",
    log_every: int = 50,
) -> Painter:
    """Teach a painter's fine layers details, for ``minutes`` or ``budget`` crops in all.

    It goes on from ``folder/details.pt`` where there is one; see :func:`.carry_out`.

    Args:
        folder: where it is kept.
        painter: everything else of it is done; it is not changed.
        shaper: of its world's objects.
        segmenter: of its world.
        data: scenes of its world.
        recipe: what decides the run.
        minutes: how long.
        budget: how many crops are drawn in all, at most.
        device: where it runs.
        log_every: steps between two lines of the log.

    Returns:
        The painter with the averaged weights, on the device.
    """
    painter = channels_last(copy.deepcopy(painter).to(device)).eval()
    gallery = Gallery(painter, shaper, data, recipe.known)
    run = carry_out(
        DetailsRun(recipe, painter, segmenter),
        folder / "details.pt",
        lambda seed: gallery.batches(recipe, seed),
        next(gallery.batches(recipe, 0)),
        minutes=minutes,
        budget=budget,
        log_every=log_every,
    )
    return run.average.eval().requires_grad_(False)


def with_details(painter: Painter, folder: Path) -> Painter:
    """Return the painter with the weights that ``folder/details.pt`` keeps, if there is one."""
    kept = folder / "details.pt"
    if not kept.exists():
        return painter
    painter = copy.deepcopy(painter)
    painter.load_state_dict(torch.load(kept, weights_only=True, map_location="cpu")["average"])
    return painter.requires_grad_(False).eval()
