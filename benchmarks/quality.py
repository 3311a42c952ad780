"""How good are edits and adaptations on scenes that no training has seen?

    python -m benchmarks.quality [--scenes 24] [--json FILE] [--check]

For each held-out scene one edit is painted: something is added to it or removed from it at a place that
the scene's own parameters give. Paste-back plays no part. The measures:

* ``kept``: PSNR in dB of G'(z_e) against the photo on the pixels outside the strokes dilated by 1/16 of the
  side.
* ``gain``: by how many dB ``kept`` is above that of the preview G(z_e), which the inversion alone gives.
* ``survival``: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the strokes. 1 is right; 0 is an edit that
  vanished.
* ``ghost``: slope of the regression of the high-passed G'(z_e) - G(z_e) on x - G(z) inside the strokes: what
  of the photo's own residual was painted over the edit. 0 is right, 1 is the photo itself.
* ``swap``: is the picture of *another* latent under this photo's adaptation nearer to G of that latent than
  to the photo? An adaptation that pastes the photo fails here.

A table with 95 % bootstrap intervals is printed. About eight seconds a scene on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganpaint_widget import adaptation, editing
from ganpaint_widget.demo.scenes import HELD_OUT, Scene
from ganpaint_widget.generators.staged import State
from ganpaint_widget.generators.zoo import Model, load
from ganpaint_widget.inversion import invert

Render = Callable[[State], Tensor]
"""An adapted generator: a state at the edit layer to a picture, 1 x 3 x R x R."""


@dataclass(frozen=True)
class Case:
    """One scene, inverted, with one edit painted on it."""

    seed: int
    verb: str
    concept: str
    x: Tensor
    original: State
    edited: State
    strokes: Tensor
    other: State
    keep: Tensor


@dataclass(frozen=True)
class Measures:
    """See the module's text."""

    kept: float
    gain: float
    survival: float
    ghost: float
    swap: float


BARS = {
    "kept": (28.0, None),
    "gain": (3.0, None),
    "survival": (0.7, 1.3),
    "ghost": (None, 0.3),
    "swap": (0.9, None),
}
"""Lowest and highest mean that passes."""


