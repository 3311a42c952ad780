"""The one thread that owns the model.

A model is not thread-safe, strokes arrive faster than pictures can be computed, and users continue to paint
during a blend of half a minute. A :class:`Worker` solves all three problems:

- *Jobs* run in the order in which they were submitted. Each hands back a ``Future``.
- A *request* has a key, and only the newest of each key runs. Older ones that still wait are dropped: the
  preview of the stroke before last is useless. Requests run before jobs, and so does the work that a waiting
  caller *asks* for.
- A long job carries a :class:`Ticket` and calls :meth:`Ticket.checkpoint` often. There it reports its
  progress, learns of its cancellation, and lets waiting requests run. A *courteous* job also rests there
  while requests keep coming and no other job waits.
- *Idle* work begins when nothing else has been requested for a while, and stops at its next checkpoint when
  something is. The worker calls it again until it is done.

An error in a job or a request goes to its caller, and the thread continues.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..errors import GANPaintError
from ..tickets import Cancelled, Report, Ticket

T = TypeVar("T")
OnError = Callable[[BaseException], None]

log = logging.getLogger(__name__)

QUIET: Final = 0.5
"""Seconds without requests after which idle work begins and courteous jobs continue. It is longer than the
pause between two strokes."""

# Seconds of a wait before Python looks for Ctrl-C again. On Windows, an endless wait would ignore it.
_TICK = 0.1


class _IdleTicket(Ticket):
    """A ticket that is cancelled as soon as other work waits."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._for = worker

    @property
    def cancelled(self) -> bool:
        return super().cancelled or self._for.wanted


@dataclass(frozen=True)
class _Request:
    run: Callable[[], object]
    on_error: OnError | None
    future: Future[Any] | None = None


