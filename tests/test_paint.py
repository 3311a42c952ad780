"""The widget with a fake page: messages in through the comm's own entrance, what it sends caught."""

from __future__ import annotations

import base64
import contextvars
import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files
from ganpaint_widget.session import Changed, EditingSession
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.widget import paint as paint_module
from ganpaint_widget.widget import protocol
from ganpaint_widget.widget.paint import GANPaint

A, B = "page-aaaa", "page-bbbb"
SIZE = 32


class Line:
    """Stands where the kernel's comm would be: remembers all that the widget sends, and can be cut."""

    kernel = "a kernel"

    def __init__(self, **opened: Any) -> None:
        self.comm_id = "comm"
        self.opened = opened["data"]["state"]
        self.messages: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.cut = False
        self._something = threading.Condition()

    def on_msg(self, callback: Callable[..., None]) -> None:
        pass

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        if self.cut:
            raise ConnectionError("the line is cut")
        json.dumps(data, allow_nan=False)  # as strict as a page
        with self._something:
            if data["method"] == "custom":
                self.messages.append(data["content"] | ({"buffer": bytes(buffers[0])} if buffers else {}))
            else:
                paths = [path[0] for path in data["buffer_paths"]]
                self.states.append(data["state"] | dict.fromkeys(paths))
            self._something.notify_all()

    def close(self, *args: Any, **kwargs: Any) -> None:
        pass

    def of(self, kind: str) -> list[dict[str, Any]]:
        with self._something:
            return [message for message in self.messages if message["type"] == kind]

    def wait(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Look again whenever something was sent, and now and then: not all conditions are about messages."""
        end = time.monotonic() + seconds
        while not condition():  # not under our lock: what is looked at may wait for a sender
            assert time.monotonic() < end, (self.messages, self.states)
            with self._something:
                self._something.wait(0.02)


class Page:
    """A fake page: counts its messages as the real one does."""

    def __init__(self, widget: GANPaint, name: str = A) -> None:
        self.widget, self.name, self.sequence, self.strokes = widget, name, 0, 0

    def say(self, content: Any, *buffers: Any) -> None:
        data = {"method": "custom", "content": content}
        views = [memoryview(buffer) for buffer in buffers]
        self.widget._handle_msg({"content": {"data": data}, "buffers": views})

    def write(self, **state: Any) -> None:
        data = {"method": "update", "state": state, "buffer_paths": []}
        self.widget._handle_msg({"content": {"data": data}, "buffers": []})

    def hello(self) -> None:
        self.say({"type": "hello", "version": 1, "page": self.name})

    def ack(self, frame: int) -> None:
        self.say({"type": "ack", "page": self.name, "frame": frame})

    def numbered(self, content: dict[str, Any], *buffers: Any) -> int:
        self.sequence += 1
        self.say({"page": self.name, "sequence": self.sequence} | content, *buffers)
        return self.sequence

    def stroke(self, *, last: bool = True, new: bool = True, value: int = 255, **changes: Any) -> int:
        self.strokes += new
        rect = changes.get("rect", [4, 4, 8, 8])
        content = {
            "type": "stroke",
            "stroke": self.strokes,
            "last": last,
            "edit": "e1",
            "verb": "add",
            "concept": "tree",
            "strength": 1,
            "rect": rect,
        }
        return self.numbered(content | changes, bytes([value]) * (rect[2] * rect[3]))

    def command(self, name: str, /, *buffers: Any, **arguments: Any) -> int:
        return self.numbered({"type": "command", "name": name, "arguments": arguments}, *buffers)


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comm.create_comm", Line)
    monkeypatch.setattr("ganpaint_widget.widget.paint.REST_PAUSE", 0.0)


@pytest.fixture
def worker_by_hand() -> Worker:
    return Worker(start=False)


@pytest.fixture
def widget(model: Any, worker_by_hand: Worker) -> Iterator[GANPaint]:
    """A widget whose worker works only when a test says so."""
    widget = GANPaint(session=EditingSession(generator=model, worker=worker_by_hand))
    yield widget
    widget.close()


@pytest.fixture
def alive(model_with_gallery: Any, worker: Worker) -> Iterator[GANPaint]:
    """A widget whose worker has a thread of its own."""
    widget = GANPaint(session=EditingSession(generator=model_with_gallery, worker=worker))
    yield widget
    widget.close()


@pytest.fixture
def page(widget: GANPaint) -> Page:
    page = Page(widget)
    page.hello()
    return page


def image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def state_of(widget: GANPaint) -> Any:
    """All that a reload would show."""
    return {name: getattr(widget, name) for name in widget.keys if name.startswith("_")} | {
        "_state": {key: value for key, value in widget._state.items() if key != "covers"}
    }


# --- making one -----------------------------------------------------------------------------------


def test_the_first_state_has_everything(widget: GANPaint) -> None:
    state = widget.comm.opened["_state"]
    assert state["revision"] == widget.session.revision and state["covers"] == {}
    assert [concept["name"] for concept in state["concepts"]] == ["tree", "dome", "window"]
    assert (state["width"], state["height"], state["verbs"]) == (SIZE, SIZE, ["add", "remove", "restyle"])
    assert state["edits"] == [] and state["job"] is None and state["measures"]["blend"] is None
    assert np.array_equal(image(widget._photo), np.asarray(widget.session.photo))
    assert np.array_equal(image(widget._preview), np.asarray(widget.session.preview))
    assert image(widget._reconstruction).shape == (SIZE, SIZE, 3)
    assert widget._result == b"" and widget._masks == {}
    assert "esm" in str(sorted(widget.keys)) and len(widget._esm) > 100


def test_every_documented_field_of_the_state_is_there(widget: GANPaint) -> None:
    protocol = Path(__file__).parent.parent / "docs" / "protocol.md"
    (row,) = [line for line in protocol.read_text().splitlines() if line.startswith("| `_state`")]
    assert set(widget._state) <= set(re.findall(r"`(\w+)`", row))
    assert {"revision", "covers", "edits", "has_gallery", "job", "measures", "notice"} <= set(widget._state)


@pytest.mark.parametrize("arguments", [{"foto": 1}, {"layout": None, "value": 2}])
def test_an_unknown_argument_is_an_error(arguments: Any, model: Any) -> None:
    with pytest.raises(GANPaintError, match="photo, generator, session and device"):
        GANPaint(generator=model, **arguments)


def test_a_session_and_a_photo_are_one_too_many(session: EditingSession) -> None:
    with pytest.raises(GANPaintError, match="already has"):
        GANPaint("church.jpg", session=session)


def test_a_missing_build_says_what_to_do(
    session: EditingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paint_module, "STATIC", tmp_path)
    with pytest.raises(GANPaintError, match="make setup"):
        GANPaint(session=session)


def test_public_names_shadow_nothing() -> None:
    taken = {name for base in (anywidget.AnyWidget, ipywidgets.DOMWidget) for name in dir(base)}
    # What is meant to replace the base's own: they are called by ipywidgets and IPython.
    meant = {"set_state", "close"}
    public = {name for name in vars(GANPaint) if not name.startswith("_")}
    assert {"session", "mask", "snapshot", "stats", "recover"} <= public
    assert not (public - meant) & taken


def test_closing_ends_the_calls_but_not_the_session(alive: GANPaint) -> None:
    session = alive.session
    alive.close()
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    session.add("tree", mask)
    assert session.preview.size == (SIZE, SIZE) and not session._state.observers


# --- a stroke, end to end -------------------------------------------------------------------------


def test_the_session_hears_where_a_stroke_ends(
    widget: GANPaint, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, paint = [], widget.session.paint
    monkeypatch.setattr(
        widget.session, "paint", lambda *args, **how: (heard.append(how["last"]), paint(*args, **how))
    )
    page.stroke(last=False)
    page.stroke(last=True, new=False)
    assert heard == [False, True]


def test_a_stroke_is_accepted_shown_and_at_rest(
    widget: GANPaint, page: Page, worker_by_hand: Worker, journals: Path
) -> None:
    line: Line = widget.comm
    before = widget._preview
    page.ack(line.of("frame")[-1]["frame"])
    page.stroke(last=False, rect=[4, 4, 8, 8])
    page.stroke(last=True, new=False, rect=[8, 4, 8, 8], value=128)

    accepted = line.of("accepted")
    assert [(m["page"], m["sequence"]) for m in accepted] == [(A, 2)]
    assert accepted[-1]["revision"] == widget.session.revision
    assert list(journals.glob("*/ops.jsonl")), "accepted means written"
    assert widget._preview == before, "nothing is at rest before it is rendered"

    worker_by_hand.run_pending()
    frame = line.of("frame")[-1]
    assert frame["covers"] == {A: 2} and frame["revision"] == widget.session.revision
    assert frame["format"] == "image/jpeg" and image(frame["buffer"]).shape == (SIZE, SIZE, 3)

    assert widget._preview != before
    assert np.array_equal(image(widget._preview), np.asarray(widget.session.preview))
    mask = image(widget._masks["e1"])
    assert mask.shape == (SIZE, SIZE) and mask[5, 5] == 255 and mask[5, 10] == 128 and mask[20, 20] == 0
    assert np.array_equal(widget.mask, mask)
    state = widget._state
    assert state["covers"] == {A: 2} and state["can_undo"] and not state["can_redo"]
    (edit,) = state["edits"]
    assert edit == {
        "id": "e1",
        "verb": "add",
        "concept": "tree",
        "strength": 1.0,
        "enabled": True,
        "units": None,
        "target": "tuned",
        "variant": 0,
        "reference": None,
    }


def test_within_a_stroke_frames_say_what_is_accepted(
    widget: GANPaint, page: Page, worker_by_hand: Worker
) -> None:
    line: Line = widget.comm
    page.ack(line.of("frame")[-1]["frame"])
    sent = len(line.of("frame"))
    for count in (1, 2, 3):
        page.stroke(
            last=False, new=count == 1, rect=[2 * count, 4, 8, 8], drawn=line.of("frame")[-1]["frame"]
        )
        worker_by_hand.run_pending()
        assert line.of("frame")[-1]["covers"] == {A: count}
    # One for each: what a stroke says it has drawn is acknowledged, or only two would have been sent.
    assert len(line.of("frame")) == sent + 3
    assert not line.of("accepted")
    # Missing frames must not leave a page in the dark.
    page.stroke(last=False, new=False)
    assert not line.of("accepted")
    page.stroke(last=False, new=False)
    assert [m["sequence"] for m in line.of("accepted")] == [5]
    page.stroke(last=True, new=False, rect=[0, 0, 0, 0])
    assert [m["sequence"] for m in line.of("accepted")] == [5, 6]


def test_a_picture_covers_its_message_however_soon_it_is_rendered(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(key: Any, work: Callable[[], object], on_error: Any = None) -> None:
        work()

    monkeypatch.setattr(worker_by_hand, "request", at_once)
    page.ack(widget.comm.of("frame")[-1]["frame"])
    before = len(widget.comm.of("frame"))
    page.stroke(last=False)
    (frame,) = widget.comm.of("frame")[before:]
    assert frame["covers"] == {A: 1}


def test_one_stroke_is_one_step_of_undo(widget: GANPaint, page: Page, worker_by_hand: Worker) -> None:
    page.stroke(last=False)
    page.stroke(last=False, new=False, rect=[12, 4, 2, 2])
    page.stroke(last=True, new=False, rect=[0, 0, 0, 0])
    page.stroke(rect=[20, 20, 2, 2])
    worker_by_hand.run_pending()
    for expected in (64 + 4, 0):
        page.command("undo")
        worker_by_hand.run_pending()
        assert np.count_nonzero(widget.mask) == expected
    assert widget._state["edits"] == [] and widget._masks == {} and widget._state["can_redo"]
    page.command("redo")
    page.command("redo")
    worker_by_hand.run_pending()
    assert np.count_nonzero(widget.mask) == 64 + 4 + 4
    assert widget._state["covers"] == {A: page.sequence}


def test_nothing_is_written_at_rest_while_a_stroke_is_open(
    widget: GANPaint, page: Page, worker_by_hand: Worker
) -> None:
    line: Line = widget.comm
    states = len(line.states)
    for piece in range(10):
        page.stroke(last=False, new=piece == 0, rect=[piece, 0, 1, 1])
        worker_by_hand.run_pending()
    assert len(line.states) == states
    # The last message may carry nothing, so that no new picture follows: the state has to come by itself.
    page.stroke(last=True, new=False, rect=[0, 0, 0, 0])
    assert len(line.states) == states + 1 and widget._state["covers"] == {A: 11}
    page.ack(line.of("frame")[-1]["frame"])
    assert line.of("frame")[-1]["covers"] == {A: 11}


def test_the_state_at_rest_waits_for_a_hand_that_paints_on(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganpaint_widget.widget.paint.REST_PAUSE", 1.0)
    line: Line = widget.comm
    states = len(line.states)
    for _ in range(3):
        page.stroke()
        worker_by_hand.run_pending()
    page.stroke(last=False)
    widget._rest_later()  # whenever its time comes: a page is painting
    assert len(line.states) == states
    page.stroke(new=False, rect=[0, 0, 0, 0])
    worker_by_hand.run_pending()
    line.wait(lambda: widget._state["covers"] == {A: page.sequence})
    assert [edit["id"] for edit in widget._state["edits"]] == ["e1"] and "e1" in widget._masks


def test_what_is_printed_of_it_is_not_older_than_the_stroke(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganpaint_widget.widget.paint.REST_PAUSE", 60.0)
    page.stroke()
    worker_by_hand.run_pending()
    assert not widget._masks
    widget._repr_mimebundle_()
    assert "e1" in widget._masks


def test_every_message_is_covered_by_some_frame(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    line: Line = widget.comm
    paint = widget.session.paint

    def covered() -> Any:
        page.ack(line.of("frame")[-1]["frame"])
        return line.of("frame")[-1]["covers"].get(A)

    def rendered_before_it_is_booked(*args: Any, **kwargs: Any) -> int:
        revision = paint(*args, **kwargs)
        worker_by_hand.run_pending()
        return revision

    covered()
    with monkeypatch.context() as patch:
        patch.setattr(widget.session, "paint", rendered_before_it_is_booked)
        page.stroke(last=False)
        covered()
    assert covered() == 1
    page.stroke(last=True, new=False, rect=[0, 0, 0, 0])  # nothing to render
    assert covered() == 2
    page.stroke(concept="dragon", edit="e2")  # refused
    assert covered() == 3


def test_a_page_that_vanishes_in_a_stroke_does_not_keep_the_state_back(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.stroke(last=False)
    worker_by_hand.run_pending()
    assert widget._masks == {}
    Page(widget, B).hello()  # the reload
    assert np.count_nonzero(image(widget._masks["e1"])) == 64


def test_frames_cover_only_what_they_show(widget: GANPaint, page: Page, worker_by_hand: Worker) -> None:
    line: Line = widget.comm
    other = Page(widget, B)
    other.hello()
    for frame in line.of("frame"):
        page.ack(frame["frame"])
        other.ack(frame["frame"])
    page.stroke()
    other.stroke(edit="e2")
    worker_by_hand.run_pending()
    page.stroke()  # applied, not rendered
    page.ack(line.of("frame")[-1]["frame"])
    other.ack(line.of("frame")[-1]["frame"])
    assert line.of("frame")[-1]["covers"] == {A: 1, B: 1}


# --- the count ------------------------------------------------------------------------------------


def test_a_message_that_comes_again_is_only_accepted_again(widget: GANPaint, page: Page) -> None:
    page.stroke()
    revision = widget.session.revision
    page.sequence = 0
    page.stroke(new=False)
    assert widget.session.revision == revision
    assert [m["sequence"] for m in widget.comm.of("accepted")] == [1, 1]


def test_a_gap_is_answered_with_where_the_kernel_is(widget: GANPaint, page: Page) -> None:
    page.stroke()
    page.sequence = 4
    page.stroke()
    assert widget.comm.messages[-1] == {
        "type": "welcome",
        "version": 1,
        "page": A,
        "sequence": 1,
        "revision": widget.session.revision,
    }
    page.sequence = 1
    page.stroke()
    assert widget.comm.of("accepted")[-1]["sequence"] == 2


def test_a_reload_and_a_second_page_have_counts_of_their_own(widget: GANPaint, page: Page) -> None:
    page.stroke()
    other = Page(widget, B)
    other.hello()
    assert widget.comm.of("welcome")[-1]["sequence"] == 0
    other.stroke()
    page.hello()
    assert widget.comm.of("welcome")[-1]["sequence"] == 1
    assert widget.stats()["accepted"] == {A: 1, B: 1}


def test_a_refused_message_counts_as_accepted_and_changes_nothing(
    widget: GANPaint, page: Page, worker_by_hand: Worker
) -> None:
    page.stroke()
    worker_by_hand.run_pending()
    before = state_of(widget)
    bad: list[dict[str, Any]] = [
        {"concept": "dragon"},
        {"strength": float("nan")},
        {"rect": [30, 30, 8, 8]},
        {"verb": "restyle"},
        {"extra": 1},
    ]
    for changes in bad:
        page.stroke(edit="e9", **changes)
        error = widget.comm.of("error")[-1]
        assert (error["page"], error["sequence"]) == (A, page.sequence)
        assert error["what"].endswith(".") and error["mend"]
        assert widget._state["covers"] == {A: page.sequence}, "the page must not wait for a refused message"
    assert "tree" in str(widget.comm.of("error")[0]), "it lists the known ones"
    for name, arguments in [("retune", {"edit": "no", "strength": 1}), ("delete", {"edit": "no"})]:
        page.command(name, **arguments)
        assert widget.comm.of("error")[-1]["sequence"] == page.sequence
    assert state_of(widget) == before
    page.stroke()
    assert widget.comm.of("accepted")[-1]["sequence"] == page.sequence


def test_an_unexpected_failure_is_an_error_message_and_no_end(
    widget: GANPaint, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> int:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(widget.session, "paint", broken)
        page.stroke()
    error = widget.comm.of("error")[-1]
    assert error["sequence"] == 1 and "out of memory" in error["what"] and "Undo" in error["mend"]
    page.stroke()
    assert widget.comm.of("accepted")[-1]["sequence"] == 2


def test_an_interrupted_message_is_asked_for_again(
    widget: GANPaint, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(widget.session, "paint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            page.stroke()
    page.stroke()
    assert widget.comm.of("welcome")[-1]["sequence"] == 0
    page.sequence = 0
    page.stroke()
    assert widget.comm.of("accepted")[-1]["sequence"] == 1


@pytest.mark.parametrize("observed", ["before the widget", "behind the widget"])
def test_an_undo_that_ctrl_c_interrupts_too_late_is_not_done_twice(
    model: Any, worker_by_hand: Worker, observed: str
) -> None:
    session = EditingSession(generator=model, worker=worker_by_hand)

    def interrupt(event: Any) -> None:
        if isinstance(event, Changed) and session.can_redo:
            raise KeyboardInterrupt

    if observed == "before the widget":
        session.observe(interrupt)
    widget = GANPaint(session=session)
    session.observe(interrupt)
    page = Page(widget)
    page.hello()
    for place in range(3):
        page.stroke(rect=[4 * place, 0, 4, 4])
    with pytest.raises(KeyboardInterrupt):
        page.command("undo")
    page.say({"type": "beat", "page": A})
    assert widget.comm.of("alive")[-1]["sequence"] == page.sequence
    assert list(session.edits[0].mask[0, [0, 4, 8]]) == [255, 255, 0]
    page.stroke(rect=[0, 20, 4, 4])
    assert widget.comm.of("accepted")[-1]["sequence"] == page.sequence
    worker_by_hand.run_pending()
    assert widget.comm.of("frame")[-1]["covers"] == {A: page.sequence}
    widget.close()


def test_ctrl_c_after_a_message_does_not_silence_its_page(
    widget: GANPaint, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(widget._at_rest, "traits", interrupted)
        with pytest.raises(KeyboardInterrupt):
            page.command("redo")  # changes nothing, so that the state at rest follows at once
    page.stroke()
    assert widget.comm.of("accepted")[-1]["sequence"] == 2 and len(widget.session.edits) == 1


def test_no_count_is_lower_than_what_a_frame_has_covered(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker may be quick: the picture is on the page before the message counts as accepted."""
    line: Line = widget.comm
    page.stroke()
    worker_by_hand.run_pending()
    undo = widget.session.undo
    counts = []

    def quickly_shown() -> bool:
        done = undo()
        page.hello()
        worker_by_hand.run_pending()
        assert line.of("frame")[-1]["covers"] == {A: 2}
        page.hello()
        page.say({"type": "beat", "page": A})
        page.sequence -= 1
        page.command("undo")  # again
        assert line.of("accepted")[-1]["sequence"] == 2
        counts.append(widget.stats()["accepted"][A])
        return done

    monkeypatch.setattr(widget.session, "undo", quickly_shown)
    page.command("undo")
    assert line.of("welcome")[-1]["sequence"] == line.of("alive")[-1]["sequence"] == 2
    assert counts == [1], "the state at rest says what it contains"


# --- other than messages of the protocol ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [None, 7, "hello", [], {}, {"type": "hello"}, {"type": "close"}, {"type": ["hello"]}]
)
def test_what_is_no_message_is_one_clear_error(widget: GANPaint, page: Page, content: Any) -> None:
    before = state_of(widget)
    page.say(content)
    error = widget.comm.messages[-1]
    assert error["type"] == "error" and error["sequence"] is None and "Reload" in error["mend"]
    assert state_of(widget) == before


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"content": {}},
        {"content": {"data": None}},
        {"content": {"data": {"method": "custom"}}, "buffers": []},
        {"content": {"data": {"method": "update"}}, "buffers": []},
        {"content": {"data": {"method": "update", "state": 7}}, "buffers": []},
        {"content": {"data": {"method": "close"}}, "buffers": []},
        {"content": {"data": {"method": ["update"]}}, "buffers": []},
    ],
)
def test_what_is_not_even_a_widget_message_is_an_error_too(widget: GANPaint, raw: Any) -> None:
    before = state_of(widget)
    widget._handle_msg(raw)
    assert widget.comm.messages[-1]["type"] == "error"
    assert state_of(widget) == before


