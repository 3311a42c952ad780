"""Edits in the loop: encoder and fine layers learn to draw what is painted.

The encoder reads the features of the edit layer from a picture, and the fine layers draw the picture from
them: an autoencoder. In most pictures the features are edited on the way as the editor edits them,
and the fine layers have to draw what the edit means. Pairs of scenes that differ by one object know that to
the pixel:

* *own*: some of a scene's objects have their features replaced with their mean; the truth is the scene.
* *add*: in the scene without the object, its mean features from the scene with it; the truth is that scene.
* *remove*: in the scene with the object, its surroundings continued into its cells; the truth is the scene
  without it.
* *another's*: an object's mean features from some other scene, in the object's shape or in that of a stroke.
  Such a picture has no truth, so the discriminator alone judges it.

The means of *own* and *add* are read from the scene moved, scaled and perhaps mirrored. Read in place, a mean
would tell where in its cells the object lies and how large it is, which an exemplar from elsewhere cannot
tell: the fine layers would learn to rely on it, and not on the mask.

Losses: mean absolute error, that of the slopes, that of the opponent colors, the activations of a frozen
segmenter, and the segmenter's classes inside what was painted. All but the classes count five times as much
at an edit and around it. Opponent colors compare red with green, and both with blue (:func:`chroma`):
brightness is not in them, so that a pale color is not paid for with a good brightness.

After ``warm_up`` pictures a discriminator of patches (Isola et al. 2017) judges each picture together with
its label map, in relativistic pairs of the drawn and the true picture (Jolicoeur-Martineau 2019), with
gradient penalties on both (Huang et al. 2024); its weight grows slowly. Convolutions learn by
:class:`~ganpaint_widget.training.muon.Muon`, all else by Adam. In the last part of a run's time all rates
fall to nearly nothing, which takes the noise of the last steps out of the weights.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..method.equation import continued
from ..models.encoder import Encoder
from ..models.networks import channels_last
from ..models.progan import ProGAN
from ..training.data import to_bytes
from ..training.painter import Painter, mean_inside, painted, slopes
from ..training.precision import bfloat16
from ..training.run import PictureRates, PictureRun, carry_out, laid_out, noisy
from .pairs import Batch, Pairs
from .scenes import CLASSES
from .segmenter import SceneSegmenter

log = logging.getLogger(__name__)

OBJECTS = tuple(
    CLASSES.index(name) for name in ("tree", "dome", "window", "door", "cloud", "roof", "mountain", "path")
)
"""Classes whose objects are replaced with their own mean."""

GROUNDS = tuple(CLASSES.index(name) for name in ("sky", "grass", "wall"))
"""Classes without objects: a stroke's share of them is replaced."""

GROUND_PAINTED = 0.35
"""Of the lessons with another's features: a ground, painted where the object would be."""

NEAR = 4
"""Pixels around an edit in which errors count as much as inside."""

SMALLEST = 20
"""Pixels of an object whose mean is worth painting with."""

BANK = 60
"""How many objects of a class are remembered, to be painted into other scenes."""


@dataclass(frozen=True)
class Recipe(PictureRates):
    """Everything that decides a run.

    Attributes:
        latent_size, channels, edit_layer: of the generator, see :class:`.ProGAN`.
        residual: of the encoder, see :class:`.Encoder`.
        pairs: how many pairs of scenes there are.
        perceptual: the weight of errors in the segmenter's features.
        classes: the weight of errors in the segmenter's classes.
    """

    latent_size: int = 256
    channels: tuple[int, ...] = (256, 256, 192, 96, 48, 32)
    edit_layer: str = "layer6"
    residual: tuple[int, ...] = (1, 2)
    pairs: int = 30_000
    perceptual: float = 0.5
    classes: float = 0.3

    @property
    def resolution(self) -> int:
        """Of the generator's pictures."""
        return 4 << (len(self.channels) - 1)


