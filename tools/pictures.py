"""Make the pictures of README and docs from the real editor in JupyterLab, into ``docs/images``.

    .venv/bin/python tools/pictures.py [--scene 18]

``paint.webp``: a short looping clip of a tree and a dome being painted and blended. ``paint.png``: the editor
afterwards. ``paint-dark.png``: the same in the dark theme. Make them again whenever the weights or the
editor change.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import Lab, Notebook, opened, running_browser, running_lab  # noqa: E402

IMAGES = ROOT / "docs" / "images"

FRAME = 90  # ms
REST = 1400  # ms, on a finished step
LONGEST = 3 * 2**20
"""Bytes of the clip: more would make the README slow to open."""

# Fractions of the picture, as a hand would go.
STROKES: dict[str, list[tuple[float, float]]] = {
    "tree": [(0.84, 0.58), (0.91, 0.54), (0.84, 0.64), (0.91, 0.63), (0.86, 0.70), (0.88, 0.80)],
    "dome": [
        (0.38, 0.28),
        (0.42, 0.20),
        (0.49, 0.16),
        (0.56, 0.20),
        (0.60, 0.28),
        (0.50, 0.23),
        (0.50, 0.29),
        (0.40, 0.29),
        (0.59, 0.29),
    ],
}


class Clip:
    """Frames of the editor's part of a page, and how long each is shown."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._frames: list[Image.Image] = []
        self._durations: list[int] = []

    def shoot(self, duration: int = FRAME) -> None:
        """Add the editor as it looks now."""
        shown = self._notebook.root.screenshot()
        with Image.open(io.BytesIO(shown)) as frame:
            self._frames.append(frame.convert("RGB"))
        self._durations.append(duration)

    def save(self, path: Path) -> None:
        """Write an animated WebP that repeats without end."""
        first, *rest = self._frames
        size = min(frame.width for frame in self._frames), min(frame.height for frame in self._frames)
        first, *rest = (frame.crop((0, 0, *size)) for frame in (first, *rest))
        for quality in (80, 70, 60, 50):
            first.save(
                path, save_all=True, append_images=rest, duration=self._durations, loop=0,
                quality=quality, method=6,
            )  # fmt: skip
            if path.stat().st_size <= LONGEST:
                return
        raise SystemExit(f"{path} has {path.stat().st_size} bytes. Record fewer frames.")


def paint(notebook: Notebook, clip: Clip, concept: str) -> None:
    """Paint a concept's stroke and take a frame at every step of the hand."""
    notebook.choose(concept)
    clip.shoot(400)
    box: Any = notebook.canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKES[concept]]
    before = notebook.number("accepted")
    notebook.page.mouse.move(*places[0])
    notebook.page.mouse.down()
    for (x0, y0), (x1, y1) in itertools.pairwise(places):
        for step in (1, 2, 3, 4):
            share = step / 4
            notebook.page.mouse.move(x0 + share * (x1 - x0), y0 + share * (y1 - y0), steps=2)
            clip.shoot()
    notebook.page.mouse.up()
    notebook.wait_for_accepted(before)
    notebook.wait_for_picture()
    # Away from the canvas, so that the brush does not hide what it has painted.
    notebook.page.mouse.move(box["x"] + box["width"] + 30, box["y"] + box["height"] - 5)
    clip.shoot(REST)


def record(lab: Lab, scene: int) -> None:
    """Open a notebook with the editor, paint, blend, and write the pictures."""
    cells = (
        "import ganpaint_widget as gp",
        (f"paint = gp.GANPaint(session=gp.EditingSession(scene={scene}))\npaint"),
    )
    with running_browser() as chromium:
        notebook = opened(lab, chromium, "paint.ipynb", *cells)
        page = notebook.page
        page.set_viewport_size({"width": 1180, "height": 900})
        notebook.command("application:toggle-left-area")
        notebook.run_all()
        notebook.wait_for_editor()
        notebook.root.scroll_into_view_if_needed()
        clip = Clip(notebook)
        clip.shoot(REST)
        for concept in STROKES:
            paint(notebook, clip, concept)
        notebook.press('[data-action="blend"]')
        clip.shoot(600)
        notebook.wait_for_blend()
        clip.shoot(2 * REST)
        clip.save(IMAGES / "paint.webp")
        page.screenshot(path=IMAGES / "paint.png")
        notebook.theme("JupyterLab Dark")
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.screenshot(path=IMAGES / "paint-dark.png")
        notebook.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scene", type=int, default=18, help="of the gallery")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_lab(Path(folder)) as lab:
        record(lab, chosen.scene)


if __name__ == "__main__":
    main()
