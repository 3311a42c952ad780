"""A few hundred of the damaged and forged checkpoints of ``benchmarks.fuzz``; that command makes 50,000."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ganpaint_widget.models.reading import read_generator


@pytest.fixture(scope="module")
def fuzz(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("fuzz")


def test_what_is_damaged_begins_whole(fuzz: ModuleType, tmp_path: Path) -> None:
    for number, (suffix, data) in enumerate(fuzz.good_files()):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(data)
        for reader in fuzz.readers(suffix)[:1]:
            assert reader(path).resolution == 16
        if suffix != ".pkl":
            assert read_generator(path).resolution == 16


def test_the_payloads_would_leave_a_canary(fuzz: ModuleType, tmp_path: Path) -> None:
    """With Python's own unpickler, which carries out all but those that need a host of their own."""
    left = 0
    for number, payload in enumerate(fuzz.payloads(tmp_path / "canary")):
        canary = tmp_path / f"canary{number}"
        try:
            pickle.loads(payload.replace(b"canary", canary.name.encode()) + b".")
        except Exception:
            continue  # a persistent id, and a file that is to be loaded
        left += canary.exists()
    assert left >= 6


def test_hostile_files_are_refused(fuzz: ModuleType) -> None:
    outcome = fuzz.run(1, range(400))
    assert outcome.failures == []
    assert outcome.refused > 200 and len(outcome.kinds) == 4
