"""The messages between the page and the kernel: docs/protocol.md as code.

`parse` turns a page's message into a frozen dataclass, or raises `ProtocolError`. Later code only checks a
message against the session: whether the concept is known, or the rectangle lies in the picture. The functions
below `parse` build the kernel's messages.

A page can send any JSON and any binary buffers, like any web page. Therefore, everything is checked. A
boolean does not pass as an integer or NaN as a number, extra fields are refused, and everything has a largest
size. Messages quote a page's text only as short, plain ASCII.

`validation.py` defines the valid values, for pages and all other callers. This file defines their JSON. It
needs neither ipywidgets nor torch. The tests of both sides read the examples in tests/fixtures/protocol.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import GANPaintError
from ..method.edits import MAX_STRENGTH, MAX_VARIANT, TARGETS
from ..models.catalogue import UNITS
from ..validation import checked_id, checked_name, checked_strength, checked_target, checked_units

VERSION = 1
"""The version of the protocol that this kernel speaks."""

LARGEST_SIDE = 4096
"""Largest side of a stroke's rectangle, in picture pixels."""

LARGEST_FILE = 64 * 1024 * 1024
"""Largest file that `open` takes, in bytes (64 MB as in the session)."""

LARGEST_SHEET = 48
"""The largest number of scenes that a page may request at once."""

LARGEST_COUNT = 2**53 - 1
"""Largest integer that JavaScript counts without a gap (Number.MAX_SAFE_INTEGER)."""

Buffer = bytes | bytearray | memoryview
Outgoing = tuple[dict[str, Any], list[bytes]]
"""A message of the kernel: the JSON object and its buffers (none or one)."""


class ProtocolError(GANPaintError):
    """A message that breaks the protocol.

    `page` and `sequence` are the message's, if they could be read, so that the refusal can be addressed and
    counted. A refused message counts as accepted: it changed nothing and must not be sent again.
    """

    def __init__(
        self, message: str, hint: str, *, page: str | None = None, sequence: int | None = None
    ) -> None:
        super().__init__(message, hint)
        self.page = page
        self.sequence = sequence


# --- messages of a page ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """Any message of a page, with the page's name."""

    page: str


@dataclass(frozen=True)
class Hello(Said):
    """A page has started or come back. Its credit starts anew, and it asks for the kernel's count."""

    version: int


@dataclass(frozen=True)
class Referring:
    """The reference of a restyle.

    It has a key from the kernel, and the rectangle that counts. None stands for the pixels that show the
    concept.
    """

    key: str
    region: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Stroke(Said):
    """A piece of a stroke: the edit's absolute mask values (0 to 255) in a rectangle, row by row.

    drawn: the newest frame that the page has drawn, as in `Ack`, or None.
    """

    sequence: int
    stroke: int
    last: bool
    edit: str
    verb: Literal["add", "remove", "restyle"]
    concept: str
    strength: float
    rect: tuple[int, int, int, int]
    values: bytes
    reference: Referring | None = None
    drawn: int | None = None


@dataclass(frozen=True)
class Command(Said):
    """One verb of the session by name, its arguments checked. file: the file's bytes for `open`."""

    sequence: int
    name: str
    arguments: Mapping[str, Any]
    file: bytes | None = None


@dataclass(frozen=True)
class Ack(Said):
    """The page has drawn this frame and all before it."""

    frame: int


@dataclass(frozen=True)
class Cancel(Said):
    """Stop the running blend and keep its best result. It has no sequence, so that nothing can delay it."""


@dataclass(frozen=True)
class Beat(Said):
    """Ask whether the kernel is alive."""


@dataclass(frozen=True)
class Hidden(Said):
    """The page is out of sight, and needs no frames until it says hello again."""


@dataclass(frozen=True)
class Samples(Said):
    """Ask for references to restyle a concept."""

    concept: str


@dataclass(frozen=True)
class Refer(Said):
    """Pass one of the user's own pictures as a reference. file: its bytes."""

    name: str
    file: bytes


@dataclass(frozen=True)
class Variants(Said):
    """Ask for pictures of the other versions of an edit."""

    edit: str


