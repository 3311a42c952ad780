"""What works around ipykernel is done on the versions that it was written for, and nowhere else.

On real kernels: `test_kernels.py`. Here a kernel of any version is imitated.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganpaint_widget.widget import kernel as patches

SHELL: contextvars.ContextVar[str] = contextvars.ContextVar("shell", default="main")
TESTED = [(6, 31, 0, ""), (7, 0, 0, ""), (7, 3, 0, ""), (7, 4, 0, "")]
OTHERS: list[Any] = [(5, 5, 6, ""), (8, 0, 0, ""), None]


class Kernel:
    """As far as the patches look into it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.flushes: list[Callable[[], None]] = []
        self.shell_channel_thread = SimpleNamespace(io_loop=SimpleNamespace(add_callback=self.flushes.append))

    def _publish_status(self, status: str, channel: str, parent: Any = None) -> None:
        self.said.append(status)

    def get_parent(self, channel: str) -> Any:
        return {}


class Comm:
    """As ipykernel 7.4's: it remembers from which shell it was written to."""

    comm_id = "ours"

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self._reply_subshell_id = "of the cell"

    def send(self, seen: list[str]) -> None:
        seen.append(SHELL.get())
        self._reply_subshell_id = SHELL.get()


def version(monkeypatch: pytest.MonkeyPatch, number: Any) -> None:
    if number is None:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=number))


MESSAGE = {"content": {"comm_id": "ours"}, "header": {"msg_id": "1"}}


@pytest.mark.parametrize("number", [*TESTED, *OTHERS], ids=str)
def test_each_patch_is_for_its_versions(monkeypatch: pytest.MonkeyPatch, number: Any) -> None:
    version(monkeypatch, number)
    kernel = Kernel()
    comm, way = Comm(kernel), patches.Way()
    way.opened(comm)
    known = number in TESTED

    kernel._publish_status("busy", "shell", MESSAGE)
    assert kernel.said == ([] if known else ["busy"])
    kernel._publish_status("idle", "shell", MESSAGE)
    assert kernel.said[-1] == "idle"
    assert bool(kernel.flushes) == (known and (7, 0) <= number[:2] < (7, 4))
    assert hasattr(comm, "_reply_subshell_id") != (known and number[:2] >= (7, 4))

    contextvars.copy_context().run(lambda: (SHELL.set("subshell"), way.arrived()))
    seen: list[str] = []
    thread = threading.Thread(target=way.send, args=(comm, comm.send, seen))
    thread.start()
    thread.join(20)
    assert seen == ["subshell" if known and number[0] == 7 else "main"]
    assert hasattr(comm, "_reply_subshell_id") != (known and number[:2] >= (7, 4))


@pytest.mark.parametrize(
    "comm",
    [SimpleNamespace(comm_id="x"), Comm(None), Comm("a kernel")],
    ids=["no kernel", "None", "another"],
)
def test_another_kernel_is_left_alone(monkeypatch: pytest.MonkeyPatch, comm: Any) -> None:
    for number in (*TESTED, *OTHERS):
        version(monkeypatch, number)
        way = patches.Way()
        way.opened(comm)
        seen: list[str] = []
        way.arrived()
        way.send(comm, seen.append, "a message")
        assert seen == ["a message"]


def test_the_thread_of_the_messages_is_known() -> None:
    way = patches.Way()
    assert not way.handling
    way.arrived()
    assert way.handling
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(way.handling))
    thread.start()
    thread.join(20)
    assert seen == [False]


def test_work_on_another_thread_goes_along() -> None:
    seen: list[str] = []
    work = contextvars.copy_context().run(
        lambda: (SHELL.set("subshell"), patches.along(lambda x: seen.append(x + SHELL.get()), "in the "))[1]
    )
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert seen == ["in the subshell"]
