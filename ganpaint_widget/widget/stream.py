"""Pictures in motion: the stream decides which frames to send, and when.

The kernel can render faster than a page can draw, and a page can be slow, hidden or gone without notice.
Therefore, pictures are *offered*. The stream keeps the newest of each kind, and sends it when no live page
has `IN_FLIGHT` frames left to acknowledge. Pictures that are offered meanwhile become one frame (the dirty
flag of jupyter_rfb), and only sent pictures are encoded.

Every message reaches every page, so there is one count of frames. Each page has its own credit in it:

- An acknowledgment is cumulative. Late, doubled and unknown ones change nothing.
- A page that has not acknowledged for `SILENCE` seconds is *silent*: its debt is written off, and it does not
  hold up others. When only silent pages are left, they get `IN_FLIGHT` frames per `SILENCE`. That is enough
  to come back after a lost acknowledgment, and little if they are gone.
- A silent page that sends any message is alive again, with fresh credit. `hello` always gives fresh credit.
- A page that reports itself *hidden* gets nothing, and does not hold up others, until it says hello again.
- Without any page, or with only hidden ones, nothing is encoded or sent. The newest pictures wait for a
  hello.

The stream has neither a thread nor a timer. It notices time-outs at the next offer, message or `tick()`. That
is enough, because the picture at rest travels as widget state.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..images import files
from ..images.arrays import Array
from . import protocol

IN_FLIGHT = 2
"""The most frames in flight to a page: one that it draws and one on the way, as in jupyter_rfb."""

SILENCE = 5.0
"""Seconds without an acknowledgment after which a page no longer holds the others up."""

MOST_PAGES = 32
"""The largest number of pages to keep. The one that was quiet for the longest time is dropped first."""

Encoder = Callable[[Array], tuple[str, bytes]]


def encode_jpeg(array: Array) -> tuple[str, bytes]:
    """Encode a picture, uint8 H x W x 3, as (MIME type, bytes)."""
    return "image/jpeg", files.encode_jpeg(array)


@dataclass(frozen=True)
class Picture:
    """An offered picture: an array, uint8 H x W x 3, its revision, and the messages that it covers.

    covers is called when the frame is sent, because a message may be booked a moment after its picture was
    rendered.
    """

    kind: str
    array: Array
    revision: int
    covers: Callable[[], Mapping[str, int]]


@dataclass
class _Page:
    """One page's account: the frames that it owes an acknowledgment, oldest first."""

    last_seen: float
    """The time of its last message. If there are too many pages, the oldest is dropped."""
    waiting_since: float
    """The time since which it has owed acknowledgments without sending one."""
    owed: deque[int] = field(default_factory=deque)
    silent: bool = False
    hidden: bool = False


