"""The measures of ``benchmarks.world``: right where the answer is known, failing what they must fail."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, Scene
from ganpaint_widget.models.progan import ProGAN


@pytest.fixture(scope="module")
def world(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("world")


@pytest.fixture(scope="module")
def figures(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("figures")


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """40 scenes, 40 x 3 x 32 x 32 in [-1, 1]."""
    drawn = np.stack([Scene.sample(seed).render(32) for seed in HELD_OUT[:40]])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_frechet_distance_of_known_gaussians(world: ModuleType) -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=(20_000, 3))
    assert world.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert world.frechet(a, a + np.array([3, 0, 4])) == pytest.approx(25, abs=1e-6)
    # Deviations 1 and 3 in each of three directions: (3 - 1)^2 each.
    assert world.frechet(a, 3 * a) == pytest.approx(12 * a.var(axis=0).mean(), rel=0.02)


def test_a_generator_that_has_lost_a_concept_is_found_out(world: ModuleType) -> None:
    """Areas of real scenes against real ones, and against scenes whose domes and trees are gone."""

    def shares(scenes: list[Scene]) -> np.ndarray:
        return np.stack([np.bincount(s.label_map(64).ravel(), minlength=11) / 64**2 for s in scenes])

    scenes = [Scene.sample(seed) for seed in HELD_OUT[:120]]
    real, other = shares(scenes[:60]), shares(scenes[60:])
    dome = CLASSES.index("dome")
    gone = [
        s.replace(dome_present=0, tower_form=0, **{f"tree{i}_present": 0 for i in range(4)}) for s in scenes
    ]
    lost = shares(gone[:60])
    assert world.presence(lost)[dome] < 0.85 * world.presence(real)[dome]
    assert world.frechet(100 * lost, 100 * real) > 3 * world.frechet(100 * other, 100 * real)
    collapsed = np.repeat(real[:1], 60, axis=0)
    assert world.frechet(100 * collapsed, 100 * real) > 3 * world.frechet(100 * other, 100 * real)


def test_sliced_wasserstein_sees_blur_noise_and_color(world: ModuleType, pictures: Tensor) -> None:
    real, other = [pictures[:20]], [pictures[20:]]
    by_chance = world.sliced_wasserstein(other, real)
    assert len(by_chance) == 2  # 32 and 16 px
    blurred = [F.avg_pool2d(F.pad(pictures[20:], (1, 1, 1, 1), mode="replicate"), 3, stride=1)]
    assert world.sliced_wasserstein(blurred, real)[0] > 1.5 * by_chance[0]
    noisy = [
        pictures[20:] + 0.2 * torch.randn(pictures[20:].shape, generator=torch.Generator().manual_seed(0))
    ]
    assert world.sliced_wasserstein(noisy, real)[0] > 1.5 * by_chance[0]
    tinted = [pictures[20:] + torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1, 1)]
    assert world.sliced_wasserstein(tinted, real)[-1] > 1.5 * by_chance[-1]


class Halves:
    """A segmenter that tells bright from dark."""

    classes = CLASSES

    def segment(self, pictures: Tensor) -> Tensor:
        return (pictures.mean(dim=1) > 0).long()


def test_a_generator_that_ignores_z_has_no_unit_better_than_position(
    world: ModuleType, figures: ModuleType
) -> None:
    """Whatever a unit shows is the same in every picture, and so is what position alone knows."""

    class Deaf(ProGAN):
        def start(self, z: Tensor) -> object:
            return super().start(torch.ones_like(z))

    torch.manual_seed(0)

    def ahead(generator: ProGAN) -> float:
        report = figures.Report()
        world.measure_units(report, generator.eval(), Halves(), 60)
        return {figure.name: figure for figure in report.figures}[
            "classes with a unit better than position"
        ].value

    assert ahead(Deaf(8, (16, 16, 16, 8))) == 0


def test_a_report_says_what_was_missed(
    figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    report = figures.Report()
    report.add(figures.Figure("fine", 3.0, (2.0, 4.0), low=1, high=5))
    report.add(figures.Figure("only told", 9.0))
    options = argparse.Namespace(json=tmp_path / "figures.json", check=True)
    assert report.finish(options) == 0
    report.add(figures.Figure("too low", 0.5, low=1))
    report.add(figures.Figure("no number", float("nan"), high=1))
    assert report.finish(options) == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("missed: ")]
    assert [line.split()[1] for line in missed] == ["too", "no"]
    stored = json.loads(options.json.read_text())["figures"]
    assert stored[0] == {
        "name": "fine",
        "value": 3.0,
        "interval": [2.0, 4.0],
        "low": 1,
        "high": 5,
        "note": "",
    }
    assert report.finish(argparse.Namespace(json=None, check=False)) == 0


def test_bootstrap_interval_covers_the_mean(figures: ModuleType) -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = figures.bootstrap(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.2)
