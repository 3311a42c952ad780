"""Do things that were added look like true ones?

    python -m benchmarks.looks [--cases 200] [--sheet FILE] [--json FILE] [--check]

``benchmarks.quality`` asks whether what was painted comes and whether the photo stays. Here the question is
whether what came looks real. As there, each case is a held-out scene to which one thing is added in the shape
in which the scene's own program adds it, at strength 1, so that the true result is known to the pixel.

* **Told apart**: how often a classifier is right which of two crops is the true counterfactual's, see
  ``telling.py``; .5 by chance, 1 always. Beside the result G'(z_e): the preview G(z_e); true crops of other
  scenes, which must be told as little as chance allows; and copy and paste, the rival that everybody has: a
  true object of another scene, scaled to the mask's box and blended by Poisson (OpenCV).
* **Chroma** and **gradient**: the spread of the chroma and the mean gradient inside the mask, relative to
  those of the truth; medians.
* **Strokes** of other shapes than silhouettes: discs, boxes and scribbles of a brush where the counterfactual
  has the concept. For them no truth is known, so each is compared with a true object of about the same area,
  of another scene. ``share``: on which part of the stroke the judge sees the concept. A row of its own says
  how well the truth behind the stroke is told from those objects, by the shape of the stroke alone.
* **Opening**: PSNR of what the encoder alone gives, of an editor's first picture, and of the inversion.

The classifier learns more from more cases, so figures of different ``--cases`` do not compare.

Cheats are measured along, and each must miss a bar: the photo's own pixels, the truth's mean color, the truth
blurred, and the truth with noise.

``--sheet`` writes 60 unselected edits as a picture: six additions and six removals of each concept, and of
each the photo with the mask's outline, G(z_e), G'(z_e), and the truth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cases import (
    CONCEPTS,
    Case,
    adapted,
    cases,
    counterfactual,
    pasted,
    plain,
    repainted,
    stored,
    tensor_of_mask,
)
from benchmarks.figures import Figure, Report, bootstrap, parser
from benchmarks.judge import Judge, load_judge
from benchmarks.telling import Crop, chroma_spread, descriptor, gradient_energy, told_apart
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, Scene
from ganpaint_widget.images.arrays import array_of, tensor_of
from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method.adaptation import dilate
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load
from ganpaint_widget.session.processes.inverting import GLANCE

OTHERS = HELD_OUT[50_000:]
"""Where true crops of other scenes come from; cases are made of the first held-out seeds."""

ON_SHEET = 6
"""Additions, and removals, of each concept on the sheet."""


class Shown(NamedTuple):
    """A case with what a user sees of it: G(z_e) and G'(z_e), 1 x 3 x R x R, as 8-bit pictures."""

    case: Case
    preview: Tensor
    result: Tensor


def shown(model: Model, case: Case, result: Tensor | None = None) -> Shown:
    """Return the case adapted, unless it already has a ``result`` (1 x 3 x R x R)."""
    if result is None:
        render = adapted(model, case)
        with torch.no_grad():
            result = render(case.edited)
    with torch.no_grad():
        preview = plain(model, case.edited)
    return Shown(case, eight_bit(preview), eight_bit(result))


def eight_bit(picture: Tensor) -> Tensor:
    """As it is saved and shown. Scenes are so, too: the classifier shall not go by the last bit."""
    return tensor_of(array_of(picture), "cpu")


# --- what results are compared with ---


def other_crops(chosen: Sequence[Case], seeds: Sequence[int] = OTHERS) -> list[Crop]:
    """For each case a true object of its concept, added by the program to another scene."""
    found, index = [], 0
    for case in chosen:
        size, other = case.x.shape[-1], None
        while other is None:
            index += 1
            other = counterfactual(Scene.sample(seeds[index]), "add", case.concept, size, choice=index)
        found.append(Crop(tensor_of(other.scene.render(size), "cpu"), tensor_of_mask(other.object_mask)))
    return found


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of 1 x 3 x R x R, ``sigma`` in pixels."""
    radius = round(3 * sigma)
    kernel = torch.exp(-torch.arange(-radius, radius + 1).square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    padded = F.pad(picture, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def own_pixels(case: Case) -> Tensor:
    """Return a cheat: the photo itself."""
    return case.x


def mean_color(case: Case) -> Tensor:
    """Return a cheat: the mask filled with the truth's mean color."""
    mean = (case.truth * case.mask).sum(dim=(2, 3), keepdim=True) / case.mask.sum()
    return case.truth + (mean - case.truth) * case.mask


