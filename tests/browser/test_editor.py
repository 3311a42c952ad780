"""The editor in a bare page with the fake kernel of `make editor`: what needs a browser but no Jupyter.

Both sides are at hand: the page's own state as `window.ganpaint`, and pointer, keys and touch through the
browser's own entrances.
"""

from __future__ import annotations

import base64
import io
import json
import re
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
from playwright.sync_api import Browser, Locator, Page, expect

from ganpaint_widget.images.framing import square_mask

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

    def pixels(self, selector: str = "[data-ganpaint-canvas]") -> np.ndarray:
        """What a canvas of the editor shows, H x W x 4."""
        side, data = self.page.evaluate(
            """selector => {
                const canvas = document.querySelector(selector);
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const bytes = Array.from(data, one => String.fromCharCode(one)).join("");
                return [[canvas.height, canvas.width], btoa(bytes)];
            }""",
            selector,
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(*side, 4).astype(int)

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

    def open_one(query: str = "", width: int = 1000, touch: bool = False, scale: float = 1) -> Editor:
        context = browser.new_context(
            viewport={"width": width, "height": 700}, has_touch=touch, device_scale_factor=scale
        )
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


def test_segments_are_chosen_from_a_list(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page, press = editor.page, editor.page.keyboard.press
    rows = page.locator("[data-segment]")
    assert not rows.first.is_visible()
    editor.canvas.focus()
    press("r")
    press("s")
    rows.first.wait_for()
    names = [row.text_content() or "" for row in rows.all()]
    assert all(
        re.fullmatch(r"\w+, \d+(\.\d)? %, (upper|lower|left|right|center)( \w+)?", name) for name in names
    )
    sizes = [float(name.split(", ")[1][:-2]) for name in names]
    assert sizes == sorted(sizes, reverse=True) and len(names) > 4

    # one stop of Tab, behind which the arrows go on
    for _ in range(40):
        press("Tab")
        if page.evaluate("() => document.activeElement.dataset.segment"):
            break
    focused = "() => document.activeElement.textContent"
    assert page.evaluate(focused) == names[0]
    for key, index in {"ArrowDown": 1, "End": -1, "ArrowUp": -2, "Home": 0}.items():
        press(key)
        assert page.evaluate(focused) == names[index]

    # the segment is outlined, and nothing else of the marks changes with the way there
    def marks() -> np.ndarray:
        page.evaluate("() => new Promise(step => requestAnimationFrame(() => requestAnimationFrame(step)))")
        return editor.pixels(".gp-marks")

    roof = next(index for index, name in enumerate(names) if name.startswith("roof"))
    for _ in range(roof):
        press("ArrowDown")
    outlined = marks()
    assert outlined[..., 3].any()

    # taking it is what a click on it is: the same mask, the concept that is removed, one step of undo
    press("Enter")
    editor.settle()
    painted = editor.document()
    assert [json.loads(edit)[1] for edit in painted] == ["remove"]
    assert "Took the roof here" in page.locator(".gp-word").inner_text()
    assert page.evaluate(focused) == names[roof], "the list keeps the focus"
    press("Alt+Enter")
    editor.settle()
    assert page.evaluate("() => ganpaint.masks.get(ganpaint.edits[0].id).values.some(Boolean)") is False
    press("z")
    press("z")
    editor.settle()
    assert editor.document() == []

    # Escape goes back to the picture; from the canvas it is the notebook's
    press("Escape")
    assert editor.canvas.evaluate("canvas => canvas === document.activeElement")
    assert not marks()[..., 3].any(), "what is not pointed at is not outlined"

    # by the mouse
    rows.nth(roof).hover()
    assert (marks() == outlined).all()
    rows.nth(roof).click()
    editor.settle()
    sums = [json.loads(edit)[5] for edit in editor.document()]
    assert sums == [json.loads(edit)[5] for edit in painted]
    editor.canvas.press("b")
    rows.first.wait_for(state="hidden")
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
    # each button is inside the editor (or in a strip that scrolls), and shows something
    hidden = editor.page.evaluate(
        """() => {
            const inside = document.querySelector(".gp-inner").getBoundingClientRect();
            const seen = each => each.checkVisibility() && !each.closest(".gp-unseen");
            const all = document.querySelectorAll(".ganpaint :is(button:not(.gp-choice), summary)");
            return [...all].filter(each => {
                const { left, right } = each.getBoundingClientRect();
                const shows = [...each.querySelectorAll("*")].some(seen) || each.childElementCount === 0;
                return seen(each) && (left < inside.left || right > inside.right || !shows);
            }).map(({ textContent }) => textContent);
        }"""
    )
    assert hidden == []
    # Escape closes the menu, and goes no further
    editor.page.keyboard.press("Escape")
    assert not editor.page.locator(".gp-entries").is_visible()
    editor.canvas.press("s")
    editor.page.locator("[data-segment]").first.wait_for()
    found = editor.page.evaluate("async () => (await axe.run('.gp-regions')).violations.map(({ id }) => id)")
    assert found == []
    assert editor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    # every tool says its key where one looks for it
    for tool, key in {"brush": "B", "eraser": "E", "rectangle": "M", "lasso": "L", "segment": "S"}.items():
        title = editor.page.locator(f"[data-tool={tool}]").get_attribute("title") or ""
        assert f"({key})" in title, title


@pytest.mark.parametrize(
    ("theme", "width", "scale"), [("light", 1000, 1), ("dark", 1000, 2), ("light", 320, 2)]
)
def test_a_scene_is_chosen_from_the_gallery(
    open_editor: Callable[..., Editor], theme: str, width: int, scale: float
) -> None:
    editor = open_editor(f"?theme={theme}", width=width, scale=scale)
    page = editor.page
    opener, dialog = page.locator("[data-action=gallery]"), page.locator("dialog")
    tiles, chosen = dialog.locator(".gp-choice"), dialog.locator("[aria-pressed=true]")
    opener.press("Enter")
    tiles.nth(19).wait_for()
    assert dialog.locator("[role=status]").inner_text() == "Scenes 0 to 19 of 30"
    assert chosen.inner_text().strip() == "Church 1"
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"gallery-{theme}-{width}.png")
    page.add_script_tag(path=AXE)
    found = page.evaluate("() => axe.run(document.querySelector('dialog'))")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert "color-contrast" in {each["id"] for each in found["passes"]}
    box = dialog.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert dialog.evaluate("each => each.scrollWidth <= each.clientWidth")

    # Tab goes through the scenes, then the turns; the editor's keys mean nothing here
    tiles.first.focus()
    for place in range(1, 20):
        page.keyboard.press("Tab")
        assert tiles.nth(place).evaluate("each => each === document.activeElement")
    for name in ["earlier-scenes", "later-scenes", "close-gallery"]:
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.dataset.action") == name
    page.keyboard.press("e")
    assert editor.root.get_attribute("data-erasing") is None
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert opener.evaluate("each => each === document.activeElement")

    opener.press("Enter")
    tiles.nth(19).wait_for()
    for button in ["later-scenes", "later-scenes", "earlier-scenes"]:  # round, and back
        dialog.locator(f"[data-action={button}]").press("Enter")
    page.wait_for_function("() => document.querySelectorAll('dialog .gp-choice').length === 10")
    assert dialog.locator("[role=status]").inner_text() == "Scenes 20 to 29 of 30" and chosen.count() == 0
    tiles.nth(3).press("Enter")
    dialog.wait_for(state="detached")
    editor.wait("() => ganpaint.state.title === 'Church 24' && !ganpaint.opening")
    opener.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('dialog [aria-pressed=true]')?.innerText.trim() === 'Church 24'"
    )
    tiles.nth(3).press("Escape")
    page.locator("[data-action=scene]").press("Enter")
    editor.wait("() => ganpaint.state.title === 'Church 25'")
    assert editor.complaints == []


