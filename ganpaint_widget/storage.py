"""Files on disk: where the cache is, safetensors in and out, and fingerprints of weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .errors import GANPaintError


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
        raise _unreadable(path, error) from error
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


def _unreadable(path: Path, error: Exception) -> GANPaintError:
    return GANPaintError(
        f"The weights file {path.name} could not be read ({error}).",
        "Install the package again, or pass the path of a complete safetensors file.",
    )


def kind_of(path: Path) -> str | None:
    """What a safetensors file of this package holds; ``None`` for one of others, or none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("kind")
    except (OSError, SafetensorError):
        return "generator"  # reading it as one says what is wrong


def read_plain(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file that others wrote. GANPaintError when it cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a module's tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where the files of public models are: ``GANPAINT_CACHE``, or the user's cache folder."""
    place = os.environ.get("GANPAINT_CACHE", "")
    if place:
        return Path(place).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_path("ganpaint")) / "models"