def blur(case: Case) -> Tensor:
    """Return a cheat: the truth, blurred by a sigma of 1/64 of the side inside the mask."""
    return case.truth + (blurred(case.truth, case.x.shape[-1] / 64) - case.truth) * case.mask


def noise(case: Case) -> Tensor:
    """Return a cheat: the truth with noise inside the mask, of a twentieth of the range."""
    source = torch.Generator().manual_seed(case.seed)
    return case.truth + 0.1 * torch.randn(case.x.shape, generator=source) * case.mask


CHEATS: tuple[Callable[[Case], Tensor], ...] = (own_pixels, mean_color, blur, noise)


# --- measures ---


@dataclass(frozen=True)
class Look:
    """What N made crops look like beside N true ones.

    Attributes:
        concepts: of each pair.
        told: how often the classifier is right about each pair, 0 to 1.
        chroma, gradient: of the made crop relative to the true one.
    """

    concepts: tuple[str, ...]
    told: np.ndarray
    chroma: np.ndarray
    gradient: np.ndarray

    def of(self, concept: str) -> Look:
        """Return the pairs of one concept."""
        which = np.asarray(self.concepts) == concept
        return Look((concept,) * int(which.sum()), self.told[which], self.chroma[which], self.gradient[which])

    @property
    def known(self) -> list[str]:
        """The concepts that there are, in the usual order."""
        return [one for one in CONCEPTS if one in self.concepts]

    def row(self) -> dict[str, Any]:
        """For the table and the JSON."""
        by_concept = [(name, self.of(name)) for name in self.known]
        return {
            "told": {"all": float(self.told.mean())} | {k: float(v.told.mean()) for k, v in by_concept},
            "interval": bootstrap(self.told),
            "chroma": {k: float(np.median(v.chroma)) for k, v in by_concept},
            "gradient": {k: float(np.median(v.gradient)) for k, v in by_concept},
        }


class Truth:
    """N true crops, described once for all that is compared with them."""

    def __init__(self, judge: Judge, crops: Sequence[Crop], concepts: Sequence[str]) -> None:
        self.judge, self.concepts = judge, tuple(concepts)
        self.described = np.stack([descriptor(judge, crop) for crop in crops])
        self.chroma = np.array([chroma_spread(crop) for crop in crops])
        self.gradient = np.array([gradient_energy(crop) for crop in crops])

    def beside(self, crops: Sequence[Crop]) -> Look:
        """How N made crops look beside these."""
        made = np.stack([descriptor(self.judge, crop) for crop in crops])
        return Look(
            self.concepts,
            told_apart(self.described, made, self.concepts),
            np.array([chroma_spread(crop) for crop in crops]) / self.chroma.clip(1e-3),
            np.array([gradient_energy(crop) for crop in crops]) / self.gradient.clip(1e-3),
        )


def print_table(rows: dict[str, Look]) -> None:
    """Told apart over all and by concept, in per cent; then chroma and gradient by concept."""
    known = next(iter(rows.values())).known
    width = 8 * len(known)
    print(f"{'':28}{'told apart, %':<{8 + width}}  {'chroma':<{width}}  {'gradient'}")
    names = "".join(f"{name:>8}" for name in known)
    print(f"{'':28}{'all':>8}{names}  {names}  {names}")
    for name, look in rows.items():
        row = look.row()
        told = "".join(f"{100 * row['told'][one]:8.0f}" for one in ("all", *known))
        ratios = ["".join(f"{row[kind][one]:8.2f}" for one in known) for kind in ("chroma", "gradient")]
        print(f"{name:28}{told}  {ratios[0]}  {ratios[1]}", flush=True)