def cases(model: Model, count: int, first: int = 0) -> Iterator[Case]:
    """Edits on held-out scenes: what the scene's counterfactuals offer, in turn."""
    assert model.dissection is not None
    generator, size = model.generator, model.generator.resolution
    known = [one for one in ("tree", "dome", "door", "window", "cloud") if one in model.dissection.concepts]
    made, index = 0, first
    while made < count:
        seed = HELD_OUT[index]
        concept = known[index % len(known)]
        verb = ("add", "remove")[(index // len(known)) % 2]
        index += 1
        scene = Scene.sample(seed)
        try:
            other = scene.with_(concept, size=size) if verb == "add" else scene.without(concept, size=size)
        except ValueError:
            continue  # this scene has none to remove, or no place to add one
        mask = other.object_mask
        if int((mask > 0).sum()) < 8:
            continue  # hidden behind something else
        x = torch.from_numpy(scene.render(size).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        original = invert(model, x).state
        edit = editing.Edit("e", verb, concept, mask, 1.0)
        with torch.no_grad():
            edited = editing.apply(original, [edit], model.dissection)
            z = generator.sample_z(1, seed=index)
            another = generator.run(generator.start(z), until=generator.edit_layer)
        strokes = torch.from_numpy(mask / np.float32(255))[None, None].float()
        keep = adaptation.keep_mask(generator, original, edited, strokes)
        made += 1
        yield Case(seed, verb, concept, x, original, edited, strokes, another, keep)


def adapted(model: Model, case: Case) -> Render:
    """G' by this package."""
    found = adaptation.adapt(model.generator, case.edited, case.x, case.keep, original=case.original)
    return lambda state: adaptation.render(model.generator, state, found.delta)


def plain(model: Model, state: State) -> Tensor:
    """G."""
    return model.generator.picture(model.generator.run(state))


def returns_photo(model: Model, case: Case) -> Render:
    """A cheat: the photo itself."""
    return lambda state: case.x


def pastes_photo(model: Model, case: Case) -> Render:
    """A cheat: the photo pasted around the strokes, the plain preview inside."""
    inside = adaptation._dilate((case.strokes > 0.05).float(), round(model.generator.resolution / 16))
    return lambda state: inside * plain(model, state) + (1 - inside) * case.x


def returns_noise(model: Model, case: Case) -> Render:
    """A cheat: noise."""
    source = torch.Generator().manual_seed(case.seed)
    return lambda state: torch.rand(case.x.shape, generator=source) * 2 - 1


def returns_preview(model: Model, case: Case) -> Render:
    """A cheat: G(z_e), nothing adapted."""
    return lambda state: plain(model, state)


CHEATS = (returns_photo, pastes_photo, returns_noise, returns_preview)


@torch.no_grad()
def measure(model: Model, case: Case, render: Render) -> Measures:
    """The four measures of one adapted generator on one case."""
    result, unedited = render(case.edited).clamp(-1, 1), render(case.original).clamp(-1, 1)
    preview, reconstruction = plain(model, case.edited).clamp(-1, 1), plain(model, case.original).clamp(-1, 1)
    painted = (case.strokes > 0.05).float()
    outside = 1 - adaptation._dilate(painted, round(model.generator.resolution / 16))
    change = ((preview - reconstruction) * painted).norm()
    swapped, drawn = render(case.other).clamp(-1, 1), plain(model, case.other).clamp(-1, 1)
    residual = _high_pass(case.x - reconstruction) * painted
    left = _high_pass(result - preview) * painted
    kept = adaptation.kept_decibel(result, case.x, outside)
    return Measures(
        kept=kept,
        gain=kept - adaptation.kept_decibel(preview, case.x, outside),
        survival=float(((result - unedited) * painted).norm() / change.clamp_min(1e-6)),
        ghost=float((left * residual).sum() / residual.square().sum().clamp_min(1e-9)),
        swap=float((swapped - drawn).norm() < (swapped - case.x).norm()),
    )


def _high_pass(picture: Tensor) -> Tensor:
    return picture - F.avg_pool2d(F.pad(picture, (3, 3, 3, 3), mode="reflect"), 7, stride=1)


def missed(measured: list[Measures]) -> list[str]:
    """A line for each bar whose mean is missed."""
    lines = []
    for name, (low, high) in BARS.items():
        mean = float(np.mean([getattr(one, name) for one in measured]))
        if low is not None and mean < low:
            lines.append(f"{name}: mean {mean:.3f}, wanted at least {low}")
        if high is not None and mean > high:
            lines.append(f"{name}: mean {mean:.3f}, wanted at most {high}")
    return lines


def interval(values: list[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean."""
    random = np.random.default_rng(seed)
    draws = random.choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a bar is missed or a cheat passes"
    )
    options = parser.parse_args()
    print(f"{options.scenes} scenes, about {8 * options.scenes} s on two cores", flush=True)
    model = load("demo")
    chosen = list(cases(model, options.scenes))
    figures: dict[str, list[Measures]] = {}
    for method in (adapted, *CHEATS):
        figures[method.__name__] = [measure(model, case, method(model, case)) for case in chosen]
    failures = [f"adapted: {line}" for line in missed(figures["adapted"])]
    print(f"{'':16}" + "".join(f"{name:>24}" for name in BARS))
    for name, measured in figures.items():
        row = f"{name:16}"
        for key in BARS:
            values = [getattr(one, key) for one in measured]
            low, high = interval(values)
            row += f"{np.mean(values):9.3f} [{low:5.2f}, {high:5.2f}]"
        lines = missed(measured)
        print(row + ("" if name == "adapted" else "   fails" if lines else "   PASSES, and must not"))
        if name != "adapted" and not lines:
            failures.append(f"{name} passes every bar")
    if options.json:
        detail = {
            name: [asdict(one) | {"seed": case.seed, "verb": case.verb, "concept": case.concept}
                   for one, case in zip(measured, chosen, strict=True)]
            for name, measured in figures.items()
        }  # fmt: skip
        options.json.write_text(json.dumps(detail, indent=1) + "\n")
    for line in failures:
        print(f"missed: {line}")
    return 1 if options.check and failures else 0


if __name__ == "__main__":
    sys.exit(main())
