"""The edit equation, on small random features where every number can be checked."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor
from torch.nn import functional as F

from ganpaint_widget.method.edits import Edit, Reference
from ganpaint_widget.method.equation import HELD_DOWN, SIDEWAYS, apply, continued, mean_activations
from ganpaint_widget.method.preview import Preview
from ganpaint_widget.models.catalogue import UNITS
from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load

CHANNELS, GRID, SIZE = 6, 4, 16
CELL = SIZE // GRID
CONCEPTS = ("tree", "dome", "window")


class Knowledge:
    """Made-up units and levels of three concepts."""

    activations = 2 + torch.rand(len(CONCEPTS), CHANNELS, generator=torch.Generator().manual_seed(1))
    ranking = torch.tensor([[3, 0, 5, 1, 4, 2], [1, 2, 3, 4, 5, 0], [5, 4, 0, 1, 2, 3]])

    def target(self, concept: str, by: str) -> torch.Tensor:
        """Another for each kind of target."""
        factor = {"tuned": 1.0, "quantile": 1.5, "mean": 0.5}[by]
        return factor * self.activations[CONCEPTS.index(concept)]

    def units(self, concept: str, count: int) -> torch.Tensor:
        return self.ranking[CONCEPTS.index(concept)][:count]

    def weights(self, concept: str, verb: str) -> torch.Tensor:
        """Halves and wholes, others for each verb."""
        return self.ranking[CONCEPTS.index(concept)].flip(0) / 5 if verb == "add" else torch.ones(CHANNELS)


DISSECTION = Knowledge()

masks = arrays.arrays(np.uint8, (SIZE, SIZE))
units = st.one_of(
    st.sampled_from(["low", "medium", "high"]),
    st.sets(st.integers(0, CHANNELS - 1), min_size=1).map(lambda chosen: tuple(sorted(chosen))),
)
common = {
    "id": st.just("e"),
    "concept": st.sampled_from(CONCEPTS),
    "mask": masks,
    "strength": st.floats(0, 4, width=32),
    "enabled": st.booleans(),
    "units": units,
}
own_levels = arrays.arrays(np.float32, CHANNELS, elements=st.floats(-4, 4, width=32))
edits = st.one_of(
    st.builds(Edit, verb=st.just("add"), target=st.sampled_from(["tuned", "quantile", "mean"]), **common),
    st.builds(Edit, verb=st.just("add"), variant=st.just(3), activations=own_levels, **common),
    st.builds(Edit, verb=st.just("remove"), **common),
    st.builds(
        Edit, verb=st.just("restyle"), activations=own_levels, reference=st.just(Reference(seed=1)), **common
    ),
)
seeds = st.integers(0, 1000)


def features_of(seed: int) -> State:
    source = torch.Generator().manual_seed(seed)
    return State(torch.randn(1, CHANNELS, GRID, GRID, generator=source), "layer4", {"w": torch.ones(1)})


def by_hand(features: np.ndarray, edit: Edit) -> np.ndarray:
    """The equation with loops: what apply() is checked against."""
    result = features.copy()
    chosen = edit.units
    if isinstance(chosen, str):
        chosen = DISSECTION.units(edit.concept, UNITS[chosen]).tolist()
    for unit in chosen:
        level = 0.0
        if edit.activations is not None:
            level = float(edit.activations[unit])
        elif edit.verb == "add":
            level = float(DISSECTION.target(edit.concept, edit.target)[unit])
        for row in range(GRID):
            for column in range(GRID):
                cell = edit.mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
                added = edit.verb in ("add", "restyle")
                alpha = min(1, 1.5 * cell.mean() / 255) if added else cell.max() / 255 * min(1, edit.strength)
                before, target = features[0, unit, row, column], edit.strength * level if added else 0
                result[0, unit, row, column] = (1 - alpha) * before + alpha * target
    return result


@given(seeds, st.lists(edits, max_size=3))
def test_apply_is_the_equation_in_stroke_order(seed: int, stack: list[Edit]):
    state = features_of(seed)
    expected = state.features.numpy()
    for edit in stack:
        if edit.enabled:
            expected = by_hand(expected, edit)
    actual = apply(state, stack, DISSECTION)
    np.testing.assert_allclose(actual.features.numpy(), expected, atol=1e-5)


@given(seeds, edits)
def test_the_state_that_went_in_is_untouched_and_its_extras_come_along(seed: int, edit: Edit):
    state = features_of(seed)
    after = apply(state, [edit], DISSECTION)
    assert torch.equal(state.features, features_of(seed).features)
    assert (after.stage, after.extra) == (state.stage, state.extra)


@given(seeds, edits)
def test_where_alpha_is_zero_nothing_changes(seed: int, edit: Edit):
    state = features_of(seed)
    blank = replace(edit, mask=np.zeros((SIZE, SIZE), np.uint8))
    assert torch.equal(apply(state, [blank], DISSECTION).features, state.features)
    off = replace(edit, enabled=False)
    assert torch.equal(apply(state, [off], DISSECTION).features, state.features)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_without_units_of_its_own_the_dissection_weighs_them(concept: str):
    state = features_of(3)
    full = np.full((SIZE, SIZE), 255, np.uint8)
    after = apply(state, [Edit("e", "add", concept, full, 1.5)], DISSECTION).features
    weight = DISSECTION.weights(concept, "add")[None, :, None, None]
    level = DISSECTION.target(concept, "tuned")[None, :, None, None]
    assert torch.allclose(after, state.features + weight * (1.5 * level - state.features), atol=1e-6)


def test_what_is_continued_is_as_smooth_as_it_can_be():
    """A plane goes on as a plane; elsewhere each hidden cell is the weighted mean of its neighbors."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    plane = (1 + 2 * rows - columns)[None, None]
    hidden = torch.zeros(6, 6, dtype=torch.bool)
    hidden[1:4, 2:5] = True
    torch.testing.assert_close(continued(torch.where(hidden, 99.0, plane), hidden), plane)

    features = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    hidden[5, 5] = hidden[0, 0] = hidden[0, 1] = True
    after = continued(features, hidden)
    assert torch.equal(after[..., ~hidden], features[..., ~hidden])
    for row, column in hidden.nonzero().tolist():
        around = [
            (row + 1, column, 1),
            (row - 1, column, 1),
            (row, column + 1, SIDEWAYS),
            (row, column - 1, SIDEWAYS),
        ]
        inside = [(y, x, share) for y, x, share in around if 0 <= y < 6 and 0 <= x < 6]
        total = sum(share * after[..., y, x] for y, x, share in inside)
        torch.testing.assert_close(after[..., row, column], total / sum(share for _, _, share in inside))
    assert (continued(features, torch.ones(6, 6, dtype=torch.bool)) == 0).all()
    assert torch.equal(continued(features, torch.zeros(6, 6, dtype=torch.bool)), features)


