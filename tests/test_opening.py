"""The editor before its session: it shows without PyTorch, and loses nothing that is painted meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpaint_widget.demo import outline
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.session import Concept, EditingSession
from ganpaint_widget.widget import paint as paint_module
from ganpaint_widget.widget.opening import first_view
from ganpaint_widget.widget.paint import GANPaint

SIZE = outline.RESOLUTION


def test_in_a_new_kernel_the_editor_shows_without_torch() -> None:
    code = """
import sys, threading
gate = threading.Event()
class Slow:  # PyTorch takes its time
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            gate.wait()
sys.meta_path.insert(0, Slow())
import ganpaint_widget as gp
paint = gp.GANPaint()
first = dict(paint._state)
assert "torch" not in sys.modules and first["loading"], first
assert first["concepts"] and paint._photo and paint._repr_mimebundle_()[0]["image/png"]
gate.set()
edits = paint.session.edits
paint.session.preview
assert "torch" in sys.modules and not paint._state["loading"] and paint._state["revision"] == 1
assert paint._reconstruction != paint._photo and edits == ()
same = "title", "width", "height", "cells", "concepts", "generator", "has_gallery", "scene", "photo"
assert {name: first[name] for name in same} == {name: paint._state[name] for name in same}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=sys.prefix)
    assert done.returncode == 0, done.stderr


def test_a_torch_that_cannot_be_imported_is_told_and_nothing_hangs() -> None:
    code = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("libtorch_cpu.so: cannot open shared object file")
sys.meta_path.insert(0, Broken())
import ganpaint_widget as gp
paint = gp.GANPaint()
try:
    paint.session
except gp.GANPaintError as error:
    print(error)
paint.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=sys.prefix)
    assert done.returncode == 0, done.stderr
    assert "The editor could not be opened (ImportError: libtorch_cpu.so" in done.stdout


def test_the_outline_is_what_the_model_says() -> None:
    session = EditingSession(journal=False)
    assert (session.size, session.cells) == (outline.RESOLUTION, outline.CELLS)
    for (name, color, quality), concept in zip(outline.concepts(), session.palette, strict=True):
        assert (name, color) == (concept.name, concept.color)
        assert quality == pytest.approx(concept.quality, abs=1e-6)


@pytest.mark.parametrize("photo", [None, Image.effect_noise((300, 200), 90).convert("RGB")])
def test_the_first_view_is_that_of_the_session(photo: object) -> None:
    source, first = first_view(photo)
    session = EditingSession(source, journal=False)
    then = session.view
    later = {"palette", "classes", "labels", "reconstruction", "preview", "metrics", "revision", "notice"}
    for field in fields(first):
        if field.name not in {*later, "photo", "loading"}:
            assert getattr(first, field.name) == getattr(then, field.name), field.name
    assert np.array_equal(first.photo, then.photo) and np.array_equal(first.preview, first.photo)
    assert [one.name for one in first.palette] == [one.name for one in then.palette]
    assert all(isinstance(one, Concept) for one in first.palette)


def test_a_photo_that_cannot_be_read_raises_at_once() -> None:
    with pytest.raises(GANPaintError, match=r"nowhere\.jpg"):
        first_view("nowhere.jpg")


# --- with a page, and a session that opens when a test says so -------------------------------------


class Comm:
    """Keeps what the widget sends."""

    kernel = "a kernel"

    def __init__(self, **opened: Any) -> None:
        self.comm_id, self.opened = "comm", opened["data"]["state"]
        self.messages: list[dict[str, Any]] = []

    def on_msg(self, callback: object) -> None:
        pass

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        if data["method"] == "custom":
            self.messages.append(data["content"])

    def close(self, *args: object, **kwargs: object) -> None:
        pass


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until this is set, no session opens, as long as PyTorch would take."""
    gate = threading.Event()

    def opened(*arguments: Any, **named: Any) -> EditingSession:
        assert gate.wait(60)
        return EditingSession(*arguments, journal=False, **named)

    monkeypatch.setattr("comm.create_comm", Comm)
    monkeypatch.setattr(paint_module, "worth_showing_first", lambda generator, device: True)
    monkeypatch.setattr(paint_module, "EditingSession", opened)
    yield gate
    gate.set()


def begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def say(widget: GANPaint, content: dict[str, Any], *buffers: bytes) -> None:
    message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": list(buffers)}
    widget._handle_msg(message)


STROKE = {
    "type": "stroke",
    "page": "page-aaaa",
    "sequence": 1,
    "stroke": 1,
    "last": True,
    "edit": "e1",
    "verb": "add",
    "concept": "tree",
    "strength": 1,
    "rect": [10, 70, 40, 40],
}


def test_what_a_page_says_early_is_carried_out_late(gate: threading.Event) -> None:
    widget = GANPaint()
    assert widget.comm.opened["_state"]["loading"] and not widget.painting

    def page() -> None:
        say(widget, {"type": "hello", "version": 1, "page": "page-aaaa"})
        say(widget, STROKE, bytes([255]) * 1600)

    early = begun(page)
    assert early.is_alive() and not widget.comm.messages
    gate.set()
    early.join(60)
    assert not early.is_alive()
    assert [edit.id for edit in widget.session.edits] == ["e1"]
    assert widget.mask[80, 20] == 255
    assert [one["sequence"] for one in widget.comm.messages if one["type"] == "accepted"] == [1]
    widget.close()


def test_python_waits_for_the_session(gate: threading.Event) -> None:
    widget = GANPaint()
    found: list[Any] = []
    waiting = begun(lambda: found.append((widget.session.title, widget.shown.shape, widget.stats()["sent"])))
    assert waiting.is_alive() and not found
    gate.set()
    waiting.join(60)
    ((title, shape, _),) = found
    assert title == "Scene 0" and shape == (SIZE, SIZE, 3)
    widget.close()


def test_an_editor_that_is_closed_meanwhile_follows_nothing(gate: threading.Event) -> None:
    widget = GANPaint()
    closing = begun(widget.close)
    gate.set()
    closing.join(60)
    assert not closing.is_alive() and not widget.session._state.observers


def test_a_failure_reaches_python_and_the_page(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **named: object) -> SimpleNamespace:
        raise MemoryError("no room for the weights")

    monkeypatch.setattr(paint_module, "EditingSession", broken)
    widget = GANPaint()
    for read in (lambda: widget.session, lambda: widget.mask, lambda: widget.shown, widget.snapshot):
        with pytest.raises(GANPaintError, match=r"could not be opened \(MemoryError: no room"):
            read()
    told = len(widget.comm.messages)
    say(widget, STROKE, bytes([255]) * 1600)
    (error,) = widget.comm.messages[told:]
    assert error["type"] == "error" and "no room for the weights" in error["what"]
    widget.close()
