"""An optimizer for convolutions: momentum whose directions all count alike."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .precision import quick_in_bfloat16

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic Newton-Schulz iteration that Jordan et al. (2024) publish for Muon."""

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum (Jordan et al., "Muon", 2024) with steps relative to the weight's own length.

    A weight out x in x h x w counts as the matrix out x (in h w). Its averaged gradient is replaced with the
    nearest matrix whose singular values are all about 1, so that rare directions move as far as frequent
    ones. Every step has ``lr`` times the weight's Frobenius norm as its length: convolutions before a
    normalization do not care about their scale, and equalized ones have a scale of their own.

    Args:
        params: weights of at least two dimensions.
        lr: the length of a step relative to the weight's norm.
        momentum: of the running mean of gradients, whose look-ahead (Nesterov) is what counts.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                mean = state["mean"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(mean, group["momentum"])
                direction = orthogonalized(ahead.flatten(1)).view_as(weight)
                length = group["lr"] * weight.norm() / direction.norm().clamp_min(1e-12)
                weight.sub_(length * direction)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return the matrix m x n with its singular values brought near 1, in bfloat16 where that is quicker."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    if quick_in_bfloat16(matrix.device.type):
        x = x.bfloat16()
    x = x / x.norm().clamp_min(1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x if wide else x.T
    return found.to(matrix.dtype)
