"""Dissection on a generator whose units are known, because the test made them."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import Boxes, Brightness
from torch import Tensor

from ganpaint_widget.demo.segmenter import SceneSegmenter
from ganpaint_widget.dissection import (
    POOL,
    Dissection,
    artifact_candidates,
    causal_curve,
    causal_effect,
    dissect,
    position_baseline,
    random_rotation,
)
from ganpaint_widget.dissection.measure import best_threshold
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.tickets import Cancelled, Ticket


@pytest.fixture(scope="module")
def found() -> Dissection:
    return dissect(Boxes(), Brightness(), samples=100, batch=20, pixels=128)


def test_the_unit_that_draws_is_found(found: Dissection) -> None:
    box, ground = found.index("box"), found.index("ground")
    assert found.units("box", 1).tolist() == [0]
    assert found.units("ground", 1).tolist() == [1]
    assert found.iou[box, 0] > 0.8
    assert found.iqr[box, 0] > 0.4
    assert found.iou[box, 2] < 0.4
    assert found.iqr[box, 2] < 0.01
    assert found.interpretable("box") == 1
    assert found.present[box, 0] == pytest.approx(3, abs=0.1)
    assert found.present[ground, 0] == pytest.approx(0, abs=0.1)


def test_adding_and_removing_has_its_effect(found: Dissection) -> None:
    added, removed = causal_effect(Boxes(), Brightness(), found, "box", samples=20)
    assert added == 1
    assert removed == 1


def test_no_effect_without_the_units(found: Dissection) -> None:
    """Nothing is added. What surrounds a box comes into its place without any unit's help."""
    idle = replace(found, weight=torch.zeros_like(found.weight))
    assert causal_effect(Boxes(), Brightness(), idle, "box", samples=20) == (0, 1)


def test_the_best_threshold_is_the_most_informative() -> None:
    # One unit, two concepts: above its second threshold it is on exactly where the concept is.
    counts = torch.tensor([[[50.0, 40.0, 0.0, 0.0], [0.0, 0.0, 5.0, 5.0]]])
    iou, iqr, best = best_threshold(counts)
    assert best[1, 0] == 1
    assert iou[1, 0] == pytest.approx(1)
    assert iqr[1, 0] == pytest.approx(1)
    assert iqr[0, 0] == 0  # it marks the other concept's absence


def test_stored_and_read_again(found: Dissection, tmp_path: Path) -> None:
    path = tmp_path / "found.safetensors"
    found.save(path)
    again = Dissection.load(path)
    assert again.concepts == found.concepts
    assert again.colors == found.colors
    assert torch.equal(again.iou, found.iou)
    assert torch.equal(again.level, found.level)


def test_a_path_may_be_a_string(found: Dissection, tmp_path: Path) -> None:
    found.save(f"{tmp_path}/found.safetensors")
    assert Dissection.load(f"{tmp_path}/found.safetensors").concepts == found.concepts


def test_an_unknown_concept_lists_the_known(found: Dissection) -> None:
    with pytest.raises(GANPaintError, match="ground, box"):
        found.index("tree")


# --- spread over an executor ---


