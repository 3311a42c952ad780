"""Choosing: the exemplar of an addition is chosen once, when its first stroke ends.

While the stroke goes on, the addition has the exemplar whose picture is most like the photo, so that its
colors stay the same. Only the whole mask tells whether that object fits it (``dissection/choosing.py``).
Later strokes change nothing: by then, the user has seen the object. A stroke does not wait for the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from ...method.edits import Edit
from ..document import Edits, History
from ..worker import Worker
from .inverting import OpenedPicture

PATIENCE: Final = 0.3
"""Seconds. If a picture takes longer to draw and to look at, a stroke keeps its first exemplar, since the
next one may begin meanwhile."""


class Choosing:
    """The additions whose exemplar is still to be chosen.

    Args:
        picture: returns the open picture.
        slow: returns whether the segmenter is too slow to be asked while the user paints.
        change: changes the history under the lock, and tells of it afterwards.
        failed: called with the failed step and the reason.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        picture: Callable[[], OpenedPicture],
        slow: Callable[[], bool],
        change: Callable[[], AbstractContextManager[History]],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._worker, self._picture, self._slow = worker, picture, slow
        self._change, self._failed = change, failed
        self._begun: set[str] = set()

    def begin(self, edit_id: str) -> None:
        """Note that an addition has begun whose version is to be chosen."""
        self._begun.add(edit_id)

    def end(self, edit_id: str) -> None:
        """Note that a stroke has ended. If it was the first one of an addition, choose its exemplar soon."""
        if edit_id not in self._begun:
            return
        self._begun.discard(edit_id)
        if not (self._slow() or self._worker.closed):
            self._worker.request((id(self), edit_id), partial(self._choose, edit_id), self._unable)

    def wait(self) -> None:
        """Wait for the choices that were asked for; on the worker's own thread, do not wait."""
        if not (self._worker.current or self._worker.closed):
            self._worker.ask(lambda: None)  # requests run in their order

    def of(self, edit: Edit, before: Edits) -> Edit:
        """Return an addition with its mask, and with its exemplar; wait for the model.

        Args:
            edit: the addition, which has not been made.
            before: the edits that it follows.
        """
        if not edit.by_exemplar:
            return edit
        return self._worker.ask(_best_fitting, self._picture(), before, edit, math.inf)

    def _choose(self, edit_id: str) -> None:
        with self._change() as history:
            picture, edits, place = self._picture(), history.edits, history.find(edit_id)
        if place is not None:
            edit = edits[place]
            chosen = _best_fitting(picture, edits[:place], edit, PATIENCE)
            if chosen is not edit:
                with self._change() as history:
                    history.choose(chosen)

    def _unable(self, error: BaseException) -> None:
        self._failed("No other version of the addition could be tried", error)


def _best_fitting(picture: OpenedPicture, before: Edits, edit: Edit, patience: float) -> Edit:
    from ...dissection.choosing import best_fitting

    fast = picture.fast
    return best_fitting(fast.model, fast.state, before, edit, fast.edited, patience)