def bars(look: Look, rival: Look) -> Iterator[Figure]:
    """Yield the bars for the look of additions."""
    yield Figure("told apart, all concepts", float(look.told.mean()), bootstrap(look.told), high=0.80)
    by_concept = {name: look.of(name) for name in look.known}
    worst = max(by_concept, key=lambda name: by_concept[name].told.mean())
    told = by_concept[worst].told
    yield Figure("told apart, worst concept", float(told.mean()), bootstrap(told), high=0.90, note=worst)
    ahead = [name for name, one in by_concept.items() if one.told.mean() < rival.of(name).told.mean()]
    yield Figure("concepts less told than copy and paste", len(ahead), low=3, note=", ".join(ahead) or "none")
    for kind in ("chroma", "gradient"):
        for name, one in by_concept.items():
            ratios = getattr(one, kind)
            value, interval = float(np.median(ratios)), bootstrap(ratios, np.median)
            yield Figure(f"add {name}: {kind}", value, interval, 0.7, 1.4, "of the truth's")
        ratios = getattr(look, kind)
        yield Figure(f"add, all: {kind}", float(np.median(ratios)), bootstrap(ratios, np.median))


def addition_figures(
    judge: Judge, added: Sequence[Shown], others: Sequence[Crop]
) -> tuple[dict[str, Look], list[Figure]]:
    """Return the table of all comparisons, and the figures; ``others`` come from :func:`other_crops`."""
    chosen = [one.case for one in added]
    truth = Truth(judge, [Crop(case.truth, case.mask) for case in chosen], [case.concept for case in chosen])
    copied = [Crop(*pasted(case, *other)) for case, other in zip(chosen, others, strict=True)]
    made: dict[str, Sequence[Crop]] = {
        "G'(z_e)": [Crop(one.result, one.case.mask) for one in added],
        "G(z_e)": [Crop(one.preview, one.case.mask) for one in added],
        "copy and paste": copied,
        "true, of other scenes": others,
    }
    for cheat in CHEATS:
        made[cheat.__name__] = [Crop(eight_bit(cheat(case)), case.mask) for case in chosen]
    rows = {name: truth.beside(crops) for name, crops in made.items()}
    rival = rows["copy and paste"]
    found = list(bars(rows["G'(z_e)"], rival))
    for name in ("G(z_e)", "copy and paste", "true, of other scenes"):
        told = rows[name].told
        found.append(Figure(f"told apart: {name}", float(told.mean()), bootstrap(told)))
    for cheat in CHEATS:
        missed = [figure.name for figure in bars(rows[cheat.__name__], rival) if figure.missed]
        name = f"bars of looks that the cheat {cheat.__name__} misses"
        found.append(Figure(name, len(missed), low=1, note=", ".join(missed)))
    return rows, found


# --- strokes of other shapes than silhouettes ---

KINDS = ("disc", "box", "scribble")


def largest_part(mask: np.ndarray) -> np.ndarray:
    """R x R, boolean: the largest connected part of a mask, such as one window of a row."""
    import cv2

    count, labels, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = max(range(1, count), key=lambda one: found[one, cv2.CC_STAT_AREA])
    return np.asarray(labels == largest)


def stroke(kind: str, place: np.ndarray, seed: int) -> np.ndarray:
    """One of ``KINDS`` as a mask, uint8 R x R, 0 or 255, at the place of an object (R x R, boolean).

    Discs and boxes are as large as the object; boxes are also as wide for their height. A scribble goes to
    and fro inside such a box, from its top to its bottom, with a round brush of up to 16 px (of 128).
    """
    import cv2

    size = len(place)
    area = place.sum()
    x, y, wide, high = cv2.boundingRect(place.astype(np.uint8))
    middle = np.array([x + (wide - 1) / 2, y + (high - 1) / 2])
    if kind == "disc":
        middle = np.argwhere(place).mean(axis=0)[::-1]
    half = np.sqrt(area / (wide * high)) * np.array([wide, high]) / 2
    across, down = np.abs(np.mgrid[:size, :size][::-1] - middle[:, None, None])
    if kind == "disc":
        made = across**2 + down**2 <= area / np.pi
    elif kind == "box":
        made = (across <= half[0]) & (down <= half[1])
    else:
        random = np.random.default_rng(seed)
        brush = np.clip(np.sqrt(area) / 3, 2, size / 8)
        turns = 2 + int(2 * half[1] / brush)
        inner = np.maximum(half - brush / 2, 0)
        side = np.where(np.arange(turns) % 2, 1, -1) * random.uniform(0.6, 1.0, turns)
        points = middle + inner * np.stack([side, np.linspace(-1, 1, turns)], axis=1)
        drawn = np.zeros((size, size), np.uint8)
        fine = np.round(points * 16).astype(np.int32)  # with four binary places
        cv2.polylines(drawn, [fine], False, 255, max(1, round(brush)), cv2.LINE_8, shift=4)
        made = drawn > 0
    return np.where(made, 255, 0).astype(np.uint8)


