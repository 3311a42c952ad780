"""The explorer without a page: what its controls do, and what it draws, in a process with no kernel."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import ipycanvas
import ipywidgets
import numpy as np
import pytest
from ipycanvas.canvas import COMMANDS
from references import Brightness, FollowedBoxes

from ganpaint_widget import DissectionExplorer, GANPaint
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.explorer.exploration import Exploration
from ganpaint_widget.models.model import Model
from ganpaint_widget.session import EditingSession
from ganpaint_widget.tickets import Cancelled, Ticket
from ganpaint_widget.widget.explorer import look as module
from ganpaint_widget.widget.explorer.pads import Pad


@pytest.fixture
def boxes() -> Model:
    return Model("boxes", FollowedBoxes().eval(), segmenter=Brightness())


@pytest.fixture
def explorer(boxes: Model) -> Iterator[DissectionExplorer]:
    Exploration(boxes).measure(samples=40)
    explorer = DissectionExplorer(boxes)
    client_ready(explorer._columns[0].canvas)  # a page shows it, and the editor is opened
    assert explorer.paint.session.size == boxes.generator.resolution
    yield explorer
    explorer.close()


def settle(explorer: DissectionExplorer) -> None:
    """Until the worker has done what it was asked for."""
    explorer._worker.call(lambda: None)
    explorer._worker.call(lambda: None)


def status(explorer: DissectionExplorer) -> str:
    return str(explorer._jobs.status.value)


def captions(explorer: DissectionExplorer) -> list[str]:
    return [cell.description for cell in explorer._cells if "gpx-none" not in cell._dom_classes]


class Wire:
    """What the canvas manager would have sent to the page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[tuple[list[Any], list[bytes]]] = []
        manager = ipycanvas.canvas._CANVAS_MANAGER
        monkeypatch.setattr(manager, "send", self._send)

    def _send(self, metadata: Any, buffers: list[Any]) -> None:
        self.messages.append((json.loads(bytes(buffers[0])), [bytes(one) for one in buffers[1:]]))

    def names(self, message: int = -1) -> list[str]:
        commands = {number: name for name, number in COMMANDS.items()}
        found = self.messages[message][0]
        return [commands[command[0]] for command in (found if isinstance(found[0], list) else [found])]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


def client_ready(canvas: ipycanvas.Canvas) -> None:
    canvas._handle_frontend_event(canvas, {"event": "client_ready"}, [])


# --- drawing ---


def test_a_page_gets_the_picture_when_it_is_ready_and_again_after_a_reload(wire: Wire) -> None:
    pad = Pad(40, 30)
    wire.messages.clear()
    pad.show(lambda pad: pad.picture(np.zeros((4, 4, 3), np.uint8), 1, 2))
    assert wire.messages == []
    client_ready(pad.canvas)
    assert wire.names() == ["switchCanvas", "clear", "putImageData"]
    (files,) = [buffers for _, buffers in wire.messages]
    assert files[0][:3] == b"\xff\xd8\xff"
    client_ready(pad.canvas)  # a page that has forgotten on which canvas it drew last
    assert wire.names() == ["switchCanvas", "clear", "putImageData"] and len(wire.messages) == 2


def test_an_exception_while_drawing_freezes_no_canvas(wire: Wire) -> None:
    good, bad, others = Pad(40, 30), Pad(40, 30), ipycanvas.Canvas(width=9, height=9)
    for pad in (good, bad):
        client_ready(pad.canvas)

    def broken(pad: Pad) -> None:
        pad.lines(np.ones((1, 2, 2), np.float32), "red", 1)
        raise RuntimeError("in the middle")

    wire.messages.clear()
    with pytest.raises(RuntimeError, match="in the middle"):
        bad.show(broken)
    assert wire.messages == []  # not half a picture
    good.show(lambda pad: pad.lines(np.ones((1, 2, 2), np.float32), "red", 1))
    assert wire.names()[-1] == "strokeLineSegments"
    others.fill_rect(1, 2, 3, 4)  # another library's, which knows nothing of pads
    assert [wire.names(-2), wire.names(-1)] == [["switchCanvas"], ["fillRect"]]
    with ipycanvas.hold_canvas():
        others.fill_rect(1, 2, 3, 4)
        others.fill_rect(5, 6, 7, 8)
        good.show(lambda pad: None)  # in the middle of another held drawing
    assert wire.names() == ["fillRect", "fillRect"] or wire.names()[-2:] == ["fillRect", "fillRect"]
    assert wire.names(-2) == ["switchCanvas", "clear"]


