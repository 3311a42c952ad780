"""The journal: a record of each change, on disk before the change is confirmed.

If the kernel dies, ``EditingSession.recover()`` plays the journal back. It holds people's photos, so these
rules say what it keeps, where, and for how long:

- A session gets a directory of its own with the first edit. Only its user can read it (mode 0700). A session
  without edits leaves nothing on disk.
- The directory lies in ``ganpaint/journal`` in the user's data directory (``platformdirs``), or in the folder
  that the environment variable ``GANPAINT_JOURNAL`` names. ``GANPAINT_JOURNAL=off`` keeps no journal at all.
- It contains ``original-N``, the photo's own file, and ``photo-N.png``, the square that is edited. When
  another picture is opened, the earlier ones are deleted. ``ops.jsonl`` has one operation in each line,
  including the references of restyles.
- When a session starts a journal, the oldest sessions that are not in use are deleted until all journals
  together have at most 200 MB. Deleting the directory by hand is always safe.

Each line is flushed, so accepted changes survive the end of the process. A last line that a power failure cut
short is ignored.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from filelock import BaseFileLock, Timeout

from ..errors import GANPaintError
from ..images import files
from ..method.edits import Edit, Mask, Reference
from ..storage import lock_of, replacing

Operation = dict[str, Any]

FORMAT: Final = 2
READABLE: Final = (1, 2)
"""Format 1 lacks restyles, moves, units, targets and variants, and is the same otherwise."""

MAX_TOTAL_BYTES: Final = 200 * 2**20
# A longer journal is written anew: after an hour of painting, most of it is masks that were painted over.
MAX_OPERATIONS_BYTES: Final = 16 * 2**20

_OPERATIONS = "ops.jsonl"
_LOCK = "lock"
_OURS = re.compile(r"ops\.jsonl|lock|photo-\d+\.png|original-\d+")
_LEFTOVER = re.compile(r"ops\.jsonl\.new|\.(ops\.jsonl|photo-\d+\.png|original-\d+)\.[0-9a-f]{8}")
"""Temporary files of a process that was killed while writing."""
_DIRECTORY = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


def place_of(journal: object) -> Path | None:
    """Return the folder that a session's ``journal`` argument means, ``None`` for no journal.

    Args:
        journal: ``True`` for the usual place; ``False``, ``None`` or ``"off"`` for none; or a path.

    Raises:
        GANPaintError: it is none of these.
    """
    if journal is True:
        return journal_root()
    if journal is None or journal is False or journal == "off":
        return None
    if not isinstance(journal, (str, os.PathLike)) or not str(journal).strip():
        raise GANPaintError(
            f"{journal!r} is not a place for a journal.", "Pass True, False or the path of a folder."
        )
    return Path(journal).expanduser()


def journal_root() -> Path | None:
    """Return the directory that holds the journals of all sessions, or ``None`` if they are switched off."""
    place = os.environ.get("GANPAINT_JOURNAL", "")
    if place.strip().lower() == "off":
        return None
    if place:
        return Path(place).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_path("ganpaint")) / "journal"


# --- writing ---


class Journal:
    """The append-only log of one session. Not thread-safe: the session writes under its own lock.

    Args:
        root: the directory of all journals, in which this one makes its own.
        max_total: the bytes that all journals may have together. Beyond that, the oldest are deleted.

    Every method may raise ``OSError``, for example when the disk is full.
    """

    def __init__(self, root: Path, *, max_total: int = MAX_TOTAL_BYTES) -> None:
        self.path = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        self._max_total = max_total
        self._opening: tuple[Operation, npt.NDArray[np.uint8], files.Original | None] | None = None
        self._file: IO[bytes] | None = None
        self._lock: BaseFileLock | None = None
        self._photos = 0
        self._limit = MAX_OPERATIONS_BYTES

    def open(
        self,
        operation: Operation,
        photo: npt.NDArray[np.uint8],
        original: files.Original | None = None,
    ) -> None:
        """Note that a picture was opened, which ends everything before it.

        The operation is written together with the photo, but not before the session's first edit.
        """
        self._opening = operation, photo, original
        self._preface: list[Operation] = []
        if self._file is not None:
            self._begin_picture()

    def preface(self, operations: Iterable[Operation]) -> None:
        """Note the state at the opening of the picture, for example a project's. It follows the opening."""
        self._preface = list(operations)
        if self._file is not None:
            for operation in self._preface:
                self._append(operation)

    def write(self, operation: Operation) -> None:
        """Append one operation and flush it."""
        if self._file is None:
            self._begin()
            self._begin_picture()
        self._append(operation)

    @property
    def too_long(self) -> bool:
        """Whether the journal is long enough for :meth:`rewrite` to pay."""
        return self._file is not None and self._file.tell() > self._limit

    def rewrite(self, operations: Iterable[Operation]) -> None:
        """Replace everything after the opening of the picture with ``operations``, in one step."""
        assert self._file is not None and self._opening is not None
        with replacing(self.path / _OPERATIONS) as fresh:
            with fresh.open("wb") as file:
                file.write(_line(self._opening[0]))
                file.writelines(map(_line, operations))
            self._file.close()  # Windows does not replace an open file
        self._file = (self.path / _OPERATIONS).open("ab")
        # Otherwise a session with that long a history would be rewritten with every stroke.
        self._limit = max(MAX_OPERATIONS_BYTES, 2 * self._file.tell())

    def close(self) -> None:
        """Release the files. The journal stays on disk until it is recovered or purged."""
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            self._lock.release()
        self._file = self._lock = None

    def _begin(self) -> None:
        root = self.path.parent
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        purge(root, self._max_total)
        self.path.mkdir(mode=0o700)
        self._lock = lock_of(self.path / _LOCK)
        self._lock.acquire(blocking=False)
        self._file = (self.path / _OPERATIONS).open("ab")

    def _begin_picture(self) -> None:
        assert self._opening is not None
        operation, photo, original = self._opening
        self._photos += 1
        name = f"photo-{self._photos}.png"
        with replacing(self.path / name) as partial:
            partial.write_bytes(files.encode_png(photo))
        operation["photo"] = name
        kept = {name}
        if original is not None:
            operation["original"] = name = f"original-{self._photos}"
            operation["fit"] = original.fit
            with replacing(self.path / name) as partial:
                partial.write_bytes(original.encoded())
            kept.add(name)
        for one in (operation, *self._preface):
            self._append(one)
        # Only now, since a crash before the line was written would leave the earlier picture as the open one.
        for old in (*self.path.glob("photo-*.png"), *self.path.glob("original-*")):
            if old.name not in kept:
                old.unlink()

    def _append(self, operation: Operation) -> None:
        assert self._file is not None
        self._file.write(_line(operation))
        self._file.flush()


