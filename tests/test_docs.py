"""What docs/ shows works as it stands there, and a link to nowhere is an error.

The pages themselves are built by `make docs`, which `make test` runs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / "bring_a_gan.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def shown(blocks: list[str]) -> dict[str, Any]:
    """The names that bring_a_gan.md defines for a reader who has a DCGAN and a segmenter."""
    theirs, wrapped, painted, segmenter = blocks[:4]
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "bring_a_gan"}
    before = "dcgan = DCGAN()\nsegmenter = Brightness()"
    for block in (theirs, segmenter, before, wrapped, painted):
        exec(compile(block, "docs/bring_a_gan.md", "exec"), names)
    return names


def test_a_gan_is_brought_in_at_most_fifteen_lines(blocks: list[str]) -> None:
    written = blocks[1] + blocks[2]
    assert "GANPaint(" in written
    assert len([line for line in written.splitlines() if line.strip()]) <= 15


def test_the_stages_draw_what_the_network_draws(shown: dict[str, Any]) -> None:
    generator, dcgan = shown["generator"], shown["dcgan"]
    z = generator.sample_z(2, seed=3)
    with torch.no_grad():
        assert torch.equal(generator(z), dcgan(z))
        for stage in generator.stages:
            part = generator.run(generator.start(z), until=stage)
            assert torch.equal(generator.picture(generator.run(part)), dcgan(z))


def test_the_dcgan_is_painted_with_in_the_widget(shown: dict[str, Any], real_methods: None) -> None:
    paint = shown["paint"]
    session = paint.session
    assert session.size == 64 and "bright" in session.concepts
    before = np.asarray(session.preview).astype(int)
    stroke = {
        "type": "stroke", "page": "page-docs", "sequence": 1, "stroke": 1, "last": True, "edit": "e1",
        "verb": "add", "concept": "bright", "strength": 4, "rect": [16, 16, 32, 32],
    }  # fmt: skip
    data = {"method": "custom", "content": stroke}
    paint._handle_msg({"content": {"data": data}, "buffers": [memoryview(bytes([255]) * 32 * 32)]})
    assert [edit.concept for edit in session.edits] == ["bright"]
    assert np.abs(np.asarray(session.preview) - before)[20:44, 20:44].max() > 0
    assert session.adapt() is not None
    paint.close()


def test_the_dcgan_is_painted_with_what_was_found(
    blocks: list[str], shown: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own lines; fewer pictures are looked at, since weights at random show nothing."""
    from ganpaint_widget.dissection import discover

    few = {"samples": 20, "steps": 60, "batch": 10}
    monkeypatch.setattr(discover, "__kwdefaults__", {**discover.__kwdefaults__, **few})
    names = dict(shown)
    for block in blocks[4:]:
        exec(compile(block, "docs/bring_a_gan.md", "exec"), names)
    assert {"sky", "wall"} <= {*names["parts"].concepts}
    assert "part 4" not in names["parts"].offered
    session = names["paint"].session
    before = np.asarray(session.preview).astype(int)
    session.add("part 2", np.full((64, 64), 255, np.uint8), 4)
    assert np.abs(np.asarray(session.preview) - before).max() > 0
    names["paint"].close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Sphinx's output for two pages, as strict as in `make docs`, and the folder with the result."""
    pytest.importorskip("sphinx", reason="the documentation's packages are not installed")
    folder = tmp_path_factory.mktemp("docs")
    (folder / "index.md").write_text("# A page\n\nHere $G(z_e)$ and\n\n$$\\sum_i |x_i|$$\n")
    (folder / "lost.md").write_text("---\norphan: true\n---\n\n# Another\n\n[lost](nowhere.md)\n")
    settings = (DOCS / "conf.py").read_text()
    shown_by = "html_static_path = []\nnb_execution_mode = 'off'\nHERE = Path('nowhere')\n"
    (folder / "conf.py").write_text(f"{settings}\n{shown_by}def copy_notebooks(app): pass\n")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", ".", "built"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True), folder / "built"


def test_a_link_to_nowhere_is_an_error(built: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    told, _ = built
    assert told.returncode != 0
    (complaint,) = [line for line in told.stderr.splitlines() if "WARNING" in line]
    assert "lost.md" in complaint and "nowhere.md" in complaint


def test_formulas_need_no_script(built: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    page = (built[1] / "index.html").read_text()
    assert page.count("<math") == 2 and "<msub>" in page
    assert not re.findall(r"""(?:src|href)=["']https?://[^"']*\.(?:js|css|woff2?)""", page)
