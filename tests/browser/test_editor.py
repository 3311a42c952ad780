"""The editor in a bare page with the pretended kernel of `make editor`: what needs a browser but no Jupyter.

Both sides are at hand: the page's own state as `window.ganpaint`, and pointer, keys and touch through the
browser's own entrances.
"""

from __future__ import annotations

import io
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.timeout(300)

CHECKOUT = Path(__file__).parent.parent.parent
SHOTS = Path(__file__).parent / "shots"
AXE = CHECKOUT / "node_modules" / "axe-core" / "axe.min.js"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run(["node", "js/build.mjs", f"--bare={folder}"], cwd=CHECKOUT, check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/editor.html"
    server.shutdown()


class Editor:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def root(self) -> Locator:
        return self.page.locator("[data-ganpaint-root]")

    @property
    def canvas(self) -> Locator:
        return self.page.locator("[data-ganpaint-canvas]")

    @property
    def zoom(self) -> float:
        return float((self.canvas.get_attribute("data-viewport") or "1").split()[0])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place on the canvas, in fractions of it, for the mouse."""
        box = self.canvas.bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def stroke(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=3)
        self.page.mouse.up()

    def settle(self) -> None:
        """Waits until the kernel's state at rest is the page's."""
        self.wait("() => ganpaint.outbox.waiting === 0 && ganpaint.outbox.coveredBy(ganpaint.state.covers)")

    def wait(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument)

    def document(self) -> Any:
        """The edits with the sums of their masks: enough to tell two documents apart."""
        return self.page.evaluate(
            """() => ganpaint.edits.map(({ id, verb, concept, strength, enabled }) => {
                const { values } = ganpaint.masks.get(id);
                const sum = values.reduce((sum, value, at) => (sum * 31 + value * (at + 1)) % 1e9, 7);
                return JSON.stringify([id, verb, concept, strength, enabled, sum]);
            })"""
        )

    def painted(self, x: int, y: int) -> int:
        """The last edit's mask at a pixel."""
        return int(
            self.page.evaluate(
                "([x, y]) => ganpaint.masks.get(ganpaint.edits.at(-1).id).values[y * ganpaint.width + x]",
                [x, y],
            )
        )


@pytest.fixture
def open_editor(address: str, browser: Browser) -> Iterator[Callable[..., Editor]]:
    contexts = []

    def open_one(query: str = "", width: int = 1000, touch: bool = False) -> Editor:
        context = browser.new_context(viewport={"width": width, "height": 700}, has_touch=touch)
        contexts.append(context)
        editor = Editor(context.new_page())
        editor.page.goto(address + query)
        editor.wait("() => document.querySelector('[data-ganpaint-canvas]')?.dataset.viewport")
        return editor

    yield open_one
    for context in contexts:
        context.close()


def test_everything_can_be_painted_by_keyboard_alone(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    press = editor.page.keyboard.press

    for _ in range(30):
        press("Tab")
        if editor.canvas.evaluate("canvas => canvas === document.activeElement"):
            break
    else:
        raise AssertionError("Tab never comes to the canvas")

    # a rectangle by arrows: corner, the way to the opposite corner, done
    press("m")
    press("ArrowLeft")
    press("Enter")
    for key in ["Shift+ArrowRight", "ArrowDown", "ArrowDown"]:
        press(key)
    press("Enter")
    assert [editor.painted(x, 64) for x in (62, 63, 71, 72)] == [0, 255, 255, 0]
    assert [editor.painted(65, y) for y in (63, 64, 66, 67)] == [0, 255, 255, 0]

    # a shape that is given up leaves nothing, and Escape does not leave the editor
    before = editor.document()
    for key in ["Shift+ArrowDown", "Enter", "Shift+ArrowDown", "Escape", "Enter", "Escape"]:
        press(key)
    assert editor.document() == before

    # the brush, and the segment under the cursor, which is read out
    press("b")
    press("Enter")
    assert editor.painted(71, 82) == 255
    press("s")
    press("Shift+ArrowUp")
    assert "y 74" in editor.page.locator("[aria-live]").inner_text()
    press("z")
    editor.settle()
    assert editor.document() == before
    assert editor.complaints == []


def test_the_wheel_and_two_fingers_zoom_only_when_they_should(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor(width=420, touch=True)
    page = editor.page
    scrolled = "() => scrollY"
    page.mouse.move(*editor.at(0.5, 0.5))
    page.mouse.wheel(0, 120)
    editor.wait("() => scrollY > 60")
    page.mouse.wheel(0, -400)
    editor.wait("() => scrollY === 0")
    assert editor.zoom == 1

    editor.canvas.focus()
    page.keyboard.down("Control")
    page.mouse.move(*editor.at(0.25, 0.25))
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    editor.wait("() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) > 1.2")
    assert page.evaluate(scrolled) == 0
    page.mouse.wheel(0, 120)  # with the focus, but without the key, it is the page's again
    editor.wait("() => scrollY > 60")
    page.mouse.wheel(0, -400)
    editor.wait("() => scrollY === 0")
    page.keyboard.press("0")
    editor.wait("() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) === 1")

    devtools = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [editor.at(*point) for point in points]
        devtools.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]},
        )

    # one finger paints
    touch("touchStart", (0.2, 0.2))
    for step in range(1, 8):
        touch("touchMove", (0.2 + 0.05 * step, 0.2))
    touch("touchEnd")
    editor.settle()
    assert len(editor.document()) == 1

    # two fingers that go apart zoom, and paint nothing
    before = editor.document()
    touch("touchStart", (0.45, 0.5))
    touch("touchStart", (0.45, 0.5), (0.55, 0.5))
    for step in range(1, 8):
        touch("touchMove", (0.45 - 0.03 * step, 0.5), (0.55 + 0.03 * step, 0.5))
    touch("touchEnd")
    editor.wait("() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) > 2")
    assert editor.document() == before
    editor.canvas.focus()
    page.keyboard.press("0")
    editor.wait("() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) === 1")

    # two fingers on the whole picture move the page: nobody is trapped
    places = [editor.at(0.4, 0.6), editor.at(0.6, 0.6)]
    for kind, dy in [("touchStart", 0.0), *(("touchMove", -20.0 * step) for step in range(1, 8))]:
        fingers = [{"x": x, "y": y + dy, "id": i} for i, (x, y) in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    editor.wait("() => scrollY > 60")
    assert editor.document() == before and editor.complaints == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1000), ("dark", 1000), ("light", 320)])
