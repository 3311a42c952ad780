"""Reading and writing weights: safetensors only, so that nothing in a file is ever executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    if metadata.get("kind") != kind:
        raise GANPaintError(
            f"The file {path.name} holds no {kind} of this package.",
            f"Pass a file that was saved as a {kind}.",
        )
    config: dict[str, Any] = json.loads(metadata["config"])
    return tensors, config


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a module's tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(
            values.view(torch.uint8).numpy().tobytes() if values.dim() else values.numpy().tobytes()
        )
    return digest.hexdigest()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Fill a module from stored tensors (any float precision) and set it to evaluation.

    Raises:
        GANPaintError: names or shapes do not fit the module.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise GANPaintError(
            f"The weights in {name} do not fit the network that the file describes.",
            "Install the package again, or pass a file that was saved by this version.",
        ) from error
    module.eval().requires_grad_(False)
