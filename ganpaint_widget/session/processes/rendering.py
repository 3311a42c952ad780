"""Rendering: G(z_e) of the newest edits, or G'(z_e) where the preview is faithful to the photo.

Strokes come faster than pictures can be drawn, and nobody wants the preview of the stroke before last: so
only the newest edits are rendered, however often that was asked for. It takes a moment, inside the
checkpoints of whatever long job is running, and is never cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...images.arrays import array_of
from ...method.edits import Edit
from ..document import Edits
from ..events import Array, Event, Noticed, Rendered
from ..worker import Worker
from .inverting import OpenedPicture
from .waiting import explained

if TYPE_CHECKING:
    from ...models.generator import Modifier

# A change below this (of 255) cannot be seen. Generators refuse some edits: no door in the sky.
VISIBLE: Final = 2


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be seen.

    Attributes:
        picture, edits: what is edited, and how.
        revision: that this is of.
        modify: draws G'(z_e); ``None`` for G(z_e).
        touched: the edit that the newest revision has painted, if it did.
        before: the edits before that stroke.
    """

    picture: OpenedPicture
    edits: Edits
    revision: int
    modify: Mapping[str, Modifier] | None = None
    touched: str | None = None
    before: Edits = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture as it was drawn: ``array`` is uint8 R x R x 3, read-only; the rest as in Wanted."""

    picture: OpenedPicture
    edits: Edits
    array: Array
    revision: int
    modify: Mapping[str, Modifier] | None = None

    def shows(self, wanted: Wanted, edits: Edits | None = None) -> bool:
        """Whether it is what is wanted, or would be with other edits."""
        return (
            self.picture is wanted.picture
            and self.edits is (wanted.edits if edits is None else edits)
            and self.modify is wanted.modify
        )


class Rendering:
    """The newest preview.

    Args:
        lock: that of the owner; ``wanted`` is called and ``newest`` is set under it.
        wanted: says what is to be seen at present.
        tell: called on the worker's thread with what has happened.
        failed: called there with what could not be done, and why.

    Attributes:
        newest: the last frame, which may be without the last edits.
        notice: what users should know of the last stroke.
    """

    newest: Frame

    def __init__(
        self,
        worker: Worker,
        lock: threading.RLock,
        *,
        wanted: Callable[[], Wanted],
        tell: Callable[[list[Event]], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._worker, self._lock, self._wanted = worker, lock, wanted
        self._tell, self._failed = tell, failed
        self._base: Frame | None = None  # as it was before the present stroke
        self.notice: Noticed | None = None

    def begin(self, picture: OpenedPicture, revision: int) -> Rendered:
        """Another picture, without edits, and what to tell of it; under the lock."""
        self.newest = Frame(picture, (), picture.reconstruction, revision)
        self._base = self.notice = None
        return Rendered("preview", picture.reconstruction, revision)

    def start(self) -> None:
        """Have the newest edits rendered soon. Nothing is, once the worker is closed."""
        if not self._worker.closed:
            self._worker.request((id(self), "preview"), self._render, self._render_failed)

    def result(self) -> Frame:
        """Return the frame of the present revision; waits for it.

        Raises:
            GANPaintError: it cannot be rendered, or the worker has been closed.
        """
        try:
            return self._worker.ask(self._render)
        except Exception as error:
            raise explained("The preview could not be computed", error) from error

    def _render(self) -> Frame:
        with self._lock:
            wanted, newest, base = self._wanted(), self.newest, self._base
        if newest.revision == wanted.revision and newest.shows(wanted):
            return newest
        if wanted.touched is not None and not (base is not None and base.shows(wanted, wanted.before)):
            # The last preview will usually be the one; a fast hand may have left it unrendered.
            base = newest
            if not base.shows(wanted, wanted.before):
                array = draw(wanted.picture, wanted.before, wanted.modify)
                base = Frame(wanted.picture, wanted.before, array, wanted.revision, wanted.modify)
        array = draw(wanted.picture, wanted.edits, wanted.modify)
        frame = Frame(wanted.picture, wanted.edits, array, wanted.revision, wanted.modify)
        events: list[Event] = [Rendered("preview", array, wanted.revision)]
        with self._lock:
            self.newest, self._base = frame, base
            told, self.notice = self.notice, None
            if wanted.touched is not None and base is not None:
                edit = next((edit for edit in wanted.edits if edit.id == wanted.touched), None)
                self.notice = _without_effect(edit, base.array, array)
                if self.notice is not None and told is None:
                    events.append(self.notice)
        self._tell(events)
        return frame

    def _render_failed(self, error: BaseException) -> None:
        self._failed("The preview could not be computed", error)


def draw(
    picture: OpenedPicture, edits: Sequence[Edit], modify: Mapping[str, Modifier] | None = None
) -> Array:
    """G(z_e), or G'(z_e): uint8 R x R x 3, read-only. On the worker's thread."""
    return array_of(picture.fast.render(edits, modify))


def _without_effect(edit: Edit | None, before: Array, after: Array) -> Noticed | None:
    """Return a notice if painting ``edit`` has made no visible change inside its mask."""
    if edit is None or not edit.enabled or not edit.mask.any():
        return None
    inside = edit.mask > 0
    change = np.abs(after[inside].astype(np.int16) - before[inside])
    if change.max() >= VISIBLE:
        return None
    why = {
        "add": f"the generator would not put a {edit.concept} here",
        "suppress": "these units draw nothing at this place",
    }.get(edit.verb, f"the generator sees no {edit.concept} here")
    return Noticed("info", f"No visible effect here: {why}.")
