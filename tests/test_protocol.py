"""The protocol: the examples that both sides read, the edges of every field, and a fuzzer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.widget import protocol
from ganpaint_widget.widget.protocol import Ack, Cancel, Command, Hello, ProtocolError, Stroke, parse

FIXTURES = Path(__file__).parent / "fixtures" / "protocol.json"
PAGE = "page-0001"


def fixtures(direction: str) -> list[Any]:
    examples = json.loads(FIXTURES.read_text(encoding="utf-8"))
    # What a page must refuse is the page's own business: its tests read those.
    ours = [e for e in examples if e["direction"] == direction and (e["valid"] or direction == "page")]
    return [pytest.param(e, id=e["name"]) for e in ours]


def buffers_of(example: dict[str, Any]) -> list[bytes]:
    length = example.get("buffer")
    return [] if length is None else [bytes(length)]


@pytest.mark.parametrize("example", fixtures("page"))
def test_what_a_page_sends_is_judged_as_the_shared_examples_say(example: dict[str, Any]) -> None:
    message, buffers = example["message"], buffers_of(example)
    if example["valid"]:
        assert type(parse(message, buffers)).__name__.lower() == message["type"]
    else:
        with pytest.raises(ProtocolError) as refusal:
            parse(message, buffers)
        assert refusal.value.message.endswith(".") and refusal.value.hint.endswith(".")


@pytest.mark.parametrize("example", fixtures("kernel"))
def test_what_the_kernel_sends_looks_like_the_shared_examples(example: dict[str, Any]) -> None:
    message, buffers = example["message"], buffers_of(example)
    ours = {"decibel": "psnr", "what": "message", "mend": "hint"}  # where the messages keep an earlier name
    fields = {ours.get(key, key): one for key, one in message.items() if key not in ("type", "version")}
    if message["type"] == "frame":
        fields["encoded"] = buffers[0]
    if message["type"] == "file":
        fields["data"] = buffers[0]
    if message["type"] in ("references", "variants", "scenes"):
        fields["sheet"] = buffers[0]
    assert getattr(protocol, message["type"])(**fields) == (message, buffers)


# --- one good message of each type, and what becomes of it when a single thing is wrong -----------


def stroke(**changes: Any) -> dict[str, Any]:
    return {
        "type": "stroke",
        "page": PAGE,
        "sequence": 1,
        "stroke": 1,
        "last": False,
        "edit": "e1",
        "verb": "add",
        "concept": "tree",
        "strength": 1,
        "rect": [3, 4, 2, 3],
    } | changes


def command(name: str, arguments: Any = None, **changes: Any) -> dict[str, Any]:
    return {
        "type": "command",
        "page": PAGE,
        "sequence": 7,
        "name": name,
        "arguments": arguments or {},
    } | changes


def test_good_messages_become_dataclasses() -> None:
    assert parse({"type": "hello", "version": 1, "page": PAGE}, []) == Hello(page=PAGE, version=1)
    assert parse({"type": "ack", "page": PAGE, "frame": 3}, []) == Ack(PAGE, 3)
    assert parse({"type": "cancel", "page": PAGE}, None) == Cancel(PAGE)
    assert parse(command("retune", {"edit": "e1", "strength": 2}), []) == Command(
        PAGE, 7, "retune", {"edit": "e1", "strength": 2.0}
    )
    assert parse(command("open", {"name": "church.jpg", "fit": "crop"}), [memoryview(b"abc")]) == Command(
        PAGE, 7, "open", {"name": "church.jpg", "fit": "crop"}, b"abc"
    )
    assert parse(stroke(), [memoryview(b"\0\1\2\3\4\5")]) == Stroke(
        page=PAGE,
        sequence=1,
        stroke=1,
        last=False,
        edit="e1",
        verb="add",
        concept="tree",
        strength=1.0,
        rect=(3, 4, 2, 3),
        values=b"\0\1\2\3\4\5",
    )


@pytest.mark.parametrize("buffers", [[], [b""], None])
def test_the_last_message_of_a_stroke_may_be_empty(buffers: Any) -> None:
    message = parse(stroke(last=True, rect=[0, 0, 0, 0]), buffers)
    assert isinstance(message, Stroke) and message.values == b""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page", "short"),
        ("page", "x" * 65),
        ("page", "page 0001"),
        ("page", PAGE + "\n"),
        ("page", None),
        ("sequence", 0),
        ("sequence", True),
        ("sequence", 1.0),
        ("sequence", "1"),
        ("sequence", 2**53),
        ("stroke", 0),
        ("last", 1),
        ("last", None),
        ("edit", ""),
        ("edit", "e" * 33),
        ("edit", "e/1"),
        ("verb", "restyle"),
        ("verb", ["add"]),
        ("concept", ""),
        ("concept", "tree\n"),
        ("concept", "\ud800"),
        ("concept", "t" * 65),
        ("strength", -0.1),
        ("strength", 4.1),
        ("strength", True),
        ("strength", "1"),
        ("strength", math.nan),
        ("strength", math.inf),
        ("strength", 10**400),
        ("rect", [0, 0, 2]),
        ("rect", [0, 0, 2, 3, 0]),
        ("rect", [0, 0, 2, 3.0]),
        ("rect", [-1, 0, 2, 3]),
        ("rect", [0, 0, 0, 3]),
        ("rect", [0, 0, 4097, 1]),
        ("rect", {"x": 0}),
        ("rect", [0, 0, 0, 0]),
        ("extra", 1),
        ("type", "storke"),
        ("type", ["stroke"]),
        ("type", None),
    ],
)
def test_one_wrong_field_is_refused_and_named(field: str, value: Any) -> None:
    buffers = [] if value == [0, 0, 0, 0] else [bytes(6)]
    with pytest.raises(ProtocolError) as refusal:
        parse(stroke(**{field: value}), buffers)
    assert field in str(refusal.value) or field == "rect"
    assert str(refusal.value).isascii()
    if field not in ("page", "sequence", "type"):
        assert (refusal.value.page, refusal.value.sequence) == (PAGE, 1)


@pytest.mark.parametrize("missing", [key for key in stroke() if key != "type"])
def test_a_missing_field_is_refused(missing: str) -> None:
    message = stroke()
    del message[missing]
    with pytest.raises(ProtocolError, match=f"{missing} of the stroke message is missing"):
        parse(message, [bytes(6)])


@pytest.mark.parametrize(
    ("message", "buffers"),
    [
        (stroke(), []),
        (stroke(), [bytes(5)]),
        (stroke(), [bytes(7)]),
        (stroke(), [bytes(6), bytes(6)]),
        (stroke(), ["123456"]),
        ({"type": "hello", "version": 1, "page": PAGE}, [b""]),
        ({"type": "hello", "version": 2, "page": PAGE}, []),
        ({"type": "ack", "page": PAGE, "frame": 0}, []),
        ({"type": "ack", "page": PAGE, "frame": 1}, [b"1"]),
        ({"type": "cancel", "page": PAGE, "sequence": 1}, []),
        (command("undo", {"edit": "e1"}), []),
        (command("undo"), [b"1"]),
        (command("undo") | {"arguments": []}, []),
        (command("undo") | {"arguments": None}, []),
        (command("toggle", {"edit": "e1", "enabled": 1}), []),
        (command("retune", {"strength": 1}), []),
        (command("close"), []),
        (command("open", {"name": "church.jpg", "fit": "crop"}), []),
        (command("open", {"name": "church.jpg", "fit": "crop"}), [b""]),
        (command("open", {"name": "", "fit": "crop"}), [b"1"]),
        (command("__init__"), []),
    ],
)
def test_wrong_buffers_and_arguments_are_refused(message: Any, buffers: Any) -> None:
    with pytest.raises(ProtocolError):
        parse(message, buffers)


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LARGEST_FILE", 4)
    parse(command("open", {"name": "a.png", "fit": "crop"}), [bytes(4)])
    with pytest.raises(ProtocolError, match="4 is the most"):
        parse(command("open", {"name": "a.png", "fit": "crop"}), [bytes(5)])


def test_a_refusal_is_an_error_for_people() -> None:
    with pytest.raises(GANPaintError) as refusal:
        parse(7, [])
    assert str(refusal.value) == f"{refusal.value.message} {refusal.value.hint}"
    assert refusal.value.page is None and refusal.value.sequence is None  # type: ignore[attr-defined]


def test_numbers_that_json_does_not_know_become_null() -> None:
    content, _ = protocol.progress("blend", math.nan, math.inf, None)
    assert json.loads(json.dumps(content, allow_nan=False)) == {
        "type": "progress",
        "job": "blend",
        "fraction": 0,
        "seconds_left": None,
        "decibel": None,
    }


# --- the fuzzer: whatever JSON can say, and near misses of good messages --------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(), max_size=12)
    | st.sampled_from(
        ["stroke", "command", "hello", "ack", "cancel", PAGE, "add", "tree", "undo", "\ud800", 10**400]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
)
keys = st.sampled_from([*stroke(), "version", "frame", "name", "arguments", "__class__"])
near_misses = st.builds(
    lambda good, changes, missing: {k: v for k, v in (good | changes).items() if k not in missing},
    st.sampled_from(
        [
            stroke(),
            command("retune", {"edit": "e1", "strength": 1}),
            command("open", {"name": "a.png", "fit": "crop"}),
            {"type": "hello", "version": 1, "page": PAGE},
            {"type": "ack", "page": PAGE, "frame": 1},
        ]
    ),
    st.dictionaries(keys, anything, max_size=2),
    st.sets(keys, max_size=1),
)
some_buffers = st.lists(st.binary(max_size=8) | st.just(bytes(6)), max_size=2)


@given(content=anything | near_misses, buffers=some_buffers)
def test_nothing_that_json_can_say_gets_past_or_breaks_the_validator(content: Any, buffers: Any) -> None:
    message, refusal = None, None
    try:
        message = parse(content, buffers)
    except ProtocolError as error:
        refusal = error
    if refusal is not None:
        # It can be sent back: plain text, short.
        assert refusal.message.isascii() and len(refusal.message) < 400
        reply, _ = protocol.error(refusal.page, refusal.sequence, refusal.message, refusal.hint)
        json.dumps(reply, allow_nan=False)
    if message is not None:
        assert message.page == content["page"] and type(message).__name__.lower() == content["type"]
        if isinstance(message, Stroke):
            assert len(message.values) == message.rect[2] * message.rect[3]
            assert 0 <= message.strength <= 4
            message.concept.encode("utf-8")
