"""Install the pinned torch into the environment that runs this: the CPU build, unless a GPU is present.

On Linux, PyPI's torch is a CUDA build of several gigabytes, a long download for nothing without a GPU.
Therefore, this asks for the CPU build, which PyTorch keeps in an index of its own. If that index cannot be
reached (a closed network, a mirror), pip uses its own configuration: a CPU build in a local folder of wheels
counts as newer than PyPI's ("2.13.0+cpu" is after "2.13.0").

    python tools/install_torch.py constraints.txt
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # documented on pytorch.org/get-started
PATIENCE = 5.0  # seconds in which the index must answer


def pinned(constraints: Path) -> str:
    """Return the version of torch in a constraints file, such as "2.13.0"."""
    found = re.search(r"^torch==(\S+)$", constraints.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{constraints} pins no torch")
    return found[1]


def installed() -> str | None:
    """Return the version of torch that is here, with its local part ("2.13.0+cpu"), or None."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def has_gpu() -> bool:
    """Whether NVIDIA's own tool lists at least one GPU."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU" in listing.stdout


def answers(index: str) -> bool:
    """Whether the index lists torch, asked once and not for long."""
    try:
        request = urllib.request.Request(f"{index}/torch/", method="HEAD")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def main(constraints: Path) -> None:
    version, present = pinned(constraints), installed()
    if present is not None and present.split("+")[0] == version:
        say(f"torch {present} is here already")
        return

    # Compiled when imported: of thousands of modules few ever are.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    command += ["--constraint", str(constraints)]
    command.append(f"torch=={version}")
    if has_gpu():
        say(f"torch {version}: there is a GPU, so the CUDA build (several GB, minutes)")
    elif platform.system() != "Linux":
        say(f"torch {version} (about a minute)")  # on PyPI only Linux has CUDA builds
    elif answers(CPU_INDEX):
        say(f"torch {version}: no GPU, so the CPU build from {CPU_INDEX} (200 MB, a minute or two)")
        command += ["--extra-index-url", CPU_INDEX]
    else:
        say(f"torch {version}: no GPU, and {CPU_INDEX} does not answer, so the build that pip finds")
        say("(a minute for a CPU build, many minutes if it is PyPI's CUDA build)")
    subprocess.run(command, check=True)
    say(f"torch {installed()} is in")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
