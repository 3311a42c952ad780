"""The processes of a session, with the real methods: what interrupts, replaces and stops them."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.method import adaptation, inversion
from ganpaint_widget.method.edits import Edit, Reference
from ganpaint_widget.models.initializer import Initializer
from ganpaint_widget.session import (
    Blended,
    Changed,
    EditingSession,
    Finished,
    Noticed,
    Opened,
    Progress,
    Rendered,
)
from ganpaint_widget.session.processes import inverting
from ganpaint_widget.session.processes.fitting import Fitting
from ganpaint_widget.session.processes.inverting import Source, open_picture
from ganpaint_widget.session.processes.references import References
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.tickets import Ticket

SIZE = 32


def pixels(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image)


@pytest.fixture
def photo() -> np.ndarray:
    """Soft blobs, which no sample of the generator looks like."""
    small = np.random.default_rng(5).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture
def model_with_encoder(model_with_segmenter: Any) -> Any:
    """Its encoder says the same latent for all pictures: a guess that is far from what an inversion finds."""
    generator = model_with_segmenter.generator
    z = generator.sample_z(1, 3)

    def encoder(pictures: Any) -> Any:
        state = generator.run(generator.start(z), until=generator.edit_layer)
        return z.expand(len(pictures), -1), state.features.expand(len(pictures), -1, -1, -1)

    return replace(model_with_segmenter, encoder=encoder)


def opened(model: Any, photo: np.ndarray) -> inverting.OpenedPicture:
    return open_picture(model, Source("photo", "photo", 0, photo))


# --- fitting (fault 1) ---


class Interrupting(Ticket):
    """Ends at its n-th checkpoint."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def checkpoint(self, fraction: float, **numbers: float) -> None:
        self.left -= 1
        if self.left <= 0:
            self.cancel()
        super().checkpoint(fraction, **numbers)


