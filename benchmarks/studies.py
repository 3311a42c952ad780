"""What ``benchmarks.quality`` looks at more closely: other ways to adapt, restyling, units."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.cases import CONCEPTS, WAYS, Case, adapted, cases, drawn, inverted, plain
from benchmarks.figures import Figure, bootstrap
from benchmarks.judge import Judge
from ganpaint_widget.demo.scenes import CLASSES, TUNING, Scene
from ganpaint_widget.dissection import causal_curve
from ganpaint_widget.images.arrays import array_of, tensor_of
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.method.equation import apply, mean_activations
from ganpaint_widget.models.model import Model

# --- ways to adapt ---

SHOWN = ("kept", "kept, worst decile", "gain over the preview", "survival", "ghost", "swap", "seam")


def ablation(
    model: Model,
    chosen: list[Case],
    figures: Callable[[list[Case], list[dict[str, float]]], Iterator[Figure]],
    measure: Callable[..., dict[str, float]],
    judge: Judge,
) -> dict[str, dict[str, float]]:
    """Return a row for each way to adapt: the adaptation's figures, and the median seconds of a fit."""
    table = {}
    print(f"{'way to adapt':28}" + "".join(f"{name[:12]:>14}" for name in (*SHOWN, "seconds")))
    for name, way in WAYS.items():
        measured, seconds = [], []
        for case in chosen:
            began = time.perf_counter()
            render = adapted(model, case, way)
            seconds.append(time.perf_counter() - began)
            measured.append(measure(model, judge, case, render))
        row = {one.name: one.value for one in figures(chosen, measured) if one.name in SHOWN}
        table[name] = row | {"seconds": float(np.median(seconds))}
        print(f"{name:28}" + "".join(f"{value:14.2f}" for value in table[name].values()), flush=True)
    return table


# --- inversions against the generator's own pictures ---


@torch.no_grad()
def success(model: Model, judge: Judge, case: Case) -> float:
    """Return the share of the mask that became the concept, or of the object's pixels that it left."""
    row, inside = CLASSES.index(case.concept), case.mask[0, 0] > 0
    seen = judge.segment(plain(model, case.edited).clamp(-1, 1))[0] == row
    if case.verb == "add":
        return float(seen[inside].float().mean())
    had = inside & (judge.segment(plain(model, case.original).clamp(-1, 1))[0] == row)
    return float((~seen)[had].float().mean()) if had.any() else np.nan


def inversions_against_samples(model: Model, judge: Judge, count: int) -> Figure:
    """Success of the same edits, in G(z_e), on inverted scenes over that on what z alone draws of them."""
    rates = np.array(
        [
            [success(model, judge, case) for case in pair]
            for pair in zip(cases(model, count, inverted), cases(model, count, drawn), strict=True)
        ]
    )
    rates = rates[~np.isnan(rates).any(axis=1)]

    def ratio(pairs: np.ndarray) -> float:
        return float(pairs[:, 0].sum() / pairs[:, 1].sum())

    name = "success on inversions, relative to z alone"
    return Figure(name, ratio(rates), bootstrap(rates, ratio), low=0.9)


# --- restyling ---

STRENGTHS = (0.5, 1.0, 1.5)
COLORS: dict[str, tuple[str | float, ...]] = {
    "dome": ("gold", "blue", "red"),
    "grass": (0.0, 0.5, 1.0),
    "tree": (0.0, 0.5, 1.0),
}


def showing(concept: str, size: int, skip: int) -> Iterator[tuple[Scene, Tensor]]:
    """Scenes of the tuning seeds with enough of a concept, and where it is (R x R, 0 or 1)."""
    for seed in TUNING[skip:]:
        scene = Scene.sample(seed)
        where = scene.label_map(size) == CLASSES.index(concept)
        if where.mean() > 0.01:
            yield scene, torch.from_numpy(where.astype(np.float32))


def restyle(model: Model, concept: str, photos: int = 4, skip: int = 5000) -> tuple[list[bool], np.ndarray]:
    """Restyle a concept of some photos after three references, each with three strengths.

    Returns:
        For each photo and reference, whether the mean color in the mask moves monotonically with the
        strength, along the line from the weakest to the strongest. And the figure: a row for each photo with
        the photo, the mask, and the results at strength 1; a row with the references' own reconstructions;
        a row with one reference at all strengths.
    """
    assert model.dissection is not None
    size = model.generator.resolution
    source = showing(concept, size, skip)
    references, activations = [], []
    for color in COLORS[concept]:
        scene, _ = next(source)
        other = scene.restyled(concept, color=color, size=size)
        state = inverted(model, tensor_of(other.scene.render(size), "cpu"))
        region = torch.from_numpy((other.scene.label_map(size) == CLASSES.index(concept)).astype(np.float32))
        with torch.no_grad():
            references.append(plain(model, state))
            activations.append(mean_activations(state, region).numpy())
    monotone, rows = [], []
    nothing = torch.full((1, 3, size, size), -1.0)
    for number in range(photos):
        scene, where = next(source)
        x = tensor_of(scene.render(size), "cpu")
        state = inverted(model, x)
        mask = (where * 255).byte().numpy()
        results = []
        for level in activations:
            edits = [
                Edit("e", "restyle", concept, mask, strength, activations=level) for strength in STRENGTHS
            ]
            with torch.no_grad():
                made = [plain(model, apply(state, [edit], model.dissection)).clamp(-1, 1) for edit in edits]
            colors = torch.stack([(one[0] * where).sum(dim=(1, 2)) / where.sum() for one in made])
            along = (colors - colors[0]) @ (colors[-1] - colors[0])
            monotone.append(bool((along.diff() > 0).all()))
            results.append(made)
        rows.append([x, x * (1 - 0.7 * where), *(made[1] for made in results)])
        if number == photos - 1:
            rows.append([nothing, nothing, *references])
            rows.append([x, nothing, *results[0]])
    picture = np.concatenate([np.concatenate([array_of(one) for one in row], axis=1) for row in rows])
    return monotone, picture


def restyle_figures(model: Model, page: Path | None) -> Iterator[Figure]:
    for concept in COLORS:
        monotone, picture = restyle(model, concept)
        if page:
            page.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(page / f"restyle-{concept}.png")
        yield Figure(
            f"restyle {concept}: color monotone in strength",
            float(np.mean(monotone)),
            low=0.9,
            note=f"of {len(monotone)} photos and references",
        )


# --- units ---

UNITS = (1, 2, 4, 8, 15, 20, 30, 40)


def causal_curves(model: Model, judge: Judge, samples: int = 24) -> dict[str, dict[str, list[float]]]:
    """Print and return what the best 1 to 40 units of five concepts cause on samples, judged by the judge."""
    assert model.dissection is not None
    curves = {}
    print(f"{'units':28}" + "".join(f"{count:7}" for count in UNITS))
    for concept in CONCEPTS:
        if concept not in model.dissection.concepts:
            continue
        curve = causal_curve(model.generator, judge, model.dissection, concept, units=UNITS, samples=samples)
        rows = {"added": curve.added, "removed": curve.removed, "ablated": curve.ablated}
        for name, values in rows.items():
            print(f"{concept + ', ' + name:28}" + "".join(f"{value:7.2f}" for value in values), flush=True)
        curves[concept] = {name: list(values) for name, values in rows.items()}
    return curves