def purge(root: Path, max_total: int) -> None:
    """Delete the oldest unused journals in ``root`` until at most ``max_total`` bytes are left."""
    journals = sorted(_journals(root), key=_last_used)
    sizes = {path: _size(path) for path in journals}
    total = sum(sizes.values())
    for path in journals:
        if total <= max_total:
            return
        if not _in_use(path):
            # File by file, and only our own files, because the root may be any directory. Another session
            # that starts now may be doing the same.
            with contextlib.suppress(OSError):
                for file in path.iterdir():
                    if _OURS.fullmatch(file.name) or _LEFTOVER.fullmatch(file.name):
                        file.unlink(missing_ok=True)
                path.rmdir()
            total -= sizes[path]


def operations_of(history: Sequence[tuple[Edit, ...]]) -> Iterator[Operation]:
    """Yield operations that lead through the given states, with one step of undo from each to the next.

    The operations that lead to the oldest state are its *base*, and marked as such: undo ends there.

    Args:
        history: states of the edits as undo keeps them, the oldest first. One verb or one stroke leads from
            each to the next. The oldest may hold several edits, whose undo was dropped earlier.
    """
    before: tuple[Edit, ...] = ()
    for number, after in enumerate(history):
        # A stroke may have crossed several edits. Its key is a text, unlike those of the session's strokes.
        stroke = f"step {number}"
        operations = list(_operations_between(before, after, stroke))
        if not number:
            operations = [{**operation, "base": True} for operation in operations]
        elif not operations:
            # A stroke over painted pixels changes nothing, but it is a step that undo takes back.
            operations = [_repainting(after[-1], stroke, begins=False)]
        yield from operations
        before = after


def is_base(operation: Operation) -> bool:
    """Return whether an operation belongs to the base of a history. Earlier versions did not mark these."""
    return operation.get("base") is True


def _operations_between(
    before: tuple[Edit, ...], after: tuple[Edit, ...], stroke: str
) -> Iterator[Operation]:
    """Yield operations that lead from one state of the edits to another."""
    known = {edit.id: edit for edit in before}
    kept = {edit.id for edit in after}
    for edit in before:
        if edit.id not in kept:
            yield {"op": "delete", "edit": edit.id}
    for edit in after:
        old = known.get(edit.id)
        if old is None or not np.array_equal(old.mask, edit.mask):
            yield _repainting(edit, stroke, begins=old is None)
        settings = [] if old is None else [one for one in SETTINGS if _differ(old, edit, one)]
        if settings:
            yield {"op": "retune", "edit": edit.id, **packed(edit, settings)}
        if edit.enabled != (old is None or old.enabled):
            yield {"op": "toggle", "edit": edit.id, "enabled": edit.enabled}
    yield from _moves([edit.id for edit in before], [edit.id for edit in after])


