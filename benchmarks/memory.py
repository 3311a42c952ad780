"""How much memory does a kernel need? From opening a photograph to the blended result, as a user goes.

    python -m benchmarks.memory [demo progan-256 stylegan2-256] [--json FILE] [--check]

Each model in a process of its own: a session opens a picture (a scene of the gallery for the demo), finds z
and the features, adds a concept, previews, and adapts. The 256 px generators have the public checkpoints'
sizes and random weights, are read from a file as a user's would be, and have no encoder, so that opening is
the search from several starts. Their search for z is cut to a few steps, each of which needs the same memory;
``--whole`` carries it out, which takes many minutes. Their concepts are bright and dark.

* ``open``, ``edit``, ``adapt``: seconds; an edit is measured until its preview is there.
* ``peak``: the process's largest memory after that step, in MiB, Python and torch included.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure, Report, parser
from benchmarks.speed import PUBLIC_CHANNELS, ByBrightness, peak_mebibytes
from ganpaint_widget import inversion
from ganpaint_widget.dissection import dissect
from ganpaint_widget.generators.progan import ProGAN
from ganpaint_widget.generators.stylegan2 import StyleGAN2
from ganpaint_widget.generators.zoo import Model, load
from ganpaint_widget.session import EditingSession

STYLEGAN2_CHANNELS = (512, 512, 512, 512, 512, 256, 128)
"""Of the public 256 px StyleGAN2 models."""

MODELS = ("demo", "progan-256", "stylegan2-256")

BAR = 3 * 1024
"""MiB, on two cores."""


def model_of(name: str, folder: Path) -> Model:
    """The model, through a file where it is not the demo."""
    if name == "demo":
        return load("demo")
    torch.manual_seed(0)
    made = ProGAN(512, PUBLIC_CHANNELS) if name == "progan-256" else StyleGAN2(STYLEGAN2_CHANNELS)
    torch.save(made.state_dict(), folder / "network.pth")
    del made
    generator = load(folder / "network.pth").generator
    segmenter = ByBrightness()
    return Model(name, generator, dissection=dissect(generator, segmenter, samples=4, batch=1))


def walk(name: str, whole: bool) -> list[tuple[str, float, float]]:
    """The steps of a session: what, seconds, and the largest memory so far in MiB."""
    if name != "demo" and not whole:
        inversion.DRAWS, inversion.SEARCH_STEPS = 4, 2
        inversion.invert = partial(inversion.invert, steps=2)
    steps = []
    began = time.perf_counter()

    def step(what: str) -> None:
        nonlocal began
        steps.append((what, time.perf_counter() - began, peak_mebibytes()))
        began = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        model = model_of(name, Path(folder))
    step("load")
    photo = None
    if model.gallery is None:
        size = model.generator.resolution
        rows, columns = np.mgrid[0:size, 0:size] * 255 // size
        photo = np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)
    session = EditingSession(photo, model, journal=False)
    step("open")
    mask = np.zeros((session.size, session.size), np.uint8)
    mask[session.size // 2 :, : session.size // 3] = 255
    session.add(session.concepts[-1], mask)
    _ = session.preview
    step("edit")
    session.adapt()
    step("adapt")
    return steps


def figures(names: list[str], whole: bool) -> Iterator[Figure]:
    spawn = multiprocessing.get_context("spawn")
    for name in names:
        with ProcessPoolExecutor(1, spawn) as alone:
            for what, seconds, peak in alone.submit(walk, name, whole).result():
                yield Figure(f"{name}: {what}", seconds, note="seconds")
                yield Figure(f"{name}: peak after {what}", peak, high=BAR, note="MiB")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("models", nargs="*", metavar="MODEL", help="one or several of: " + ", ".join(MODELS))
    options.add_argument("--whole", action="store_true", help="search for z as long as a session does")
    chosen = options.parse_args()
    report = Report()
    for figure in figures(chosen.models or list(MODELS), chosen.whole):
        report.add(figure)
    return report.finish(chosen, threads=torch.get_num_threads())


if __name__ == "__main__":
    sys.exit(main())
