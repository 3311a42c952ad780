"""The dissection explorer in JupyterLab: from a unit to a brush to an edit, by mouse and keyboard."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from ganpaint_widget.explorer.exploration import Exploration
from ganpaint_widget.models.registry import load

pytestmark = pytest.mark.timeout(600)
PATIENCE = 300_000
expect.set_options(timeout=PATIENCE)  # as long as everything else on the page may take

CELLS = """
import ganpaint_widget as gp
explorer = gp.DissectionExplorer("demo")
explorer
"""

# These scenes have domes.
BESIDE = """
import ganpaint_widget as gp
import ipywidgets
explorer = gp.DissectionExplorer("demo", paint=gp.GANPaint(session=gp.EditingSession(scene=2)))
paint = gp.GANPaint(session=gp.EditingSession(scene=4))
ipywidgets.VBox([explorer, paint])
"""

HEAT = 3
"""The heatmap's canvas: those of the atlas's columns come first."""

DRAWN = """() => {
    const canvas = document.querySelector(".gpx-canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some(value => value > 0);
}"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a small atlas of the demo's edit layer, which the explorer would offer to measure."""
    cache = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANPAINT_CACHE", str(cache))
        Exploration("demo").measure("atlas", samples=40)
    return cache


def canvas_of(notebook, index: int):
    return notebook.page.locator("canvas.gpx-canvas").nth(index)


def pixels(notebook, index: int):
    return notebook.pixels(canvas_of(notebook, index))


def wait_for_other(notebook, index: int, before: str) -> None:
    """Until a canvas shows something else."""
    notebook.wait(
        "([index, before]) => document.querySelectorAll('canvas.gpx-canvas')[index].toDataURL() !== before",
        [index, before],
    )


def data_of(notebook, index: int) -> str:
    return canvas_of(notebook, index).evaluate("canvas => canvas.toDataURL()")


def preview(notebook, editor: int):
    """What an editor of the page shows as G(z_e), when that covers all that the page has sent."""
    notebook.wait(
        """editor => {
            const root = document.querySelectorAll("[data-ganpaint-root]")[editor];
            const canvas = root?.querySelector("[data-ganpaint-canvas]");
            return "ready" in (root?.dataset ?? {})
                && Number(canvas.dataset.sequence ?? 0) >= Number(root.dataset.sent ?? 0);
        }""",
        editor,
    )
    root = notebook.page.locator("[data-ganpaint-root]").nth(editor)
    return notebook.pixels(root.locator('[data-picture="preview"]').first)


def wait_for_change(notebook, editor: int, before, inside: np.ndarray, least: float = 2, most: float = 255):
    """Wait until an editor's preview has changed inside by so many levels in the mean; return how many.

    Inside, the change must be larger than elsewhere.
    """
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        change = np.abs(preview(notebook, editor) - before).mean(axis=2)
        mean = float(change[inside].mean())
        if least <= mean <= most:
            break
        assert time.monotonic() < deadline, f"It changes by {mean:.1f}, not by {least:.1f} to {most:.1f}."
        notebook.page.wait_for_timeout(100)
    assert most < 255 or mean > 1.5 * change[~inside].mean()
    return mean


def where_are_domes(pixels: np.ndarray) -> np.ndarray:
    """By the demo's segmenter, in what the page shows."""
    model = load("demo")
    x = torch.tensor(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    found = model.segmenter.segment(x)[0] == model.segmenter.classes.index("dome")
    assert found.any()
    return found.numpy()


def paint_over(page, editor, where: np.ndarray) -> None:
    """A stroke through the middle of a region."""
    rows, columns = (side[where].mean() / len(where) for side in np.indices(where.shape))
    canvas = editor.locator("[data-ganpaint-canvas]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [
        (box["x"] + x * box["width"], box["y"] + rows * box["height"]) for x in (columns - 0.1, columns + 0.1)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=8)
    page.mouse.up()


def test_from_a_unit_to_a_brush_to_an_edit(open_notebook, lab, measured: Path) -> None:
    shutil.copytree(measured, lab.folder.parent / "cache", dirs_exist_ok=True)
    notebook = open_notebook(BESIDE, scale=2)
    page = notebook.page
    notebook.run(0)
    cells = page.locator(".gpx-cells > button")
    assert notebook.errors() == []
    cells.first.wait_for()

    # sorted by dome; the kernel agrees on the order
    page.get_by_label("for", exact=True).select_option("dome")
    notebook.ask("first = explorer.exploration.order('iou', 'dome')[:3]")
    notebook.ask(f"assert {cells.first.inner_text()!r}.startswith(f'{{first[0]}} · dome')")
    notebook.wait(DRAWN)
    atlas = pixels(notebook, 0)
    assert atlas.std() > 20 and atlas.shape[1] > 1.9 * canvas_of(notebook, 0).bounding_box()["width"]  # sharp

    # the next page, and back: other units, other pictures
    before = data_of(notebook, 0)
    page.get_by_title("Next page").click()
    wait_for_other(notebook, 0, before)
    page.get_by_title("Previous page").click()
    notebook.wait("before => document.querySelector('.gpx-canvas').toDataURL() === before", before)

    # a bar filters, and clicked again it does not
    page.locator(".gpx-bars button", has_text="tree").click()
    expect(cells.first).to_contain_text("· tree ·")
    page.locator(".gpx-bars button", has_text="tree").click()
    expect(cells.first).to_contain_text("· dome ·")

    # the first unit: its heatmap over the picture, warm where it is active
    heat = data_of(notebook, HEAT)
    cells.nth(1).click()
    wait_for_other(notebook, HEAT, heat)
    heat = data_of(notebook, HEAT)
    cells.first.focus()
    page.keyboard.press("Enter")  # by keyboard as well
    wait_for_other(notebook, HEAT, heat)
    notebook.ask("assert explorer.unit == first[0]")
    shown = pixels(notebook, HEAT)
    warm = shown[..., 0] - shown[..., 2] > 60
    assert 0 < warm.mean() < 0.5

    # it is switched off: the domes change, more than all else
    reconstruction = preview(notebook, 0)
    domes = where_are_domes(reconstruction)
    page.get_by_role("button", name="off", exact=True).click()
    one = wait_for_change(notebook, 0, reconstruction, domes)
    notebook.shot("explorer-off")
    # two more with it: they change more
    numbers = [cells.nth(place).inner_text().split()[0] for place in range(3)]
    for place, number in enumerate(numbers):
        cells.nth(place).click()
        page.get_by_role("button", name=re.compile(rf"Add unit {number}$")).click()
    expect(page.get_by_label("Units", exact=True)).to_have_value(", ".join(numbers))
    notebook.ask("assert list(explorer.selection) == list(first)")
    wait_for_change(notebook, 0, reconstruction, domes, least=1.05 * one)
    page.get_by_role("button", name="Reset").click()
    notebook.wait("() => !document.querySelector('[data-ganpaint-root] [data-edit]')")
    wait_for_change(notebook, 0, reconstruction, domes, least=0, most=one / 2)

    # in a region, painted in the editor's own canvas
    page.get_by_role("button", name="painted region").click()
    page.get_by_role("button", name="off", exact=True).click()
    explorer = page.locator("[data-ganpaint-root]").first
    explorer.locator('[data-verb="remove"]').click()
    explorer.locator('[data-concept="selected units"]').click()
    paint_over(page, explorer, domes)
    wait_for_change(notebook, 0, reconstruction, domes)
    notebook.shot("explorer-region")
    page.get_by_role("button", name="Reset").click()

    # a brush of them, in a paint widget of its own
    page.get_by_role("textbox", name="Brush").fill("three of dome")
    page.get_by_role("button", name="Make brush").click()
    chips = page.locator('[data-concept="three of dome"]')
    expect(chips).to_have_count(2)
    expect(page.locator(".gpx-status")).to_contain_text("It adds dome to")
    painter = page.locator("[data-ganpaint-root]").nth(1)
    painter.scroll_into_view_if_needed()
    reconstruction = preview(notebook, 1)
    domes = where_are_domes(reconstruction)
    painter.locator('[data-verb="remove"]').click()
    painter.locator('[data-concept="three of dome"]').click()
    paint_over(page, painter, domes)
    wait_for_change(notebook, 1, reconstruction, domes)
    notebook.shot("explorer-brush")
    notebook.ask(
        "(edit,) = paint.session.edits\n"
        "assert edit.concept == 'three of dome' and set(edit.units) == set(first) and paint.mask.any()"
    )

    # a drawing that fails leaves all canvases alive
    notebook.ask(
        "failed = False\n"
        "try:\n"
        "    explorer._heat.show(lambda pad: 1 / 0)\n"
        "except ZeroDivisionError:\n"
        "    failed = True\n"
        "assert failed"
    )
    before = data_of(notebook, 0)
    page.get_by_label("for", exact=True).select_option("tree")
    wait_for_other(notebook, 0, before)
    assert notebook.errors() == []


def test_the_first_look_is_an_atlas(new_notebook, lab) -> None:
    """Nothing has been measured: the atlas is there with the first samples, and grows until it is stopped."""
    shutil.rmtree(lab.folder.parent / "cache", ignore_errors=True)
    notebook = new_notebook("first-look", CELLS)
    notebook.run(0)
    page = notebook.page
    page.locator(".gpx-cells > button").first.wait_for()
    notebook.wait(DRAWN)
    expect(page.locator(".gpx-status")).to_contain_text("samples so far")
    expect(page.locator(".gpx table")).to_be_visible()  # what is known of the first unit
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".gpx-status")).to_contain_text("was canceled")
    expect(page.get_by_role("button", name="Measure atlas")).to_be_visible()
    expect(page.locator(".gpx-cells > button").first).to_be_visible()
    notebook.shot("explorer-first-look")

    # In 320 pixels nothing is cut off: the columns stand below each other.
    narrow = ".jp-OutputArea-output { flex: none !important; width: 320px !important; }"
    page.add_style_tag(content=narrow)
    cut = """() => {
        const right = document.querySelector(".gpx").getBoundingClientRect().right;
        return [...document.querySelectorAll(".gpx :is(button, canvas, select, input, table, svg)")]
            .filter(one => one.getBoundingClientRect().right > right)
            .map(one => one.outerHTML.slice(0, 80));
    }"""
    notebook.wait("() => document.querySelector('.gpx').offsetWidth <= 320")
    assert page.evaluate(cut) == []
    notebook.shot("explorer-narrow")
    assert notebook.errors() == []
    notebook.close()


