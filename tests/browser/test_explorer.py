"""The dissection explorer in JupyterLab: from a unit to a brush to an edit, by mouse and keyboard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from ganpaint_widget.exploration import Exploration

pytestmark = pytest.mark.timeout(600)
expect.set_options(timeout=300_000)  # as long as everything else on the page may take

CELLS = """
import ganpaint_widget as gp
explorer = gp.DissectionExplorer("demo")
explorer
"""

BESIDE = """
import ipywidgets
paint = gp.GANPaint()
ipywidgets.VBox([explorer, paint])
"""

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


def test_from_a_unit_to_a_brush_to_an_edit(open_notebook, lab, measured: Path) -> None:
    shutil.copytree(measured, lab.folder.parent / "cache", dirs_exist_ok=True)
    notebook = open_notebook(CELLS.replace("\nexplorer\n", BESIDE), scale=2)
    page = notebook.page
    notebook.run(0)
    cells = page.locator(".gpx-cells > button")
    cells.first.wait_for()
    assert notebook.errors() == []

    # sorted by dome; the kernel agrees on the order
    page.get_by_label("for", exact=True).select_option("dome")
    notebook.ask("first = explorer.exploration.order('iou', 'dome')[:3]")
    notebook.ask(f"assert {cells.first.inner_text()!r}.startswith(f'{{first[0]}} · ')")
    notebook.wait(DRAWN)
    atlas = pixels(notebook, 0)
    assert atlas.std() > 20 and atlas.shape[1] > 1.9 * canvas_of(notebook, 0).bounding_box()["width"]  # sharp

    # the next page, and back: other units, other pictures
    before = data_of(notebook, 0)
    page.get_by_title("Next page").click()
    wait_for_other(notebook, 0, before)
    page.get_by_title("Previous page").click()
    notebook.wait("before => document.querySelector('.gpx-canvas').toDataURL() === before", before)

    # the first unit: its heatmap over the picture
    heat = data_of(notebook, 1)
    cells.nth(1).click()
    wait_for_other(notebook, 1, heat)
    heat = data_of(notebook, 1)
    cells.first.focus()
    page.keyboard.press("Enter")  # by keyboard as well
    wait_for_other(notebook, 1, heat)
    notebook.ask("assert explorer.unit == first[0]")

    # three units, switched off: domes change
    for place in range(3):
        cells.nth(place).click()
        notebook.ask(f"assert explorer.unit == first[{place}]")
        page.get_by_role("button", name="Add unit").click()
    expect(page.get_by_label("Units", exact=True)).to_have_value(", ".join(chosen(notebook)))
    page.locator(".gpx [data-ganpaint-root][data-ready]").wait_for()
    reconstruction = notebook.picture("preview")
    page.get_by_role("button", name="off", exact=True).click()
    notebook.wait("() => document.querySelectorAll('[data-ganpaint-root] [data-edit]').length === 1")
    notebook.wait_for_picture()
    notebook.ask(
        "import numpy as np\n"
        "(edit,) = explorer.paint.session.edits\n"
        "assert set(edit.units) == set(first) and edit.mask.all()\n"
        "off = np.asarray(explorer.paint.session.preview).astype(int)\n"
        "assert np.abs(off - np.asarray(explorer.paint.session.reconstruction)).max() > 5\n"
        "import torch\n"
        "model, before, after = explorer.exploration.model, 0, 0\n"
        "dome = model.segmenter.classes.index('dome')\n"
        "def domes(picture):\n"
        "    x = torch.tensor(picture).permute(2, 0, 1)[None] / 127.5 - 1\n"
        "    return int((model.segmenter.segment(x) == dome).sum())\n"
        "for seed in range(12):\n"
        "    as_it_is, without = explorer.exploration.intervene(off=first, seed=seed)\n"
        "    before, after = before + domes(as_it_is), after + domes(without)\n"
        "assert after < before, (before, after)\n"
    )
    assert np.abs(notebook.picture("preview") - reconstruction).max() > 2
    page.get_by_role("button", name="Reset").click()
    notebook.wait("() => !document.querySelector('[data-ganpaint-root] [data-edit]')")

    # a brush of them, in a paint widget of its own
    page.locator("[data-ganpaint-root][data-ready]").nth(1).wait_for()
    page.get_by_role("textbox", name="Brush").fill("three of dome")
    page.get_by_role("button", name="Make brush").click()
    chips = page.locator('[data-concept="three of dome"]')
    expect(chips).to_have_count(2)
    expect(page.locator(".gpx-status")).to_contain_text("Scored as")
    painter = page.locator("[data-ganpaint-root]").nth(1)
    painter.scroll_into_view_if_needed()
    painter.locator('[data-verb="remove"]').click()
    painter.locator('[data-concept="three of dome"]').click()
    box = painter.locator("[data-ganpaint-canvas]").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    page.mouse.up()
    painter.locator("[data-edit]").wait_for()
    notebook.ask(
        "(edit,) = paint.session.edits\n"
        "assert edit.concept == 'three of dome' and set(edit.units) == set(first) and paint.mask.any()\n"
        "changed = np.asarray(paint.session.preview).astype(int) - np.asarray(paint.session.reconstruction)\n"
        "assert np.abs(changed).max() > 2"
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


def chosen(notebook) -> list[str]:
    notebook.ask("import json; open('chosen.json', 'w').write(json.dumps(explorer.selection))")
    return [str(unit) for unit in json.loads((notebook.lab.folder / "chosen.json").read_text())]


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
    expect(page.locator(".gpx-status")).to_contain_text("was cancelled")
    expect(offer).to_be_visible()
    assert notebook.errors() == []


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_looks(open_notebook, lab, measured: Path, theme: str) -> None:
    """Pictures to look at, and the explorer follows the theme."""
    shutil.copytree(measured, lab.folder.parent / "cache", dirs_exist_ok=True)
    notebook = open_notebook(CELLS)
    notebook.theme(f"JupyterLab {theme}")
    notebook.run(0)
    notebook.page.locator(".gpx-cells > button").first.wait_for()
    notebook.wait(DRAWN)
    notebook.shot(f"explorer-{theme.lower()}")
    color = notebook.page.locator(".gpx-cells > button").first.evaluate(
        "cell => getComputedStyle(cell).color"
    )
    bright = sum(float(part) for part in color.split("(")[1].rstrip(")").split(",")[:3]) > 380
    assert bright == (theme == "Dark"), color
