"""L-BFGS an evaluation at a time, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ganpaint_widget.method.lbfgs import lbfgs

Loss = Callable[[Tensor], Tensor]


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def ours(loss: Loss, begin: Tensor, count: int, first: float | None = None) -> list[float]:
    x = torch.nn.Parameter(begin.clone())
    minimizer, losses = lbfgs([x], 12, first=first), []
    next(minimizer)
    for _ in range(count):
        x.grad = None
        value = loss(x)
        value.backward()
        losses.append(value.item())
        try:
            minimizer.send(losses[-1])
        except StopIteration:
            break
    return losses


def theirs(loss: Loss, begin: Tensor, count: int) -> list[float]:
    x = torch.nn.Parameter(begin.clone())
    optimizer = torch.optim.LBFGS(
        [x], max_iter=count, max_eval=10 * count, history_size=12, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    losses: list[float] = []

    def closure() -> float:
        x.grad = None
        value = loss(x)
        value.backward()
        losses.append(value.item())
        return losses[-1]

    optimizer.step(closure)
    return losses[:count]


@pytest.mark.parametrize("scale", [1.0, 1e-5])
@pytest.mark.parametrize("seed", range(4))
def test_it_evaluates_where_pytorch_does(seed: int, scale: float) -> None:
    begin = (seed + 1) * torch.randn(10, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    slope = torch.func.grad(rosenbrock)(begin)
    first = min(1.0, 1 / (scale * float(slope.abs().sum())))  # as PyTorch begins
    mine = ours(lambda x: scale * rosenbrock(x), begin, 40, first)
    assert mine == pytest.approx(theirs(lambda x: scale * rosenbrock(x), begin, 40), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_its_first_step_does_not_depend_on_the_scale_of_the_loss_or_of_what_it_moves(scale: float) -> None:
    goal = torch.arange(1.0, 6.0)
    reference = ours(lambda x: (x - goal).square().sum(), torch.zeros(5), 8)
    of_loss = ours(lambda x: scale * (x - goal).square().sum(), torch.zeros(5), 8)
    of_parameters = ours(lambda x: (x / scale - goal).square().sum(), torch.zeros(5), 8)
    assert reference[1] < 0.95 * reference[0]
    assert of_loss[:2] == pytest.approx([scale * one for one in reference[:2]], rel=1e-4)
    assert of_parameters[:2] == pytest.approx(reference[:2], rel=1e-4)


def test_it_ends_at_the_bottom() -> None:
    losses = ours(lambda x: (x - 3).square().sum(), torch.zeros(5), 100)
    assert len(losses) < 10 and losses[-1] < 1e-9