@pytest.mark.parametrize(
    "name", ["_esm", "_css", "_photo", "_state", "_masks", "_model_module", "layout", "_view_name", "nothing"]
)
def test_a_page_cannot_write_state(widget: GANPaint, page: Page, name: str) -> None:
    before = state_of(widget)
    page.write(**{name: "evil()"})
    assert state_of(widget) == before
    error = widget.comm.of("error")[-1]
    assert "only the kernel writes" in error["what"]
    if name != "nothing":
        assert name in error["what"] and set(widget.comm.states[-1]) == {name}, (
            "what it should be is sent again"
        )


def test_a_page_may_ask_for_the_state(widget: GANPaint) -> None:
    widget._handle_msg({"content": {"data": {"method": "request_state"}}, "buffers": []})
    assert {"_state", "_preview", "_esm"} <= set(widget.comm.states[-1])


messages = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*protocol.FIELDS, "x"]),
        "version": st.integers(0, 2),
        "page": st.sampled_from([A, B, "x"]),
        "sequence": st.integers(-1, 6),
        "stroke": st.integers(0, 3),
        "last": st.booleans(),
        "edit": st.sampled_from(["e1", "e2", ""]),
        "verb": st.sampled_from(["add", "remove", "restyle"]),
        "concept": st.sampled_from(["tree", "dome", "dragon"]),
        "strength": st.sampled_from([0, 1, 4, 5, "1", None]),
        "rect": st.sampled_from([[0, 0, 2, 2], [31, 31, 2, 2], [0, 0, 0, 0], None]),
        "name": st.sampled_from(
            ["undo", "redo", "delete", "retune", "toggle", "move", "blend", "scene", "open"]
        ),
        "arguments": st.sampled_from(
            [
                {},
                {"edit": "e1"},
                {"edit": "e1", "strength": 2},
                {"edit": "e1", "index": 1},
                {"name": "a"},
                None,
            ]
        ),
        "frame": st.integers(-1, 5),
        "reference": st.sampled_from([{"key": "s1", "region": None}, {"key": "s1"}, None]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(messages, st.lists(st.sampled_from([b"", bytes(4), b"no picture"]), max_size=1))))
