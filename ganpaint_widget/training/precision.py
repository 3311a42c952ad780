"""In which precision training computes: bfloat16 where that is quicker.

Graphics processors and CPUs with units for bfloat16 take a half or a third of the time that float32 takes.
CPUs without them take longer, and so do some virtual machines whose flags promise them. So it is tried once.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..cpus import threads

TRIALS = 5
"""Of each precision, in turn; the best of each counts."""


def bfloat16(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where that is quicker than float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=quick_in_bfloat16(device.type))


@cache
def quick_in_bfloat16(device_type: str) -> bool:
    """Return whether a kind of device computes in bfloat16 more quickly than in float32.

    CPUs are measured, once a process. Not all versions of torch that are allowed have bfloat16 on Apple's
    GPUs.
    """
    if device_type != "cpu":
        return device_type != "mps"
    x, weight = torch.ones(4, 96, 16, 16), torch.ones(96, 96, 3, 3)
    x = x.contiguous(memory_format=torch.channels_last)
    taken: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    with threads(1):
        for _ in range(1 + TRIALS):
            for dtype, times in taken.items():
                times.append(_seconds(x.to(dtype), weight.to(dtype)))
    half, whole = (min(times[1:]) for times in taken.values())  # the first trial prepares the convolution
    return half < whole


def _seconds(x: Tensor, weight: Tensor) -> float:
    """Return the processor's time for a convolution, forward and backward: others may be busy meanwhile."""
    x, weight = (one.detach().clone().requires_grad_() for one in (x, weight))
    began = time.process_time()
    with torch.enable_grad():
        F.conv2d(x, weight, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    return time.process_time() - began