class Counting(Executor):
    """Does everything at once and counts it."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, work, /, *arguments, **more):
        self.submitted += 1
        future: Future = Future()
        future.set_result(work(*arguments, **more))
        return future


def same(one: Dissection, other: Dissection) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("iou", "iqr", "high", "present")
    )


def test_any_executor_counts_the_same(found: Dissection) -> None:
    executor = Counting()
    spread = dissect(Boxes(), Brightness(), samples=100, batch=20, pixels=128, executor=executor)
    assert same(spread, found)
    assert executor.submitted == 1 + 5  # one batch for the thresholds, five to be counted


@pytest.mark.parametrize("executor", [None, Counting()], ids=["here", "by an executor"])
def test_it_reports_both_passes_and_can_be_cancelled(executor: Executor | None) -> None:
    fractions: list[float] = []
    given = {"samples": 100, "batch": 20, "pixels": 16, "executor": executor}
    ticket = Ticket(observer=lambda report: fractions.append(report.fraction))
    dissect(Boxes(), Brightness(), ticket=ticket, **given)
    assert fractions == pytest.approx([step / 6 for step in range(1, 7)])
    ticket.cancel()
    with pytest.raises(Cancelled):
        dissect(Boxes(), Brightness(), ticket=ticket, **given)


@pytest.mark.slow
def test_a_pool_of_processes_counts_the_same() -> None:
    """With classes that another process can import: those of this file it cannot."""
    torch.manual_seed(0)
    generator = ProGAN(8, (8, 8, 8)).eval().requires_grad_(False)
    segmenter = SceneSegmenter(("ground", "sky", "tree"), (4, 4, 4, 4)).eval().requires_grad_(False)
    given = {"samples": 12, "batch": 3, "pixels": 64, "layer": "layer4"}
    alone = dissect(generator, segmenter, **given)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        assert same(dissect(generator, segmenter, executor=executor, **given), alone)


@pytest.mark.slow
def test_a_cluster_counts_the_same() -> None:
    """By Dask's own executor. That work and results can travel to other processes, the pool above shows."""
    from distributed import Client, LocalCluster

    torch.manual_seed(0)
    generator = ProGAN(8, (8, 8, 8)).eval().requires_grad_(False)
    segmenter = SceneSegmenter(("ground", "sky", "tree"), (4, 4, 4, 4)).eval().requires_grad_(False)
    given = {"samples": 12, "batch": 3, "pixels": 64, "layer": "layer4"}
    alone = dissect(generator, segmenter, **given)
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=False, **settings) as cluster, Client(cluster) as client:
        assert same(dissect(generator, segmenter, executor=client.get_executor(), **given), alone)
        assert len(client.scheduler_info()["workers"]) == 2


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of the pictures is bounded: the values that thresholds are taken from."""
    import ganpaint_widget.dissection.measure as module

    kept: list[int] = []
    gather = module._Gather.__call__

    def watched(self, batches):
        values = gather(self, batches)
        kept.append(sum(one.shape[1] for one in values))
        return values

    monkeypatch.setattr(module._Gather, "__call__", watched)
    for samples in (40, 160):
        kept.clear()
        dissect(Boxes(), Brightness(), samples=samples, batch=10, pixels=8192)
        assert 0.5 * POOL <= sum(kept) <= POOL


# --- baselines ---


def test_a_rotation_is_orthogonal_and_its_own() -> None:
    one, other = random_rotation(6, 1), random_rotation(6, 2)
    assert torch.allclose(one @ one.T, torch.eye(6), atol=1e-5)
    assert torch.equal(one, random_rotation(6, 1))
    assert not torch.allclose(one, other)


def test_rotated_axes_know_less(found: Dissection) -> None:
    """The box has an axis of its own; the axes of a rotation each see a little of it."""
    box = found.index("box")
    best = []
    for seed in range(5):
        rotation = random_rotation(4, seed)
        rotated = dissect(Boxes(), Brightness(), samples=100, batch=20, pixels=128, rotation=rotation)
        best.append(float(rotated.iou[box].max()))
    assert sum(best) / 5 < found.iou[box].max() - 0.05
    assert max(best) < found.iou[box].max()
    same_axes = dissect(Boxes(), Brightness(), samples=100, batch=20, pixels=128, rotation=torch.eye(4))
    assert torch.equal(same_axes.iou, found.iou)


class Corner(Boxes):
    """Always draws the box in the same quarter."""

    def stage(self, name: str, state: State) -> State:
        if name == "where":
            state = State(torch.tensor([9.0, 0, 0, 0, 0, 0, 0, 0]) + 0 * state.features)
        return super().stage(name, state)


def test_position_alone_finds_what_stands_still_and_not_what_moves(found: Dissection) -> None:
    box = found.index("box")
    moving = position_baseline(Boxes(), Brightness(), samples=100, batch=20, pixels=128)
    still = position_baseline(Corner(), Brightness(), samples=100, batch=20, pixels=128)
    assert moving.concepts == found.concepts
    assert still.iou[box] > 0.95
    assert moving.iou[box] < 0.5 < found.iou[box].max()
    with pytest.raises(GANPaintError, match="two batches"):
        position_baseline(Boxes(), Brightness(), samples=10, batch=20)


def test_the_table_has_a_row_for_each_concept(found: Dissection) -> None:
    rows = found.table()
    assert [row["concept"] for row in rows] == ["ground", "box"]
    assert [row["unit"] for row in rows] == [1, 0]
    assert rows[1]["iou"] == pytest.approx(float(found.iou[1, 0]))
    assert found.interpretable_units() == 2


# --- artifacts ---


class Torn(Boxes):
    """Boxes, with stripes across the whole picture wherever unit 3 is strong."""

    def stage(self, name: str, state: State) -> State:
        after = super().stage(name, state)
        if name == "where":
            after.features[:, 3] = torch.where(after.features[:, 3] > 2.4, after.features[:, 3], 0.0)
            return after
        strong = state.features[:, 3].amax(dim=(1, 2)).view(-1, 1, 1, 1)
        stripes = torch.arange(after.features.shape[-1]).remainder(2).float() * 2 - 1
        return State(after.features + strong * stripes, name)


def edges(pictures: Tensor) -> list[Tensor]:
    """Brightness and contrast of neighbors."""
    return [pictures[:, :1], (pictures[:, :1, :, 1:] - pictures[:, :1, :, :-1]).abs()]


def test_the_unit_that_tears_the_picture_comes_first() -> None:
    candidates = artifact_candidates(Torn(), edges, samples=150, top=12)
    assert candidates[0].unit == 3
    assert candidates[0].excess > 5
    assert sorted(one.unit for one in candidates) == [0, 1, 2, 3]
    sound = artifact_candidates(Boxes(), edges, samples=150, top=12)
    assert max(one.excess for one in sound) < candidates[0].excess / 2


# --- causal curves ---


def test_a_curve_rises_with_the_units_that_draw(found: Dissection) -> None:
    reversed_ranking = replace(found, iou=-found.iou)
    good = causal_curve(Boxes(), Brightness(), found, "box", units=range(1, 5), samples=20)
    bad = causal_curve(Boxes(), Brightness(), reversed_ranking, "box", units=range(1, 5), samples=20)
    assert (good.units, good.concept) == ((1, 2, 3, 4), "box")
    # Unit 0 alone draws the box, so it is enough, and what comes before it is not.
    assert good.added == good.removed == good.ablated == (1, 1, 1, 1)
    order = reversed_ranking.units("box", 4).tolist()
    at = order.index(0)
    for shares in (bad.added, bad.removed, bad.ablated):
        assert shares[:at] == (0,) * at and shares[at:] == (1,) * (4 - at)


def test_the_curve_is_read_where_the_effect_is() -> None:
    """A unit that draws beside its own cell: with it off under the mask, the object stays."""

    class Beside(Boxes):
        def stage(self, name: str, state: State) -> State:
            if name == "draw":
                state = state.replace(state.features.roll(4, dims=3))
            return super().stage(name, state)

    beside = dissect(Boxes(), Brightness(), samples=60, batch=20, pixels=128)
    curve = causal_curve(Beside(), Brightness(), beside, "box", units=[1], samples=20)
    assert curve.ablated == (1,)
    assert curve.removed[0] < 0.5
    assert curve.added[0] < 0.7


# --- what is given ---

FEW: dict[str, Any] = {"samples": 4, "batch": 2, "pixels": 16}


class Labels:
    """A segmenter whose answer a test chooses."""

    def __init__(self, change: Any = None, classes: Any = ("ground", "box")) -> None:
        self.classes = classes
        self.change = change or (lambda labels: labels)

    def segment(self, pictures: Tensor) -> Any:
        return self.change(Brightness().segment(pictures))


def test_a_model_is_dissected_as_its_generator() -> None:
    assert same(dissect(Model("boxes", Boxes()), Labels(), **FEW), dissect(Boxes(), Labels(), **FEW))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_whole_numbers_count(dtype: torch.dtype) -> None:
    assert same(dissect(Boxes(), Labels(lambda one: one.to(dtype)), **FEW), dissect(Boxes(), Labels(), **FEW))


@pytest.mark.parametrize(
    ("segmenter", "says"),
    [
        (Labels(lambda one: one.float()), r"\(float32\) of 2 x 32 x 32, not whole numbers"),
        (Labels(lambda one: one.bool()), r"\(bool\) of 2 x 32 x 32, not"),
        (Labels(lambda one: one[:, ::2, ::2]), "2 x 16 x 16, not whole numbers of 2 x 32 x 32"),
        (Labels(lambda one: torch.stack([one, one], dim=1)), r"argmax\(dim=1\)"),
        (Labels(lambda one: (one,)), "a tuple, not"),
        (Labels(lambda one: one.clamp_min(1) * 255), "from 255 to 255, and it has 2 classes"),
        (Labels(lambda one: one - 1), "labels from -1"),
        (Labels(classes=("box", "box")), "classes are"),
        (Labels(classes=(0, 1)), "classes are"),
        (Labels(classes="ab"), "classes are 'ab'"),
        (Labels(classes=()), "classes are"),
        (Labels, "The class Labels is not a segmenter"),
        (torch.nn.Conv2d(3, 2, 1), "A Conv2d is not a segmenter"),
    ],
)
def test_a_segmenter_that_names_no_pixels_is_refused(segmenter: Any, says: str) -> None:
    with pytest.raises(GANPaintError, match=says) as caught:
        dissect(Boxes(), segmenter, **FEW)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"layer": "layer9"}, "no stage 'layer9'.*where, draw"),
        ({"samples": 0}, "samples is out of range: 0"),
        ({"samples": 20.0}, "samples is out of range: 20.0"),
        ({"batch": 0}, "batch is out of range: 0"),
    ],
)
def test_a_dissection_that_cannot_be_made_says_so(given: dict[str, Any], says: str) -> None:
    with pytest.raises(GANPaintError, match=says):
        dissect(Boxes(), Brightness(), **(FEW | given))
    with pytest.raises(GANPaintError, match="A str is not a StagedGenerator"):
        dissect("demo", Brightness())  # type: ignore[arg-type]


def test_a_class_that_no_sample_shows_is_not_offered() -> None:
    found = dissect(Boxes(), Labels(classes=("ground", "unicorn", "box")), **FEW)
    assert found.concepts == ("ground", "unicorn", "box")
    assert found.offered == ("ground", "unicorn")
    assert not found.weights("box", "add").any()
