"""How good are edits and adaptations, against scenes' exact counterfactuals?

    python -m benchmarks.quality [--scenes 200] [--page FOLDER] [--json FILE] [--check]

Each case is a held-out scene in which one thing is added or removed, at the place and in the shape in which
the scene's own program adds or removes it, so that the true result is known to the pixel. The photo is
inverted, the mask painted at strength 1, and the result is G'(z_e) without paste-back. What is where is said
by the judge, a segmenter that nothing else uses. Pixels count as painted where the mask is, and as *kept*
outside the mask dilated by 1/16 of the side.

* ``kept``: PSNR in dB of G'(z_e) against the photo on the kept pixels, mean and worst decile.
* ``gain``: by how many dB that is above the preview G(z_e), which the inversion alone gives.
* ``survival``: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the mask. 1 is right, 0 an edit that vanished.
* ``success``: does the judge find in G'(z_e) what was wanted, relative to G(z_e)?
* ``ghost``: slope of the regression of the high-passed G'(z_e) - G(z_e) on x - G(z) inside the mask: what of
  the photo's own residual was painted over the edit. 0 is right, 1 is the photo itself.
* ``swap``: is the picture of *another* latent under this photo's adaptation nearer to G of that latent than
  to the photo? An adaptation that pastes the photo fails here.
* ``seam``: mean gradient on a ring of 4 px (of 128) around the mask, relative to the true counterfactual's.
* ``add``: IoU of the mask and the concept's new pixels; ``spill``: new pixels near it, per pixel of mask.
* ``remove``: share of the object's pixels that are it no more; ``agree``: share of the mask where the judge
  sees what the true counterfactual has there.
* On removals, the distance to the true picture inside the mask, as PSNR and as distance of the judge's
  activations, beside G(z_e), a blurred fill, OpenCV's inpainting (Telea) and Poisson blending of G(z_e).

Whether what was added looks real is what ``benchmarks.looks`` asks; its figures come along, on as many
additions as there are scenes.

Cheats are measured along: returning the photo, pasting it around the mask, G(z_e) itself, a blurred result,
and noise. Each must miss a bar.

On ``--studied`` of the scenes, besides: the same edits on inversions and on what z alone draws; restyling
after three references; the other ways to adapt, as a table; and what the best 1 to 40 units of each concept
cause. ``--page`` writes the cases and the restyled photos as pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.cases import (
    CHEATS,
    CONCEPTS,
    Case,
    Render,
    adapted,
    blurred_fill,
    cases,
    inpainted,
    plain,
    poisson,
    stored,
)
from benchmarks.figures import Figure, Report, bootstrap, parser
from benchmarks.judge import Judge, load_judge
from benchmarks.looks import look_at, shown, write_sheet
from benchmarks.studies import ablation, causal_curves, inversions_against_samples, restyle_figures
from benchmarks.telling import gradient
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT
from ganpaint_widget.images.arrays import array_of
from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method.adaptation import dilate
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load

# --- measures ---


@torch.no_grad()
def measure(model: Model, judge: Judge, case: Case, render: Render) -> dict[str, float]:
    """All that one adapted generator shows on one case; NaN where a measure does not apply."""
    result, unedited = render(case.edited).clamp(-1, 1), render(case.original).clamp(-1, 1)
    preview, reconstruction = plain(model, case.edited).clamp(-1, 1), plain(model, case.original).clamp(-1, 1)
    size = result.shape[-1]
    outside = 1 - dilate(case.mask, size // 16)
    change = ((preview - reconstruction) * case.mask).norm()
    swapped, drawn = render(case.other).clamp(-1, 1), plain(model, case.other).clamp(-1, 1)
    residual = high_pass(case.x - reconstruction) * case.mask
    left = high_pass(result - preview) * case.mask
    kept = psnr(result, case.x, outside)
    ring = dilate(case.mask, max(1, size // 64)) - erode(case.mask, max(1, size // 64))
    row = CLASSES.index(case.concept)
    inside = case.mask[0, 0] > 0
    seen = judge.segment(result)[0]
    found = {
        "kept": kept,
        "gain": kept - psnr(preview, case.x, outside),
        "survival": float(((result - unedited) * case.mask).norm() / change.clamp_min(1e-6)),
        "left": float((left * residual).sum()),
        "residual": float(residual.square().sum()),
        "swap": float((swapped - drawn).norm() < (swapped - case.x).norm()),
        "ring": float((gradient(result) * ring).sum()),
        "true_ring": float((gradient(case.truth) * ring).sum()),
        "iou": np.nan,
        "spill": np.nan,
        "gone": np.nan,
        "agree": np.nan,
        "success": np.nan,
        "truth_decibel": np.nan,
        "truth_perceptual": np.nan,
    }
    if case.verb == "add":
        new = (seen == row) & (judge.segment(case.x)[0] != row)
        found["iou"] = float((new & inside).sum() / (new | inside).sum())
        # Far from the mask a pixel that changes its name is the inversion's doing, not the edit's.
        near = dilate(case.mask, size // 8)[0, 0] > 0
        found["spill"] = float((new & near & ~inside).sum() / inside.sum())
        found["success"] = share(seen == row, inside)
        wanted = share(judge.segment(preview)[0] == row, inside)
    else:
        object_pixels = inside & (case.labels == row)
        found["gone"] = share(seen != row, object_pixels)
        found["agree"] = share(seen == case.true_labels, inside)
        found["success"] = found["gone"]
        wanted = share(judge.segment(preview)[0] != row, object_pixels)
        found["truth_decibel"] = psnr(result, case.truth, case.mask)
        found["truth_perceptual"] = perceptual(judge, result, case.truth, case.mask)
    found["wanted"] = wanted
    return found


def share(which: Tensor, of: Tensor) -> float:
    """Return the share of the pixels ``of`` that are also ``which``."""
    return float((which & of).sum() / of.sum().clamp_min(1))


def erode(mask: Tensor, radius: int) -> Tensor:
    return 1 - dilate(1 - mask, radius)


def high_pass(picture: Tensor) -> Tensor:
    return picture - F.avg_pool2d(F.pad(picture, (3, 3, 3, 3), mode="reflect"), 7, stride=1)


@torch.no_grad()
def perceptual(judge: Judge, picture: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the squared distance of the judge's activations inside the mask, each of unit length.

    This is LPIPS without its weights (Zhang et al. 2018).
    """
    distance = 0.0
    for a, b in zip(judge.activations(picture), judge.activations(truth), strict=True):
        unit = [x / x.norm(dim=1, keepdim=True).clamp_min(1e-6) for x in (a, b)]
        where = F.interpolate(mask, size=a.shape[-2:], mode="area")
        distance += float(((unit[0] - unit[1]).square().sum(dim=1, keepdim=True) * where).sum() / where.sum())
    return distance


