"""Can a GAN be had of one's own photos? A folder of pictures becomes a generator, and the judge looks at it.

    python -m benchmarks.own_photos [--photos 2000] [--size 32] [--minutes 20] [--folder FOLDER] [--check]

Scenes are written as PNG files of 160 pixels, as a folder of photos would be, and ``train_generator`` makes a
generator of them as ``ganpaint train generator`` does, without labels. Its samples are compared with scenes
that it has not seen, brought to the same size:

* **presence**: in which share of the pictures the judge sees sky, grass, a building and the rest, relative to
  the scenes.
* **FSD**, as in ``benchmarks.world``, beside that of other scenes and of two cheats: the mean of all photos,
  and noise of each pixel's own mean and deviation. A generator that has learned something is far below both.
* **redrawn**: PSNR at which held-out photos come back from the encoder's features.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.figures import Figure, bootstrap, parser
from benchmarks.figures import Report as Figures
from benchmarks.judge import load_judge
from benchmarks.world import areas, frechet, presence
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, TRAINING, render_many
from ganpaint_widget.models.reading import read_progan
from ganpaint_widget.training.data import to_tensor
from ganpaint_widget.training.generator import train_generator

WRITTEN = 160
"""Pixels a side of the PNG files."""

MUST = {"sky": "sky", "grass": "grass", "building": "wall"}
"""What has a bar, and the classes that show it."""

SAMPLES = 400


def write_photos(folder: Path, count: int) -> None:
    """Write so many scenes as PNG files, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in TRAINING[600_000 : 600_000 + count] if not _path(folder, seed).exists()]
    if not missing:
        return
    pictures, _ = render_many(missing, WRITTEN)
    for seed, picture in zip(missing, pictures, strict=True):
        Image.fromarray(picture).save(_path(folder, seed))


def _path(folder: Path, seed: int) -> Path:
    return folder / f"scene-{seed}.png"


def seen(pictures: Tensor, size: int) -> np.ndarray:
    """N x K: what the judge sees in pictures brought to ``size``, which it is shown at 128 pixels."""
    small = F.interpolate(pictures, size=(size, size), mode="area")
    shown = F.interpolate(small, size=(128, 128), mode="bilinear", align_corners=False)
    return areas(load_judge(), iter(torch.split(shown.clamp(-1, 1), 50)))


@torch.no_grad()
def measure(report: Figures, folder: Path, size: int, redrawn: float) -> None:
    generator = read_progan(folder / "generator.safetensors")
    samples = torch.cat([generator(z) for z in torch.split(generator.sample_z(SAMPLES, seed=0), 25)])
    scenes = to_tensor(render_many(HELD_OUT[: 2 * SAMPLES], 128)[0])
    real, other = seen(scenes[:SAMPLES], size), seen(scenes[SAMPLES:], size)
    drawn = seen(samples, size)
    for name, by_class in {**MUST, **{one: one for one in CLASSES if one not in MUST.values()}}.items():
        row = CLASSES.index(by_class)
        expected = presence(real)[row]

        def relative(shares: np.ndarray, row: int = row, expected: float = expected) -> float:
            return float(presence(shares)[row] / max(expected, 1e-6))

        low, high = (0.8, 1.2) if name in MUST else (None, None)
        interval = bootstrap(drawn, relative)
        report.add(Figure(
            f"presence of {name}, relative", relative(drawn), interval, low, high, f"data {expected:.3f}"
        ))  # fmt: skip

    photos = scenes[SAMPLES:]
    mean, deviation = photos.mean(dim=0, keepdim=True), photos.std(dim=0, keepdim=True)
    noise = torch.randn(SAMPLES, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    cheats = {
        "the mean photo": seen(mean.expand(SAMPLES, -1, -1, -1), size),
        "noise": seen(mean + deviation * noise, size),
    }
    distances = {
        name: frechet(100 * one, 100 * real)
        for name, one in {"samples": drawn, "other scenes": other, **cheats}.items()
    }
    least = min(distances[name] for name in cheats)
    for name, distance in distances.items():
        report.add(Figure(f"FSD, {name}", distance, high=0.5 * least if name == "samples" else None))
    report.add(Figure("held-out photos, redrawn", redrawn, low=20, note="dB"))


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--photos", type=int, default=2000)
    arguments.add_argument("--size", type=int, default=32)
    arguments.add_argument("--minutes", type=float, default=20)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--folder", type=Path, help="keep everything there, and go on from it")
    options = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with ExitStack() as around:
        folder = options.folder or Path(around.enter_context(tempfile.TemporaryDirectory()))
        write_photos(folder / "photos", options.photos)
        trained = train_generator(
            folder / "photos",
            folder / "generator",
            size=options.size,
            minutes=options.minutes,
            license="BSD-3-Clause",
            device=options.device,
        )
        report = Figures()
        measure(report, trained.folder, options.size, trained.metrics["psnr_of_held_out_photos"])
        return report.finish(options, metrics=trained.metrics)


if __name__ == "__main__":
    sys.exit(main())