@dataclass(frozen=True)
class Scenes(Said):
    """Ask for pictures of `count` scenes of the gallery, from `first` on."""

    first: int
    count: int


Question = Samples | Refer | Variants | Scenes
"""Messages that change nothing and are answered when there is time."""

Message = Hello | Stroke | Command | Ack | Cancel | Beat | Hidden | Question


# --- the rules of single fields: each returns the value or raises _Wrong("must be ...") -----------


class _Wrong(Exception):
    """The reason for refusing a value, as the end of a sentence that begins with the field's name."""


Rule = Callable[[Any], Any]


def _integer(low: int, high: int = LARGEST_COUNT) -> Rule:
    def rule(value: Any) -> int:
        # bool is a subclass of int, but `true` is not a count.
        if type(value) is not int or not low <= value <= high:
            raise _Wrong(f"must be a whole number from {low} to {high}")
        return value

    return rule


def _text(pattern: str, description: str) -> Rule:
    compiled = re.compile(pattern)

    def rule(value: Any) -> str:
        if type(value) is not str or not compiled.fullmatch(value):
            raise _Wrong(f"must be {description}")
        return value

    return rule


def _choice(*known: str) -> Rule:
    def rule(value: Any) -> str:
        if type(value) is not str or value not in known:
            raise _Wrong(f"must be one of {', '.join(known)}")
        return value

    return rule


def _as(check: Callable[[Any], Any], description: str) -> Rule:
    """Return a check of `validation.py` as a rule, with a rule's message."""

    def rule(value: Any) -> Any:
        try:
            return check(value)
        except GANPaintError:
            raise _Wrong(f"must be {description}") from None

    return rule


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _Wrong("must be true or false")
    return value


def _rectangle(value: Any) -> tuple[int, int, int, int]:
    side = _integer(0, LARGEST_SIDE)
    if type(value) is not list or len(value) != 4:
        raise _Wrong("must be a list [x, y, width, height]")
    try:
        x, y, width, height = (side(item) for item in value)
    except _Wrong:
        raise _Wrong(f"must hold four whole numbers from 0 to {LARGEST_SIDE}") from None
    if (width == 0) != (height == 0):
        raise _Wrong("must be empty in both directions or in none")
    return x, y, width, height


def _either(*rules: Rule) -> Rule:
    """Return a rule that accepts what one of the rules accepts; the last one's message is used."""

    def rule(value: Any) -> Any:
        for each in rules[:-1]:
            try:
                return each(value)
            except _Wrong:
                pass
        return rules[-1](value)

    return rule


def _null(value: Any) -> None:
    if value is not None:
        raise _Wrong("must be null")


def _referring(value: Any) -> Referring:
    if type(value) is not dict or value.keys() != {"key", "region"}:
        raise _Wrong("must be an object with a key and a region")
    return Referring(_KEY(value["key"]), _either(_null, _rectangle)(value["region"]))


_ID = "A-Z a-z 0-9 -"
_PAGE = _text(r"[A-Za-z0-9-]{8,64}", f"8 to 64 characters of {_ID}")
_EDIT = _as(checked_id, f"1 to 32 characters of {_ID}")
# JSON can express lone surrogates, but UTF-8 cannot. One of them would break the journal and every message
# that quotes it. Names do not contain control characters either.
_VISIBLE = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_KEY = _text(r"s\d{1,10}|p[0-9a-f]{40}", "the key of a reference")
_CONCEPT = _as(checked_name, "1 to 64 visible characters")
_FILE_NAME = _text(_VISIBLE + r"{1,255}", "1 to 255 visible characters")
_STRENGTH = _as(checked_strength, f"a number from 0 to {MAX_STRENGTH:g}")
_SEQUENCE = _integer(1)

COMMANDS: Mapping[str, Mapping[str, Rule]] = {
    "undo": {},
    "redo": {},
    "retune": {"edit": _EDIT},
    "toggle": {"edit": _EDIT, "enabled": _flag},
    "delete": {"edit": _EDIT},
    "move": {"edit": _EDIT, "index": _integer(0)},
    "scene": {},
    "open": {"name": _FILE_NAME, "fit": _choice("crop", "pad")},
    "blend": {},
    "discover": {},
    "faithful": {"on": _flag},
    "save": {"what": _choice("picture", "project"), "where": _choice("page", "kernel")},
}
"""Each command's arguments and their rules."""

