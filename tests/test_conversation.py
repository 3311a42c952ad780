"""Long conversations of two pages with one widget, through the entrance that the kernel's comm uses.

A model of what a session of edits is, a few lines of it, hears the same and has to agree after every message:
on the edits and their masks, on undo, on what was accepted, and on what a reload would show. Faults
that are planted in the widget have to be found.
"""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from PIL import Image

from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.document import History
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.widget import protocol
from ganpaint_widget.widget.paint import GANPaint
from ganpaint_widget.widget.turns import Turns

PAGES = ("page-aaaa", "page-bbbb")
SIZE = 32
EDITS = ("e1", "e2", "e3")

pages = st.sampled_from(PAGES)
edits = st.sampled_from(EDITS)
sides = st.integers(0, SIZE - 1)
strengths = st.integers(0, 16).map(lambda quarters: quarters / 4)
settings_of_an_edit = st.fixed_dictionaries(
    {},
    optional={
        "strength": strengths,
        "units": st.sampled_from([None, "low", "medium", "high"]),
        "target": st.sampled_from(["tuned", "quantile", "mean"]),
    },
).filter(bool)

# Anything that JSON can say, and what comes close to what a field may be.
nonsense = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        [0, -1, 1.0, 2**53, 10**400, "", "x" * 300, "\ud800", "e 1", [], {}, [0, 0, 0, 3], [0, 0, 9]]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


GOOD: list[dict[str, Any]] = [
    {"type": "stroke", "sequence": 1, "stroke": 1, "last": True, "edit": "e1", "verb": "add",
     "concept": "tree", "strength": 1, "rect": [0, 0, 2, 2]},
    {"type": "stroke", "sequence": 1, "stroke": 1, "last": False, "edit": "e1", "verb": "remove",
     "concept": "tree", "strength": 1, "rect": [0, 0, 2, 2], "drawn": 1},
    {"type": "stroke", "sequence": 1, "stroke": 1, "last": False, "edit": "e1", "verb": "restyle",
     "concept": "tree", "strength": 1, "rect": [0, 0, 2, 2],
     "reference": {"key": "s1", "region": [1, 2, 3, 4]}},
    {"type": "command", "sequence": 1, "name": "retune", "arguments": {"edit": "e1", "strength": 2}},
    {"type": "command", "sequence": 1, "name": "toggle", "arguments": {"edit": "e1", "enabled": True}},
    {"type": "command", "sequence": 1, "name": "open", "arguments": {"name": "a.png", "fit": "crop"}},
    {"type": "command", "sequence": 1, "name": "undo", "arguments": {}},
    {"type": "command", "sequence": 1, "name": "scene", "arguments": {"index": 1}},
    {"type": "hello", "version": protocol.VERSION},
    {"type": "ack", "frame": 1},
    {"type": "beat"},
    {"type": "hidden"},
    {"type": "cancel"},
    {"type": "samples", "concept": "tree"},
    {"type": "refer", "name": "a.png"},
    {"type": "variants", "edit": "e1"},
    {"type": "scenes", "first": 0, "count": 2},
]  # fmt: skip
NEAR: dict[str, list[Any]] = {
    "rect": [[0, 0, 2, 2.5], [0, 0, 2, 0], [0, 0, 0, 0], [0, 0], [-1, 0, 2, 2]],
    "reference": [{"key": "s1"}, {"key": "q", "region": None}, {"key": "s1", "region": [1]}],
    "arguments": [[], {}, {"edit": "e1"}, {"edit": "e1", "units": "many"}, {"edit": "e1", "strength": 5}],
    "name": ["close", "undo"],
    "version": [2],
    "type": ["hello", "storke"],
    "verb": ["restyle", "paint"],
    "last": [0],
    "strength": [4.5],
}
LARGEST = 8
"""Bytes of a file, in these tests."""


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [message, *(inner for inner in message.values() if type(inner) is dict)]


