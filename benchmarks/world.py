"""Is the demo world as good as its data? Samples of the generator against held-out scenes, by the judge.

    python -m benchmarks.world [--samples 2000] [--sheets FOLDER] [--json FILE] [--check]

* **Presence and area.** The share of pictures in which the judge sees a class on at least ``SEEN`` of the
  picture, and the mean share of the picture that it covers, each relative to what the judge says of held-out
  scenes.
* **FSD**, the Fréchet Segmentation Distance (Bau et al., "Seeing What a GAN Cannot Generate", 2019): Fréchet
  distance between Gaussians fitted to the per-picture vectors of class areas (in per cent of the picture).
* **SWD**, ProGAN's sliced Wasserstein distance (Karras et al. 2018, section 5) of 7 x 7 patches at each level
  of a Laplacian pyramid, times 1000. FSD and SWD stand beside those of real against other real scenes.
* **Units** at the edit layer: for how many classes some unit's IoU beats that of the best position-only
  detector by ``MARGIN``, and how many units do so for some class, beside a random rotation of the layer.
* **Readers**: mean IoU of segmenter and judge; PSNR of G(E(x)).
* **Weights**: their size, and how long ``load_generator("demo")`` takes.

``--sheets`` also writes 64 unselected samples, and two blind sheets of 32 samples and 32 scenes shuffled,
with their key. About twelve minutes on two cores with 2,000 samples.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.figures import Figure, Report, bootstrap, parser
from benchmarks.judge import load_judge
from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.demo.outline import WEIGHTS
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, render_many
from ganpaint_widget.demo.train_segmenter import mean_iou
from ganpaint_widget.dissection import dissect, position_baseline, random_rotation
from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models.generator import StagedGenerator
from ganpaint_widget.models.model import Model, Segmenter
from ganpaint_widget.models.registry import load
from ganpaint_widget.training.data import to_bytes, to_tensor

SEEN = 0.003
"""From this share of the picture on a class counts as present: 49 of 128 x 128 pixels."""

WATCHED = {
    "building": "wall",
    "dome": "dome",
    "tree": "tree",
    "door": "door",
    "path": "path",
    "cloud": "cloud",
}
"""The things whose presence has a bar, and the classes that show them."""

MARGIN = 0.05


# --- class areas ---


def areas(segmenter: Segmenter, pictures: Iterator[Tensor]) -> np.ndarray:
    """N x K: the share of each picture that each class covers."""
    found = []
    for batch in pictures:
        labels = segmenter.segment(batch)
        found.append(F.one_hot(labels, len(CLASSES)).float().mean(dim=(1, 2)))
    return torch.cat(found).numpy()


def presence(shares: np.ndarray) -> np.ndarray:
    """K: in which share of the pictures each class is present."""
    return np.asarray((shares >= SEEN).mean(axis=0))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of Gaussians fitted to N x K and M x K vectors.

    |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)), whose last trace is the sum of the roots of A B's
    eigenvalues.
    """
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0))
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * roots.sum())


# --- sliced Wasserstein distance ---


def patches(pictures: Tensor, count: int, random: torch.Generator) -> Tensor:
    """``count`` random 7 x 7 patches of each picture: (B x count) x 147."""
    size = pictures.shape[-1] - 6
    windows = F.unfold(pictures, 7)  # B x 147 x places
    places = torch.randint(size * size, (len(pictures), 1, count), generator=random)
    return windows.gather(2, places.expand(-1, windows.shape[1], -1)).transpose(1, 2).flatten(0, 1)