class FrameStream:
    """Sends the newest pictures to the pages, at their pace. Thread-safe.

    send(content, buffers) sends one message to every page. If it raises, that is counted, and the picture
    stays pending. encode turns a picture into (MIME type, bytes). clock returns seconds.
    """

    def __init__(
        self,
        send: Callable[[dict[str, Any], list[bytes]], None],
        encode: Encoder = encode_jpeg,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._encode = encode
        self._clock = clock
        # One lock for everything. Reentrant, because an answer may come before `send` returns.
        self._lock = threading.RLock()
        self._pages: dict[str, _Page] = {}
        # The newest picture of each kind, in the order in which they wait. A replaced picture keeps its place
        # and a sent one gives it up, so kinds take turns and none starves.
        self._pending: dict[str, Picture] = {}
        self._frame = 0
        self._offered = self._sent = self._dropped = self._failed = self._bytes = 0
        self._last_failure: str | None = None

    # --- what happens ---

    def offer(self, picture: Picture) -> None:
        """Offer a picture, to be sent at once, later, or never if a newer one of its kind comes first."""
        with self._lock:
            self._offered += 1
            self._dropped += picture.kind in self._pending
            self._pending[picture.kind] = picture
            self._pump()

    def hello(self, page: str) -> None:
        """Note that a page has started or come back, and owes nothing."""
        self._start(page, hidden=False)

    def hide(self, page: str) -> None:
        """Note that a page is out of sight until its next hello."""
        self._start(page, hidden=True)

    def _start(self, page: str, *, hidden: bool) -> None:
        with self._lock:
            self._spoken(page)
            self._pages[page].owed.clear()
            self._pages[page].hidden = hidden
            self._pump()

    def touch(self, page: str) -> None:
        """Note that a page has sent something other than hello or an acknowledgment."""
        with self._lock:
            self._spoken(page)
            self._pump()

    def ack(self, page: str, frame: int) -> None:
        """Note that a page has drawn `frame` and all before it."""
        with self._lock:
            account = self._pages.get(page)
            # Acknowledgments from unknown pages, and of frames that were never sent, are ignored.
            if account is not None and frame <= self._frame:
                self._spoken(page)
                while account.owed and account.owed[0] <= frame:
                    account.owed.popleft()
                    account.waiting_since = account.last_seen
            self._pump()

    def tick(self) -> None:
        """Check for time-outs."""
        with self._lock:
            self._pump()

    # --- what is seen from outside ---

    @property
    def pages(self) -> tuple[str, ...]:
        """The pages that have spoken, the one that spoke last at the end."""
        with self._lock:
            return tuple(self._pages)

    def stats(self) -> dict[str, Any]:
        """Return counts since the start, and the account of every page."""
        with self._lock:
            return {
                "offered": self._offered,
                "sent": self._sent,
                "dropped": self._dropped,
                "failed": self._failed,
                "last_failure": self._last_failure,
                "bytes": self._bytes,
                "pending": tuple(self._pending),
                "pages": {
                    name: {"in_flight": len(page.owed), "silent": page.silent, "hidden": page.hidden}
                    for name, page in self._pages.items()
                },
            }

    # --- the scheduler; all below runs under the lock ---

    def _spoken(self, name: str) -> None:
        self._expire()
        now = self._clock()
        page = self._pages.pop(name, None) or _Page(last_seen=now, waiting_since=now)
        if page.silent:
            page.silent = False
            page.owed.clear()
        page.last_seen = now
        self._pages[name] = page  # at the end: the dictionary is in the order of speaking
        while len(self._pages) > MOST_PAGES:
            del self._pages[next(iter(self._pages))]

    def _pump(self) -> None:
        """Send the pictures that may be sent now."""
        self._expire()
        while self._pending and self._open():
            picture = self._pending.pop(next(iter(self._pending)))
            if not self._post(picture):
                # It waits again, unless a newer picture of its kind was offered during the failed send.
                self._pending.setdefault(picture.kind, picture)
                return

    def _expire(self) -> None:
        """Find pages that have become silent, and write off their debts."""
        now = self._clock()
        for page in self._pages.values():
            if page.owed and now - page.waiting_since >= SILENCE:
                page.silent = True
                page.owed.clear()

    def _open(self) -> bool:
        """Return whether a frame may be sent."""
        seen = [page for page in self._pages.values() if not page.hidden]
        alive = [page for page in seen if not page.silent]
        if alive:
            return all(len(page.owed) < IN_FLIGHT for page in alive)
        return any(len(page.owed) < IN_FLIGHT for page in seen)

    def _post(self, picture: Picture) -> bool:
        # The debt is booked before sending, since the acknowledgment may arrive before `send` returns.
        self._frame += 1
        number = self._frame
        now = self._clock()
        for page in self._pages.values():
            # Frames for other pages do not count for a hidden page, or for a silent one without credit.
            if not page.hidden and len(page.owed) < IN_FLIGHT:
                if not page.owed:
                    page.waiting_since = now
                page.owed.append(number)
        try:
            format, encoded = self._encode(picture.array)
            height, width = picture.array.shape[:2]
            content, buffers = protocol.frame(
                number, picture.kind, picture.revision, picture.covers(), width, height, format, encoded
            )
            self._send(content, buffers)
        except Exception as failure:  # e.g. a closed comm: editing continues, stats() counts it
            for page in self._pages.values():
                if number in page.owed:
                    page.owed.remove(number)
            self._failed += 1
            self._last_failure = f"{type(failure).__name__}: {failure}"
            return False
        self._sent += 1
        self._bytes += len(encoded)
        return True
