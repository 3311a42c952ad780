"""The edits of a picture, their undo and their journal.

The edits are an immutable tuple of immutable objects. Every change is checked first, and then goes through
:meth:`History._commit`, which writes the journal, swaps the tuple for another, and increments the revision. A
failure therefore changes nothing, and undo only needs to keep the old tuples.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from ..errors import GANPaintError
from ..images.files import Original
from ..method.edits import Edit, Mask
from ..validation import checked_id, checked_mask, checked_number, checked_rect
from . import journal as record
from .events import Array, Changed, Event, Noticed

Edits = tuple[Edit, ...]

MAX_UNDO: Final = 200
MAX_EDITS: Final = 200

CHOSEN: Final = ("variant", "activations")
"""What another exemplar changes of an edit."""

SPEAKER: Final[ContextVar[tuple[str, int] | None]] = ContextVar("ganpaint-speaker", default=None)
"""The page that asked for a verb, and the number of its message. The journal keeps both, so that messages
that the page repeats after a recovery are not carried out twice."""

log = logging.getLogger(__name__)


class History:
    """The edits of the open picture, their undo and their journal.

    It is not thread-safe: the session changes it under its own lock.

    Args:
        journal: the directory for the journal; ``None`` keeps none.

    Attributes:
        edits: in the order in which they apply.
        revision: grows by one with each change of the edits or the picture.
        touched: the id of the edit that the newest revision painted; ``None`` after any other change.
        continues: the names of the journals that this one continues.
        acknowledged: the last message of each page that the journal has, also from before a recovery.
        notice: a warning about the journal, such as that it cannot be written.
    """

    def __init__(self, journal: Path | None) -> None:
        self.edits: Edits = ()
        self.revision = 0
        self.touched: str | None = None
        self.continues: tuple[str, ...] = ()
        self.acknowledged: dict[str, int] = {}
        self.notice: Noticed | None = None
        self._undo: list[Edits] = []
        self._redo: list[Edits] = []
        self._stroke: tuple[Hashable] | None = None  # key of the stroke that paint() may continue
        self._stroke_count = 0
        self._journal = None if journal is None else record.Journal(journal)
        self._news: list[Event] = []

    def begin(self, opening: record.Operation, photo: Array, original: Original | None = None) -> None:
        """Begin with another picture, without edits or undo. ``opening`` describes it in the journal."""
        self.edits = ()
        self._undo.clear()
        self._redo.clear()
        self._count()
        operation = {
            "op": "open",
            "format": record.FORMAT,
            **opening,
            "continues": list(self.continues),
            # Nothing before this line is played back, but a page may repeat earlier messages.
            "heard": dict(self.acknowledged),
        }
        self._journalling(lambda journal: journal.open(operation, photo, original))

    def resume(self, edits: Edits) -> None:
        """Begin with earlier edits, for example of a project. Undo cannot go back before them."""
        self.edits = edits
        self._count()
        if edits:
            self._journalling(lambda journal: journal.preface(record.operations_of([edits])))

    def goes_on_with(self, recording: record.Recording) -> None:
        """Continue the journal of a session whose kernel has ended, with what it had acknowledged."""
        earlier = recording.opening.get("continues")
        known = [one for one in earlier if isinstance(one, str)] if isinstance(earlier, list) else []
        self.continues = (recording.path.name, *known)
        self.acknowledged = record.acknowledged_of(recording.opening)

    def close(self) -> None:
        """Release the journal. It stays on disk, and does not record later changes."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def announce(self, event: Event) -> None:
        """Add an event to the news."""
        self._news.append(event)

    def news(self) -> list[Event]:
        """Return the events since the last call, to be passed on once the session's lock is free."""
        news, self._news = self._news, []
        return news

    # --- reads ---

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        return bool(self._redo)

    @property
    def before(self) -> Edits | None:
        """The edits before the last step; ``None`` when there is none."""
        return self._undo[-1] if self._undo else None

    @property
    def journals(self) -> tuple[str, ...]:
        """The name of the journal, then of those that it continues; empty without a journal."""
        return () if self._journal is None else (self._journal.path.name, *self.continues)

    def find(self, edit_id: str) -> int | None:
        """Return the place of an edit in the order."""
        return next((place for place, edit in enumerate(self.edits) if edit.id == edit_id), None)

    def place(self, edit_id: str) -> int:
        """Return the place of an edit that must exist. GANPaintError if it does not."""
        place = self.find(checked_id(edit_id))
        if place is None:
            known = ", ".join(edit.id for edit in self.edits[-10:])
            raise GANPaintError(
                f"The edit {edit_id!r} does not exist.",
                f"Choose one of: {known}." if known else "Paint an edit first.",
            )
        return place

    def edit(self, edit_id: str) -> Edit:
        """Return an edit by its id. GANPaintError if it does not exist."""
        return self.edits[self.place(edit_id)]

    # --- changes: each checks everything, journals, and then changes the state ---

    def paint(
        self,
        edit_id: str,
        rect: tuple[int, int, int, int],
        values: object,
        fresh: Edit | None,
        stroke: Hashable | None,
    ) -> None:
        """Paint a piece of a stroke (:meth:`.EditingSession.paint`). An unknown edit begins as ``fresh``.

        GANPaintError if the edit is unknown and ``fresh`` is ``None``.
        """
        place = self.find(edit_id)
        edit = fresh if place is None and fresh is not None else self.edit(edit_id)
        size = len(edit.mask)
        x, y, width, height = checked_rect(rect, size)
        piece = checked_mask(values, height, width)
        if place is None and len(self.edits) >= MAX_EDITS:
            raise GANPaintError(
                f"This picture already has {MAX_EDITS} edits, the largest number.",
                "Delete one, or continue painting in one of them.",
            )
        if not piece.size:
            return

        mask = edit.mask.copy()
        mask[y : y + height, x : x + width] = piece
        mask.setflags(write=False)
        painted = replace(edit, mask=mask)
        edits = (*self.edits, painted) if place is None else with_edit(self.edits, place, painted)
        goes_on = stroke is not None and self._stroke == (stroke,)
        number = self._stroke_count if goes_on else self._stroke_count + 1
        operation = record.painting((x, y, width, height), piece, edit, stroke=number, begins=place is None)
        self._commit(edits, operation, new_step=not goes_on)
        self._stroke = None if stroke is None else (stroke,)
        self._stroke_count = number
        self.touched = edit_id

    def paint_all(self, edits: Iterable[Edit]) -> None:
        """Paint new edits as one step of undo. GANPaintError if they are too many; then none is made."""
        edits = tuple(edits)
        if len(self.edits) + len(edits) > MAX_EDITS:
            raise GANPaintError(f"A picture keeps at most {MAX_EDITS} edits.", "Delete some.")
        stroke = object()
        for edit in edits:
            size = len(edit.mask)
            blank = replace(edit, mask=np.zeros_like(edit.mask))
            self.paint(edit.id, (0, 0, size, size), edit.mask, blank, stroke)

    def alter(self, edit_id: str, name: Literal["retune", "toggle"], changes: Mapping[str, Any]) -> Edit:
        """Change an edit's attributes; return the changed edit."""
        place = self.place(edit_id)
        after = replace(self.edits[place], **changes)
        if after != self.edits[place]:
            operation = {"op": name, "edit": edit_id, **record.packed(after, changes)}
            self._commit(with_edit(self.edits, place, after), operation)
        return self.edits[place]

    def choose(self, chosen: Edit) -> None:
        """Give an addition another exemplar, as if it had begun with that one, without a step of undo.

        An edit that is there no longer, or that got a version of the user's choice, stays as it is.
        """
        changes = {name: getattr(chosen, name) for name in CHOSEN}

        def amended(edits: Edits) -> Edits:
            for place, edit in enumerate(edits):
                if edit.id == chosen.id and edit.by_exemplar and not edit.variant:
                    return with_edit(edits, place, replace(edit, **changes))
            return edits  # the same object, so that a frame with these edits still shows them

        after = amended(self.edits)
        if after is self.edits:
            return
        self._write({"op": "retune", "edit": chosen.id, **record.packed(chosen, CHOSEN), "amends": True})
        self.edits = after
        self._undo, self._redo = ([amended(state) for state in states] for states in (self._undo, self._redo))
        stroke, touched = self._stroke, self.touched
        self._count()
        self._stroke, self.touched = stroke, touched  # a stroke that goes on remains one

    def move(self, edit_id: str, index: int) -> None:
        """Give an edit another place in the order."""
        place = self.place(edit_id)
        index = checked_number(index, "place", len(self.edits) - 1)
        if index != place:
            rest = self.edits[:place] + self.edits[place + 1 :]
            edits = (*rest[:index], self.edits[place], *rest[index:])
            self._commit(edits, {"op": "move", "edit": edit_id, "index": index})

    def delete(self, edit_id: str) -> None:
        """Delete an edit."""
        place = self.place(edit_id)
        edits = self.edits[:place] + self.edits[place + 1 :]
        self._commit(edits, {"op": "delete", "edit": edit_id})

    def step(self, name: Literal["undo", "redo"]) -> bool:
        """Undo or redo a step; return ``False`` if none is left."""
        source, target = (self._undo, self._redo) if name == "undo" else (self._redo, self._undo)
        if not source:
            return False
        self._write({"op": name})
        target.append(self.edits)
        self.edits = source.pop()
        self._count()
        return True

    def _commit(self, edits: Edits, operation: record.Operation, *, new_step: bool = True) -> None:
        if new_step and self._journal is not None and self._journal.too_long:
            # Only between two steps. Within one, the next piece of a stroke would lose its step.
            self._journalling(lambda journal: journal.rewrite(self._operations()))
        self._write(operation)
        if new_step:
            self._undo.append(self.edits)
            del self._undo[:-MAX_UNDO]
        self._redo.clear()
        self.edits = edits
        self._count()

    def _count(self) -> None:
        self.revision += 1
        self.touched = None
        self._stroke = None
        self._acknowledge()
        self.announce(Changed(self.revision))

    # --- the journal ---

    def _write(self, operation: record.Operation) -> None:
        speaker = SPEAKER.get()
        if speaker is not None:
            operation = {**operation, "by": list(speaker)}
        self._journalling(lambda journal: journal.write(operation))

    def _acknowledge(self) -> None:
        """Note the page and message that asked for a change, if a page did."""
        speaker = SPEAKER.get()
        if speaker is not None:
            page, sequence = speaker
            self.acknowledged[page] = max(sequence, self.acknowledged.get(page, 0))

    def _operations(self) -> list[record.Operation]:
        """Return operations that lead to the present state, including its undo and redo."""
        states = [*self._undo, self.edits, *reversed(self._redo)]
        operations = [*record.operations_of(states), *({"op": "undo"} for _ in self._redo)]
        return [
            *operations,
            *({"op": "heard", "by": [page, count]} for page, count in self.acknowledged.items()),
        ]

    def _journalling(self, work: Callable[[record.Journal], None]) -> None:
        """Run ``work`` on the journal. If it fails, as on a full disk, close the journal with a warning."""
        if self._journal is None:
            return
        try:
            work(self._journal)
        except OSError as error:
            self.close()
            self.notice = Noticed(
                "warning",
                f"The journal cannot be written ({error}): save the project, so that your edits outlive the "
                "kernel.",
            )
            self.announce(self.notice)

    def replay(self, recording: record.Recording, check: Callable[[Edit], Edit]) -> None:
        """Repeat the operations of a journal, up to the first damaged one. A notice tells of the rest."""
        operations, size = recording.operations, len(recording.photo)
        base = tuple(itertools.takewhile(record.is_base, operations))
        first = History(None)
        done, error = first._repeat(base, size, check)
        if base:
            self.resume(first.edits)
        if error is None:
            more, error = self._repeat(operations[len(base) :], size, check)
            done += more
        if error is not None:
            log.warning("The journal %s stops at operation %d: %s", recording.path, done + 1, error)
            self.notice = Noticed(
                "warning", f"Only {done} of {len(operations)} steps could be recovered: {error}"
            )

    def _repeat(
        self, operations: Iterable[record.Operation], size: int, check: Callable[[Edit], Edit]
    ) -> tuple[int, Exception | None]:
        """Repeat operations; return how many were sound, and the error that ended this, if any."""
        done = 0
        for operation in operations:
            try:
                token = SPEAKER.set(_speaker_of(operation))
                try:
                    self._replay_one(operation, size, check)
                finally:
                    SPEAKER.reset(token)
            except (ValueError, KeyError, TypeError, zlib.error) as error:
                return done, error
            done += 1
        return done, None

    def _replay_one(self, operation: Mapping[str, Any], size: int, check: Callable[[Edit], Edit]) -> None:
        name = operation["op"]
        if name == "paint":
            values: Mask = record.values_of(operation)
            known = self.find(checked_id(operation["edit"])) is not None
            fresh = None if known else check(record.edit_of(operation, size))
            stroke = ("recovered", str(operation["stroke"]))
            self.paint(operation["edit"], operation["rect"], values, fresh, stroke)
        elif name in ("retune", "toggle"):
            changes = record.unpacked(operation)
            after = check(replace(self.edit(operation["edit"]), **changes))
            if operation.get("amends") is True:
                self.choose(after)
            else:
                self.alter(operation["edit"], name, changes)
        elif name == "move":
            self.move(operation["edit"], operation["index"])
        elif name == "delete":
            self.delete(operation["edit"])
        elif name in ("undo", "redo"):
            self.step(name)
        elif name == "heard":
            self._acknowledge()
            self._write({"op": "heard"})
        else:
            raise ValueError(f"The operation {name!r} does not exist.")


def with_edit(edits: Edits, place: int, edit: Edit) -> Edits:
    """Return the edits with one of them replaced."""
    return (*edits[:place], edit, *edits[place + 1 :])


def _speaker_of(operation: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the page and message that asked for a journal's operation. ValueError if they are damaged."""
    match operation.get("by"):
        case None:
            return None
        case [str() as page, int() as sequence] if sequence > 0:
            return page, sequence
    raise ValueError("The page or the number of its message is damaged.")