# --- bars ---


Measured = list[dict[str, float]]


def of(
    chosen: list[Case], measured: Measured, name: str, verb: str = "", concepts: Sequence[str] = CONCEPTS
) -> list[float]:
    """One measure over the cases of a verb (of all without one) and of some concepts."""
    return [
        one[name]
        for case, one in zip(chosen, measured, strict=True)
        if verb in ("", case.verb) and case.concept in concepts
    ]


def mean(name: str, values: list[float], low: float | None = None, high: float | None = None) -> Figure:
    return Figure(name, float(np.mean(values)), bootstrap(values), low, high, f"{len(values)} cases")


def adaptation_figures(chosen: list[Case], measured: Measured) -> Iterator[Figure]:
    """Yield how well G' keeps the photo and the edit, and how little of the photo shows inside the edit."""

    def every(name: str) -> list[float]:
        return of(chosen, measured, name)

    yield mean("kept", every("kept"), 33)
    yield Figure("kept, worst decile", float(np.quantile(every("kept"), 0.1)), low=30)
    yield mean("gain over the preview", every("gain"), 1)
    yield mean("survival", every("survival"), 0.8, 1.2)
    wanted = np.stack([every("success"), every("wanted")], axis=1)
    yield Figure("concept success, relative to G(z_e)", ratio(wanted), bootstrap(wanted, ratio), low=0.95)
    pairs = np.stack([every("left"), every("residual")], axis=1)
    yield Figure("ghost", ratio(pairs), bootstrap(pairs, ratio), -0.1, 0.1)
    yield mean("swap", every("swap"), 0.95)
    rings = np.stack([every("ring"), every("true_ring")], axis=1)
    yield Figure("seam", ratio(rings), bootstrap(rings, ratio), high=1.2)


def edit_figures(chosen: list[Case], measured: Measured) -> Iterator[Figure]:
    """Yield how much of the painted concept appears or vanishes, there and only there."""
    for verb, measures in (("add", ("iou",)), ("remove", ("gone", "agree"))):
        for concept in CONCEPTS:
            low = {
                "iou": 0.65 if concept == "window" else 0.75,
                "gone": 0.70 if concept in ("window", "cloud") else 0.85,
                "agree": 0.75,
            }
            for name in measures:
                values = of(chosen, measured, name, verb, [concept])
                if values:
                    yield mean(f"{verb} {concept}: {name}", values, low[name])
    if spill := of(chosen, measured, "spill", "add"):
        yield mean("add: spill", spill, high=0.25)


def ratio(pairs: np.ndarray) -> float:
    """Sum of the first column over sum of the second."""
    return float(pairs[:, 0].sum() / pairs[:, 1].sum())


def missed(chosen: list[Case], measured: Measured) -> list[Figure]:
    """Return the bars that are missed, of both kinds."""
    found = [*adaptation_figures(chosen, measured), *edit_figures(chosen, measured)]
    return [figure for figure in found if figure.missed]