def pyramid(pictures: Tensor, levels: int) -> list[Tensor]:
    """Laplacian pyramid, finest first; the last is what remains."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = (kernel[:, None] * kernel[None]).expand(3, 1, 5, 5)
    made = []
    for _ in range(levels - 1):
        smooth = F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), weight, groups=3)
        smaller = smooth[:, :, ::2, ::2]
        bigger = F.interpolate(smaller, scale_factor=2.0, mode="bilinear", align_corners=False)
        made.append(pictures - bigger)
        pictures = smaller
    return [*made, pictures]


def sliced_wasserstein(
    a: list[Tensor], b: list[Tensor], *, per_picture: int = 32, projections: int = 128, seed: int = 0
) -> list[float]:
    """SWD x 1000 of two sets of pictures (lists of batches) at each level of the pyramid, finest first.

    Patches are normalized by the mean and deviation of each color over the second set (ProGAN normalizes
    each set by itself, and so misses wrong colors).
    """
    random = torch.Generator().manual_seed(seed)
    levels = (a[0].shape[-1] // 16).bit_length()
    sets = []
    for pictures in (a, b):
        of_level: list[list[Tensor]] = [[] for _ in range(levels)]
        for batch in pictures:
            for level, one in enumerate(pyramid(batch, levels)):
                of_level[level].append(patches(one, per_picture, random))
        sets.append([torch.cat(one) for one in of_level])
    distances = []
    for first, second in zip(*sets, strict=True):
        by_color = second.view(-1, 3, 49)
        mean, deviation = by_color.mean(dim=(0, 2)), by_color.std(dim=(0, 2))
        directions = torch.randn(147, projections, generator=random)
        directions = directions / directions.norm(dim=0)
        projected = [
            (((x.view(-1, 3, 49) - mean[:, None]) / deviation[:, None]).flatten(1) @ directions)
            .sort(dim=0)
            .values
            for x in (first, second)
        ]
        distances.append(1000 * float((projected[0] - projected[1]).abs().mean()))
    return distances


# --- units ---


def measure_units(report: Report, generator: StagedGenerator, judge: Segmenter, samples: int) -> None:
    channels = generator.shape(generator.edit_layer)[0]
    found = dissect(generator, judge, samples=samples)
    rotated = dissect(generator, judge, samples=samples, rotation=random_rotation(channels))
    tables = {
        "units": found.iou.max(dim=1).values,
        "rotated": rotated.iou.max(dim=1).values,
        "position only": position_baseline(generator, judge, samples=samples).iou,
    }
    print(f"{'class':12}" + "".join(f"{name:>16}" for name in tables))
    for row, name in enumerate(CLASSES):
        print(f"{name:12}" + "".join(f"{float(table[row]):16.3f}" for table in tables.values()))
    ahead = int((tables["units"] > tables["position only"] + MARGIN).sum())
    report.add(Figure("classes with a unit better than position", ahead, low=8, note=f"of {len(CLASSES)}"))
    # IoU > .05 and IQR > .01 call nearly every unit of a small layer interpretable, rotated ones, too. Those
    # that beat the position-only baseline know more than where in a picture they are.
    counts = {}
    for name, one in {"units": found, "rotated": rotated}.items():
        report.add(Figure(f"interpretable, {name}", one.interpretable_units(), note=f"of {channels}"))
        counts[name] = int((one.iou > tables["position only"][:, None] + MARGIN).any(dim=0).sum())
        report.add(Figure(f"better than position, {name}", counts[name], note=f"of {channels}"))
    ratio = counts["units"] / max(1, counts["rotated"])
    report.add(Figure("better than position, units to rotated ones", ratio, low=2))


# --- readers and weights ---


def measure_readers(report: Report, model: Model, scenes: SceneData) -> None:
    assert model.segmenter is not None
    readers: dict[str, Segmenter] = {"segmenter": model.segmenter, "judge": load_judge()}
    for name, segmenter in readers.items():
        report.add(Figure(f"mean IoU of the {name}", mean_iou(segmenter, scenes)[0], low=0.85))
    generator, encoder = model.generator, model.encoder
    assert encoder is not None
    x = to_tensor(scenes.images[:200].copy())
    with torch.no_grad():
        z, features = encoder(x)
        state = generator.run(generator.start(z), until=generator.edit_layer)
        drawn = {
            "by z alone": (generator.picture(generator.run(state)), 17),
            "with features": (generator.picture(generator.run(state.replace(features))), 22),
        }
    for name, (pictures, low) in drawn.items():
        values = [psnr(one, other) for one, other in zip(pictures, x, strict=True)]
        report.add(Figure(f"G(E(x)) {name}", float(np.mean(values)), bootstrap(values), low=low, note="dB"))
    with torch.enable_grad():
        values = [invert(model, one[None], seconds=1.0).scores.psnr for one in x[:40]]
    report.add(Figure("after one second", float(np.mean(values)), bootstrap(values), low=25, note="dB"))


def measure_weights(report: Report, generator: StagedGenerator) -> None:
    size = sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) / 1e6
    report.add(Figure("shipped weights", size, high=20, note="MB"))
    parameters = sum(p.numel() for p in generator.parameters()) / 1e6
    report.add(Figure("parameters of the generator", parameters, high=6, note="million"))
    line = "import time, torch; from ganpaint_widget import load_generator; t = time.monotonic()\n"
    line += "load_generator('demo'); print(time.monotonic() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    note = "seconds after torch is imported, median of 5"
    report.add(Figure('load_generator("demo")', float(np.median(runs)), high=0.5, note=note))
    again = torch.equal(generator(generator.sample_z(2, 5)), generator(generator.sample_z(2, 5)))
    report.add(Figure("same seed, same picture", float(again), low=1))


# --- sheets ---


def sheet(pictures: np.ndarray, columns: int) -> Image.Image:
    rows = [
        np.concatenate(list(pictures[at : at + columns]), axis=1) for at in range(0, len(pictures), columns)
    ]
    return Image.fromarray(np.concatenate(rows))


def write_sheets(folder: Path, generator: StagedGenerator, scenes: SceneData) -> None:
    """``samples.png``, ``blind-1.png``, ``blind-2.png`` and ``blind-key.json`` (true = a sample)."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet(to_bytes(generator(generator.sample_z(64, seed=0))), 8).save(folder / "samples.png")
    key = {}
    for number in (1, 2):
        drawn = to_bytes(generator(generator.sample_z(32, seed=number)))
        both = np.concatenate([drawn, scenes.images[100 * number : 100 * number + 32]])
        order = np.random.default_rng().permutation(64)
        sheet(both[order], 8).save(folder / f"blind-{number}.png")
        key[number] = [bool(one < 32) for one in order]
    (folder / "blind-key.json").write_text(json.dumps(key))


