"""Every notebook runs from top to bottom, in a fresh kernel, on the installed package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

Execute = Callable[[Path], tuple[Any, Path]]
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS][:1] == ["01_paint.ipynb"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Execute:
    """Runs a notebook once, in a folder of its own since it may save files, and keeps both."""
    done: dict[Path, tuple[Any, Path]] = {}

    def execute(path: Path) -> tuple[Any, Path]:
        if path not in done:
            folder = tmp_path_factory.mktemp(path.stem)
            notebook = nbformat.read(path, as_version=4)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GANPAINT_JOURNAL", str(folder / "journal"))
                patch.setenv("IPYTHONDIR", str(folder / "ipython"))  # nobody's start-up files
                resources = {"metadata": {"path": str(folder)}}
                NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources).execute()
            done[path] = notebook, folder
        return done[path]

    return execute


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path: Path, executed: Execute) -> None:
    notebook, _ = executed(path)  # raises CellExecutionError with the cell's traceback
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    warnings = [output.text for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert not [text for text in warnings if "Warning" in text]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
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