def slips_of(good: dict[str, Any]) -> Iterator[tuple[Any, list[Any]]]:
    """A good message with one thing wrong, or one that may be: what stands for the page is filled in."""
    carries = good["type"] in ("stroke", "refer") or good.get("name") == "open"
    right: list[Any] = [bytes(4)] if carries else []
    for number, part in enumerate(parts(good)):
        for key in part:
            without = copy.deepcopy(good)
            del parts(without)[number][key]
            yield without, right
            for value in NEAR.get(key, []):
                near = copy.deepcopy(good)
                parts(near)[number][key] = value
                yield near, right
    for buffers in ([], [b""], [bytes(4)], [bytes(3)], [bytes(4)] * 2, [bytes(LARGEST + 1)], ["text"],
                    [np.zeros(2, "u2")]):  # fmt: skip
        yield good, buffers


SLIPS = [slip for good in GOOD for slip in slips_of(good | {"page": PAGES[0]})]


@st.composite
def odd(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    """One of them with anything in one place."""
    message, buffers = copy.deepcopy(draw(st.sampled_from(SLIPS)))
    part = draw(st.sampled_from(parts(message)))
    part[draw(st.sampled_from([*part, "more"]))] = draw(nonsense)
    return message, buffers


def refusal_of(message: Any, buffers: Any) -> protocol.ProtocolError | None:
    try:
        protocol.parse(message, buffers)
    except protocol.ProtocolError as refusal:
        return refusal
    return None


class Line:
    """Stands where the kernel's comm would be, and remembers what the widget says."""

    kernel = "a kernel"
    comm_id = "comm"

    def __init__(self, **opened: Any) -> None:
        self.messages: list[dict[str, Any]] = []

    def on_msg(self, callback: Callable[..., None]) -> None:
        pass

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        json.dumps(data, allow_nan=False)  # as strict as a page
        if data["method"] == "custom":
            self.messages.append(data["content"])

    def close(self, *args: Any, **kwargs: Any) -> None:
        pass


class Conversation(RuleBasedStateMachine):
    """What the pages say, and what has to become of it."""

    session: Callable[[], EditingSession]

    @initialize()
    def open(self) -> None:
        self.widget = GANPaint(session=type(self).session())
        self.line: Line = self.widget.comm
        self.kept = {
            name: getattr(self.widget, name) for name in ("_esm", "_css", "_photo", "_reconstruction")
        }
        self.sent = dict.fromkeys(PAGES, 0)
        self.strokes = 0
        self.edits: list[tuple[dict[str, Any], Any]] = []
        self.past: list[Any] = []
        self.future: list[Any] = []
        for page in PAGES:
            self.say({"type": "hello", "version": protocol.VERSION, "page": page})

    def teardown(self) -> None:
        if hasattr(self, "widget"):
            self.widget.close()

    # --- saying something ---

    def say(self, content: Any, *buffers: bytes) -> None:
        message = {"data": {"method": "custom", "content": content}}
        self.widget._handle_msg({"content": message, "buffers": list(buffers)})

    def numbered(self, page: str, content: dict[str, Any], *buffers: bytes) -> dict[str, Any]:
        self.sent[page] += 1
        message = {"page": page, "sequence": self.sent[page]} | content
        self.say(message, *buffers)
        return message

    def command(self, page: str, name: str, /, **arguments: Any) -> None:
        self.numbered(page, {"type": "command", "name": name, "arguments": arguments})

    def refused(self) -> bool:
        """Was the newest answer of the widget a refusal? A picture that comes behind it is not an answer."""
        answers = (one["type"] for one in reversed(self.line.messages) if one["type"] != "frame")
        return next(answers, None) == "error"

    # --- the model ---

    def place(self, edit: str) -> int | None:
        return next((place for place, (told, _) in enumerate(self.edits) if told["id"] == edit), None)

    def step(self, edits: list[Any]) -> None:
        self.past.append(self.edits)
        self.future.clear()
        self.edits = edits

    def change(self, edit: str, **changes: Any) -> None:
        place = self.place(edit)
        if place is None:
            assert self.refused()
            return
        told, mask = self.edits[place]
        if changes.get("target", "tuned") != "tuned" and told["verb"] != "add":
            assert self.refused()  # a level is aimed at by what is added
            return
        if told | changes != told:
            self.step([*self.edits[:place], (told | changes, mask), *self.edits[place + 1 :]])

    # --- what pages say that is right ---

    def stroke(self, page: str, edit: str, corner: tuple[int, int], value: int, **how: Any) -> dict[str, Any]:
        x, y = corner
        width, height = min(5, SIZE - x), min(3, SIZE - y)
        content = {
            "type": "stroke",
            "edit": edit,
            "concept": "tree",
            "strength": 1,
            "rect": [x, y, width, height],
        }
        return self.numbered(page, content | how, bytes([value]) * (width * height))

    @rule(
        page=pages, edit=edits, verb=st.sampled_from(["add", "remove"]),
        pieces=st.lists(st.tuples(st.tuples(sides, sides), st.integers(0, 255)), min_size=1, max_size=3),
        concept=st.sampled_from(["tree", "dome"]), strength=strengths, ends=st.booleans(),
    )  # fmt: skip
    def paint(
        self, page: str, edit: str, verb: str, pieces: Any, concept: str, strength: float, ends: bool
    ) -> None:
        self.strokes += 1
        how = {"stroke": self.strokes, "verb": verb, "concept": concept, "strength": strength}
        for number, (corner, value) in enumerate(pieces):
            last = ends and number == len(pieces) - 1
            message = self.stroke(page, edit, corner, value, last=last, **how)
            place = self.place(edit)
            if place is None:
                fresh = {"id": edit, "verb": verb, "concept": concept, "strength": strength, "enabled": True}
                before = (fresh | {"units": None, "target": "tuned"}, np.zeros((SIZE, SIZE), np.uint8))
                place, rest = len(self.edits), self.edits
            else:
                before, rest = self.edits[place], self.edits
            mask = before[1].copy()
            x, y, width, height = message["rect"]
            mask[y : y + height, x : x + width] = value
            painted = [*rest[:place], (before[0], mask), *rest[place + 1 :]]
            if number == 0:
                self.step(painted)
            else:
                self.edits = painted

    @rule(page=pages, name=st.sampled_from(["undo", "redo"]), times=st.integers(1, 4))
    def travel(self, page: str, name: str, times: int) -> None:
        source, target = (self.past, self.future) if name == "undo" else (self.future, self.past)
        for _ in range(times):
            self.command(page, name)
            if source:
                target.append(self.edits)
                self.edits = source.pop()

    @rule(page=pages, edit=edits, changes=settings_of_an_edit)
    def update(self, page: str, edit: str, changes: dict[str, Any]) -> None:
        self.command(page, "retune", edit=edit, **changes)
        self.change(edit, **changes)

    @rule(page=pages, edit=edits, enabled=st.booleans())
    def toggle(self, page: str, edit: str, enabled: bool) -> None:
        self.command(page, "toggle", edit=edit, enabled=enabled)
        self.change(edit, enabled=enabled)

    @rule(page=pages, edit=edits)
    def delete(self, page: str, edit: str) -> None:
        self.command(page, "delete", edit=edit)
        if self.place(edit) is None:
            assert self.refused()
        else:
            self.step([each for each in self.edits if each[0]["id"] != edit])

    @rule(page=pages, edit=edits, index=st.integers(0, 3))
    def move(self, page: str, edit: str, index: int) -> None:
        self.command(page, "move", edit=edit, index=index)
        place = self.place(edit)
        if place is None or index >= len(self.edits):
            assert self.refused()
        elif index != place:
            others = [each for each in self.edits if each[0]["id"] != edit]
            self.step([*others[:index], self.edits[place], *others[index:]])

    @rule(
        page=pages,
        kind=st.sampled_from(["hello", "beat", "hidden", "cancel", "ack"]),
        frame=st.integers(1, 2**53 - 1),
    )
    def chat(self, page: str, kind: str, frame: int) -> None:
        more = {"ack": {"frame": frame}, "hello": {"version": protocol.VERSION}}.get(kind, {})
        self.say({"type": kind, "page": page} | more)

    # --- what is late, lost or wrong: it changes nothing ---

    @rule(page=pages, back=st.integers(0, 5))
    def again(self, page: str, back: int) -> None:
        if self.sent[page] > back:
            sequence = self.sent[page] - back
            self.say({"type": "command", "page": page, "sequence": sequence, "name": "undo", "arguments": {}})

    @rule(page=pages, ahead=st.integers(2, 9))
    def too_early(self, page: str, ahead: int) -> None:
        sequence = self.sent[page] + ahead
        self.say({"type": "command", "page": page, "sequence": sequence, "name": "undo", "arguments": {}})
        assert self.line.messages[-1]["type"] == "welcome"

    @rule(
        page=pages,
        part=st.integers(0, 3),  # a quarter of them: so a few of these say them all
        more=st.lists(odd(), max_size=8),
    )
    def slip(self, page: str, part: int, more: list[Any]) -> None:
        for message, buffers in SLIPS[part::4] + more:
            told = {key: page if key == "page" else value for key, value in message.items()}
            if type(told.get("sequence")) is int and told["sequence"] == 1:
                told["sequence"] = self.sent[page] + 1
            if (refusal := refusal_of(told, buffers)) is None:
                continue  # What is right after all is said by the other rules.
            self.say(told, *buffers)
            assert self.refused() or refusal.sequence is not None  # late or early
            if refusal.page == page and refusal.sequence == self.sent[page] + 1:
                self.sent[page] += 1
                assert self.refused()

    @rule(
        content=nonsense,
        method=st.sampled_from(["custom", "update", "x"]),
        buffers=st.lists(st.binary(), max_size=2),
    )
    def babble(self, content: Any, method: str, buffers: list[bytes]) -> None:
        data = {"method": method, "content": content, "state": content, "buffer_paths": []}
        self.widget._handle_msg({"content": {"data": data}, "buffers": buffers})
        assert self.refused()

    @rule(name=st.sampled_from(["_esm", "_css", "_photo", "_state", "_masks", "comm", "_view_name"]),
          value=nonsense)  # fmt: skip
    def write_state(self, name: str, value: Any) -> None:
        before = {key: getattr(self.widget, key) for key in self.widget.keys if key != "_state"}
        data = {"method": "update", "state": {name: value}, "buffer_paths": []}
        self.widget._handle_msg({"content": {"data": data}, "buffers": []})
        assert self.refused()
        assert before == {key: getattr(self.widget, key) for key in before}

    # --- after each ---

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "widget"):
            return
        session = self.widget.session
        assert [edit.id for edit in session.edits] == [told["id"] for told, _ in self.edits]
        for edit, (told, mask) in zip(session.edits, self.edits, strict=True):
            assert {name: getattr(edit, name) for name in told} == told
            assert np.array_equal(edit.mask, mask)
        assert (session.can_undo, session.can_redo) == (bool(self.past), bool(self.future))
        accepted = self.widget.stats()["accepted"]
        assert {page: accepted[page] for page in PAGES} == self.sent
        for name, value in self.kept.items():
            assert getattr(self.widget, name) == value

    @rule()
    def a_reload_shows_it(self) -> None:
        self.widget._rest()
        state = self.widget._state
        for told, (shown, mask) in zip(state["edits"], self.edits, strict=True):
            assert {name: told[name] for name in shown} == shown
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(self.widget._masks[told["id"]]))), mask)
        assert state["covers"] == self.sent