def _differ(old: Edit, new: Edit, setting: str) -> bool:
    one, other = getattr(old, setting), getattr(new, setting)
    return not np.array_equal(one, other) if setting == "activations" else bool(one != other)


def _moves(before: list[str], after: list[str]) -> list[Operation]:
    """Return the move, if any, that led from one order of ids to another, ignoring added and deleted ones."""
    stayed = [one for one in before if one in after]
    ordered = [one for one in after if one in before]
    if stayed == ordered:
        return []
    pairs = enumerate(zip(stayed, ordered, strict=True))
    first = next(place for place, (one, other) in pairs if one != other)
    # Either the edit that is now in this place has moved up, or the one that was there has moved down.
    for moved in (ordered[first], stayed[first]):
        if [one for one in stayed if one != moved] == [one for one in ordered if one != moved]:
            return [{"op": "move", "edit": moved, "index": after.index(moved)}]
    raise AssertionError("One step of undo moves one edit.")


def _repainting(edit: Edit, stroke: str, *, begins: bool) -> Operation:
    height, width = edit.mask.shape
    return painting((0, 0, width, height), edit.mask, edit, stroke=stroke, begins=begins)


# --- edits as JSON ---

SETTINGS: Final = ("strength", "units", "target", "variant", "activations", "reference")
"""The settings that :meth:`EditingSession.update` can change."""

_KEYS: Final = {"activations": "levels"}
"""The names that a journal uses for settings that have been renamed since."""


def painting(
    rect: tuple[int, int, int, int], values: Mask, edit: Edit, *, stroke: int | str, begins: bool
) -> Operation:
    """Return the operation of one piece of a stroke, with mask ``values`` inside ``rect``.

    Args:
        begins: whether this is the edit's first piece, which carries all its settings.
    """
    plain = Edit(edit.id, edit.verb, edit.concept, edit.mask, edit.strength)
    unusual = [one for one in SETTINGS if begins and _differ(plain, edit, one)]
    return {
        "op": "paint",
        "edit": edit.id,
        "verb": edit.verb,
        "concept": edit.concept,
        "strength": edit.strength,
        **packed(edit, unusual),
        "stroke": stroke,
        "rect": list(rect),
        "data": _pack(np.ascontiguousarray(values).tobytes()),
    }


def packed(edit: Edit, names: Iterable[str]) -> Operation:
    """Return some of an edit's attributes as JSON; :func:`unpacked` reads them."""
    fields: Operation = {}
    for name in names:
        value = getattr(edit, name)
        if isinstance(value, Reference):
            value = {
                "seed": value.seed,
                "picture": None if value.picture is None else _pack(value.picture.tobytes()),
                "region": None if value.region is None else _pack(value.region.tobytes()),
                "size": len(edit.mask),
            }
        elif isinstance(value, np.ndarray):
            value = {"levels": _pack(value.astype("<f4").tobytes()), "count": len(value)}
        fields[_KEYS.get(name, name)] = value
    return fields