def test_where_nothing_is_measured_it_offers_to(open_notebook) -> None:
    """A layer without a dissection: progress, Cancel, and then the atlas."""
    code = 'import ganpaint_widget as gp\nexplorer = gp.DissectionExplorer("demo", "layer4")\nexplorer'
    notebook = open_notebook(code)
    notebook.run(0)
    page = notebook.page
    expect(page.locator(".gpx-status")).to_contain_text("has not been dissected yet")
    offer = page.get_by_role("button", name="Measure dissection and atlas")
    offer.click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".gpx-status")).to_contain_text("was canceled")
    expect(offer).to_be_visible()
    assert notebook.errors() == []


def test_looks(open_notebook, lab, measured: Path) -> None:
    """Pictures to look at, and the explorer follows the theme."""
    shutil.copytree(measured, lab.folder.parent / "cache", dirs_exist_ok=True)
    notebook = open_notebook(CELLS)
    notebook.run(0)
    cell = notebook.page.locator(".gpx-cells > button").first
    cell.wait_for()
    notebook.wait(DRAWN)
    for theme in ("Dark", "Light"):
        notebook.theme(f"JupyterLab {theme}")
        notebook.shot(f"explorer-{theme.lower()}")
        color = cell.evaluate("cell => getComputedStyle(cell).color")
        bright = sum(float(part) for part in color.split("(")[1].rstrip(")").split(",")[:3]) > 380
        assert bright == (theme == "Dark"), color
