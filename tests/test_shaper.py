"""The shaper: what fills a painted mask, from an exemplar's mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganpaint_widget import EditingSession
from ganpaint_widget.demo.scenes import HELD_OUT, Scene
from ganpaint_widget.dissection import Dissection
from ganpaint_widget.images.arrays import tensor_of
from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method import preview
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.method.equation import apply
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.shaper import FOLD, MARGIN, Shaper, filled
from ganpaint_widget.models.units import Exemplars
from ganpaint_widget.session import Rendered
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.tickets import Ticket
from ganpaint_widget.training.importance import importance
from ganpaint_widget.training.shaper import Lessons, rough, train_shaper

UNITS, GRID = 16, 8
SIZE = FOLD * GRID


@pytest.fixture
def dissection(model: Model) -> Dissection:
    assert model.dissection is not None and len(model.dissection.high) == UNITS
    return model.dissection


def random_shaper(concepts: tuple[str, ...] = ("tree",), units: int = UNITS) -> Shaper:
    torch.manual_seed(0)
    shaper = Shaper(units, concepts, width=8, depth=1)
    for one in shaper.parameters():
        torch.nn.init.normal_(one, std=0.2)
    return shaper.eval().requires_grad_(False)


def disc(size: int = SIZE, middle: tuple[float, float] = (30, 26), radius: float = 11) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2).float()[None, None]


def test_a_shaper_begins_with_the_mean() -> None:
    torch.manual_seed(0)
    features, activations = torch.randn(2, UNITS, GRID, GRID), torch.randn(2, UNITS, 1, 1)
    shaped = Shaper(UNITS, ["tree"])(features, disc().expand(2, -1, -1, -1), activations)
    assert torch.equal(shaped, activations.expand_as(features))


def test_what_lies_under_the_mask_and_far_from_it_does_not_count() -> None:
    shaper, mask = random_shaper(), disc()
    features, activations = torch.randn(1, UNITS, GRID, GRID), torch.randn(1, UNITS, 1, 1)
    covered = filled(mask, (GRID, GRID)) == 1
    assert covered.any()
    other = torch.where(covered, 9.0, features)
    shaped = shaper.within(features, mask, activations)
    assert torch.equal(shaped, shaper.within(other, mask, activations))
    # Its window is the mask's box and a margin.
    there = F.adaptive_max_pool2d(mask, GRID)[0, 0] > 0
    rows, columns = (there.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    assert rows[0] > 0 and columns[-1] + 1 + MARGIN < GRID
    far = features.clone()
    far[..., columns[-1] + 1 + MARGIN :] = 9.0
    assert torch.equal(shaped, shaper.within(far, mask, activations))
    near = features.clone()
    near[..., columns[-1] + 1] = 9.0
    assert not torch.equal(shaped, shaper.within(near, mask, activations))


def test_the_window_of_a_mask_everywhere_is_the_whole_grid() -> None:
    shaper, mask = random_shaper(), torch.ones(1, 1, SIZE, SIZE)
    features, activations = torch.randn(1, UNITS, GRID, GRID), torch.randn(1, UNITS, 1, 1)
    whole = shaper(features, mask, activations)
    assert torch.equal(shaper.within(features, mask, activations), whole)
    nothing = shaper.within(features, 0 * mask, activations)
    assert torch.equal(nothing, activations.expand_as(features))


def test_an_outline_moves_by_pixels_inside_its_cells() -> None:
    shaper, features = random_shaper(), torch.randn(1, UNITS, GRID, GRID)
    activations = torch.randn(1, UNITS, 1, 1)
    # Both cover half of each cell.
    left, right = torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE)
    left[..., : FOLD // 2] = right[..., FOLD // 2 : FOLD] = 1
    assert torch.equal(filled(left, (GRID, GRID)), filled(right, (GRID, GRID)))
    one, other = (shaper.within(features, mask, activations) for mask in (left, right))
    assert not torch.allclose(one, other)


def test_only_exemplars_of_its_concepts_are_shaped(dissection: Dissection) -> None:
    shaped = replace(dissection, shaper=random_shaper(("tree",)))
    state = State(torch.randn(1, UNITS, GRID, GRID), "layer")
    mask = (disc()[0, 0].numpy() * 255).astype(np.uint8)
    vector = torch.randn(UNITS).numpy()

    def differs(verb: str, concept: str, target: str) -> bool:
        edit = Edit("e", verb, concept, mask, 1.0, target=target, activations=vector)
        one, other = (apply(state, [edit], known).features for known in (dissection, shaped))
        return not torch.equal(one, other)

    assert differs("add", "tree", "exemplar")
    assert not differs("add", "dome", "exemplar")
    assert not differs("add", "tree", "tuned")
    assert not differs("restyle", "tree", "tuned")


def test_a_dissection_keeps_its_shaper(dissection: Dissection, tmp_path: Path) -> None:
    dissection = replace(dissection, shaper=random_shaper(("tree", "dome")))
    dissection.save(tmp_path / "a.safetensors")
    back = Dissection.load(tmp_path / "a.safetensors")
    assert back.shaper is not None and dissection.shaper is not None
    assert back.shaper.config == dissection.shaper.config and not back.shaper.training
    for name, one in dissection.shaper.state_dict().items():
        assert torch.equal(back.shaper.state_dict()[name], one.half().float())
    assert back.only([1]).shaper is back.shaper


@pytest.mark.parametrize(
    "change",
    [
        {"width": 9},
        {"depth": 2},
        {"depth": 10**6},
        {"units": UNITS + 1},
        {"units": True},
        {"concepts": [1]},
        {},
    ],
)
def test_a_damaged_shaper_is_refused(change: dict[str, object]) -> None:
    shaper = random_shaper()
    packed, plain = shaper.packed()
    if not change:
        packed["middle"][0] = torch.nan
    with pytest.raises((KeyError, TypeError, ValueError)):
        Shaper.unpacked(packed, {**plain, **change})


def test_a_shaper_that_would_not_be_read_is_not_written(dissection: Dissection, tmp_path: Path) -> None:
    broken = random_shaper()
    broken.middle[0] = 1e9
    for shaper in (random_shaper(units=UNITS + 1), broken):
        with pytest.raises(ValueError, match="shaper"):
            replace(dissection, shaper=shaper).save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_it_learns_where_outlines_run_and_which_side_is_lit() -> None:
    random = np.random.default_rng(0)
    masks, truths, means = [], [], []
    for _ in range(400):
        middle = random.uniform(18, SIZE - 18, 2)
        mask = disc(middle=(middle[0], middle[1]), radius=random.uniform(8, 14))[0, 0]
        # Unit 0 is the object in each cell's left half, unit 1 grows from its left to its right, and unit 2
        # is its own.
        left = F.avg_pool2d((mask * (torch.arange(SIZE) % FOLD < FOLD // 2))[None], FOLD)[0]
        own = float(random.uniform(-1, 1))
        lit = F.avg_pool2d((mask * (torch.arange(SIZE) - float(middle[1])) / 14)[None], FOLD)[0]
        inside = F.avg_pool2d(mask[None], FOLD)[0]
        truths.append(torch.stack([left, lit, own * inside]))
        means.append([0.3, 0.0, own])
        masks.append(mask.numpy() > 0)
    truth = torch.stack(truths).numpy().astype(np.float16)
    lessons = Lessons(np.zeros_like(truth), truth, np.array(means, np.float16), np.stack(masks))
    told = Lessons(lessons.around[:350], truth[:350], lessons.activations[:350], lessons.masks[:350])
    sizes = {"steps": 200, "drawn": 60, "batch": 16, "width": 16, "depth": 2}
    shaper = train_shaper(told, ["disc"], lambda one: [(1.0, F.interpolate(one, scale_factor=2.0))], **sizes)
    assert shaper.concepts == ("disc",)
    asked = torch.from_numpy(lessons.masks[350:].astype(np.float32))[:, None]
    activations = torch.from_numpy(lessons.activations[350:].astype(np.float32))[:, :, None, None]
    wanted = torch.from_numpy(lessons.truth[350:].astype(np.float32))
    part = filled(asked, (GRID, GRID))
    missed = ((part * shaper(0 * wanted, asked, activations) - wanted) ** 2).sum(dim=(0, 2, 3))
    constant = ((part * activations - wanted) ** 2).sum(dim=(0, 2, 3))
    assert (missed < 0.25 * constant).all(), (missed / constant).tolist()
    # Where the drawing has changed since, the shaper goes on and adapts to it: here, only one unit is drawn.
    kept = {name: weight.clone() for name, weight in shaper.state_dict().items()}
    one = lambda features: [(1.0, features[:, :1])]  # noqa: E731
    other = train_shaper(told, ["disc"], one, steps=0, drawn=60, batch=16, start=shaper)
    assert all(torch.equal(weight, kept[name]) for name, weight in shaper.state_dict().items())
    assert other.config == shaper.config
    again = ((part * other(0 * wanted, asked, activations) - wanted) ** 2).sum(dim=(0, 2, 3))
    assert again[0] < missed[0] and (again < 0.5 * constant).all(), (again / missed).tolist()


def test_importance_is_that_of_a_linear_drawing() -> None:
    torch.manual_seed(0)
    drawing = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0]])
    features = torch.randn(400, 3, 4, 4)
    found = importance(lambda one: [(1.0, torch.einsum("kc,bchw->bkhw", drawing, one))], features)
    varied = torch.cov(features.movedim(1, -1).reshape(-1, 3).T)
    exact = drawing.T @ drawing
    assert torch.allclose(found, exact / (exact * varied).sum(), atol=0.02)
    assert torch.allclose((found * varied).sum(), torch.tensor(1.0))


def test_rough_masks_hold_what_they_are_made_of_and_little_more() -> None:
    mask, random = disc()[0, 0], np.random.default_rng(0)
    made = [rough(mask, random) for _ in range(40)]
    for one in made:
        assert set(one.flatten().tolist()) == {0.0, 1.0}
        assert (one * mask).sum() >= 0.95 * mask.sum()
        assert one.sum() <= 1.5 * mask.sum()
    assert len({int(one.sum()) for one in made}) >= 4


@pytest.mark.parametrize("concept", ["dome", "window", "door", "tree"])
def test_the_demos_additions_are_nearer_to_the_truth_with_it(concept: str) -> None:
    """Six scenes each, with the object's own mean, so that the truth is known to the pixel."""
    model = load("demo")
    assert model.dissection is not None and model.encoder is not None and model.dissection.shaper is not None
    plain = replace(model.dissection, shaper=None)
    generator, size = model.generator, model.generator.resolution
    gained: list[float] = []
    seeds = iter(HELD_OUT[70_000:])
    while len(gained) < 6:
        scene = Scene.sample(next(seeds))
        try:
            other = scene.with_(concept, 0 if concept == "tree" else None, size=size)
        except ValueError:
            continue
        if (other.object_mask > 0).mean() < 0.004:
            continue
        x, y = (tensor_of(one.render(size), "cpu") for one in (scene, other.scene))
        mask = torch.from_numpy((other.object_mask > 0).astype(np.float32))[None, None]
        with torch.no_grad():
            there = model.encoder(y)[1]
            share = F.adaptive_avg_pool2d(mask, there.shape[-2:])
            mean = (there * share).sum(dim=(2, 3)) / share.sum()
            edit = Edit(
                "e", "add", concept, other.object_mask, 1.0, target="exemplar", activations=mean[0].numpy()
            )
            state = State(model.encoder(x)[1], generator.edit_layer)
            drawn = [
                generator.picture(generator.run(apply(state, [edit], known))).clamp(-1, 1)
                for known in (plain, model.dissection)
            ]
        without, with_ = (psnr(torch.lerp(y, one, mask), y) for one in drawn)
        gained.append(with_ - without)
    assert np.median(gained) > 1, gained


