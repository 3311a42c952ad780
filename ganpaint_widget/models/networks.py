"""Networks that a user has made: used on any device, and left as they were found.

A network in training mode would change its batch statistics with every picture that it is shown, and one in
half precision would fail at the first tensor of another kind. So functions that are given networks look at
them in evaluation mode, and put them back; and what is kept for longer, as by a session, is a copy, which
shares the weights wherever it can.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ..errors import GANPaintError

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)

Weights = tuple[tuple[object, ...], ...]
"""Tells whether a network's tensors are still those that it was copied with."""

_copies: weakref.WeakKeyDictionary[nn.Module, dict[torch.device, tuple[Weights, nn.Module]]] = (
    weakref.WeakKeyDictionary()
)
"""The last copy of a network for each device: all sessions share it."""


def usable(part: T, device: torch.device) -> T:
    """Return a network, or an object with networks, ready for use: itself, or else a :func:`private` copy.

    Ready is what lies on the device, in float32, is in evaluation mode and takes no gradients.
    """
    if not isinstance(part, nn.Module):
        within = {name: one for name, one in _attributes(part).items() if isinstance(one, nn.Module)}
        ready = {name: usable(one, device) for name, one in within.items()}
        if all(ready[name] is one for name, one in within.items()):
            return part
        part = copy(part)
        vars(part).update(ready)
        return part
    tensors = _tensors(part)
    if not any(module.training for module in part.modules()) and not any(
        one.requires_grad or one.device != device or (one.is_floating_point() and one.dtype != torch.float32)
        for one in tensors
    ):
        return part
    kept = _copies.setdefault(part, {})
    weights = tuple(
        (one.data_ptr(), 0 if one.is_inference() else one._version, one.dtype, one.device) for one in tensors
    )
    if device not in kept or kept[device][0] != weights:
        kept[device] = weights, private(part, device)
    return kept[device][1]  # type: ignore[return-value]


def private(network: N, device: torch.device | None = None) -> N:
    """Return a copy of a network in float32 and evaluation mode, which takes no gradients.

    It shares the memory of all weights that are of this kind already.

    Args:
        network: is not changed.
        device: where the copy is; by default, where the network is.

    Raises:
        GANPaintError: it has parts that cannot be copied.
    """
    memo: dict[int, object] = {}
    for one in _tensors(network):
        kind = torch.float32 if one.is_floating_point() else one.dtype
        moved = one.detach().to(device or one.device, kind)
        memo[id(one)] = nn.Parameter(moved, requires_grad=False) if isinstance(one, nn.Parameter) else moved
    try:
        return deepcopy(network, memo).eval()
    except (RuntimeError, TypeError) as error:
        raise GANPaintError(
            f"The network {type(network).__name__} cannot be copied ({error}).",
            "Call its eval(), float() and requires_grad_(False), and put it on the device: then no copy "
            "is made.",
        ) from error


def channels_last(network: N) -> N:
    """Return the network itself, with its weights laid out channels last.

    Convolutions on CPUs then need less time, since nothing has to be laid out anew between them: what a
    convolution with such weights returns is laid out like them.
    """
    # One by one: Module.to fails on weights of five dimensions, as StyleGAN2's are.
    for weight in network.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


@contextmanager
def evaluating(*things: object) -> Iterator[None]:
    """Hold all networks among some arguments in evaluation mode; afterwards each is as it was."""
    learning = [
        module
        for thing in things
        for network in _networks(thing)
        for module in network.modules()
        if module.training
    ]
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True


def evaluated(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function with the networks that it is given :func:`evaluating`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with evaluating(*args, *kwargs.values()):
            return function(*args, **kwargs)

    return run


def _networks(thing: object, depth: int = 2) -> Iterator[nn.Module]:
    """Yield a network itself, a model's networks, or the network of a wrapper or of a bound method."""
    thing = getattr(thing, "__self__", thing)
    if isinstance(thing, nn.Module):
        yield thing
    elif depth:
        for part in _attributes(thing).values():
            yield from _networks(part, depth - 1)


def _attributes(thing: object) -> dict[str, object]:
    return getattr(thing, "__dict__", {})


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters, buffers and tensors that are neither, as hooks of spectral norms leave them."""
    plain = [one for module in network.modules() for one in vars(module).values() if isinstance(one, Tensor)]
    return [*network.parameters(), *network.buffers(), *plain]
