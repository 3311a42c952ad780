"""How a network learns here: AdamW, whose rate rises and falls once."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR


class Descent:
    """AdamW under a one-cycle schedule.

    Args:
        module: what learns, on the device where it stays.
        steps: how many :meth:`step` there will be.
        peak: the highest rate.
        decay: of the weights.
    """

    def __init__(self, module: nn.Module, *, steps: int, peak: float, decay: float = 1e-4) -> None:
        self._module = module
        # The fused one is missing on Apple's GPUs at some versions of torch that are allowed.
        fused = next(module.parameters()).device.type != "mps"
        self._optimizer = AdamW(module.parameters(), lr=1e-4, weight_decay=decay, fused=fused)
        self._schedule = OneCycleLR(self._optimizer, max_lr=peak, total_steps=steps)

    def step(self, loss: Tensor, longest: float = math.inf) -> None:
        """Take one step down the gradient of a loss. A gradient is shortened to ``longest``."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if longest < math.inf:
            nn.utils.clip_grad_norm_(self._module.parameters(), longest)
        self._optimizer.step()
        self._schedule.step()