def test_a_removal_left_to_the_dissection_lets_the_surroundings_in():
    state = features_of(3)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[CELL + 1, CELL + 1] = 255  # one pixel of the cell in row 1, column 1
    mask[CELL, 2 * CELL] = 51  # a fifth of the cell beside it
    hidden = torch.zeros(GRID, GRID, dtype=torch.bool)
    hidden[1, 1:3] = True
    level = (1 - HELD_DOWN) * continued(state.features, hidden)
    for strength in (1.0, 3.0):
        after = apply(state, [Edit("e", "remove", "tree", mask, strength)], DISSECTION).features
        assert torch.equal(after[..., ~hidden], state.features[..., ~hidden])
        torch.testing.assert_close(after[..., 1, 1], level[..., 1, 1])
        torch.testing.assert_close(after[..., 1, 2], 0.8 * state.features[..., 1, 2] + 0.2 * level[..., 1, 2])


def test_a_removal_takes_what_the_generator_imagines_matched_to_its_surroundings():
    state = features_of(3)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[CELL : 3 * CELL, CELL : 2 * CELL] = 255
    hidden = torch.zeros(GRID, GRID, dtype=torch.bool)
    hidden[1:3, 1] = True
    edit = Edit("e", "remove", "tree", mask)
    plain = apply(state, [edit], DISSECTION)
    imagined = features_of(4).features
    free = torch.zeros(1, 1, GRID, GRID)
    free[..., 1, 1] = 1
    asked: list[tuple[torch.Tensor, str]] = []

    def imagine(emptied: State, concept: str) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append((emptied.features, concept))
        return imagined, free

    after = apply(state, [edit], DISSECTION, imagine).features
    [(emptied, concept)] = asked
    assert concept == "tree"
    torch.testing.assert_close(emptied, plain.features)  # it is asked about what is left, not what was there
    matched = imagined + continued(state.features - imagined, hidden)
    torch.testing.assert_close(after[..., 1, 1], matched[..., 1, 1])
    torch.testing.assert_close(after[..., 2, 1], plain.features[..., 2, 1])  # the concept is imagined there
    assert torch.equal(after[..., ~hidden], state.features[..., ~hidden])
    # Of a generator that imagines what is there already, only the removal is seen.
    same = apply(state, [edit], DISSECTION, lambda emptied, _: (state.features, torch.ones(1, 1, GRID, GRID)))
    torch.testing.assert_close(same.features, state.features)
    for other in (replace(edit, verb="add"), replace(edit, units=(1,)), replace(edit, mask=0 * mask)):
        apply(state, [other], DISSECTION, imagine)
    assert len(asked) == 1


