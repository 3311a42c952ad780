"""What is installed: the wheel and not the checkout, light to import."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.resources
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ganpaint_widget

PACKAGE = Path(ganpaint_widget.__file__).parent


def run(code: str) -> str:
    """The output of a fresh interpreter, as a user's would be: in another folder, nothing imported yet."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=sys.prefix).stdout.strip()


def test_the_installed_wheel_is_tested_and_not_the_checkout() -> None:
    site = Path(sysconfig.get_path("purelib")).resolve()
    assert site in PACKAGE.resolve().parents, f"{PACKAGE} is not the installed package: run `make test`"
    assert (
        Path(run("import ganpaint_widget; print(ganpaint_widget.__file__)")).resolve().parent
        == PACKAGE.resolve()
    )


def test_the_front_end_is_light() -> None:
    files = [(PACKAGE / "static" / name).read_bytes() for name in ("widget.js", "widget.css")]
    assert sum(map(len, files)) <= 200_000
    assert sum(len(gzip.compress(file, mtime=0)) for file in files) <= 60_000


def test_nothing_was_left_out_of_the_wheel() -> None:
    files = {str(file) for file in importlib.metadata.files("ganpaint_widget") or []}
    for name in ["static/widget.js", "static/widget.css", "py.typed"]:
        assert f"ganpaint_widget/{name}" in files
    weights = [name for name in files if name.startswith("ganpaint_widget/demo/weights/")]
    assert [name for name in weights if name.endswith(".safetensors")]
    assert any(name.endswith("licenses/LICENSE") for name in files)
    strays = [name for name in files if name.startswith(("tests/", "js/", "notebooks/"))]
    assert not strays


def test_the_version_is_the_wheels() -> None:
    assert ganpaint_widget.__version__ == importlib.metadata.version("ganpaint_widget")


def test_there_is_a_command() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="ganpaint")
    assert callable(command.load())


@pytest.mark.parametrize("module", ["torch", "ipywidgets", "anywidget", "numpy", "PIL"])
def test_importing_is_light(module: str) -> None:
    assert run(f"import sys, ganpaint_widget; print({module!r} in sys.modules)") == "False"


def test_the_session_needs_no_jupyter() -> None:
    assert (
        run("import sys; from ganpaint_widget import EditingSession; print('ipywidgets' in sys.modules)")
        == "False"
    )


def test_public_names() -> None:
    for name in ["GANPaint", "EditingSession", "load_generator", "GANPaintError"]:
        assert name in ganpaint_widget.__all__
    for name in ganpaint_widget.__all__:
        assert getattr(ganpaint_widget, name) is not None
    assert set(ganpaint_widget.__all__) <= set(dir(ganpaint_widget))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ganpaint_widget.no_such_name


def test_the_bundle_is_small() -> None:
    """It is stored once per widget in every notebook that shows one.

    110,000 bytes, and 2,000 since masks of the photo's own size are framed in the page. "Find concepts",
    with its progress and Cancel, took the last raise.
    """
    static = importlib.resources.files("ganpaint_widget") / "static"
    sizes = {file.name: len(file.read_bytes()) for file in static.iterdir()}
    assert sum(sizes.values()) <= 114_000, sizes
