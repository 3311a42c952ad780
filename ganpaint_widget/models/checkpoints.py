"""Reading and writing weights, so that nothing in a file is ever executed.

What this package writes is safetensors. The public checkpoints are PyTorch files, which are pickles; they are
read by ``torch.load(weights_only=True)``, which builds tensors and plain containers and calls nothing else.
What others keep in such files, and what they are when they are something else, :mod:`.layouts` knows.
"""

from __future__ import annotations

import argparse
import io
import json
import pickletools
import re
import stat
import zipfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from ..errors import GANPaintError
from ..storage import read_safetensors, write_safetensors
from .layouts import other_format
from .networks import channels_last

MAX_CHECKPOINT_BYTES: Final = 4 * 2**30
"""No public generator comes near it: the largest, with discriminator and optimizers, has about 1.2 GB."""


def read_torch(path: Path) -> dict[str, Any]:
    """Return the dictionary in a PyTorch checkpoint, its tensors dense and backed by the file's own bytes.

    Args:
        path: a file of ``torch.save``, in its present format or in the older one. Beside tensors and plain
            containers it may hold an ``argparse.Namespace``, in which training scripts keep their options.

    Raises:
        GANPaintError: the file is missing or damaged, or of another format; it holds more than that, claims
            tensors that are larger than its content, or is not a dictionary.
    """
    refused = f"The checkpoint {path.name} was refused"
    try:
        if path.is_file() and path.stat().st_size > MAX_CHECKPOINT_BYTES:
            raise GANPaintError(
                f"{refused}: it has more than {MAX_CHECKPOINT_BYTES // 2**30} GB.",
                "Pass the generator's weights alone.",
            )
        packed = _unharmful_entries(path, refused)
        if (other := other_format(path, packed)) is not None:
            raise GANPaintError(
                f"{'The folder' if path.is_dir() else 'The file'} {path.name} holds {other.what}.", other.hint
            )
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise GANPaintError(
            f"The checkpoint {path.name} could not be read: {error.strerror or 'it is damaged'}.",
            "Check the path, or get the file from its source again.",
        ) from error
    except GANPaintError:
        raise
    except (
        Exception
    ) as error:  # the unpickler raises all sorts of exceptions over bytes that are not a checkpoint
        raise _refused_objects(path, refused) from error
    if not isinstance(content, dict):
        raise GANPaintError(
            f"{refused}: it is of the type {type(content).__name__}, not a dictionary of tensors.",
            "Save the generator's state_dict() instead.",
        )
    return content


# Options of a training script: attributes in a dictionary, and no code. For torch the permission is the whole
# process's; there is nothing that it lets a file do.
torch.serialization.add_safe_globals([argparse.Namespace])