@pytest.mark.parametrize("concept", CONCEPTS)
def test_remove_zeroes_exactly_the_chosen_units_in_the_masked_cells(concept: str):
    state = features_of(0)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[CELL + 1, 2 * CELL + 3] = 255  # one pixel claims its whole cell: max-pooled
    chosen = tuple(DISSECTION.units(concept, 2).tolist())
    after = apply(state, [Edit("e", "remove", concept, mask, units=chosen)], DISSECTION).features
    for unit in range(CHANNELS):
        changed = (after[0, unit] != state.features[0, unit]).nonzero().tolist()
        assert changed == ([[1, 2]] if unit in chosen else [])
    assert (after[0, list(chosen), 1, 2] == 0).all()


def test_suppressing_needs_no_concept():
    state = features_of(0)
    full = np.full((SIZE, SIZE), 255, np.uint8)
    after = apply(state, [Edit("e", "suppress", "", full, units=(2, 4))], DISSECTION).features
    assert [unit for unit in range(CHANNELS) if (after[0, unit] == 0).all()] == [2, 4]
    others = [0, 1, 3, 5]
    assert torch.equal(after[:, others], state.features[:, others])


@given(seeds, arrays.arrays(np.uint8, (SIZE, SIZE)).filter(np.any))
def test_the_levels_of_a_reference_are_the_mean_over_its_pixels(seed: int, region: np.ndarray):
    state = features_of(seed)
    weights = region / 255
    full = state.features[0].numpy().repeat(CELL, axis=1).repeat(CELL, axis=2)
    expected = (full * weights).sum(axis=(1, 2)) / weights.sum()
    actual = mean_activations(state, torch.from_numpy(weights).float())
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-4)


