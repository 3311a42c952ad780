"""Rendering: G(z_e) of the newest edits, or G'(z_e) if the preview is to be faithful to the photo.

Strokes come faster than pictures can be drawn, and a preview of the stroke before last is useless. So only
the newest edits are rendered, however many requests came. This takes a moment, inside the checkpoints of a
long job if one is running, and is never cancelled. While a stroke goes on, a preview may be inexact. An exact
one follows when the hand rests, and :meth:`Rendering.result` waits for an exact one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ...images.arrays import array_of
from ...method.edits import Edit
from ...tickets import Ticket
from ..document import Edits
from ..events import Array, Event, Noticed, Rendered
from ..worker import Worker
from .inverting import OpenedPicture
from .waiting import explained

if TYPE_CHECKING:
    from ...models.generator import Modifier

# A smaller change (of 255) is invisible. Generators refuse some edits, such as a door in the sky.
VISIBLE: Final = 2


@dataclass(frozen=True, eq=False)
class Wanted:
    """A description of the preview to draw.

    Attributes:
        picture, edits: the picture and its edits.
        revision: their revision.
        modify: draws G'(z_e); ``None`` for G(z_e).
        touched: the id of the edit that the newest revision painted; ``None`` after any other change.
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
    """A preview that was drawn. ``array`` is uint8 R x R x 3, read-only.

    It is not ``exact`` if it was drawn while the hand moved (see :meth:`.Preview.edited`). The rest is as in
    Wanted.
    """

    picture: OpenedPicture
    edits: Edits
    array: Array
    revision: int
    modify: Mapping[str, Modifier] | None = None
    exact: bool = True

    def shows(self, wanted: Wanted, edits: Edits | None = None) -> bool:
        """Return whether the frame shows what is wanted, or ``edits`` in its place if given."""
        return (
            self.picture is wanted.picture
            and self.edits is (wanted.edits if edits is None else edits)
            and self.modify is wanted.modify
        )


class Rendering:
    """The newest preview.

    Args:
        lock: the owner's lock. ``wanted`` is called and ``newest`` is set under it.
        wanted: returns the preview to draw at present.
        tell: called on the worker's thread with new events.
        failed: called there with the failed step and the reason.

    Attributes:
        newest: the last frame, which may lack the last edits.
        notice: a message for users about the last stroke.
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
        self._base: Frame | None = None  # the frame before the present stroke
        self.notice: Noticed | None = None

    def begin(self, picture: OpenedPicture, revision: int) -> Rendered:
        """Begin with another picture without edits; return its event. Called under the lock."""
        self.newest = Frame(picture, (), picture.reconstruction, revision)
        self._base = self.notice = None
        return Rendered("preview", picture.reconstruction, revision)

    def start(self) -> None:
        """Ask for the newest edits to be rendered. A closed worker renders nothing."""
        if not self._worker.closed:
            self._worker.request((id(self), "preview"), self._render, self._render_failed)

    def result(self) -> Frame:
        """Wait for the frame of the present revision; return it.

        Raises:
            GANPaintError: the frame cannot be rendered, or the worker has been closed.
        """
        try:
            return self._worker.ask(partial(self._render, exact=True))
        except Exception as error:
            raise explained("The preview could not be computed", error) from error

    def _settle(self, ticket: Ticket) -> bool:
        self._render(exact=True)
        return True

    def _render(self, *, exact: bool = False) -> Frame:
        with self._lock:
            wanted, newest, base = self._wanted(), self.newest, self._base
        done = newest.revision == wanted.revision and newest.shows(wanted)
        if done and (newest.exact or not exact):
            return newest
        if wanted.touched is not None and not (base is not None and base.shows(wanted, wanted.before)):
            # The last preview usually shows this. After fast strokes, it may never have been rendered.
            base = newest
            if not base.shows(wanted, wanted.before):
                array = draw(wanted.picture, wanted.before, wanted.modify)
                base = Frame(wanted.picture, wanted.before, array, wanted.revision, wanted.modify)
        moving = wanted.touched is not None and not exact
        array = draw(wanted.picture, wanted.edits, wanted.modify, moving=moving)
        frame = Frame(
            wanted.picture, wanted.edits, array, wanted.revision, wanted.modify, wanted.picture.fast.exact
        )
        if not frame.exact and not self._worker.closed:
            self._worker.idle((id(self), "exact"), self._settle)
        events: list[Event] = [Rendered("preview", array, wanted.revision, frame.exact)]
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
    picture: OpenedPicture,
    edits: Sequence[Edit],
    modify: Mapping[str, Modifier] | None = None,
    *,
    moving: bool = False,
) -> Array:
    """Draw G(z_e), or G'(z_e): uint8 R x R x 3, read-only. Called on the worker's thread."""
    return array_of(picture.fast.render(edits, modify, moving=moving))


def _without_effect(edit: Edit | None, before: Array, after: Array) -> Noticed | None:
    """Return a notice if painting ``edit`` made no visible change inside its mask."""
    if edit is None or not edit.enabled or not edit.mask.any():
        return None
    inside = edit.mask > 0
    change = np.abs(after[inside].astype(np.int16) - before[inside])
    if change.max() >= VISIBLE:
        return None
    why = {
        "add": f"the generator would not put a {edit.concept} here",
        "suppress": "these units draw nothing at this place",
    }.get(edit.verb, f"the generator draws no {edit.concept} here")
    return Noticed("info", f"No visible effect here: {why}.")
