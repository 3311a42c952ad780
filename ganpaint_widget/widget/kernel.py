"""Everything that works around the kernel, in one place: for which versions, and why.

The page's messages come through ipykernel, some of whose behavior no public name can change. Each patch below
says for which versions of ipykernel it was written and tried (``make test`` runs the widget on 6.31, 7.3 and
7.4). On any other version, and under a kernel other than ipykernel, it does nothing.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Versions:
    """From ``first`` on, and before ``end``: (major, minor) of ipykernel."""

    first: tuple[int, int]
    end: tuple[int, int]

    def of(self, comm: Any) -> Any:
        """Return the kernel that carries a comm, if it is an ipykernel of these versions; else ``None``."""
        version = tuple(getattr(sys.modules.get("ipykernel"), "version_info", ())[:2])
        return getattr(comm, "kernel", None) if version and self.first <= version < self.end else None


HUSHED = Versions((6, 0), (8, 0))
IN_CONTEXT = Versions((7, 0), (8, 0))
KEPT_AWAKE = Versions((7, 0), (7, 4))
FORGETFUL = Versions((7, 4), (8, 0))


def along(work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """``work(*arguments)``, to be called on another thread, in the context of this one.

    ipykernel 7 takes from a context variable which shell a message belongs to. What a control starts in the
    background has to send its news along the way of the message that asked for it; see :meth:`Way.send`.
    """
    return partial(contextvars.copy_context().run, work, *arguments)


class Way:
    """The way between a widget and its pages: what has to be known of it, and done to it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.RLock()
        self._context: contextvars.Context | None = None
        self._handler: int | None = None

    def opened(self, comm: Any) -> None:
        """Patch the kernel as far as needed, now that the widget's comm is open."""
        forget_route(comm)
        hush(comm)
        keep_awake(comm)

    def arrived(self) -> None:
        """To be called when a page's message comes in, on the thread that handles it."""
        self._context = contextvars.copy_context()
        self._handler = threading.get_ident()

    @property
    def handling(self) -> bool:
        """Whether this thread is the one that handles messages: to wait on it would only keep them out."""
        return threading.get_ident() == self._handler

    def send(self, comm: Any, send: Callable[..., object], *message: Any) -> None:
        """Send a message from any thread, one at a time, in the context of the last incoming one.

        ipykernel 7 handles the page's messages on a subshell's thread, and takes the shell from a context
        variable. Version 7.4 delivers the page's next messages to the shell that *sent* last. After a message
        from the worker's bare thread, or from a cell, acknowledgments and Cancel would wait until the cell
        ends. ipykernel 6 has one shell, and needs none of this.
        """
        with self._one_at_a_time:
            if self._context is None or IN_CONTEXT.of(comm) is None:
                send(*message)
            else:
                # A copy, because a context cannot be entered twice at once.
                self._context.copy().run(send, *message)
            forget_route(comm)


def forget_route(comm: Any) -> None:
    """Have ipykernel 7.4 deliver the page's messages where the page addresses them.

    It remembers the shell from which a comm was opened or last written to (``_reply_subshell_id``), over what
    the message says. That shell is the running cell's own when the widget is made there, and may be one that
    ended with the page that is gone.
    """
    if FORGETFUL.of(comm) is not None:
        vars(comm).pop("_reply_subshell_id", None)


_hushed: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[str, Any]] = weakref.WeakKeyDictionary()
"""Kernel to the comms for whose messages it does not say "busy", by their ids."""

LATE = 1.0
"""Seconds that the handling of a message may take before the kernel says "busy" for it after all: what hangs
would otherwise look idle, and this editor's kernel gone."""


def hush(comm: Any) -> None:
    """Have ipykernel 6 and 7 not say "busy" for each message of this comm; its "idle" ends it as before.

    JupyterLab answers every change from idle to busy and back with another icon of the page, which the
    browser loads, and with a new layout of its toolbars. At thirty messages a second that costs the page
    more than the pictures do. This replaces ``_publish_status(status, channel, parent)`` of the kernel.
    """
    kernel = HUSHED.of(comm)
    announce: Any = getattr(kernel, "_publish_status", None)
    if announce is None:
        return
    if kernel not in _hushed:
        quiet = _hushed[kernel] = weakref.WeakValueDictionary()
        held_back: dict[str, tuple[float, Callable[[], None]]] = {}
        lock, begun = threading.Lock(), threading.Event()

        def publish(status: str, channel: str, parent: Any = None) -> None:
            message = parent or kernel.get_parent(channel) or {}
            if message.get("content", {}).get("comm_id") not in quiet:
                announce(status, channel, parent)
                return
            name = message["header"]["msg_id"]
            with lock:
                if status == "busy":
                    held_back[name] = time.monotonic(), lambda: announce(status, channel, message)
                    begun.set()
                else:
                    held_back.pop(name, None)
                    announce(status, channel, parent)

        def watch() -> None:
            # A thread that sleeps costs a message nothing; a timer for each would.
            while begun.wait():
                begun.clear()
                time.sleep(LATE)
                with lock:
                    for name, (since, say) in list(held_back.items()):
                        if time.monotonic() - since >= LATE:
                            del held_back[name]
                            say()
                    if held_back:
                        begun.set()

        threading.Thread(target=watch, name="ganpaint-hush", daemon=True).start()
        kernel._publish_status = publish
    _hushed[kernel][comm.comm_id] = comm


_kept_awake: weakref.WeakSet[Any] = weakref.WeakSet()

LOOK_AGAIN = 100
"""Milliseconds between two looks at whether a message was overlooked."""


def keep_awake(comm: Any) -> None:
    """Have ipykernel 7.0 to 7.3 notice all of the page's messages.

    It sends replies past the stream that reads requests: a message that comes just then is not noticed, nor
    are those after it (mended in 7.4 by ipython/ipykernel#1529). So the stream is told to look again, on the
    thread that reads it: ``shell_channel_thread.io_loop`` and ``shell_stream`` of the kernel.
    """
    kernel = KEPT_AWAKE.of(comm)
    loop = getattr(getattr(kernel, "shell_channel_thread", None), "io_loop", None)
    if loop is None or kernel in _kept_awake:
        return
    from tornado.ioloop import PeriodicCallback

    _kept_awake.add(kernel)
    loop.add_callback(lambda: PeriodicCallback(kernel.shell_stream.flush, LOOK_AGAIN).start())