SETTINGS: Mapping[str, Rule] = {
    "strength": _STRENGTH,
    # No numbers of units, since a page does not know the units.
    "units": _as(lambda value: checked_units(value, 0), f"null or one of {', '.join(UNITS)}"),
    "target": _as(checked_target, f"one of {', '.join(TARGETS)}"),
    "variant": _integer(0, MAX_VARIANT),
    "reference": _referring,
}
"""The settings of `retune`, which changes at least one of them."""


OPTIONS: Mapping[str, Mapping[str, Rule]] = {"retune": SETTINGS, "scene": {"index": _integer(0)}}
"""Optional arguments."""


def _arguments(value: Any) -> dict[str, Any]:
    # The arguments depend on the command's name, so `_command` checks them.
    if type(value) is not dict:
        raise _Wrong("must be an object")
    return value


FIELDS: Mapping[str, Mapping[str, Rule]] = {
    # Any version is valid here, so that a wrong one gets an error message of its own.
    "hello": {"page": _PAGE, "version": _integer(0)},
    "stroke": {
        "page": _PAGE,
        "sequence": _SEQUENCE,
        "stroke": _integer(1),
        "last": _flag,
        "edit": _EDIT,
        "verb": _choice("add", "remove", "restyle"),
        "concept": _CONCEPT,
        "strength": _STRENGTH,
        "rect": _rectangle,
    },
    "command": {"page": _PAGE, "sequence": _SEQUENCE, "name": _choice(*COMMANDS), "arguments": _arguments},
    "ack": {"page": _PAGE, "frame": _integer(1)},
    "cancel": {"page": _PAGE},
    "beat": {"page": _PAGE},
    "hidden": {"page": _PAGE},
    "samples": {"page": _PAGE, "concept": _CONCEPT},
    "refer": {"page": _PAGE, "name": _FILE_NAME},
    "variants": {"page": _PAGE, "edit": _EDIT},
    "scenes": {"page": _PAGE, "first": _integer(0), "count": _integer(1, LARGEST_SHEET)},
}
"""The required fields of each type of message, with their rules."""

OPTIONAL: Mapping[str, Mapping[str, Rule]] = {"stroke": {"reference": _referring, "drawn": _integer(1)}}
"""Optional fields."""


# --- reading --------------------------------------------------------------------------------------

_HINT = "Reload the page, so that it and the kernel are of the same version; see docs/protocol.md."


def parse(content: object, buffers: Sequence[Buffer] | None = None) -> Message:
    """Read one message of a page.

    content: the page's JSON. buffers: its binary buffers.
    Raises ProtocolError, and nothing else, for everything that breaks the protocol.
    """
    page, sequence = _address(content)
    try:
        if type(content) is not dict:
            raise _Wrong("The message is not a JSON object.")
        kind = content.get("type")
        if type(kind) is not str or kind not in FIELDS:
            raise _Wrong(f"A message of type {_shown(kind)} is unknown (known: {', '.join(FIELDS)}).")
        rest = {key: value for key, value in content.items() if key != "type"}
        fields = _checked(rest, FIELDS[kind], f"the {kind} message", OPTIONAL.get(kind, {}))
        return _BUILD[kind](fields, _single(kind, buffers))
    except _Wrong as wrong:
        raise ProtocolError(str(wrong), _HINT, page=page, sequence=sequence) from None


def _address(content: object) -> tuple[str | None, int | None]:
    """Return the page and sequence of a message, where they can be read, to address a refusal."""
    if type(content) is not dict:
        return None, None
    try:
        page = _PAGE(content.get("page"))
    except _Wrong:
        return None, None
    if content.get("type") not in ("stroke", "command"):
        return page, None
    try:
        return page, _SEQUENCE(content.get("sequence"))
    except _Wrong:
        return page, None


