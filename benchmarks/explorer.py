"""How soon is the explorer's atlas on the screen, and how soon its next page?

    python -m benchmarks.explorer [--pages 10] [--json FILE] [--check]

A real JupyterLab, its kernel and a headless browser, all on this machine. The generator is a 256 px ProGAN of
the public checkpoints' sizes with random weights: 512 units at its edit layer, with 4 samples each, dissected
beforehand with few samples. Few samples would be shown again and again, so each unit is given four others of
400 pictures. The measures, in seconds:

* ``first page``: from the start of the cell that makes the explorer to the animation frame in which its
  canvas shows the first page, the dissection and atlas being read from the cache.
* ``paging``: from the click on "next page" to the frame in which the canvas shows other pictures; the median
  and the slowest.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, Report, parser
from tests.browser.conftest import opened, running_browser, running_lab

FIRST, PAGING = 1.0, 0.2

MODEL = """
from dataclasses import replace
import numpy as np
import torch
import ganpaint_widget as gp
from ganpaint_widget.explorer.atlas import thumbnail
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.model import Model

torch.manual_seed(0)
generator = ProGAN(512, (512, 512, 512, 256, 128, 64, 32)).eval()

class Shades:
    classes = ("dark", "middling", "bright")
    def segment(self, pictures):
        gray = pictures.mean(dim=1)
        relative = gray - gray.mean(dim=(1, 2), keepdim=True)
        return (relative > -0.05).long() + (relative > 0.05).long()

model = Model("random", generator, segmenter=Shades())
found = gp.Exploration(model).measure(samples=24)
assert found.channels == 512
atlas = found.atlas
pictures = [np.roll(atlas.sample(n % len(atlas.files)), 8 * n, axis=1) for n in range(400)]
files = tuple(thumbnail(picture) for picture in pictures)
several = np.random.default_rng(0).permuted(np.tile(np.arange(400), (512, 1)), axis=1)[:, :4]
several = replace(atlas, files=files, numbers=tuple(range(400)), strongest=several)
several.save(found.folder / "atlas.safetensors")
gp.DissectionExplorer  # imported
"""

SHOW = "explorer = gp.DissectionExplorer(model)\nexplorer"

# When the atlas's canvas has changed, looked at in every animation frame by a few of its pixels.
WATCH = """() => {
    window.changes = [];
    let last = "";
    const look = () => {
        const canvas = document.querySelector("canvas.gpx-canvas");
        if (canvas) {
            const context = canvas.getContext("2d", { willReadFrequently: true });
            const row = context.getImageData(0, 80, canvas.width, 1).data;
            const now = row.join();
            if (now !== last && row.some(value => value > 0)) changes.push(performance.now());
            last = now;
        }
        requestAnimationFrame(look);
    };
    look();
}"""


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--pages", type=int, default=10, help="how many pages to turn")
    options = arguments.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as home, running_lab(Path(home)) as lab, running_browser() as browser:
        notebook = opened(lab, browser, "explorer.ipynb", MODEL, SHOW, scale=2, patience=600_000)
        notebook.run(0)
        assert notebook.errors() == [], notebook.errors()
        notebook.page.evaluate(WATCH)
        notebook.activate(1)
        began = notebook.page.evaluate(
            "() => { const now = performance.now();"
            " void window.jupyterapp.commands.execute('notebook:run-cell'); return now; }"
        )
        notebook.wait("() => changes.length > 0")
        first = (notebook.page.evaluate("() => changes[0]") - began) / 1000
        report.add(Figure("first page", first, high=FIRST, note="s"))
        notebook.wait_for_editor()
        turned = []
        for _ in range(options.pages):
            seconds = notebook.page.evaluate(
                """async () => {
                    changes.length = 0;
                    const began = performance.now();
                    document.querySelector('button[title="Next page"]').click();
                    while (!changes.length) await new Promise(requestAnimationFrame);
                    return (changes[0] - began) / 1000;
                }"""
            )
            turned.append(seconds)
        report.add(Figure("paging, median", statistics.median(turned), high=PAGING, note="s"))
        report.add(Figure("paging, slowest", max(turned), note="s"))
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
