"""Puts other versions of ipykernel into folders of their own, for tests that run the widget on each.

How a kernel carries the page's messages changed from 6 to 7 and again within 7. A folder that stands first on
PYTHONPATH hides the environment's own ipykernel, so that all versions share one environment and one torch.

    python tools/kernel_overlays.py FOLDER CONSTRAINTS 6.31.0 7.3.0 7.4.0     makes FOLDER/6.31.0, ...
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement


def install(target: Path, constraints: Path | None, requirements: list[str]) -> None:
    """Install these packages into a folder with pip, without their requirements."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    if constraints is not None:
        command += ["--constraint", str(constraints)]
    subprocess.run([*command, *requirements], check=True)


def missing(target: Path) -> list[str]:
    """Return the folder's ipykernel's requirements that the environment lacks (ipykernel 6: nest-asyncio)."""
    (kernel,) = importlib.metadata.distributions(name="ipykernel", path=[str(target)])
    lacking = []
    for line in kernel.requires or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            present = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(line)
            continue
        if not requirement.specifier.contains(present, prereleases=True):
            lacking.append(line)
    return lacking


def main(folder: Path, constraints: Path, versions: list[str]) -> None:
    for version in versions:
        target = folder / version
        if target.is_dir():
            continue
        print(f"==> ipykernel {version} into {target} (seconds)", flush=True)
        # Made aside and renamed when whole: an interrupted run leaves no half overlay behind.
        making = folder / f"{version}.part"
        shutil.rmtree(making, ignore_errors=True)
        install(making, None, [f"ipykernel=={version}"])
        if lacking := missing(making):
            install(making, constraints, lacking)
        making.rename(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
