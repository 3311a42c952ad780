"""Reviewing: the segmenter judges whether an addition has worked, when the user pauses.

A generator draws what it has learned: asked for a door in a tree, it draws more tree. The preview shows that,
but a beginner may not know why. So after half a second without requests, the segmenter looks at the preview
of the last stroke. A stroke never waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from ...images.arrays import tensor_of
from ...method.edits import Edit
from ...tickets import Ticket
from ..events import Event, Noticed
from ..worker import Worker
from .rendering import Frame, Wanted

if TYPE_CHECKING:
    from ...models.model import Model

SEEN: Final = 0.2
"""The least share of the painted pixels in which the segmenter must see the concept. On three scenes of the
demo, additions where the concept belongs reach 0.38 or more, and most others stay below 0.1."""

LONGEST: Final = 0.3
"""Seconds. A segmenter that needs more for one picture is not used again, since a stroke may begin
meanwhile."""


class Reviewing:
    """Notices to the user about the last addition.

    Args:
        model: the generator with its segmenter. It is replaced when concepts are found.
        lock: the owner's lock. ``wanted`` and ``frame`` are called under it.
        wanted: returns the preview to draw at present.
        frame: returns the newest preview.
        tell: called on the worker's thread with the notice.

    Attributes:
        slow: whether the segmenter has once needed more than ``LONGEST``.
    """

    def __init__(
        self,
        model: Model,
        worker: Worker,
        lock: threading.RLock,
        *,
        wanted: Callable[[], Wanted],
        frame: Callable[[], Frame],
        tell: Callable[[list[Event]], None],
    ) -> None:
        self.model = model
        self._worker, self._lock = worker, lock
        self._wanted, self._frame, self._tell = wanted, frame, tell
        self._told: set[str] = set()  # ids of edits: each is commented on once
        self.slow = False
        self._latest: tuple[int, Noticed] | None = None

    @property
    def notice(self) -> Noticed | None:
        """The notice about the present revision; called under the lock."""
        if self._latest is None or self._latest[0] != self._wanted().revision:
            return None
        return self._latest[1]

    def start(self) -> None:
        """Ask for a review of the newest preview when nothing else is to be done."""
        if not (self.slow or self._worker.closed):
            self._worker.idle((id(self), "review"), self._review)

    def _review(self, _: Ticket) -> bool:
        with self._lock:
            model, wanted, frame = self.model, self._wanted(), self._frame()
        edit = next((edit for edit in wanted.edits if edit.id == wanted.touched), None)
        if edit is None or edit.id in self._told or not frame.shows(wanted):
            return True
        began = time.monotonic()
        notice = judged(model, edit, frame)
        self.slow = time.monotonic() - began > LONGEST
        if notice is not None:
            self._told.add(edit.id)
            with self._lock:
                self._latest = wanted.revision, notice
            self._tell([notice])
        return True


def judged(model: Model, edit: Edit, frame: Frame) -> Noticed | None:
    """Return a notice if the segmenter sees hardly any of an addition's concept where it was painted.

    The result is also ``None`` if the segmenter does not know the concept, or if less than one cell of the
    edit layer is painted.
    """
    from ...models.checking import segmented

    segmenter, painted = model.segmenter, edit.mask >= 128
    if segmenter is None or edit.verb != "add" or not edit.enabled or edit.concept not in segmenter.classes:
        return None
    cell = painted.size / frame.picture.fast.state.features[0, 0].numel()
    if painted.sum() < cell:
        return None
    picture = tensor_of(frame.array, frame.picture.x.device)
    seen = segmented(segmenter, picture)[0].cpu().numpy()[painted]
    counts = np.bincount(seen, minlength=len(segmenter.classes))
    if counts[segmenter.classes.index(edit.concept)] >= SEEN * len(seen):
        return None
    instead = segmenter.classes[int(counts.argmax())]
    return Noticed(
        "info",
        f"Hardly any {edit.concept} appears here; the generator draws {instead}. "
        "Undo, and paint where it fits.",
    )
