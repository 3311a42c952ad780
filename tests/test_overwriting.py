"""The command line never writes over what it reads, and says what a picture file is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganpaint_widget.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    photo = Image.fromarray(np.full((40, 40, 3), 90, np.uint8))
    for name in ("in/a.png", "in/b.png", "reference.png"):
        photo.save(tmp_path / name)
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("photos", "edit", "output"),
    [
        ("in/a.png", ["--add", "tree", "--mask", "mask.png"], "in/a.png"),
        ("in/a.png", ["--add", "tree", "--mask", "mask.png"], "in/../mask.png"),
        ("in", ["--add", "tree", "--mask", "mask.png"], "in"),
        (
            "in/a.png",
            ["--restyle", "tree", "--mask", "mask.png", "--reference", "reference.png"],
            "reference.png",
        ),
    ],
)
def test_what_a_command_reads_is_not_overwritten(
    folder: Path, photos: str, edit: list[str], output: str
) -> None:
    def files() -> dict[str, bytes]:
        return {str(one): one.read_bytes() for one in folder.rglob("*.png")}

    before = files()
    found = CliRunner().invoke(app, ["edit", photos, *edit, "-o", output, "--no-adapt"])
    assert found.exit_code == 1 and "would be overwritten" in found.output
    assert files() == before


@pytest.mark.parametrize("name", ["out.jpg", "out", "out.ganpaint"])
def test_a_picture_is_a_png(folder: Path, name: str) -> None:
    arguments = ["in/a.png", "--add", "tree", "--mask", "mask.png", "-o", name]
    found = CliRunner().invoke(app, ["edit", *arguments, "--no-adapt"])
    assert found.exit_code == 1 and "does not end in .png" in found.output
    assert not (folder / name).exists()
