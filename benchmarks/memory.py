"""How much memory does a kernel need? From opening a photograph to the blended result, as a user goes.

    python -m benchmarks.memory [demo progan-256 stylegan2-256] [--widget] [--json FILE] [--check]

Each model in a process of its own: a session opens a picture (a scene of the gallery for the demo), finds z
and the features, adds a concept, previews, and adapts. The 256 px generators have the public checkpoints'
sizes and random weights, are read from a file as a user's would be, and have no encoder, so that opening is
the search from several starts. Their search for z is cut to a few steps, each of which needs the same memory;
``--whole`` carries it out, which takes many minutes. Their concepts are bright and dark.

* ``open``, ``edit``, ``adapt``: seconds; an edit is measured until its preview is there.
* ``peak``: the process's largest memory after that step, in MiB, Python and torch included.

With ``--widget`` the same is done by mouse in a JupyterLab on this machine: the editor is a cell's output,
the edit a stroke, the adaptation the button. The memory is the kernel's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.figures import Figure, Report, parser
from benchmarks.speed import PUBLIC_CHANNELS, ByBrightness, peak_mebibytes
from ganpaint_widget.dissection import dissect
from ganpaint_widget.method import inversion
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.session import EditingSession

STYLEGAN2_CHANNELS = (512, 512, 512, 512, 512, 256, 128)
"""Of the public 256 px StyleGAN2 models."""

MODELS = ("demo", "progan-256", "stylegan2-256")

BAR = 3 * 1024
"""MiB, on two cores."""

PATIENCE = 3_600_000
"""Milliseconds for a step by mouse, which takes long on a machine that has other things to do."""


def model_of(name: str, folder: Path) -> Model:
    """Return the model, through a file where it is not the demo."""
    if name == "demo":
        return load("demo")
    torch.manual_seed(0)
    made = ProGAN(512, PUBLIC_CHANNELS) if name == "progan-256" else StyleGAN2(STYLEGAN2_CHANNELS)
    torch.save(made.state_dict(), folder / "network.pth")
    del made
    generator = load(folder / "network.pth").generator
    segmenter = ByBrightness()
    return Model(name, generator, dissection=dissect(generator, segmenter, samples=4, batch=1))


def shorten(name: str, whole: bool) -> None:
    """Cut the search for z, which has an end of its own only where there is an encoder."""
    if name != "demo" and not whole:
        inversion.DRAWS, inversion.SEARCH_STEPS = 4, 2
        inversion.invert = partial(inversion.invert, steps=2)


def photo_for(model: Model) -> npt.NDArray[np.uint8] | None:
    """Return a picture to open, where the model has none of its own."""
    if model.gallery is not None:
        return None
    size = model.generator.resolution
    rows, columns = np.mgrid[0:size, 0:size] * 255 // size
    return np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)


def walk(name: str, whole: bool) -> list[tuple[str, float, float]]:
    """Return the steps of a session: what, seconds, and the largest memory so far in MiB."""
    shorten(name, whole)
    steps = []
    began = time.perf_counter()

    def step(what: str) -> None:
        nonlocal began
        steps.append((what, time.perf_counter() - began, peak_mebibytes()))
        began = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        model = model_of(name, Path(folder))
    step("load")
    session = EditingSession(photo_for(model), model, journal=False)
    step("open")
    mask = np.zeros((session.size, session.size), np.uint8)
    mask[session.size // 2 :, : session.size // 3] = 255
    session.add(session.concepts[-1], mask)
    _ = session.preview
    step("edit")
    session.adapt()
    step("adapt")
    return steps


LOAD = """
import json, sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
import ganpaint_widget as gp
from benchmarks import memory
memory.shorten({name!r}, {whole})
model = memory.model_of({name!r}, Path("."))
"""
OPEN = "paint = gp.GANPaint(memory.photo_for(model), generator=model)\npaint"
TELL = "Path('peak.json').write_text(json.dumps(memory.peak_mebibytes()))"


def walk_in_a_browser(name: str, whole: bool, shots: Path | None) -> Iterator[tuple[str, float, float]]:
    """Take the same steps with the mouse, each until the page shows its effect."""
    from tests.browser.conftest import opened, running_browser, running_lab

    checkout = str(Path(__file__).parent.parent)
    with tempfile.TemporaryDirectory() as home, running_lab(Path(home)) as lab, running_browser() as browser:
        load_it = LOAD.format(checkout=checkout, name=name, whole=whole)
        notebook = opened(lab, browser, "memory.ipynb", load_it, OPEN, patience=PATIENCE)
        began = time.perf_counter()

        def step(what: str) -> tuple[str, float, float]:
            nonlocal began
            seconds = time.perf_counter() - began
            assert notebook.errors() == [], notebook.errors()
            if shots is not None:
                notebook.page.screenshot(path=str(shots / f"{name}-{what}.png"))
            notebook.ask(TELL)
            peak = float((lab.folder / "peak.json").read_text())
            began = time.perf_counter()
            return what, seconds, peak

        notebook.run(0)
        yield step("load")
        notebook.run(1)
        notebook.wait_for_editor()
        yield step("open")
        concept = notebook.root.locator("[data-concept]").last.get_attribute("data-concept")
        notebook.choose(str(concept))
        notebook.stroke([(0.2, 0.6), (0.4, 0.8)])
        notebook.wait_for_picture()
        yield step("edit")
        notebook.press('[data-action="blend"]')
        notebook.wait_for_blend()
        yield step("adapt")


def figures(chosen: argparse.Namespace) -> Iterator[Figure]:
    spawn = multiprocessing.get_context("spawn")
    for name in chosen.models or MODELS:
        with ProcessPoolExecutor(1, spawn) as alone:
            steps = (
                walk_in_a_browser(name, chosen.whole, chosen.shots)
                if chosen.widget
                else alone.submit(walk, name, chosen.whole).result()
            )
            for what, seconds, peak in steps:
                yield Figure(f"{name}: {what}", seconds, note="seconds")
                yield Figure(f"{name}: peak after {what}", peak, high=BAR, note="MiB")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("models", nargs="*", metavar="MODEL", help="one or several of: " + ", ".join(MODELS))
    options.add_argument("--whole", action="store_true", help="search for z as long as a session does")
    options.add_argument("--widget", action="store_true", help="in JupyterLab and a browser")
    options.add_argument("--shots", type=Path, help="with --widget: a folder for a screenshot of each step")
    chosen = options.parse_args()
    report = Report()
    for figure in figures(chosen):
        report.add(figure)
    return report.finish(chosen, threads=torch.get_num_threads())


if __name__ == "__main__":
    sys.exit(main())
