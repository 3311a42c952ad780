"""Details: the fine layers learn textures, from features that stay.

Absolute errors punish a detail that is drawn a pixel off twice: where it lacks and where it is. So fine
layers that are not sure leave details out. Bricks become stripes, and conifers lose their branches. Here a
discriminator counts as much as all other losses. It sees details enlarged beside the picture, without which
it would hardly learn what these are.

All that comes before the fine layers is done and stays, so that nothing else has to learn again. The features
are read once, and the fine layers draw crops of them:

* as the encoder reads them, more often where scenes have objects;
* with a part of a ground as z makes it, the way a removal does;
* with one class replaced with its mean, as an edit without a shaper replaces it;
* with an object as the shaper makes it, from its own mean elsewhere;
* the same from another object's mean, as an exemplar gives it;
* with a square of an object's mean anywhere;
* as z makes them.

Of the first four the scene is the truth. The others have none, or only outside the object. There the
discriminator judges what is drawn, and colors, classes and coarse forms must stay what the fine layers drew
at first. Else these find patterns that fool it, or draw what belongs somewhere in place of what is painted.
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

from ..models.networks import channels_last
from ..models.progan import pixel_norm
from ..models.shaper import Shaper
from ..training.data import to_bytes, to_tensor
from ..training.painter import Painter, covered, mean_inside, painted, slopes
from ..training.precision import bfloat16
from ..training.run import PictureRates, PictureRun, carry_out, laid_out, noisy
from .data import SceneData
from .pairs import Pairs
from .scenes import CLASSES
from .segmenter import SceneSegmenter
from .shaping import shown
from .train_edits import GROUNDS, SMALLEST, chroma

NEAR: Final = 4
"""Pixels around an object within which a picture is not known."""

ELSEWHERE: Final = 0.02
"""How often crops lie where nothing was edited, relative to where something was."""

COARSE: Final = 4
"""Pixels a side over which pictures without a truth must stay what they were."""

Bytes = npt.NDArray[np.uint8]

CELLS: Final = 10
"""Cells a side of what is drawn at a time."""

INNER: Final = 8
"""Cells a side of what is judged: beside a crop's border the fine layers lack the cells that follow."""

INTEREST: Final = {"tree": 5.0, "dome": 3.0, "roof": 2.0, "door": 2.0, "window": 2.0, "wall": 1.0}
"""How often crops of unedited scenes lie on a class; on others a quarter as often as on walls."""

AVERAGED_EVERY: Final = 5
"""Steps between two looks at how strong the losses pull."""


