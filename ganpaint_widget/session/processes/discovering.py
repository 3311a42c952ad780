"""Discovering: the search for concepts to paint with, for a generator that has none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import GANPaintError
from ...tickets import Report, Ticket
from ..worker import Worker
from .waiting import Waiting

if TYPE_CHECKING:
    from ...models.model import Model


class Discovering:
    """A session's search for concepts. The caller waits and can stop it. Previews continue meanwhile.

    Args:
        found: called on the worker's thread with a model that has the concepts.
        report: called with the progress.
    """

    def __init__(
        self, worker: Worker, *, found: Callable[[Model], None], report: Callable[[Report], None]
    ) -> None:
        self._found = found
        self._searching = threading.Lock()
        self._waiting = Waiting(
            worker,
            "No concepts could be found",
            "Finding concepts was canceled",
            report,
            "Finding concepts in the generator's features",
        )

    def run(self, model: Model, parts: int) -> None:
        """Find concepts, and keep them in the cache for the next session with this generator.

        Raises:
            GANPaintError: the model has concepts, a search is already running, or it was cancelled; nothing
                has changed then.
        """
        if model.dissection is not None:
            raise GANPaintError(
                f"The generator {model.name!r} already has concepts.",
                "To use others, make a Model with dissection=discover(generator).",
            )
        if not self._searching.acquire(blocking=False):
            raise GANPaintError("A search for concepts is already running.", "Wait for it, or cancel it.")
        try:
            self._waiting.run(self._discover, model, parts)
        finally:
            self._searching.release()

    def cancel(self) -> None:
        """Abandon the search. The waiting caller gets an error that says so."""
        self._waiting.cancel()

    def _discover(self, ticket: Ticket, model: Model, parts: int) -> None:
        from ...dissection import discover
        from ...models.registry import keep_discovery

        dissection = discover(model, parts, ticket=ticket)
        ticket.checkpoint(1)
        keep_discovery(model.generator, dissection)
        self._found(replace(model, dissection=dissection).to())