def matched(areas: np.ndarray, others: np.ndarray, concepts: Sequence[str]) -> np.ndarray:
    """N: for each of N areas the place of another, of the same concept and about as large, each used once."""
    names, place = np.asarray(concepts), np.empty(len(areas), int)
    for name in set(concepts):
        which = np.flatnonzero(names == name)
        place[which[areas[which].argsort()]] = which[others[which].argsort()]
    return place


def stroke_figures(
    model: Model, judge: Judge, chosen: Sequence[Case], others: Sequence[Crop]
) -> tuple[dict[str, Look], list[Figure], list[dict[str, Any]]]:
    """Return the table, the figures and the masks of each case; ``others`` come from :func:`other_crops`."""
    if not chosen:
        return {}, [], []
    concepts = [case.concept for case in chosen]
    parts = [largest_part(case.mask[0, 0].numpy() > 0) for case in chosen]
    kinds = [KINDS[place // len(CONCEPTS) % len(KINDS)] for place in range(len(chosen))]
    painted = [
        shown(model, repainted(model, case, stroke(kind, part, case.seed)))
        for case, kind, part in zip(chosen, kinds, parts, strict=True)
    ]
    others = [
        Crop(one.picture, tensor_of_mask(largest_part(one.mask[0, 0].numpy() > 0).astype(np.uint8)))
        for one in others
    ]
    areas = np.array([float(one.case.mask.sum()) for one in painted])
    nearest = matched(areas, np.array([float(one.mask.sum()) for one in others]), concepts)
    truth = Truth(judge, [others[place] for place in nearest], concepts)
    behind = [
        Crop(one.case.truth, one.case.mask * torch.from_numpy(part.astype(np.float32)))
        for one, part in zip(painted, parts, strict=True)
    ]
    rows = {
        "strokes: G'(z_e)": truth.beside([Crop(one.result, one.case.mask) for one in painted]),
        "strokes: G(z_e)": truth.beside([Crop(one.preview, one.case.mask) for one in painted]),
        "strokes: the truth behind": truth.beside(behind),
    }
    shares = []
    for one in painted:
        seen = judge.segment(one.result)[0] == CLASSES.index(one.case.concept)
        shares.append(float((seen * one.case.mask[0, 0]).sum() / one.case.mask.sum()))
    found = [Figure("strokes: share", float(np.mean(shares)), bootstrap(shares), low=0.7)]
    for names, label in ((np.asarray(concepts), CONCEPTS), (np.asarray(kinds), KINDS)):
        for name in label:
            values = np.asarray(shares)[names == name]
            if len(values):
                found.append(Figure(f"strokes, {name}: share", float(values.mean()), bootstrap(values)))
    look = rows["strokes: G'(z_e)"]
    found.append(Figure("strokes: told apart", float(look.told.mean()), bootstrap(look.told)))
    for kind in ("chroma", "gradient"):
        ratios = getattr(look, kind)
        found.append(Figure(f"strokes: {kind}", float(np.median(ratios)), bootstrap(ratios, np.median)))
    detail = [
        {"seed": case.seed, "concept": case.concept, "kind": kind, "share": share}
        for case, kind, share in zip(chosen, kinds, shares, strict=True)
    ]
    return rows, found, detail


# --- opening ---


def opening_figures(model: Model, chosen: Sequence[Case]) -> Iterator[Figure]:
    """How near the pictures that edits begin with are to the photos."""
    found: dict[str, list[float]] = {"encoder alone, by features": [], "first picture": [], "inversion": []}
    for case in chosen:
        first = invert(model, case.x, steps=GLANCE).state
        with torch.no_grad():
            guess = model.read(case.x)[1]
            for name, state in zip(found, (guess, first, case.original), strict=True):
                found[name].append(psnr(plain(model, state).clamp(-1, 1), case.x))
    for (name, values), low in zip(found.items(), (28, 32, 36), strict=True):
        yield Figure(name, float(np.mean(values)), bootstrap(values), low=low, note="dB")


# --- the sheet ---


def outlined(case: Case) -> Tensor:
    """Return the photo with a yellow line, dark on its outside, around the mask."""
    line = dilate(case.mask, 1) - case.mask
    halo = dilate(case.mask, 2) - case.mask - line
    yellow = torch.tensor([1.0, 0.9, -0.6]).view(1, 3, 1, 1)
    return case.x * (1 - line) * (1 - 0.6 * halo) - 0.6 * halo + yellow * line


def write_sheet(path: Path, edits: Sequence[Shown]) -> None:
    """Write the first ``ON_SHEET`` additions and removals of each concept side by side, as one PNG.

    Colors are rounded to steps of 4 of 255, which nobody sees and which makes the file much smaller.
    """
    size, gap, line = edits[0].case.x.shape[-1], 4, 16
    wide, titles = 4 * size + 3 * gap, ("photo", "G(z_e)", "G'(z_e)", "truth")
    font = ImageFont.load_default(size=11)
    parts = []
    for concept in CONCEPTS:
        columns = [
            [one for one in edits if (one.case.verb, one.case.concept) == (verb, concept)][:ON_SHEET]
            for verb in ("add", "remove")
        ]
        high = max(map(len, columns)) * (size + gap)
        part = Image.new("RGB", (2 * wide + 4 * gap, line + high), "white")
        pen = ImageDraw.Draw(part)
        for number, (column, word) in enumerate(zip(columns, ("added", "removed"), strict=True)):
            left = number * (wide + 4 * gap)
            for place, title in enumerate(titles):
                text = f"{concept} {word}: {title}" if place == 0 else title
                pen.text((left + place * (size + gap) + 2, 1), text, "black", font)
            for row, one in enumerate(column):
                pictures = (outlined(one.case), one.preview, one.result, one.case.truth)
                for place, picture in enumerate(pictures):
                    coarse = (np.asarray(array_of(picture)).astype(int) + 2) // 4 * 4
                    tile = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
                    part.paste(tile, (left + place * (size + gap), line + row * (size + gap)))
        parts.append(np.asarray(part))
    Image.fromarray(np.concatenate(parts)).save(path, optimize=True)


# --- all of it ---


def look_at(
    model: Model, judge: Judge, report: Report, added: Sequence[Shown], strokes: int, opened: int = 40
) -> dict[str, Any]:
    """Add every figure to the report and print the table; what else is stored.

    Args:
        added: additions, with what came of them.
        strokes: how many of these cases get a stroke as well.
        opened: how many of the photos are opened again, by the encoder alone and as an editor first does.
    """
    chosen = [one.case for one in added]
    others = other_crops(chosen)
    rows, found = addition_figures(judge, added, others)
    of_strokes, more, painted = stroke_figures(model, judge, chosen[:strokes], others[:strokes])
    print_table(rows | of_strokes)
    for figure in (*found, *more, *opening_figures(model, chosen[:opened])):
        report.add(figure)
    cases_of = [
        {"seed": case.seed, "concept": case.concept} | {
            name: [float(look.told[place]), float(look.chroma[place]), float(look.gradient[place])]
            for name, look in rows.items()
        }
        for place, case in enumerate(chosen)
    ]  # fmt: skip
    table = {name: look.row() for name, look in (rows | of_strokes).items()}
    return {"table": table, "additions": cases_of, "strokes": painted}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--cases", type=int, default=200, help="additions")
    arguments.add_argument("--strokes", type=int, default=100, help="how many of them get a stroke, too")
    arguments.add_argument("--sheet", type=Path, help="write the sheet of edits there, as a PNG")
    arguments.add_argument("--weights", type=Path, help="a folder like demo/weights, to measure others")
    arguments.add_argument("--first", type=int, default=0, help="the first held-out scene, to see others")
    options = arguments.parse_args()
    minutes = (options.cases + options.strokes // 2) // 8 + 2
    print(f"{options.cases} additions, about {minutes} minutes on two cores", flush=True)
    model = stored(options.weights) if options.weights else load("demo")
    judge, report = load_judge(), Report()
    scenes = HELD_OUT[options.first :]
    added = [shown(model, case) for case in cases(model, options.cases, verbs=("add",), seeds=scenes)]
    if options.sheet:
        removals = cases(model, ON_SHEET * len(CONCEPTS), verbs=("remove",), seeds=HELD_OUT[40_000:])
        write_sheet(options.sheet, [*added, *(shown(model, case) for case in removals)])
    return report.finish(options, looks=look_at(model, judge, report, added, options.strokes))


if __name__ == "__main__":
    sys.exit(main())
