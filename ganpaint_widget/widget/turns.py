"""Each message of a page once and in order, and which of them a picture shows.

A page numbers its strokes and commands. :class:`Turns` holds an account of each page, carries out what is
next in its count, answers what is not, and queues what comes behind a command that waits for the model.

Locks, in this order only: the lane (the order of messages), then the books (the accounts). Nobody waits for
the worker while one is held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import GANPaintError
from ..session import EditingSession
from ..session.document import SPEAKER
from . import protocol
from .protocol import Command, ProtocolError, Stroke

log = logging.getLogger(__name__)

STROKE_PATIENCE = 5.0
"""Seconds after its last message that a stroke counts as open: a page may vanish in the middle of one."""

HISTORY = 4096
"""How many (sequence, revision) pairs a page's history keeps: more than a minute of painting."""

SLOW = frozenset({"open", "scene", "save", "discover"})
"""The commands that wait for the model."""

Turn = Stroke | Command | ProtocolError
"""What takes a number: strokes, commands, and refused ones of both."""


@dataclass
class Page:
    """What the kernel knows of a page."""

    received: int = 0
    """Its last sequence that came, and is applied or waits to be."""
    accepted: int = 0
    """Its last sequence that is applied, or was refused."""
    told: int = 0
    """Its last sequence that it has been told of, by `accepted` or by a frame that covers it."""
    applied: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """(sequence, revision once it was applied), both growing; of one revision only the last sequence."""
    stroke_since: float | None = None
    """When the last message of a stroke that is not over came."""

    def book(self, sequence: int, revision: int) -> None:
        """Note that a message is applied, with the revision that it made."""
        if self.applied and self.applied[-1][1] == revision:
            self.applied.pop()
        self.applied.append((sequence, revision))


