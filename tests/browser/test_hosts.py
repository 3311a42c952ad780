"""The editor elsewhere than in a JupyterLab as it comes: Notebook 7, other settings, marimo."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from .conftest import PATIENCE, Lab, Notebook, free_port, opened, running_lab

pytestmark = pytest.mark.timeout(900)

IMPORT = "import ganpaint_widget as gp"
SHOW = "paint = gp.GANPaint()\npaint"
# Prints, so that one sees that it runs; goes on until a file is there.
BUSY = "import pathlib, time\nprint('running')\nwhile not pathlib.Path('enough').exists(): time.sleep(0.05)"

LINE = [(0.2, 0.5), (0.3, 0.6), (0.4, 0.55)]
OTHER = [(0.6, 0.5), (0.7, 0.6), (0.6, 0.7)]


def strokes(notebook: Notebook) -> int:
    """How many strokes Python has: steps that can be undone."""
    notebook.ask("open('steps.txt', 'w').write(str(len(paint.session._state.history._undo)))")
    return int((notebook.lab.folder / "steps.txt").read_text())


def end(cell: int, notebook: Notebook) -> None:
    (notebook.lab.folder / "enough").touch()
    notebook.wait_for_cell(cell)
    (notebook.lab.folder / "enough").unlink()


# --- Notebook 7 ---


@pytest.mark.heavy
def test_notebook_7(tmp_path: Path, browser: Browser) -> None:
    with running_lab(tmp_path, "notebook") as server:
        notebook = opened(server, browser, "paint.ipynb", IMPORT, SHOW, BUSY)
        notebook.run(0)
        notebook.run(1)
        notebook.wait_for_editor()
        notebook.choose("tree")
        notebook.stroke(LINE)
        notebook.wait_for_picture()
        # While a cell runs, too.
        notebook.start(2)
        notebook.stroke(OTHER)
        notebook.wait_for_picture()
        assert notebook.is_running(2)
        end(2, notebook)
        assert strokes(notebook) == 2
        assert notebook.errors() == []
        notebook.shot("notebook-7")
        notebook.close()


# --- JupyterLab with other settings ---


@pytest.fixture(scope="module")
def other_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Comms share the kernel's one thread with the cells, and notebooks are saved with their widgets."""
    chosen: dict[str, dict[str, object]] = {
        "@jupyterlab/apputils-extension/kernels-settings": {"commsOverSubshells": "disabled"},
        "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    }
    with running_lab(tmp_path_factory.mktemp("other"), chosen=chosen) as lab:
        yield lab


def test_without_subshells_what_is_painted_waits_for_the_cell(other_lab: Lab, browser: Browser) -> None:
    notebook = opened(other_lab, browser, "waiting.ipynb", IMPORT, SHOW, BUSY)
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_editor()
    notebook.choose("tree")
    notebook.stroke(LINE)
    accepted = notebook.number("accepted")
    notebook.start(2)

    notebook.canvas.scroll_into_view_if_needed()
    box = notebook.canvas.bounding_box()
    assert box is not None
    # Elsewhere: a stroke over what is painted already changes nothing, and is not sent.
    for places in (OTHER, [(x, y - 0.2) for x, y in LINE]):
        notebook.page.mouse.move(
            box["x"] + places[0][0] * box["width"], box["y"] + places[0][1] * box["height"]
        )
        notebook.page.mouse.down()
        for x, y in places[1:]:
            notebook.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        notebook.page.mouse.up()
    # The page says that nobody answers, and keeps what was painted.
    notebook.page.locator('[data-ganpaint-root][data-kernel="busy"]').wait_for()
    assert notebook.number("accepted") == accepted

    end(2, notebook)
    notebook.wait_for_accepted(accepted)
    notebook.wait_for_picture()
    notebook.page.locator('[data-ganpaint-root][data-kernel="answers"]').wait_for()
    assert strokes(notebook) == 3
    notebook.close()


@pytest.fixture(scope="module")
def saved(other_lab: Lab, browser: Browser) -> tuple[int, nbformat.NotebookNode]:
    """By how many bytes a notebook grows that is saved with its widget, strokes and a blend in it; and it."""
    notebook = opened(other_lab, browser, "saved.ipynb", IMPORT, SHOW)
    file = other_lab.folder / notebook.name
    before = file.stat().st_size
    notebook.run_all()
    notebook.wait_for_editor()
    notebook.choose("tree")
    for points in (LINE, OTHER):
        notebook.stroke(points)
    notebook.wait_for_picture()
    notebook.press('[data-action="blend"]')
    notebook.root.locator('[data-picture="result"]:enabled').wait_for()
    notebook.press('[data-action="cancel"]')
    notebook.page.locator('[data-ganpaint-root][data-job=""]:not([data-ahead])').wait_for()
    notebook.save()
    notebook.close()
    return file.stat().st_size - before, nbformat.read(file, as_version=4)


def saved_pictures(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """The files in the saved state of its one editor."""
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    (paint,) = [widget for widget in widgets if "_esm" in widget["state"]]
    return {buffer["path"][0]: base64.b64decode(buffer["data"]) for buffer in paint["buffers"]}


def test_a_notebook_that_was_saved_with_its_widget_grows_little(
    saved: tuple[int, nbformat.NotebookNode],
) -> None:
    growth, notebook = saved
    assert {"_photo", "_reconstruction", "_preview", "_result", "_masks"} <= saved_pictures(notebook).keys()
    assert growth <= 400_000
    # For places without widgets.
    (output,) = notebook.cells[1].outputs
    assert "image/png" in output.data


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.heavy)])
def test_an_exported_notebook_shows_the_saved_editor(
    saved: tuple[int, nbformat.NotebookNode], other_lab: Lab, browser: Browser, theme: str
) -> None:
    exported = other_lab.folder / f"saved-{theme}.html"
    exported.write_text(HTMLExporter(theme=theme).from_notebook_node(saved[1])[0], encoding="utf-8")
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    page.route(lambda address: address.startswith("https:"), at_hand)
    shown = Notebook(other_lab, page, exported.name)
    page.goto(exported.as_uri())

    shown.root.locator("[data-edit]").wait_for()
    shown.root.get_by_text("as it was saved").wait_for()
    # It has color where the mask is.
    thumbnail = shown.pixels(shown.root.locator("[data-edit]"))
    assert thumbnail.reshape(-1, 3).std(axis=0).max() > 5

    # In each place its own picture, not another's.
    names = "photo", "reconstruction", "preview", "result"
    files = saved_pictures(saved[1])
    shown.root.locator('[data-picture="result"]:enabled').wait_for()
    for name in names:
        canvas = shown.picture(name)
        distances = {}
        for other in names:
            with Image.open(io.BytesIO(files[f"_{other}"])) as kept:
                expected = np.asarray(kept.convert("RGB").resize(canvas.shape[1::-1])).astype(np.int16)
            distances[other] = np.abs(canvas - expected).mean()
        assert min(distances, key=distances.__getitem__) == name, distances

    # What would need a kernel is not offered, and painting does nothing; looking goes on.
    for action in ("undo", "open", "blend", "toggle", "delete"):
        expect(shown.root.locator(f'[data-action="{action}"]')).to_be_hidden()
    shown.canvas.click(position={"x": 9, "y": 9})
    shown.root.locator('[data-picture="result"]').click()
    expect(shown.canvas).to_have_attribute("data-shown", "result")
    assert shown.number("sent") == 0
    shown.shot(f"exported-{theme}")
    # RequireJS looks beside the page first for what it then takes from the network, and Chromium notes that.
    assert [words for words in shown.complaints if "Failed to load resource" not in words] == []
    page.context.close()


