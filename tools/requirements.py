"""Prints what pyproject.toml asks for, one a line: the dependencies and those of the named extras.

make installs these before it builds anything, so that a change of the sources rebuilds the wheel and no more.

    python tools/requirements.py lab course segmenter test bench docs dev > requirements.txt
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    wanted: list[str] = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