def test_a_gallery_that_cannot_be_drawn_says_so(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    page.evaluate(
        """() => {
            const receive = ganpaint.receive.bind(ganpaint);
            window.failing = true;
            window.deaf = false;
            ganpaint.receive = (message, buffer) => {
                if (deaf) return;
                if (message.type !== "scenes" || !failing) return receive(message, buffer);
                const told = { what: "The scenes could not be drawn.", mend: "Free some memory." };
                receive({ type: "error", page: ganpaint.id, sequence: null, ...told }, null);
            };
        }"""
    )
    dialog = page.locator("dialog")
    line = dialog.locator("[role=status]")
    page.locator("[data-action=gallery]").press("Enter")
    line.filter(has_text="The scenes could not be drawn. Free some memory.").wait_for()
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "gallery-failed.png")
    page.evaluate("() => { failing = false; }")
    line.get_by_role("button", name="Try again").press("Enter")
    dialog.locator(".gp-choice").nth(19).wait_for()
    assert line.inner_text().strip() == "Scenes 0 to 19 of 30"
    # a kernel that says nothing: the banner that tells of it lies behind the dialog
    page.evaluate(
        """() => {
            deaf = true;
            for (const seconds of [100, 105]) ganpaint.beat(1000 * seconds + performance.now());
        }"""
    )
    dialog.locator("[data-action=later-scenes]").click()
    line.filter(has_text="The kernel does not answer").wait_for()
    assert editor.complaints == []


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


# --- looking ---


