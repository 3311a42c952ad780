"""Reading and writing weights: safetensors only, so that nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import GANPaintError


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors with string metadata, beside and then renamed, so that no half file is left."""
    partial = path.with_suffix(".partial")
    save_file(dict(tensors), partial, metadata=dict(metadata))
    partial.chmod(0o644)  # safetensors writes files that only their owner can read
    partial.replace(path)


def read_safetensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the decoded ``config`` of a file that this package wrote.

    Args:
        path: the file.
        kind: what its metadata must say that it is.

    Raises:
        GANPaintError: the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise GANPaintError(
            f"The weights file {path.name} could not be read ({error}).",
            "Install the package again, or pass the path of a complete safetensors file.",
        ) from error
    try:
        config = json.loads(metadata["config"])
        if metadata["kind"] != kind or not isinstance(config, dict):
            raise ValueError
    except (KeyError, ValueError, RecursionError) as error:
        raise GANPaintError(
            f"The file {path.name} holds no {kind} of this package.",
            f"Pass a file that was saved as a {kind}.",
        ) from error
    return tensors, config


M = TypeVar("M", bound=nn.Module)


def read_module(path: Path, kind: str, make: Callable[..., M]) -> M:
    """A module from its stored constructor arguments and weights (any float precision), set to evaluation.

    The module is laid out without memory first, so that a file cannot ask for more than it holds.

    Args:
        path: a file that :func:`write_module` wrote.
        kind: what its metadata must say that it is.
        make: the module's class.

    Raises:
        GANPaintError: the file cannot be read, is of another kind, or its weights do not fit its arguments.
    """
    tensors, config = read_safetensors(path, kind)
    try:
        with torch.device("meta"):
            module = make(**config)
        whole = {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}
        module.load_state_dict(whole, assign=True)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise GANPaintError(
            f"The weights in {path.name} do not fit the network that the file describes.",
            "Install the package again, or pass a file that was saved by this version.",
        ) from error
    return module.eval().requires_grad_(False)


def write_module(path: Path, kind: str, module: nn.Module, config: Mapping[str, object]) -> None:
    """A module's floating-point tensors in half precision, its counters as they are, and how to make it."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in module.state_dict().items()
    }
    write_safetensors(path, tensors, {"kind": kind, "config": json.dumps(config)})


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a module's tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