class Worker:
    """One daemon thread, and the queues in front of it.

    Args:
        start: ``False`` makes a worker without a thread of its own, which tests can step. It works only
            inside :meth:`run_pending`, :meth:`call` and :meth:`wait`.
    """

    def __init__(self, name: str = "ganpaint-worker", *, start: bool = True) -> None:
        self._wake = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[], object]]] = deque()
        self._requests: dict[Hashable, _Request] = {}
        self._idle: dict[Hashable, tuple[Callable[[Ticket], bool], OnError | None]] = {}
        self._worked = time.monotonic()  # when the last work other than idle work ended
        self._served = -math.inf  # when requests were served last
        self._closed = False
        self._owner: int | None = None  # the thread that does our work at this moment
        self._thread: threading.Thread | None = None
        if start:
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    # --- asking for work, from any thread ---

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Queue ``work(*arguments)``; the future gets its value or its exception.

        Raises:
            GANPaintError: the worker has been closed.
        """
        future: Future[T] = Future()
        with self._wake:
            self._refuse_if_closed()
            self._jobs.append((future, lambda: work(*arguments)))
            self._wake.notify()
        return future

    def request(self, key: Hashable, work: Callable[[], object], on_error: OnError | None = None) -> None:
        """Run ``work()`` soon, in place of a waiting request with the same key.

        Args:
            on_error: called on the worker's thread with an exception of ``work``, which is logged otherwise.

        Raises:
            GANPaintError: the worker has been closed.
        """
        with self._wake:
            self._refuse_if_closed()
            # The newest request takes the place of the one that it replaces, so that no key waits for ever.
            self._requests[key] = _Request(work, on_error)
            self._wake.notify()

    def ask(self, work: Callable[..., T], *arguments: object) -> T:
        """Do the same as :meth:`call`, but run like a request, also inside the checkpoints of long jobs.

        Work that takes more than a moment must have checkpoints of its own, which serve other requests.
        """
        if self.current:
            return work(*arguments)
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # it goes to the caller
                future.set_exception(error)

        with self._wake:
            self._refuse_if_closed()
            self._requests[object()] = _Request(run, None, future)
            self._wake.notify()
        return self.wait(future)

    def idle(self, key: Hashable, work: Callable[[Ticket], bool], on_error: OnError | None = None) -> None:
        """Run ``work(ticket)`` when nothing else is to be done, again and again, until it returns ``True``.

        ``Cancelled`` counts as ``False``. It replaces idle work of the same key. An exception ends it; see
        :meth:`request`.
        """
        with self._wake:
            self._refuse_if_closed()
            self._idle[key] = work, on_error
            self._wake.notify()

    def ticket(self, observer: Callable[[Report], None] | None = None, *, courteous: bool = False) -> Ticket:
        """Return a ticket for a long job: ``worker.submit(job, ticket)``."""
        return Ticket(self, observer, courteous=courteous)

    def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Run ``work(*arguments)`` on the worker's thread and wait. On that thread itself, run it at once."""
        if self.current:
            return work(*arguments)
        return self.wait(self.submit(work, *arguments))

    def wait(self, future: Future[T], timeout: float | None = None) -> T:
        """Wait for a job's future, and return its value. Ctrl-C can end the wait.

        Raises:
            TimeoutError: ``timeout`` seconds have passed.
            GANPaintError: the call came on the worker's own thread, where the job could never begin, or the
                worker was closed before the job began.
        """
        if self.current and not future.done():
            raise GANPaintError(
                "This call would wait for the thread that it is made on.",
                "Make it outside the observer's callback, for example from a thread of your own.",
            )
        if self._thread is None:
            self.run_pending()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return future.result(_TICK)
            except CancelledError:
                raise self._closed_error() from None
            except FutureTimeout:
                if future.done():  # the job's own TimeoutError, not that of this wait
                    raise
                if end is not None and time.monotonic() >= end:
                    raise TimeoutError from None

    @property
    def current(self) -> bool:
        """Whether the calling thread does this worker's work at this moment."""
        return self._owner == threading.get_ident()

    @property
    def threaded(self) -> bool:
        """Whether the worker has a thread of its own (see ``start``)."""
        return self._thread is not None

    @property
    def wanted(self) -> bool:
        """Whether any work waits, apart from idle work."""
        return self._closed or bool(self._jobs or self._requests)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self, timeout: float | None = None) -> None:
        """End the thread. The running job is asked to stop, and waiting work is cancelled."""
        with self._wake:
            self._closed = True
            asked = [request.future for request in self._requests.values() if request.future is not None]
            waiting = [*(future for future, _ in self._jobs), *asked]
            self._jobs.clear()
            self._requests.clear()
            self._idle.clear()
            self._wake.notify_all()
        for future in waiting:
            future.cancel()
        if self._thread is not None and not self.current:
            self._thread.join(timeout)

    # --- doing it, on one thread ---

    def serve(self) -> None:
        """Run the requests that wait now. Checkpoints call this; on other threads it does nothing."""
        if not self.current:
            return
        with self._wake:
            # Later requests wait for the next turn, so that jobs get a turn however fast the user paints.
            waiting = list(self._requests)
        for key in waiting:
            with self._wake:
                # One by one, since a long request may serve the others at its own checkpoints.
                request = self._requests.pop(key, None)
            if request is None:
                continue
            try:
                request.run()
            except BaseException as error:  # the thread must survive whatever a request raises
                self._hand_over(request.on_error, error)
            self._served = time.monotonic()

    def give_way(self, ticket: Ticket) -> None:
        """Run requests until none has come for a while, another job waits, or the ticket is cancelled."""
        while self.current and self.threaded:
            with self._wake:
                while not (self.wanted or ticket.cancelled):
                    left = self._served + QUIET - time.monotonic()
                    if left <= 0:
                        return
                    self._wake.wait(min(left, _TICK))
                if self._jobs or ticket.cancelled:
                    return
            self.serve()

    def run_pending(self) -> None:
        """Do all waiting work on the calling thread. This drives a worker made with ``start=False``."""
        if self._thread is not None:
            raise RuntimeError("This worker has a thread of its own. Make it with start=False to step it.")
        if self.current:
            return
        before, self._owner = self._owner, threading.get_ident()
        try:
            while self.wanted or self._idle:
                self._turn()
                if not self.wanted:
                    self._idle_turn()
        finally:
            self._owner = before

    def _run(self) -> None:
        self._owner = threading.get_ident()
        while True:
            with self._wake:
                while not self.wanted:
                    left = self._worked + QUIET - time.monotonic()
                    if self._idle and left <= 0:
                        break
                    self._wake.wait(left if self._idle else None)
                if self._closed:
                    return
            if self.wanted:
                self._turn()
                self._worked = time.monotonic()
            else:
                self._idle_turn()

    def _turn(self) -> None:
        """Run all waiting requests, then one job."""
        self.serve()
        with self._wake:
            if not self._jobs:
                return
            future, work = self._jobs.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            value = work()
        except BaseException as error:  # it goes to the holder of the future
            future.set_exception(error)
        else:
            future.set_result(value)

    def _idle_turn(self) -> None:
        """Do the idle work that has waited the longest, until it is done or a request comes."""
        with self._wake:
            if not self._idle:
                return
            key, entry = next(iter(self._idle.items()))
        work, on_error = entry
        done = True
        try:
            done = work(_IdleTicket(self))
        except Cancelled:
            done = False
        except BaseException as error:
            self._hand_over(on_error, error)
        with self._wake:
            if self._idle.get(key) is entry:  # it may have been replaced meanwhile
                del self._idle[key]
                if not done:
                    self._idle[key] = entry

    def _hand_over(self, on_error: OnError | None, error: BaseException) -> None:
        try:
            if on_error is None:
                log.error("A request failed.", exc_info=error)
            else:
                on_error(error)
        except Exception:
            log.exception("The error handler of a request failed.")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._closed_error()

    @staticmethod
    def _closed_error() -> GANPaintError:
        return GANPaintError("This worker has been closed.", "Make a new session.")


_default: tuple[int, Worker] | None = None
_default_lock = threading.Lock()


def default_worker() -> Worker:
    """Return the worker that all sessions of this process share, since they share models by name."""
    global _default
    with _default_lock:
        # Threads do not survive a fork, so a forked child needs a worker of its own.
        if _default is None or _default[0] != os.getpid():
            worker = Worker()
            # A thread that is inside torch during the interpreter's shutdown can crash it.
            atexit.register(worker.close, timeout=2.0)
            _default = (os.getpid(), worker)
        return _default[1]
