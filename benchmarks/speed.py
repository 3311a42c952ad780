"""How fast is it? From a stroke to its preview, from a photo to its inversion, from an edit to its blend.

    python -m benchmarks.speed [--scenes 3] [--json FILE] [--check] [--only demo progan-256 stylegan2-256]

For the demo generator on held-out scenes, and for a 256 px ProGAN and StyleGAN2 of the public checkpoints'
sizes with random weights, whose pictures mean nothing but whose operations are the same:

* ``preview``: seconds from edited features to the picture: the median along a stroke that changes one cell
  of the edit layer after the other, and a whole picture; and which stages ran for it.
* ``painted``: of the demo, the median along a stroke that adds a tree, the edit equation included: while the
  hand moves, exactly, and with the same activations in all cells.
* ``inversion``: seconds and PSNR in dB. The random generator has no encoder; there it is given the features
  with noise on them.
* ``adaptation``: seconds a step, seconds to the first picture that the user sees and to 30 dB, and the curve
  of (seconds, steps, dB), for ours and, on the demo, for the others of ``AdaptationConfig``. A blend is
  ours started by the initializer, whose time is included; the refit is ours started from a delta that was
  fitted to the photo without the edit; the faithful preview is that delta shown with the edit, without any
  fitting.
* ``dissection``: pictures a second, with the demo's segmenter or, for the random generator, by brightness.
* ``peak``: the process's largest memory so far, in MiB.

The *roofline* beside each time is what its convolutions would take at the rate that this machine's torch
reaches on one large 3 x 3 convolution, counted as they are carried out (ProGAN's doubling layers need 4/9 of
what doubling first would), thrice for a step with gradients (forward, the gradient, and the weights' where
they are fitted).
"""

from __future__ import annotations

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases import WAYS, cases
from benchmarks.figures import Figure, parser
from benchmarks.figures import Report as Figures
from ganpaint_widget.dissection import dissect
from ganpaint_widget.images.metrics import psnr as kept_psnr
from ganpaint_widget.method import ablation, adaptation
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.method.preview import Preview
from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.session.processes.blending import WARM_STEPS
from ganpaint_widget.tickets import Report, Ticket

PUBLIC_CHANNELS = (512, 512, 512, 256, 128, 64, 32)
STYLEGAN2_CHANNELS = (512, 512, 512, 512, 512, 256, 128)
"""Of the public 256 px models, ProGAN and StyleGAN2."""

MODELS = ("demo", "progan-256", "stylegan2-256")

FIRST_PICTURE, GOOD_PICTURE, GOOD = 0.5, 5.0, 30.0
"""The bars, on two cores and on the demo: seconds to the first faithful picture, seconds to ``GOOD`` dB."""


# --- the machine ---


def timed(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median time in seconds, after a warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def once(work: Callable[[], object]) -> float:
    """Return the time in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@torch.no_grad()
def convolution_rate() -> float:
    """Multiplications a second in a 3 x 3 convolution of 128 to 128 channels at 64 x 64."""
    x, weight = torch.randn(1, 128, 64, 64), torch.randn(128, 128, 3, 3)
    seconds = timed(lambda: F.conv2d(x, weight, padding=1), 15)
    return 64 * 64 * 9 * 128 * 128 / seconds


def multiplications(work: Callable[[], object]) -> float:
    """Those that its convolutions carry out."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops() / 2)  # a multiplication and its addition count as two


@contextmanager
def watched(generator: StagedGenerator) -> Iterator[list[str]]:
    """Collect the names of the stages that run inside the block."""
    ran: list[str] = []
    stage = generator.stage

    def noted(name: str, state: State) -> State:
        ran.append(name)
        return stage(name, state)

    generator.stage = noted  # type: ignore[method-assign]
    try:
        yield ran
    finally:
        del generator.stage


def peak_mebibytes() -> float:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1024 * 1024 if sys.platform == "darwin" else 1024)


# --- what is measured ---


