"""Nothing that was painted is lost: a second page, a kernel that is killed at work, a server that is gone.

A kernel that is busy is in test_hosts.py.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from playwright.sync_api import Browser

from .conftest import Lab, Notebook, opened

pytestmark = pytest.mark.timeout(900)

IMPORT = "import ganpaint_widget as gp"
SHOW = "paint = gp.GANPaint()\npaint"
RECOVER = "import ganpaint_widget as gp\npaint = gp.GANPaint.recover()\npaint"

LEFT = [(0.15, 0.55), (0.22, 0.62), (0.15, 0.70)]
RIGHT = [(0.75, 0.55), (0.82, 0.62), (0.75, 0.70)]
TOP = [(0.45, 0.15), (0.55, 0.20)]


def coverage(notebook) -> list[float]:
    """What part of the left, the right and the upper stroke's surroundings the masks in Python cover."""
    notebook.ask(
        "import numpy as np\n"
        "np.save('all.npy', np.max([edit.mask for edit in paint.session.edits], 0, initial=0))"
    )
    mask = np.load(notebook.lab.folder / "all.npy") / 255
    size = len(mask)
    parts = []
    for points in (LEFT, RIGHT, TOP):
        x, y = (np.array(axis) * size for axis in zip(*points, strict=True))
        parts.append(float(mask[int(y.min()) : int(y.max()) + 1, int(x.min()) : int(x.max()) + 1].mean()))
    return parts


def draw(notebook, points: list[tuple[float, float]]) -> None:
    """A stroke that nobody answers."""
    box = notebook.canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    notebook.page.mouse.move(*places[0])
    notebook.page.mouse.down()
    for place in places[1:]:
        notebook.page.mouse.move(*place, steps=4)
    notebook.page.mouse.up()


def start_blend(notebook) -> None:
    notebook.press('[data-action="blend"]')
    notebook.wait("() => document.querySelector('[data-ganpaint-root]').dataset.job")


def test_a_second_page_sees_the_strokes_and_a_killed_kernel_loses_none(
    open_notebook: Callable[..., object],
) -> None:
    notebook = open_notebook(IMPORT, SHOW, RECOVER)
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_editor()
    notebook.choose("tree")
    notebook.stroke(LEFT)
    notebook.wait_for_picture()
    notebook.save()

    # the same notebook in a second page, where the stroke is, and another one is painted
    other = open_notebook()
    other.wait_for_editor()
    other.wait("() => document.querySelector('[data-ganpaint-root] [data-edit]')")
    other.choose("tree")
    other.stroke(RIGHT)
    notebook.wait(
        "revision => Number(document.querySelector('[data-ganpaint-root]').dataset.revision) >= revision",
        other.number("revision"),
    )
    left, right, top = coverage(notebook)
    assert left > 0.3 and right > 0.3 and top == 0
    # Each page shows both strokes: the thumbnails have the masks' opacity.
    for page in (notebook, other):
        page.wait(
            """places => {
                const canvas = document.querySelector("[data-ganpaint-root] [data-edit] canvas");
                const { width, height } = canvas;
                return places.every(([x, y]) => canvas.getContext("2d")
                    .getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data[3] > 128);
            }""",
            [LEFT[1], RIGHT[1]],
        )
    other.page.close()

    # held for a while as it adapts, as on a machine with too much to do
    notebook.ask("import os; open('pid', 'w').write(str(os.getpid()))")
    kernel = int((notebook.lab.folder / "pid").read_text())
    start_blend(notebook)
    os.kill(kernel, signal.SIGSTOP)
    notebook.wait("() => document.querySelector('[data-ganpaint-root]').dataset.kernel !== 'answers'")
    os.kill(kernel, signal.SIGCONT)
    notebook.wait_for_blend()
    assert notebook.root.locator(".gp-word").inner_text() == "Blended into the photo."

    # killed as it adapts
    start_blend(notebook)
    notebook.canvas.scroll_into_view_if_needed()
    os.kill(kernel, signal.SIGKILL)
    draw(notebook, TOP)
    notebook.wait("() => document.querySelector('[data-ganpaint-root]').dataset.kernel === 'gone'")
    assert "recover" in notebook.root.locator(".gp-banner").inner_text()
    notebook.shot("gone")

    # "The kernel appears to have died. It will restart automatically."
    notebook.page.locator(".jp-Dialog .jp-mod-accept").click()
    notebook.wait_for_kernel("idle")
    notebook.run(2)
    notebook.page.locator(".jp-CodeCell").nth(2).locator("[data-ganpaint-root][data-ready]").wait_for()
    assert notebook.errors() == []
    notebook.wait(
        """() => {
            const roots = [...document.querySelectorAll("[data-ganpaint-root]")];
            return /painted again/.test(roots.at(-1).querySelector("[aria-live]").textContent);
        }"""
    )
    left, right, top = coverage(notebook)
    assert left > 0.3 and right > 0.3 and top > 0.3
    notebook.shot("recovered")


class Wire:
    """A way to a server that can be cut: what is under way is lost, and nobody gets through until mended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = True
        self._ends: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._door.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self._whole = False
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._door.close()


@pytest.mark.heavy  # what it is made of is tested in journal and outbox as well
def test_a_lost_server_and_a_tab_closed_while_blending_lose_nothing(
    lab: Lab, browser: Browser, open_notebook: Callable[..., Notebook]
) -> None:
    wire = Wire(int(lab.url.rpartition(":")[2]))
    try:
        notebook = open_notebook(IMPORT, SHOW)
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for_editor()
        notebook.save()
        # the same notebook by a wire
        remote = opened(Lab(lab.folder, lab.settings, wire.url), browser, notebook.name)
        remote.wait_for_editor()
        remote.choose("tree")
        remote.stroke(LEFT)
        remote.canvas.scroll_into_view_if_needed()
        wire.cut()
        draw(remote, RIGHT)
        remote.wait("() => document.querySelector('[data-kernel]').dataset.kernel === 'unreachable'")
        remote.shot("unreachable")
        left, right, top = coverage(notebook)
        assert left > 0.3 and right == top == 0
        wire.mend()
        remote.wait("() => document.querySelector('[data-kernel]').dataset.kernel === 'answers'")
        remote.wait_for_accepted(0)
        left, right, top = coverage(notebook)
        assert left > 0.3 and right > 0.3 and top == 0

        # The server's loss may have left a box on the page: the button is pressed beneath it.
        accepted = remote.number("accepted")
        remote.root.locator('[data-action="blend"]').evaluate("button => button.click()")
        remote.wait_for_accepted(accepted)  # the page shows a job before the kernel has heard of it
        remote.wait("() => document.querySelector('[data-ganpaint-root]').dataset.job")
        remote.page.context.close()
        notebook.wait_for_blend()
        notebook.ask("assert paint.session.blend.revision == paint.session.revision")
        assert min(coverage(notebook)[:2]) > 0.3

        # The kernel is restarted, as from the menu: the editor says so, and everything comes back.
        notebook.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
        )
        notebook.wait("() => document.querySelector('[data-kernel]').dataset.kernel === 'gone'")
        assert "GANPaint.recover()" in notebook.root.locator(".gp-banner").inner_text()
        notebook.wait_for_kernel("idle")
        notebook.ask("import ganpaint_widget as gp\npaint = gp.GANPaint.recover()")
        assert min(coverage(notebook)[:2]) > 0.3
    finally:
        wire.close()
