"""Exemplars: single objects as targets of additions."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import Boxes, Brightness

from ganpaint_widget import EditingSession, GANPaintError, Model
from ganpaint_widget.dissection import Dissection, dissect, find_exemplars
from ganpaint_widget.dissection.exemplars import PLACES, _elsewhere, _Seen, connected_regions, medoids
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.method.equation import apply
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.units import setting_of


@pytest.fixture(scope="module")
def found() -> Dissection:
    known = dissect(Boxes(), Brightness(), samples=60, batch=20, pixels=64)
    return find_exemplars(Boxes(), Brightness(), known, samples=60, batch=20, count=6)


def flooded(labels: np.ndarray) -> np.ndarray:
    """Regions numbered by a flood fill, pixel by pixel."""
    regions = np.full(labels.shape, -1)
    for start in np.ndindex(labels.shape):
        if regions[start] >= 0:
            continue
        regions[start] = number = regions.max() + 1
        waiting = deque([start])
        while waiting:
            y, x = waiting.popleft()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = all(0 <= at < side for at, side in zip(near, labels.shape, strict=True))
                if inside and regions[near] < 0 and labels[near] == labels[start]:
                    regions[near] = number
                    waiting.append(near)
    return regions


@settings(deadline=None, max_examples=60)
@given(arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_regions_are_those_of_a_flood_fill(labels: np.ndarray) -> None:
    ours = connected_regions(torch.from_numpy(labels)[None])[0].numpy()
    theirs = flooded(labels)
    pairs = set(zip(ours.flat, theirs.flat, strict=True))
    assert len(pairs) == len(set(ours.flat)) == len(set(theirs.flat))


def test_medoids_stand_for_groups_and_not_for_accidents() -> None:
    torch.manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = torch.cat([center + torch.randn(20, 2) for center in centers] + [torch.tensor([[500.0, 500.0]])])
    chosen = medoids(points, 4)
    assert sorted(index // 20 for index in chosen) == [0, 1, 2]
    assert medoids(torch.zeros(5, 2), 3) == [0]  # equal points need no second one


def test_a_broad_group_has_many_medoids_beside_accidents() -> None:
    torch.manual_seed(0)
    points = torch.cat([torch.randn(96, 64), 30 * torch.randn(3, 64)])
    chosen = medoids(points, 24)
    assert len(chosen) >= 10 and max(chosen) < 96


def test_an_object_is_tried_at_others_of_its_class_in_other_pictures() -> None:
    nothing = torch.zeros(0)
    seen = [_Seen(picture, nothing, row, nothing) for picture in range(3) for row in (1, 2, 2)]
    for mine, (picture, _, row, _) in enumerate(seen):
        others = [seen[other] for other in _elsewhere(seen, mine)]
        assert len(others) == (2 if row == 1 else PLACES)
        assert all(other.picture != picture and other.row == row for other in others)
    assert _elsewhere(seen[:3], 0) == [0]  # the only one is tried where it is


def test_medoids_of_points_that_rounding_makes_equal() -> None:
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        points = torch.randn(12, 64, generator=random).repeat(3, 1)
        points = points + 1e-5 * torch.randn(points.shape, generator=random)
        chosen = medoids(points, 30)
        assert chosen and len(set(chosen)) == len(chosen)


def test_exemplars_are_objects_with_their_pictures(found: Dissection) -> None:
    assert found.exemplars is not None
    box, ground = found.index("box"), found.index("ground")
    counts = found.exemplars.counts
    assert 0 < counts[box] <= 6 and 0 < counts[ground] <= 6
    assert found.exemplars.activations[box, : counts[box], 0].min() > 2  # the unit that draws boxes is on
    assert found.exemplars.activations[ground, : counts[ground], 0].max() < 1
    assert not found.exemplars.activations[box, counts[box] :].any()


def test_the_exemplar_of_the_most_similar_picture_is_taken(found: Dissection) -> None:
    assert found.exemplars is not None
    row = found.index("box")
    for place in range(int(found.exemplars.counts[row])):
        assert found.exemplars.nearest(row, found.exemplars.settings[row, place])[0] == place
    boxes = Boxes()
    features = boxes.run(boxes.start(boxes.sample_z(1, 5)), until=found.layer).features
    order = found.exemplars.nearest(row, setting_of(features)[0])
    assert sorted(order) == list(range(int(found.exemplars.counts[row])))
    for variant in range(2 * len(order)):
        wanted = found.exemplars.activations[row, order[variant % len(order)]]
        assert torch.equal(found.exemplar("box", features, variant), wanted)


def test_an_addition_puts_an_exemplar_into_all_units(found: Dissection) -> None:
    boxes = Boxes()
    state = boxes.run(boxes.start(boxes.sample_z(1, 5)), until=found.layer)
    mask = np.full((boxes.resolution, boxes.resolution), 255, np.uint8)
    edit = Edit("e", "add", "box", mask, target="exemplar", variant=1)
    edited = apply(state, [edit], found).features
    wanted = found.exemplar("box", state.features, 1).view(1, -1, 1, 1).expand_as(edited)
    torch.testing.assert_close(edited, wanted)
    # The choice goes by the picture, not by what earlier edits have made of it.
    twice = apply(state, [edit, edit], found).features
    torch.testing.assert_close(twice, wanted)


def test_exemplars_are_stored_with_the_dissection(found: Dissection, tmp_path: Path) -> None:
    found.save(tmp_path / "d.safetensors")
    again = Dissection.load(tmp_path / "d.safetensors")
    assert found.exemplars is not None and again.exemplars is not None
    for name, table in vars(found.exemplars).items():
        assert torch.equal(table, getattr(again.exemplars, name))
    assert again.default_target("box") == "exemplar"


def test_some_concepts_can_be_kept(found: Dissection) -> None:
    assert found.exemplars is not None
    ground = found.index("ground")
    kept = found.only([ground])
    assert kept.concepts == ("ground",) and kept.exemplars is not None
    assert torch.equal(kept.iou[0], found.iou[ground])
    assert torch.equal(kept.exemplars.activations[0], found.exemplars.activations[ground])


# --- in a session ---


@pytest.fixture(scope="module")
def model() -> Model:
    """The demo's, which has several exemplars of a tree."""
    demo = load("demo")
    assert demo.dissection is not None and demo.dissection.exemplars is not None
    assert int(demo.dissection.exemplars.counts[demo.dissection.index("tree")]) > 2
    return demo