def painted(model: Model, state: State) -> dict[str, float]:
    """Seconds of a preview along a stroke that adds a tree, across the picture with a brush of 12 px."""
    assert model.dissection is not None
    size = model.generator.resolution
    rows, columns = np.mgrid[:size, :size]
    masks, mask = [], np.zeros((size, size), np.uint8)
    for place in range(size // 8, size - size // 8, 3):
        mask = np.where(np.hypot(rows - size // 2, columns - place) <= 6, 255, mask).astype(np.uint8)
        masks.append(mask)
    target = model.dissection.default_target("tree")
    plain = replace(model, dissection=replace(model.dissection, shaper=None))

    def stroke(model: Model, moving: bool) -> float:
        fast = Preview(model, state)
        fast.render([])
        edits = [Edit("e", "add", "tree", one, 1.0, target=target) for one in masks]
        return statistics.median([once(partial(fast.render, [one], moving=moving)) for one in edits])

    return {"moving": stroke(model, True), "exact": stroke(model, False), "mean": stroke(plain, False)}


def preview(model: Model, state: State, rate: float) -> dict[str, Any]:
    generator = model.generator
    grid = state.features.shape[-1]
    painted = [state]
    for place in range(grid):  # a stroke from corner to corner
        features = painted[-1].features.clone()
        features[:, :16, place, place] = 3 * float(state.features.std())
        painted.append(state.replace(features))

    def stroke(each: Callable[[Callable[[], object]], float]) -> float:
        """Return the median over the previews along the stroke, after a whole picture."""
        fast = Preview(model, state)
        found = []
        for one in painted:
            fast.edited = lambda _, one=one, moving=False: one  # type: ignore[method-assign, misc]
            found.append(each(lambda: fast.render([])))
        return statistics.median(found[1:])

    stroke(once)
    with watched(generator) as ran:
        seconds = stroke(once)
    before = generator.stages[: generator.stage_index(generator.edit_layer) + 1]
    return {
        "seconds": seconds,
        "roofline": stroke(multiplications) / rate,
        "whole": timed(lambda: Preview(model, state).render([])),
        "whole_roofline": multiplications(lambda: Preview(model, state).render([])) / rate,
        "stages": sorted(set(ran), key=generator.stage_index),
        "reran_before_the_edit": [name for name in ran if name in before],
    }


def adapt(
    generator: StagedGenerator,
    original: State,
    edited: State,
    x: Tensor,
    keep: Tensor,
    rate: float,
    start: Callable[[], adaptation.Delta | None] = lambda: None,
    **options: Any,
) -> dict[str, Any]:
    """One adaptation with its curve; what makes its ``start`` counts."""
    curve: list[tuple[float, int, float]] = []
    pictures: list[tuple[float, float]] = []
    began = time.perf_counter()

    def report(now: Report) -> None:
        curve.append((time.perf_counter() - began, len(curve) + 1, now.numbers["psnr"]))

    def on_picture(picture: Tensor, psnr: float) -> None:
        pictures.append((time.perf_counter() - began, psnr))

    found = adaptation.adapt(
        generator, edited, x, keep, original=original, start=start(), ticket=Ticket(observer=report),
        on_picture=on_picture, **options,
    )  # fmt: skip
    with torch.no_grad():
        first = generator.run(edited, until=generator.fine_layers[0])
        work = multiplications(lambda: generator.picture(generator.run(first)))
    step = [after[0] - before[0] for before, after in pairwise(curve)]
    good = next((seconds for seconds, _, psnr in curve if psnr >= GOOD), None)
    return {
        "before": found.before,
        "after": found.after,
        "survival": found.survival,
        "seconds": found.seconds,
        "steps": found.steps,
        "step": statistics.median(step) if step else None,
        "step_roofline": 3 * work / rate,
        "first_picture": pictures[0] if pictures else None,
        "good_at": good,
        "curve": curve,
    }


def faithful(generator: StagedGenerator, case: Any, fitted: adaptation.Adaptation) -> dict[str, float]:
    """How soon the first faithful preview is there, and what it costs a frame."""
    began = time.perf_counter()
    modify = adaptation.gates(generator, fitted.delta, case.original)
    with torch.inference_mode():
        picture = generator.picture(generator.run(case.edited, modify=modify))
        ready = fitted.seconds + time.perf_counter() - began
        return {
            "ready": ready,
            "plain_frame": timed(lambda: generator.picture(generator.run(case.edited)), 15),
            "faithful_frame": timed(lambda: generator.picture(generator.run(case.edited, modify=modify)), 15),
            "before": kept_psnr(generator.picture(generator.run(case.edited)), case.x, case.keep),
            "decibel": kept_psnr(picture, case.x, case.keep),
        }


def measure_demo(scenes: int, rate: float) -> dict[str, Any]:
    model = load("demo")
    generator = model.generator.requires_grad_(False)
    chosen = list(cases(model, scenes))
    case = chosen[0]
    figures: dict[str, Any] = {"resolution": generator.resolution}
    figures["preview"] = preview(model, case.original, rate)
    figures["painted"] = painted(model, case.original)
    inverted = []
    for one in chosen:
        began = time.perf_counter()
        found = invert(model, one.x)
        inverted.append((time.perf_counter() - began, found.scores.psnr))
    figures["inversion"] = {
        "seconds": statistics.mean(seconds for seconds, _ in inverted),
        "decibel": statistics.mean(psnr for _, psnr in inverted),
    }
    figures["adaptation"] = {
        name: [adapt(generator, c.original, c.edited, c.x, c.keep, rate, config=way) for c in chosen]
        for name, way in WAYS.items()
    }
    figures["adaptation"]["blend"] = [
        adapt(
            generator, c.original, c.edited, c.x, c.keep, rate,
            start=partial(model.first_delta, c.edited, c.x, c.keep),
        )
        for c in chosen
    ]  # fmt: skip
    figures["adaptation"]["refit"] = []
    figures["faithful"] = []
    for c in chosen:
        whole = torch.ones_like(c.keep)
        fitted = adaptation.adapt(generator, c.original, c.x, whole, original=c.original)
        figures["faithful"].append(faithful(generator, c, fitted))
        refit = adapt(
            generator, c.original, c.edited, c.x, c.keep, rate, steps=WARM_STEPS,
            start=partial(adaptation.gated, generator, fitted.delta, c.original, c.edited),
        )  # fmt: skip
        figures["adaptation"]["refit"].append(refit)
    figures["dissection"] = dissection(generator, model.segmenter, rate, samples=100)
    return figures


class Noisy(nn.Module):
    """In place of an encoder: the right answer with noise on it."""

    def __init__(self, z: Tensor, features: Tensor) -> None:
        super().__init__()
        self.z, self.features = z, features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(0)
        noise = torch.randn(self.features.shape, generator=source)
        return self.z, self.features + 0.3 * self.features.std() * noise


class ByBrightness:
    """In place of a segmenter."""

    classes: tuple[str, ...] = ("dark", "bright")

    def segment(self, pictures: Tensor) -> Tensor:
        return (pictures.mean(dim=1) > 0).long()


def measure_random(generator: StagedGenerator, outputs: str, rate: float) -> dict[str, Any]:
    """Return a generator with random weights; ``outputs`` begins the names of what draws its RGB."""
    generator.eval().requires_grad_(False)
    with torch.no_grad():
        z = generator.sample_z(1, seed=0)
        state = generator.run(generator.start(z), until=generator.edit_layer)
        # What a random generator draws has no bounds; its outputs are scaled so that it has a photo's.
        drawn = generator.picture(generator.run(state))
        for name, weight in generator.named_parameters():
            if name.startswith(outputs) and name.endswith(".conv.weight"):
                weight.mul_(0.4 / drawn.std())
        state = generator.run(generator.start(z), until=generator.edit_layer)
        x = generator.picture(generator.run(state)).clamp(-1, 1)
    model = replace(Model("public sizes", generator), encoder=Noisy(z, state.features))
    figures: dict[str, Any] = {"resolution": generator.resolution}
    figures["preview"] = preview(model, state, rate)
    began = time.perf_counter()
    found = invert(model, x, steps=10)
    figures["inversion"] = {"seconds": time.perf_counter() - began, "decibel": found.scores.psnr}
    keep = torch.ones(1, 1, generator.resolution, generator.resolution)
    keep[..., 96:160, 96:160] = 0
    edited = found.state.replace(found.state.features.clone())
    edited.features[:, :16, 3:5, 3:5] = 3 * float(found.state.features.std())
    figures["adaptation"] = {
        "pyramid (ours)": [adapt(generator, found.state, edited, x, keep, rate, steps=20)],
        "network (published)": [
            adapt(
                generator, found.state, edited, x, keep, rate, steps=5,
                config=ablation.Ablation("network", regularization=0.1),
            )
        ],
    }  # fmt: skip
    figures["dissection"] = dissection(generator, ByBrightness(), rate, samples=16)
    return figures


@torch.no_grad()
def dissection(generator: StagedGenerator, segmenter: Any, rate: float, samples: int) -> dict[str, Any]:
    work = multiplications(lambda: segmenter.segment(generator(generator.sample_z(1, seed=0))))
    began = time.perf_counter()
    dissect(generator, segmenter, samples=samples, batch=8)
    seconds = time.perf_counter() - began
    return {"pictures_a_second": samples / seconds, "roofline": rate / work}


# --- what is said ---


def mean(values: list[Any]) -> float:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else float("nan")


def tell(name: str, figures: dict[str, Any]) -> None:
    print(f"\n{name}, {figures['resolution']} px")
    one = figures["preview"]
    print(
        f"  preview p50 {one['seconds'] * 1e3:8.1f} ms   roofline {one['roofline'] * 1e3:.1f} ms;"
        f" a whole picture {one['whole'] * 1e3:.1f} ms, roofline {one['whole_roofline'] * 1e3:.1f} ms"
    )
    if "painted" in figures:
        told = ", ".join(f"{name} {value * 1e3:.1f}" for name, value in figures["painted"].items())
        print(f"  a painted tree's preview, p50, ms: {told}")
    one = figures["inversion"]
    print(f"  inversion   {one['seconds']:8.2f} s    {one['decibel']:.1f} dB")
    for way, runs in figures["adaptation"].items():
        first = [run["first_picture"] for run in runs]
        print(
            f"  {way:27} {mean([run['seconds'] for run in runs]):6.2f} s,"
            f" {mean([run['steps'] for run in runs]):4.0f} steps of"
            f" {mean([run['step'] for run in runs]) * 1e3:6.1f} ms"
            f" (roofline {mean([run['step_roofline'] for run in runs]) * 1e3:.1f});"
            f" {mean([run['before'] for run in runs]):.1f} -> {mean([run['after'] for run in runs]):.1f} dB;"
            f" survival {mean([run['survival'] for run in runs]):.2f};"
            f" first picture {mean([one[0] for one in first if one]):.2f} s"
            f" {mean([one[1] for one in first if one]):.1f} dB;"
            f" {GOOD:.0f} dB at {mean([run['good_at'] for run in runs]):.2f} s"
        )
    if "faithful" in figures:
        one = {key: mean([run[key] for run in figures["faithful"]]) for key in figures["faithful"][0]}
        print(
            f"  faithful preview            {one['ready']:6.2f} s until it is there;"
            f" {one['before']:.1f} -> {one['decibel']:.1f} dB;"
            f" a frame {one['plain_frame'] * 1e3:.1f} -> {one['faithful_frame'] * 1e3:.1f} ms"
        )
    one = figures["dissection"]
    print(
        f"  dissection  {one['pictures_a_second']:8.1f} pictures/s (roofline {one['roofline']:.1f}, one pass)"
    )
    print(f"  peak        {figures['peak']:8.0f} MiB")


def bars(figures: dict[str, Any]) -> Iterator[Figure]:
    """Yield everything that has a bar, each run by itself. Infinity stands for an event that never came."""
    for name, one in figures.items():
        again = one["preview"]["reran_before_the_edit"]
        yield Figure(f"{name}: stages that a preview ran in vain", len(again), high=0, note=", ".join(again))
    if "demo" in figures:
        for run in figures["demo"]["adaptation"]["blend"]:
            seconds, psnr = run["first_picture"] or (math.inf, -math.inf)
            yield Figure("demo: first picture", seconds, high=FIRST_PICTURE, note="s")
            plain = float(psnr <= run["before"])
            yield Figure("demo: first picture no better than the preview", plain, high=0)
            good = math.inf if run["good_at"] is None else run["good_at"]
            yield Figure(f"demo: {GOOD:.0f} dB", good, high=GOOD_PICTURE, note="s")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--scenes", type=int, default=3)
    arguments.add_argument("--only", choices=MODELS, nargs="+", default=MODELS)
    options = arguments.parse_args()
    print(f"about {3 + 0.7 * options.scenes:.0f} minutes on two idle cores", flush=True)
    rate = convolution_rate()
    threads = torch.get_num_threads()
    print(f"{threads} threads, {rate / 1e9:.1f} GMAC/s in a large convolution", flush=True)
    figures: dict[str, Any] = {}
    for name in options.only:
        torch.manual_seed(0)
        if name == "demo":
            figures[name] = measure_demo(options.scenes, rate)
        elif name == "progan-256":
            figures[name] = measure_random(ProGAN(512, PUBLIC_CHANNELS), "output_", rate)
        else:
            figures[name] = measure_random(StyleGAN2(STYLEGAN2_CHANNELS), "to_rgb", rate)
        figures[name]["peak"] = peak_mebibytes()
        tell(name if name == "demo" else f"{name}, random weights", figures[name])
    report = Figures()
    for figure in bars(figures):
        report.add(figure)
    return report.finish(options, threads=threads, multiplications_a_second=rate, **figures)


if __name__ == "__main__":
    sys.exit(main())
