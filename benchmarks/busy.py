"""How long do the first minutes take, alone and beside busy neighbors?

    python -m benchmarks.busy [--runs 5] [--neighbors 2] [--json FILE] [--check] [--package DIR]

Every run is a fresh Python process, as a kernel is one: it imports the package and torch, opens a scene,
waits for the first picture, paints a tree, blends, paints a cloud, and blends again. Runs without and with
neighbors take turns, so that what else the machine does falls on both. A neighbor is a process that keeps one
core busy with multiplications of matrices, as a second notebook would. Medians, with quartiles in brackets.

``--package`` names a folder that holds another version of ``ganpaint_widget``; it takes its turn in every
round, so that both are measured under the same conditions. It needs ``EditingSession`` only.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Report, parser

ROOT = Path(__file__).resolve().parent.parent

RUN = """
import json, time
began = time.monotonic()
import ganpaint_widget as gp
import numpy as np
import torch
imported = time.monotonic()
session = gp.EditingSession(scene=0)
session.reconstruction
opened = time.monotonic()
mask = np.zeros((session.size, session.size), np.uint8)
mask[session.size // 2 : session.size * 9 // 10, : session.size // 4] = 255
session.add("tree", mask)
session.preview
painted = time.monotonic()
session.adapt()
first = time.monotonic()
session.add("cloud", mask[::-1])
session.preview
again = time.monotonic()
session.adapt()
second = time.monotonic()
print(json.dumps({
    "import": imported - began, "open": opened - imported, "paint": painted - opened,
    "first blend": first - painted, "second blend": second - again,
}))
"""

NEIGHBOR = """
import numpy as np
a = np.random.default_rng(0).standard_normal((300, 300))
while True:
    a = np.tanh(a @ a / 300)
"""

PARTS = ("import", "open", "paint", "first blend", "second blend")


@contextmanager
def neighbors(count: int) -> Iterator[None]:
    """So many processes that each keep a core busy, for as long as the block runs."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", NEIGHBOR], env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def one_run(package: Path) -> dict[str, float]:
    """Seconds of each part of :data:`RUN` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(package),
            "GANPAINT_CACHE": folder,
            "GANPAINT_JOURNAL": folder,
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            env=environment,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(packages: list[Path], counts: tuple[int, ...], runs: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every part, by "PACKAGE beside N"."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(runs):
        for count in counts:
            for package in packages:
                with ExitStack() as around:
                    around.enter_context(neighbors(count))
                    parts = one_run(package)
                for part, seconds in parts.items():
                    found[f"{package.name} beside {count}"][part].append(seconds)
    return {name: dict(parts) for name, parts in found.items()}


def middle(values: list[float]) -> tuple[float, tuple[float, float]]:
    """Return the median, and the quartiles around it."""
    low, high = np.quantile(values, (0.25, 0.75))
    return statistics.median(values), (float(low), float(high))


def ratios(first: list[float], second: list[float]) -> tuple[float, tuple[float, float]]:
    """Return the median of the ratios round by round, and their quartiles."""
    return middle([one / other for one, other in zip(first, second, strict=True)])


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--neighbors", type=int, default=2)
    arguments.add_argument("--package", type=Path, help="a folder with another version, measured in turn")
    options = arguments.parse_args()
    report = Report()
    packages = [ROOT] + ([options.package.resolve()] if options.package else [])
    found = measure(packages, (0, options.neighbors), options.runs)
    for name, parts in found.items():
        for part in PARTS:
            value, interval = middle(parts[part])
            report.add(Figure(f"{name}: {part}", value, interval, note="s"))
    quiet, busy = found[f"{ROOT.name} beside 0"], found[f"{ROOT.name} beside {options.neighbors}"]
    value, interval = ratios(quiet["first blend"], quiet["second blend"])
    report.add(Figure("first blend / second", value, interval, high=1.3))
    for part in ("open", "second blend"):
        value, interval = ratios(busy[part], quiet[part])
        report.add(Figure(f"beside {options.neighbors} / alone: {part}", value, interval, high=2.5))
    if options.package:
        for count in (0, options.neighbors):
            ours, theirs = (found[f"{one.name} beside {count}"] for one in packages)
            for part in PARTS:
                value, interval = ratios(ours[part], theirs[part])
                report.add(Figure(f"ours / other, beside {count}: {part}", value, interval))
    return report.finish(options, seconds=found)


if __name__ == "__main__":
    sys.exit(main())
