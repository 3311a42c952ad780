"""A ticket goes with each long job: progress out, cancellation in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """Raised inside a job by its ticket's checkpoint, after the job was cancelled."""


@dataclass(frozen=True)
class Report:
    """How far a long job is.

    Attributes:
        fraction: 0 to 1.
        seconds_left: estimated from the time used so far; ``None`` while there is nothing to go by.
        numbers: what else the job reports, for example ``{"psnr": 27.5}``.
    """

    fraction: float
    seconds_left: float | None
    numbers: Mapping[str, float]


class Host(Protocol):
    """What a ticket asks of whatever does its job, such as a :class:`.worker.Worker`."""

    @property
    def closed(self) -> bool:
        """Whether it is being closed."""

    def serve(self) -> None:
        """Do the requests that are waiting now."""

    def give_way(self, ticket: Ticket) -> None:
        """Do what is requested until nothing has been for a while, or the ticket ends."""


class Ticket:
    """Goes with one long job: progress out, cancellation in. Made by ``Worker.ticket``.

    ``Ticket()`` by itself serves code that runs without a worker, such as a test or a script.
    """

    def __init__(
        self,
        worker: Host | None = None,
        observer: Callable[[Report], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        courteous: bool = False,
    ) -> None:
        self._worker = worker
        self._courteous = courteous
        self._observer = observer
        self._clock = clock
        self._began: float | None = None
        self._cancelled = threading.Event()

    def checkpoint(self, fraction: float, **numbers: float) -> None:
        """Call this often from inside the job, at least some ten times a second.

        Serves the requests that are waiting, reports progress to the ticket's observer.

        Args:
            fraction: the part of the job that is done, 0 to 1.
            numbers: whatever else the observer should know, for example ``psnr=27.5``.

        Raises:
            Cancelled: the job has been cancelled. Let it through, or return what is there so far.
        """
        now = self._clock()
        if self._began is None:
            self._began = now
        if self._worker is not None:
            self._worker.serve()
            if self._courteous:
                self._worker.give_way(self)
        if self._observer is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
            used = now - self._began
            left = used * (1 - fraction) / fraction if fraction > 0 and used > 0 else None
            self._observer(Report(fraction, left, numbers))
        if self.cancelled:
            raise Cancelled()

    def cancel(self) -> None:
        """Ask the job to end at its next checkpoint. From any thread, any number of times."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the job should end: it was cancelled, or its worker is being closed."""
        return self._cancelled.is_set() or (self._worker is not None and self._worker.closed)


def share_of(ticket: Ticket | None, start: float, end: float) -> Ticket | None:
    """Return a ticket for a part of a job: its 0 to 1 is ``start`` to ``end`` of the whole."""
    if ticket is None:
        return None
    whole = ticket

    class Part(Ticket):
        def checkpoint(self, fraction: float, **numbers: float) -> None:
            # In this form, the end is exact: a job that stops a rounding error short of 1 looks unfinished.
            whole.checkpoint(start * (1 - fraction) + end * fraction, **numbers)

    return Part()


def watched(parts: Sequence[T], ticket: Ticket | None) -> Iterator[T]:
    """Yield the parts of a job, with a checkpoint of the ticket after each. A job without parts is done."""
    if ticket is not None and not len(parts):
        ticket.checkpoint(1)
    for done, part in enumerate(parts, start=1):
        yield part
        if ticket is not None:
            ticket.checkpoint(done / len(parts))