@dataclass(frozen=True)
class DetailsRecipe(PictureRates):
    """Everything that decides a run; of ``adversarial``, relative to how strong the other losses pull.

    Attributes:
        known: how many scenes are read.
        pairs: how many pairs of scenes are read.
        perceptual: the weight of errors in the segmenter's features.
        classes: the weight of errors in the segmenter's classes, which count where something was edited.
        strayed: the weight of :meth:`DetailsRun._strayed`.
        by_z: the share of crops that z makes.
        flat: the share of crops in which a class has its mean.
        shaped: the share of crops with an object that the shaper makes from its own mean.
        foreign: the share of crops with an object that the shaper makes from another one's mean.
        imagined: the share of crops in which z makes a part of a ground.
        squares: the share of crops with a square of an object's mean.
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
    known: int = 8_000
    pairs: int = 5_000
    perceptual: float = 0.5
    classes: float = 0.3
    strayed: float = 1.0
    by_z: float = 0.15
    flat: float = 0.15
    shaped: float = 0.2
    foreign: float = 0.2
    imagined: float = 0.1
    squares: float = 0.1


class Crops(NamedTuple):
    """B parts of pictures.

    Attributes:
        features: B x C x CELLS x CELLS.
        inner: B pairs, the row and the column of the cell where that begins which counts.
        pictures: the truth of what counts, B x 3 x S x S; if none of it is known, part of another scene.
        known: B x 1 x S x S, 1 where it is known and else 0.
        focus: B x S x S, 1 where the features were edited and else 0.
    """

    features: Tensor
    inner: list[tuple[int, int]]
    pictures: Tensor
    known: Tensor
    focus: Tensor


class _Edited(NamedTuple):
    """A picture's features and what is known of the picture.

    Attributes:
        features: 1 x C x G x G.
        picture: the truth, R x R x 3.
        about: R x R, how much each pixel is of interest.
        focus: where the features were edited, 1 x 1 x R x R.
        known: where ``picture`` is the truth, 1 x 1 x R x R.
    """

    features: Tensor
    picture: Bytes
    about: npt.NDArray[np.floating]
    focus: Tensor
    known: Tensor


class Gallery:
    """Scenes with their features, to take crops from.

    Args:
        painter: reads the features, and makes those by z.
        shaper: makes objects.
        segmenter: says of which class the objects of pairs are.
        data: the scenes; the first ones are taken.
        pairs: scenes without and with an object; the first ones are taken.
        recipe: says how many.
    """

    @torch.no_grad()
    def __init__(
        self,
        painter: Painter,
        shaper: Shaper,
        segmenter: SceneSegmenter,
        data: SceneData,
        pairs: Pairs,
        recipe: DetailsRecipe,
    ) -> None:
        count, paired = min(recipe.known, len(data)), min(recipe.pairs, len(pairs))
        self.shaper = shaper.cpu()
        generator = painter.generator
        self.device = next(painter.parameters()).device
        shape = generator.shape(generator.edit_layer)
        self.scale = generator.resolution // shape[-1]
        self.images, self.labels = data.images[:count], data.labels[:count]
        self.read, self.made = (torch.empty(count, *shape, dtype=torch.float16) for _ in range(2))
        for start in range(0, count, 20):
            some = slice(start, min(start + 20, count))
            with bfloat16(self.device):
                trunk = painter.encoder.shared(laid_out(to_tensor(self.images[some]).to(self.device)))
                z = pixel_norm(painter.encoder.latent(painter.encoder.deep(trunk)).float())
                made = generator.run(generator.start(z), until=generator.edit_layer).features
                read = painter.encoder.features(trunk)
            for kept, features in ((self.read, read), (self.made, made)):
                kept[some] = pixel_norm(features.float()).half().cpu()
        _, self.with_, _, _, self.masks = (one[:paired] for one in pairs.arrays)
        self.around = torch.empty(paired, *shape, dtype=torch.float16)
        self.levels = torch.empty(paired, shape[0], 1, 1)
        self.kinds = np.empty(paired, np.int64)
        for those in shown(pairs, paired, recipe.seed):
            with bfloat16(self.device):
                read = painter.encode(laid_out(those.without.to(self.device)))
                other = painter.encode(laid_out(those.elsewhere.to(self.device)))
            self.around[those.places] = pixel_norm(read.float()).half().cpu()
            self.levels[those.places] = mean_inside(pixel_norm(other.float()).cpu(), those.there)
            labels = zip(segmenter.segment(those.with_), those.objects[:, 0], strict=True)
            self.kinds[those.places] = [int(torch.bincount(one[mask > 0]).argmax()) for one, mask in labels]
        self.interest = np.array([INTEREST.get(name, 0.25) for name in CLASSES])

    def batches(self, recipe: DetailsRecipe, seed: int) -> Iterator[Crops]:
        """Yield random crops without end."""
        random = np.random.default_rng(seed)
        while True:
            rows = [self._crop(recipe, random) for _ in range(recipe.batch)]
            features, inner, pictures, known, focus = zip(*rows, strict=True)
            yield Crops(
                torch.stack(features).to(self.device),
                list(inner),
                to_tensor(np.stack(pictures)).to(self.device),
                torch.stack(known).to(self.device),
                torch.stack(focus).to(self.device),
            )

    def _crop(
        self, recipe: DetailsRecipe, random: np.random.Generator
    ) -> tuple[Tensor, tuple[int, int], Bytes, Tensor, Tensor]:
        """Return one row of :class:`Crops`."""
        ways = (
            (self._by_z, recipe.by_z),
            (self._flat, recipe.flat),
            (self._shaped, recipe.shaped),
            (self._foreign, recipe.foreign),
            (self._imagined, recipe.imagined),
            (self._square, recipe.squares),
            (self._read, math.inf),
        )
        way = np.searchsorted(np.cumsum([share for _, share in ways]), random.random(), side="right")
        edited = ways[int(way)][0](random)
        top, left = self._place(edited.about, random)
        # A crop at the picture's border counts up to it, and is padded there as a picture is.
        last = edited.features.shape[-1] - CELLS
        inner = tuple(0 if at == 0 else CELLS - INNER if at == last else 1 for at in (top, left))
        side = self.scale * INNER
        y, x = (self.scale * (at + begun) for at, begun in zip((top, left), inner, strict=True))
        box = np.s_[y : y + side, x : x + side]
        picture = edited.picture[box]
        if not bool(edited.known.any()):
            other = int(random.integers(len(self.images)))
            y, x = (self.scale * at for at in self._place(self.interest[self.labels[other]], random))
            picture = self.images[other][y : y + side, x : x + side]
        return (
            edited.features[0, :, top : top + CELLS, left : left + CELLS],
            (inner[0], inner[1]),
            np.array(picture),
            edited.known[0][(slice(None), *box)],
            edited.focus[0, 0][box],
        )

    def _place(self, about: npt.NDArray[np.floating], random: np.random.Generator) -> tuple[int, int]:
        """Return the first row and column of a crop's cells, so that it lies about something of interest."""
        grid = len(about) // self.scale
        interest = about.reshape(grid, self.scale, grid, self.scale).mean(axis=(1, 3)).ravel()
        center = random.choice(grid * grid, p=interest / interest.sum())
        shift = random.integers(-2, 3, 2) - CELLS // 2
        top, left = np.clip(np.array(divmod(int(center), grid)) + shift, 0, grid - CELLS)
        return int(top), int(left)

    def _read(self, random: np.random.Generator) -> _Edited:
        """Return a scene as the encoder reads it."""
        return self._unedited(self.read, 1.0, random)

    def _by_z(self, random: np.random.Generator) -> _Edited:
        """Return a scene as z makes it."""
        return self._unedited(self.made, 0.0, random)

    def _unedited(self, features: Tensor, known: float, random: np.random.Generator) -> _Edited:
        one = int(random.integers(len(self.images)))
        nowhere = torch.zeros(1, 1, *self.labels[one].shape)
        about = self.interest[self.labels[one]]
        return _Edited(features[one].float()[None], self.images[one], about, nowhere, nowhere + known)

    def _flat(self, random: np.random.Generator) -> _Edited:
        """Return features with one class as its mean; of a ground, in a box."""
        one = int(random.integers(len(self.images)))
        features, labels = self.read[one].float()[None], self.labels[one]
        kind = random.choice(np.flatnonzero(np.bincount(labels.ravel()) >= SMALLEST))
        where = labels == kind
        if kind in GROUNDS:
            part = where & _box(labels.shape, random)
            where = part if part.sum() >= SMALLEST else where
        mask = _mask(where)
        features = painted(features, mask, mean_inside(features, mask))
        return _Edited(features, self.images[one], where + ELSEWHERE, mask, torch.ones_like(mask))

    def _shaped(self, random: np.random.Generator) -> _Edited:
        """Return an object added as the shaper makes it, from its own mean elsewhere."""
        one = int(random.integers(len(self.around)))
        return self._added(one, one)

    def _foreign(self, random: np.random.Generator) -> _Edited:
        """Return an object added as the shaper makes it, from the mean of another scene's object."""
        one = int(random.integers(len(self.around)))
        return self._added(one, int(random.choice(np.flatnonzero(self.kinds == self.kinds[one]))))

    def _added(self, one: int, exemplar: int) -> _Edited:
        features, where = self.around[one].float()[None], np.asarray(self.masks[one])
        mask = _mask(where)
        shaped = self.shaper.within(features, mask, self.levels[exemplar][None])
        known = torch.ones_like(mask)
        if exemplar != one:
            known = 1 - F.max_pool2d(mask, 2 * NEAR + 1, stride=1, padding=NEAR)
        return _Edited(painted(features, mask, shaped), self.with_[one], where + ELSEWHERE, mask, known)

    def _square(self, random: np.random.Generator) -> _Edited:
        """Return features with a square of an object's mean, the same in all cells."""
        one, exemplar = (int(random.integers(len(self.around))) for _ in range(2))
        features = self.around[one].float()[None]
        grid = features.shape[-1]
        side = int(random.integers(2, 6))
        y, x = random.integers(0, grid - side + 1, 2)
        mask = torch.zeros(1, 1, grid, grid)
        mask[..., y : y + side, x : x + side] = 1
        mask = F.interpolate(mask, scale_factor=self.scale)
        about = mask[0, 0].numpy() + ELSEWHERE
        features = painted(features, mask, self.levels[exemplar][None])
        return _Edited(features, self.with_[one], about, mask, torch.zeros_like(mask))

    def _imagined(self, random: np.random.Generator) -> _Edited:
        """Return features with a part of a ground as z makes it."""
        one = int(random.integers(len(self.images)))
        where = (self.labels[one] == random.choice(GROUNDS)) & _box(self.labels[one].shape, random)
        mask = _mask(where)
        features, made = self.read[one].float()[None], self.made[one].float()[None]
        features = torch.lerp(features, made, covered(mask, features.shape[-1]))
        return _Edited(features, self.images[one], where + ELSEWHERE, mask, torch.ones_like(mask))


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
        features = noisy(batch.features)
        with bfloat16(self.device):
            drawn = draw(self.painter, features, batch.inner)
            read = self.segmenter.features(laid_out(drawn.clamp(-1.2, 1.2)))
            logits = self.segmenter.classify(read).float()
            with torch.no_grad():
                wanted = self.segmenter.features(laid_out(batch.pictures))
                labels = self.segmenter.classify(wanted).argmax(dim=1)
        begun, labels = self._first_drawn(batch, features, labels)
        missed = drawn - batch.pictures
        apart = [
            (a - b).abs().float() * covered(known, a.shape[-1]) / b.float().abs().mean()
            for a, b in zip(read, wanted, strict=True)
        ]
        parts = {
            "pixels": (missed.abs() * known).mean(),
            "slopes": (slopes(missed).abs() * known).mean(),
            "chroma": (chroma(missed).abs() * known).mean(),
            "perceptual": torch.stack([one.mean() for one in apart]).mean(),
            "classes": (F.cross_entropy(logits, labels, reduction="none") * (batch.focus + 0.05)).mean(),
            "strayed": self._strayed(drawn - begun, 1 - known),
            "outside": (drawn.abs() - 1).clamp_min(0).mean(),
        }
        loss = parts["pixels"] + parts["chroma"] + recipe.slopes * 2 * parts["slopes"]
        loss = loss + recipe.perceptual * parts["perceptual"] + recipe.classes * parts["classes"]
        loss = loss + recipe.strayed * parts["strayed"] + 0.2 * parts["outside"]
        fooling, parts["gap"] = self.judge(batch.pictures, drawn)
        if self.step % AVERAGED_EVERY == 0:
            self._compare(loss, fooling, drawn, known)
        grown = recipe.grown(self.shown)
        self.follow(loss + recipe.adversarial * grown * self.pull * fooling, len(drawn))
        return {name: float(part.detach()) for name, part in parts.items()}

    @torch.no_grad()
    def _first_drawn(self, batch: Crops, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what was drawn at first of crops that have places without a truth, and labels of it there.

        Other crops are as they are in ``batch`` and ``labels`` (B x S x S).
        """
        begun, labels = batch.pictures.clone(), labels.clone()
        rows = torch.nonzero((batch.known == 0).flatten(1).any(dim=1)).flatten()
        if len(rows) > 0:
            with bfloat16(self.device):
                begun[rows] = draw(self.begun, features[rows], [batch.inner[row] for row in rows.tolist()])
                read = self.segmenter.features(laid_out(begun[rows].clamp(-1, 1)))
                seen = self.segmenter.classify(read).argmax(dim=1)
            labels[rows] = torch.where(batch.known[rows, 0] > 0, labels[rows], seen)
        return begun, labels

    @staticmethod
    def _strayed(away: Tensor, where: Tensor) -> Tensor:
        """Return how far colors, and twice how far means over small squares, are off in some places."""
        coarse = F.avg_pool2d(away, COARSE).abs() * F.avg_pool2d(where, COARSE)
        return 2 * coarse.mean() + (chroma(away).abs() * where).mean()

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
    pairs: Pairs,
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
        pairs: scenes of its world without and with an object.
        recipe: what decides the run.
        minutes: how long.
        budget: how many crops are drawn in all, at most.
        device: where it runs.
        log_every: steps between two lines of the log.

    Returns:
        The painter with the averaged weights, on the device.
    """
    painter = channels_last(copy.deepcopy(painter).to(device)).eval()
    gallery = Gallery(painter, shaper, segmenter, data, pairs, recipe)
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
