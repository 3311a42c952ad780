"""What every benchmark shares: bars, intervals, and how results are printed, stored and checked."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: what was measured.
        value: the result.
        interval: 95 % interval, if the value is a statistic of a sample.
        low, high: the bar; the value must lie between them. Without one the figure only informs.
        note: units, or what to compare it with.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """NaN misses every bar."""
        above = self.low is None or self.value >= self.low
        below = self.high is None or self.value <= self.high
        return not (above and below)

    def __str__(self) -> str:
        line = f"{self.name:44}{self.value:10.3f}"
        line += f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]" if self.interval else ""
        wanted = [f"at least {self.low:g}"] if self.low is not None else []
        wanted += [f"at most {self.high:g}"] if self.high is not None else []
        line += f"  ({' and '.join(wanted)}{': MISSED' if self.missed else ''})" if wanted else ""
        return line + (f"  {self.note}" if self.note else "")


@dataclass
class Report:
    """Figures as they are found, printed at once."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        print(figure, flush=True)
        self.figures.append(figure)

    def finish(self, options: Namespace, **more: Any) -> int:
        """Write ``--json`` and a line for each missed bar, and return the exit status.

        The status is 1 if a bar is missed and ``--check`` was passed.
        """
        if options.json:
            stored = {"figures": [asdict(one) for one in self.figures], **more}
            options.json.write_text(json.dumps(stored, indent=1) + "\n")
        missed = [one for one in self.figures if one.missed]
        for one in missed:
            print(f"missed: {one}")
        return 1 if options.check and missed else 0


def parser(text: str | None) -> ArgumentParser:
    """Return a command-line parser with the two options that all benchmarks have."""
    made = ArgumentParser(description=text, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, help="write all figures there")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    return made


def bootstrap(
    values: Any, statistic: Any = np.mean, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic over the first axis of ``values``."""
    values = np.asarray(values)
    random = np.random.default_rng(seed)
    drawn = [statistic(values[random.integers(len(values), size=len(values))]) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
