"""The button "Find concepts" in JupyterLab: a generator without concepts becomes one to paint with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(600)
PATIENCE = 300_000
expect.set_options(timeout=PATIENCE)

# The demo as if a user had brought it: no dissection, no segmenter, no encoder. Little is looked at.
CELLS = """
import ganpaint_widget as gp
from ganpaint_widget.dissection import discover
from ganpaint_widget.models.model import Model
discover.__kwdefaults__.update(samples=24, steps=30, batch=8)
generator = gp.load_generator("demo")
paint = gp.GANPaint(generator=Model("mine", generator))
paint
"""


def test_concepts_are_found_cancelled_and_painted_with(open_notebook: Any) -> None:
    notebook = open_notebook(CELLS)
    notebook.run_all()
    notebook.wait_for_editor()
    find = notebook.root.locator('[data-action="discover"]')
    stop = notebook.root.locator('[data-action="stop-discovery"]')
    expect(find).to_be_visible()
    expect(stop).to_be_hidden()

    find.click()
    expect(notebook.root.get_by_role("progressbar", name="Finding concepts")).to_be_visible()
    stop.click()
    expect(notebook.root.locator(".gp-alert")).to_contain_text("Finding concepts was canceled")
    expect(find).to_be_visible()
    assert notebook.root.locator("[data-concept]").count() == 0

    find.click()
    expect(notebook.root.locator('[data-concept="part 1"]')).to_be_visible()
    expect(find).to_be_hidden()
    before = notebook.picture("preview")
    notebook.choose("part 2")
    notebook.stroke([(0.3, 0.3), (0.6, 0.4), (0.5, 0.7)])
    notebook.wait_for_picture()
    assert np.abs(notebook.pixels(notebook.canvas).astype(int)).max() > 0
    assert notebook.picture("preview").shape == before.shape

    # A click on a segment takes all of it.
    segment = notebook.root.locator('[data-tool="segment"]')
    expect(segment).to_be_enabled()
    segment.click()
    row = notebook.root.locator("[data-segment]").first
    expect(row).to_have_attribute("data-segment", re.compile("^part "))
    edits = notebook.root.locator(".gp-edits > li")
    row.click()
    expect(edits.first).to_be_visible()
    assert notebook.errors() == []
