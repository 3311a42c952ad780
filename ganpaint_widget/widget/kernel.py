"""Everything that works around ipykernel, in one place."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

_hushed: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[str, Any]] = weakref.WeakKeyDictionary()
"""Kernel to the comms for whose messages it does not say "busy", by their ids."""

LATE = 1.0
"""Seconds that the handling of a message may take before the kernel says "busy" for it after all: what hangs
would otherwise look idle, and this editor's kernel gone."""


def hush(comm: Any) -> None:
    """Have ipykernel not say "busy" for each message of this comm; its "idle" ends the message as before.

    JupyterLab answers every change from idle to busy and back with another icon of the page, which the
    browser loads, and with a new layout of its toolbars. At thirty messages a second that costs the page
    more than the pictures do. Where the kernel is another than ipykernel, all stays as it is.
    """
    kernel: Any = getattr(comm, "kernel", None)
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
    thread that reads it.
    """
    kernel: Any = getattr(comm, "kernel", None)
    loop = getattr(getattr(kernel, "shell_channel_thread", None), "io_loop", None)
    version = getattr(sys.modules.get("ipykernel"), "version_info", ())
    if loop is None or kernel in _kept_awake or tuple(version[:2]) >= (7, 4):
        return
    from tornado.ioloop import PeriodicCallback

    _kept_awake.add(kernel)
    loop.add_callback(lambda: PeriodicCallback(kernel.shell_stream.flush, LOOK_AGAIN).start())
