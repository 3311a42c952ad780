"""The order of messages: each is carried out once and in turn, and pictures know which ones they show.

A page numbers its strokes and commands. :class:`Turns` keeps an account of each page. It carries out the next
message in its count, answers any other, and queues messages behind one that waits for the model.

The locks are taken in this order only: the lane (the order of messages), then the books (the accounts). A
thread that holds one does not wait for the worker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import GANPaintError
from ..session import EditingSession
from ..session.document import SPEAKER
from . import protocol
from .protocol import Command, ProtocolError, Stroke

log = logging.getLogger(__name__)

STROKE_PATIENCE = 5.0
"""Seconds after its last message for which a stroke counts as open, since a page may vanish during one."""

HISTORY = 4096
"""The number of (sequence, revision) pairs that a page's history keeps: more than a minute of painting."""

SLOW = frozenset({"open", "scene", "save", "discover"})
"""The commands that always wait for the model; see also :meth:`Turns._slow`."""

Turn = Stroke | Command | ProtocolError
"""Messages with a sequence number: strokes, commands, and refused ones of both."""


@dataclass
class Page:
    """The kernel's account of a page."""

    received: int = 0
    """The page's last sequence that was received. It is applied, or waits to be."""
    accepted: int = 0
    """The page's last sequence that was applied or refused."""
    told: int = 0
    """The last sequence that was confirmed to the page, with `accepted` or with a frame that covers it."""
    applied: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """Pairs (sequence, revision after it), both rising, with only the last sequence of each revision and the
    last revision of each sequence."""
    stroke_since: float | None = None
    """The time of the last message of an open stroke."""

    @property
    def confirmed(self) -> int:
        """The last sequence that the page knows or may know to be accepted.

        A frame may confirm a message before its verb returns. A lower count would look like a new kernel.
        """
        return max(self.accepted, self.told)

    def booked(self, sequence: int) -> bool:
        """Return whether this message, the last one so far, was booked."""
        return bool(self.applied) and self.applied[-1][0] == sequence

    def book(self, sequence: int, revision: int) -> None:
        """Note that a message was applied and made this revision."""
        # A project makes two revisions, for its picture and its edits. Only the second shows the message.
        if self.booked(sequence) or (self.applied and self.applied[-1][1] == revision):
            self.applied.pop()
        self.applied.append((sequence, revision))