def test_whatever_a_page_says_the_widget_lives_and_its_state_is_whole(
    alive: GANPaint, talk: list[Any]
) -> None:
    page = Page(alive)
    for content, buffers in talk:
        page.say(content, *buffers)
    other = Page(alive, "page-cccc")
    other.hello()
    line: Line = alive.comm
    line.wait(lambda: not alive.stats()["waiting"])
    assert line.of("welcome")[-1]["page"] == "page-cccc"
    assert set(alive._state["covers"]) <= {A, B, "page-cccc"}
    for edit in alive._state["edits"]:
        assert image(alive._masks[edit["id"]]).shape == (SIZE, SIZE)


# --- commands -------------------------------------------------------------------------------------


def test_the_quick_commands_reach_the_session(widget: GANPaint, page: Page, worker_by_hand: Worker) -> None:
    page.stroke()
    page.command("retune", edit="e1", strength=2.5)
    page.command("toggle", edit="e1", enabled=False)
    worker_by_hand.run_pending()
    assert widget._state["edits"][0] | {"strength": 2.5, "enabled": False} == widget._state["edits"][0]
    page.stroke(edit="e2")
    page.command("move", edit="e2", index=0)
    worker_by_hand.run_pending()
    assert [edit["id"] for edit in widget._state["edits"]] == ["e2", "e1"]
    page.command("delete", edit="e1")
    page.command("delete", edit="e2")
    worker_by_hand.run_pending()
    assert widget._state["edits"] == []
    page.command("undo")
    assert not widget.comm.of("error")
    assert widget.comm.of("accepted")[-1]["sequence"] == page.sequence