def unpacked(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an edit in an operation. This does not find all errors in them.

    Raises:
        ValueError, KeyError, TypeError or zlib.error: the operation is damaged.
    """
    keys = {name: _KEYS.get(name, name) for name in (*SETTINGS, "enabled")}
    fields = {name: operation[key] for name, key in keys.items() if key in operation}
    if isinstance(fields.get("units"), list):
        fields["units"] = tuple(fields["units"])
    if fields.get("activations") is not None:
        stored = fields["activations"]
        data = _unpack(stored["levels"], 4 * stored["count"])
        fields["activations"] = np.frombuffer(data, "<f4").astype(np.float32)
    if fields.get("reference") is not None:
        stored = fields["reference"]
        size = stored["size"]

        def array(name: str, *shape: int) -> npt.NDArray[np.uint8] | None:
            if stored[name] is None:
                return None
            data = _unpack(stored[name], math.prod(shape))
            return np.frombuffer(data, np.uint8).reshape(shape)

        fields["reference"] = Reference(
            stored["seed"], array("picture", size, size, 3), array("region", size, size)
        )
    return fields


def edit_of(operation: Mapping[str, Any], size: int) -> Edit:
    """Return the edit that a :func:`painting` began, not yet painted. Errors as in :func:`unpacked`."""
    blank = np.zeros((size, size), np.uint8)
    return Edit(operation["edit"], operation["verb"], operation["concept"], blank, **unpacked(operation))


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 3)).decode("ascii")


def _unpack(text: str, count: int) -> bytes:
    """Unpack :func:`_pack`'s bytes, but at most ``count`` + 1 of them, as a guard against zip bombs."""
    return zlib.decompressobj().decompress(base64.b64decode(text, validate=True), count + 1)


def _line(operation: Operation) -> bytes:
    return json.dumps(operation, separators=(",", ":")).encode() + b"\n"


# --- reading ---


@dataclass(frozen=True)
class Recording:
    """The content of a journal: the last opened picture, and the operations on it.

    Attributes:
        path: the session's directory.
        opening: the operation that opened the picture.
        photo: uint8 R x R x 3.
        original: the photo at its own size, if it is one.
        operations: the operations after the opening, in order.
    """

    path: Path
    opening: Mapping[str, Any]
    photo: npt.NDArray[np.uint8]
    original: files.Original | None
    operations: tuple[Operation, ...]


def read(path: Path) -> Recording:
    """Read a session's journal.

    Raises:
        GANPaintError: the journal does not exist, or its beginning cannot be read.
    """
    operations = list(_operations(path))
    openings = [index for index, operation in enumerate(operations) if operation.get("op") == "open"]
    if not openings:
        raise GANPaintError(
            f"The directory {str(path)!r} does not hold a journal.", "Pass the directory of one session."
        )
    opening = operations[openings[-1]]
    if opening.get("format") not in READABLE:
        raise GANPaintError(
            f"The journal in {str(path)!r} was written by another version.",
            "Install the newest ganpaint_widget.",
        )
    name = opening.get("photo")
    if not (isinstance(name, str) and _OURS.fullmatch(name)):
        raise GANPaintError(
            f"The journal in {str(path)!r} does not name a photo.",
            "Pass the folder of another journal: recover(path).",
        )
    photo = np.array(files.read(path / name))
    original, name = None, opening.get("original")
    if isinstance(name, str) and _OURS.fullmatch(name):
        original = files.read_original(path / name, opening.get("fit"), limit=files.MAX_STORED_BYTES)
    return Recording(path, opening, photo, original, tuple(operations[openings[-1] + 1 :]))


def acknowledged_of(opening: Mapping[str, Any]) -> dict[str, int]:
    """Return the last message of each page that was carried out up to the opening of the picture.

    It is empty for journals of earlier versions, which did not keep it, and for damaged ones.
    """
    stored = opening.get("heard")
    if not isinstance(stored, dict):
        return {}
    return {page: count for page, count in stored.items() if type(count) is int and count > 0}


def newest(root: Path | None) -> Path:
    """Return the newest journal in ``root`` with edits, of an ended session if there is one.

    Raises:
        GANPaintError: no journal has edits.
    """
    painted = [] if root is None else [path for path in _journals(root) if _has_edits(path)]
    if not painted:
        raise GANPaintError(
            "No journal was found to recover.",
            "Journals begin with the first edit; GANPAINT_JOURNAL says where they are, or that they are off.",
        )
    # The newest wins, but journals in use come last, since their kernels are alive.
    return max(painted, key=lambda path: (not _in_use(path), _last_used(path)))


def values_of(operation: Mapping[str, Any]) -> Mask:
    """Unpack what :func:`painting` packed: uint8 h x w. ValueError or zlib.error for anything else."""
    _, _, width, height = operation["rect"]
    return np.frombuffer(_unpack(operation["data"], width * height), np.uint8).reshape(height, width)


def _operations(path: Path) -> Iterator[Operation]:
    """Yield the operations up to the first incomplete line."""
    with contextlib.suppress(OSError), (path / _OPERATIONS).open("rb") as file:
        for line in file:
            try:
                operation = json.loads(line)
            except ValueError:
                return
            if not (line.endswith(b"\n") and isinstance(operation, dict)):
                return
            yield operation


def _has_edits(path: Path) -> bool:
    return any(operation.get("op") != "open" for operation in _operations(path))


def _journals(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if _DIRECTORY.fullmatch(path.name) and path.is_dir()]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0


def _last_used(path: Path) -> tuple[float, str]:
    try:
        return (path / _OPERATIONS).stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _in_use(path: Path) -> bool:
    """Whether the session that writes this journal is still running."""
    if not (path / _LOCK).is_file():  # lock_of() would create it
        return False
    lock = lock_of(path / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:  # it belongs to another user
        return False
    lock.release()
    return False
