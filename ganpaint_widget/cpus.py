"""How many processors this process may really use.

On a JupyterHub many people share a machine, and a container with a quota of two processors still sees all
sixty-four. PyTorch counts those, and its sixty-four threads then wait for each other. So before a model is
loaded its threads are brought down to the quota.

And others may be busy on the processors that there are. PyTorch's threads meet after every layer of a
network, and spin until the last has come: beside two busy neighbors, two threads take four times as long as
one. No counter of the system says so in time, so now and again it is tried how long a convolution takes with
fewer threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

EVERY: Final = 3.0
LONGEST: Final = 24.0
"""Seconds between two trials on a thread. One takes 20 ms, but 200 beside busy neighbors: while more threads
do not help, the time until the next one doubles, up to the second number."""

CONVOLUTIONS: Final = 8
"""Of a trial, for each number of threads: 38 million products each."""

BETTER: Final = 0.85
"""More threads are taken if they need at most this share of the time of fewer: they cost others theirs."""


def cpu_count(root: Path = Path("/")) -> int:
    """Return how many processors this process may use, by its affinity and its control groups' quotas.

    A quota of a part of a processor is rounded down (to at least one): threads that share a processor
    take turns at every layer of a network, which costs more than the part would bring.

    Args:
        root: where ``/proc`` and ``/sys`` are, for tests.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Yield the quotas, in processors, of this process's control groups and of those around them."""
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


_tried = threading.local()


def follow_load() -> None:
    """Give PyTorch as many threads on this thread as are quickest at the moment.

    Cheap enough to be called at every step of what takes long: it is tried again once in :data:`EVERY`
    seconds. Without effect where ``OMP_NUM_THREADS`` says what is wanted, or where there is one processor.
    """
    if "OMP_NUM_THREADS" in os.environ or cpu_count() == 1:
        return
    wait, until = getattr(_tried, "last", (EVERY, 0.0))
    if time.monotonic() < until:
        return
    import torch

    most = cpu_count()
    chosen = _quickest(sorted({1, max(1, most // 2), most}))
    torch.set_num_threads(chosen)
    wait = EVERY if chosen == most else min(2 * wait, LONGEST)
    _tried.last = wait, time.monotonic() + wait


def _quickest(counts: list[int]) -> int:
    """Return the number of threads that runs some convolutions fastest, trying numbers upward from 1."""
    import torch
    from torch.nn import functional as F

    chosen, least = 1, float("inf")
    with torch.inference_mode():
        x, weight = torch.ones(1, 32, 64, 64), torch.ones(32, 32, 3, 3)
        for count in counts:
            with threads(count):
                F.conv2d(x, weight, padding=1)  # starts the threads and prepares the convolution
                began = time.perf_counter()
                for _ in range(CONVOLUTIONS):
                    F.conv2d(x, weight, padding=1)
                    took = time.perf_counter() - began
                    if took > BETTER * least:
                        break
                else:
                    chosen, least = count, took
    return chosen


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Have PyTorch compute with so many threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