def test_it_is_accessible_and_fits(open_editor: Callable[..., Editor], theme: str, width: int) -> None:
    editor = open_editor(f"?theme={theme}", width=width)
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    for key in ["d", "g", "p"]:
        editor.canvas.press(key)
    # everything that can be opened is open
    editor.page.locator('[data-panel="tuning"] summary').press("Enter")
    editor.page.locator('[data-panel="tuning"] .gp-choice').first.wait_for()
    editor.canvas.press("t")
    editor.page.locator(".gp-references .gp-choice").first.wait_for()
    editor.page.locator(".gp-menu summary").press("Enter")
    editor.page.add_script_tag(path=AXE)
    found = editor.page.evaluate("() => axe.run(document.querySelector('[data-ganpaint-root]'))")
    violations = {each["id"]: [node["html"] for node in each["nodes"]] for each in found["violations"]}
    assert violations == {}, json.dumps(violations, indent=1)
    assert "color-contrast" in {each["id"] for each in found["passes"]}, "axe has looked at contrasts"
    assert editor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    # Escape closes the menu, and goes no further
    editor.page.keyboard.press("Escape")
    assert not editor.page.locator(".gp-entries").is_visible()
    # every tool says its key where one looks for it
    for tool, key in {"brush": "B", "eraser": "E", "rectangle": "M", "lasso": "L", "segment": "S"}.items():
        title = editor.page.locator(f"[data-tool={tool}]").get_attribute("title") or ""
        assert f"({key})" in title, title


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_which_square_of_a_photo_is_asked(open_editor: Callable[..., Editor], theme: str) -> None:
    editor = open_editor(f"?theme={theme}")
    page = editor.page
    page.evaluate(
        """() => {
            const command = ganpaint.command.bind(ganpaint);
            window.commands = [];
            ganpaint.command = (name, told, file) => {
                window.commands.push([name, told.fit]);
                return command(name, told, file);
            };
        }"""
    )

    def opened(width: int, height: int) -> None:
        rows, columns = np.mgrid[0:height, 0:width]
        picture = np.stack([columns * 255 // width, rows * 255 // height, rows * 0 + 90], axis=2)
        file = io.BytesIO()
        Image.fromarray(picture.astype(np.uint8)).save(file, "PNG")
        photo = {"name": "photo.png", "mimeType": "image/png", "buffer": file.getvalue()}
        with page.expect_file_chooser() as chooser:
            page.locator("[data-action=open]").click()
        chooser.value.set_files(photo)

    opened(90, 60)
    dialog = page.locator("dialog")
    dialog.wait_for()
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"fit-{theme}.png")
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run('dialog')).violations.map(({ id }) => id)")
    assert found == []
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    opened(60, 90)
    dialog.wait_for()
    page.keyboard.press("Tab")  # from Crop, which has the focus, to Pad
    page.keyboard.press("Enter")
    editor.wait("() => window.commands.length === 1")
    opened(90, 60)
    page.locator("[data-fit=crop]").click()
    opened(64, 64)
    editor.wait("() => window.commands.length === 3")
    assert page.evaluate("window.commands") == [["open", "pad"], ["open", "crop"], ["open", "crop"]]
    assert editor.complaints == []
