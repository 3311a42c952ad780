"""Reading and writing weights, so that nothing in a file is ever executed.

What this package writes is safetensors. The public checkpoints are PyTorch files, which are pickles; they are
read by ``torch.load(weights_only=True)``, which builds tensors and plain containers and calls nothing else.
"""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from ..errors import GANPaintError
from ..storage import read_safetensors, write_safetensors

MAX_CHECKPOINT_BYTES: Final = 4 * 2**30
"""No public generator comes near it: the largest, with discriminator and optimizers, has about 1.2 GB."""


def read_torch(path: Path) -> dict[str, Any]:
    """The dictionary in a PyTorch checkpoint; its tensors are dense, in memory that the file has paid for.

    Args:
        path: a file of ``torch.save``, in its present format or in the older one.

    Raises:
        GANPaintError: the file is missing or damaged, holds more than tensors and plain containers, claims
            tensors that are larger than what it stores, or is no dictionary.
    """
    refused = f"The checkpoint {path.name} was refused"
    try:
        if path.stat().st_size > MAX_CHECKPOINT_BYTES:
            raise GANPaintError(
                f"{refused}: it has more than {MAX_CHECKPOINT_BYTES // 2**30} GB.",
                "Pass the generator's weights alone.",
            )
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            if any(map(_leads_out, entries)):
                raise GANPaintError(
                    f"{refused}: it holds a link, or a path that leads out of it.",
                    "Do not open this file with anything else either, unless you trust its source.",
                )
            unpacked = sum(entry.file_size for entry in entries)
            # torch.save stores without compression; a bomb would not.
            if unpacked > 2 * path.stat().st_size + 2**20:
                raise GANPaintError(
                    f"{refused}: it unpacks to far more than it holds.", "Get the file from its source again."
                )
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise GANPaintError(
            f"The checkpoint {path.name} could not be read: {error.strerror or 'it is damaged'}.",
            "Check the path, or get the file from its source again.",
        ) from error
    except GANPaintError:
        raise
    except Exception as error:  # the unpickler raises all sorts of things over bytes that are no checkpoint
        raise GANPaintError(
            f"{refused}: it is damaged, or it asks for more than tensors, which could run code.",
            "Get the file from its source again, or save the generator's state_dict() alone.",
        ) from error
    if not isinstance(content, dict):
        raise GANPaintError(
            f"{refused}: it holds a {type(content).__name__} and no dictionary of tensors.",
            "Save the generator's state_dict() instead.",
        )
    return content


def _leads_out(entry: zipfile.ZipInfo) -> bool:
    """Whether an archive was made to write elsewhere. Nothing is unpacked here, but no network needs this."""
    path = PureWindowsPath(entry.filename)  # it knows both kinds of slashes
    return bool(path.anchor) or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16)


def checked_tensors(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of a dictionary from a file, as float32, if each is one that can be used.

    Raises:
        GANPaintError: one is larger than the memory behind it (a single stored number can claim to be a
            petabyte), is no dense tensor, or holds a NaN or an infinity.
    """
    tensors = {}
    for name, one in content.items():
        if not (isinstance(name, str) and isinstance(one, Tensor)):
            continue
        if one.layout != torch.strided or one.is_quantized or one.is_complex() or one.device.type != "cpu":
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {path.name} is no dense array of numbers.",
                "Save the generator's state_dict() as it is after training.",
            )
        if one.numel() * one.element_size() > one.untyped_storage().nbytes():
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {path.name} claims to be larger than what the file stores.",
                "Get the file from its source again.",
            )
        tensors[name] = one.detach().float()
        if not tensors[name].isfinite().all():
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {path.name} holds numbers that are not finite.",
                "Get the file from its source again, or take an earlier snapshot of the training.",
            )
    return tensors


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
    return module_of(path, make, config, tensors)


def module_of(
    path: Path, make: Callable[..., M], config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> M:
    """The same from arguments and tensors that were read already; ``path`` is for messages."""
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
    if not all(tensor.isfinite().all() for tensor in module.state_dict().values()):
        raise GANPaintError(
            f"The weights in {path.name} are not all finite.", "Get the file from its source again."
        )
    return module.eval().requires_grad_(False)


def write_module(path: Path, kind: str, module: nn.Module, config: Mapping[str, object]) -> None:
    """Write a module's floating-point tensors in half precision, its counters as they are, how to make it.

    A tensor with numbers that half precision cannot hold stays in single precision.

    Raises:
        GANPaintError: a tensor is not finite, as after a training that went wrong.
    """
    tensors = {}
    for name, tensor in module.state_dict().items():
        stored = tensor.half() if tensor.is_floating_point() else tensor
        stored = stored if stored.isfinite().all() else tensor.float()
        if not stored.isfinite().all():
            raise GANPaintError(
                f"The weights {name[:80]!r} of the {kind} are not all finite.",
                "Take an earlier snapshot of the training, or train with a lower learning rate.",
            )
        tensors[name] = stored.contiguous()
    write_safetensors(path, tensors, {"kind": kind, "config": json.dumps(config)})
