"""Which exemplar an addition takes: the first that fills its mask, chosen once, when the stroke ends."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import Boxes, Brightness

from ganpaint_widget.demo.scenes import HELD_OUT, Scene
from ganpaint_widget.dissection import choosing, dissect
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.units import Exemplars
from ganpaint_widget.session import EditingSession, Failed
from ganpaint_widget.session.processes import choosing as process
from ganpaint_widget.session.processes import reviewing
from ganpaint_widget.session.worker import Worker


class Counted:
    """Counts how often it looks, and can fail or be slow."""

    classes = Brightness.classes

    def __init__(self) -> None:
        self.looks, self.seconds, self.broken = 0, 0.0, False
        self.brightness = Brightness().eval()

    def segment(self, pictures: torch.Tensor) -> torch.Tensor:
        self.looks += 1
        time.sleep(self.seconds)
        if self.broken:
            raise RuntimeError("out of order")
        return self.brightness.segment(pictures)


def objects(*gains: float) -> Exemplars:
    """Exemplars of a box that draw it as bright as that, in this order; those of the ground are the same."""
    activations = torch.tensor([[gain, 0.0, 0.0, 0.0] for gain in gains]).expand(2, -1, -1)
    return Exemplars(activations, torch.zeros(2, len(gains), 4), torch.tensor([len(gains)] * 2))


@pytest.fixture
def segmenter() -> Counted:
    return Counted()


@pytest.fixture
def model(segmenter: Counted) -> Model:
    """Its most similar box is drawn so dark that the segmenter sees none; the next one is bright."""
    known = dissect(Boxes(), Brightness(), samples=20, batch=20)
    known = replace(known, exemplars=objects(-3, 3, 3))
    return Model("boxes", Boxes(), dissection=known, segmenter=segmenter)


@pytest.fixture
def session(model: Model) -> EditingSession:
    return EditingSession(generator=model, worker=Worker(start=False))


def ground(session: EditingSession) -> np.ndarray:
    """The quarter opposite the box."""
    here = np.asarray(session.reconstruction).mean(axis=2) > 128
    return np.where(np.roll(here, (16, 16), (0, 1)), 255, 0).astype(np.uint8)


def paint(session: EditingSession, edit: str, mask: np.ndarray, **how: Any) -> None:
    """Paint a mask as a page does: in pieces, of which the last one says so."""
    for row in range(0, 32, 8):
        details = {"verb": "add", "concept": "box", "stroke": (edit, "stroke"), "last": row == 24, **how}
        session.paint(edit, (0, row, 32, 8), mask[row : row + 8], **details)


def rest(session: EditingSession) -> None:
    """Do what the worker has been asked for."""
    session._state.worker.run_pending()


def test_an_addition_takes_the_exemplar_that_fills_its_mask(session: EditingSession) -> None:
    mask = ground(session)
    edit = session.add("box", mask)
    assert edit.variant == 1
    assert edit.activations is not None and edit.activations[0] == 3
    assert np.asarray(session.preview)[mask > 0].min() > 200
    plain = session.add("box", mask, variant=0)
    assert plain.variant == 0 and plain.activations is not None and plain.activations[0] == -3
    faint = session.add("box", mask, strength=0.1)
    assert faint.variant == 1 and faint.strength == 0.1
    assert len(session.edits) == 3


def test_an_exemplar_that_fills_the_mask_stays(model: Model, segmenter: Counted) -> None:
    assert model.dissection is not None
    fitting = replace(model, dissection=replace(model.dissection, exemplars=objects(2, 3)))
    session = EditingSession(generator=fitting, worker=Worker(start=False))
    mask, looks = ground(session), segmenter.looks
    assert session.add("box", mask).variant == 0
    assert segmenter.looks == looks + 2  # at the picture without the addition, and with it


def test_what_spills_over_does_not_fit(model: Model, session: EditingSession) -> None:
    original = session._state.picture.fast.state
    mask = ground(session)
    edit = Edit("e", "add", "box", mask, target="exemplar")

    def carried_out(edits: Any) -> Any:
        features = original.features.clone()
        for one in edits:
            if one.variant == 0:
                features[:, 0] = 3  # a box everywhere
            elif one.variant == 1:
                features[0, 0][torch.from_numpy(mask[::4, ::4] > 0)] = 3
        return original.replace(features)

    chosen = choosing.best_fitting(model, original, [], edit, carried_out)
    assert chosen.variant == 1


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ((2, 5, 3, 6, 4, 6), 3),  # none fits, and the best is taken; of two that are as good, the first
        ((5, 5.5, 6, 8), 2),  # the first that fits
        ((1, 7, 8, 8), 1),  # another one that fits even better is not tried
        ((7, 7.5, 7.5), 0),  # hardly better
        ((1,) * 8 + (8,), 0),  # the ninth is not tried
    ],
)
def test_the_first_that_fits_or_the_best(
    model: Model, session: EditingSession, rows: tuple[float, ...], chosen: int
) -> None:
    """Of eight rows of cells, each exemplar fills some."""
    assert model.dissection is not None
    model = replace(model, dissection=replace(model.dissection, exemplars=objects(*rows)))
    original = session._state.picture.fast.state
    empty = original.replace(torch.full_like(original.features, -3))
    edit = Edit("e", "add", "box", np.full((32, 32), 255, np.uint8), target="exemplar")

    def carried_out(edits: Any) -> Any:
        features = empty.features.clone()
        for one in edits:
            features[0, 0].flatten()[: int(one.activations[0] * 8)] = 3
        return empty.replace(features)

    assert choosing.best_fitting(model, original, [], edit, carried_out).variant == chosen


@pytest.mark.parametrize(
    "change",
    [
        {"verb": "remove", "target": "tuned"},
        {"target": "tuned"},
        {"units": (0,)},
        {"enabled": False},
        {"mask": np.eye(32, dtype=np.uint8)},
    ],
)
def test_nothing_else_is_looked_at(model: Model, segmenter: Counted, change: dict[str, Any]) -> None:
    edit = replace(Edit("e", "add", "box", np.full((32, 32), 255, np.uint8), target="exemplar"), **change)
    state = model.generator.sampled(1, 0)
    chosen = choosing.best_fitting(model, state, [], edit, lambda edits: pytest.fail("carried out"))
    assert chosen is edit and segmenter.looks == 0


def test_without_a_segmenter_the_most_similar_is_taken(model: Model) -> None:
    session = EditingSession(generator=replace(model, segmenter=None), worker=Worker(start=False))
    assert session.add("box", ground(session)).variant == 0


def test_a_stroke_chooses_when_it_has_ended_and_only_once(
    session: EditingSession, segmenter: Counted
) -> None:
    mask = ground(session)
    for row in range(0, 32, 8):
        details: Any = {"verb": "add", "concept": "box", "stroke": "one", "last": row == 24}
        session.paint("e", (0, row, 32, 8), mask[row : row + 8], **details)
        rest(session)
        assert session.edits[0].variant == (1 if row == 24 else 0)
    looks = segmenter.looks
    session.update("e", variant=0)
    paint(session, "e", 255 - mask)
    rest(session)
    assert session.edits[0].variant == 0  # the user has chosen
    assert segmenter.looks == looks


def test_a_blend_and_a_preview_have_the_choice(session: EditingSession) -> None:
    mask = ground(session)
    paint(session, "e", mask)
    assert np.asarray(session.preview)[mask > 0].min() > 200
    paint(session, "f", mask)
    session.adapt()
    assert session.blend is not None
    assert [edit.variant for edit in session.blend.edits] == [1, 1]


def test_the_choice_is_no_step_of_undo(session: EditingSession) -> None:
    paint(session, "e", ground(session))
    rest(session)
    edits = session.edits
    assert edits[0].variant == 1
    assert session.undo() and not session.edits and not session.can_undo
    assert session.redo() and session.edits == edits


def test_a_choice_comes_while_the_next_stroke_goes_on(session: EditingSession) -> None:
    mask = ground(session)
    paint(session, "e", mask)
    for row in (0, 8):
        details: Any = {"verb": "add", "concept": "box", "stroke": "two", "last": False}
        session.paint("f", (0, row, 32, 8), mask[row : row + 8], **details)
        rest(session)
    assert [edit.variant for edit in session.edits] == [1, 0]
    assert session.undo()  # the whole second stroke, and nothing of the choice
    assert [(edit.id, edit.variant) for edit in session.edits] == [("e", 1)]


def test_a_stroke_that_was_undone_meanwhile_is_left_alone(session: EditingSession) -> None:
    paint(session, "e", ground(session))
    session.undo()
    rest(session)
    assert not session.edits
    assert session.redo() and session.edits[0].variant == 0


def test_a_version_that_the_user_took_meanwhile_stays(session: EditingSession) -> None:
    paint(session, "e", ground(session))
    session.update("e", variant=2)
    rest(session)
    assert session.edits[0].variant == 2


def test_a_journal_repeats_choices_and_steps(session: EditingSession, model: Model) -> None:
    mask = ground(session)
    paint(session, "e", mask)
    paint(session, "f", mask)
    rest(session)
    session.update("f", variant=0)
    edits = session.edits
    assert [edit.variant for edit in edits] == [1, 0]
    back = EditingSession.recover(generator=model, worker=Worker(start=False))
    assert back.edits == edits
    assert back.undo() and [edit.variant for edit in back.edits] == [1, 1]
    assert back.undo() and back.undo() and not back.edits and not back.can_undo


def test_a_slow_segmenter_looks_once_at_a_stroke(
    session: EditingSession, segmenter: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.01)
    monkeypatch.setattr(reviewing, "LONGEST", 0.01)
    segmenter.seconds = 0.02
    mask, looks = ground(session), segmenter.looks
    paint(session, "e", mask)
    rest(session)
    assert session.edits[0].variant == 0 and segmenter.looks == looks + 1
    assert session.add("box", mask).variant == 1  # a script has time
    session.observe(lambda event: None)
    looks = segmenter.looks
    paint(session, "f", mask)
    rest(session)  # the review finds that the segmenter is slow
    assert segmenter.looks == looks + 2
    paint(session, "g", mask)
    rest(session)
    assert segmenter.looks == looks + 2


def test_a_choice_that_fails_leaves_the_stroke(session: EditingSession, segmenter: Counted) -> None:
    told: list[Failed] = []
    session.observe(lambda event: told.append(event) if isinstance(event, Failed) else None)
    mask = ground(session)
    segmenter.broken = True
    paint(session, "e", mask)
    rest(session)
    assert session.edits[0].variant == 0 and np.array_equal(session.edits[0].mask, mask)
    assert told and "out of order" in told[0].message
    with pytest.raises(Exception, match="out of order"):
        session.add("box", mask)
    assert len(session.edits) == 1


def test_a_project_keeps_the_choice(session: EditingSession, model: Model, tmp_path: Path) -> None:
    edit = session.add("box", ground(session))
    session.save(tmp_path / "a.ganpaint")
    again = EditingSession.load(tmp_path / "a.ganpaint", generator=model, worker=Worker(start=False))
    assert again.edits == (edit,)


def test_trees_of_the_demo_fill_their_masks_better() -> None:
    """Over unselected scenes; what is measured is what the demo's own segmenter sees."""
    demo = load("demo")
    assert demo.segmenter is not None and demo.dissection is not None
    shares: dict[str, list[float]] = {"plain": [], "chosen": []}
    number = demo.segmenter.classes.index("tree")
    for seed in HELD_OUT[:60]:
        scene = Scene.sample(seed)
        try:
            mask = scene.with_("tree", 0, size=128).object_mask
        except ValueError:
            continue
        if (mask > 0).mean() < 0.002:
            continue
        session = EditingSession(scene.render(128), generator=demo, journal=False)
        for name, variant in (("plain", 0), ("chosen", None)):
            edit = session.add("tree", mask, variant=variant)
            picture = torch.from_numpy(np.asarray(session.preview).copy()).permute(2, 0, 1)[None] / 127.5 - 1
            seen = demo.segmenter.segment(picture)[0].numpy() == number
            shares[name].append(float(seen[mask > 0].mean()))
            session.delete(edit.id)
        if len(shares["plain"]) == 10:
            break
    assert len(shares["plain"]) == 10
    assert np.mean(shares["chosen"]) > np.mean(shares["plain"])
