"""What is installed: the wheel and not the checkout, light to import, its rooms importing only from below."""

from __future__ import annotations

import ast
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
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)

# The rooms from the top of the house to its foundations (docs/architecture.md). A room imports only from
# floors below its own, and from itself.
FLOORS: list[set[str]] = [
    {"cli"},
    {"course", "widget"},
    {"session", "exploration"},
    {"demo"},
    {"blending"},
    {"history", "opening"},
    {"brushes", "journal", "preview", "project"},
    {"adaptation", "dissection", "inversion"},
    {"editing"},
    {"segmentation", "initialiser", "vgg"},
    {"generators"},
    {"charts", "cpus", "jobs", "pictures", "measures", "events"},
    {"errors"},
]
# generators/zoo.py is the catalogue: it hands out a model whole, so it knows the rooms that make one up.
CATALOGUE = "generators.zoo"


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
    """It is stored once per widget in every notebook that shows one."""
    static = importlib.resources.files("ganpaint_widget") / "static"
    sizes = {file.name: len(file.read_bytes()) for file in static.iterdir()}
    assert sum(sizes.values()) <= 110_000, sizes


# --- the rooms ---


def name_of(path: Path) -> str:
    """ "generators.progan" for .../ganpaint_widget/generators/progan.py, "generators" for its __init__.py."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, by full name, wherever the import stands (types-only ones too)."""
    package = ["ganpaint_widget", *path.relative_to(PACKAGE).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from ganpaint_widget import session` names a module, `from ganpaint_widget.x import Y` does not
            whole = module == "ganpaint_widget"
            found |= {f"{module}.{alias.name}" for alias in node.names} if whole else {module}
    return found


def floor(room: str) -> int:
    """0 is the top. A room without a floor has no place yet: give it one here and in docs/architecture.md."""
    numbers = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert numbers, f"ganpaint_widget.{room} is on no floor of the house"
    return numbers[0]


# Read while the tests are collected: parsing is not safe beside other threads (CPython 3.11 then raises
# "AST constructor recursion depth mismatch"), and tests leave some running.
IMPORTS = {path: imports(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_import_only_from_below(path: Path) -> None:
    name = name_of(path)
    if name in ("", CATALOGUE):  # the public face reaches into every room, lazily
        return
    room = name.split(".")[0]
    for imported in IMPORTS[path]:
        if imported.startswith("ganpaint_widget."):
            other = imported.split(".")[1]
            catalogue = imported == f"ganpaint_widget.{CATALOGUE}"
            assert other == room or catalogue or floor(other) > floor(room), imported


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_torch_and_ipywidgets_never_meet(path: Path) -> None:
    roots = {imported.split(".")[0] for imported in IMPORTS[path]}
    if name_of(path).split(".")[0] == "widget":
        assert not roots & {"torch", "safetensors"}
    else:
        assert not roots & {"ipywidgets", "anywidget", "ipycanvas", "traitlets", "IPython"}
