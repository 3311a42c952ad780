"""The measures of ``benchmarks.looks``: chance where nothing differs, certainty where everybody sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SIZE = 32


@pytest.fixture(scope="module")
def telling(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("telling")


@pytest.fixture(scope="module")
def looks(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    pytest.importorskip("cv2")
    return benchmark_module("looks")


@pytest.fixture(scope="module")
def cases(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    pytest.importorskip("cv2")
    return benchmark_module("cases")


@pytest.fixture(scope="module")
def judge(benchmark_module: Callable[[str], ModuleType]) -> Any:
    return benchmark_module("judge").load_judge()


def disc() -> Tensor:
    """1 x 1 x SIZE x SIZE, 0 or 1."""
    down, across = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    return torch.from_numpy((down**2 + across**2 < 100).astype(np.float32))[None, None]


def things(count: int, seed: int) -> list[Tensor]:
    """Pictures of things: each a color of its own, with stripes and some dirt, 1 x 3 x SIZE x SIZE."""
    source = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        color = torch.rand(1, 3, 1, 1, generator=source) - 0.5
        stripes = torch.sin(torch.arange(SIZE) * (0.8 + 0.4 * torch.rand(1, generator=source)))
        dirt = F.interpolate(torch.randn(1, 3, 16, 16, generator=source), size=SIZE, mode="bilinear")
        made.append((color + 0.3 * stripes.view(1, 1, -1, 1) + 0.05 * dirt).clamp(-1, 1))
    return made


@pytest.fixture(scope="module")
def described(telling: ModuleType, judge: Any) -> Callable[[list[Tensor]], np.ndarray]:
    return lambda pictures: np.stack(
        [telling.descriptor(judge, telling.Crop(one, disc())) for one in pictures]
    )


def test_equal_distributions_are_told_apart_by_chance_alone(
    telling: ModuleType, described: Callable[[list[Tensor]], np.ndarray]
) -> None:
    groups = ["one"] * 40 + ["other"] * 40
    told = telling.told_apart(described(things(80, 0)), described(things(80, 1)), groups)
    assert told.shape == (80,) and told.min() >= 0 and told.max() <= 1
    assert told.mean() == pytest.approx(0.5, abs=0.12)


def test_blur_noise_and_wrong_colors_are_told_from_the_truth(
    looks: ModuleType, telling: ModuleType, described: Callable[[list[Tensor]], np.ndarray]
) -> None:
    true = things(40, 0)
    source = torch.Generator().manual_seed(2)
    made = {
        "blur": [looks.blurred(one, 1.5) for one in true],
        "noise": [one + 0.1 * torch.randn(one.shape, generator=source) for one in true],
        "one color": [one.mean(dim=(2, 3), keepdim=True).expand_as(one) for one in true],
        "rainbow": [
            one + 0.4 * F.interpolate(torch.randn(1, 3, 4, 4, generator=source), size=SIZE, mode="bilinear")
            for one in true
        ],
    }
    x = described(true)
    for name, pictures in made.items():
        assert telling.told_apart(x, described(pictures), ["thing"] * 40).mean() > 0.95, name


def test_what_is_learned_of_a_pair_is_never_asked_of_it(telling: ModuleType) -> None:
    """Each pair has its own mark, by which it would be known again; true and made are marked alike."""
    marks = np.eye(50)
    assert telling.told_apart(marks, marks, ["thing"] * 50).mean() == 0.5
    few = telling.told_apart(marks[:1], marks[:1], ["thing"])
    assert few.shape == (1,)


def test_the_logistic_regression_is_at_its_minimum(telling: ModuleType) -> None:
    random = np.random.default_rng(0)
    for shape in ((60, 5), (20, 50)):
        x, y = random.normal(size=shape), (random.random(shape[0]) < 0.5).astype(float)
        weights = telling.logistic(x, y, 0.1)

        def loss(weights: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            says = x @ weights[:-1] + weights[-1]
            return float(
                np.logaddexp(0, np.where(y > 0, -says, says)).mean() + 0.05 * np.square(weights[:-1]).sum()
            )

        for _ in range(20):
            assert loss(weights) < loss(weights + 1e-2 * random.normal(size=weights.shape))


def test_chroma_and_gradient_are_those_inside_the_mask(telling: ModuleType) -> None:
    gray = torch.rand(1, 1, SIZE, SIZE).expand(1, 3, SIZE, SIZE) * 2 - 1
    plain, mask = torch.zeros(1, 3, SIZE, SIZE), disc()
    assert telling.chroma_spread(telling.Crop(gray, mask)) < 1e-5 < 0.1
    assert telling.gradient_energy(telling.Crop(gray, mask)) > 0.1
    outside = plain + (1 - F.max_pool2d(mask, 3, 1, 1)) * torch.rand(1, 3, SIZE, SIZE)
    assert telling.gradient_energy(telling.Crop(outside, mask)) == 0
    halves = plain.clone()
    halves[:, 0, :, SIZE // 2 :] = 1  # red to the right: R - G is 0 or .5, (R + G) / 2 - B is 0 or .25
    assert telling.chroma_spread(telling.Crop(halves, torch.ones(1, 1, SIZE, SIZE))) == pytest.approx(
        np.hypot(0.25, 0.125)
    )


def test_strokes_are_as_large_as_what_they_stand_for(looks: ModuleType) -> None:
    place = np.zeros((128, 128), bool)
    place[40:90, 50:74] = True
    place[10:20, 10:20] = True
    part = looks.largest_part(place)
    assert part.sum() == 50 * 24
    for kind in looks.KINDS:
        made = looks.stroke(kind, part, seed=3)
        assert made.dtype == np.uint8 and set(np.unique(made)) == {0, 255}
        assert 0.6 * part.sum() < (made > 0).sum() < 1.2 * part.sum(), kind
        rows, columns = np.nonzero(made)
        assert abs(rows.mean() - 64.5) < 4 and abs(columns.mean() - 61.5) < 4, kind
    assert (looks.stroke("box", part, 0) > 0).sum() == part.sum()


def test_every_stroke_is_matched_with_another_object_of_its_size(looks: ModuleType) -> None:
    areas, others = np.array([30.0, 1.0, 10.0, 20.0]), np.array([3.0, 2.0, 12.0, 1.0])
    places = looks.matched(areas, others, ["tree", "dome", "tree", "dome"])
    assert places.tolist() == [2, 3, 0, 1]


def case(looks: ModuleType, verb: str = "add", concept: str = "tree", seed: int = 0) -> Any:
    """A case with pictures alone."""
    x, truth = things(2, seed)
    nothing: dict[str, Any] = dict.fromkeys(("labels", "true_labels", "original", "edited", "other", "keep"))
    return looks.Case(seed=seed, verb=verb, concept=concept, x=x, truth=truth, mask=disc(), **nothing)


def test_copy_and_paste_puts_the_object_into_the_box_of_the_mask(
    looks: ModuleType, cases: ModuleType
) -> None:
    photo = case(looks)
    picture = torch.full((1, 3, SIZE, SIZE), -0.2)
    picture[:, :, 20:28, 4:20] = torch.tensor([0.9, -0.8, -0.8]).view(1, 3, 1, 1)
    mask = (picture[:, :1] > 0).float()
    made, where = cases.pasted(photo, picture, mask)
    for one in (where, photo.mask):
        rows, columns = np.nonzero(one[0, 0].numpy())
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 25, 7, 25)
    redder = (made - photo.x)[0]
    assert ((redder[0] - redder[1]) * where[0, 0]).sum() / where.sum() > 1
    assert (redder * (1 - F.max_pool2d(where, 13, 1, 6)[0])).abs().max() < 0.02


def test_a_blend_by_gradients_leaves_nothing_of_what_was_inside(cases: ModuleType) -> None:
    photo = torch.full((1, 3, SIZE, SIZE), 0.2)
    photo[:, 0] += disc()[:, 0] * 0.7
    preview = torch.full((1, 3, SIZE, SIZE), 0.3)
    made = cases.cloned(preview, photo, disc())
    assert (made - 0.2).abs().max() < 0.02


def test_every_cheat_misses_a_bar_and_the_truth_none(looks: ModuleType, judge: Any) -> None:
    chosen = [case(looks, concept=looks.CONCEPTS[seed % 5], seed=seed) for seed in range(100)]
    truth = looks.Truth(
        judge, [looks.Crop(one.truth, one.mask) for one in chosen], [one.concept for one in chosen]
    )
    told = np.full(100, 1.0)
    rival = looks.Look(truth.concepts, told, told, told)
    others = truth.beside([looks.Crop(one, disc()) for one in things(100, 500)])
    assert [str(figure) for figure in looks.bars(others, rival) if figure.missed] == []
    for cheat in looks.CHEATS[1:]:  # here the photo's own pixels are as true as others
        look = truth.beside([looks.Crop(cheat(one), one.mask) for one in chosen])
        assert any(figure.missed for figure in looks.bars(look, rival)), cheat.__name__


def test_the_sheet_shows_six_additions_and_six_removals_of_each_concept(
    looks: ModuleType, tmp_path: Path
) -> None:
    chosen = [
        case(looks, verb, concept, seed)
        for concept in looks.CONCEPTS
        for verb in ("add", "remove")
        for seed in range(8)
    ]
    looks.write_sheet(tmp_path / "edits.png", [looks.Shown(one, one.x, one.truth) for one in chosen])
    wide, high = Image.open(tmp_path / "edits.png").size
    assert (wide, high) == (2 * (4 * SIZE + 12) + 16, 5 * (16 + 6 * (SIZE + 4)))