def test_the_next_scene_and_a_file_of_ones_own(alive: GANPaint) -> None:
    page = Page(alive)
    page.hello()
    line: Line = alive.comm
    page.stroke()
    scene = page.command("scene")
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == scene)
    line.wait(lambda: alive._state["covers"].get(A) == scene and alive._state["title"] == "scene 1")
    assert {message["job"] for message in line.of("progress")} == {"open"}
    assert alive._state["edits"] == [] and alive._masks == {} and image(alive._photo)[0, 0, 0] == 120

    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 10, 10)).save(buffer, "PNG")
    opened = page.command("open", buffer.getvalue(), name="mine.png", fit="crop")
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == opened)
    assert alive._state["photo"] == {"width": 60, "height": 40, "fit": "crop"}
    assert alive._state["title"] == "mine.png" and tuple(image(alive._photo)[0, 0]) == (200, 10, 10)
    assert alive._state["notice"]["level"] == "warning"
    assert line.of("notice")[-1]["text"] == alive._state["notice"]["text"]


def test_a_scene_is_chosen_from_the_gallery(alive: GANPaint) -> None:
    page = Page(alive)
    page.hello()
    line: Line = alive.comm
    assert alive._state["scene"] == 0
    page.say({"type": "scenes", "page": A, "first": 1, "count": 20})
    line.wait(lambda: line.of("scenes"))
    (answer,) = line.of("scenes")
    assert {name: answer[name] for name in ("page", "first", "total", "titles")} == {
        "page": A, "first": 1, "total": 3, "titles": ["scene 1", "scene 2"]
    }  # fmt: skip
    sheet = image(answer["buffer"])
    assert sheet.shape == (SIZE, 2 * SIZE, 3)
    assert abs(sheet[:, :SIZE].mean() - 120) < 3 and abs(sheet[:, SIZE:].mean() - 180) < 3

    page.stroke()
    scene = page.command("scene", index=2)
    line.wait(lambda: alive._state["covers"].get(A) == scene and alive._state["title"] == "scene 2")
    assert (alive._state["scene"], alive._state["edits"]) == (2, [])
    before = state_of(alive)
    none = page.command("scene", index=3)
    line.wait(lambda: line.of("error"))
    assert line.of("error")[-1]["sequence"] == none and state_of(alive) == before
    page.say({"type": "scenes", "page": A, "first": 3, "count": 1})
    line.wait(lambda: line.of("error")[-1]["sequence"] is None)
    assert "0 to 2" in line.of("error")[-1]["mend"]