def test_cells_at_the_border_of_a_region_can_count_less() -> None:
    state = features_of(3)
    region = torch.zeros(SIZE, SIZE)
    region[: CELL + CELL // 2, :CELL] = 1  # a whole cell, and half of the next
    features = state.features[0]
    plain, inner = (mean_activations(state, region, power) for power in (1, 2))
    torch.testing.assert_close(plain, (features[:, 0, 0] + 0.5 * features[:, 1, 0]) / 1.5)
    torch.testing.assert_close(inner, (features[:, 0, 0] + 0.25 * features[:, 1, 0]) / 1.25)


def test_a_restyle_after_itself_evens_out_its_region():
    """Each p is the mean, so that the region keeps its mean and loses its variation."""
    state = features_of(5)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[: 2 * CELL] = 255
    activations = mean_activations(state, torch.from_numpy(mask / 255).float()).numpy()
    edit = Edit(
        "e",
        "restyle",
        "tree",
        mask,
        units=tuple(range(CHANNELS)),
        activations=activations,
        reference=Reference(seed=1),
    )
    after = apply(state, [edit], DISSECTION).features[0, :, :2].flatten(1)
    before = state.features[0, :, :2].flatten(1)
    assert torch.allclose(after.mean(1), before.mean(1), atol=1e-5)
    assert float(after.std(1).max()) < 1e-5


@given(seeds, edits)
def test_the_last_of_two_full_strokes_wins(seed: int, edit: Edit):
    full = np.full((SIZE, SIZE), 255, np.uint8)
    remove = Edit("a", "remove", "tree", full)
    add = Edit("b", "add", "tree", full, 2.0, units="high")
    state = features_of(seed)
    added = apply(state, [edit, remove, add], DISSECTION).features[0]
    removed = apply(state, [edit, add, remove], DISSECTION).features[0]
    expected = 2 * DISSECTION.target("tree", "tuned")
    assert torch.allclose(added, expected[:, None, None].expand_as(added))
    assert (removed == 0).all()


def test_equality_sees_every_setting():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    other = np.full((SIZE, SIZE), 9, np.uint8)
    activations, picture = np.zeros(CHANNELS, np.float32), np.zeros((SIZE, SIZE, 3), np.uint8)
    edit = Edit("e", "add", "tree", mask)
    same = Edit("e", "add", "tree", mask.copy())
    assert edit == same and hash(edit) == hash(same)
    changes = [
        {"id": "f"}, {"verb": "remove"}, {"concept": "dome"}, {"mask": other}, {"strength": 2.0},
        {"enabled": False}, {"units": "low"}, {"units": (1, 2)}, {"target": "mean"}, {"variant": 1},
        {"activations": activations}, {"activations": activations + 1}, {"reference": Reference(seed=1)},
        {"reference": Reference(seed=2)}, {"reference": Reference(picture=picture)},
        {"reference": Reference(picture=picture, region=mask)},
        {"reference": Reference(picture=picture, region=other)},
    ]  # fmt: skip
    versions = [edit, *(replace(edit, **change) for change in changes)]
    for one, other_one in itertools.combinations(versions, 2):
        assert one != other_one


def test_masks_are_copied_and_cannot_be_written():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    edit = Edit("e", "add", "tree", mask)
    mask[:] = 255
    assert not edit.mask.any()
    with pytest.raises(ValueError, match="read-only"):
        edit.mask[0, 0] = 1


def test_a_preview_runs_only_what_follows_the_edit_layer(model: Any, full_mask: np.ndarray, monkeypatch):
    generator = model.generator
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    fast = Preview(model, state)
    stages: list[str] = []
    stage = type(generator).stage
    monkeypatch.setattr(
        type(generator), "stage", lambda self, name, state: stages.append(name) or stage(self, name, state)
    )
    after = generator.stages[generator.stage_index(generator.edit_layer) + 1 :]

    plain = fast.render(())
    assert stages[: len(after)] == list(after)
    assert set(stages) == set(after)  # how far each of them spreads a change is tried as well
    stages.clear()
    fast.render([Edit("e", "add", "tree", full_mask)])
    assert stages == list(after)

    with torch.no_grad():
        assert torch.allclose(plain, generator(generator.sample_z(1, 0)), atol=1e-5)
    assert plain.is_inference()


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_a_preview_renews_only_what_can_change_and_that_rightly(model: Any, verb: str, monkeypatch):
    model = replace(model, encoder=None)  # which removals ask
    generator = model.generator
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    size = generator.resolution
    seen: list[int] = []
    stage = type(generator).stage

    def counting(self: Any, name: str, state: Any) -> Any:
        seen.append(state.features[0, 0].numel())
        return stage(self, name, state)

    monkeypatch.setattr(type(generator), "stage", counting)
    fast = Preview(model, state)
    fast.render(())
    whole = sum(seen)

    def spot(x: int, y: int, side: int) -> Edit:
        mask = np.zeros((size, size), np.uint8)
        mask[y : y + side, x : x + side] = 200
        return Edit(f"e{x}-{y}", verb, "tree", mask)

    # In the corners, where the grids end, and within: less than everything is run again.
    corners = [spot(0, 0, 1), spot(size - 1, 0, 1), spot(0, size - 1, 1), spot(size - 1, size - 1, 1)]
    within = spot(size // 2, size // 3, 3)
    for edits in ([edit] for edit in (*corners, within)):
        fast.render(())
        seen.clear()
        picture = fast.render(edits)
        assert 0 < sum(seen) < whole
        assert torch.allclose(picture, Preview(model, state).render(edits), atol=1e-4)
    # From one set of edits to another, everywhere, nowhere; and where nothing has changed nothing is run.
    for edits in ([within, corners[2]], [*corners, within], [spot(0, 0, size)], []):
        assert torch.allclose(fast.render(edits), Preview(model, state).render(edits), atol=1e-4)
    seen.clear()
    assert torch.equal(fast.render([]), fast.render([]))
    assert not seen


class Smooth(StagedGenerator):
    """Doubles its grid smoothly, then looks to one side; hands its features on as they are, as a view."""

    stages = ("edit", "doubled", "leaning", "same")
    latent_size, resolution, edit_layer, fine_layers, reach = 4, 16, "edit", ("doubled",), 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)))

    def start(self, z: Tensor) -> State:
        return State(z.view(-1, 4, 1, 1))

    def stage(self, name: str, state: State) -> State:
        x = state.features
        if name == "edit":
            return State(x.view(-1, 4, 1, 1)[:, :2].expand(-1, -1, 8, 8).contiguous(), name)
        if name == "doubled":
            x = F.pad(x.repeat_interleave(2, -1).repeat_interleave(2, -2), (2, 2, 2, 2))
            return State(F.relu(F.avg_pool2d(x, 5, stride=1)), name)
        if name == "leaning":
            return State(F.conv2d(F.pad(x, (2, 0, 0, 2)), self.weight), name)
        return State(x, name)

    def picture(self, state: State) -> Tensor:
        return state.features.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


