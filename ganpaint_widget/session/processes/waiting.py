"""Work on the model with a waiting caller. It may take minutes, and can be stopped."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TextIO, TypeVar

from tqdm import tqdm

from ...errors import GANPaintError
from ...tickets import Cancelled, Report, Ticket
from ..worker import Worker

P = ParamSpec("P")
T = TypeVar("T")


class Waiting:
    """Runs work on the worker's thread and waits for it.

    The work runs inside the checkpoints of a long job, if there is one, so that callers do not wait for that.
    Its own checkpoints serve previews.

    Args:
        failed, cancelled: the messages of its errors, such as "The picture could not be opened" and "Opening
            the picture was canceled".
        report: called with the progress.
        note: the text of a progress bar that appears after three seconds; ``None`` shows no bar.
    """

    def __init__(
        self,
        worker: Worker,
        failed: str,
        cancelled: str,
        report: Callable[[Report], None],
        note: str | None = None,
    ) -> None:
        self._worker, self._failed, self._cancelled = worker, failed, cancelled
        self._report, self._note = report, note
        self._tickets: list[Ticket] = []

    def run(self, work: Callable[Concatenate[Ticket, P], T], *given: P.args, **named: P.kwargs) -> T:
        """Run ``work(ticket, *given)`` in the caller's context. Ctrl-C cancels it.

        Raises:
            GANPaintError: the work failed or was cancelled.
        """
        with tqdm(
            total=1.0,
            desc=self._note,
            bar_format="{desc}: {percentage:.0f} %, {remaining} left",
            file=_stream(),
            delay=3,
            leave=False,
            disable=self._note is None,
        ) as bar:

            def report(report: Report) -> None:
                bar.update(report.fraction - bar.n)
                self._report(report)

            ticket = self._worker.ticket(report)
            self._tickets.append(ticket)
            context = contextvars.copy_context()

            def begin() -> T:
                if ticket.cancelled:
                    raise Cancelled
                return context.run(work, ticket, *given, **named)

            try:
                return self._worker.ask(begin)
            except Cancelled:
                raise GANPaintError(f"{self._cancelled}.", "Try it again.") from None
            except Exception as error:
                raise explained(self._failed, error) from error
            except BaseException:
                ticket.cancel()
                raise
            finally:
                self._tickets.remove(ticket)

    @staticmethod
    def say(text: str) -> None:
        """Write a line above the bar, for callers without an editor that could show it."""
        tqdm.write(text, file=_stream())

    def cancel(self, before: Ticket | None = None) -> None:
        """Ask all such work to end; with ``before``, only the work that began earlier than that ticket."""
        tickets = list(self._tickets)
        if before is not None:
            # Ctrl-C removes a ticket while its work still runs.
            tickets = tickets[: tickets.index(before)] if before in tickets else []
        for ticket in tickets:
            ticket.cancel()


def _stream() -> TextIO:
    # In a notebook, text on stderr looks like an error and leaves a red line.
    return sys.stdout if type(sys.stdout).__module__.startswith("ipykernel.") else sys.stderr


def explained(what: str, error: BaseException) -> GANPaintError:
    """Return a GANPaintError that explains an unexpected error to users."""
    if isinstance(error, GANPaintError):
        return error
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return GANPaintError(f"{what} ({detail}).", "Try again; if it fails again, check the kernel's log.")
