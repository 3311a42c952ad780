"""What a session can do with an edit: restyle, units, targets and variants, its place, its footprint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files
from ganpaint_widget.method.edits import Edit, Reference
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.worker import Worker

SIZE = 32


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.fixture
def session(model_with_segmenter: Any) -> EditingSession:
    return EditingSession(generator=model_with_segmenter, worker=Worker(start=False))


# --- restyle ---


def test_restyle_takes_over_the_mean_of_the_references_features(session: EditingSession, mask: np.ndarray):
    region = np.zeros((SIZE, SIZE), np.uint8)
    region[16:, 8:] = 255
    edit = session.restyle("dome", mask, 7, 0.7, region=region)
    assert (edit.verb, edit.strength, edit.reference) == ("restyle", 0.7, Reference(seed=7, region=region))
    generator = session._state.model.generator
    state = generator.run(generator.start(generator.sample_z(1, 7)), until=generator.edit_layer)
    cell = SIZE // state.features.shape[-1]
    expected = state.features[0, :, 16 // cell :, 8 // cell :].mean(dim=(1, 2))
    np.testing.assert_allclose(edit.activations, expected.detach().numpy(), atol=1e-5)


def test_without_a_region_the_segmenter_says_where_the_concept_is(session: EditingSession, mask: np.ndarray):
    model = session._state.model
    edit = session.restyle("window", mask, 7)
    shown = session.reference(edit.id).reconstruction
    picture = np.asarray(shown).astype(np.float32) / 127.5 - 1
    import torch

    labels = model.segmenter.segment(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]
    region = (labels == model.segmenter.classes.index("window")).numpy()
    explicit = session.restyle("window", mask, 7, region=region)
    np.testing.assert_allclose(edit.activations, explicit.activations, atol=0.01)  # the picture is rounded
    everywhere = session.restyle("window", mask, 7, region=np.ones((SIZE, SIZE), bool))
    assert np.abs(edit.activations - everywhere.activations).max() > 0.03


def test_different_references_give_different_pictures(session: EditingSession, full_mask: np.ndarray):
    bright = np.full((40, 60, 3), 230, np.uint8)
    region = np.zeros((40, 60), np.uint8)
    region[:, 10:50] = 255
    plain = pixels(session.preview)
    shown = [plain]
    for reference in (1, 2, bright):
        part = region if reference is bright else None
        edit = session.restyle("dome", full_mask, reference, region=part)
        shown.append(pixels(session.preview))
        session.delete(edit.id)
    for one in range(len(shown)):
        for other in range(one):
            assert not np.array_equal(shown[one], shown[other])
    assert np.array_equal(pixels(session.preview), plain)


def test_the_reference_is_shown_with_its_reconstruction(session: EditingSession, mask: np.ndarray, tmp_path):
    photo = np.random.default_rng(3).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    path = tmp_path / "gold.png"
    Image.fromarray(photo).save(path)
    edit = session.restyle("dome", mask, path, region=np.full((40, 60), 255, np.uint8))
    referred = session.reference(edit.id)
    assert np.array_equal(pixels(referred.photo), files.read_square(photo, SIZE))
    assert referred.reconstruction.size == (SIZE, SIZE)
    assert referred.psnr < 30
    sample = session.restyle("dome", mask, 4)
    assert session.reference(sample.id).psnr > 50
    with pytest.raises(GANPaintError, match="the id of a restyle"):
        session.reference(session.add("dome", mask).id)


def test_a_reference_is_inverted_once(session: EditingSession, mask: np.ndarray, monkeypatch):
    import ganpaint_widget.method.inversion

    count = []
    invert = ganpaint_widget.method.inversion.invert
    monkeypatch.setattr(
        "ganpaint_widget.method.inversion.invert",
        lambda *given, **more: count.append(1) or invert(*given, **more),
    )
    photo = np.random.default_rng(3).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    for strength in (0.5, 1, 2):
        edit = session.restyle("dome", mask, photo, strength)
        session.reference(edit.id)
    assert len(count) == 1


def test_a_reference_can_be_changed_and_taken_back(session: EditingSession, mask: np.ndarray):
    edit = session.restyle("dome", mask, 1)
    other = session.update(edit.id, reference=2)
    assert other.reference == Reference(seed=2)
    assert not np.array_equal(other.activations, edit.activations)
    session.undo()
    assert session.edits == (edit,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reference": None}, "needs a reference"),
        ({"reference": "no/such.png"}, "does not exist"),
        ({"reference": -1}, "seed"),
        ({"reference": 2**40}, "seed"),
        ({"reference": True}, "bool"),
        ({"reference": 1, "region": np.zeros((SIZE, SIZE), np.uint8)}, "empty"),
        ({"reference": 1, "region": np.zeros((9, 9), np.uint8)}, "mask"),
        ({"reference": np.zeros((9, 9, 3), np.uint8), "region": np.zeros((8, 9), np.uint8)}, "mask"),
        ({"reference": np.full((9, 9, 3), 255, np.float32)}, "floating-point"),
        ({"reference": 1, "units": "many"}, "units"),
        ({"reference": 1, "strength": 5}, "strength"),
    ],
)
def test_a_wrong_restyle_is_refused(session: EditingSession, mask: np.ndarray, arguments: Any, says: str):
    revision = session.revision
    with pytest.raises(GANPaintError) as caught:
        session.restyle("dome", mask, **arguments)
    assert says in str(caught.value)
    assert (session.revision, session.edits) == (revision, ())


def test_a_reference_without_the_concept_is_refused(session: EditingSession, mask: np.ndarray, monkeypatch):
    monkeypatch.setattr(type(session._state.model.segmenter), "segment", lambda self, p: (p[:, 0] * 0).long())
    with pytest.raises(GANPaintError, match="does not show a dome"):
        session.restyle("dome", mask, 1)
    with pytest.raises(GANPaintError, match="None of 32 samples shows a dome"):
        session.add("dome", mask, variant=1)
    assert session.edits == ()


def test_without_a_segmenter_the_region_has_to_be_given(model: Any, mask: np.ndarray):
    session = EditingSession(generator=model, worker=Worker(start=False))
    with pytest.raises(GANPaintError, match="without a segmenter"):
        session.restyle("dome", mask, 1)
    assert session.restyle("dome", mask, 1, region=mask).activations is not None


# --- units, targets, variants ---


def test_units_are_named_or_numbered(session: EditingSession, full_mask: np.ndarray):
    dissection = session._state.model.dissection
    shown = {}
    for units in (None, "low", "medium", "high", (0,), [3, 1, 3]):
        edit = session.add("tree", full_mask, units=units)
        shown[edit.units] = pixels(session.preview).tobytes()
        session.delete(edit.id)
    assert [*shown] == [None, "low", "medium", "high", (0,), (1, 3)]
    assert len(set(shown.values())) == 6
    best = dissection.units("tree", 4).tolist()
    session.add("tree", full_mask, units=best)
    assert pixels(session.preview).tobytes() == shown["low"]


@pytest.mark.parametrize(
    "units", ["all", "", [], (), [-1], [16], [1.0], [True], 3, "3", {0: 1}, [None], math.nan]
)
def test_units_that_are_none_are_refused(session: EditingSession, mask: np.ndarray, units: Any):
    if units == {0: 1}:
        assert session.add("tree", mask, units=units).units == (0,)
        return
    with pytest.raises(GANPaintError, match="units"):
        session.add("tree", mask, units=units)


def test_targets_are_the_dissections_levels(session: EditingSession, full_mask: np.ndarray):
    shown = set()
    for target in ("tuned", "quantile", "mean"):
        edit = session.add("tree", full_mask, target=target)
        shown.add(pixels(session.preview).tobytes())
        session.delete(edit.id)
    # The made-up dissection has the same tuned and mean levels.
    assert len(shown) == 2
    with pytest.raises(GANPaintError, match="tuned, quantile, mean"):
        session.add("tree", full_mask, target="high")
    with pytest.raises(GANPaintError, match="only an addition"):
        session.update(session.remove("tree", full_mask).id, target="mean")


def test_variants_differ_and_are_the_same_for_the_same_number(
    session: EditingSession, model_with_segmenter: Any, full_mask: np.ndarray
):
    edit = session.add("tree", full_mask)
    shown = session.variants(edit.id, 3)
    assert len({image.tobytes() for image in shown}) == 3
    assert np.array_equal(pixels(shown[0]), pixels(session.preview))
    assert session.edits == (edit,)
    chosen = session.update(edit.id, variant=2)
    assert np.array_equal(pixels(shown[2]), pixels(session.preview))
    other = EditingSession(generator=model_with_segmenter, worker=Worker(start=False))
    again = other.add("tree", full_mask, variant=2)
    assert np.array_equal(again.activations, chosen.activations)
    assert session.update(edit.id, variant=0) == edit
    with pytest.raises(GANPaintError, match="only an addition"):
        session.variants(session.remove("tree", full_mask).id)


def test_a_variant_is_the_target_moved_by_an_instance(session: EditingSession, mask: np.ndarray):
    dissection = session._state.model.dissection
    tuned = session.add("tree", mask, variant=1)
    quantile = session.add("tree", mask, variant=1, target="quantile")
    between = dissection.target("tree", "quantile") - dissection.target("tree", "tuned")
    np.testing.assert_allclose(quantile.activations - tuned.activations, between.numpy(), atol=1e-5)


def test_suppressing_switches_units_off_everywhere(session: EditingSession):
    plain = pixels(session.preview)
    edit = session.suppress([2, 5])
    assert (edit.verb, edit.concept, edit.units, edit.mask.min()) == ("suppress", "", (2, 5), 255)
    assert not np.array_equal(pixels(session.preview), plain)
    features = session._state.picture.fast.edited(session.edits).features
    assert not features[:, [2, 5]].any()
    session.toggle(edit.id, False)
    assert np.array_equal(pixels(session.preview), plain)
    for units in (None, "low"):
        with pytest.raises(GANPaintError, match="no units to suppress"):
            session.suppress(units)


# --- order ---


def test_overlapping_edits_compose_in_order_and_can_be_moved(session: EditingSession, full_mask: np.ndarray):
    added, removed = session.add("tree", full_mask), session.remove("tree", full_mask)
    gone = pixels(session.preview)
    revision = session.revision
    session.move(removed.id, 0)
    assert session.edits == (removed, added)
    assert session.revision == revision + 1
    assert not np.array_equal(pixels(session.preview), gone)
    session.move(removed.id, 0)
    assert session.revision == revision + 1  # it was there already
    session.undo()
    assert np.array_equal(pixels(session.preview), gone)
    session.redo()
    assert session.edits == (removed, added)
    for index in (2, -1, 0.0, None, True, "0"):
        with pytest.raises(GANPaintError, match="place"):
            session.move(removed.id, index)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6))
def test_moving_is_what_it_is_for_a_list(model: Any, moves: list[tuple[int, int]]):
    session = EditingSession(generator=model, journal=False, worker=Worker(start=False))
    values = np.ones((1, 1), np.uint8)
    expected = [f"e{number}" for number in range(5)]
    for name in expected:
        session.paint(name, (0, 0, 1, 1), values, verb="add", concept="tree")
    for place, index in moves:
        moved = expected.pop(place)
        expected.insert(index, moved)
        session.move(moved, index)
        assert [edit.id for edit in session.edits] == expected


# --- footprint ---


def test_the_footprint_is_what_the_edit_changes(session: EditingSession, mask: np.ndarray):
    plain = pixels(session.preview).astype(int)
    edit = session.add("tree", mask)
    change = np.abs(pixels(session.preview).astype(int) - plain).max(axis=2)
    footprint = session.footprint(edit.id)
    assert (footprint.dtype, footprint.shape) == (np.uint8, (SIZE, SIZE))
    assert np.array_equal(footprint, change)
    assert (footprint > 0).sum() > (mask > 0).sum()  # wider than the stroke
    assert np.array_equal(session.footprint(), change)


def test_the_footprint_of_an_edit_among_others_and_of_one_that_is_not_made(
    session: EditingSession, mask: np.ndarray
):
    first = session.add("tree", mask)
    before = pixels(session.preview).astype(int)
    unmade = Edit("new", "remove", "dome", mask.T.copy())
    foreseen = session.footprint(unmade)
    assert session.edits == (first,)
    second = session.remove("dome", mask.T.copy())
    change = np.abs(pixels(session.preview).astype(int) - before).max(axis=2)
    assert np.array_equal(foreseen, change)
    assert np.array_equal(session.footprint(second.id), change)
    assert np.array_equal(session.footprint(second), change)
    session.toggle(second.id, False)
    assert not session.footprint(second.id).any()
    with pytest.raises(GANPaintError, match="does not exist"):
        session.footprint("nobody")
    with pytest.raises(GANPaintError, match="mask"):
        session.footprint(Edit("new", "add", "tree", np.zeros((3, 3), np.uint8)))


# --- scores ---


def test_a_sample_is_reconstructed_and_another_picture_is_not(session: EditingSession):
    scores = session.scores()
    assert scores.psnr > 50
    assert scores.ssim > 0.999
    assert scores.in_domain is None  # without an encoder nobody can say
    session.open(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8))
    worse = session.scores()
    assert worse.psnr == pytest.approx(session.metrics["reconstruction_psnr"], abs=1e-3)
    assert worse.ssim < 0.5


def test_an_edit_in_place_of_its_id_is_told(session: EditingSession, mask: np.ndarray):
    edit = session.add("tree", mask)
    for change in (session.delete, lambda one: session.update(one, strength=2.0)):
        with pytest.raises(GANPaintError, match=r"edit\.id"):
            change(edit)
    assert session.edits == (edit,)


def test_units_may_be_a_tensor(session: EditingSession, mask: np.ndarray):
    assert session.suppress(torch.tensor([3, 1])).units == (1, 3)


def test_a_restyle_takes_another_region_of_its_reference(session: EditingSession, mask: np.ndarray):
    edit = session.restyle("tree", mask, 5)
    region = np.zeros((SIZE, SIZE), np.uint8)
    region[:, : SIZE // 2] = 255
    session.update(edit.id, region=region)
    (changed,) = session.edits
    assert changed.reference.seed == 5 and np.array_equal(changed.reference.region, region)
    assert not np.array_equal(changed.activations, edit.activations)
    added = session.add("tree", mask)
    with pytest.raises(GANPaintError, match="no reference whose region"):
        session.update(added.id, region=region)


@pytest.mark.parametrize("journal", ["off", None, False])
def test_a_session_without_a_journal(journal: Any, model: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    session = EditingSession(generator=model, journal=journal)
    assert session.journals == () and not list(tmp_path.iterdir())


@pytest.mark.parametrize("journal", ["", 3])
def test_a_journal_needs_a_place(journal: Any, model: Any):
    with pytest.raises(GANPaintError, match="not a place for a journal"):
        EditingSession(generator=model, journal=journal)


def test_a_folder_is_not_a_project(tmp_path: Path):
    with pytest.raises(GANPaintError, match="is a folder"):
        EditingSession.load(tmp_path)
