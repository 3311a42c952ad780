"""What is released: the sdist builds without a network or Node, its metadata is valid, its types are seen."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

import ganpaint_widget

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parent.parent

CONSUMER = """
from pathlib import Path

import numpy as np
from typing_extensions import assert_type

import ganpaint_widget as gp
from PIL import Image


def tree(photo: Path) -> Image.Image:
    session = gp.EditingSession(photo, generator="demo")
    session.add("tree", np.zeros((session.size, session.size), np.uint8), strength=1.5)
    assert_type(session.size, int)
    assert_type(session.preview, Image.Image)
    assert_type(session.result, Image.Image | None)
    session.adapt()
    return session.result or session.preview
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that pip builds from it with nothing to download and no Node."""
    folder = tmp_path_factory.mktemp("built")
    tool = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    offline = os.environ | {"HATCH_JUPYTER_BUILDER_SKIP_NPM": "1"}
    subprocess.run(tool, cwd=ROOT, env=offline, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))}
    bare["PATH"] = str(Path(sys.executable).parent)  # no npm, no node
    pip = [sys.executable, "-m", "pip", "--isolated", "wheel", "--quiet", "--no-index", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--wheel-dir", str(folder), str(sdist)]
    subprocess.run(command, cwd=folder, env=bare, check=True, capture_output=True)
    return folder


def test_the_sdist_makes_the_same_wheel_without_a_network_or_node(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    styles = ("static/widget.css", "widget/colors.css", "widget/explorer/explorer.css")
    for name in ("static/widget.js", *styles, "py.typed"):
        assert f"ganpaint_widget/{name}" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for name in ("LICENSE", "CHANGELOG.md", "CITATION.cff", "README.md", "Makefile", "tools/oldest.py"):
        assert name in inside
    assert not [name for name in inside if name.startswith(("node_modules/", ".venv/"))]


def test_the_metadata_is_valid(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    assert str(metadata.version) == ganpaint_widget.__version__
    assert metadata.license_expression == "BSD-3-Clause" and metadata.license_files == ["LICENSE"]
    assert metadata.description_content_type == "text/markdown" and metadata.description
    assert str(metadata.requires_python) == ">=3.10"


def test_a_consumer_sees_the_types(tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "consumer.py"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    (tmp_path / "consumer.py").write_text(CONSUMER.replace("strength=1.5", "strength='much'"))
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "strength" in found.stdout and found.returncode == 1


def test_the_command_says_its_version() -> None:
    command = [str(Path(sys.executable).parent / "ganpaint"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ganpaint_widget.__version__ in said
