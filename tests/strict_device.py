"""A device that no machine need have: its tensors are the CPU's, marked, and refuse to meet unmarked ones.

Real accelerators refuse as well, but tests seldom run where there is one; and torch's "meta" device, which
has no values, does not even check in convolutions. The marks are on storages, so that views, gradients and
what autograd keeps have them, too. The modes are of one thread each: :func:`strict_device` enters them in
every thread that begins meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "cuda"
DEVICE = torch.device("cuda:0")
"""The name under which the device passes: what stands behind it is this file."""

CROSSING = {"_to_copy", "copy_"}
"""Operations that may read from one device and write to another."""

INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Their indices may lie on the CPU."""

MISSING = {"linalg_solve_ex", "_linalg_solve_ex", "linalg_lu_factor_ex"}
"""What Apple's GPUs cannot do with torch 2.4, the oldest one that is allowed."""

_there: dict[int, StorageWeakRef] = {}
"""The marked storages by address: a weak reference keeps the address taken, and not the numbers."""


def is_there(tensor: Tensor) -> bool:
    """Whether a tensor is on the device."""
    return tensor.untyped_storage()._cdata in _there


def _put(tensor: Tensor) -> Tensor:
    if tensor.dtype in (torch.float64, torch.complex128):
        raise TypeError("Apple's GPUs do not have float64.")
    storage = tensor.untyped_storage()
    _there[storage._cdata] = StorageWeakRef(storage)
    return tensor


def _tensors(nested: object) -> list[Tensor]:
    return [one for one in tree_leaves(nested) if isinstance(one, Tensor)]


class _Together(TorchDispatchMode):
    """Below autograd: the tensors of an operation are in one place, and its results are there as well."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        there = any(is_there(one) for one in given)
        if there:
            if name in MISSING:
                raise NotImplementedError(f"Apple's GPUs do not have {name}.")
            if name in INDEXING:
                given = [args[0], *_tensors(args[2:])]
            if name not in CROSSING and not all(one.dim() == 0 or is_there(one) for one in given):
                raise RuntimeError(f"{name}: Expected all tensors to be on the same device.")
            if any(isinstance(one, torch.Generator) for one in tree_leaves((args, kwargs))):
                raise RuntimeError(f"{name}: Expected a 'cuda' device type for generator but found 'cpu'.")
        result = func(*args, **kwargs)
        if there and name != "copy_":
            for one in _tensors(result):
                _put(one)
        return result


class _Named(TorchFunctionMode):
    """Above it: what Python says of devices, as ``x.device``, ``device=``, ``x.to(...)``, ``x.numpy()``."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func is torch.device or name == "_parse_to":
            return func(*args, **kwargs)
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return DEVICE if is_there(args[0]) else func(*args)
        if name in ("numpy", "__array__") and is_there(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        asked = [is_there(one) for one in _tensors(args[1:])] if name in ("to", "type_as") else []
        asked += [False] if name == "cpu" else []
        for one in tree_leaves((args[0 if name not in ("to",) else 1 :], kwargs)):
            if isinstance(one, torch.device) or (isinstance(one, str) and one.split(":")[0] in ("cpu", NAME)):
                asked.append(torch.device(one).type == NAME)
                if torch.device(one).index not in (None, 0):
                    raise AssertionError("There is only one of these devices.")
        result = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
        if not asked or not isinstance(result, Tensor) or is_there(result) == asked[-1]:
            return result
        result = result.clone()
        if asked[-1]:
            return _put(result)
        _there.pop(result.untyped_storage()._cdata, None)
        return result


def _plain(one: Any) -> Any:
    """A device's name as the CPU's."""
    if isinstance(one, torch.device) and one.type == NAME:
        return torch.device("cpu")
    return "cpu" if isinstance(one, str) and one.split(":")[0] == NAME else one


@contextmanager
def strict_device() -> Iterator[torch.device]:
    """The device, in this thread and in those that begin meanwhile."""
    with pytest.MonkeyPatch.context() as patch, _Named(), _Together():
        run = threading.Thread.run

        def strictly(thread: threading.Thread) -> None:
            with _Named(), _Together():
                run(thread)

        patch.setattr(threading.Thread, "run", strictly)
        yield DEVICE