def _unharmful_entries(path: Path, refused: str) -> list[str]:
    """Return the names in a zip archive, as torch.save writes, or none. GANPaintError for traps."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        return []
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
            f"{refused}: it would unpack to far more than its own size.",
            "Get the file from its source again.",
        )
    return [entry.filename for entry in entries]


def _leads_out(entry: zipfile.ZipInfo) -> bool:
    """Whether an archive was made to write elsewhere. Nothing is unpacked here, but no network needs this."""
    path = PureWindowsPath(entry.filename)  # it knows both kinds of slashes
    return bool(path.anchor) or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16)


_PLAIN: Final = re.compile(
    r"collections\.OrderedDict|argparse\.Namespace|torch\.(\w+|_utils\.\w+|storage\.\w+|serialization\._get_layout)"
    r"|(builtins|__builtin__)\.(set|bytearray|complex)|_codecs\.encode|torch\.nn\.parameter\.Parameter"
)
"""Names in a checkpoint that do not lead to a refusal."""

_RUNS: Final = re.compile(
    r"(os|posix|nt|sys|subprocess|builtins|__builtin__|importlib|runpy|shutil|socket|pickle)(\..*)?"
)
"""Modules that a file names when it is made to run something."""

_MAX_NAMES: Final = 200_000
"""Instructions of a pickle that are looked through for names."""


def _refused_objects(path: Path, refused: str) -> GANPaintError:
    """Why torch would not load a file: it asks for objects, which are named, or it is damaged."""
    asked = [name for name in _names_asked(path) if not _PLAIN.fullmatch(name)]
    runs = [name for name in asked if _RUNS.fullmatch(name.rpartition(".")[0])]
    if runs:
        return GANPaintError(
            f"{refused}: it asks for more than tensors ({runs[0][:80]!r}), which could run code.",
            "Do not open this file with anything else either, unless you trust its source.",
        )
    if any(name.startswith(("torch_utils.persistence", "dnnlib.")) for name in asked):
        return GANPaintError(
            f"{refused}: it is a pickle of NVIDIA's, which asks for more than tensors ({asked[0][:80]!r}).",
            f"Rename it to {path.stem}.pkl, and convert it, which runs no code: "
            f"`ganpaint convert {path.stem}.pkl`.",
        )
    if asked:
        return GANPaintError(
            f"{refused}: it asks for more than tensors ({asked[0][:80]!r}), as a whole pickled object does, "
            "which could run code.",
            "If you trust it, load it with its own code, and save the generator's state_dict() alone.",
        )
    return GANPaintError(
        f"{refused}: it is damaged, or not a file of PyTorch.", "Get the file from its source again."
    )


def _names_asked(path: Path) -> list[str]:
    """Return the functions and classes that the pickle in a file names, without loading it."""
    names: list[str] = []
    texts: list[str] = []  # of which STACK_GLOBAL takes the last two
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                source: Any = io.BytesIO(archive.read(inside))
        else:
            source = io.BytesIO(path.read_bytes())
        for _ in range(4):  # the older format: a magic number, a version and a system come first
            for opcode, argument, _place in islice(pickletools.genops(source), _MAX_NAMES):
                if opcode.name == "GLOBAL":
                    names.append(str(argument).replace(" ", ".", 1))
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # what follows is not a pickle any more
        return names
    return names


def checked_tensors(content: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors of a dictionary from a file, as float32, if each is one that can be used.

    Args:
        content: entries that are not tensors under a name are left out.
        source: the file's name, for messages.

    Raises:
        GANPaintError: one is larger than the memory behind it (a single stored number can claim to be a
            petabyte), is not a dense tensor, or holds a NaN or an infinity.
    """
    tensors = {}
    for name, one in content.items():
        if not (isinstance(name, str) and isinstance(one, Tensor)):
            continue
        if one.layout != torch.strided or one.is_quantized or one.is_complex() or one.device.type != "cpu":
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {source} is not a dense array of numbers.",
                "Save the generator's state_dict() as it is after training.",
            )
        if one.numel() * one.element_size() > one.untyped_storage().nbytes():
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {source} claims to be larger than what the file stores.",
                "Get the file from its source again.",
            )
        tensors[name] = one.detach().float()
        if not tensors[name].isfinite().all():
            raise GANPaintError(
                f"The tensor {name[:80]!r} in {source} holds numbers that are not finite.",
                "Get the file from its source again, or take an earlier snapshot of the training.",
            )
    return tensors


M = TypeVar("M", bound=nn.Module)


def read_module(path: Path, kind: str, make: Callable[..., M]) -> M:
    """Make a module from stored constructor arguments and weights of any float precision, for evaluation.

    The module is laid out without memory first, so that a file cannot ask for more than it holds.

    Args:
        path: a file that :func:`write_module` wrote.
        kind: what its metadata must say that it is.
        make: the module's class.

    Raises:
        GANPaintError: the file cannot be read, is of another kind, or its weights do not fit its arguments.
    """
    tensors, config = read_safetensors(path, kind)
    return module_of(path.name, make, config, tensors)


def module_of(
    source: str,
    make: Callable[..., M],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    hint: str = "Install the package again, or pass a file that was saved by this version.",
) -> M:
    """Return the same from arguments and tensors that were read already.

    Args:
        source: the file's name, for messages.
        make, config: the class and its arguments.
        tensors: all that its state dict has, and no others.
        hint: what to do if they do not fit.
    """
    unfit = f"The weights in {source} do not fit the network that the file describes"
    try:
        with torch.device("meta"):
            module = make(**config)
        wrong = _unfit(module.state_dict(), tensors)
        if wrong is None:
            whole = {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}
            module.load_state_dict(whole, assign=True)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise GANPaintError(f"{unfit}.", hint) from error
    if wrong is not None:
        raise GANPaintError(f"{unfit}: {wrong}.", hint)
    if not all(tensor.isfinite().all() for tensor in module.state_dict().values()):
        raise GANPaintError(
            f"The weights in {source} are not all finite.", "Get the file from its source again."
        )
    return channels_last(module.eval().requires_grad_(False))


def _unfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with tensors: the first that is missing, of another shape, or too many."""
    for name, tensor in expected.items():
        if name not in found:
            return f"{name!r} is missing"
        if found[name].shape != tensor.shape:
            sizes = [" x ".join(map(str, one.shape)) or "a number" for one in (found[name], tensor)]
            return f"{name!r} is {sizes[0]} and not {sizes[1]}"
    extra = next((name for name in found if name not in expected), None)
    return None if extra is None else f"it has no place for {extra[:80]!r}"


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
