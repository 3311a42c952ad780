"""Every notebook runs from top to bottom, in a fresh kernel, on the installed package, with no network.

The lessons' pictures are committed (``tools/run_notebooks.py`` makes them); answers are tested in
test_course.py, which runs the cells of the solutions. The lessons themselves are heavy.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from PIL import Image

Execute = Callable[[Path], tuple[Any, Path]]
FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LESSONS = sorted(FOLDER.glob("lesson*.ipynb"))
COMMITTED = [*NOTEBOOKS, *sorted(FOLDER.glob("solutions/*.ipynb"))]

OFFLINE = """
import sys

def unreachable(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        open("asked-for-the-network", "a").write(f"{host}\\n")
        raise OSError(f"The network is unreachable: {host}")

sys.addaudithook(unreachable)
"""
"""A kernel runs this first: code that asks for another machine is refused, and written down."""


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS][:1] == ["01_paint.ipynb"]
    assert [path.name[:7] for path in LESSONS] == [f"lesson{number}" for number in range(1, 8)]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Execute:
    """Runs a notebook once, in a folder of its own since it may save files, and keeps both."""
    done: dict[Path, tuple[Any, Path]] = {}

    def execute(path: Path) -> tuple[Any, Path]:
        if path not in done:
            folder = tmp_path_factory.mktemp(path.stem)
            done[path] = run(nbformat.read(path, as_version=4), folder), folder
        return done[path]

    return execute


def run(notebook: Any, folder: Path) -> Any:
    """A notebook, executed in a folder by a kernel of its own that has no network."""
    startup = folder / "ipython" / "profile_default" / "startup"  # and nobody else's start-up files
    startup.mkdir(parents=True)
    (startup / "00-offline.py").write_text(OFFLINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANPAINT_JOURNAL", str(folder / "journal"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.heavy] if path in LESSONS else []) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_runs_from_top_to_bottom(path: Path, executed: Execute) -> None:
    notebook, folder = executed(path)  # raises CellExecutionError with the cell's traceback
    assert not (folder / "asked-for-the-network").exists()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    warnings = [output.text for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert not [text for text in warnings if "Warning" in text]


@pytest.mark.slow
def test_a_kernel_of_these_tests_has_no_network(tmp_path: Path) -> None:
    source = "import urllib.request; urllib.request.urlopen('http://example.com', timeout=5)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with pytest.raises(CellExecutionError, match="network is unreachable"):
        run(notebook, tmp_path)
    assert (tmp_path / "asked-for-the-network").read_text() == "example.com\n"


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_and_can_be_handed_in(path: Path, executed: Execute) -> None:
    """With the exercises as they are: every check says that it has no answer yet, and none fails."""
    notebook, folder = executed(path)
    checks = [cell for cell in notebook.cells if cell.id.endswith("-check")]
    assert 2 <= len(checks) <= 3
    for cell in checks:
        assert "No answer yet" in "".join(output["data"]["text/plain"] for output in cell.outputs)
    assert len(list(folder.glob("lesson*.json"))) == 1


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_its_parts(path: Path) -> None:
    """A picture first, what will be learned, exercises whose solutions have the same names, a summary."""
    cells = nbformat.read(path, as_version=4).cells
    names = [cell.id for cell in cells]
    assert names[:3] == ["title", "picture", "goals"] and names[-2:] == ["summary", "hand-in"]
    answers = {name for name in names if re.fullmatch(r"ex\d", name)}
    solution = nbformat.read(FOLDER / "solutions" / path.name, as_version=4)
    assert answers == {cell.id for cell in solution.cells if re.fullmatch(r"ex\d", cell.id)}
    assert all("= None" in cell.source for cell in cells if cell.id in answers)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_committed_with_its_pictures(path: Path) -> None:
    """GitHub runs no kernel; nbconvert puts every one of them into the page."""
    assert path.stat().st_size <= 500_000
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = [output.data for output in outputs if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
    (first,) = [cell for cell in notebook.cells if cell.id == "picture"]
    assert shown and any(output.get("data") == shown[0] for output in first.outputs)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=\s]+)"', page)
    assert len(found) == len(shown)
    assert all(len(base64.b64decode(one)) > 1000 for one in found)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_is_committed_without_execution_counts(path: Path) -> None:
    """Otherwise every run of a notebook would be a change of the file."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not [cell.id for cell in notebook.cells if cell.get("execution_count")]


def test_the_first_one_shows_the_editor_and_saves_a_picture(executed: Execute) -> None:
    """Its story: an editor on the page, four pictures in a row, and a PNG that says it was edited."""
    notebook, folder = executed(NOTEBOOKS[0])

    def shown(cell_id: str) -> set[str]:
        (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
        return {kind for output in cell.outputs for kind in output.get("data", {})}

    assert "application/vnd.jupyter.widget-view+json" in shown("paint-editor")
    assert "image/png" in shown("python-row")
    with Image.open(folder / "edited.png") as picture:
        assert picture.width == picture.height
        assert any("edit" in f"{key}={value}".lower() for key, value in picture.info.items()), picture.info
