"""Files on disk: where the cache is, writing in one step, locks, safetensors in and out, fingerprints.

Importing this module does not import torch: journals and projects are written where there is none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .errors import GANPaintError

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from torch import Tensor, nn

log = logging.getLogger(__name__)

LOCK_SECONDS: Final = 10.0
"""How long a write waits for another process that is writing the same file."""

ROOM_IN_CACHE: Final = "Make room there, or set GANPAINT_CACHE to another folder."
"""What to do if the cache cannot be written."""

T = TypeVar("T")


# --- where ---


def cache_folder() -> Path:
    """Return where everything lies that can be fetched or measured again.

    ``GANPAINT_CACHE`` says where, or the user's cache folder.
    """
    place = os.environ.get("GANPAINT_CACHE", "")
    if place:
        return Path(place).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_path("ganpaint")) / "models"


# --- writing ---


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file in one step: what is written to the path that is handed out becomes ``path`` at the end.

    Readers of ``path`` find the old file or the new one, never a part. If the block raises, the old one
    stays. Each writer has a file of its own, so that two of them do not mix.

    Raises:
        OSError: the file cannot be written there.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power failure may leave a new name on an empty file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, data: bytes, what: str, hint: str = "Choose another place.") -> None:
    """Write a whole file in one step, see :func:`replacing`.

    Args:
        path: the file; its folder must be there.
        data: all of it.
        what: what it is, for the message: "The project".
        hint: what to do if it cannot be written.

    Raises:
        GANPaintError: it cannot be written there; what was there before stays.
    """
    with explained_writing(what, path, hint), replacing(path) as partial:
        partial.write_bytes(data)


@contextmanager
def explained_writing(what: str, place: Path, hint: str = ROOM_IN_CACHE) -> Iterator[None]:
    """Explain to users why something could not be written in the block.

    Args:
        what: what it is, for the message: "The project".
        place: its file or folder.
        hint: what to do.

    Raises:
        GANPaintError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise GANPaintError(
            f"{what} cannot be written to {str(place)!r}: {error.strerror or error}.", hint
        ) from error


# --- locks ---


def lock_of(path: Path) -> BaseFileLock:
    """Make a lock on a file of its own, which the end of the process lets go of as well.

    A process id would not do: in a container every kernel may have the same one. Any thread may release it.
    """
    from filelock import FileLock

    return FileLock(path, thread_local=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep all other processes (and threads) from changing a file that several of them share.

    The lock is a file beside it and stays there. Its folder is made if it is missing.

    Raises:
        GANPaintError: another process has held it for ``LOCK_SECONDS``.
        OSError: no file can be made there.
    """
    from filelock import Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_of(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise GANPaintError(
            f"Another process has been writing {path.name} for {LOCK_SECONDS:.0f} seconds.",
            "Try again; if the message returns, restart the other kernel.",
        ) from error
    try:
        yield
    finally:
        lock.release()


# --- caches ---


def cached(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file of the cache; ``None`` if it is missing or damaged, as if it had never been made.

    Args:
        path: the file.
        read: reads it, and raises GANPaintError or OSError if it is damaged. The log then says so.
    """
    if not path.is_file():
        return None
    try:
        return read(path)
    except (GANPaintError, OSError) as error:
        why = error.message if isinstance(error, GANPaintError) else error
        log.warning("%s is of no use, and has to be made anew: %s", path, why)
        return None


# --- safetensors ---


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors with string metadata, ``kind`` and ``config`` (a JSON object) among them, in one step.

    Raises:
        OSError: the file cannot be written there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as partial:
        try:
            save_file(dict(tensors), partial, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(str(error)) from error
        partial.chmod(0o644)  # safetensors writes files that only their owner can read


def read_safetensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_safetensors` wrote: the tensors and the object that describes them.

    Args:
        path: the file.
        kind: what its metadata must say that it is.

    Raises:
        GANPaintError: the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

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


def damaged(path: Path, kind: str, error: Exception) -> GANPaintError:
    """Make the error for a file whose parts can be read but do not fit together."""
    return GANPaintError(
        f"The {kind} in {path.name} is damaged ({type(error).__name__}: {error}).",
        "Create it again, or delete the file.",
    )


def _unreadable(path: Path, error: Exception) -> GANPaintError:
    return GANPaintError(
        f"The weights file {path.name} could not be read ({error}).",
        "Install the package again, or pass the path of a complete safetensors file.",
    )


def kind_of(path: Path) -> str | None:
    """Return the kind of a safetensors file of this package, or ``None`` for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("kind")
    except (OSError, SafetensorError):
        return "generator"  # reading it as one says what is wrong


def read_plain(path: Path) -> dict[str, Tensor]:
    """Read the tensors of another program's safetensors file. GANPaintError if it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


# --- fingerprints ---


def fingerprint(module: nn.Module) -> str:
    """Hash the names, types, shapes and values of a module's tensors: SHA-256, in hexadecimal.

    Floating-point numbers count in float32, since sessions work with such copies.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Hash a file: SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