def shaped_model(model: Model, dissection: Dissection) -> Model:
    torch.manual_seed(0)
    exemplars = Exemplars.stacked(
        [(torch.randn(2, UNITS), torch.randn(2, UNITS)) for _ in dissection.concepts]
    )
    return replace(
        model, dissection=replace(dissection, exemplars=exemplars, shaper=random_shaper(("tree",)))
    )


def stroke(size: int, pieces: int) -> list[Edit]:
    """A stroke from left to right, after each of its pieces."""
    mask, edits = np.zeros((size, size), np.uint8), []
    activations = np.linspace(-1, 1, UNITS, dtype=np.float32)
    for piece in range(pieces):
        mask = mask.copy()
        mask[size // 3 : size // 2, : (piece + 1) * size // pieces] = 255
        edits.append(Edit("e", "add", "tree", mask, 1.0, target="exemplar", activations=activations))
    return edits


def test_a_moving_hand_gets_the_last_shape_and_a_resting_one_the_exact_picture(
    model: Model, dissection: Dissection, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shaped_model(model, dissection)
    generator, now = model.generator, [100.0]
    monkeypatch.setattr(preview.time, "monotonic", lambda: now[0])
    state = generator.sampled(1, 0, until=generator.edit_layer)
    fast, pieces = preview.Preview(model, state), stroke(generator.resolution, 4)

    def exactly(edit: Edit) -> torch.Tensor:
        assert model.dissection is not None
        return apply(state, [edit], model.dissection).features

    assert torch.equal(fast.edited(pieces[:1], moving=True).features, exactly(pieces[0])) and fast.exact
    now[0] += 0.5 * preview.SHAPED_EVERY
    moved = fast.edited(pieces[1:2], moving=True).features
    assert not fast.exact and not torch.equal(moved, exactly(pieces[1]))
    # What the first piece covered stays as it was, and new cells have the mean.
    first, second = (
        filled(torch.from_numpy(one.mask / 255).float()[None, None], moved.shape[-2:])[0, 0]
        for one in pieces[:2]
    )
    assert torch.equal(moved[..., first == 1], exactly(pieces[0])[..., first == 1])
    assert pieces[1].activations is not None
    mean = torch.tensor(pieces[1].activations)[None, :, None]
    fresh = (second == 1) & (first == 0)
    assert fresh.any() and torch.equal(moved[..., fresh], mean.expand_as(moved[..., fresh]))
    # The hand still moves, but not far.
    fast.edited(pieces[1:2], moving=True)
    assert not fast.exact
    now[0] += preview.SHAPED_EVERY
    assert torch.equal(fast.edited(pieces[2:3], moving=True).features, exactly(pieces[2])) and fast.exact
    fast.edited(pieces[3:], moving=True)
    assert not fast.exact
    assert torch.equal(fast.edited(pieces[3:]).features, exactly(pieces[3])) and fast.exact


def test_other_edits_keep_their_shapes_while_one_is_painted(
    model: Model, dissection: Dissection, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shaped_model(model, dissection)
    generator, asked = model.generator, []
    whole = Shaper.within
    monkeypatch.setattr(Shaper, "within", lambda self, *given: asked.append(1) or whole(self, *given))
    fast = preview.Preview(model, generator.sampled(1, 0, until=generator.edit_layer))
    *_, done = stroke(generator.resolution, 2)
    other = replace(done, id="f", mask=np.ascontiguousarray(done.mask.T))
    fast.edited([done])
    fast.edited([done, other])
    assert len(asked) == 2
    fast.edited([done, other])
    fast.edited([done])
    assert len(asked) == 2
    for moving in (False, True):  # domes are not shaped
        fast.edited([replace(done, concept="dome")], moving=moving)
        fast.edited([replace(other, concept="dome", activations=done.activations)], moving=moving)
        assert len(asked) == 2 and fast.exact


def painted(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> tuple[EditingSession, list[Rendered], list[Any]]:
    """A session with a stroke in progress, its previews, and what waits for the hand to rest."""
    worker, told, later = Worker(start=False), [], []  # type: tuple[Worker, list[Rendered], list[Any]]
    monkeypatch.setattr(worker, "idle", lambda key, work, on_error=None: later.append(work))
    session = EditingSession(generator=model, worker=worker)
    session.observe(lambda event: told.append(event) if isinstance(event, Rendered) else None)
    side = model.generator.resolution // 4
    for step in range(4):
        piece = np.full((side, side), 255, np.uint8)
        session.paint("e", (side * step, side, side, side), piece, verb="add", concept="tree")
        worker.run_pending()
    return session, told, later


def test_an_exact_preview_follows_when_the_hand_rests(
    model: Model, dissection: Dissection, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, told, later = painted(shaped_model(model, dissection), monkeypatch)
    moving = told[-1]
    assert not moving.exact and not session.rendered.exact
    for work in later:
        work(Ticket())
    assert told[-1].exact and told[-1].revision == moving.revision == session.revision
    assert not np.array_equal(told[-1].array, moving.array)
    amount = len(told)
    assert np.array_equal(told[-1].array, np.asarray(session.preview)) and len(told) == amount


def test_python_is_given_exact_previews(
    model: Model, dissection: Dissection, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, told, _ = painted(shaped_model(model, dissection), monkeypatch)
    moving = told[-1]
    assert not moving.exact
    assert not np.array_equal(np.asarray(session.preview), moving.array)
    assert session.rendered.exact and told[-1].exact