def test_a_file_that_is_no_picture_changes_nothing(alive: GANPaint) -> None:
    page = Page(alive)
    page.hello()
    before = state_of(alive)
    sequence = page.command("open", b"no picture at all", name="mine.png", fit="crop")
    line: Line = alive.comm
    line.wait(lambda: line.of("error"))
    assert line.of("error")[-1]["sequence"] == sequence and state_of(alive) == before
    line.wait(lambda: not alive.stats()["waiting"])
    page.stroke()
    assert line.of("accepted")[-1]["sequence"] == sequence + 1


def test_strokes_sent_while_a_picture_is_opened_stay_in_order(
    alive: GANPaint, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on = threading.Event(), threading.Event()
    next_scene = alive.session.next_scene

    def slowly() -> None:
        opening.set()
        assert go_on.wait(20)
        next_scene()

    monkeypatch.setattr(alive.session, "next_scene", slowly)
    page = Page(alive)
    page.hello()
    line: Line = alive.comm
    page.stroke(edit="before")
    scene = page.command("scene")
    assert opening.wait(20)
    page.stroke(edit="after")
    page.stroke(edit="bad", concept="dragon")
    page.sequence -= 1
    page.stroke(edit="bad", concept="dragon")  # again, while it waits
    assert alive.stats()["waiting"] == 3
    assert line.of("accepted")[-1]["sequence"] == 1 and not line.of("error")
    page.say({"type": "cancel", "page": A})  # is not held up
    go_on.set()
    line.wait(lambda: line.of("error"))
    assert line.of("error")[-1]["sequence"] == scene + 2
    assert [m["sequence"] for m in line.of("accepted")][-2:] == [scene, scene + 1]
    line.wait(lambda: [edit["id"] for edit in alive._state["edits"]] == ["after"])


def test_a_state_that_cannot_be_written_stops_no_queue(
    alive: GANPaint, monkeypatch: pytest.MonkeyPatch
) -> None:
    traits, png, go_on = alive._at_rest.traits, alive.session.png, threading.Event()
    failed: list[str] = []

    def fails_once(*args: Any) -> Any:
        if not failed and threading.current_thread().name == "ganpaint-widget":
            failed.append("no room")
            raise MemoryError
        return traits(*args)

    def slowly() -> bytes:
        assert go_on.wait(20)
        return png()

    page = Page(alive)
    page.hello()
    page.stroke()
    alive.comm.wait(lambda: alive._state["covers"] == {A: 1})
    monkeypatch.setattr(alive._at_rest, "traits", fails_once)
    monkeypatch.setattr(alive.session, "png", slowly)
    page.command("save", what="picture", where="page")
    page.stroke(rect=[0, 0, 4, 4])
    go_on.set()
    alive.comm.wait(lambda: alive.stats()["accepted"] == {A: 3} and not alive.stats()["waiting"])
    page.stroke(rect=[8, 0, 4, 4])
    assert failed and alive.comm.of("accepted")[-1]["sequence"] == 4


@pytest.mark.parametrize("measured", ["variant", "target", "retuned reference", "restyle"])
def test_messages_go_on_while_activations_are_measured(
    seeing: GANPaint, monkeypatch: pytest.MonkeyPatch, measured: str
) -> None:
    references = seeing.session._state.references
    measure, go_on = references.activations, threading.Event()

    def slowly(edit: Any) -> Any:
        assert go_on.wait(20)
        return measure(edit)

    page, line = Page(seeing), seeing.comm
    page.hello()
    reference = {"key": "s1", "region": [0, 0, SIZE, SIZE]}
    page.stroke(concept="dome")
    page.command("retune", edit="e1", target="mean")
    if measured == "target":
        seeing.session.update("e1", variant=1)
    if measured == "retuned reference":
        page.stroke(edit="e2", verb="restyle", concept="dome", reference={"key": "s2", **reference})
    line.wait(lambda: seeing.stats()["accepted"] == {A: page.sequence})
    assert seeing.session.edits[0].target == "mean"
    monkeypatch.setattr(references, "activations", slowly)
    if measured == "restyle":
        page.stroke(edit="e2", verb="restyle", concept="dome", reference=reference)
    elif measured == "retuned reference":
        page.command("retune", edit="e2", reference=reference)
    else:
        page.command("retune", edit="e1", **{measured: {"variant": 2, "target": "quantile"}[measured]})
    accepted = page.sequence - 1
    page.stroke(rect=[0, 0, 4, 4])
    page.say({"type": "beat", "page": A})
    assert line.of("alive")[-1]["sequence"] == accepted and seeing.stats()["waiting"] == 2
    go_on.set()
    line.wait(lambda: seeing.stats()["accepted"] == {A: page.sequence})
    assert not line.of("error") and seeing.session.edits[0].mask[0, 0] == 255
    page.stroke(rect=[0, 4, 4, 4])  # strokes of an edit that exists are quick
    assert line.of("accepted")[-1]["sequence"] == page.sequence


def test_save_sends_the_file_to_the_page_that_asked(alive: GANPaint) -> None:
    page = Page(alive)
    page.hello()
    page.stroke()
    page.command("save", what="picture", where="page")
    line: Line = alive.comm
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == 2)
    (file,) = line.of("file")
    assert file["page"] == A and file["name"] == "scene 0-ganpaint.png" and file["format"] == "image/png"
    assert Image.open(io.BytesIO(file["buffer"])).text["ganpaint:edited"] == "true"


