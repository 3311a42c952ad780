"""Do concepts that were found without labels match the true classes, and can they be painted?

    python -m benchmarks.discovery [--parts 16] [--scenes 200] [--edits 40] [--seed 0] [--alone]
                                   [--json FILE] [--check]

Concepts are discovered in the demo's features, with no label and without its segmenter, as the editor does:
in the features that the encoder reads from the gallery's pictures. ``--alone`` takes the generator alone, and
its samples: encoder and fine layers learned with label maps in their losses, so both tests know of labels
indirectly, and this one less. Then, on held-out scenes that are not in the gallery:

* ``matched``: with the scenes' exact labels, every class is given the part with which it has the
  largest IoU, each part once, the best pairs first. How many classes reach .5?
* ``tree added``: trees are added where the scenes' own program adds them, with the demo's taught concept and
  with the part that was matched with it, on the same inversions. The judge, which nothing else uses, says
  which pixels are new trees: their IoU with the mask, as a mean. The two may differ by .1, as users have them
  and without the shaper. A discovery hands on the shaper that its generator has. The demo's is not told what
  an object is, but it has learned outlines from pairs of scenes. With ``--alone``, there is none to hand on.

Cheats are measured along, and each must miss the bar: the same clusters shared out among the parts at random,
k-means of the pixels' colors alone, the picture cut into fields of equal size, and one part for everything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import counterfactual, inverted, painted, plain, tensor_of_mask
from benchmarks.figures import Figure, Report, bootstrap, parser
from benchmarks.judge import load_judge
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, Scene, render_many
from ganpaint_widget.dissection import discover
from ganpaint_widget.images.arrays import tensor_of
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load
from ganpaint_widget.training.data import to_tensor

MATCHED, WANTED, APART = 0.5, 8, 0.1
"""IoU from which a class counts as matched, how many must be, and how far the two additions may differ."""

TESTED = HELD_OUT[10_000:]
"""The seeds of the scenes that decide. The gallery shows others."""

BATCH = 25

Look = Callable[[Tensor], Tensor]
"""Pictures B x 3 x R x R to label maps B x R x R."""


def overlaps(look: Look, parts: int, pictures: Tensor, labels: Tensor) -> Tensor:
    """IoU of each class with each part over all pictures: classes x ``parts``."""
    table = torch.zeros(len(CLASSES), parts, dtype=torch.float64)
    for some, true in zip(torch.split(pictures, BATCH), torch.split(labels, BATCH), strict=True):
        pairs = true.flatten() * parts + look(some).flatten()
        table += torch.bincount(pairs, minlength=table.numel()).view_as(table)
    union = table.sum(dim=1, keepdim=True) + table.sum(dim=0) - table
    return table / union.clamp_min(1)


def matches(iou: Tensor) -> dict[str, tuple[int, float]]:
    """Class to its part and their IoU: the best pair first, each class and each part once."""
    left, found = iou.clone(), {}
    for _ in range(min(iou.shape)):
        row, part = divmod(int(left.argmax()), iou.shape[1])
        found[CLASSES[row]] = part, float(left[row, part])
        left[row], left[:, part] = -1, -1
    return found


def matched(found: dict[str, tuple[int, float]]) -> int:
    """How many classes reach ``MATCHED``."""
    return sum(iou >= MATCHED for _, iou in found.values())


def fields(parts: int, size: int) -> Look:
    """Return the cheat that never looks: fields of a grid."""
    across = int(np.ceil(np.sqrt(parts)))
    place = torch.arange(size) * across // size
    grid = (place[:, None] * across + place[None]).clamp_max(parts - 1)
    return lambda pictures: grid.expand(len(pictures), size, size)


def colors(parts: int, pictures: Tensor, rounds: int = 20) -> Look:
    """Return the cheat that sees only colors: k-means (Lloyd 1982) of the pixels of some pictures."""
    random = torch.Generator().manual_seed(0)
    pixels = pictures.movedim(1, -1).flatten(0, 2)
    pixels = pixels[torch.randint(len(pixels), (20_000,), generator=random)]
    centers = pixels[torch.randperm(len(pixels), generator=random)[:parts]]
    for _ in range(rounds):
        nearest = torch.cdist(pixels, centers).argmin(dim=1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, pixels)
        amounts = torch.bincount(nearest, minlength=parts)[:, None]
        centers = torch.where(amounts > 0, sums / amounts.clamp_min(1), centers)
    return lambda some: (
        torch.cdist(some.movedim(1, -1).flatten(1, 2), centers).argmin(2).view(len(some), *some.shape[-2:])
    )


@torch.no_grad()
def additions(models: dict[str, tuple[Model, str]], count: int) -> dict[str, np.ndarray]:
    """IoU of new tree pixels with the mask, for each model and concept on the same scenes."""
    judge = load_judge()
    found: dict[str, list[float]] = {name: [] for name in models}
    tree = CLASSES.index("tree")
    for number, seed in enumerate(TESTED):
        if len(found["taught"]) == count:
            break
        first = next(iter(models.values()))[0]
        size = first.generator.resolution
        scene = Scene.sample(seed)
        other = counterfactual(scene, "add", "tree", size, number)
        if other is None:
            continue
        x = tensor_of(scene.render(size), "cpu")
        original, mask = inverted(first, x), np.asarray(other.object_mask > 0, np.uint8) * 255
        inside = tensor_of_mask(mask)[0, 0] > 0
        before = judge.segment(x)[0] == tree
        for name, (model, concept) in models.items():
            edited = painted(model, x, original, "add", concept, mask)
            new = (judge.segment(plain(model, edited).clamp(-1, 1))[0] == tree) & ~before
            found[name].append(float((new & inside).sum() / (new | inside).sum()))
    return {name: np.asarray(values) for name, values in found.items()}


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--parts", type=int, default=16, help="how many concepts are looked for")
    arguments.add_argument(
        "--scenes", type=int, default=200, help="held-out scenes whose classes are compared"
    )
    arguments.add_argument("--edits", type=int, default=40, help="trees that are added")
    arguments.add_argument("--seed", type=int, default=0, help="of the discovery")
    arguments.add_argument("--alone", action="store_true", help="without the encoder and the gallery")
    options = arguments.parse_args()
    report, demo = Report(), load("demo")
    assert demo.dissection is not None

    began = time.process_time()
    # Of the demo's dissection, discovery takes the shaper and nothing else.
    known = demo.generator if options.alone else replace(demo, segmenter=None)
    found = discover(known, options.parts, seed=options.seed)
    report.add(Figure("processor seconds to discover", time.process_time() - began))
    parts = found.parts
    assert parts is not None
    size = demo.generator.resolution
    images, true = render_many(TESTED[: options.scenes], size)
    pictures, labels = to_tensor(images), torch.from_numpy(true.astype(np.int64))

    pairs = matches(overlaps(parts.segment, len(parts.classes), pictures, labels))
    for name, (part, iou) in sorted(pairs.items(), key=lambda one: -one[1][1]):
        report.add(Figure(f"IoU of {name}", iou, note=parts.classes[part]))
    report.add(Figure("classes matched", matched(pairs), low=WANTED, note=f"of {len(CLASSES)}"))

    random = torch.Generator().manual_seed(0)
    shuffled = parts.member[torch.randperm(len(parts.member), generator=random)]
    cheats: dict[str, Look] = {
        "random clusters": parts.with_member(shuffled, parts.classes, ()).segment,
        "colors alone": colors(len(parts.classes), demo.generator.sample(50, options.seed).clamp(-1, 1)),
        "fields of a grid": fields(len(parts.classes), size),
        "one part": lambda some: torch.zeros(len(some), size, size, dtype=torch.int64),
    }
    for name, look in cheats.items():
        score = matched(matches(overlaps(look, len(parts.classes), pictures, labels)))
        report.add(Figure(f"classes matched by {name}", score, high=WANTED - 1, note="a cheat"))

    tree = parts.classes[pairs["tree"][0]]
    models = {
        name: (replace(demo, dissection=known, segmenter=seeing), concept)
        for name, known, seeing, concept in (
            ("taught", demo.dissection, demo.segmenter, "tree"),
            ("discovered", found, parts, tree),
            ("taught, no shaper", replace(demo.dissection, shaper=None), demo.segmenter, "tree"),
            ("discovered, no shaper", replace(found, shaper=None), parts, tree),
        )
    }
    scores = additions(models, options.edits)
    for name, values in scores.items():
        report.add(
            Figure(f"tree added, {name}", float(values.mean()), bootstrap(values), note=models[name][1])
        )
    for taught, discovered, high in (
        ("taught", "discovered", APART),
        ("taught, no shaper", "discovered, no shaper", APART),
        ("taught", "discovered, no shaper", None),
    ):
        worse = scores[taught] - scores[discovered]
        name = f"{taught}, less {discovered}"
        report.add(Figure(name, float(worse.mean()), bootstrap(worse), high=high, note="IoU"))
    return report.finish(options, parts=options.parts, seed=options.seed, alone=options.alone)


if __name__ == "__main__":
    sys.exit(main())
