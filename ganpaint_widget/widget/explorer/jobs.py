"""Long jobs, one at a time, with progress and Cancel, and the status line."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from html import escape
from typing import TypeVar

from ipywidgets import HTML, Button, FloatProgress, HBox, Layout
from ipywidgets.widgets.widget_float import ProgressStyle

from ...errors import GANPaintError
from ...session.worker import Worker
from ...tickets import Cancelled, Report, Ticket
from ..kernel import along

log = logging.getLogger(__name__)
T = TypeVar("T")

PROGRESS_PAUSE = 0.1
"""Seconds between two updates of the progress bar."""


class Jobs:
    """Long jobs, one at a time.

    Args:
        worker: runs the jobs.
        lock: held by a thread that changes the display.
        cancel: the button that stops the running job.
    """

    def __init__(self, worker: Worker, lock: threading.RLock, cancel: Button) -> None:
        self._worker, self._lock = worker, lock
        self._ticket: Ticket | None = None
        self._reported = 0.0
        self._closed = False
        self.status = HTML()
        self.status.add_class("gpx-status")
        self.progress = FloatProgress(
            min=0, max=1, layout=Layout(width="280px"), style=ProgressStyle(description_width="96px")
        )
        self.box = HBox([self.progress, cancel], layout=Layout(display="none", align_items="center"))

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Show a text in the status line."""
        kind = "gpx-wrong" if wrong else "gpx-note"
        self.status.value = f"<div class='{kind}' role='status'>{escape(text)}</div>"

    def guarded(self, handle: Callable[[], object]) -> bool:
        """Run an action under the lock; show errors in the status line. Return whether it succeeded."""
        try:
            with self._lock:
                handle()
        except GANPaintError as error:
            self.say(str(error), wrong=True)
        except Exception as error:
            log.exception("The explorer failed.")
            self.say(f"The action failed ({type(error).__name__}: {error}).", wrong=True)
        else:
            return True
        return False

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._ticket is not None

    def start(
        self,
        what: str,
        work: Callable[[Ticket], T],
        done: Callable[[T], object],
        otherwise: Callable[[], object] = lambda: None,
    ) -> None:
        """Run ``work`` on the worker, with progress and Cancel, then ``done`` with its result.

        Args:
            what: the job's name in the status line.
            work: the job.
            done: called under the lock with the job's result.
            otherwise: called under the lock if the job was cancelled or failed.

        Raises:
            GANPaintError: another job is running.
        """

        def job() -> None:
            try:
                found = work(ticket)
            except Cancelled:
                self._end(f"{what} was canceled.", False, otherwise)
            except GANPaintError as error:
                self._end(str(error), True, otherwise)
            except Exception as error:
                log.exception("%s failed.", what)
                self._end(f"{what} failed ({type(error).__name__}: {error}).", True, otherwise)
            else:
                self._end(f"{what}: done.", False, lambda: done(found))

        with self._lock:
            if self.busy:
                raise GANPaintError("Another measurement is still running.", "Wait for it, or cancel it.")
            ticket = self._worker.ticket(self._report)
            self._worker.submit(along(job))
            self._ticket = ticket
            self.progress.value, self.progress.description = 0, ""
            self.box.layout.display = None
            self.say(f"{what} …")

    def cancel(self) -> None:
        """Stop the running job at its next checkpoint."""
        if self._ticket is not None:
            self._ticket.cancel()
            self.say("Stopping …")

    def close(self) -> None:
        """Stop the running job, without showing anything more of it."""
        with self._lock:
            self._closed = True
            if self._ticket is not None:
                self._ticket.cancel()

    def _end(self, text: str, wrong: bool, then: Callable[[], object]) -> None:
        with self._lock:
            self._ticket = None
            if self._closed:
                return
            self.box.layout.display = "none"
            self.say(text, wrong=wrong)
            self.guarded(then)

    def _report(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._reported >= PROGRESS_PAUSE and not self._closed:
            self._reported = now
            self.progress.value = report.fraction
            left = report.seconds_left
            self.progress.description = "" if left is None else f"{left:.0f} s left"