def test_saving_beside_the_kernel_overwrites_nothing(
    alive: GANPaint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = Page(alive)
    page.hello()
    page.stroke()
    for what in ("picture", "picture", "project"):
        page.command("save", what=what, where="kernel")
    line: Line = alive.comm
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == 4)
    names = ["scene 0-ganpaint-2.png", "scene 0-ganpaint.png", "scene 0.ganpaint"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == names
    assert str(tmp_path / names[2]) in line.of("notice")[-1]["text"]
    assert Image.open(tmp_path / names[0]).text["ganpaint:picture"] == "preview"

    monkeypatch.setattr("pathlib.Path.write_bytes", _disk_full)
    page.command("save", what="picture", where="kernel")
    line.wait(lambda: line.of("error"))
    assert "No space" in line.of("error")[-1]["what"]


def _disk_full(*_: object) -> None:
    raise OSError("No space left on device")


def test_a_project_goes_out_to_the_page_and_comes_back(alive: GANPaint) -> None:
    page = Page(alive)
    page.hello()
    page.stroke()
    page.command("retune", edit="e1", strength=2, units="low", target="mean")
    page.command("save", what="project", where="page")
    line: Line = alive.comm
    line.wait(lambda: line.of("file"))
    (file,) = line.of("file")
    assert file["name"] == "scene 0.ganpaint"
    (before,) = alive.session.edits
    page.command("scene")
    page.command("open", file["buffer"], name="SCENE.ganpaint", fit="crop")
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == page.sequence)
    assert alive.session.edits == (before,) and before.units == "low" and before.target == "mean"
    line.wait(lambda: [edit["units"] for edit in alive._state["edits"]] == ["low"])

    kept = alive.session.edits
    page.command("open", file["buffer"][:-40], name="cut.ganpaint", fit="crop")
    line.wait(lambda: line.of("error"))
    assert line.of("error")[-1]["sequence"] == page.sequence and alive.session.edits is kept


@pytest.fixture
def seeing(model_with_segmenter: Any, worker: Worker) -> Iterator[GANPaint]:
    """A widget whose model comes with a segmenter."""
    widget = GANPaint(session=EditingSession(generator=model_with_segmenter, worker=worker))
    yield widget
    widget.close()


def test_a_restyle_takes_a_sample_or_a_picture_of_ones_own(seeing: GANPaint) -> None:
    page, line = Page(seeing), seeing.comm
    page.hello()
    page.say({"type": "samples", "page": A, "concept": "dome"})
    line.wait(lambda: line.of("references"))
    (answer,) = line.of("references")
    entries = answer["entries"]
    assert 1 <= len(entries) <= 8 and not any(entry["own"] for entry in entries)
    sheet = image(answer["buffer"])
    assert sheet.shape == (2 * SIZE, len(entries) * SIZE, 3)
    seed = int(entries[0]["key"][1:])
    shown = seeing.session.refer(seed)
    assert np.array_equal(sheet[:SIZE, :SIZE], np.asarray(shown.photo))
    assert np.array_equal(sheet[SIZE:, :SIZE], np.asarray(shown.reconstruction))

    page.stroke(verb="restyle", concept="dome", reference={"key": entries[0]["key"], "region": None})
    line.wait(lambda: line.of("accepted"))
    assert line.of("accepted")[-1]["sequence"] == 1
    (edit,) = seeing.session.edits
    assert edit.verb == "restyle" and edit.reference is not None and edit.reference.seed == seed

    gold = np.zeros((SIZE, SIZE, 3), np.uint8)
    gold[8:] = (200, 150, 30)
    page.say({"type": "refer", "page": A, "name": "gold.png"}, files.encode_png(gold))
    line.wait(lambda: len(line.of("references")) == 2)
    (own,) = line.of("references")[1]["entries"]
    assert own["own"] and own["key"][0] == "p" and line.of("references")[1]["concept"] == ""
    assert np.array_equal(image(line.of("references")[1]["buffer"])[:SIZE], gold)

    region = [0, 8, SIZE, SIZE - 8]
    page.command("retune", edit="e1", reference={"key": own["key"], "region": region})
    line.wait(lambda: line.of("accepted")[-1]["sequence"] == 2)
    (edit,) = seeing.session.edits
    assert edit.reference is not None and np.array_equal(edit.reference.picture, gold)
    assert edit.reference.region is not None and edit.reference.region.sum() == 255 * SIZE * (SIZE - 8)
    line.wait(lambda: seeing._state["edits"][0]["reference"] == {"key": own["key"], "region": region})

    # a kernel that began anew still has the pictures in its edits, and says so of others
    seeing._questions._own.clear()
    page.say({"type": "samples", "page": A, "concept": "dome"})
    line.wait(lambda: len(line.of("references")) == 3)
    assert line.of("references")[2]["entries"][0]["key"] == own["key"]
    page.stroke(edit="e2", verb="restyle", concept="dome", reference={"key": own["key"], "region": region})
    page.stroke(edit="e3", verb="restyle", concept="dome", reference={"key": "p" + 40 * "0", "region": None})
    line.wait(lambda: line.of("error"))
    assert len(seeing.session.edits) == 2 and "reference" in line.of("error")[-1]["what"]


def test_variants_are_shown_and_chosen(seeing: GANPaint) -> None:
    page, line = Page(seeing), seeing.comm
    page.hello()
    page.stroke(concept="dome")
    page.say({"type": "variants", "page": A, "edit": "e1"})
    line.wait(lambda: line.of("variants"))
    (answer,) = line.of("variants")
    assert answer["variants"] == list(range(len(answer["variants"]))) and answer["edit"] == "e1"
    sheet = image(answer["buffer"])
    tiles = np.split(sheet, len(answer["variants"]), axis=1)
    page.command("retune", edit="e1", variant=2)
    line.wait(lambda: seeing._state["edits"][0]["variant"] == 2)
    assert np.array_equal(tiles[2], np.asarray(seeing.session.preview))
    assert not np.array_equal(tiles[2], tiles[0])

    page.say({"type": "variants", "page": A, "edit": "no"})
    line.wait(lambda: line.of("error"))
    assert line.of("error")[-1]["sequence"] is None and "does not exist" in line.of("error")[-1]["what"]


def test_questions_are_answered_while_a_blend_runs_and_a_flood_is_not(
    seeing: GANPaint, adaptation: Any
) -> None:
    adaptation.proceed.clear()
    page, line = Page(seeing), seeing.comm
    page.hello()
    page.stroke(concept="dome")
    page.command("blend")
    assert adaptation.running.wait(20)
    for _ in range(50):
        page.say({"type": "samples", "page": A, "concept": "tree"})
    page.say({"type": "samples", "page": A, "concept": "dome"})
    line.wait(lambda: line.of("references") and line.of("references")[-1]["concept"] == "dome")
    assert len(line.of("references")) < 50
    page.stroke(edit="e2", verb="restyle", concept="dome", reference={"key": "s1", "region": [0, 0, 9, 9]})
    line.wait(lambda: len(seeing.session.edits) == 2)
    assert seeing.session.job is not None
    adaptation.proceed.set()