def _checked(
    values: Mapping[Any, Any], rules: Mapping[str, Rule], where: str, optional: Mapping[str, Rule]
) -> dict[str, Any]:
    """Check values by their rules: all fields of `rules`, perhaps those of `optional`, and no others."""
    for key in values:
        if key not in rules and key not in optional:
            raise _Wrong(f"The field {_shown(key)} of {where} is unknown.")
    checked = {}
    for key, rule in [*rules.items(), *((key, rule) for key, rule in optional.items() if key in values)]:
        if key not in values:
            raise _Wrong(f"The field {key} of {where} is missing.")
        try:
            checked[key] = rule(values[key])
        except _Wrong as wrong:
            raise _Wrong(f"The field {key} of {where} {wrong}, not {_shown(values[key])}.") from None
    return checked


def _single(kind: str, buffers: Sequence[Buffer] | None) -> memoryview | None:
    """Return the message's only buffer as flat bytes, or None."""
    if not buffers:
        return None
    if len(buffers) > 1:
        raise _Wrong(f"The {kind} message has {len(buffers)} buffers; one is the most.")
    try:
        view = memoryview(buffers[0])
        # ZMQ's own buffers are plain. Any other (another item type, gaps) is flattened with a copy.
        plain = view.format == "B" and view.ndim == 1 and view.contiguous
        return view if plain else memoryview(view.tobytes())
    except TypeError:
        raise _Wrong(f"The buffer of the {kind} message does not hold bytes.") from None


def _no_buffer(kind: str, buffer: memoryview | None) -> None:
    if buffer is not None:
        raise _Wrong(f"The {kind} message takes no buffer.")


def _hello(fields: dict[str, Any], buffer: memoryview | None) -> Hello:
    _no_buffer("hello", buffer)
    if fields["version"] != VERSION:
        raise _Wrong(
            f"The page speaks version {fields['version']} of the protocol, the kernel version {VERSION}."
        )
    return Hello(**fields)


def _stroke(fields: dict[str, Any], buffer: memoryview | None) -> Stroke:
    width, height = fields["rect"][2:]
    if width == 0 and not fields["last"]:
        raise _Wrong("The rectangle of a stroke message may be empty only when it is the stroke's last.")
    if (fields["verb"] == "restyle") != ("reference" in fields):
        raise _Wrong("A stroke message has a reference if its verb is restyle, and only then.")
    values = b"" if buffer is None else bytes(buffer)
    if len(values) != width * height:
        raise _Wrong(
            f"A rectangle of {width} x {height} pixels needs {width * height} bytes, not {len(values)}."
        )
    return Stroke(**fields, values=values)


def _command(fields: dict[str, Any], buffer: memoryview | None) -> Command:
    name = fields["name"]
    options = OPTIONS.get(name, {})
    arguments = _checked(fields["arguments"], COMMANDS[name], f"the arguments of {name}", options)
    fields["arguments"] = arguments
    if name == "retune" and len(arguments) == 1:
        raise _Wrong(f"The retune command changes nothing; it needs one of {', '.join(SETTINGS)}.")
    if name != "open":
        _no_buffer(f"{name} command", buffer)
        return Command(**fields)
    return Command(**fields, file=_file("open command", buffer))


def _file(where: str, buffer: memoryview | None) -> bytes:
    if buffer is None or len(buffer) == 0:
        raise _Wrong(f"The {where} needs the file's bytes as its buffer.")
    if len(buffer) > LARGEST_FILE:
        raise _Wrong(f"The file has {len(buffer)} bytes; {LARGEST_FILE} is the most.")
    return bytes(buffer)


def _refer(fields: dict[str, Any], buffer: memoryview | None) -> Refer:
    return Refer(**fields, file=_file("refer message", buffer))


Build = Callable[[dict[str, Any], memoryview | None], Message]


def _plain(kind: str, message: Callable[..., Message]) -> Build:
    """Return a builder for a message that consists of its fields only."""

    def build(fields: dict[str, Any], buffer: memoryview | None) -> Message:
        _no_buffer(kind, buffer)
        return message(**fields)

    return build


_BUILD: Mapping[str, Build] = {
    "hello": _hello,
    "stroke": _stroke,
    "command": _command,
    "refer": _refer,
    "ack": _plain("ack", Ack),
    "cancel": _plain("cancel", Cancel),
    "beat": _plain("beat", Beat),
    "hidden": _plain("hidden", Hidden),
    "samples": _plain("samples", Samples),
    "variants": _plain("variants", Variants),
    "scenes": _plain("scenes", Scenes),
}


