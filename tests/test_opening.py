"""The editor before its session: it shows without PyTorch, and loses nothing that is painted meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
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


CELLS = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.kernel = "a kernel"  # as a notebook's shell has one

def run(code):
    result = shell.run_cell(code)
    if result.error_in_exec is not None:
        print(type(result.error_in_exec).__name__, result.error_in_exec)
    return result
"""


def cells(code: str) -> str:
    """What a fresh interpreter prints that runs cells with ``run(...)``."""
    command = [sys.executable, "-c", CELLS + code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=sys.prefix)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_a_new_kernel_the_editor_shows_without_torch() -> None:
    said = cells("""
run("import sys; import ganpaint_widget as gp")
run('''
paint = gp.GANPaint()
first = dict(paint._state)
assert "torch" not in sys.modules and first["loading"], first
assert first["concepts"] and paint._photo and paint._repr_mimebundle_()[0]["image/png"]
''')
run('''
assert "torch" in sys.modules and not paint._state["loading"] and paint._state["revision"] == 1
assert paint._reconstruction != paint._photo and paint.session.edits == ()
same = "title", "width", "height", "cells", "concepts", "generator", "has_gallery", "scene", "photo"
assert {name: first[name] for name in same} == {name: paint._state[name] for name in same}
''')
print("done")
""")
    assert said.strip() == "done"


@pytest.mark.parametrize("statement", ["import torch.nn as nn", "from torch.utils.data import Dataset"])
def test_cells_may_import_parts_of_torch_beside(statement: str) -> None:
    """Two threads that import parts of one package break both imports."""
    said = cells(f"""
run("import ganpaint_widget as gp")
run("paint = gp.GANPaint()")
run("{statement}")
run("one = gp.GANPaint()\\n{statement}\\none.session.edits")
run("assert not one._state['loading']")
print(shell.user_ns["paint"].session.title)
""")
    assert said.strip().splitlines()[-1] == "Scene 0" and "Error" not in said


def test_a_torch_that_cannot_be_imported_is_told_and_nothing_hangs() -> None:
    said = cells("""
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("libtorch_cpu.so: cannot open shared object file")
sys.meta_path.insert(0, Broken())
run("import ganpaint_widget as gp; paint = gp.GANPaint()")
run("assert not paint.painting and not paint._state['loading'] and paint._repr_mimebundle_()")
run("print(paint._state['notice'])")
run("paint.session")
run("paint.close()")
""")
    told = "The editor could not be opened (ImportError: libtorch_cpu.so"
    assert f"'level': 'warning', 'text': \"{told}" in said and f"GANPaintError {told}" in said


def test_a_program_without_cells_opens_at_once() -> None:
    code = "import ganpaint_widget as gp; paint = gp.GANPaint(); print(paint._state['loading'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=sys.prefix)
    assert done.stdout.strip() == "False", done.stderr


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
def end_cell(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """End the cell that made the editor: only then does its session open."""
    waiting: list[Callable[[], object]] = []

    def opened(*arguments: Any, **named: Any) -> EditingSession:
        return EditingSession(*arguments, journal=False, **named)

    def end() -> None:
        while waiting:
            waiting.pop()()

    monkeypatch.setattr("comm.create_comm", Comm)
    monkeypatch.setattr(paint_module, "worth_showing_first", lambda generator, device: True)
    monkeypatch.setattr(paint_module, "after_cell", waiting.append)
    monkeypatch.setattr(paint_module, "EditingSession", opened)
    return end


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


def test_what_a_page_says_early_is_carried_out_late(end_cell: Callable[[], None]) -> None:
    widget = GANPaint()
    assert widget.comm.opened["_state"]["loading"] and not widget.painting

    def page() -> None:
        say(widget, {"type": "hello", "version": 1, "page": "page-aaaa"})
        say(widget, STROKE, bytes([255]) * 1600)

    early = begun(page)
    assert early.is_alive() and not widget.comm.messages
    end_cell()
    early.join(60)
    assert not early.is_alive()
    assert [edit.id for edit in widget.session.edits] == ["e1"]
    assert widget.mask[80, 20] == 255
    assert [one["sequence"] for one in widget.comm.messages if one["type"] == "accepted"] == [1]
    widget.close()


def test_python_opens_the_session_when_it_needs_it(end_cell: Callable[[], None]) -> None:
    widget = GANPaint()
    assert widget.shown.shape == (SIZE, SIZE, 3) and widget.session.title == "Scene 0"
    session = widget.session
    end_cell()
    assert widget.session is session and widget.stats()["sent"] == 0
    widget.close()


def test_an_editor_that_was_closed_before_follows_nothing(end_cell: Callable[[], None]) -> None:
    widget = GANPaint()
    widget.close()
    end_cell()
    assert not widget.session._state.observers


def test_a_failure_reaches_python_and_the_page(
    end_cell: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **named: object) -> SimpleNamespace:
        raise MemoryError("no room for the weights")

    monkeypatch.setattr(paint_module, "EditingSession", broken)
    widget = GANPaint()
    end_cell()
    for read in (lambda: widget.session, lambda: widget.mask, lambda: widget.shown, widget.snapshot):
        with pytest.raises(GANPaintError, match=r"could not be opened \(MemoryError: no room"):
            read()
    assert not widget.painting and not widget._state["loading"] and widget._repr_mimebundle_()
    assert widget._state["notice"]["level"] == "warning" and "no room" in widget._state["notice"]["text"]
    say(widget, {"type": "hello", "version": 1, "page": "page-aaaa"})
    say(widget, {"type": "beat", "page": "page-aaaa"})
    assert [one["type"] for one in widget.comm.messages] == ["alive", "alive"]
    say(widget, STROKE, bytes([255]) * 1600)
    error = widget.comm.messages[-1]
    assert error["type"] == "error" and "no room for the weights" in error["what"]
    widget.close()
