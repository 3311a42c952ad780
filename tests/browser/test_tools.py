"""What the tools paint, pixel by pixel: pointer and pen in the browser, and the mask that Python has."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytestmark = pytest.mark.timeout(600)

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

    def press_pen(self, point: Point, force: float) -> Point:
        accepted = self.notebook.number("accepted")
        (x, y), exact = self.place(point)
        devtools = self.page.context.new_cdp_session(self.page)
        common = {"x": x, "y": y, "button": "left", "pointerType": "pen", "clickCount": 1}
        devtools.send("Input.dispatchMouseEvent", common | {"type": "mousePressed", "force": force})
        devtools.send("Input.dispatchMouseEvent", common | {"type": "mouseReleased", "force": 0})
        self.notebook.wait_for_accepted(accepted)
        return exact

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


def swept(size: int, points: list[Point], radius: float) -> npt.NDArray[np.float64]:
    """A round brush put down at very many places of its way; its edge falls off over one pixel."""
    x, y = grid(size)
    distance = np.full((size, size), np.inf)
    ways = list(itertools.pairwise(points)) or [(points[0], points[0])]
    for (ax, ay), (bx, by) in ways:
        for t in np.linspace(0, 1, 400):
            np.minimum(distance, np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)), out=distance)
    return 255 * np.clip(radius + 0.5 - distance, 0, 1)


def enclosed(size: int, points: list[Point]) -> npt.NDArray[np.float64]:
    """How much of each pixel a polygon encloses: 8 x 8 points in each, by the even-odd rule."""
    fine = 8
    x, y = (axis / fine for axis in grid(size * fine))
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        if ay != by:
            inside ^= ((ay <= y) != (by <= y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return 255 * inside.reshape(size, fine, size, fine).mean((1, 3))


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


@pytest.mark.parametrize("scale", [1, 2])
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

        # the brush, on a way that leaves the picture and comes back
        easel.tool("brush")
        outside = [] if zoomed else [(-9.0, 20.0), (9.0, 9.0)]
        way = easel.drag(at(-0.8, -0.7), at(0.9, -0.2), at(-0.5, 0.8), *outside)
        expected_soft = swept(size, way, 4.5)
        assert np.abs(easel.mask() - expected_soft).max() < 4
        assert (expected_soft > 0).sum() > 50
        easel.clear()

        # a lasso
        easel.tool("lasso")
        corners = easel.drag(at(-0.9, -0.5), at(0.2, -0.9), at(0.8, 0.9), at(-0.3, 0.3))
        assert np.abs(easel.mask() - enclosed(size, corners)).max() < 40
        assert abs(float((easel.mask() - enclosed(size, corners)).sum())) < 2 * 255
        easel.clear()

        # a click on a segment
        easel.tool("segment")
        ((x, y),) = easel.drag(at(0, 0.5))
        wanted = component(easel.labels, int(x), int(y))
        assert np.array_equal(easel.mask() > 0, wanted) and set(np.unique(easel.mask())) <= {0, 255}
        easel.clear()

        # a pen that is pressed, and pressed hard
        easel.tool("brush")
        for force, factor in [(0.25, 0.5), (0.75, 1.5)]:
            exact = easel.press_pen(at(0.1, 0.2), force)
            assert np.abs(easel.mask() - swept(size, [exact], 4.5 * factor)).max() < 4
            easel.clear()
