"""The session: verbs, undo, previews, blends and what observers hear, with nothing left to chance."""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import ganpaint_widget.method.adaptation
import ganpaint_widget.method.inversion
import ganpaint_widget.method.preview
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.session import (
    Blended,
    Changed,
    EditingSession,
    Failed,
    Finished,
    Noticed,
    Opened,
    Progress,
    Rendered,
)
from ganpaint_widget.session.document import MAX_EDITS, MAX_UNDO
from ganpaint_widget.session.journal import Journal
from ganpaint_widget.session.processes import inverting
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.tickets import Cancelled

SIZE = 32


def heard(session: EditingSession) -> list[Any]:
    events: list[Any] = []
    session.observe(events.append)
    return events


def of_kind(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def dab(session: EditingSession, edit: str, x: int = 4, *, stroke: Any = None, value: int = 255) -> int:
    """Paint 4 x 4 pixels."""
    values = np.full((4, 4), value, np.uint8)
    return session.paint(edit, (x, 4, 4, 4), values, verb="add", concept="tree", stroke=stroke)


def pixels(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image)


# --- opening ---


def test_a_new_session_shows_a_sample_and_its_reconstruction(session: EditingSession):
    assert session.concepts == ("tree", "dome", "window")
    assert session.palette[0].color == "#228833"
    assert session.palette[0].quality == pytest.approx(0.6)
    assert (session.size, session.generator_name, session.title) == (SIZE, "tiny", "sample 0")
    assert (session.revision, session.edits, session.notice, session.job) == (1, (), None, None)
    assert (session.can_undo, session.can_redo, session.has_gallery) == (False, False, False)
    assert session.photo.size == session.preview.size == (SIZE, SIZE)
    assert np.array_equal(pixels(session.photo), pixels(session.reconstruction))
    assert np.array_equal(pixels(session.photo), pixels(session.preview))
    assert session.result is None
    assert session.metrics["reconstruction_psnr"] > 30
    assert session.metrics["blend"] is None


def test_a_photo_is_cropped_to_its_center_and_announced_as_foreign(model: Any):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200
    session = EditingSession(wide, model, worker=Worker(start=False))
    assert (pixels(session.photo) == 200).all()
    assert isinstance(session.notice, Noticed)
    assert session.notice.level == "warning"
    assert f"{session.metrics['reconstruction_psnr']:.1f} dB" in session.notice.text
    assert session.title == "photo"


def test_files_bytes_and_images_are_pictures(model: Any, tmp_path: Path):
    image = Image.new("RGB", (50, 50), (10, 20, 30))
    path = tmp_path / "church.png"
    image.save(path)
    for source, title in [
        (path, "church.png"),
        (str(path), "church.png"),
        (path.read_bytes(), "photo"),
        (image, "photo"),
    ]:
        session = EditingSession(source, model, worker=Worker(start=False))
        assert (pixels(session.photo) == (10, 20, 30)).all()
        assert session.title == title


def test_scenes_come_round_and_go_on_after_a_photo(model_with_gallery: Any):
    session = EditingSession(generator=model_with_gallery, worker=Worker(start=False), scene=1)
    assert (session.title, session.has_gallery, session.notice) == ("scene 1", True, None)
    session.open(np.zeros((8, 8, 3), np.uint8), title="mine.png")
    assert session.title == "mine.png"
    assert session.notice is not None
    session.next_scene()
    assert (session.title, session.notice) == ("scene 2", None)
    assert (pixels(session.photo) == 180).all()
    session.next_scene()
    assert session.title == "scene 0"


def test_a_scene_is_opened_by_its_index(model_with_gallery: Any):
    session = EditingSession(generator=model_with_gallery, worker=Worker(start=False))
    shown = session.scenes(1)
    assert [title for title, _ in shown] == ["scene 1", "scene 2"]
    session.open_scene(2)
    assert (session.title, session.scene, session.scene_count) == ("scene 2", 2, 3)
    assert np.array_equal(pixels(session.photo), pixels(shown[1][1]))
    revision = session.revision
    for wrong in (3, -1, 1.0, True, "1", None):
        with pytest.raises(GANPaintError):
            session.open_scene(wrong)
        with pytest.raises(GANPaintError):
            session.scenes(wrong)
    assert (session.title, session.revision) == ("scene 2", revision)
    session.next_scene()
    assert (session.title, session.scene) == ("scene 0", 0)
    session.next_scene()
    assert session.scene == 1
    session.open(np.zeros((8, 8, 3), np.uint8))
    assert session.scene is None


def test_without_a_gallery_a_scene_is_the_sample_of_a_seed(model: Any):
    session = EditingSession(generator=model, worker=Worker(start=False))
    session.open_scene(7)
    again = EditingSession(generator=model, worker=Worker(start=False), scene=7)
    assert (session.title, session.scene, session.scene_count) == ("sample 7", None, 0)
    assert np.array_equal(pixels(session.photo), pixels(again.photo))
    with pytest.raises(GANPaintError):
        session.scenes()


def test_opening_clears_the_edits_and_counts_as_a_change(session: EditingSession, mask: np.ndarray):
    session.add("tree", mask)
    session.adapt()
    events = heard(session)
    before = session.revision
    session.next_scene()
    assert (session.edits, session.can_undo, session.result) == ((), False, None)
    assert session.revision == before + 1
    assert [type(event) for event in events] == [Opened, Changed, Rendered]
    assert session.metrics["blend"] is None


def test_an_inversion_that_fails_leaves_the_picture_and_the_edits(session, mask, monkeypatch):
    session.add("tree", mask)
    edits, photo, revision = session.edits, pixels(session.photo), session.revision

    def invert(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("ganpaint_widget.method.inversion.invert", invert)
    with pytest.raises(GANPaintError, match=r"could not be opened .*out of memory"):
        session.open(np.zeros((8, 8, 3), np.uint8))
    assert (session.edits, session.revision) == (edits, revision)
    assert np.array_equal(pixels(session.photo), photo)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The optimization of an inversion goes on until ``ended`` is set, or it is cancelled."""
    quick = ganpaint_widget.method.inversion.invert
    held = SimpleNamespace(begun=threading.Event(), ended=threading.Event())

    def invert(model: Any, x: Any, *, steps: int = 60, ticket: Any = None) -> Any:
        while steps > inverting.GLANCE and not held.ended.wait(0.001):
            held.begun.set()
            try:
                ticket.checkpoint(0.5)
            except Cancelled:
                break
        return quick(model, x, steps=steps)

    monkeypatch.setattr("ganpaint_widget.method.inversion.invert", invert)
    yield held
    held.ended.set()


@pytest.fixture
def guessing(model_with_gallery: Any, worker: Worker, held: SimpleNamespace) -> EditingSession:
    """A session that shows what the encoder makes of its scene, while the inversion is going on."""
    generator = model_with_gallery.generator
    z = generator.sample_z(1, 3)

    def encoder(pictures: Any) -> Any:
        state = generator.run(generator.start(z), until=generator.edit_layer)
        return z.expand(len(pictures), -1), state.features.expand(len(pictures), -1, -1, -1)

    model = replace(model_with_gallery, encoder=encoder)
    session = EditingSession(generator=model, progressive=True, worker=worker)
    assert held.begun.wait(5)
    return session


def test_an_editor_has_a_guess_at_once_and_what_is_painted_on_it_stays(guessing, held, mask, worker):
    guess, measured = guessing.rendered.array, guessing.metrics
    painted = threading.Event()
    guessing.observe(lambda event: painted.set() if isinstance(event, Rendered) else None)
    edit = guessing.add("tree", mask, 4)
    assert painted.wait(5)
    assert not np.array_equal(guessing.rendered.array, guess)
    events = heard(guessing)
    held.ended.set()
    preview = pixels(guessing.preview)
    assert guessing.edits == (edit,)
    assert guessing.metrics != measured
    assert np.array_equal(of_kind(events, Rendered)[-1].array, preview)
    patient = EditingSession(generator=guessing.model, worker=worker)
    assert np.array_equal(pixels(patient.reconstruction), pixels(guessing.reconstruction))
    patient.add("tree", mask, 4)
    assert np.array_equal(pixels(patient.preview), preview)
    assert guessing.undo()
    assert np.array_equal(pixels(guessing.preview), pixels(guessing.reconstruction))


def test_a_blend_that_is_asked_for_early_is_of_the_inverted_picture(guessing, held, mask):
    guessing.add("tree", mask)
    future = guessing.start_adapt()
    assert not future.done()
    held.ended.set()
    early = future.result(5)
    assert guessing.blend is early
    assert np.array_equal(early.array, pixels(guessing.adapt()))


def test_opening_another_picture_ends_the_inversion_of_the_last(guessing, held):
    held.begun.clear()
    guessing.next_scene()
    assert held.begun.wait(5)
    events = heard(guessing)
    title = guessing.title
    held.ended.set()
    assert np.array_equal(pixels(guessing.preview), pixels(guessing.reconstruction))
    assert guessing.title == title
    assert len(of_kind(events, Rendered)) == 1


def test_an_inversion_that_fails_later_leaves_the_guess_and_says_so(guessing, held, mask, monkeypatch):
    guess = pixels(guessing.reconstruction)
    inverted = inverting.inverted

    def glance_only(*given: Any, guess: bool = False) -> Any:
        return inverted(*given, guess=True) if guess else 1 / 0

    monkeypatch.setattr(inverting, "inverted", glance_only)
    events = heard(guessing)
    guessing.next_scene()
    after = pixels(guessing.preview)
    assert not np.array_equal(guess, after)
    assert "could not be inverted" in of_kind(events, Failed)[-1].message
    guessing.add("tree", mask, 4)
    assert not np.array_equal(pixels(guessing.preview), after)


# --- verbs and undo ---


def test_add_and_remove_return_their_edit_and_change_the_preview(session, mask, full_mask):
    plain = pixels(session.preview)
    added = session.add("tree", mask, strength=2)
    assert isinstance(added, Edit)
    assert (added.verb, added.concept, added.strength, added.enabled) == ("add", "tree", 2.0, True)
    assert np.array_equal(added.mask, mask)
    assert not np.array_equal(pixels(session.preview), plain)
    removed = session.remove("dome", full_mask > 0)
    assert (removed.verb, removed.mask.dtype, removed.mask.min()) == ("remove", np.uint8, 255)
    assert session.edits == (added, removed)
    session.undo()
    session.undo()
    assert np.array_equal(pixels(session.preview), plain)


def test_each_verb_is_one_revision_and_one_step(session: EditingSession, mask: np.ndarray):
    first = session.add("tree", mask)
    second = session.add("dome", mask)
    revision = session.revision
    assert session.update(first.id, 3).strength == 3
    assert not session.toggle(first.id, False).enabled
    session.delete(second.id)
    assert session.revision == revision + 3
    assert [edit.id for edit in session.edits] == [first.id]
    session.undo()
    assert [edit.id for edit in session.edits] == [first.id, second.id]
    session.undo()
    session.undo()
    assert session.edits == (first, second)
    assert session.redo()
    assert session.edits[0].strength == 3
    assert session.revision == revision + 7


def test_what_was_undone_is_gone_once_something_else_is_done(session: EditingSession, mask: np.ndarray):
    edit = session.add("tree", mask)
    session.add("dome", mask)
    session.undo()
    assert session.can_redo
    session.update(edit.id, 2)
    assert not session.can_redo
    assert not session.redo()
    assert [edit.strength for edit in session.edits] == [2]


def test_setting_what_is_set_already_is_no_step(session: EditingSession, mask: np.ndarray):
    edit = session.add("tree", mask, 1.5)
    revision = session.revision
    assert session.update(edit.id, 1.5) is edit
    assert session.toggle(edit.id, True) is edit
    assert session.revision == revision


def test_the_pieces_of_a_stroke_are_one_step_of_undo(session: EditingSession):
    for x in range(3):
        dab(session, "a", 4 * x, stroke=("page", 1))
    dab(session, "a", 20, stroke=("page", 2))
    dab(session, "b", stroke=None)
    dab(session, "b", 8, stroke=None)
    assert [edit.mask.astype(bool).sum() for edit in session.edits] == [64, 32]
    session.undo()
    session.undo()
    session.undo()
    assert [edit.mask.astype(bool).sum() for edit in session.edits] == [48]
    session.undo()
    assert session.edits == ()
    assert not session.undo()


def test_a_stroke_that_something_came_between_is_two_steps(session: EditingSession):
    dab(session, "a", stroke=1)
    session.undo()
    dab(session, "a", stroke=1)
    session.update("a", 2)
    dab(session, "a", 8, stroke=1)
    session.undo()
    assert session.edits[0].strength == 2


def test_painting_the_same_piece_twice_changes_nothing_more(session: EditingSession):
    dab(session, "a", stroke=1)
    once = session.edits
    dab(session, "a", stroke=1)
    assert session.edits == once
    dab(session, "a", stroke=1, value=0)
    assert not session.edits[0].mask.any()


def test_a_rectangle_without_pixels_changes_nothing(session: EditingSession):
    empty = np.zeros((0, 0), np.uint8)
    revision = session.revision
    assert session.paint("a", (0, 0, 0, 0), empty, verb="add", concept="tree") == revision
    assert session.edits == ()


def test_a_known_edit_keeps_its_verb_concept_and_strength(session: EditingSession):
    dab(session, "a")
    session.paint("a", (0, 0, 1, 1), np.array([[9]], np.uint8), verb="remove", concept="dome", strength=3)
    (edit,) = session.edits
    assert (edit.verb, edit.concept, edit.strength, edit.mask[0, 0]) == ("add", "tree", 1.0, 9)


def test_undo_and_the_number_of_edits_are_bounded(session: EditingSession, mask: np.ndarray):
    for number in range(MAX_EDITS):
        dab(session, f"e{number}")
    with pytest.raises(GANPaintError, match="Delete one"):
        session.add("tree", mask)
    session.update("e0", 2)
    undone = 0
    while session.undo():
        undone += 1
    assert undone == MAX_UNDO
    assert len(session.edits) == 1


operations = st.one_of(
    st.tuples(st.just("dab"), st.sampled_from("abc"), st.integers(0, 28), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("update"), st.sampled_from("abc"), st.floats(0, 4)),
    st.tuples(st.just("toggle"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
)


def carry_out(session: EditingSession, operation: tuple[Any, ...]) -> None:
    name, edit, *rest = operation
    if name == "dab":
        dab(session, edit, rest[0], stroke=rest[1])
    elif any(known.id == edit for known in session.edits):
        getattr(session, name)(edit, *rest)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=st.lists(operations, max_size=12), back=st.integers(0, 12))
def test_undo_and_redo_walk_through_the_states_that_were(model, done, back):
    session = EditingSession(generator=model, journal=False, worker=Worker(start=False))
    states = [session.edits]
    for operation in done:
        steps = len(session._state.history._undo)
        revision = session.revision
        carry_out(session, operation)
        if session.revision == revision:
            continue
        if len(session._state.history._undo) == steps:  # a further piece of the same stroke
            states[-1] = session.edits
        else:
            states.append(session.edits)
    walk = states[:]
    for _ in range(min(back, len(states) - 1)):
        walk.pop()
        assert session.undo()
        assert session.edits == walk[-1]
    while session.redo():
        walk.append(session.edits)
    assert walk == states
    while session.undo():
        pass
    assert session.edits == ()


# --- previews ---


def test_only_the_newest_preview_is_rendered(session: EditingSession, monkeypatch):
    dab(session, "a")
    pixels(session.preview)
    renders: list[int] = []
    render = ganpaint_widget.method.preview.Preview.render
    monkeypatch.setattr(
        ganpaint_widget.method.preview.Preview,
        "render",
        lambda self, edits, *_, **__: renders.append(len(edits)) or render(self, edits),
    )
    events = heard(session)
    for number in range(10):
        dab(session, "b", number, stroke=1)
    _ = session.preview
    assert renders == [2]
    assert [event.revision for event in of_kind(events, Rendered)] == [session.revision]
    assert len(of_kind(events, Changed)) == 10


def test_reading_the_preview_waits_for_the_present_revision(live: EditingSession, full_mask: np.ndarray):
    plain = pixels(live.preview)
    for _ in range(5):
        live.add("tree", full_mask)
        assert not np.array_equal(pixels(live.preview), plain)
        live.undo()
        assert np.array_equal(pixels(live.preview), plain)


def test_reading_waits_for_a_busy_worker_and_not_for_a_closed_one(live, worker, mask):
    busy, release = threading.Event(), threading.Event()
    worker.submit(lambda: (busy.set(), release.wait(10)))
    assert busy.wait(5)
    live.add("tree", mask)
    threading.Timer(0.2, release.set).start()
    assert live.preview.size == (SIZE, SIZE)
    worker.close()
    with pytest.raises(GANPaintError, match="closed"):
        _ = live.preview


def test_a_preview_that_fails_is_told_and_raised_and_the_next_one_works(session, mask, monkeypatch):
    events = heard(session)

    def broken(self: Any, edits: Any, modify: Any, moving: bool) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(ganpaint_widget.method.preview.Preview, "render", broken)
        session.add("tree", mask)
        with pytest.raises(GANPaintError, match="no memory"):
            _ = session.preview
    assert of_kind(events, Failed)
    session.update(session.edits[0].id, 2)
    assert session.preview.size == (SIZE, SIZE)


def test_events_carry_pictures_that_cannot_be_written(session: EditingSession, mask: np.ndarray):
    events = heard(session)
    session.add("tree", mask)
    preview = pixels(session.preview)
    (rendered,) = of_kind(events, Rendered)
    assert (rendered.array.shape, rendered.array.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(rendered.array, preview)
    with pytest.raises(ValueError, match="read-only"):
        rendered.array[0] = 0


def test_an_edit_without_visible_effect_is_noticed_until_one_has(session, mask, full_mask, monkeypatch):
    events = heard(session)
    monkeypatch.setattr(
        "ganpaint_widget.session.processes.rendering.VISIBLE", 256
    )  # nothing is visible any more
    dab(session, "a", stroke=1)
    _ = session.preview
    dab(session, "a", 8, stroke=1)
    _ = session.preview
    assert session.notice is not None
    assert session.notice.text.startswith("No visible effect here")
    assert len(of_kind(events, Noticed)) == 1  # said once, not with every frame
    monkeypatch.setattr("ganpaint_widget.session.processes.rendering.VISIBLE", 2)
    session.add("tree", full_mask)
    _ = session.preview
    assert session.notice is None


# --- observers ---


def test_observers_are_called_without_the_lock_and_may_fail(session: EditingSession, mask: np.ndarray):
    entered = []

    def from_another_thread(event: Any) -> None:
        thread = threading.Thread(target=lambda: (session.metrics, entered.append(session.edits)))
        thread.start()
        thread.join(5)
        assert not thread.is_alive(), "the lock was held"
        raise RuntimeError("an observer's own mistake")

    session.observe(from_another_thread)
    session.add("tree", mask)
    _ = session.preview
    assert len(entered) == 2


def test_an_observer_can_end_its_observing_and_read_and_edit(live: EditingSession, mask: np.ndarray):
    done = threading.Event()

    def callback(event: Any) -> None:
        if isinstance(event, Rendered):
            assert live.preview.size == (SIZE, SIZE)  # on the worker's own thread
            unobserve()
            live.undo()
            live.next_scene()
            done.set()

    unobserve = live.observe(callback)
    live.add("tree", mask)
    assert done.wait(5)
    assert (live.edits, live.title) == ((), "sample 1")


# --- blending ---


def test_a_blend_tells_its_progress_its_pictures_and_its_end(session: EditingSession, mask: Any):
    session.add("tree", mask)
    events = heard(session)
    result = session.adapt()
    blended = of_kind(events, Blended)
    assert [event.final for event in blended][-2:] == [False, True]
    assert {event.revision for event in blended} == {session.revision}
    assert np.array_equal(blended[-1].array, pixels(result))
    assert np.array_equal(pixels(result), pixels(session.result))
    progress = of_kind(events, Progress)
    assert progress[0] == Progress("blend", 0.0, None, None)
    assert progress[-1].fraction > 0
    assert progress[-1].psnr is not None
    assert isinstance(events[-1], Finished)
    assert session.job is None
    blend = session.metrics["blend"]
    assert blend["after"] > blend["before"] + 3
    assert blend["survival"] > 0.5


def test_painting_goes_on_while_a_blend_runs(live, adaptation, mask, full_mask):
    live.add("tree", mask)
    revision = live.revision
    adaptation.proceed.clear()
    future = live.start_adapt()
    assert adaptation.running.wait(5)
    assert live.job is not None
    before = pixels(live.preview)
    live.add("tree", full_mask, 3)
    assert not np.array_equal(pixels(live.preview), before)
    adaptation.proceed.set()
    blend = future.result(5)
    assert (blend.revision, live.revision) == (revision, revision + 1)
    assert live.blend is blend
    assert [edit.mask.sum() for edit in blend.edits] == [mask.sum()]


def test_cancelling_keeps_the_best_so_far(live: EditingSession, adaptation: Any, mask: np.ndarray):
    live.add("tree", mask)
    adaptation.proceed.clear()
    future = live.start_adapt()
    assert adaptation.running.wait(5)
    live.cancel()
    stopped = future.result(5)
    assert stopped.after > stopped.before
    assert live.result is not None
    live.cancel()  # with nothing running, nothing happens


def test_a_blend_cancelled_before_it_began_leaves_the_result_as_it_was(session, mask):
    session.add("tree", mask)
    events = heard(session)
    future = session.start_adapt()
    session.cancel()
    _ = session.preview
    assert future.exception(0) is not None
    assert (session.result, session.job) == (None, None)
    assert of_kind(events, Finished)
    assert not of_kind(events, Failed)


def test_ctrl_c_ends_a_blend_and_keeps_the_best(live: EditingSession, adaptation: Any, mask: np.ndarray):
    live.add("tree", mask)
    adaptation.proceed.clear()
    pressed = []

    def press(event: Any) -> None:
        if isinstance(event, Blended) and not event.final and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)  # Python handles it on the main thread, which waits

    live.observe(press)
    # Tests in this process that run notebooks leave another handler behind.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert live.adapt() is not None
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed
    assert live.metrics["blend"]["after"] > live.metrics["blend"]["before"]


def test_blending_the_same_edits_twice_is_one_job_and_other_edits_take_over(live, adaptation, mask):
    adaptation.proceed.clear()
    first = live.start_adapt()
    assert live.start_adapt() is first
    live.add("tree", mask)
    second = live.start_adapt()
    assert second is not first
    first.exception(5)
    adaptation.proceed.set()
    assert second.result(5).revision == live.revision
    assert live.blend is second.result()


def test_a_blend_that_fails_is_told_and_raised(session: EditingSession, adaptation: Any, mask: np.ndarray):
    session.add("tree", mask)
    events = heard(session)
    adaptation.error = RuntimeError("no memory")
    with pytest.raises(GANPaintError, match=r"blend failed .*no memory"):
        session.adapt()
    (failed,) = of_kind(events, Failed)
    assert "no memory" in failed.message
    assert isinstance(events[-1], Finished)
    assert (session.result, session.job) == (None, None)
    adaptation.error = None
    assert session.adapt() is not None


def test_opening_ends_a_blend_whose_picture_is_gone(live: EditingSession, adaptation: Any, mask: np.ndarray):
    live.add("tree", mask)
    adaptation.proceed.clear()
    future = live.start_adapt()
    assert adaptation.running.wait(5)
    live.next_scene()
    assert (live.result, live.job, live.title) == (None, None, "sample 1")
    future.result(5)
    assert (live.result, live.job) == (None, None)


def test_a_second_session_is_not_held_up_by_a_blend(model, worker, adaptation, full_mask):
    one = EditingSession(generator=model, worker=worker)
    other = EditingSession(generator=model, worker=worker, scene=1)
    adaptation.proceed.clear()
    future = one.start_adapt()
    assert adaptation.running.wait(5)
    other.add("tree", full_mask)
    assert not np.array_equal(pixels(other.preview), pixels(other.reconstruction))
    assert not future.done()
    adaptation.proceed.set()
    future.result(5)


def test_an_inversion_in_inference_mode_does_not_spoil_the_blend(session: EditingSession):
    with torch.inference_mode():
        session.open(np.zeros((8, 8, 3), np.uint8))
    assert session.adapt() is not None


# --- saving ---


def test_the_png_says_what_it_is(session: EditingSession, mask: np.ndarray, tmp_path: Path):
    plain = Image.open(io.BytesIO(session.png()))
    assert plain.text["ganpaint:edited"] == "false"
    session.add("tree", mask, 1.5)
    session.toggle(session.add("dome", mask).id, False)
    preview = Image.open(io.BytesIO(session.png()))
    assert np.array_equal(pixels(preview), pixels(session.preview))
    assert preview.text["Software"].startswith("ganpaint_widget ")
    assert preview.text["ganpaint:edited"] == "true"
    assert preview.text["ganpaint:picture"] == "preview"
    assert preview.text["ganpaint:generator"] == "tiny"
    assert json.loads(preview.text["ganpaint:concepts"]) == [
        {"verb": "add", "concept": "tree", "strength": 1.5}
    ]
    session.adapt()
    session.save_png(tmp_path / "out.png")
    saved = Image.open(tmp_path / "out.png")
    assert np.array_equal(pixels(saved), pixels(session.result))
    assert saved.text["ganpaint:picture"] == "result"


def test_saving_an_outdated_blend_says_so(session: EditingSession, mask: np.ndarray):
    session.adapt()
    session.add("tree", mask)
    events = heard(session)
    saved = Image.open(io.BytesIO(session.png()))
    assert saved.text["ganpaint:concepts"] == "[]"
    assert "Blend again" in of_kind(events, Noticed)[0].text


# --- many hands ---


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads change places all the time, so that a lock that is missing is missed."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_verb_waits_for_the_one_that_is_at_work(session: EditingSession, monkeypatch):
    entered, release = threading.Event(), threading.Event()
    write = Journal.write

    def slow(journal: Journal, operation: Any) -> None:
        if not entered.is_set():
            entered.set()
            assert release.wait(5)
        write(journal, operation)

    monkeypatch.setattr(Journal, "write", slow)
    first = threading.Thread(target=dab, args=(session, "a"))
    first.start()
    assert entered.wait(5)
    second = threading.Thread(target=dab, args=(session, "b"))
    second.start()
    second.join(0.1)
    release.set()
    first.join(5)
    second.join(5)
    assert [edit.id for edit in session.edits] == ["a", "b"]  # neither overwrote the other
    assert session.revision == 3


def test_many_threads_leave_a_session_in_order(live: EditingSession, eager_threads: None):
    failures: list[BaseException] = []
    revisions: list[int] = []
    live.observe(lambda event: revisions.append(event.revision) if isinstance(event, Changed) else None)
    start = live.revision

    def hammer(number: int) -> None:
        random = np.random.default_rng(number)
        try:
            for step in range(40):
                dab(live, f"edit-{number}", int(random.integers(0, 28)), stroke=(number, step // 4))
                action = random.integers(0, 6)
                if action == 0:
                    live.undo()
                elif action == 1:
                    live.redo()
                elif action == 2:
                    assert live.preview.size == (SIZE, SIZE)
                elif action == 3:
                    assert all(edit.mask.shape == (SIZE, SIZE) for edit in live.edits)
                    assert live.metrics["blend"] is None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    # Every change had a revision of its own, and none was lost.
    assert sorted(revisions) == list(range(start + 1, live.revision + 1))
    assert live.preview.size == (SIZE, SIZE)
    assert live.rendered.revision == live.revision
    assert live._state.rendering.newest.edits is live.edits
    while live.undo():
        pass
    assert len({edit.id for edit in live.edits}) == len(live.edits)
