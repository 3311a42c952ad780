"""L-BFGS with a line search, one evaluation at a time, so that it can be interrupted anywhere.

It follows Nocedal and Wright, "Numerical Optimization" (2nd edition). The two-loop recursion is their
algorithm 7.4. The line search for the strong Wolfe conditions is their algorithms 3.5 and 3.6, with the cubic
interpolation of equation 3.59. PyTorch's own L-BFGS loses the curvature that it has measured if it is
interrupted. Its first use also imports PyTorch's compiler, which takes seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""c1 and c2 of the Wolfe conditions, as Nocedal and Wright advise for quasi-Newton methods."""

TRIES: Final = 25
"""The largest number of evaluations in one line search."""

SMALLEST: Final = 1e-9
"""The search ends when its bracket moves no parameter by more than this."""

FIRST: Final = 0.1
"""The first length to try, as a share of the length at which a linear loss would reach zero."""

RESOLUTION: Final = 1e-7
"""The share of a loss below which single precision loses changes."""

POSITIVE: Final = 1e-10
"""The growth of the gradient along a step above which the step is remembered (PyTorch's value). While
no step is remembered, the next one first tries the length of the gradient."""


@dataclass(frozen=True)
class _Point:
    """A point of a line search: its distance, the loss there, the slope along the line and the gradient."""

    length: float
    loss: float
    slope: float
    gradient: Tensor


@dataclass(frozen=True)
class _Pair:
    """A past step, the gradient's change along it, and 1 over the product of the two."""

    step: Tensor
    change: Tensor
    scale: float


def lbfgs(
    parameters: Sequence[Tensor], history: int, *, first: float | None = None
) -> Generator[None, float, None]:
    """Minimize a loss. All state is in the generator's frame.

    It yields whenever it needs the loss at the present parameters. Put the gradients into their ``grad`` and
    send the loss::

        minimizer = lbfgs(parameters, 12)
        next(minimizer)
        for _ in range(24):
            ...  # the loss and its gradients
            minimizer.send(loss)

    It ends, with ``StopIteration``, when no step lowers the loss further.

    Args:
        parameters: leaves, which change in place.
        history: how many steps to remember. Each takes twice the memory of the parameters.
        first: the first step's length, in gradients. By default it follows from the loss.
    """
    loss = yield
    gradient = _gathered(parameters)
    pairs: deque[_Pair] = deque(maxlen=history)
    # The curvature is still unknown. A linear loss would reach zero, the minimum of most losses, at the loss
    # over the squared gradient. A part of that length comes first.
    length = FIRST * abs(loss) / max(float(gradient @ gradient), 1e-30) if first is None else first
    while True:
        direction = _direction(gradient, pairs)
        slope = float(gradient @ direction)
        if not slope < 0:
            return
        begin = _Point(0.0, loss, slope, gradient)
        home = [one.detach().clone() for one in parameters]
        found = yield from _line_search(parameters, home, direction, begin, length)
        _move(parameters, home, direction, found.length)
        if found.length == 0:
            return
        step, change = direction.mul_(found.length), found.gradient - gradient
        growth = float(step @ change)
        if growth > POSITIVE:
            pairs.append(_Pair(step, change, 1 / growth))
        loss, gradient, length = found.loss, found.gradient, 1.0


def _direction(gradient: Tensor, pairs: Sequence[_Pair]) -> Tensor:
    """Return minus the gradient, times the inverse Hessian that the last steps approximate."""
    direction = -gradient
    shares = []
    for pair in reversed(pairs):
        shares.append(pair.scale * float(pair.step @ direction))
        direction.sub_(pair.change, alpha=shares[-1])
    if pairs:
        last = pairs[-1]
        direction.div_(last.scale * float(last.change @ last.change))
    for pair, share in zip(pairs, reversed(shares), strict=True):
        direction.add_(pair.step, alpha=share - pair.scale * float(pair.change @ direction))
    return direction


def _line_search(
    parameters: Sequence[Tensor], home: Sequence[Tensor], direction: Tensor, begin: _Point, length: float
) -> Generator[None, float, _Point]:
    """Return a point along the line from ``home``: a strong Wolfe point, or the lowest that was found."""

    def at(length: float) -> Generator[None, float, _Point]:
        _move(parameters, home, direction, length)
        loss = yield
        gradient = _gathered(parameters)
        return _Point(length, loss, float(gradient @ direction), gradient)

    unseen = RESOLUTION * abs(begin.loss)

    def lower(point: _Point) -> bool:
        return point.loss <= begin.loss + SUFFICIENT * point.length * begin.slope + unseen

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -CURVATURE * begin.slope

    def further_down(point: _Point, before: _Point) -> bool:
        return point.loss < before.loss + unseen

    # Move on until the minimum is passed.
    before, point, tries = begin, (yield from at(length)), 1
    while lower(point) and further_down(point, before) and point.slope < 0:
        if flat(point) or tries == TRIES:
            return point
        least = point.length + 0.01 * (point.length - before.length)
        further = _minimum(before, point, least, 10 * point.length)
        before, point, tries = point, (yield from at(further)), tries + 1
    if lower(point) and flat(point) and further_down(point, before):
        return point

    # The minimum lies between the two. Narrow the bracket.
    low, high = sorted((before, point), key=lambda one: one.loss)
    reach, hesitated = float(direction.abs().max()), False
    while tries < TRIES and abs(high.length - low.length) * reach >= SMALLEST:
        first, last = sorted((low.length, high.length))
        middle, margin = _minimum(low, high, first, last), 0.1 * (last - first)
        near = min(last - middle, middle - first) < margin
        if near and (hesitated or middle in (first, last)):
            # The cubic points to the border for the second time. A point a little inside tells more.
            middle, near = (last - margin if last - middle < middle - first else first + margin), False
        hesitated = near
        point, tries = (yield from at(middle)), tries + 1
        if not lower(point) or point.loss >= low.loss:
            low, high = sorted((low, point), key=lambda one: one.loss)
            continue
        if flat(point):
            return point
        low, high = point, (low if point.slope * (high.length - low.length) >= 0 else high)
    return low


def _minimum(one: _Point, other: _Point, least: float, most: float) -> float:
    """Return the minimum of the cubic through two points and slopes, within bounds, or else their middle."""
    first, last = sorted((one, other), key=lambda point: point.length)
    width = last.length - first.length
    bend = first.slope + last.slope - 3 * (first.loss - last.loss) / (first.length - last.length)
    inner = bend * bend - first.slope * last.slope
    root = math.sqrt(max(inner, 0.0))
    below = last.slope - first.slope + 2 * root
    if not inner >= 0 or below == 0:
        return (least + most) / 2
    return min(max(last.length - width * (last.slope + root - bend) / below, least), most)


@torch.no_grad()
def _move(parameters: Sequence[Tensor], home: Sequence[Tensor], direction: Tensor, length: float) -> None:
    """Set the parameters to ``home + length * direction``."""
    offset = 0
    for one, begin in zip(parameters, home, strict=True):
        part = direction[offset : offset + one.numel()].view_as(one)
        torch.add(begin, part, alpha=length, out=one)
        offset += one.numel()


@torch.no_grad()
def _gathered(parameters: Sequence[Tensor]) -> Tensor:
    """Return a new vector of all gradients."""
    return torch.cat(
        [torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in parameters]
    )