def test_nothing_is_sent_to_a_closed_canvas(wire: Wire) -> None:
    pad = Pad(40, 30)
    client_ready(pad.canvas)
    pad.close()
    pad.canvas.close()
    wire.messages.clear()
    pad.show(lambda pad: pad.picture(np.zeros((4, 4, 3), np.uint8), 0, 0))
    assert wire.messages == []


def test_an_explorer_that_fails_says_so_and_goes_on(
    explorer: DissectionExplorer, monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    client_ready(explorer._columns[0].canvas)
    monkeypatch.setattr(explorer._sheets, "drawn", lambda units: 1 / 0)
    explorer._sort.value = "number"
    assert "ZeroDivisionError" in status(explorer)
    monkeypatch.undo()
    drawn = explorer._columns[0].drawn
    explorer._sort.value = "quality"
    assert captions(explorer)[0].startswith(("0", "4", "1"))
    assert explorer._columns[0].drawn == drawn + 1


def test_what_is_below_the_atlas_follows_when_a_page_shows_that(boxes: Model) -> None:
    Exploration(boxes).measure(samples=40)
    explorer = DissectionExplorer(boxes)
    assert len(explorer._known.children) == 1 and not explorer._editors.open
    client_ready(explorer._columns[0].canvas)
    deadline = time.monotonic() + 60
    while not explorer._editors.open:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(explorer._known.children) == 5 and isinstance(explorer._editor.children[0], GANPaint)
    explorer.close()


# --- the atlas and the bars ---


def test_sorting_searching_and_looking(explorer: DissectionExplorer) -> None:
    assert len(captions(explorer)) == 5
    explorer._concept.value = "ground"
    assert captions(explorer)[0].startswith("1 · ground · IoU 0.")
    explorer._sort.value = "number"
    assert [int(caption.split()[0]) for caption in captions(explorer)] == [0, 1, 2, 3, 4]
    explorer._cells[3].click()
    assert explorer.unit == 3 and "Unit 3" in explorer._named.value
    assert "not interpretable for any concept" in explorer._named.value
    assert "gpx-current" in explorer._cells[3]._dom_classes
    assert "gpx-current" not in explorer._cells[0]._dom_classes
    assert explorer._histogram.value.startswith("<svg") and "ground" in explorer._rows.value
    explorer._together.children[0].click()
    assert explorer.unit != 3

    explorer._search.value = "bo"
    assert explorer._concept.value == "box" and len(explorer._bars.box.children) == 1 + 1
    explorer._search.value = "tree"
    assert "No concept matches" in status(explorer) and "ground, box" in status(explorer)
    explorer._search.value = ""
    assert explorer._concept.value == module.ANY and len(explorer._bars.box.children) == 2 + 1


def test_a_bar_filters(explorer: DissectionExplorer) -> None:
    def bar(concept: str) -> ipywidgets.Button:
        rows = explorer._bars.box.children[:-1]
        return next(row.children[0] for row in rows if row.children[0].description == concept)

    bar("ground").click()
    assert [caption.split()[0] for caption in captions(explorer)] == ["1"]
    assert "1 units labeled ground" in status(explorer)
    bar("ground").click()
    assert len(captions(explorer)) == 5


def test_pages_are_turned(boxes: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("controls", "explorer", "sheets"):
        monkeypatch.setattr(f"ganpaint_widget.widget.explorer.{part}.PAGE", 2)
    Exploration(boxes).measure(samples=40)
    explorer = DissectionExplorer(boxes)
    explorer._sort.value = "number"
    seen = [captions(explorer)]
    assert explorer._back.disabled
    while not explorer._next.disabled:
        explorer._next.click()
        seen.append(captions(explorer))
    assert [int(one.split()[0]) for page in seen for one in page] == [0, 1, 2, 3, 4]
    assert "5–5 of 5" in explorer._where.value
    explorer.close()


def test_sorting_by_effect_measures_it_first(explorer: DissectionExplorer) -> None:
    explorer._concept.value = "box"
    explorer._sort.value = "causal effect"
    settle(explorer)
    assert explorer.exploration.effects is not None
    assert explorer._sort.value == "causal effect"
    assert captions(explorer)[0].startswith("0 · box · effect 1.00")


def test_the_baselines_come_on_request(explorer: DissectionExplorer) -> None:
    assert explorer._baseline.layout.display is None
    assert "rotated" not in explorer._bars.box.children[-1].value
    explorer._baseline.click()
    settle(explorer)
    assert explorer._baseline.layout.display == "none" and "rotated" in explorer._bars.box.children[-1].value


# --- where nothing is known yet ---


def test_it_offers_to_measure_what_is_missing(boxes: Model) -> None:
    explorer = DissectionExplorer(boxes)
    assert explorer._known.layout.display == "none" and explorer._offer.layout.display is None
    assert "has not been dissected yet" in status(explorer)
    explorer._offer.click()
    settle(explorer)
    assert explorer._known.layout.display is None and explorer._offer.layout.display == "none"
    assert explorer.unit is not None and explorer.paint.session.concepts == ("ground", "box")
    explorer.close()


def test_measuring_is_cancelled(boxes: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = DissectionExplorer(boxes)
    inside, on = threading.Event(), threading.Event()

    def slow(self: Exploration, *parts: str, ticket: Any, **_: Any) -> None:
        inside.set()
        assert on.wait(30)
        ticket.checkpoint(0.5)

    monkeypatch.setattr(Exploration, "measure", slow)
    explorer._offer.click()
    assert inside.wait(30) and explorer._jobs.box.layout.display is None
    explorer._offer.click()
    assert "still running" in status(explorer)
    explorer._cancel.click()
    on.set()
    settle(explorer)
    assert "was canceled" in status(explorer) and explorer._jobs.box.layout.display == "none"
    assert explorer._offer.layout.display is None
    explorer.close()


def test_what_fails_in_a_job_is_said(boxes: Model) -> None:
    class Broken(Brightness):
        def segment(self, pictures: Any) -> Any:
            raise GANPaintError("The segmenter is broken.", "Mend it.")

    explorer = DissectionExplorer(Model("boxes", boxes.generator, segmenter=Broken()))
    explorer._offer.click()
    settle(explorer)
    assert "is broken" in status(explorer) and "gpx-wrong" in status(explorer)
    explorer.close()


def test_another_layer(explorer: DissectionExplorer) -> None:
    first = explorer.paint
    explorer._layer.value = "draw"
    settle(explorer)
    assert explorer.exploration.layer == "draw" and "not been dissected" in status(explorer)
    explorer._offer.click()
    settle(explorer)
    assert captions(explorer)[0].startswith("0 · box") and explorer.paint is not first
    explorer._layer.value = "where"
    settle(explorer)
    assert explorer.paint is first and len(captions(explorer)) == 5


# --- switching units, and brushes ---


def picture(explorer: DissectionExplorer) -> np.ndarray:
    return np.asarray(explorer.paint.session.preview)


def test_units_are_switched_in_the_editor(explorer: DissectionExplorer) -> None:
    session = explorer.paint.session
    before = picture(explorer)
    explorer.show_unit(2)
    explorer._mode.value = "off"
    assert np.array_equal(picture(explorer), before)  # a unit that draws nothing
    explorer.show_unit(0)  # what is switched follows
    assert picture(explorer).max() < 80
    (edit,) = session.edits
    assert edit.units == (0,) and edit.verb == "remove" and edit.mask.all()

    explorer._mode.value = "on"
    assert picture(explorer).min() > 200
    explorer._strength.value = 0.5
    assert 100 < picture(explorer).mean() < 200
    explorer._chosen.value = "1 2, 3"
    assert session.edits[-1].units == (1, 2, 3) and explorer.selection == (1, 2, 3)
    explorer._chosen.value = "a"
    assert "not numbers" in status(explorer)
    explorer._chosen.value = "77"
    assert "does not have the units" in status(explorer) and explorer.selection == (1, 2, 3)

    explorer._reset.click()
    assert not session.edits and np.array_equal(picture(explorer), before)
    assert module.SELECTED not in session.concepts


def test_a_region_is_painted_in_the_editor(explorer: DissectionExplorer) -> None:
    session = explorer.paint.session
    explorer.show_unit(0)
    explorer._region.value = module.PAINTED
    assert not session.edits  # nothing is switched yet
    explorer._mode.value = "on"
    assert module.SELECTED in session.concepts and "Paint the region" in explorer._hint.value
    before = picture(explorer)
    # what a stroke of the page does
    (edit,) = session.edits
    stroke = np.full((8, 8), 255, np.uint8)
    session.paint(edit.id, (0, 0, 8, 8), stroke, verb="add", concept=module.SELECTED)
    after = picture(explorer)
    assert after[:8, :8].min() > 200 and np.array_equal(after[8:], before[8:])
    explorer._mode.value = "off"  # in the same region
    assert picture(explorer)[:8, :8].max() < 80
    explorer._region.value = module.EVERYWHERE
    assert picture(explorer).max() < 80


def test_a_brush_of_several_units(explorer: DissectionExplorer) -> None:
    other = GANPaint(session=EditingSession(generator=explorer.exploration.model))
    explorer.show_unit(0)
    explorer._add.click()
    explorer.show_unit(4)
    explorer._add.click()
    assert explorer.selection == (0, 4)
    explorer._brush_name.value = " my box "
    explorer._brush.click()
    settle(explorer)
    assert "It adds box to" in status(explorer)
    assert "my box" in [concept["name"] for concept in other._state["concepts"]]
    choose, drop = explorer._brushes.children
    explorer.select([])
    choose.click()
    assert explorer.selection == (0, 4)
    drop.click()
    assert explorer._brushes.children == () and "my box" not in other.session.concepts

    explorer._brush_name.value = "box"
    explorer._brush.click()
    settle(explorer)
    assert "already exists" in status(explorer)


# --- more ---


def test_curves_artifacts_and_comparison(explorer: DissectionExplorer, wire: Wire) -> None:
    assert explorer._further.curve_concept.value == "ground"  # something is always chosen
    explorer._further.curve_concept.value = "box"
    explorer._further.curve.click()
    settle(explorer)
    assert "Effect of the best units for “box”" in explorer._further.curves.value
    explorer._further.find.click()
    settle(explorer)
    assert len(explorer._further.suspects.children) == 5
    client_ready(explorer._further.pair.canvas)
    drawn = explorer._further.pair.drawn
    explorer._further.suspects.children[0].click()
    settle(explorer)
    assert explorer._further.pair.drawn == drawn + 1
    explorer._further.other.value = "draw"
    explorer._further.compare.click()
    settle(explorer)
    assert "boxes draw" in explorer._further.compared.value and "ground" in explorer._further.compared.value
    explorer._further.other_generator.value = "no such generator"
    explorer._further.compare.click()
    settle(explorer)
    assert "does not exist" in status(explorer)


def test_the_heatmap_follows_the_picture(explorer: DissectionExplorer, wire: Wire) -> None:
    client_ready(explorer._heat.canvas)
    explorer.show_unit(0)
    settle(explorer)
    before = wire.messages[-1][1][0]
    drawn = explorer._heat.drawn
    explorer.paint.session.suppress([0])
    settle(explorer)
    settle(explorer)
    assert explorer._heat.drawn > drawn and wire.messages[-1][1][0] != before


def test_a_stored_notebook_shows_the_page(explorer: DissectionExplorer) -> None:
    bundle = explorer._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data and data["image/jpeg"]


def test_arguments(boxes: Model) -> None:
    with pytest.raises(GANPaintError, match="no argument 'photo'"):
        DissectionExplorer(boxes, photo="x.png")
    with pytest.raises(GANPaintError, match="layer9"):
        DissectionExplorer(boxes, "layer9")
    with pytest.raises(GANPaintError, match="cannot use the device 'abacus'"):
        DissectionExplorer(boxes, device="abacus")
    elsewhere = GANPaint(session=EditingSession(generator=FollowedBoxes().eval()))
    with pytest.raises(GANPaintError, match="not the explorer's"):
        DissectionExplorer(boxes, paint=elsewhere)
    Exploration(boxes).measure(samples=40)
    own = GANPaint(session=EditingSession(generator=Exploration(boxes).model))
    assert DissectionExplorer(boxes, paint=own).paint is own


def test_every_color_that_it_uses_exists() -> None:
    used = set(re.findall(r"var\((--gp-[a-z-]+)", module.STYLE))
    given = set(re.findall(r"(--gp-[a-z-]+):", module.STYLE))
    assert len(used) >= 10 and used <= given


def test_names_shadow_nothing(explorer: DissectionExplorer) -> None:
    base = ipywidgets.VBox()
    functions = {name for name, value in vars(DissectionExplorer).items() if callable(value)}
    meant = {"__init__", "__repr__", "close", "_repr_mimebundle_"}
    assert not (functions - meant) & set(dir(base))
    assert not {name for name in vars(explorer) if name not in vars(base)} & set(dir(base))


# --- what is shown is so, and what is closed is gone ---


def widgets() -> set[str]:
    """The models of all widgets of this process."""
    return set(ipywidgets.widgets.widget._instances)


def busy(explorer: DissectionExplorer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A job that goes on until it is cancelled or the event is set."""
    inside, on = threading.Event(), threading.Event()

    def slow(self: Exploration, *parts: str, ticket: Any) -> None:
        inside.set()
        while not on.wait(0.01):
            ticket.checkpoint(0.5)

    monkeypatch.setattr(Exploration, "measure", slow)
    explorer._baseline.click()
    assert inside.wait(30)
    return on


@pytest.mark.parametrize("shown", [False, True], ids=["before a page shows it", "all of it"])
def test_closing_leaves_nothing(boxes: Model, shown: bool) -> None:
    Exploration(boxes).measure(samples=40)
    before = widgets()
    explorer = DissectionExplorer(boxes)
    if shown:
        client_ready(explorer._columns[0].canvas)
        session = explorer.paint.session
        explorer._search.value = "bo"
        explorer._search.value = ""
        explorer._mode.value = "off"
        explorer._brush_name.value = "mine"
        explorer._brush.click()
        settle(explorer)
        explorer._further.find.click()
        settle(explorer)
        explorer._layer.value = "draw"
        settle(explorer)
        explorer._offer.click()
        settle(explorer)
        client_ready(explorer._columns[0].canvas)
        assert explorer.paint.session is not session
        settle(explorer)
        assert len(widgets() - before) > 100
    explorer.close()
    assert widgets() - before == set()
    explorer.close()  # once more does no harm


def test_closing_leaves_nothing_where_nothing_is_measured_or_making_it_fails(boxes: Model) -> None:
    before = widgets()
    DissectionExplorer(Model("boxes", boxes.generator)).close()
    with pytest.raises(GANPaintError, match="layer9"):
        DissectionExplorer(boxes, "layer9")
    assert widgets() - before == set()


def test_closed_in_the_middle_nothing_comes_after_it(
    boxes: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Exploration(boxes).measure(samples=40)
    before = widgets()
    explorer = DissectionExplorer(boxes)
    busy(explorer, monkeypatch)
    client_ready(explorer._columns[0].canvas)
    explorer._editors.request(explorer.exploration)  # it waits behind the job
    explorer.show_unit(1)
    explorer.close()
    settle(explorer)
    explorer._worker.call(lambda: None)
    assert widgets() - before == set() and not explorer._editors.open
    assert not caplog.records, caplog.text


def test_a_given_editor_stays_as_it_was(boxes: Model) -> None:
    Exploration(boxes).measure(samples=40)
    own = GANPaint(session=EditingSession(generator=Exploration(boxes).model))
    observers, concepts = len(own.session._state.observers._callbacks), own.session.concepts
    explorer = DissectionExplorer(boxes, paint=own)
    explorer._mode.value = "off"
    assert own.session.edits and len(own.session._state.observers._callbacks) == observers + 1
    explorer.close()
    assert own.comm is not None and not own.session.edits
    assert own.session.concepts == concepts and len(own.session._state.observers._callbacks) == observers
    own.close()


def test_a_refused_change_goes_back(explorer: DissectionExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer._sort.value = "quality"
    on = busy(explorer, monkeypatch)
    explorer._layer.value = "draw"
    assert "still running" in status(explorer)
    assert explorer._layer.value == explorer.exploration.layer == "where"
    order = captions(explorer)
    explorer._sort.value = "causal effect"  # would have to be measured first
    assert "still running" in status(explorer)
    assert explorer._sort.value == "quality" and captions(explorer) == order
    on.set()
    settle(explorer)


def test_a_switch_without_its_editor_goes_back(boxes: Model) -> None:
    Exploration(boxes).measure(samples=40)
    explorer = DissectionExplorer(boxes)
    explorer._mode.value = "off"
    assert "not been opened yet" in status(explorer) and explorer._mode.value == "as it is"
    explorer.close()


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_a_layer_that_cannot_be_opened_is_not_shown(
    explorer: DissectionExplorer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def broken(*_: Any) -> Any:
        raise Cancelled if how == "is cancelled" else GANPaintError("It is damaged.", "Take another.")

    monkeypatch.setattr("ganpaint_widget.widget.explorer.explorer.read", broken)
    explorer._layer.value = "draw"
    settle(explorer)
    assert ("damaged" in status(explorer)) == (how == "fails")
    assert explorer._layer.value == explorer.exploration.layer == "where"


def test_a_layer_that_was_left_is_not_listened_to(
    explorer: DissectionExplorer, caplog: pytest.LogCaptureFixture
) -> None:
    session = explorer.paint.session
    explorer._mode.value = "off"
    assert session.edits
    explorer._layer.value = "draw"  # not dissected: it has no editor
    settle(explorer)
    assert explorer.exploration.layer == "draw"
    assert explorer._mode.value == "as it is" and not session.edits
    size = session.size
    session.add("box", np.full((size, size), 255, np.uint8))
    assert session.preview is not None
    settle(explorer)
    assert not caplog.records, caplog.text
    explorer._layer.value = "where"
    settle(explorer)
    assert explorer._mode.value == "as it is"
    assert module.SELECTED not in [edit.concept for edit in session.edits]


def test_what_another_thread_sets_hides_no_change(explorer: DissectionExplorer) -> None:
    inside, on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        inside.set()
        assert on.wait(30)

    explorer._chosen.observe(hold, "value")
    setting = threading.Thread(target=explorer._set, args=(explorer._chosen,), kwargs={"value": "1"})
    setting.start()
    assert inside.wait(30)
    change = threading.Thread(target=lambda: setattr(explorer._sort, "value", "number"))
    change.start()
    time.sleep(0.1)
    on.set()
    setting.join(30)
    change.join(30)
    assert [int(caption.split()[0]) for caption in captions(explorer)] == [0, 1, 2, 3, 4]
    explorer._chosen.unobserve(hold, "value")


# --- tickets ---


def test_an_atlas_is_measured_by_itself_where_units_have_names(boxes: Model) -> None:
    Exploration(boxes).measure("dissection", samples=40)
    explorer = DissectionExplorer(boxes)
    assert explorer._jobs.busy and explorer._jobs.box.layout.display is None
    assert explorer._offer.layout.display == "none"  # that is what is being done
    settle(explorer)
    assert explorer.unit is not None and explorer._known.layout.display is None
    assert f"{explorer.exploration.atlas.samples} samples." in status(explorer)
    explorer.close()


def test_an_atlas_is_shown_as_it_grows_and_stays_when_it_is_stopped(
    boxes: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    Exploration(boxes).measure("dissection", samples=40)
    grown: list[tuple[int, int]] = []
    show = DissectionExplorer._show_atlas

    def look(self: DissectionExplorer, found: Exploration) -> None:
        show(self, found)
        if found.draft is None:
            return
        if not grown:
            self.show_unit(3)  # what the user has chosen meanwhile
        grown.append((found.draft.samples, self.unit))
        if found.draft.samples >= 48:
            self._cancel.click()

    monkeypatch.setattr(DissectionExplorer, "_show_atlas", look)
    explorer = DissectionExplorer(boxes)
    settle(explorer)
    assert grown == [(12, 3), (24, 3), (48, 3)]
    assert explorer._known.layout.display is None and len(captions(explorer)) == 5
    assert "was canceled" in status(explorer) and not explorer._jobs.busy
    found = explorer.exploration
    assert found.atlas is None and found.draft.samples == 48
    assert not (found.folder / "atlas.safetensors").exists()

    assert explorer._offer.layout.display is None and "atlas" in explorer._offer.description
    monkeypatch.undo()
    explorer._offer.click()
    settle(explorer)
    assert found.atlas.samples == 500 and found.draft is None and explorer.unit == 3
    assert explorer._offer.layout.display == "none" and (found.folder / "atlas.safetensors").exists()
    explorer.close()


def test_a_brush_that_is_cancelled_is_not_made(
    explorer: DissectionExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fractions: list[float] = []
    report = explorer._jobs._report

    def cancel_in_the_middle(one: Any) -> None:
        fractions.append(one.fraction)
        report(one)
        if one.fraction > 0.3:
            explorer._cancel.click()

    monkeypatch.setattr(explorer._jobs, "_report", cancel_in_the_middle)
    explorer._brush_name.value = "mine"
    explorer._brush.click()
    settle(explorer)
    assert "was canceled" in status(explorer) and explorer._brushes.children == ()
    assert fractions and fractions == sorted(fractions) and fractions[-1] < 1
    assert "mine" not in explorer.paint.session.concepts


@pytest.mark.parametrize(
    "measure",
    [
        lambda found, ticket: found.measure("baselines", samples=60, ticket=ticket),
        lambda found, ticket: found.measure("effects", ticket=ticket),
        lambda found, ticket: found.curve("box", samples=6, ticket=ticket),
        lambda found, ticket: found.make_brush("mine", [0], ticket=ticket),
        lambda found, ticket: found.before_after(0, ticket=ticket),
        lambda found, ticket: found.artifact_candidates(samples=50, ticket=ticket),
    ],
    ids=["baselines", "effects", "curve", "brush", "before and after", "artifacts"],
)
def test_whatever_takes_long_reports_and_can_be_cancelled(boxes: Model, measure: Any) -> None:
    found = Exploration(boxes).measure(samples=60)
    fractions: list[float] = []
    measure(found, Ticket(observer=lambda report: fractions.append(report.fraction)))
    assert len(fractions) >= 2 and fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    found.baselines = found.effects = None
    ticket = Ticket()
    ticket.cancel()
    with pytest.raises(Cancelled):
        measure(found, ticket)
    assert found.baselines is None and found.effects is None


# --- two explorers, and an editor that changes what the explorer did ---


def test_two_explorers_of_one_layer_switch_units_at_once(explorer: DissectionExplorer) -> None:
    """Each tells the other of its brush while it holds a lock of its own."""
    other = DissectionExplorer(explorer.exploration.model)
    client_ready(other._columns[0].canvas)
    settle(other)
    for one in (explorer, other):
        one.select([1])
    together = threading.Barrier(2)

    def flip(explorer: DissectionExplorer) -> None:
        for turn in range(40):
            together.wait(30)
            explorer._mode.value = "on" if turn % 2 else "off"

    threads = [threading.Thread(target=flip, args=(one,), daemon=True) for one in (explorer, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    other.close()


def test_the_switch_shows_what_the_editor_has_undone(explorer: DissectionExplorer) -> None:
    explorer.select([0])
    explorer._mode.value = "off"
    session = explorer.paint.session
    assert [edit.verb for edit in session.edits] == ["remove"]
    session.undo()
    settle(explorer)
    assert explorer._mode.value == "as it is"
    session.redo()
    settle(explorer)
    assert explorer._mode.value == "off"