def disc(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.where((y - 80) ** 2 + (x - 30) ** 2 < 200, 255, 0).astype(np.uint8)


def test_a_session_adds_by_exemplars_where_there_are_some(model: Model, tmp_path: Path) -> None:
    with EditingSession(scene=0, generator=model, journal=False) as session:
        mask = disc(session.size)
        edit = session.add("tree", mask)
        assert edit.target == "exemplar" and edit.activations is not None
        by_units = session.add("tree", mask, units="low")
        assert by_units.target == "tuned" and by_units.activations is None
        plain = session.add("tree", mask, target="mean")
        assert plain.target == "mean" and plain.activations is None
        other = session.update(edit.id, variant=1)
        assert other.activations is not None and not np.array_equal(other.activations, edit.activations)
        assert np.array_equal(session.update(edit.id, variant=0).activations, edit.activations)

        # A stroke that grows goes on with what was chosen when it began.
        half = session.size // 2
        white = np.full((4, 4), 255, np.uint8)
        session.paint("stroke", (half, half, 4, 4), white, verb="add", concept="dome")
        begun = next(one for one in session.edits if one.id == "stroke")
        session.paint("stroke", (half + 4, half, 4, 4), white, verb="add", concept="dome")
        grown = next(one for one in session.edits if one.id == "stroke")
        assert begun.target == "exemplar" and grown.activations is begun.activations

        session.save(tmp_path / "a.ganpaint")
        edits = session.edits
    with EditingSession.load(tmp_path / "a.ganpaint", generator=model, journal=False) as again:
        assert again.edits == edits


def test_without_exemplars_an_addition_is_as_tuned_and_cannot_ask_for_one(model: Model) -> None:
    assert model.dissection is not None
    bare = replace(model, dissection=replace(model.dissection, exemplars=None))
    with EditingSession(scene=0, generator=bare, journal=False) as session:
        assert session.add("tree", disc(session.size)).target == "tuned"
        with pytest.raises(GANPaintError, match="'tree' has no exemplar"):
            session.add("tree", disc(session.size), target="exemplar")
        assert len(session.edits) == 1