def test_the_photo_is_compared_by_a_key_by_a_button_and_beside_a_divider(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    page, mouse = editor.page, editor.page.mouse
    editor.stroke((0.1, 0.3), (0.9, 0.3))
    editor.settle()
    shown = "name => document.querySelector('[data-ganpaint-canvas]').dataset.shown === name"

    def picture(name: str) -> np.ndarray:
        editor.root.locator(f'[data-picture="{name}"]').click()
        editor.wait(shown, name)
        return editor.pixels()

    photo, preview = picture("photo"), picture("preview")
    assert np.abs(preview - photo).mean() > 2

    # as long as the key, or the button, is held
    editor.canvas.focus()
    page.keyboard.down("c")
    editor.wait(shown, "photo")
    assert np.abs(editor.pixels() - photo).mean() < 0.5
    page.keyboard.up("c")
    editor.wait(shown, "preview")
    page.keyboard.down("c")
    editor.wait(shown, "photo")
    editor.canvas.blur()  # the key comes up elsewhere
    editor.wait(shown, "preview")
    page.keyboard.up("c")
    editor.root.locator("[data-action=compare]").hover()
    mouse.down()
    editor.wait(shown, "photo")
    mouse.move(5, 5)
    mouse.up()
    editor.wait(shown, "preview")

    def border() -> float:
        """Up to where the photo is shown: a fraction of the width."""
        page.evaluate("() => new Promise(step => requestAnimationFrame(() => requestAnimationFrame(step)))")
        now = editor.pixels()
        off = np.array([np.abs(now - one).mean((0, 2)) for one in (photo, preview)])
        edge = int((off[0] < off[1]).argmin())
        # Resampled pixels may come out a little different.
        assert off[0, :edge].max() < 1 and off[1, edge:].max() < 1
        return edge / now.shape[1]

    # the divider: by its button, the pointer and the arrows
    editor.root.locator("[data-action=divider]").click()
    divider = editor.root.locator(".gp-divider")
    divider.wait_for()
    assert abs(border() - 0.5) < 0.02
    assert [badge.inner_text() for badge in page.locator(".gp-badge").all()] == ["Photo", "Preview"]
    assert not page.locator("[data-action=compare]").is_visible(), "it would lie on what says “Preview”"
    mouse.move(*editor.at(0.5, 0.5))
    mouse.down()
    mouse.move(*editor.at(0.25, 0.5), steps=4)
    mouse.up()
    assert abs(border() - 0.25) < 0.02
    before = border()
    divider.press("ArrowRight")
    assert abs(border() - before - 0.02) < 0.005
    assert divider.get_attribute("aria-valuenow") == str(round(100 * (before + 0.02)))
    assert len(editor.document()) == 1, "the divider is dragged, and paints nothing"
    editor.canvas.press("d")
    divider.wait_for(state="hidden")
    assert np.abs(editor.pixels() - preview).mean() < 0.5
    assert editor.complaints == []


def test_full_screen_and_back(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    full = "full => (document.fullscreenElement === document.querySelector('[data-ganpaint-root]')) === full"
    editor.canvas.press("f")
    editor.wait(full, True)
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    assert len(editor.document()) == 1
    editor.root.locator("[data-action=full-screen]").click()
    editor.wait(full, False)
    assert editor.complaints == []


@pytest.mark.parametrize("scale", [1, 2, 1.5])
def test_it_is_as_sharp_as_the_screen(open_editor: Callable[..., Editor], scale: float) -> None:
    editor = open_editor(scale=scale)
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    for layer in ("gp-picture", "gp-tint", "gp-outline", "gp-marks"):
        canvas = editor.page.locator(f".{layer}")
        pixels, across = canvas.evaluate("canvas => [canvas.width, canvas.getBoundingClientRect().width]")
        assert abs(pixels - scale * across) <= 1, layer


def test_marks_over_the_picture(open_editor: Callable[..., Editor]) -> None:
    """The cells under the cursor, the grid, the segments, the tint and its opacity."""
    editor = open_editor()
    page = editor.page
    editor.root.locator('[data-slider="size"]').fill("2")
    cells = page.evaluate("ganpaint.state.cells")
    assert cells == [16, 16]

    def marked(x: float, y: float) -> bool:
        """Is there a mark at this place of the picture?"""
        page.evaluate("() => new Promise(step => requestAnimationFrame(() => requestAnimationFrame(step)))")
        marks = editor.pixels(".gp-marks")
        return bool(marks[int(y * marks.shape[0]), int(x * marks.shape[1]), 3])

    # the cell (5, 9) has the brush in its middle: all of it is marked, and its neighbors are not
    page.mouse.move(*editor.at(5.5 / 16, 9.5 / 16))
    assert marked(5.2 / 16, 9.2 / 16) and marked(5.8 / 16, 9.8 / 16)
    assert not marked(4.5 / 16, 9.5 / 16) and not marked(5.5 / 16, 10.5 / 16)
    page.mouse.move(*editor.at(6 / 16, 9.5 / 16))  # on the border between two
    assert marked(5.2 / 16, 9.2 / 16) and marked(6.8 / 16, 9.8 / 16) and not marked(4.5 / 16, 9.5 / 16)

    page.mouse.move(2, 2)
    assert not editor.pixels(".gp-marks").any()
    editor.canvas.press("g")
    for cell in (1, 7, 15):
        assert marked(cell / 16, 0.5 / 16) and marked(0.5 / 16, cell / 16)
    assert not marked(0.5 / 16, 0.5 / 16)
    editor.canvas.press("g")

    # what the segmenter sees: each class in one color
    colors = editor.page.locator(".gp-colors")
    assert not colors.is_visible()
    editor.canvas.press("Shift+S")
    colors.wait_for()
    labels = np.array(page.evaluate("[...ganpaint.labels.values]")).reshape(128, 128)
    seen = editor.pixels(".gp-colors")
    places = np.linspace(0, len(seen), 128, endpoint=False).astype(int) + len(seen) // 256
    of_pixels = seen[places][:, places, :3]
    found = {label: of_pixels[labels == label] for label in np.unique(labels)}
    medians = [tuple(np.median(each, axis=0)) for each in found.values()]
    assert len(set(medians)) == len(found) >= 4
    for each, median in zip(found.values(), medians, strict=True):
        assert (np.abs(each - median).max(1) < 40).mean() > 0.6
    editor.canvas.press("Shift+S")
    colors.wait_for(state="hidden")

    # while a mask is painted its tint is as opaque as wished, and not there if it is not wished
    tint = editor.page.locator(".gp-tint")
    opacity = "tint => Number(getComputedStyle(tint).opacity)"
    editor.root.locator('[data-slider="opacity"]').fill("0.7")
    page.mouse.move(*editor.at(0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*editor.at(0.5, 0.3), steps=3)
    settled = """([of, wanted]) =>
        Math.abs(Number(getComputedStyle(document.querySelector(of)).opacity) - wanted) < 0.01"""
    editor.wait(settled, [".gp-tint", 0.7])
    assert editor.pixels(".gp-tint")[..., 3].max() > 200
    page.mouse.up()
    editor.wait(settled, [".gp-tint", 0])
    editor.canvas.press("o")
    page.mouse.down()
    page.mouse.move(*editor.at(0.5, 0.5), steps=3)
    editor.wait(settled, [".gp-tint", 0])
    editor.wait(settled, [".gp-outline", 0])
    page.mouse.up()
    assert tint.evaluate(opacity) == 0
    assert editor.complaints == []


# --- keys and tabs ---


def test_tab_goes_through_everything_in_order(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    for key in ["d", "t"]:  # with the divider and the references
        editor.canvas.press(key)
    page.locator(".gp-references .gp-choice").first.wait_for()
    expected = page.evaluate(
        """() => {
            const root = document.querySelector("[data-ganpaint-root]");
            const all = root.querySelectorAll("button, input, select, summary, a[href], [tabindex]");
            window.tabbed = [...all].filter(each =>
                each.tabIndex >= 0 && !each.disabled && each.checkVisibility({ visibilityProperty: true }));
            document.activeElement.blur();
            return tabbed.length;
        }"""
    )
    assert expected > 30
    page.mouse.click(2, 2)
    visited = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        visited.append(page.evaluate("() => tabbed.indexOf(document.activeElement)"))
    assert visited == list(range(expected))
    page.keyboard.press("Tab")
    assert page.evaluate("() => tabbed.indexOf(document.activeElement)") == -1, "Tab leaves the editor again"
    assert editor.complaints == []


def test_every_key_stands_in_a_tooltip(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    titles = editor.page.evaluate("() => [...document.querySelectorAll('[title]')].map(({ title }) => title)")
    keys = [*"BEMLSARTZCODGFP+-0", "Shift+Z", "Shift+S", "Escape"]
    missing = [key for key in keys if not any(f"({key})" in title or f"({key}," in title for title in titles)]
    assert missing == []
    assert any("([ and ])" in title for title in titles)


# --- painting ---


def test_nothing_of_a_stroke_is_lost_between_events_or_by_what_happens_meanwhile(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    page, mouse = editor.page, editor.page.mouse
    editor.root.locator('[data-slider="size"]').fill("4")
    # One event a frame, in which the browser says where the pointer has been since the last one.
    page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-ganpaint-canvas]");
            const { left, top, width, height } = canvas.getBoundingClientRect();
            const say = (type, x, y, more = {}) => new PointerEvent(type, {
                pointerId: 1, pointerType: "mouse", isPrimary: true, bubbles: true,
                button: type === "pointermove" ? -1 : 0, buttons: 1,
                clientX: left + x / 128 * width, clientY: top + y / 128 * height, ...more,
            });
            canvas.setPointerCapture = () => {};  // the pointer does not exist
            canvas.dispatchEvent(say("pointerdown", 20, 20));
            const between = [[60, 20], [60, 50], [20, 50]].map(([x, y]) => say("pointermove", x, y));
            canvas.dispatchEvent(say("pointermove", 20, 50, { coalescedEvents: between }));
            canvas.dispatchEvent(say("pointerup", 20, 50, { buttons: 0 }));
            delete canvas.setPointerCapture;
        }"""
    )
    assert [editor.painted(x, y) for x, y in [(20, 20), (60, 20), (60, 35), (60, 50), (20, 50)]] == [255] * 5
    assert editor.painted(20, 35) == 0, "not straight to where it came out"

    # Another tool, size and picture in the middle of a stroke, and out of the picture and back again.
    mouse.move(*editor.at(0.1, 0.7))
    mouse.down()
    mouse.move(*editor.at(0.3, 0.7), steps=3)
    for key in ["m", "]", "r", "c"]:
        page.keyboard.press(key)
    mouse.move(*editor.at(0.5, 0.7), steps=3)
    editor.root.locator('[data-picture="reconstruction"]').evaluate("button => button.click()")
    mouse.move(*editor.at(1.2, 0.7), steps=3)
    mouse.move(*editor.at(1.2, 0.9), steps=3)
    mouse.move(*editor.at(0.5, 0.9), steps=3)
    mouse.up()
    editor.settle()
    for x in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 0.99):
        assert editor.painted(int(128 * x), int(128 * 0.7)) > 200, x
    for x in (0.99, 0.8, 0.6, 0.5):
        assert editor.painted(int(128 * x), int(128 * 0.9)) > 200, x
    assert editor.painted(int(128 * 0.4), int(128 * 0.9)) == 0
    assert len(editor.document()) == 1 and editor.complaints == []


def test_two_views_of_a_widget_show_the_same(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("?views=2")
    roots = editor.page.locator("[data-ganpaint-root]")
    assert roots.count() == 2
    # A stroke in each: all of it is in both.
    for view, y in [(0, 0.2), (1, 0.8)]:
        canvas = roots.nth(view).locator("[data-ganpaint-canvas]")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        editor.page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + y * box["height"])
        editor.page.mouse.down()
        editor.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + y * box["height"], steps=4)
        editor.page.mouse.up()
    editor.settle()
    assert len(editor.document()) == 1
    editor.wait(
        """() => [...document.querySelectorAll("[data-ganpaint-root]")].every(root => {
            const canvas = root.querySelector("[data-edit] canvas");
            const { sequence } = root.querySelector("[data-ganpaint-canvas]").dataset;
            return Number(sequence) === ganpaint.outbox.sent && [0.2, 0.8].every(y => canvas.getContext("2d")
                .getImageData(64, Math.floor(128 * y), 1, 1).data[3] === 255);
        })"""
    )
    assert editor.complaints == []


def test_the_picture_is_moved_by_the_space_bar_and_the_middle_button(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    page, mouse = editor.page, editor.page.mouse
    editor.canvas.focus()
    for _ in range(2):
        page.keyboard.press("+")
    editor.wait("() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) > 2")

    def corner() -> np.ndarray:
        page.evaluate("() => new Promise(step => requestAnimationFrame(() => requestAnimationFrame(step)))")
        return np.array((editor.canvas.get_attribute("data-viewport") or "").split()[1:], float)

    for button in ("left", "middle"):
        before = corner()
        if button == "left":
            page.keyboard.down(" ")
        mouse.move(*editor.at(0.5, 0.5))
        mouse.down(button=button)
        mouse.move(*editor.at(0.6, 0.4), steps=3)
        mouse.up(button=button)
        page.keyboard.up(" ")
        # A tenth of the stage is a tenth of what is seen of the picture.
        assert np.allclose(corner() - before, np.array([-0.1, 0.1]) * 128 / editor.zoom, atol=0.5)
    assert editor.document() == [] and editor.complaints == []


def test_edits_are_dragged_to_their_places_and_masks_go_out_and_in(
    open_editor: Callable[..., Editor], tmp_path: Path
) -> None:
    editor = open_editor()
    page, mouse = editor.page, editor.page.mouse
    for concept, y in [("tree", 0.2), ("dome", 0.5), ("door", 0.8)]:
        editor.root.locator(f'[data-concept="{concept}"]').click()
        editor.stroke((0.2, y), (0.6, y))
    editor.settle()

    def order() -> list[str]:
        return [str(name) for name in page.evaluate("ganpaint.edits.map(({ concept }) => concept)")]

    assert order() == ["tree", "dome", "door"]
    thumbnails = page.locator("[data-edit] canvas")
    rows = [int(thumbnails.nth(at).evaluate(
        """canvas => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let sum = 0, weight = 0;
            for (let at = 0; at < data.length; at += 4) {
                weight += data[at + 3];
                sum += data[at + 3] * Math.floor(at / 4 / canvas.width);
            }
            return sum / weight;
        }"""
    )) for at in range(3)]  # fmt: skip
    assert np.allclose(rows, np.array([0.8, 0.5, 0.2]) * 128, atol=2), "the newest on top, each with its mask"

    # the tree, which lies lowest in the list, to its top
    box = page.locator("[data-edit]").first.bounding_box()
    assert box is not None
    page.locator("[data-edit]").nth(2).locator(".gp-grip").hover()
    mouse.down()
    mouse.move(box["x"] + 9, box["y"] + box["height"] / 2, steps=5)
    mouse.up()
    assert order() == ["dome", "door", "tree"]
    editor.settle()
    assert order() == ["dome", "door", "tree"]
    editor.canvas.press("z")
    editor.settle()
    assert order() == ["tree", "dome", "door"]

    # a mask as a file, and that file as another edit's mask
    page.locator("[data-edit]").nth(2).locator(".gp-select").click()
    with page.expect_download() as download:
        page.locator('[data-action="export-mask"]').click()
    download.value.save_as(tmp_path / "mask.png")
    assert download.value.suggested_filename == "mask-add-tree.png"
    exported = np.asarray(Image.open(tmp_path / "mask.png"))
    tree = "ganpaint.masks.get(ganpaint.edits[0].id).values"
    assert exported.shape == (128, 128) and exported.any()
    assert (exported.ravel() == page.evaluate(f"[...{tree}]")).all()
    editor.root.locator('[data-concept="cloud"]').click()
    with page.expect_file_chooser() as chooser:
        page.locator('[data-action="import-mask"]').click()
    chooser.value.set_files(tmp_path / "mask.png")
    editor.wait("() => ganpaint.edits.length === 4")
    assert order()[-1] == "cloud"
    assert (exported.ravel() == page.evaluate("[...ganpaint.masks.get(ganpaint.edits[3].id).values]")).all()
    # a picture of another size, with colors: its brightness counts
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "ramp.jpg")
    with page.expect_file_chooser() as chooser:
        page.locator('[data-action="import-mask"]').click()
    chooser.value.set_files(tmp_path / "ramp.jpg")
    editor.wait("() => ganpaint.masks.get(ganpaint.edits[3].id).values[127 * 128] > 240")
    ramp = np.array(page.evaluate("[...ganpaint.masks.get(ganpaint.edits[3].id).values]")).reshape(128, 128)
    assert np.abs(ramp - np.linspace(1, 254, 128)[:, None]).max() < 6

    # of a photo's own size: through the photo's frame; and of 0 and 1
    def give(mask: Image.Image, fit: str) -> None:
        mask.save(tmp_path / "own.png")
        editor.settle()  # the kernel here knows nothing of photos
        page.evaluate("fit => { ganpaint.state.photo = { width: 160, height: 100, fit }; }", fit)
        with page.expect_file_chooser() as chooser:
            page.locator('[data-action="import-mask"]').click()
        chooser.value.set_files(tmp_path / "own.png")

    def shows(expected: np.ndarray) -> None:
        editor.wait(
            "values => String(ganpaint.masks.get(ganpaint.edits[3].id).values) === values",
            ",".join(map(str, expected.ravel())),
        )

    wide = np.zeros((100, 160), np.uint8)
    wide[20:70, 50:90] = 1
    for fit in ("crop", "pad"):
        give(Image.fromarray(wide), fit)
        shows(square_mask(255 * wide, 128, fit))
        # opaque where it is painted, whatever its color
        clear = np.stack([np.full_like(wide, 9)] * 3 + [255 - 255 * wide], axis=2)
        give(Image.fromarray(clear), fit)
        shows(square_mask(255 - 255 * wide, 128, fit))
    give(Image.new("L", (100, 100)), "crop")
    page.locator("[role=alert] .gp-card").filter(has_text="not the shape of 160 × 100").wait_for()
    give(Image.fromarray(4 * wide), "crop")
    page.locator("[role=alert] .gp-card").filter(has_text="up to 4 of 255 only").wait_for()
    assert editor.complaints == []


# --- opening, blending, and what is said ---


def noise(width: int, height: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def plain(width: int, height: int) -> bytes:
    """A picture of which half is transparent, and that makes a small file."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    image.paste((30, 120, 200, 255), (0, 0, width, height // 2))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_dropped_or_pasted_and_a_large_one_scaled_down(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    page = editor.page
    page.evaluate(
        """() => {
            const command = ganpaint.command.bind(ganpaint);
            window.opened = [];
            ganpaint.command = (name, told, file) => {
                if (name === "open") opened.push([told.name, file]);
                return command(name, told, file);
            };
        }"""
    )

    def give(how: str, name: str, data: bytes) -> tuple[str, bytes]:
        """Drops or pastes a file onto the editor; what the kernel is sent."""
        before = page.evaluate("opened.length")
        prevented = page.evaluate(
            """([how, name, data]) => {
                const transfer = new DataTransfer();
                const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/png" }));
                const canvas = document.querySelector("[data-ganpaint-canvas]");
                const common = { bubbles: true, cancelable: true };
                const say = event => !canvas.dispatchEvent(event);  // was it prevented?
                if (how === "paste")
                    return say(new ClipboardEvent("paste", { ...common, clipboardData: transfer }));
                say(new DragEvent("dragover", { ...common, dataTransfer: transfer }));
                const asked = document.querySelector("[data-dropping]") !== null;
                return say(new DragEvent("drop", { ...common, dataTransfer: transfer })) && asked;
            }""",
            [how, name, base64.b64encode(data).decode()],
        )
        assert prevented, "otherwise the browser leaves the notebook for the picture"
        editor.wait("before => opened.length > before", before)
        told, sent = page.evaluate(
            """() => {
                const [name, bytes] = opened.at(-1);
                return [name, btoa(Array.from(bytes, one => String.fromCharCode(one)).join(""))];
            }"""
        )
        return told, base64.b64decode(sent)

    small = noise(64, 64)
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            for (const name of ["notes.txt", "IMG_1.HEIC"]) transfer.items.add(new File(["x"], name));
            const common = { bubbles: true, cancelable: true };
            const event = new ClipboardEvent("paste", { ...common, clipboardData: transfer });
            document.querySelector("[data-ganpaint-canvas]").dispatchEvent(event);
        }"""
    )
    editor.wait("() => opened.length === 1")
    assert page.evaluate("opened[0][0]") == "IMG_1.HEIC", "whatever the system knows of its type"
    editor.canvas.press("Escape")  # the kernel says that it is not a picture
    for how in ("drop", "paste"):
        assert give(how, f"{how}.png", small) == (f"{how}.png", small)
    exact = plain(2000, 2000)
    assert give("drop", "exact.png", exact)[1] == exact
    word = editor.page.locator(".gp-word")
    wide, heavy = ("wide.png", plain(2100, 2100), 4_000_000), ("heavy.png", noise(1600, 1600), 1600**2)
    for name, data, most in (wide, heavy):
        assert (len(data) > 6_000_000) == (name == "heavy.png")
        _, sent = give("drop", name, data)
        with Image.open(io.BytesIO(sent)) as image:
            assert 0.99 * most < image.width * image.height <= most
            assert f"a JPEG of {image.width} × {image.height} pixels" in word.inner_text()
            if name == "wide.png":
                assert min(image.getpixel((9, image.height - 9))) > 250, "what is transparent is white"
        assert len(sent) < 6_000_000
    editor.settle()
    assert "Outside the demo's world" in editor.page.locator(".gp-banner").inner_text()
    assert editor.complaints == []


def test_what_goes_wrong_is_said_in_two_sentences_and_changes_nothing(
    open_editor: Callable[..., Editor],
) -> None:
    editor = open_editor()
    page = editor.page
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    before = editor.document()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-action=open]").click()
    chooser.value.set_files({"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    card = page.locator("[role=alert] .gp-card")
    card.wait_for()
    assert "notes.png is not a picture. Open a PNG, JPEG or WebP file." in card.inner_text()
    assert editor.document() == before
    editor.canvas.press("Escape")
    card.wait_for(state="detached")
    # what the kernel notices is said where screen readers hear it
    page.evaluate(
        "ganpaint.receive({ type: 'notice', level: 'info', text: 'No visible effect here.' }, null)"
    )
    word = page.locator("[role=status][aria-live=polite]").filter(has_text="No visible effect here")
    word.wait_for()
    assert editor.complaints == []


def test_what_the_browser_refuses_is_said(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    page.evaluate(
        """() => {
            Element.prototype.requestFullscreen = () => Promise.reject(new TypeError("not here"));
            window.CompressionStream = class { constructor() { throw new TypeError("not here"); } };
            HTMLDialogElement.prototype.showModal = () => { throw new TypeError("not here"); };
        }"""
    )
    card = page.locator("[role=alert] .gp-card")
    editor.canvas.press("f")
    card.filter(has_text="full screen").wait_for()
    page.locator("[data-action=export-mask]").click()
    card.filter(has_text="The mask could not be saved").wait_for()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-action=open]").click()
    chooser.value.set_files({"name": "wide.png", "mimeType": "image/png", "buffer": plain(90, 60)})
    card.filter(has_text="wide.png could not be read").wait_for()
    assert editor.complaints == []


HELD = """
window.held = { listeners: 0, bitmaps: 0, observers: 0 };
const ours = () => Number(new Error().stack.includes("bare.js"));  // the test listens as well
for (const target of [window, document]) {
    const { addEventListener, removeEventListener } = target;
    target.addEventListener = (type, listener, options) => {
        const count = ours();
        held.listeners += count;
        options?.signal?.addEventListener("abort", () => { held.listeners -= count; });
        addEventListener.call(target, type, listener, options);
    };
    target.removeEventListener = (...what) => {
        held.listeners -= ours();
        removeEventListener.call(target, ...what);
    };
}
const make = createImageBitmap, { close } = ImageBitmap.prototype;
window.createImageBitmap = async (...sources) => {
    const bitmap = await make(...sources);
    held.bitmaps++;
    return bitmap;
};
ImageBitmap.prototype.close = function () {
    held.bitmaps -= this.width > 0;
    close.call(this);
};
window.ResizeObserver = class extends ResizeObserver {
    constructor(...what) {
        super(...what);
        held.observers++;
    }
    disconnect() {
        held.observers--;
        super.disconnect();
    }
};
"""


def test_an_editor_that_goes_takes_everything_with_it(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    page.add_init_script(HELD)
    page.reload()
    editor.wait("() => document.querySelector('[data-ganpaint-canvas]')?.dataset.viewport")
    for y in (0.3, 0.5, 0.7):
        editor.stroke((0.2, y), (0.6, y))
        editor.settle()
    # three pictures, whatever came before them
    editor.wait("() => held.bitmaps === 3 && held.listeners > 0 && held.observers === 1")
    page.locator("[data-action=gallery]").press("Enter")
    page.locator("dialog .gp-choice").nth(19).wait_for()
    page.keyboard.press("Escape")
    editor.canvas.press("t")
    page.locator(".gp-references .gp-choice").first.wait_for()
    # and a question that is open
    with page.expect_file_chooser() as chooser:
        page.locator("[data-action=open]").click()
    chooser.value.set_files({"name": "wide.png", "mimeType": "image/png", "buffer": plain(90, 60)})
    page.locator("[data-fit=crop]").wait_for()
    assert page.evaluate("held.bitmaps") == 3 + 2 + 1
    page.evaluate(
        """() => {
            for (const editor of editors) editor.destroy();
            ganpaint.dispose();
        }"""
    )
    editor.wait("() => Object.values(held).every(count => count === 0)")
    assert page.locator("[data-ganpaint-root], dialog").count() == 0
    assert editor.complaints == []


def test_opening_is_cancelled_by_a_button_and_by_escape(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    page.evaluate(
        """() => {
            const receive = ganpaint.receive.bind(ganpaint);
            window.cancels = 0;
            ganpaint.outbox.cancel = () => { cancels++; };
            ganpaint.receive = () => {};  // a kernel that takes its time
            window.refuse = () => {
                const { id: page, outbox: { sent: sequence } } = ganpaint;
                ganpaint.receive = receive;
                const [what, mend] = ["Opening the picture was canceled.", "Try it again."];
                ganpaint.receive({ type: "error", page, sequence, what, mend }, null);
            };
        }"""
    )
    cancel = page.locator("[data-action=cancel-opening]")
    expect(cancel).to_be_hidden()
    page.locator("[data-action=scene]").click()
    cancel.click()
    assert page.evaluate("cancels") == 1
    editor.canvas.press("Escape")
    assert page.evaluate("cancels") == 2
    page.evaluate("refuse()")
    page.locator("[role=alert] .gp-card").filter(has_text="was canceled").wait_for()
    expect(cancel).to_be_hidden()
    assert editor.complaints == []


def test_a_blend_shows_how_far_it_is_and_is_cancelled_by_escape(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor()
    page = editor.page
    editor.stroke((0.3, 0.5), (0.5, 0.6))
    editor.settle()
    page.locator("[data-action=blend]").click()
    numbers = page.locator(".gp-numbers")
    numbers.filter(has_text=re.compile(r"\d+ s left · kept pixels \d+\.\d dB")).wait_for()
    seen = []
    for _ in range(2):  # pictures that improve come onto the canvas by themselves
        editor.wait(
            "seen => { const { shown, frame } = document.querySelector('[data-ganpaint-canvas]').dataset;"
            " return shown === 'result' && Number(frame) > (seen.at(-1) ?? 0); }",
            seen,
        )
        seen.append(int(editor.canvas.get_attribute("data-frame") or 0))
        assert editor.root.get_attribute("data-job") == "blend"
    progress = page.get_by_role("progressbar", name="Blending")
    assert 0 < int(progress.get_attribute("aria-valuenow") or 0) < 100
    editor.canvas.press("Escape")
    numbers.filter(has_text=re.compile(r"Kept pixels 22\.1 → \d+\.\d dB, edit survival 0\.97")).wait_for()
    assert editor.root.get_attribute("data-job") == ""
    assert editor.complaints == []


def test_edits_are_blended_again_when_the_hand_rests(open_editor: Callable[..., Editor]) -> None:
    editor = open_editor("?views=2")
    page = editor.page
    painted, other = (page.locator("[data-ganpaint-root]").nth(index) for index in (0, 1))
    page.evaluate(
        """() => {
            const command = ganpaint.command.bind(ganpaint);
            window.blends = [];
            ganpaint.command = (name, ...rest) => {
                if (name === "blend") blends.push(ganpaint.revision);
                return command(name, ...rest);
            };
        }"""
    )
    blended = "count => blends.length === count && !ganpaint.job && ganpaint.state.blended === blends.at(-1)"

    def stroke(y: float) -> None:
        page.evaluate("scrollTo(0, 0)")
        box = painted.locator("[data-ganpaint-canvas]").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + y * box["height"], steps=4)
        page.mouse.up()

    switch = painted.get_by_role("switch", name="Blend again after each edit")
    assert not switch.is_checked()
    stroke(0.3)
    editor.settle()
    painted.locator("[data-action=blend]").click()
    editor.wait(blended, 1)
    switch.check()
    editor.wait("() => [...document.querySelectorAll('[data-action=reblend]')].every(box => box.checked)")

    # of itself, once, in both views; where it was painted its picture comes onto the canvas
    stroke(0.5)
    shown = "name => document.querySelector('[data-ganpaint-canvas]').dataset.shown === name"
    editor.wait(shown, "preview")
    editor.wait("() => blends.length === 2 && ganpaint.job")
    # a stroke stops it, and is blended in its turn
    stroke(0.7)
    editor.wait(blended, 3)
    editor.wait(shown, "result")
    assert other.locator("[data-ganpaint-canvas]").get_attribute("data-shown") == "preview"
    revisions = page.evaluate("blends")
    assert revisions == sorted(set(revisions)), "nothing is blended twice"
    assert editor.complaints == []