def test_the_faithful_preview_is_switched_by_the_page(seeing: GANPaint, real_methods: None) -> None:
    page, line = Page(seeing), seeing.comm
    page.hello()
    page.command("faithful", on=True)
    assert seeing.session.faithful
    line.wait(lambda: seeing._state["faithful"] == {"on": True, "ready": True}, seconds=60)
    page.command("faithful", on=False)
    line.wait(lambda: seeing._state["faithful"] == {"on": False, "ready": False})


def test_blending_with_progress_pictures_and_cancel(alive: GANPaint, adaptation: Any) -> None:
    adaptation.proceed.clear()
    page = Page(alive)
    page.hello()
    line: Line = alive.comm
    page.stroke()
    page.command("blend")
    assert adaptation.running.wait(20)
    line.wait(lambda: alive._state["job"] is not None)
    assert alive._state["job"]["name"] == "blend" and 0 <= alive._state["job"]["fraction"] <= 1
    line.wait(lambda: any(message["decibel"] is not None for message in line.of("progress")))
    # The page paints on while it is blended.
    page.stroke(edit="e2")
    line.wait(lambda: len(alive._state["edits"]) == 2)

    def results() -> list[dict[str, Any]]:
        if line.of("frame"):
            page.ack(line.of("frame")[-1]["frame"])
        return [m for m in line.of("frame") if m["picture"] == "result"]

    line.wait(results)
    assert results()[-1]["covers"] == {A: 2}, "the blend is of the edits as they were"
    page.say({"type": "cancel", "page": A})
    assert line.of("notice")[-1]["text"].startswith("Stopping"), "said at once, not when the job has ended"
    line.wait(lambda: alive._state["job"] is None and alive._result)
    blend = alive._state["measures"]["blend"]
    assert blend["after"] > blend["before"] and 0.5 < blend["survival"] < 2
    blended = alive._state["blended"]
    assert blended == alive.session.blend.revision < alive._state["revision"], (
        "what was painted since is not in it"
    )
    assert np.array_equal(image(alive._result), np.asarray(alive.session.result))
    assert not line.of("error")


def test_a_blend_that_fails_is_said_and_leaves_everything(alive: GANPaint, adaptation: Any) -> None:
    page = Page(alive)
    page.hello()
    page.stroke()
    line: Line = alive.comm
    line.wait(lambda: alive._state["covers"].get(A) == 1)
    before = state_of(alive)
    adaptation.error = RuntimeError("no memory")
    page.command("blend")
    line.wait(lambda: line.of("error"))
    assert "no memory" in line.of("error")[-1]["what"] and line.of("error")[-1]["sequence"] is None
    line.wait(lambda: alive._state["job"] is None)
    assert state_of(alive) == before


# --- from Python ----------------------------------------------------------------------------------


def test_what_python_does_shows_on_the_page(widget: GANPaint, page: Page, worker_by_hand: Worker) -> None:
    page.ack(widget.comm.of("frame")[-1]["frame"])
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:8] = 200
    edit = widget.session.add("dome", mask)
    worker_by_hand.run_pending()
    assert widget._state["edits"][0]["id"] == edit.id
    assert np.array_equal(image(widget._masks[edit.id]), mask)
    assert widget.comm.of("frame")[-1]["revision"] == widget.session.revision
    assert np.array_equal(widget.mask, mask) and widget.mask.dtype == np.uint8


def test_the_mask_can_be_set_and_that_is_a_stroke_like_any_other(
    widget: GANPaint, page: Page, worker_by_hand: Worker
) -> None:
    with pytest.raises(GANPaintError):
        widget.mask = np.zeros((SIZE, SIZE), np.uint8)
    page.stroke(edit="e1")
    page.stroke(edit="e2")
    page.stroke(edit="e1", rect=[0, 0, 2, 2])  # painted last, though not the last in the list
    before = widget.mask
    wanted = np.arange(SIZE * SIZE, dtype=np.uint32).reshape(SIZE, SIZE).astype(np.uint8)
    widget.mask = wanted
    worker_by_hand.run_pending()
    first, second = widget.session.edits
    assert np.array_equal(first.mask, wanted) and not np.array_equal(second.mask, wanted)
    assert np.array_equal(image(widget._masks["e1"]), wanted)
    with pytest.raises(GANPaintError):
        widget.mask = np.zeros((3, 3), np.uint8)
    assert np.array_equal(widget.mask, wanted)
    widget.mask = wanted > 128  # a condition on a picture, say
    assert set(np.unique(widget.mask)) == {0, 255}
    page.command("undo")
    page.command("undo")
    assert np.array_equal(widget.mask, before)


