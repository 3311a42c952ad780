"""How many processors this process may really use.

On a JupyterHub many people share a machine, and a container with a quota of two processors still sees all
sixty-four. PyTorch counts those, and its sixty-four threads then wait for each other. So before a model is
loaded its threads are brought down to the quota.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def cpu_count(root: Path = Path("/")) -> int:
    """Processors that this process may use: by its affinity, and by its control groups' quotas, v1 or v2.

    A quota of a part of a processor is rounded down (to at least one): threads that share a processor
    take turns at every layer of a network, which costs more than the part would bring.

    Args:
        root: where ``/proc`` and ``/sys`` are, for tests.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """The quotas of the control groups that this process is in and of those around them, in processors."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            hierarchy = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            hierarchy = root / "sys/fs/cgroup/cpu"
        else:
            continue
        # Inside a container the path may be the host's, while its own group is mounted as the root.
        group = hierarchy / path.strip("/")
        for folder in (group, *group.parents):
            numbers = _text(folder / "cpu.max").split() or [
                *_text(folder / "cpu.cfs_quota_us").split(),
                *_text(folder / "cpu.cfs_period_us").split(),
            ]
            if len(numbers) == 2 and numbers[0].isdecimal() and numbers[1].isdecimal():  # not "max" or -1
                found.append(int(numbers[0]) / max(1, int(numbers[1])))
            if folder == hierarchy:
                break
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@cache
def follow_quota() -> None:
    """Hold PyTorch to :func:`cpu_count` threads, once; unless ``OMP_NUM_THREADS`` says what is wanted."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))