class Turns:
    """The pages' messages in order.

    Args:
        session: the session whose revisions are booked. Its `acknowledged` messages, from before a recovery,
            count as carried out, since a page may repeat them.
        carry_out: carries out a stroke or a command, or raises without having changed anything.
        say: sends a message to the pages.
        done: called after each message with its revision, and whether that was booked before its picture
            was requested.
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
        # Kept as long as the kernel lives. The kernel would ask a forgotten page for messages that it no
        # longer has.
        self._pages = {name: Page(count, count, count) for name, count in session.acknowledged.items()}
        self._backlog: deque[Turn] = deque()

    # --- reads, from any thread ---

    def accepted(self, name: str) -> int:
        """Return a page's last message that was applied, refused or shown; 0 for a new page."""
        with self._books:
            return self._page(name).confirmed

    def all_accepted(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """Return the last finished message of those of the named pages that are known, or of all."""
        with self._books:
            chosen = self._pages if names is None else names
            return {name: self._pages[name].accepted for name in chosen if name in self._pages}

    def covers(self, names: Iterable[str], revision: int) -> dict[str, int]:
        """Return and confirm each page's last message that was applied before this revision was complete."""
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
        """The number of messages that wait for a slow one, including that one."""
        return len(self._backlog)

    def settle(self, seconds: float) -> None:
        """Wait until no stroke is open and no message waits, but not longer than ``seconds``."""
        end = time.monotonic() + seconds
        with self._books:
            while (self._backlog or self.painting) and (left := end - time.monotonic()) > 0:
                self._calm.wait(left)

    # --- messages ---

    def take(self, name: str, sequence: int, turn: Turn) -> None:
        """Carry out a page's message if it is the next in its count, else answer with the kernel's count.

        Strokes and most commands run at once, in well under a millisecond plus the journal's write, so they
        take effect before the next cell runs. A message that waits for the model runs on a thread of its own,
        and later messages queue behind it. The kernel's thread stays free for acknowledgments and Cancel.
        """
        with self._lane:
            with self._books:
                page = self._page(name)
                received, accepted = page.received, page.confirmed
            if sequence <= received:
                self._say(protocol.accepted(name, accepted, self._session.revision))
                return
            if sequence > received + 1:
                self._say(protocol.welcome(name, accepted, self._session.revision))
                return
            page.received = sequence
            if self._backlog or self._slow(turn):
                self._backlog.append(turn)
                if len(self._backlog) == 1:
                    threading.Thread(target=self._work_off, name="ganpaint-widget", daemon=True).start()
                return
            try:
                self._apply(name, sequence, turn)
            except BaseException:
                self._interrupted(name, sequence)
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

    def _slow(self, turn: Turn) -> bool:
        """Return whether a message may wait for the model."""
        if isinstance(turn, Stroke):
            # Only the first message of a restyle measures its reference.
            return turn.reference is not None and all(edit.id != turn.edit for edit in self._session.edits)
        if not isinstance(turn, Command):
            return False
        return turn.name in SLOW or (turn.name == "retune" and self._measures(turn.arguments))

    def _measures(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the model may have to measure activations for these settings of an edit."""
        if "reference" in settings or "variant" in settings or settings.get("target") == "exemplar":
            return True
        # The dissection has the other targets, and a variant adds an instance's activations to them.
        return "target" in settings and any(
            edit.id == settings["edit"] and edit.variant for edit in self._session.edits
        )

    def _interrupted(self, name: str, sequence: int) -> None:
        """Count a message that Ctrl-C has interrupted: the page repeats it, unless it was carried out."""
        revision, carried_out = self._session.revision, self._session.acknowledged.get(name, 0)
        with self._books:
            page = self._page(name)
            if carried_out >= sequence and not page.booked(sequence):
                page.book(sequence, revision)
            if page.booked(sequence):
                page.accepted = sequence
            page.received = page.accepted

    def _work_off(self) -> None:
        """Carry out the queued messages in order. A message leaves the queue when it is done."""
        done = False
        while not done:
            turn = self._backlog[0]
            assert turn.page is not None and turn.sequence is not None
            try:
                self._apply(turn.page, turn.sequence, turn)
            except BaseException:  # whatever a message raises, the messages behind it go on
                log.exception("A queued message of the page failed.")
            with self._lane:
                self._backlog.popleft()
                done = not self._backlog
            with self._books:
                self._calm.notify_all()

    def _apply(self, name: str, sequence: int, turn: Turn) -> None:
        """Carry out, book and confirm a message. A failed one changes nothing and counts as accepted."""
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
                "Undo the last step and try again, or check the kernel's log.",
            )
        finally:
            SPEAKER.reset(speaker)
        # Read after the verb. If other threads edit as well, it may be higher than the verb's own revision.
        # It is never lower, so that no frame claims to cover a message that it does not show.
        revision = self._session.revision
        with self._books:
            page = self._page(name)
            booked = page.booked(sequence)
            if not booked:
                page.book(sequence, revision)
            page.accepted = sequence
            # Within a stroke, a frame confirms the message, which halves the messages that the page reads. If
            # frames do not keep up, every second message is answered. The last one always is.
            answered = not isinstance(turn, Stroke) or turn.last or page.told < sequence - 1
            if refused is not None or answered:
                page.told = sequence
            self._calm.notify_all()
        if refused is not None:
            self._say(protocol.error(name, sequence, refused.message, refused.hint))
        elif answered:
            self._say(protocol.accepted(name, sequence, revision))
        try:
            self._done(revision, booked)
        except Exception:
            log.exception("The state after a message could not be written.")
