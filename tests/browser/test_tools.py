"""What the tools paint, pixel by pixel: pointer and pen in the browser, and the mask that Python has."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytestmark = pytest.mark.timeout(600)

EXACT = 1.0
"""So far apart two masks may be that are the same but for rounding, of 255."""

Mask = npt.NDArray[np.uint8]
Point = tuple[float, float]  # in picture pixels


class Easel:
    """The editor in a notebook, painted on in picture pixels."""

    def __init__(self, notebook: Any) -> None:
        self.notebook = notebook
        self.page = notebook.page
        notebook.ask("import numpy as np; np.save('labels.npy', paint.session.labels)")
        self.labels = np.load(notebook.lab.folder / "labels.npy")
        self.size = len(self.labels)

    def place(self, point: Point) -> tuple[Point, Point]:
        """Where to put the pointer, in whole CSS pixels, and which place in the picture that is exactly."""
        box = self.notebook.canvas.bounding_box()
        zoom, left, top = map(float, self.notebook.canvas.get_attribute("data-viewport").split())
        scale = box["width"] * zoom / self.size
        x = round(box["x"] + (point[0] - left) * scale)
        y = round(box["y"] + (point[1] - top) * scale)
        return (x, y), ((x - box["x"]) / scale + left, (y - box["y"]) / scale + top)

    def drag(self, *points: Point, alt: bool = False) -> list[Point]:
        """Presses at the first point, moves through the others, and lets go. Where that was exactly."""
        accepted = self.notebook.number("accepted")
        places = [self.place(point) for point in points]
        if alt:
            self.page.keyboard.down("Alt")
        self.page.mouse.move(*places[0][0])
        self.page.mouse.down()
        for place, _ in places[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up()
        if alt:
            self.page.keyboard.up("Alt")
        self.notebook.wait_for_accepted(accepted)
        return [exact for _, exact in places]

    def draw_by_pen(self, *points: tuple[Point, float]) -> list[Point]:
        """The same with a pen that is pressed so hard at each of the points: 0 to 1, a half is as usual."""
        accepted = self.notebook.number("accepted")
        places = [(self.place(point), force) for point, force in points]
        devtools = self.page.context.new_cdp_session(self.page)

        def send(kind: str, place: Point, force: float) -> None:
            x, y = place
            button = {"button": "left", "buttons": 1, "clickCount": int(kind != "mouseMoved")}
            event = {"type": kind, "x": x, "y": y, "pointerType": "pen", "force": force} | button
            devtools.send("Input.dispatchMouseEvent", event)

        (first, _), force = places[0]
        send("mousePressed", first, force)
        for (place, _), force in places[1:]:
            send("mouseMoved", place, force)
        (last, _), _ = places[-1]
        send("mouseReleased", last, 0)
        devtools.detach()
        self.notebook.wait_for_accepted(accepted)
        return [exact for (_, exact), _ in places]

    def tool(self, name: str) -> None:
        self.notebook.press(f'[data-tool="{name}"]')

    def mask(self) -> Mask:
        """The current edit's mask, as Python has it; then undone, to begin afresh."""
        self.notebook.ask("np.save('mask.npy', paint.mask)")
        mask: Mask = np.load(self.notebook.lab.folder / "mask.npy")
        return mask

    def clear(self) -> None:
        self.notebook.ask("while paint.session.undo(): pass")
        self.notebook.wait("() => !document.querySelector('[data-ganpaint-root] [data-edit]')")


