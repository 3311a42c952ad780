"""Test the wheel with the oldest dependencies that pyproject.toml allows, in an environment of its own.

    .venv/bin/python tools/oldest.py dist/ganpaint_widget-0.2.0-py3-none-any.whl [--python python3.10] [tests]

Each direct dependency is installed at its lower bound, and what they need in turn at its newest version, as
`uv --resolution lowest-direct` would do. The environment lies in a temporary folder, or in the folder --keep;
filling it needs the network.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ["test_session.py", "test_paint.py", "test_explorer.py", "test_project.py", "test_conversation.py"]
"""Tests that touch every dependency: the session, the widget, the explorer's canvas and files."""
TOOLS = ["pytest>=8.2", "pytest-timeout>=2.3", "hypothesis>=6", "ipykernel>=6.31"]


def lowest(requirement: str) -> str:
    """Return a requirement with its lower bound as its version: "torch>=2.4" becomes "torch==2.4"."""
    found = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement)
    if found is None:
        raise SystemExit(f"{requirement!r} in pyproject.toml has no lower bound. Write it as name>=version.")
    return f"{found[1]}=={found[2]}"


def dependencies() -> list[str]:
    """Return the direct dependencies of the wheel at their lower bounds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [lowest(one) for one in project["dependencies"]]


def check(wheel: Path, python: str, folder: Path, tests: list[str]) -> int:
    """Make the environment, install the wheel and run tests in it; return pytest's exit status."""
    made = folder / "bin" / "python"
    if not made.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    install = [str(made), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*install, *dependencies(), *TOOLS], check=True)
    subprocess.run([*install, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    subprocess.run([str(folder / "bin" / "ganpaint"), "--version"], check=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [
        str(made),
        "-m",
        "pytest",
        "--rootdir",
        "..",
        "--config-file",
        "../pyproject.toml",
        "-q",
        *tests,
    ]
    return subprocess.run(command, cwd=ROOT / "tests", env=environment).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument("--python", default="python3.10", help="the oldest Python that the package supports")
    parser.add_argument("--keep", type=Path, help="a folder for the environment, to be used again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(check(chosen.wheel.resolve(), chosen.python, chosen.keep or Path(folder), chosen.tests))


if __name__ == "__main__":
    main()