@pytest.fixture
def conversation(model: Any, monkeypatch: pytest.MonkeyPatch) -> type[Conversation]:
    monkeypatch.setattr("comm.create_comm", Line)
    monkeypatch.setattr(protocol, "LARGEST_FILE", LARGEST)
    monkeypatch.setenv("GANPAINT_JOURNAL", "off")  # it has tests of its own
    # Nothing is rendered: the worker is never at work.
    session = staticmethod(lambda: EditingSession(generator=model, worker=Worker(start=False)))
    return type("Conversation", (Conversation,), {"session": session})


LIMITS = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_pages_and_kernel_agree_whatever_is_said(conversation: type[Conversation]) -> None:
    """And on the way, every line of the validators has been taken: in them, each branch is a line."""
    checking = validators()
    taken: set[tuple[str, int]] = set()

    def enter(frame: FrameType, *_: object) -> Callable[..., Any] | None:
        return note if frame.f_code in checking else None

    def note(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "line":
            taken.add((frame.f_code.co_name, frame.f_lineno))
        return note

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        run_state_machine_as_test(conversation, settings=LIMITS)
    finally:
        sys.settrace(before)
    lines = {(code.co_name, line) for code in checking for line in lines_of(code)}
    assert len(lines) > 100 and sorted(lines - taken) == []


def validators() -> set[CodeType]:
    """All that `parse` can come to: what reads a message, not what builds one."""
    builders = {
        name for name, value in vars(protocol).items()
        if getattr(value, "__module__", "") == protocol.__name__ and callable(value)
        and str(getattr(value, "__annotations__", {}).get("return")) == "Outgoing"
    } | {"_finite"}  # fmt: skip
    found: set[CodeType] = set()
    for name, value in vars(protocol).items():
        if isinstance(value, FunctionType) and value.__module__ == protocol.__name__ and name not in builders:
            code = value.__code__
            # What makes a rule has run before any message came; the rule itself is inside.
            found |= {
                one
                for one in code.co_consts
                if isinstance(one, CodeType) and one.co_name in ("rule", "build")
            } or {code}
    return found


def lines_of(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}


def _takes_everything(self: GANPaint, sync_data: Any) -> None:
    for name, value in sync_data.items():
        if name in self.keys:
            self._trait_values[name] = value


def _forgets_redo(self: History, edits: Any, operation: Any, *, new_step: bool = True) -> None:
    redo = list(self._redo)
    commit(self, edits, operation, new_step=new_step)
    self._redo[:] = redo


def _each_piece_a_step(self: History, edits: Any, operation: Any, *, new_step: bool = True) -> None:
    commit(self, edits, operation, new_step=True)


def _counts_nothing(self: Turns, name: str, sequence: int, turn: Any) -> None:
    self._page(name).received = sequence - 1
    take(self, name, sequence, turn)


def _beside(self: GANPaint, stroke: protocol.Stroke) -> None:
    x, y, width, height = stroke.rect
    object.__setattr__(stroke, "rect", (max(x - 1, 0), y, width, height))
    paint(self, stroke)


commit, take, paint = History._commit, Turns.take, GANPaint._paint


@pytest.mark.parametrize(
    ("where", "name", "fault"),
    [
        (GANPaint, "set_state", _takes_everything),
        (Turns, "take", _counts_nothing),
        (GANPaint, "_paint", _beside),
        (History, "_commit", _forgets_redo),
        (History, "_commit", _each_piece_a_step),
        (protocol, "_checked", lambda values, rules, where, optional: dict(values)),
    ],
    ids=["page-writes-state", "said-twice-done-twice", "painted-beside", "redo-kept", "pieces-are-steps",
         "fields-unchecked"],
)  # fmt: skip
def test_planted_faults_are_found(
    conversation: type[Conversation], monkeypatch: pytest.MonkeyPatch, where: Any, name: str, fault: Any
) -> None:
    monkeypatch.setattr(where, name, fault)
    quick = settings(LIMITS, phases=[Phase.generate], max_examples=100, report_multiple_bugs=False)
    with pytest.raises((AssertionError, KeyError, TypeError)):
        run_state_machine_as_test(conversation, settings=quick)