def _shown(value: object) -> str:
    """Return a page's value for use in a sentence: short and plain ASCII."""
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is str:
        return ascii(value) if len(value) <= 40 else ascii(value[:40]) + "..."
    if type(value) is float:
        return repr(value)
    if type(value) is int:
        # Printing an integer of thousands of digits is slow, and an error from Python 3.11 on.
        return str(value) if abs(value) <= LARGEST_COUNT else "a number beyond counting"
    if type(value) is list:
        return f"a list of {len(value)}"
    return "an object" if type(value) is dict else "something else"


# --- messages of the kernel -----------------------------------------------------------------------


def welcome(page: str, sequence: int, revision: int) -> Outgoing:
    """Answer `hello`, or a gap in the count. sequence: the page's last accepted one, or 0."""
    return {
        "type": "welcome",
        "version": VERSION,
        "page": page,
        "sequence": sequence,
        "revision": revision,
    }, []


def accepted(page: str, sequence: int, revision: int) -> Outgoing:
    """Confirm that all messages of this page up to `sequence` are applied and in the journal."""
    return {"type": "accepted", "page": page, "sequence": sequence, "revision": revision}, []


def alive(page: str, sequence: int, revision: int) -> Outgoing:
    """Return the answer to `beat`. sequence: the page's last accepted one, or 0."""
    return {"type": "alive", "page": page, "sequence": sequence, "revision": revision}, []


def frame(
    frame: int,
    picture: str,
    revision: int,
    covers: Mapping[str, int],
    width: int,
    height: int,
    format: str,
    encoded: bytes,
) -> Outgoing:
    """Return a picture in motion. covers: the last sequence of each page in it. format: a MIME type."""
    content = {
        "type": "frame",
        "frame": frame,
        "picture": picture,
        "revision": revision,
        "covers": dict(covers),
        "width": width,
        "height": height,
        "format": format,
    }
    return content, [encoded]


def progress(job: str, fraction: float, seconds_left: float | None, psnr: float | None) -> Outgoing:
    """Report a job's progress, 0 to 1. NaN and infinity are sent as null, since JSON cannot express them."""
    return {
        "type": "progress",
        "job": job,
        "fraction": min(1.0, max(0.0, fraction)) if math.isfinite(fraction) else 0.0,
        "seconds_left": _finite(seconds_left),
        "decibel": _finite(psnr),
    }, []


def notice(level: str, text: str) -> Outgoing:
    """Build a notice, which is not an error. level: `info` or `warning`."""
    return {"type": "notice", "level": level, "text": text}, []


def error(page: str | None, sequence: int | None, message: str, hint: str) -> Outgoing:
    """Report an error and its remedy, one sentence each. With a sequence, that message counts as accepted."""
    return {"type": "error", "page": page, "sequence": sequence, "what": message, "mend": hint}, []


def references(page: str, concept: str, entries: Sequence[Mapping[str, Any]], sheet: bytes) -> Outgoing:
    """Offer references for a restyle. concept: empty for one requested picture.

    sheet: a PNG with a column for each entry, the picture above the generator's version of it.
    """
    return {"type": "references", "page": page, "concept": concept, "entries": list(entries)}, [sheet]


def variants(page: str, edit: str, variants: Sequence[int], sheet: bytes) -> Outgoing:
    """Return the variants of an edit. sheet: a PNG with a column for each, the picture with it."""
    return {"type": "variants", "page": page, "edit": edit, "variants": list(variants)}, [sheet]


def scenes(page: str, first: int, total: int, titles: Sequence[str], sheet: bytes) -> Outgoing:
    """Show scenes of the gallery.

    first: the index of the first. total: how many the gallery has. sheet: a JPEG with a column for each.
    """
    return {"type": "scenes", "page": page, "first": first, "total": total, "titles": list(titles)}, [sheet]


def file(page: str, name: str, format: str, data: bytes) -> Outgoing:
    """Return a file that this page asked for."""
    return {"type": "file", "page": page, "name": name, "format": format}, [data]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