def grid(size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = np.mgrid[:size, :size] + 0.5
    return x, y


def nearest(size: int, a: Point, b: Point) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For each pixel, the nearest place of a straight way: how far along, 0 to 1, and how far off."""
    x, y = grid(size)
    along = np.array(b) - a
    t = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / max((along**2).sum(), 1e-9), 0, 1)
    return t, np.hypot(x - a[0] - t * along[0], y - a[1] - t * along[1])


def swept(size: int, points: list[Point], radius: float) -> npt.NDArray[np.float64]:
    """What a round brush covers on its way; its edge falls off over one pixel."""
    ways = list(itertools.pairwise(points)) or [(points[0], points[0])]
    distance = np.min([nearest(size, a, b)[1] for a, b in ways], axis=0)
    return 255 * np.clip(radius + 0.5 - distance, 0, 1)


def pressed(size: int, a: Point, b: Point, before: float, after: float) -> npt.NDArray[np.float64]:
    """A way of the brush on which its radius changes: as it is at the place nearest to each pixel."""
    t, distance = nearest(size, a, b)
    return 255 * np.clip(before + t * (after - before) + 0.5 - distance, 0, 1)


def enclosed(size: int, points: list[Point]) -> npt.NDArray[np.float64]:
    """How much of each pixel a polygon encloses, by the even-odd rule: exact on each of eight lines a row."""
    left = np.arange(size)
    area = np.zeros((size, size))
    for line in range(8 * size):
        y = (line + 0.5) / 8
        sides = zip(points, [*points[1:], points[0]], strict=True)
        crossings = [
            ax + (y - ay) * (bx - ax) / (by - ay) for (ax, ay), (bx, by) in sides if (ay <= y) != (by <= y)
        ]
        crossings.sort()
        for begin, end in zip(crossings[::2], crossings[1::2], strict=True):
            area[line // 8] += np.clip(np.minimum(end, left + 1) - np.maximum(begin, left), 0, 1) / 8
    return 255 * area


def component(labels: Mask, x: int, y: int) -> npt.NDArray[np.bool_]:
    """The pixels that hang together with one: grown until nothing is added."""
    same = labels == labels[y, x]
    found = np.zeros(labels.shape, bool)
    found[y, x] = True
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= same
        if (grown == found).all():
            return found
        found = grown


@pytest.mark.parametrize("scale", [1, pytest.param(2, marks=pytest.mark.heavy)])
def test_each_tool_draws_exact_masks_zoomed_and_not(open_notebook, scale: int) -> None:
    notebook = open_notebook("import ganpaint_widget as gp", "paint = gp.GANPaint()\npaint", scale=scale)
    notebook.run_all()
    notebook.wait_for_editor()
    assert notebook.errors() == []
    easel = Easel(notebook)
    size = easel.size
    notebook.choose("tree")
    notebook.root.locator('[data-slider="size"]').fill("9")

    for zoomed in (False, True):
        if zoomed:
            notebook.canvas.focus()
            for _ in range(2):
                easel.page.keyboard.press("+")
            notebook.wait(
                "() => parseFloat(document.querySelector('[data-ganpaint-canvas]').dataset.viewport) > 2"
            )
        middle, reach = size / 2, size / 8

        def at(x: float, y: float, middle: float = middle, reach: float = reach) -> Point:
            return middle + x * reach, middle + y * reach

        # a rectangle, and less of it with Alt
        easel.tool("rectangle")
        (left, top), (right, bottom) = easel.drag(at(-0.9, 0.8), at(0.7, -0.6))
        expected = np.zeros((size, size), np.uint8)
        expected[int(bottom) : int(top) + 1, int(left) : int(right) + 1] = 255
        assert np.array_equal(easel.mask(), expected)
        (left, top), (right, bottom) = easel.drag(at(-0.2, -0.3), at(0.1, 0.4), alt=True)
        expected[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = 0
        assert np.array_equal(easel.mask(), expected)
        easel.clear()

        # the brush, on a way that leaves the picture and comes back; then the eraser
        easel.tool("brush")
        outside = [] if zoomed else [(-9.0, 20.0), (9.0, 9.0)]
        way = easel.drag(at(-0.8, -0.7), at(0.9, -0.2), at(-0.5, 0.8), *outside)
        painted = swept(size, way, 4.5)
        assert np.abs(easel.mask() - painted).max() < EXACT
        assert (painted > 0).sum() > 50
        easel.tool("eraser")
        way = easel.drag(at(-0.6, 0.4), at(0.7, -0.9))
        left = np.minimum(painted, 255 - swept(size, way, 4.5))
        assert np.abs(easel.mask() - left).max() < EXACT and (left < painted).sum() > 50
        easel.clear()

        # the smallest brush and the largest
        easel.tool("brush")
        slider = notebook.root.locator('[data-slider="size"]')
        assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("1", str(size // 4))
        for diameter in (1, size // 4):
            slider.fill(str(diameter))
            way = easel.drag(at(-0.4, -0.3), at(0.3, 0.2))
            assert np.abs(easel.mask() - swept(size, way, diameter / 2)).max() < EXACT
            easel.clear()
        slider.fill("9")

        # a lasso
        easel.tool("lasso")
        corners = easel.drag(at(-0.9, -0.5), at(0.2, -0.9), at(0.8, 0.9), at(-0.3, 0.3))
        assert np.abs(easel.mask() - enclosed(size, corners)).max() < EXACT
        easel.clear()

        # a click on a segment
        easel.tool("segment")
        ((x, y),) = easel.drag(at(0, 0.5))
        wanted = component(easel.labels, int(x), int(y))
        assert np.array_equal(easel.mask(), 255 * wanted)
        easel.clear()

        # a pen that is pressed, and pressed hard; and harder and harder on its way
        easel.tool("brush")
        for force, factor in [(0.25, 0.5), (0.75, 1.5)]:
            way = easel.draw_by_pen((at(0.1, 0.2), force))
            assert np.abs(easel.mask() - swept(size, way, 4.5 * factor)).max() < EXACT
            easel.clear()
        begin, end = easel.draw_by_pen((at(-0.7, 0.2), 0.25), (at(0.8, -0.3), 0.75))
        assert np.abs(easel.mask() - pressed(size, begin, end, 4.5 * 0.5, 4.5 * 1.5)).max() < EXACT
        easel.clear()