DEMO: Final = Recipe(
    batch=4,
    warm_up=38_000,
    ramp=15_000,
    learning_rate_judge=1e-3,
    penalty=0.006,
    slopes=0.5,
    adversarial=0.08,
)
"""The demo world's."""


def new_painter(recipe: Recipe) -> Painter:
    """Return a painter with random weights."""
    generator = ProGAN(recipe.latent_size, recipe.channels, recipe.edit_layer)
    encoder = Encoder(
        generator.resolution,
        recipe.latent_size,
        generator.shape(recipe.edit_layer),
        fold=max(1, generator.resolution // 64),
        residual=recipe.residual,
    )
    return Painter(generator, encoder)


# --- edits of a batch ---


def moved(
    pictures: Tensor, masks: Tensor, instances: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Move, scale and perhaps mirror pictures and what lies on them, so that the masks stay in the picture.

    Args:
        pictures: B x 3 x R x R.
        masks: B x 1 x R x R, 0 or 1, none of them empty.
        instances: B x R x R, which object each pixel shows.
        random: draws the scales, from exp(-.25) to exp(.25), and the places.
    """
    size = masks.shape[-1]
    theta = torch.zeros(len(masks), 2, 3)
    for matrix, mask in zip(theta, masks, strict=True):
        zoom = math.exp(random.uniform(-0.25, 0.25))
        matrix[0, 0], matrix[1, 1] = zoom * random.choice((-1, 1)), zoom
        rows, columns = torch.nonzero(mask[0] > 0, as_tuple=True)
        for axis, at in enumerate((columns, rows)):
            center = (2 * float(at.float().mean()) + 1) / size - 1
            goal = np.clip(center + random.uniform(-0.15, 0.15), -0.8, 0.8)
            matrix[axis, 2] = center - float(matrix[axis, axis]) * goal
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False).to(pictures)
    objects = F.grid_sample(
        instances[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    return (
        F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False),
        F.grid_sample(masks, grid, mode="nearest", align_corners=False),
        objects[:, 0].to(instances.dtype),
    )


def removed(features: Tensor, mask: Tensor) -> Tensor:
    """Return features with a removal: the surroundings continued into every cell that the mask touches."""
    reach = F.adaptive_max_pool2d(mask, features.shape[-2:])
    return (1 - reach) * features + reach * continued(features, reach[0, 0] > 0)


def stroke(random: np.random.Generator, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a stroke at about the place and size of a mask: a disc, a box, an ellipse or a scribble."""
    rows, columns = np.nonzero(mask)
    height, width = (max(6, int(at.max() - at.min()) + 1) for at in (rows, columns))
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    y, x = y - rows.mean(), x - columns.mean()
    scale = random.uniform(0.7, 1.2)
    kind = random.integers(4)
    if kind == 0:
        return np.asarray(np.hypot(y, x) <= max(4, scale * math.sqrt(height * width) / 2))
    if kind == 1:
        return np.asarray((abs(y) <= scale * height / 2) & (abs(x) <= scale * width / 2))
    if kind == 2:
        return np.asarray(np.hypot(y / (scale * height / 2 + 2), x / (scale * width / 2 + 2)) <= 1)
    radius, corners = random.uniform(4, 9), random.integers(3, 7)
    path = random.uniform(-0.5, 0.5, (corners, 2)) * (height, width)
    drawn = np.zeros_like(mask)
    for start, end in itertools.pairwise(path):
        for share in np.linspace(0, 1, 8):
            at = (1 - share) * start + share * end
            drawn |= np.hypot(y - at[0], x - at[1]) <= radius
    return drawn


@dataclass
class Lesson:
    """Edited features and what they should look like.

    Attributes:
        features: B x C x G x G.
        pictures: B x 3 x R x R, the truth where ``known`` is 1, else some true picture.
        labels: int64 B x R x R, the classes that the drawn picture should have.
        true_labels: int64 B x R x R, those of ``pictures``.
        focus: B x 1 x R x R, 1 where the edit is.
        known: B x 1 x 1 x 1, whether there is a truth.
    """

    features: Tensor
    pictures: Tensor
    labels: Tensor
    true_labels: Tensor
    focus: Tensor
    known: Tensor


class Lessons:
    """Makes lessons from pairs; remembers objects that it has met, to paint them elsewhere."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.bank: dict[int, deque[Tensor]] = defaultdict(lambda: deque(maxlen=BANK))

    def __call__(
        self,
        pairs: Batch,
        without: Tensor,
        with_: Tensor,
        seen: tuple[Tensor, Tensor, Tensor],
        *,
        unknown: bool,
    ) -> Lesson:
        """Two lessons a pair: one with an object, and one without it or with another's.

        The first pair gives a plain one as well. That is enough: around an edit, too, a picture has to be as
        it was.

        Args:
            pairs: B pairs.
            without, with_: their features.
            seen: the features of the scenes with the object once more, of views of them that :func:`moved`
                made, with the masks and the instances there. The objects' means are read from these.
            unknown: also make lessons without a truth.
        """
        rows: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, bool]] = []
        nothing = torch.zeros_like(pairs.mask[:1])
        views, places, objects = seen
        means = mean_inside(views, places)
        before, after = pairs.instances_without >> 3, pairs.instances_with >> 3
        for one in range(len(without)):
            mask = pairs.mask[one : one + 1]
            empty, full = without[one : one + 1], with_[one : one + 1]
            concept = int(torch.bincount(after[one][mask[0, 0] > 0]).argmax())
            own = means[one : one + 1]
            self.bank[concept].append(own.detach())
            lacking = (pairs.without[one], before[one], before[one])
            complete = (pairs.with_[one], after[one], after[one])
            if one == 0:
                plain = (empty, *lacking) if self.random.random() < 0.5 else (full, *complete)
                rows.append((*plain, nothing, True))
            if self.random.random() < 0.45:
                features, focus = self._own(
                    full, pairs.instances_with[one], views[one : one + 1], objects[one]
                )
                rows.append((features, *complete, focus, True))
            else:
                rows.append((painted(empty, mask, own), *complete, mask, True))
            if self.random.random() < 0.3:
                wide = mask
                if self.random.random() < 0.3:
                    wide = torch.maximum(mask, self._stroke(mask))
                rows.append((removed(full, wide), *lacking, mask, True))
            elif not unknown:
                rows.append((painted(empty, mask, own), *complete, mask, True))
            else:
                kind = concept
                if self.random.random() < GROUND_PAINTED:
                    kind = int(self.random.choice([one for one in GROUNDS if self.bank[one]] or [concept]))
                other = self.bank[kind][self.random.integers(len(self.bank[kind]))]
                where, wanted = mask, after[one]
                if kind != concept or self.random.random() < 0.5:
                    where = self._stroke(mask)
                    wanted = before[one].masked_fill(where[0, 0] > 0, kind)
                rows.append(
                    (painted(empty, where, other), pairs.with_[one], wanted, after[one], where, False)
                )
        edited, pictures, labels, true_labels, focuses, known = zip(*rows, strict=True)
        return Lesson(
            torch.cat(edited),
            torch.stack(pictures),
            torch.stack(labels),
            torch.stack(true_labels),
            torch.cat(focuses),
            torch.tensor(known, dtype=torch.float32, device=without.device).view(-1, 1, 1, 1),
        )

    def _own(self, features: Tensor, instances: Tensor, view: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Features in which up to four of a scene's objects have become their mean, and where they are.

        Args:
            features: of the scene, 1 x C x G x G.
            instances: of the scene, R x R.
            view: features of a view of the scene. The means are read here, if the objects can be seen here.
            there: the instances in the view.
        """
        kinds = OBJECTS + GROUNDS
        present = [one for one in torch.unique(instances).tolist() if one >> 3 in kinds]
        focus = torch.zeros_like(instances, dtype=torch.float32)[None, None]
        for instance in self.random.permutation(present)[: self.random.integers(1, 5)].tolist():
            all_of_them = self.random.random() < 0.15
            where = instances >> 3 == instance >> 3 if all_of_them else instances == instance
            mask = where.float()[None, None]
            if float(mask.sum()) < SMALLEST:
                continue
            read, source = features, mask
            if instance >> 3 in GROUNDS:
                source = mask = mask * self._stroke(self._part(mask))
                if float(mask.sum()) < SMALLEST:
                    continue
            else:
                found = there >> 3 == instance >> 3 if all_of_them else there == instance
                if float(found.sum()) >= SMALLEST:
                    read, source = view, found.float()[None, None]
            mean = mean_inside(read, source)
            if instance >> 3 in GROUNDS:
                self.bank[instance >> 3].append(mean.detach())
            features = painted(features, mask, mean)
            focus = torch.maximum(focus, mask)
        return features, focus

    def _part(self, mask: Tensor) -> Tensor:
        """Return a box of a fifth to a half of the picture's side around a pixel of a mask."""
        side = mask.shape[-1]
        rows, columns = torch.nonzero(mask[0, 0], as_tuple=True)
        at = int(self.random.integers(len(rows)))
        reach = int(side * self.random.uniform(0.1, 0.25))
        top, left = (max(0, int(one[at]) - reach) for one in (rows, columns))
        part = torch.zeros_like(mask)
        part[..., top : top + 2 * reach, left : left + 2 * reach] = 1
        return part

    def _stroke(self, mask: Tensor) -> Tensor:
        drawn = stroke(self.random, mask[0, 0].cpu().numpy() > 0)
        return torch.from_numpy(drawn).to(mask)[None, None]


# --- the run ---


def chroma(pictures: Tensor) -> Tensor:
    """Return opponent colors of pictures B x 3 x R x R: r - g and (r + g) / 2 - b, B x 2 x R x R."""
    red, green, blue = pictures.unbind(dim=1)
    return torch.stack([red - green, (red + green) / 2 - blue], dim=1)


class EditsRun(PictureRun[Batch]):
    """A run on pairs of scenes.

    Args:
        recipe: what decides it.
        segmenter: frozen; its activations are the perceptual loss.
        start: a painter to begin from.
        device: where it runs.
    """

    def __init__(
        self, recipe: Recipe, segmenter: SceneSegmenter, start: Painter | None = None, device: str = "cpu"
    ) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, start or new_painter(recipe), len(CLASSES), device)
        self.recipe = recipe
        self.segmenter = channels_last(copy.deepcopy(segmenter).to(device)).eval().requires_grad_(False)
        self.lessons = Lessons(recipe.seed)

    def load(self, path: Path) -> None:
        """Take a run up where it was saved."""
        super().load(path)
        self.lessons = Lessons(self.recipe.seed + self.step)

    def learn(self, pairs: Batch) -> dict[str, float]:
        """Take one step on a batch of pairs. Returns the parts of the loss, by name."""
        recipe, painter = self.recipe, self.painter
        judged = self.shown >= recipe.warm_up
        pairs = Batch(*(field.to(self.device) for field in pairs))
        count = len(pairs.mask)
        precision = bfloat16(self.device)
        with precision:
            views, places, objects = moved(pairs.with_, pairs.mask, pairs.instances_with, self.lessons.random)
            features = painter.encode(laid_out(torch.cat([pairs.without, pairs.with_, views]))).float()
            features, seen = features[: 2 * count], features[2 * count :]
            features = noisy(features)
            lesson = self.lessons(
                pairs, features[:count], features[count:], (seen, places, objects), unknown=judged
            )
            drawn = painter.draw(lesson.features)
            read = self.segmenter.features(laid_out(drawn.clamp(-1.2, 1.2)))
            logits = self.segmenter.classify(read).float()
            with torch.no_grad():
                wanted = self.segmenter.features(laid_out(lesson.pictures))
        around = F.max_pool2d(lesson.focus, 2 * NEAR + 1, stride=1, padding=NEAR)
        weight = (1 + 4 * around) * lesson.known
        parts = {
            "pixels": ((drawn - lesson.pictures).abs() * weight).mean(),
            "slopes": ((slopes(drawn) - slopes(lesson.pictures)).abs() * weight).mean(),
            "chroma": ((chroma(drawn) - chroma(lesson.pictures)).abs() * weight).mean(),
            "perceptual": torch.stack(
                [
                    ((a - b).abs().float() * F.adaptive_avg_pool2d(weight, (a.shape[-2], a.shape[-1]))).mean()
                    / b.float().abs().mean()
                    for a, b in zip(read, wanted, strict=True)
                ]
            ).mean(),
            "classes": (
                F.cross_entropy(logits, lesson.labels, reduction="none")[:, None] * (lesson.focus + 0.05)
            ).mean(),
            "outside": (drawn.abs() - 1).clamp_min(0).mean(),
        }
        loss = parts["pixels"] + parts["chroma"] + recipe.slopes * 2 * parts["slopes"]
        loss = loss + recipe.perceptual * parts["perceptual"]
        loss = loss + recipe.classes * parts["classes"] + 0.2 * parts["outside"]
        if judged:
            fooling, parts["gap"] = self._judged(lesson, drawn, around)
            loss = loss + recipe.adversarial * recipe.grown(self.shown) * fooling
        self.follow(loss, len(drawn))
        return {name: float(part.detach()) for name, part in parts.items()}

    def _judged(self, lesson: Lesson, drawn: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        """Return the discriminator's scores of pictures with the labels that they should have."""
        true, wanted = (
            F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
            for labels in (lesson.true_labels, lesson.labels)
        )
        side = drawn.shape[-1] // 8
        weight = 1 + 5 * F.adaptive_max_pool2d(around, (side, side))
        return self.judge(lesson.pictures, drawn, (true, wanted), weight / weight.mean())

    @torch.no_grad()
    def write_sheet(self, pairs: Batch, path: Path) -> None:
        """Write rows: without the object, reconstructed, painted by its own mean, by another's, with it."""
        average = self.average.eval()
        pairs = Batch(*(field.to(self.device) for field in pairs))
        without, with_ = average.encode(pairs.without), average.encode(pairs.with_)
        own = mean_inside(with_, pairs.mask)
        columns = [
            pairs.without,
            average.draw(without),
            average.draw(painted(without, pairs.mask, own)),
            average.draw(painted(without, pairs.mask, own.roll(1, 0))),
            pairs.with_,
        ]
        rows = np.concatenate([to_bytes(column.cpu()) for column in columns], axis=2)
        Image.fromarray(np.concatenate(list(rows))).save(path)
        average.train()


def train_edits(
    folder: Path,
    recipe: Recipe,
    segmenter: SceneSegmenter,
    *,
    minutes: float,
    budget: float = math.inf,
    start: Painter | None = None,
    device: str = "cpu",
    log_every: int = 50,
) -> EditsRun:
    """Train for ``minutes``, or until ``budget`` pictures have been drawn in all.

    It goes on from ``folder/edits.pt`` where there is one, else from ``start``; see :func:`.carry_out`.
    """
    pairs = Pairs(folder.parent / "scenes", recipe.resolution, recipe.pairs)
    return carry_out(
        EditsRun(recipe, segmenter, start, device),
        folder / "edits.pt",
        lambda seed: pairs.batches(recipe.batch, seed),
        next(pairs.batches(min(16, len(pairs)), 0)),
        minutes=minutes,
        budget=budget,
        log_every=log_every,
    )