class Turns:
    """The pages' messages in order.

    Args:
        session: whose revisions are booked. Its `acknowledged` messages, from before a recovery, count as
            carried out: a page may say them again.
        carry_out: does what a stroke or a command says, or raises; what it raises has changed nothing.
        say: sends a message to the pages.
        done: called after each message with its revision, and whether that was booked before its picture
            was asked for.
    """

    def __init__(
        self,
        session: EditingSession,
        carry_out: Callable[[Stroke | Command], object],
        say: Callable[[protocol.Outgoing], None],
        done: Callable[[int, bool], None],
    ) -> None:
        self._session, self._carry_out, self._say, self._done = session, carry_out, say, done
        self._lane = threading.RLock()
        self._books = threading.RLock()
        self._calm = threading.Condition(self._books)
        # Never forgotten while the kernel lives: a page that was would be asked for messages that it no
        # longer has.
        self._pages = {name: Page(count, count, count) for name, count in session.acknowledged.items()}
        self._backlog: deque[Turn] = deque()

    # --- reads, from any thread ---

    def accepted(self, name: str) -> int:
        """Return a page's last message that was applied or refused; 0 for a new page."""
        with self._books:
            return self._page(name).accepted

    def all_accepted(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """Return that of the known pages, or of all."""
        with self._books:
            chosen = self._pages if names is None else names
            return {name: self._pages[name].accepted for name in chosen if name in self._pages}

    def covers(self, names: Iterable[str], revision: int) -> dict[str, int]:
        """Page to its last message that was applied before this revision was complete. They are told so."""
        with self._books:
            covers = {}
            for name in names:
                applied = self._pages[name].applied if name in self._pages else ()
                sequence = next((s for s, r in reversed(applied) if r <= revision), None)
                if sequence is not None:
                    covers[name] = sequence
                    self._pages[name].told = max(sequence, self._pages[name].told)
            return covers

    @property
    def painting(self) -> bool:
        """Whether a page is in the middle of a stroke."""
        latest = time.monotonic() - STROKE_PATIENCE
        with self._books:
            return any(
                page.stroke_since is not None and page.stroke_since > latest for page in self._pages.values()
            )

    @property
    def waiting(self) -> int:
        """How many messages wait for a slow command, itself included."""
        return len(self._backlog)

    def settle(self, seconds: float) -> None:
        """Wait, at most so long, until no stroke is open and nothing waits."""
        end = time.monotonic() + seconds
        with self._books:
            while (self._backlog or self.painting) and (left := end - time.monotonic()) > 0:
                self._calm.wait(left)

    # --- messages ---

    def take(self, name: str, sequence: int, turn: Turn) -> None:
        """Carry out a page's message if it is the next in its count, else answer where the kernel is.

        Strokes and most commands are done here and now, in well under a millisecond plus the journal's
        write: so they are in before the next cell runs. A command that waits for the model is done on a
        thread of its own, and everything that comes meanwhile queues behind it; the kernel's thread stays
        free for acknowledgments and Cancel.
        """
        with self._lane:
            with self._books:
                page = self._page(name)
                received, accepted = page.received, page.accepted
            if sequence <= received:
                self._say(protocol.accepted(name, accepted, self._session.revision))
                return
            if sequence > received + 1:
                self._say(protocol.welcome(name, accepted, self._session.revision))
                return
            page.received = sequence
            slow = isinstance(turn, Command) and turn.name in SLOW
            if slow or self._backlog:
                self._backlog.append(turn)
                if len(self._backlog) == 1:
                    threading.Thread(target=self._work_off, name="ganpaint-widget", daemon=True).start()
                return
            try:
                self._apply(name, sequence, turn)
            except BaseException:
                page.received = accepted  # Ctrl-C in the middle: the page will be asked to say it again
                raise

    def changed(self, revision: int) -> None:
        """Note a change of the session, before its picture is requested.

        Called on the thread of the message that made it.
        """
        speaker = SPEAKER.get()
        if speaker is not None:
            with self._books:
                self._page(speaker[0]).book(speaker[1], revision)

    def _page(self, name: str) -> Page:
        return self._pages.setdefault(name, Page())

    def _work_off(self) -> None:
        """Do what has queued up, in order; a message leaves the queue when it is done."""
        while True:
            turn = self._backlog[0]
            assert turn.page is not None and turn.sequence is not None
            try:
                self._apply(turn.page, turn.sequence, turn)
            finally:
                with self._lane:
                    self._backlog.popleft()
                    done = not self._backlog
                with self._books:
                    self._calm.notify_all()
            if done:
                return

    def _apply(self, name: str, sequence: int, turn: Turn) -> None:
        """Do it, book it, say so. What fails has changed nothing, and counts as accepted."""
        if isinstance(turn, Stroke):
            with self._books:
                self._page(name).stroke_since = None if turn.last else time.monotonic()
        refused: GANPaintError | None = None
        speaker = SPEAKER.set((name, sequence))
        try:
            if isinstance(turn, ProtocolError):
                refused = turn
            else:
                self._carry_out(turn)
        except GANPaintError as error:
            refused = error
        except Exception as error:
            log.exception("A message of the page failed.")
            refused = GANPaintError(
                f"The page's command failed ({type(error).__name__}: {error}).",
                "Undo the last step and try again, or look into the kernel's log.",
            )
        finally:
            SPEAKER.reset(speaker)
        # Read after the verb: it may be higher than the verb's own when other threads edit as well, never
        # lower, so that no frame claims to cover what it does not.
        revision = self._session.revision
        with self._books:
            page = self._page(name)
            booked = bool(page.applied) and page.applied[-1][0] == sequence
            if not booked:
                page.book(sequence, revision)
            page.accepted = sequence
            # In the middle of a stroke its frame says that a message is accepted, and halves what the page
            # has to read. Where frames do not keep up, every second message is answered; the last one always.
            answered = not isinstance(turn, Stroke) or turn.last or page.told < sequence - 1
            if refused is not None or answered:
                page.told = sequence
            self._calm.notify_all()
        if refused is not None:
            self._say(protocol.error(name, sequence, refused.message, refused.hint))
        elif answered:
            self._say(protocol.accepted(name, sequence, revision))
        self._done(revision, booked)