def kept_psnr(model: Any, picture: inverting.OpenedPicture, delta: Any) -> float:
    with torch.no_grad():
        drawn = adaptation.render(model.generator, picture.fast.state, delta)
        return adaptation.kept_psnr(drawn, picture.x, torch.ones_like(picture.x[:, :1]))


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_fit_that_is_interrupted_again_and_again_ends_where_it_would_have(model, photo, every):
    picture = opened(model, photo)
    everything = torch.ones_like(picture.x[:, :1])

    def fit() -> adaptation.Fit:
        state = picture.fast.state
        return adaptation.Fit(model.generator, state, picture.x, everything, original=state)

    undisturbed, disturbed = fit(), fit()
    undisturbed.run()
    turns = 0
    while not disturbed.done:
        disturbed.run(ticket=Interrupting(every))
        turns += 1
    assert turns == -(-disturbed.steps // every)
    assert disturbed.steps == undisturbed.steps == adaptation.AdaptationConfig().steps
    assert disturbed.after == undisturbed.after
    assert kept_psnr(model, picture, disturbed.delta) == pytest.approx(undisturbed.after, abs=1e-3)


def test_strokes_in_between_cost_the_faithful_preview_nothing(model, photo, mask, monkeypatch):
    """Whatever is asked for, as strokes are, ends the turn of the fit at its next checkpoint."""
    monkeypatch.setattr("ganpaint_widget.session.worker.QUIET", 0.0)
    ends = {}
    for disturbed in (False, True):
        worker = Worker()
        with EditingSession(photo, model, journal=False, worker=worker) as session:
            step, steps = adaptation.Fit._step, []

            def counted(fit: Any, step=step, steps=steps, session=session, disturbed=disturbed) -> Any:
                found = step(fit)
                steps.append(fit)
                if disturbed and len(steps) % 2 and not session.edits:
                    session._state.rendering.start()
                    session._state.rendering.newest = replace(session._state.rendering.newest, edits=(None,))
                return found

            with monkeypatch.context() as patch:
                patch.setattr(adaptation.Fit, "_step", counted)
                session.start_faithful()
                wait_for(lambda: session._state.fitting.result(session._state.picture) is not None)
            assert len(steps) == adaptation.AdaptationConfig().steps
            fitted = kept_psnr(
                model, session._state.picture, session._state.fitting.result(session._state.picture)
            )
            session.add("tree", mask, 2)
            session.adapt()
            ends[disturbed] = fitted, session.blend.after
        worker.close(timeout=5)
    assert ends[True] == pytest.approx(ends[False], abs=0.01)


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_fit_that_was_switched_off_half_way_goes_on_when_it_is_switched_on(model, photo, worker):
    picture = opened(model, photo)
    changes: list[Any] = []
    fitting = Fitting(
        model, worker, changed=lambda: changes.append(1), failed=lambda *_: None, report=lambda _: None
    )
    fitting.start(picture)
    worker.call(int)
    fitting.stop()
    assert fitting.modify(picture) is None and fitting.result(picture) is None
    fitting.start(picture)
    wait_for(lambda: fitting.result(picture) is not None)
    assert fitting.modify(picture) is not None and changes
    other = replace(picture)
    assert fitting.modify(other) is None, "a G' is of one picture"


def test_a_fit_that_fails_is_told_and_switched_off(model, photo, worker, monkeypatch):
    monkeypatch.setattr(adaptation.Fit, "_step", lambda fit: 1 / 0)
    failed = threading.Event()
    fitting = Fitting(
        model, worker, changed=lambda: None, failed=lambda *_: failed.set(), report=lambda _: None
    )
    fitting.start(opened(model, photo))
    assert failed.wait(20) and not fitting.on


# --- the faithful preview (fault 9) ---


@pytest.mark.parametrize("initialized", [True, False])
def test_the_preview_is_faithful_as_soon_as_that_is_wanted(model, photo, worker, mask, initialized):
    if initialized:
        layers = model.generator.fine_layers
        initializer = Initializer({name: model.generator.shape(name) for name in layers})
        model = replace(model, initializer=initializer)
    with EditingSession(photo, model, worker=worker) as session:
        plain = pixels(session.preview)
        session.start_faithful()
        assert session.faithful
        faithful = pixels(session.preview)
        assert session.is_faithful
        if not initialized:  # a new initializer says that nothing is to be changed
            far, near = (np.abs(one.astype(int) - photo).mean() for one in (plain, faithful))
            assert near < 0.7 * far
        wait_for(lambda: session._state.fitting.result(session._state.picture) is not None)
        assert not np.array_equal(pixels(session.preview), plain)
        revision, edit = session.revision, session.add("tree", mask, 4)
        assert session.revision == revision + 1
        session.stop_faithful()
        session.delete(edit.id)
        assert np.array_equal(pixels(session.preview), plain)


def test_a_setter_that_starts_work_warns_and_works_for_one_release(session):
    with pytest.warns(DeprecationWarning, match="start_faithful"):
        session.faithful = True
    assert session.faithful
    with pytest.warns(DeprecationWarning, match="stop_faithful"):
        session.faithful = False
    assert not session.faithful


# --- inverting (fault 6) ---


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The real inversion, held up in its first checkpoint beyond the guess while ``going`` is not set."""
    invert = inversion.invert

    class Held:
        going = threading.Event()
        begun = threading.Event()

    def slow(model: Any, x: Any, *, steps: int = 60, ticket: Any = None) -> Any:
        if steps > inverting.GLANCE and not Held.going.is_set():
            Held.begun.set()
            while not Held.going.wait(0.002) and not ticket.cancelled:
                try:
                    ticket.checkpoint(0.0)
                except Exception:
                    break
        return invert(model, x, steps=steps, ticket=ticket)

    monkeypatch.setattr("ganpaint_widget.method.inversion.invert", slow)
    yield Held
    Held.going.set()


@pytest.mark.parametrize("end", ["fails", "is cancelled", "cannot be read"])
def test_an_open_that_comes_to_nothing_leaves_the_inversion_of_the_last_picture_alone(
    model_with_encoder, photo, worker, held, monkeypatch, end
):
    held.going.set()
    patient = EditingSession(photo, model_with_encoder, worker=Worker(start=False))
    expected = patient.metrics["reconstruction_psnr"]
    held.going.clear()
    session = EditingSession(photo, model_with_encoder, progressive=True, worker=worker)
    assert held.begun.wait(5)
    guess = session.metrics["reconstruction_psnr"]
    assert guess < expected - 0.5
    revision = session.revision
    with monkeypatch.context() as patch:
        if end == "fails":
            patch.setattr(inverting, "opened_at", lambda *_: 1 / 0)
        elif end == "is cancelled":
            session.observe(lambda event: session.cancel() if isinstance(event, Progress) else None)
        with pytest.raises(GANPaintError):
            session.open(b"no picture" if end == "cannot be read" else photo[::-1])
    assert session.revision == revision
    held.going.set()
    assert pixels(session.preview).shape == photo.shape
    assert session.metrics["reconstruction_psnr"] == pytest.approx(expected, abs=1e-6)


def test_the_newest_picture_that_is_there_ends_those_that_were_asked_for_before(
    model_with_encoder, photo, worker, held
):
    held.going.set()
    session = EditingSession(photo, model_with_encoder, worker=worker)
    held.going.clear()
    held.begun.clear()
    errors: list[Any] = []

    def slowly() -> None:
        try:
            session.open(photo[::-1], title="slow")
        except GANPaintError as error:
            errors.append(error)

    thread = threading.Thread(target=slowly)
    thread.start()
    assert held.begun.wait(5)
    session.next_scene()  # a sample: nothing is inverted for it
    thread.join(20)
    assert session.title == "sample 1"
    assert "canceled" in str(errors[0])


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_at_the_end_of_an_opening_leaves_the_old_picture_or_tells_of_the_new_one(
    live, worker, mask, monkeypatch, late
):
    live.add("tree", mask)
    state, title = live._state, live.title
    place, name = (state.blending, "begin") if late else (state, "_in_concepts")
    original = getattr(place, name)

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)  # Python handles it on the main thread, which waits
        while state.inverting._waiting._tickets:
            time.sleep(0.002)
        return original(*arguments)

    _ = live.preview
    events: list[Any] = []
    live.observe(events.append)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                live.next_scene()
            worker.call(lambda: None)
    finally:
        signal.signal(signal.SIGINT, before)
    told = [type(event) for event in events if not isinstance(event, Progress)]
    if late:
        assert (live.title, live.edits) == ("sample 1", ())
        assert told[:3] == [Opened, Changed, Rendered]
    else:
        assert (live.title, len(live.edits), told) == (title, 1, [])
    live.next_scene()
    assert live.title == ("sample 2" if late else "sample 1")


def test_what_a_failed_opening_has_replaced_is_told(live, mask, monkeypatch):
    live.add("tree", mask)
    _ = live.preview
    events: list[Any] = []
    live.observe(events.append)
    monkeypatch.setattr(live._state.rendering, "begin", lambda *_: 1 / 0)
    with pytest.raises(GANPaintError):
        live.next_scene()
    assert live.title == "sample 1"
    assert [type(event) for event in events if not isinstance(event, Progress)][:2] == [Opened, Changed]


def test_opening_ends_the_blend_of_the_last_picture_only_once_there_is_another(
    model_with_encoder, photo, worker, mask, adaptation
):
    session = EditingSession(photo, model_with_encoder, worker=worker)
    session.add("tree", mask)
    adaptation.proceed.clear()
    future = session.start_adapt()
    assert adaptation.running.wait(20)
    with pytest.raises(GANPaintError):
        session.open(b"no picture")
    assert session.job is not None and not future.done()
    events: list[Any] = []
    session.observe(events.append)
    session.next_scene()
    assert (session.job, session.blend) == (None, None)
    future.result(20)
    assert not [event for event in events if isinstance(event, Blended)]
    assert session.blend is None


# --- what takes long can be stopped, and previews come meanwhile (fault 4) ---


def test_a_restyle_that_searches_shows_how_far_it_is_serves_previews_and_can_be_stopped(
    model_with_segmenter, photo, worker, full_mask, monkeypatch
):
    session = EditingSession(generator=model_with_segmenter, worker=worker)
    monkeypatch.setattr("ganpaint_widget.method.inversion.SEARCH_STEPS", 10**6)  # for ever, if need be
    said: list[Progress] = []
    searching = threading.Event()

    def hear(event: Any) -> None:
        if isinstance(event, Progress):
            said.append(event)
            searching.set()

    session.observe(hear)
    errors: list[GANPaintError] = []

    def restyle() -> None:
        try:
            session.restyle("dome", full_mask, photo, region=np.full((SIZE, SIZE), 255, np.uint8))
        except GANPaintError as error:
            errors.append(error)

    thread = threading.Thread(target=restyle)
    thread.start()
    assert searching.wait(20)
    plain = pixels(session.preview)
    session.add("tree", full_mask, 2)
    assert not np.array_equal(pixels(session.preview), plain)
    assert thread.is_alive()
    session.cancel()
    thread.join(20)
    assert "canceled" in str(errors[0])
    assert {event.job for event in said} == {"open"}
    assert len(session.edits) == 1
    assert session.refer(3).psnr > 50, "other references are opened as ever"


def test_an_opening_can_be_stopped_and_previews_come_meanwhile(
    model_with_segmenter, photo, worker, full_mask, monkeypatch
):
    session = EditingSession(generator=model_with_segmenter, worker=worker)
    monkeypatch.setattr("ganpaint_widget.method.inversion.SEARCH_STEPS", 10**6)
    searching = threading.Event()
    session.observe(lambda event: searching.set() if isinstance(event, Progress) else None)
    errors: list[GANPaintError] = []

    def open_() -> None:
        try:
            session.open(photo)
        except GANPaintError as error:
            errors.append(error)

    thread = threading.Thread(target=open_)
    thread.start()
    assert searching.wait(20)
    plain = pixels(session.preview)
    session.add("tree", full_mask, 2)
    assert not np.array_equal(pixels(session.preview), plain)
    session.cancel()
    thread.join(20)
    assert "canceled" in str(errors[0])
    assert (session.title, len(session.edits)) == ("sample 0", 1)


def test_a_blend_that_was_stopped_goes_on_where_it_was(model_with_segmenter, photo, mask, worker):
    with EditingSession(photo, model_with_segmenter, worker=worker) as session:
        session.add("tree", mask, 2)
        session.adapt()
        whole, budget = session.blend, adaptation.AdaptationConfig().steps
        reports: list[Progress] = []

        def stop(event: Any) -> None:
            if isinstance(event, Progress) and event.job == "blend":
                reports.append(event)
                if len(reports) == 6:
                    session.cancel()

        leave = session.observe(stop)
        session.adapt()
        leave()
        assert session.blend.after < whole.after
        fractions = [report.fraction for report in reports if report.fraction]
        reports.clear()
        session.observe(lambda event: reports.append(event) if isinstance(event, Progress) else None)
        session.adapt()
        assert session.blend.after == pytest.approx(whole.after, abs=1e-6)
        assert np.array_equal(session.blend.array, whole.array)
        again = [report.fraction for report in reports if report.fraction]
        assert min(again) > max(fractions)
        assert len(fractions) + len(again) == budget


# --- references (fault 11) ---


def test_references_keep_no_more_than_restyles_take_from_them(model_with_segmenter):
    references = References(model_with_segmenter, Worker(start=False), lambda _: None)
    for seed in range(20):
        references.open(Reference(seed=seed))
    tensors = {id(one): one for one in reachable(references._opened)}
    generator = model_with_segmenter.generator
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    held = sum(one.numel() * one.element_size() for one in tensors.values())
    assert 0 < held <= 16 * state.features.numel() * 4


def reachable(root: Any) -> Iterator[torch.Tensor]:
    """All tensors that are kept alive by an object, but for networks."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, (torch.nn.Module, type)):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, dict):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple)):
            todo += one
        elif hasattr(one, "__dict__"):
            todo += vars(one).values()


# --- what is saved (faults 7 and 14) ---


def test_suppressed_units_reach_what_is_saved(model_with_segmenter, photo, worker):
    large = np.asarray(Image.fromarray(photo).resize((4 * SIZE, 4 * SIZE)))
    with EditingSession(large, model_with_segmenter, worker=worker) as session:
        before = pixels(session.full)
        assert np.array_equal(before, large)
        session.suppress([2, 5])
        changed = session.footprint()
        assert changed.max() > 8
        strongest = np.unravel_index(changed.argmax(), changed.shape)
        y, x = (4 * place for place in strongest)
        shown = [pixels(session.full)]
        session.adapt()
        shown.append(pixels(session.full))
        saved = Image.open(io.BytesIO(session.png()))
        assert saved.text["ganpaint:edited"] == "true"
        assert np.array_equal(pixels(saved), shown[-1])
        for picture in shown:
            assert np.abs(picture[y : y + 4, x : x + 4].astype(int) - large[y : y + 4, x : x + 4]).max() > 4
        session.toggle(session.edits[0].id, False)
        session.adapt()
        assert np.array_equal(pixels(session.full), large)


def test_suppressed_units_that_nobody_sees_change_nothing(model_with_segmenter, photo, worker):
    large = np.asarray(Image.fromarray(photo).resize((4 * SIZE, 4 * SIZE)))
    with EditingSession(large, model_with_segmenter, worker=worker) as session:
        edit = session.suppress([2], np.zeros((SIZE, SIZE), np.uint8))
        assert not session.footprint(edit.id).any()
        assert np.array_equal(pixels(session.full), large)


@pytest.mark.parametrize("blended", [False, True])
def test_a_picture_is_never_pasted_into_another_photo(model_with_segmenter, photo, worker, mask, blended):
    """Another picture is opened at the worst moment: once it is known what is to be saved."""
    black, white = (np.full((2 * SIZE, 2 * SIZE, 3), shade, np.uint8) for shade in (0, 255))
    session = EditingSession(black, model_with_segmenter, worker=worker)
    session.add("tree", mask)
    if blended:
        session.adapt()
        session.add("dome", mask)  # the blend is older than the edits, of which saving tells

        def reopen(event: Any) -> None:
            if isinstance(event, Noticed) and "last blend" in event.text:
                session.open(white)

        session.observe(reopen)
        saved = pixels(Image.open(io.BytesIO(session.png())))
    else:
        current = session._current

        def reopened() -> Any:
            shown = current()
            session.open(white)
            return shown

        session._current = reopened  # type: ignore[method-assign]
        saved = pixels(session.full)
    assert np.array_equal(pixels(session.photo), white[:SIZE, :SIZE])
    assert (saved[-1, -1] == 0).all(), "far from the edit its own photo stays"


def test_a_view_is_of_one_picture(model_with_segmenter, photo, worker):
    session = EditingSession(photo, model_with_segmenter, worker=worker)
    stop = threading.Event()

    def reopen() -> None:
        while not stop.is_set():
            session.next_scene()

    thread = threading.Thread(target=reopen)
    thread.start()
    try:
        for _ in range(300):
            view = session.view
            if view.title != "photo":
                assert np.array_equal(view.photo, view.reconstruction)
                assert np.array_equal(view.preview, view.photo)
                assert view.scene is None and view.edits == ()
    finally:
        stop.set()
        thread.join(10)


# --- a removal's strength (fault 10) ---


@pytest.mark.parametrize("units", [None, "low", (1, 3)])
def test_the_strength_of_a_removal_fades_it(model_with_segmenter, worker, full_mask, units):
    session = EditingSession(generator=model_with_segmenter, worker=worker)
    plain = session.features()
    edit = session.remove("tree", full_mask, units=units)
    whole = session.features() - plain
    assert np.abs(whole).max() > 0.1
    for strength in (0.0, 0.25, 0.5):
        session.update(edit.id, strength=strength)
        np.testing.assert_allclose(session.features() - plain, strength * whole, atol=1e-4)
    session.update(edit.id, strength=3)
    np.testing.assert_allclose(session.features() - plain, whole, atol=1e-5)


def test_events_of_a_blend_end_with_its_end(model_with_segmenter, photo, worker, mask):
    session = EditingSession(photo, model_with_segmenter, worker=worker)
    session.add("tree", mask)
    _ = session.preview
    events: list[Any] = []
    session.observe(events.append)
    session.adapt()
    wait_for(lambda: events and isinstance(events[-1], Finished))
    assert not [event for event in events if isinstance(event, Rendered)]
    assert isinstance(session.edits[0], Edit)