def test_the_page_gets_the_photos_segments_and_the_layers_grid(model: Any, worker_by_hand: Worker) -> None:
    class Halves:
        classes = ("sky", "tree")

        def segment(self, pictures: Any) -> Any:
            columns = torch.arange(SIZE).expand(len(pictures), SIZE, SIZE)
            return (columns >= SIZE // 2).long()

    plain = GANPaint(session=EditingSession(generator=model, worker=worker_by_hand))
    assert (plain._segments, plain._state["classes"]) == (b"", [])
    seeing = EditingSession(generator=replace(model, segmenter=Halves()), worker=worker_by_hand)
    widget = GANPaint(session=seeing)
    assert widget._state["classes"] == ["sky", "tree"]
    labels = image(widget._segments)
    assert (labels[:, : SIZE // 2] == 0).all() and (labels[:, SIZE // 2 :] == 1).all()
    across, down = widget._state["cells"]
    assert (down, across) == tuple(model.generator.shape(model.generator.edit_layer)[1:])


def test_a_beat_is_answered_and_changes_nothing(widget: GANPaint, page: Page) -> None:
    page.stroke()
    before = widget.stats()["pages"], len(widget.comm.states)
    page.say({"type": "beat", "page": A})
    page.say({"type": "beat", "page": "page-unknown"})
    mine, others = widget.comm.of("alive")
    assert (mine["page"], mine["sequence"], mine["revision"]) == (A, 1, widget.session.revision)
    assert (others["page"], others["sequence"]) == ("page-unknown", 0)
    assert (widget.stats()["pages"], len(widget.comm.states)) == before


def test_the_mask_without_an_edit_is_empty(widget: GANPaint) -> None:
    assert widget.mask.shape == (SIZE, SIZE) and not widget.mask.any()


def test_the_snapshot_and_the_notebook_show_the_present_picture(
    alive: GANPaint, full_mask: np.ndarray
) -> None:
    def in_notebook() -> np.ndarray:
        data, _ = alive._repr_mimebundle_()
        assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == "comm"
        return image(base64.b64decode(data["image/png"]))

    line: Line = alive.comm
    alive.session.add("tree", full_mask)
    assert np.array_equal(np.asarray(alive.snapshot()), np.asarray(alive.session.preview))
    line.wait(lambda: len(alive._state["edits"]) == 1)
    assert np.array_equal(in_notebook(), np.asarray(alive.session.preview))
    result = np.asarray(alive.session.adapt())
    line.wait(lambda: alive._result)
    assert np.array_equal(np.asarray(alive.snapshot()), result) and np.array_equal(in_notebook(), result)
    alive.session.undo()
    assert np.array_equal(np.asarray(alive.snapshot()), np.asarray(alive.session.preview))


def test_a_read_from_python_waits_for_an_open_stroke(alive: GANPaint) -> None:
    page = Page(alive)
    kernel = threading.Thread(target=lambda: (page.hello(), page.stroke(last=False)))
    kernel.start()
    kernel.join(20)

    def finish() -> None:
        page.stroke(last=True, new=False, rect=[20, 20, 2, 2])

    later = threading.Timer(0.1, finish)
    later.start()
    assert np.count_nonzero(alive.mask) == 64 + 4
    later.join(20)


def test_recover_brings_the_edits_back(model: Any, worker: Worker) -> None:
    first = GANPaint(session=EditingSession(generator=model, worker=worker))
    page = Page(first)
    page.hello()
    page.stroke()
    first.close()
    first.session.close()
    second = GANPaint.recover(generator=model)
    assert np.array_equal(second.mask, first.mask) and second._state["edits"][0]["id"] == "e1"
    second.close()


@pytest.mark.parametrize("rewritten", [False, True])
def test_after_a_recovery_a_page_says_again_what_it_must_and_nothing_is_done_twice(
    model: Any, worker: Worker, rewritten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = GANPaint(session=EditingSession(generator=model, worker=worker))
    (journal,) = first._state["journal"]
    page = Page(first)
    page.hello()
    for edit in ("e1", "e2", "e3"):
        page.stroke(edit=edit)
    page.command("undo")
    if rewritten:
        with monkeypatch.context() as patch:
            patch.setattr("ganpaint_widget.session.journal.Journal.too_long", property(lambda self: True))
            page.command("retune", edit="e1", strength=2)
    done = page.sequence
    first.session.close()  # as if its kernel had been killed: the page does not know what has arrived

    second = GANPaint.recover(generator=model)
    assert second._state["journal"][1:] == [journal] and second._state["journal"][0] != journal
    again = Page(second)
    again.hello()
    assert second.comm.of("welcome")[-1]["sequence"] == done
    again.sequence = done - 1
    again.command("undo")  # the very last, which the page has seen no answer to
    assert second.comm.of("accepted")[-1]["sequence"] == done
    assert [edit.id for edit in second.session.edits] == ["e1", "e2"]
    again.strokes = 9
    again.stroke(edit="e4")
    assert [edit.id for edit in second.session.edits] == ["e1", "e2", "e4"]
    names = second._state["journal"]
    second.session.close()
    third = GANPaint.recover(generator=model)
    assert third._state["journal"][1:] == names
    Page(third).hello()
    assert third.comm.of("welcome")[-1]["sequence"] == done + 1
    for widget in (first, second, third):
        widget.close()


@pytest.mark.parametrize("opening", ["scene", "numbered scene", "picture", "project"])
@pytest.mark.parametrize("painted", [False, True], ids=["nothing painted on it", "painted on it"])
def test_after_a_recovery_what_has_opened_a_picture_is_not_done_again(
    model_with_gallery: Any, worker: Worker, opening: str, painted: bool
) -> None:
    first = GANPaint(session=EditingSession(generator=model_with_gallery, worker=worker))
    line: Line = first.comm
    page = Page(first)
    page.hello()
    page.stroke(edit="e1")
    if opening == "scene":
        page.command("scene")
    elif opening == "numbered scene":
        page.command("scene", index=2)
    else:
        source = EditingSession(generator=model_with_gallery, worker=worker, journal=False)
        picture = files.encode_png(np.full((SIZE, SIZE, 3), 200, np.uint8))
        file = picture if opening == "picture" else source.project_file()
        name = "p.png" if opening == "picture" else "p.ganpaint"
        page.command("open", file, name=name, fit="crop")
    if painted:
        page.stroke(edit="e2")
    line.wait(lambda: [m for m in line.of("accepted") if m["sequence"] == page.sequence])
    photo = np.asarray(first.session.photo)
    edits = [edit.id for edit in first.session.edits]
    assert edits == (["e2"] if painted else [])
    first.session.close()  # as if its kernel had been killed: the page has seen no answer

    # Twice: what a recovered session writes says the same as what it has read.
    for _ in range(2):
        second = GANPaint.recover(generator=model_with_gallery)
        again = Page(second)
        again.hello()
        assert second.comm.of("welcome")[-1]["sequence"] == page.sequence
        again.sequence = 1
        again.command("scene")  # said again, whatever it was: it is known, and nothing is opened
        assert second.comm.of("accepted")[-1]["sequence"] == page.sequence
        assert second.stats()["waiting"] == 0
        assert np.array_equal(np.asarray(second.session.photo), photo)
        assert [edit.id for edit in second.session.edits] == edits
        second.session.close()
        second.close()
        if not painted:
            break  # nothing is written of a session that has only looked
    first.close()


# --- a line that is down --------------------------------------------------------------------------


def test_a_cut_line_stops_nothing(widget: GANPaint, page: Page, worker_by_hand: Worker) -> None:
    widget.comm.cut = True
    page.stroke()
    worker_by_hand.run_pending()
    assert widget.stats()["failures"] > 0 or widget.stats()["failed"] > 0
    widget.comm.cut = False
    page.hello()
    assert widget.comm.of("welcome")[-1]["sequence"] == 1
    assert widget.comm.of("frame")[-1]["covers"] == {A: 1}
    page.stroke()
    worker_by_hand.run_pending()
    assert widget._state["covers"] == {A: 2} and np.count_nonzero(image(widget._masks["e1"])) == 64


def test_everything_is_sent_in_the_context_of_the_last_message(
    widget: GANPaint, page: Page, worker_by_hand: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(7, 4, 0, "")))
    shell: contextvars.ContextVar[str] = contextvars.ContextVar("shell", default="main")
    seen: list[str] = []
    send = widget.comm.send

    def watched(*args: Any, **kwargs: Any) -> None:
        seen.append(shell.get())
        widget.comm._reply_subshell_id = shell.get()  # as ipykernel 7.4 does
        send(*args, **kwargs)

    monkeypatch.setattr(widget.comm, "send", watched)
    contextvars.copy_context().run(lambda: (shell.set("subshell"), page.stroke(last=False)))
    thread = threading.Thread(target=worker_by_hand.run_pending)
    thread.start()
    thread.join(20)
    page.say({"type": "cancel", "page": A})
    contextvars.copy_context().run(lambda: (shell.set("subshell"), page.stroke(new=False)))
    widget.session.undo()
    worker_by_hand.run_pending()
    assert set(seen) == {"subshell"} and len(seen) > 2
    assert not hasattr(widget.comm, "_reply_subshell_id")