def against_truth(
    model: Model, judge: Judge, chosen: list[Case], ours: list[Tensor]
) -> dict[str, dict[str, dict[str, float]]]:
    """For each concept and each way to fill a removed object: PSNR and perceptual distance to the truth."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for concept in CONCEPTS:
        rows: dict[str, list[tuple[float, float]]] = {}
        for case, result in zip(chosen, ours, strict=True):
            if case.verb != "remove" or case.concept != concept:
                continue
            with torch.no_grad():
                preview = plain(model, case.edited).clamp(-1, 1)
            for name, picture in {
                "G'(z_e)": result,
                "G(z_e)": preview,
                "blurred fill": blurred_fill(case),
                "OpenCV inpainting": inpainted(case),
                "Poisson blending": poisson(case, preview),
            }.items():
                pair = (
                    psnr(picture, case.truth, case.mask),
                    perceptual(judge, picture, case.truth, case.mask),
                )
                rows.setdefault(name, []).append(pair)
        table[concept] = {
            name: dict(zip(("decibel", "perceptual"), np.mean(pairs, axis=0).tolist(), strict=True))
            for name, pairs in rows.items()
        }
    return table


def truth_figures(table: dict[str, dict[str, dict[str, float]]]) -> Iterator[Figure]:
    for concept in ("tree", "dome", "door"):
        rows = table.get(concept, {})
        if not rows:
            continue
        print(f"removed {concept}, against the truth:")
        for name, row in rows.items():
            print(f"    {name:20}{row['decibel']:8.2f} dB{row['perceptual']:10.3f}")
        rivals = [row for name, row in rows.items() if name not in ("G'(z_e)", "G(z_e)")]
        ours = rows["G'(z_e)"]
        ahead = min(row["perceptual"] for row in rivals) - ours["perceptual"]
        behind = max(row["decibel"] for row in rivals) - ours["decibel"]
        yield Figure(f"remove {concept}: nearer than the others", ahead, low=0, note="perceptual distance")
        yield Figure(f"remove {concept}: behind the best", behind, high=1, note="dB")


# --- pages ---


def write_page(folder: Path, model: Model, chosen: list[Case], results: list[Tensor]) -> None:
    """``quality.png``: a row for each case: photo, mask, G(z), G(z_e), G'(z_e), truth."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for case, result in zip(chosen, results, strict=True):
        with torch.no_grad():
            middle = [plain(model, case.original), plain(model, case.edited)]
        shown = [case.x, case.x * (1 - 0.7 * case.mask), *middle, result, case.truth]
        rows.append(np.concatenate([array_of(one) for one in shown], axis=1))
    Image.fromarray(np.concatenate(rows)).save(folder / "quality.png")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--scenes", type=int, default=200)
    arguments.add_argument("--studied", type=int, default=20, help="scenes for the studies; 0 for none")
    arguments.add_argument("--strokes", type=int, default=100, help="additions that get a stroke, too")
    arguments.add_argument("--page", type=Path, help="write pages of pictures into this folder")
    arguments.add_argument("--sheet", type=Path, help="write the sheet of benchmarks.looks there, as a PNG")
    arguments.add_argument("--weights", type=Path, help="a folder like demo/weights, to measure others")
    arguments.add_argument("--first", type=int, default=0, help="the first held-out scene, to see others")
    options = arguments.parse_args()
    minutes = (options.scenes + 6 * options.studied) // 6 + (options.scenes + options.strokes) // 12 + 1
    print(f"{options.scenes} scenes, about {minutes} minutes on two cores", flush=True)
    model = stored(options.weights) if options.weights else load("demo")
    judge, report = load_judge(), Report()
    scenes = HELD_OUT[options.first :]
    chosen = list(cases(model, options.scenes, seeds=scenes))
    measured, results = [], []
    for case in chosen:
        render = adapted(model, case)
        measured.append(measure(model, judge, case, render))
        with torch.no_grad():
            results.append(render(case.edited).clamp(-1, 1))
    for figure in (*adaptation_figures(chosen, measured), *edit_figures(chosen, measured)):
        report.add(figure)
    table = against_truth(model, judge, chosen, results)
    for figure in truth_figures(table):
        report.add(figure)
    for cheat in CHEATS:
        found = missed(chosen, [measure(model, judge, case, cheat(model, case)) for case in chosen])
        names = ", ".join(figure.name for figure in found)
        report.add(Figure(f"bars that the cheat {cheat.__name__} misses", len(found), low=1, note=names))
    if options.page:
        write_page(options.page, model, chosen[:40], results[:40])
    edits = [shown(model, case, result) for case, result in zip(chosen, results, strict=True)]
    if options.sheet:
        write_sheet(options.sheet, edits)
    added = [one for one in edits if one.case.verb == "add"]
    more = cases(model, options.scenes - len(added), verbs=("add",), seeds=scenes[30_000:])
    looks = look_at(model, judge, report, [*added, *(shown(model, case) for case in more)], options.strokes)
    studied: dict[str, object] = {}
    if options.studied:
        report.add(inversions_against_samples(model, judge, options.studied))
        for figure in restyle_figures(model, options.page):
            report.add(figure)
        studied["ablation"] = ablation(model, chosen[: options.studied], adaptation_figures, measure, judge)
        studied["causal curves"] = causal_curves(model, judge)
    detail = [
        {"seed": case.seed, "verb": case.verb, "concept": case.concept, **one}
        for case, one in zip(chosen, measured, strict=True)
    ]
    return report.finish(options, cases=detail, truth=table, looks=looks, **studied)


if __name__ == "__main__":
    sys.exit(main())
