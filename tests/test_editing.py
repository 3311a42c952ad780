"""The edit equation, on small random features where every number can be checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ganpaint_widget.editing import DEFAULT_UNITS, Edit, apply
from ganpaint_widget.generators.staged import State
from ganpaint_widget.preview import Preview

CHANNELS, GRID, SIZE = 6, 4, 16
CELL = SIZE // GRID
CONCEPTS = ("tree", "dome", "window")


class Knowledge:
    """Made-up units and levels of three concepts."""

    levels = 2 + torch.rand(len(CONCEPTS), CHANNELS, generator=torch.Generator().manual_seed(1))
    ranking = torch.tensor([[3, 0, 5, 1, 4, 2], [1, 2, 3, 4, 5, 0], [5, 4, 0, 1, 2, 3]])

    def index(self, concept: str) -> int:
        return CONCEPTS.index(concept)

    def units(self, concept: str, count: int) -> torch.Tensor:
        return self.ranking[self.index(concept)][:count]

    def weights(self, concept: str, verb: str) -> torch.Tensor:
        """Halves and wholes, others for each verb."""
        return self.ranking[self.index(concept)].flip(0) / 5 if verb == "add" else torch.ones(CHANNELS)


DISSECTION = Knowledge()

masks = arrays.arrays(np.uint8, (SIZE, SIZE))
edits = st.builds(
    Edit,
    id=st.just("e"),
    verb=st.sampled_from(["add", "remove"]),
    concept=st.sampled_from(CONCEPTS),
    mask=masks,
    strength=st.floats(0, 4, width=32),
    enabled=st.booleans(),
)
seeds = st.integers(0, 1000)


def features_of(seed: int) -> State:
    source = torch.Generator().manual_seed(seed)
    return State(torch.randn(1, CHANNELS, GRID, GRID, generator=source), "layer4", {"w": torch.ones(1)})


def by_hand(features: np.ndarray, edit: Edit, units: int) -> np.ndarray:
    """The equation with loops: what apply() is checked against."""
    result = features.copy()
    for unit in DISSECTION.units(edit.concept, units).tolist():
        level = float(DISSECTION.levels[DISSECTION.index(edit.concept), unit]) if edit.verb == "add" else 0.0
        for row in range(GRID):
            for column in range(GRID):
                cell = edit.mask[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
                alpha = cell.max() / 255
                before = features[0, unit, row, column]
                result[0, unit, row, column] = (1 - alpha) * before + alpha * edit.strength * level
    return result


@given(seeds, st.lists(edits, max_size=3), st.integers(1, CHANNELS))
def test_apply_is_the_equation_in_stroke_order(seed: int, stack: list[Edit], units: int):
    state = features_of(seed)
    expected = state.features.numpy()
    for edit in stack:
        if edit.enabled:
            expected = by_hand(expected, edit, units)
    actual = apply(state, stack, DISSECTION, units=units)
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
    blank = Edit("e", edit.verb, edit.concept, np.zeros((SIZE, SIZE), np.uint8), edit.strength)
    assert torch.equal(apply(state, [blank], DISSECTION).features, state.features)
    off = Edit("e", edit.verb, edit.concept, edit.mask, edit.strength, enabled=False)
    assert torch.equal(apply(state, [off], DISSECTION).features, state.features)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_without_a_number_of_units_the_dissection_weighs_them(concept: str):
    state = features_of(3)
    full = np.full((SIZE, SIZE), 255, np.uint8)
    after = apply(state, [Edit("e", "add", concept, full, 1.5)], DISSECTION).features
    weight = DISSECTION.weights(concept, "add")[None, :, None, None]
    level = DISSECTION.levels[DISSECTION.index(concept)][None, :, None, None]
    assert torch.allclose(after, state.features + weight * (1.5 * level - state.features), atol=1e-6)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_remove_zeroes_exactly_the_chosen_units_in_the_masked_cells(concept: str):
    state = features_of(0)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[CELL + 1, 2 * CELL + 3] = 255  # one pixel claims its whole cell: max-pooled
    after = apply(state, [Edit("e", "remove", concept, mask)], DISSECTION, units=2).features
    chosen = DISSECTION.units(concept, 2).tolist()
    for unit in range(CHANNELS):
        changed = (after[0, unit] != state.features[0, unit]).nonzero().tolist()
        assert changed == ([[1, 2]] if unit in chosen else [])
    assert (after[0, chosen, 1, 2] == 0).all()


@given(seeds, edits)
def test_the_last_of_two_full_strokes_wins(seed: int, edit: Edit):
    full = np.full((SIZE, SIZE), 255, np.uint8)
    remove, add = Edit("a", "remove", "tree", full), Edit("b", "add", "tree", full, 2.0)
    state = features_of(seed)
    units = DISSECTION.units("tree", DEFAULT_UNITS)
    added = apply(state, [edit, remove, add], DISSECTION, units=DEFAULT_UNITS).features[0, units]
    removed = apply(state, [edit, add, remove], DISSECTION).features[0, units]
    expected = 2 * DISSECTION.levels[0, units]
    assert torch.allclose(added, expected[:, None, None].expand_as(added))
    assert (removed == 0).all()


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
    after = generator.stages[generator.position(generator.edit_layer) + 1 :]

    plain = fast.render(())
    assert stages == list(after)
    fast.render([Edit("e", "add", "tree", full_mask)])
    assert stages == list(after) * 2

    with torch.no_grad():
        assert torch.allclose(plain, generator(generator.sample_z(1, 0)), atol=1e-5)
    assert plain.is_inference()


def test_a_preview_wants_a_state_of_the_edit_layer(model: Any):
    generator = model.generator
    with pytest.raises(ValueError, match="edits are made at"):
        Preview(model, generator.run(generator.start(generator.sample_z(1, 0)), until="layer1"))
