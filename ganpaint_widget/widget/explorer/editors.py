"""The editors in which units are tried, one for each layer that was shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ...explorer.exploration import Exploration
from ...session import EditingSession
from ...session.worker import Worker
from ..kernel import along
from ..paint import GANPaint
from .kit import close_all


class Editors:
    """The editors of a generator's layers, which the worker opens on request.

    Args:
        generator, device: as the explorer got them.
        given: an editor that the caller passed, which is never closed here; ``None`` for none.
        worker: makes the sessions.
        lock: held by a thread that changes the display.
        ready: called under the lock with a layer and its new editor.
        failed: called with a sentence if an editor could not be opened.

    Attributes:
        open: the open editors by their layers; changes under the lock.
    """

    def __init__(
        self,
        generator: Any,
        device: str | None,
        given: GANPaint | None,
        worker: Worker,
        lock: threading.RLock,
        *,
        ready: Callable[[str, GANPaint], object],
        failed: Callable[[str], object],
    ) -> None:
        self._generator, self._device, self.given = generator, device, given
        self._worker, self._lock = worker, lock
        self._ready, self._failed = ready, failed
        self._opening: dict[str, Future[None]] = {}
        self._closed = False
        self.open: dict[str, GANPaint] = {}

    @property
    def own(self) -> list[GANPaint]:
        """The open editors that the caller did not pass."""
        return [paint for paint in self.open.values() if paint is not self.given]

    def request(self, found: Exploration) -> None:
        """Ask the worker for a layer's editor, if the layer is dissected and has none. It takes a moment."""
        with self._lock:
            known = found.layer in self.open or found.layer in self._opening
            if not (self._closed or known or found.dissection is None):
                self._opening[found.layer] = self._worker.submit(along(self._make, found))

    def wait(self, layer: str) -> None:
        """Wait for a requested editor.

        Raises:
            GANPaintError: it could not be opened.
        """
        opening = self._opening.get(layer)
        if opening is not None:
            self._worker.wait(opening)

    def drop(self, layer: str) -> None:
        """Close a layer's editor, which can be requested again. A given one stays."""
        with self._lock:
            paint = self.open.get(layer)
            if paint is not None and paint is not self.given:
                del self.open[layer]
                close_all([paint])

    def close(self) -> None:
        """Open no more editors. The explorer closes its own ones with its controls."""
        self._closed = True

    def _make(self, found: Exploration) -> None:
        # A generator with its own dissection is passed by name, so that the journal can name it.
        named = found.own and isinstance(self._generator, str)
        source = self._generator if named else found.model
        try:
            paint = GANPaint(session=EditingSession(generator=source, progressive=True, device=self._device))
        except Exception as error:
            with self._lock:
                del self._opening[found.layer]  # so that it can be tried again
            self._failed(f"The editor could not be opened: {error}")
            raise
        with self._lock:
            del self._opening[found.layer]
            if self._closed:
                close_all([paint])
                return
            self.open[found.layer] = paint
            self._ready(found.layer, paint)
