"""The demo world as it ships: held-out scenes, edited and blended by the installed package.

``benchmarks/quality.py`` says what the measures are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, Scene
from ganpaint_widget.images.arrays import tensor_of
from ganpaint_widget.images.files import read_square
from ganpaint_widget.method.inversion import OUTSIDE, distance, in_domain
from ganpaint_widget.models import registry
from ganpaint_widget.models.model import Model

pytestmark = pytest.mark.usefixtures("real_methods")


@pytest.fixture(scope="module")
def quality(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("quality")


@pytest.fixture(scope="module")
def judge(benchmark_module: Callable[[str], ModuleType]) -> Any:
    return benchmark_module("judge").load_judge()


@pytest.fixture(scope="module")
def model() -> Model:
    return registry.load("demo")


@pytest.fixture(scope="module")
def chosen(quality: ModuleType, model: Model) -> list:
    return list(quality.cases(model, 6))


def test_the_model_is_whole(model: Model) -> None:
    assert model.encoder is not None and model.dissection is not None and model.gallery is not None
    assert {"tree", "window"} <= set(model.dissection.concepts)
    assert all(0 < model.dissection.quality(one) <= 1 for one in model.dissection.concepts)
    first = model.gallery.picture(0)
    assert first.shape == (model.generator.resolution,) * 2 + (3,)
    assert not np.array_equal(first, model.gallery.picture(1))


def test_the_same_seed_gives_the_same_picture(model: Model) -> None:
    z = model.generator.sample_z(1, seed=11)
    with torch.no_grad():
        assert torch.equal(model.generator(z), model.generator(model.generator.sample_z(1, seed=11)))


def test_a_blend_keeps_the_photo_and_the_edit(
    quality: ModuleType, judge: Any, model: Model, chosen: list
) -> None:
    measured = [quality.measure(model, judge, case, quality.adapted(model, case)) for case in chosen]
    bars = ("kept", "kept, worst decile", "gain over the preview", "survival", "ghost", "swap")
    found = {figure.name: figure for figure in quality.adaptation_figures(chosen, measured)}
    assert [str(found[name]) for name in bars if found[name].missed] == []


@pytest.mark.parametrize(
    "cheat", ["returns_photo", "pastes_photo", "returns_preview", "returns_blur", "returns_noise"]
)
def test_a_cheat_is_found_out(
    quality: ModuleType, judge: Any, model: Model, chosen: list, cheat: str
) -> None:
    method = {one.__name__: one for one in quality.CHEATS}[cheat]
    measured = [quality.measure(model, judge, case, method(model, case)) for case in chosen]
    assert any(figure.missed for figure in quality.adaptation_figures(chosen, measured))


def test_every_scene_of_the_gallery_has_a_church(model: Model) -> None:
    gallery = model.gallery
    assert gallery is not None
    seeds = [gallery.seed(index) for index in range(gallery.count)]
    assert gallery.count == len(set(seeds)) == 200
    wall = CLASSES.index("wall")
    assert all((Scene.sample(seed).label_map(32) == wall).any() for seed in seeds[:20])
    assert set(seeds) <= set(HELD_OUT)


def test_only_what_is_foreign_to_the_demo_world_is_called_so(model: Model) -> None:
    """Held-out scenes, none of the gallery, are at home; noise, foreign and turned pictures are not."""
    size = model.generator.resolution
    rows, columns = np.mgrid[0:size, 0:size]
    squares = ((rows // (size // 8) + columns // (size // 8)) % 2 * 255).astype(np.uint8)
    ramps = (np.stack([rows, columns, rows[::-1]], axis=2) * 255 // size).astype(np.uint8)
    scenes = [Scene.sample(seed).render(size) for seed in HELD_OUT[-24:]]
    for scene in scenes:
        apart = distance(model, tensor_of(scene, "cpu"))
        assert apart is not None and apart < OUTSIDE
    foreign = {
        "noise": np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8),
        "white": np.full((size, size, 3), 255, np.uint8),
        "squares": np.repeat(squares[..., None], 3, axis=2),
        "ramps": ramps,
        "screenshot": read_square(Path(__file__).parent.parent / "docs" / "images" / "paint.png", size),
        "upside down": scenes[0][::-1].copy(),
    }
    for name, picture in foreign.items():
        x = tensor_of(picture, "cpu")
        assert distance(model, x) > OUTSIDE and in_domain(model, x) == 0, name
