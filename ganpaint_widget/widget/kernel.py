"""All workarounds for the kernel, with their versions and reasons.

The page's messages come through ipykernel, and no public name can change some of its behavior. Each patch
below names the versions of ipykernel that it was written for and tested with (``make test`` runs the widget
on 6.31, 7.3 and 7.4). On any other version, and on other kernels, it does nothing.
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
    """Versions of ipykernel from ``first`` up to, but not including, ``end``: (major, minor) each."""

    first: tuple[int, int]
    end: tuple[int, int]

    def of(self, comm: Any) -> Any:
        """Return the kernel of a comm if it is an ipykernel of these versions, else ``None``."""
        version = tuple(getattr(sys.modules.get("ipykernel"), "version_info", ())[:2])
        return getattr(comm, "kernel", None) if version and self.first <= version < self.end else None


HUSHED = Versions((6, 0), (8, 0))
IN_CONTEXT = Versions((7, 0), (8, 0))
KEPT_AWAKE = Versions((7, 0), (7, 4))
FORGETFUL = Versions((7, 4), (8, 0))


def along(work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Return ``work(*arguments)`` as a function that runs in this thread's context on another thread.

    ipykernel 7 reads the shell of a message from a context variable. A control's background work must send
    its messages in the context of the message that started it; see :meth:`Way.send`.
    """
    return partial(contextvars.copy_context().run, work, *arguments)


class Way:
    """The connection between a widget and its pages, with the workarounds that it needs."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.RLock()
        self._context: contextvars.Context | None = None
        self._handler: int | None = None

    def opened(self, comm: Any) -> None:
        """Patch the kernel where needed, once the widget's comm is open."""
        forget_route(comm)
        hush(comm)
        keep_awake(comm)

    def arrived(self) -> None:
        """Note that a page's message has come in. Called on the thread that handles it."""
        self._context = contextvars.copy_context()
        self._handler = threading.get_ident()

    @property
    def handling(self) -> bool:
        """Whether this thread handles messages. Waiting on it would only block them."""
        return threading.get_ident() == self._handler

    def send(self, comm: Any, send: Callable[..., object], *message: Any) -> None:
        """Send a message from any thread, one at a time, in the context of the last incoming one.

        ipykernel 7 handles the page's messages on a subshell's thread, and reads the shell from a context
        variable. Version 7.4 delivers the page's next messages to the shell that *sent* last. After a message
        from the worker's thread or from a cell, acknowledgments and Cancel would wait until the cell ends.
        ipykernel 6 has one shell, and needs none of this.
        """
        with self._one_at_a_time:
            if self._context is None or IN_CONTEXT.of(comm) is None:
                send(*message)
            else:
                # A copy, because a context cannot be entered twice at once.
                self._context.copy().run(send, *message)
            forget_route(comm)


def forget_route(comm: Any) -> None:
    """Make ipykernel 7.4 deliver the page's messages to the shell that they address.

    It prefers the shell from which a comm was opened or last written to (``_reply_subshell_id``). For a
    widget that a cell makes, that is the cell's own shell. It may also be a shell that ended with its page.
    """
    if FORGETFUL.of(comm) is not None:
        vars(comm).pop("_reply_subshell_id", None)


_hushed: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[str, Any]] = weakref.WeakKeyDictionary()
"""The comms, by id, for whose messages a kernel does not report "busy"."""

LATE = 1.0
"""Seconds of handling a message after which the kernel reports "busy" for it after all. Otherwise a hanging
kernel would look idle, and the editor would take it for gone."""


def hush(comm: Any) -> None:
    """Stop ipykernel 6 and 7 from reporting "busy" for each message of this comm. "idle" is still reported.

    At every change between idle and busy, JupyterLab loads another icon for the page and lays out its
    toolbars anew. At thirty messages a second, that costs the page more than the pictures. This function
    replaces ``_publish_status(status, channel, parent)`` of the kernel.
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
            # A sleeping thread costs a message nothing, unlike a timer for each.
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
"""Milliseconds between two checks for an overlooked message."""


def keep_awake(comm: Any) -> None:
    """Make ipykernel 7.0 to 7.3 notice all of the page's messages.

    It sends replies past the stream that reads requests. A message that arrives at that moment goes
    unnoticed, and so do those after it (fixed in 7.4 by ipython/ipykernel#1529). So the stream is told to
    look again, on the thread that reads it: ``shell_channel_thread.io_loop`` and ``shell_stream`` of the
    kernel.
    """
    kernel = KEPT_AWAKE.of(comm)
    loop = getattr(getattr(kernel, "shell_channel_thread", None), "io_loop", None)
    if loop is None or kernel in _kept_awake:
        return
    from tornado.ioloop import PeriodicCallback

    _kept_awake.add(kernel)
    loop.add_callback(lambda: PeriodicCallback(kernel.shell_stream.flush, LOOK_AGAIN).start())