def test_windows_are_as_narrow_as_a_change_spreads_and_no_narrower():
    generator = Smooth()
    state = generator.sampled(1, 0)
    fast = Preview(Model("smooth", generator), state)
    now = [state]
    fast.edited = lambda edits, moving: now[0]
    fast.render(())
    assert [(one.scale, one.before, one.after) for one in fast._spreads] == [
        (2, 2, 2),
        (1, 2, 2),
        (1, 0, 0),
        (1, 0, 0),
    ]
    for row, column in itertools.product((0, 3, 7), (0, 4, 7)):
        features = state.features.clone()
        features[..., row, column] += 1
        now[0] = state.replace(features)
        with torch.no_grad():
            whole = generator.picture(generator.run(now[0]))
        assert torch.allclose(fast.render(()), whole, atol=1e-6)


def test_the_generator_is_asked_once_about_a_removal():
    model = load("demo")
    generator = model.generator
    full_mask = np.full((generator.resolution,) * 2, 255, np.uint8)
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    looks: list[tuple[int, ...]] = []
    encoder = model.encoder

    class Counting(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> Any:
            looks.append(tuple(pictures.shape))
            return encoder(pictures)

    fast = Preview(replace(model, encoder=Counting()), state)
    half, corner = np.zeros_like(full_mask), np.zeros_like(full_mask)
    half[:, : half.shape[1] // 2], corner[-9:, -9:] = 255, 255
    removed, added = Edit("e", "remove", "tree", half), Edit("f", "add", "tree", corner)
    fast.render([removed])
    assert looks == [(1, 3, generator.resolution, generator.resolution)]
    fast.render([removed, added])
    both = fast.render([removed, replace(added, strength=0.5)])
    assert len(looks) == 1
    assert torch.allclose(
        both, Preview(model, state).render([removed, replace(added, strength=0.5)]), atol=1e-4
    )
    fast.render([replace(removed, mask=corner)])
    fast.render([])
    fast.render([removed])
    assert len(looks) == 3


def test_what_is_imagined_is_free_of_a_concept_where_it_is_not_seen():
    model = load("demo")
    generator, dissection = model.generator, model.dissection
    state = generator.run(generator.start(generator.sample_z(4, 0)), until=generator.edit_layer)
    imagined, free = model.imagine(state, "window")
    with torch.no_grad():
        z = model.encoder(generator.picture(generator.run(state)).clamp(-1, 1))[0]
        torch.testing.assert_close(
            imagined, generator.run(generator.start(z), until=generator.edit_layer).features
        )
        labels = model.segmenter.segment(generator.picture(generator.run(state.replace(imagined))))
    windows = (labels == model.segmenter.classes.index("window")).float()[:, None]
    assert float(windows.sum()) > 0, "the samples show no window"
    # A cell with a few pixels of a window does not count as wall.
    assert torch.equal(free, (F.avg_pool2d(windows, 8) == 0).float())
    # Without a segmenter, the cells that are more like another concept are free.
    again, likely = replace(model, segmenter=None).imagine(state, "sky")
    torch.testing.assert_close(again, imagined)
    assert likely.shape == (4, 1, *imagined.shape[-2:])
    sky = F.avg_pool2d((labels == model.segmenter.classes.index("sky")).float()[:, None], 8)
    assert float(likely[sky == 1].mean()) < 0.2
    assert float(likely[sky == 0].mean()) > 0.9
    assert torch.equal(likely[:, 0] == 0, dissection.likest(imagined) == dissection.index("sky"))


def test_concepts_are_their_own_mean_activations():
    dissection = load("demo").dissection
    means = dissection.present.T[None, :, :, None]  # a picture with one cell of each concept
    assert dissection.likest(3 * means)[0, :, 0].tolist() == list(range(len(dissection.concepts)))


def test_a_preview_of_a_generator_that_may_look_anywhere_runs_whole_layers(
    model: Any, full_mask, monkeypatch
):
    generator = model.generator
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    monkeypatch.setattr(type(generator), "reach", None)
    mask = np.zeros_like(full_mask)
    mask[:2, :2] = 255
    fast = Preview(model, state)
    fast.render(())
    edits = [Edit("e", "add", "tree", mask)]
    assert torch.equal(fast.render(edits), Preview(model, state).render(edits))


def test_a_preview_wants_a_state_of_the_edit_layer(model: Any):
    generator = model.generator
    with pytest.raises(ValueError, match="edits are made at"):
        Preview(model, generator.run(generator.start(generator.sample_z(1, 0)), until="layer1"))