@torch.no_grad()
def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--samples", type=int, default=2000)
    arguments.add_argument(
        "--generator", default="demo", help="name or safetensors file, to measure another one"
    )
    arguments.add_argument("--sheets", type=Path, help="write sample sheets into this folder")
    options = arguments.parse_args()
    count = options.samples
    print(f"{count} samples, about {2 + count // 200} minutes on two cores", flush=True)
    model, judge, report = load(options.generator), load_judge(), Report()
    generator = model.generator

    rendered, _ = render_many(HELD_OUT[: 2 * count], generator.resolution)
    real = [to_tensor(part) for part in np.split(rendered, range(50, len(rendered), 50))]
    other, real = real[len(real) // 2 :], real[: len(real) // 2]
    drawn = [generator(z).clamp(-1, 1) for z in torch.split(generator.sample_z(count, seed=0), 50)]
    of_drawn, of_real, of_other = (areas(judge, iter(one)) for one in (drawn, real, other))

    for name, by_class in WATCHED.items():
        row = CLASSES.index(by_class)
        expected = presence(of_real)[row]

        def relative(shares: np.ndarray, row: int = row, expected: float = expected) -> float:
            return float(presence(shares)[row] / expected)

        figure = Figure(f"presence of {name}, relative", relative(of_drawn), bootstrap(of_drawn, relative))
        report.add(Figure(**{**vars(figure), "low": 0.85, "high": 1.15, "note": f"data {expected:.3f}"}))
    for row, name in enumerate(CLASSES):
        expected = float(of_real[:, row].mean())
        slack = 0.15 if expected > 0.02 else 0.30
        values = of_drawn[:, row] / expected
        note = f"data {100 * expected:.2f} % of the picture"
        report.add(Figure(
            f"area of {name}, relative", float(values.mean()), bootstrap(values), 1 - slack, 1 + slack, note
        ))  # fmt: skip
    for name, one in (("samples", of_drawn), ("other scenes", of_other)):
        low_high = bootstrap(one, lambda drawn: frechet(100 * drawn, 100 * of_real), draws=200)
        report.add(Figure(f"FSD, {name}", frechet(100 * one, 100 * of_real), low_high))
    for name, pictures in (("samples", drawn), ("other scenes", other)):
        for level, distance in enumerate(sliced_wasserstein(pictures, real)):
            report.add(Figure(f"SWD at {generator.resolution >> level} px, {name}", distance, note="x 1000"))

    measure_units(report, generator, judge, min(1000, count))
    scenes = SceneData(Path(__file__).parent / "cache", generator.resolution, HELD_OUT[:500])
    if options.generator == "demo":
        measure_readers(report, model, scenes)
        measure_weights(report, generator)
    if options.sheets:
        write_sheets(options.sheets, generator, scenes)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