def at_hand(route: Route) -> None:
    """Answers for the network: what an exported page fetches from there to show widgets."""
    prefix = Path(sys.prefix)
    files = {
        "require.min.js": prefix / "embedding" / "require.js",
        "embed-amd.js": prefix / "embedding" / "dist" / "embed-amd.js",
        "index.js": prefix / "share" / "jupyter" / "nbextensions" / "anywidget" / "index.js",
    }
    file = files.get(route.request.url.rpartition("/")[2])
    if file is None:
        route.abort()  # MathJax
    else:
        assert file.is_file(), f"{file} is missing: `make test` fetches it"
        route.fulfill(path=file, content_type="text/javascript")


# --- marimo ---

MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    import ganpaint_widget as gp

    return gp, mo


@app.cell
def _(gp, mo):
    paint = gp.GANPaint()
    mo.ui.anywidget(paint)
    return (paint,)
"""


@pytest.fixture
def marimo(tmp_path: Path) -> Iterator[str]:
    """The address of a marimo server that runs the app above."""
    (tmp_path / "app.py").write_text(MARIMO)
    port = free_port()
    command = [sys.executable, "-m", "marimo", "--quiet", "run", "app.py", "--headless", "--no-token"]
    environment = os.environ | {"GANPAINT_JOURNAL": str(tmp_path / "journal"), "HOME": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, f"--port={port}"],
            cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            with suppress(OSError):
                urllib.request.urlopen(address, timeout=10).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # its own process group, kernels and all
        server.wait()


@pytest.mark.heavy
def test_marimo(marimo: str, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(marimo)
    root = page.locator("[data-ganpaint-root]").first
    root.and_(page.locator("[data-ready]")).wait_for()
    canvas = root.locator("[data-ganpaint-canvas]")
    root.locator('[data-concept="tree"]').click()
    box = canvas.bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(LINE):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if index == 0:
            page.mouse.down()
    page.mouse.up()
    expect(root).not_to_have_attribute("data-accepted", "0", timeout=PATIENCE)
    sent = root.get_attribute("data-sent")
    assert sent
    expect(canvas).to_have_attribute("data-sequence", sent, timeout=PATIENCE)
    root.locator('[data-action="undo"]').click()
    expect(root.locator("[data-edit]")).to_have_count(0, timeout=PATIENCE)
    assert list((tmp_path / "journal").glob("*/ops.jsonl"))
    assert not errors
    context.close()
