"""``ganpaint convert``: NVIDIA's StyleGAN2 pickles to safetensors, without running anything that is in them.

The files of StyleGAN2-ADA's and StyleGAN3's repositories pickle their networks together with the source code
of their classes, which is executed when they are unpickled. Here nothing is unpickled. :func:`read_pickle`
walks the pickle's instructions and builds *records*: where an unpickler would call a function, it notes the
name and the arguments. There is no call that a file could reach, and a name beyond the few that such files
need is refused. Then the tensors are read out of the records, and named and scaled as in :mod:`.stylegan2`.

This module is for the command alone; nothing that runs in a session imports it.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import GANPaintError
from ..storage import write_safetensors
from .checkpoints import MAX_CHECKPOINT_BYTES, checked_tensors, module_of
from .stylegan2 import StyleGAN2, config_of

MAX_INSTRUCTIONS: Final = 2_000_000
"""A public file has fewer than 100,000; each may cost a hundred bytes of memory."""

MAX_DEPTH: Final = 32
MAX_MODULES: Final = 4096

REBUILD_TENSOR: Final = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER: Final = "torch._utils._rebuild_parameter"
LOAD_STORAGE: Final = "torch.storage._load_from_bytes"
PERSISTENT: Final = "torch_utils.persistence._reconstruct_persistent_obj"
DICTIONARIES: Final = ("collections.OrderedDict", "dnnlib.util.EasyDict")
KNOWN: Final = (
    *DICTIONARIES, REBUILD_TENSOR, REBUILD_PARAMETER, LOAD_STORAGE, PERSISTENT,
    "builtins.set", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
)  # fmt: skip
"""What a pickle may name. None of it is imported or called."""


def convert(source: Path, target: Path) -> StyleGAN2:
    """Read the generator (``G_ema``) of an NVIDIA pickle and write it as a safetensors file.

    Args:
        source: a ``.pkl`` of StyleGAN2-ADA (PyTorch), or a StyleGAN2 of the StyleGAN3 repository.
        target: the safetensors file, float32, with the configuration in its metadata.

    Returns:
        The generator, as ``load_generator(target)`` will give it.

    Raises:
        GANPaintError: the file is damaged, names anything but tensors and NVIDIA's classes, or holds another
            network: a class-conditional one, StyleGAN3, or one of the TensorFlow files.
    """
    try:
        if source.stat().st_size > MAX_CHECKPOINT_BYTES:
            raise GANPaintError(
                f"The file {source.name} has more than {MAX_CHECKPOINT_BYTES // 2**30} GB.",
                "Convert a snapshot of the networks alone.",
            )
        data = source.read_bytes()
    except OSError as error:
        raise GANPaintError(
            f"The file {source.name} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from error
    try:
        modules = list(_modules(_network(read_pickle(data)), "", [MAX_MODULES]))
        tensors, clamp = dict(_named_tensors(modules)), _clamp(modules)
    except _Refused as refused:
        raise GANPaintError(f"The file {source.name} was not converted: {refused}.", refused.hint) from None
    # Once more at the end: what was finite may no longer be after scaling.
    tensors = checked_tensors(_renamed(checked_tensors(tensors, source), source), source)
    generator = module_of(source, StyleGAN2, {**config_of(tensors), "clamp": clamp}, tensors)
    metadata = {"kind": "stylegan2", "config": json.dumps(generator.config)}
    try:
        write_safetensors(target, {n: t.contiguous() for n, t in generator.state_dict().items()}, metadata)
    except OSError as error:
        raise GANPaintError(
            f"The file {target.name} cannot be written: {error.strerror}.",
            "Choose another place with --to, or make room.",
        ) from error
    return generator


class _Refused(Exception):
    """Why a file is not converted, and what to do instead."""

    def __init__(self, why: str, hint: str = "Get the file from its source again.") -> None:
        super().__init__(why)
        self.hint = hint


# --- the pickle as records ---


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names."""

    name: str


@dataclass(frozen=True, eq=False)
class Made:
    """What a call would have made: the callable's name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


class _Mark:
    """Where the arguments of an instruction begin on the stack."""


CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXTS: Final = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(data: bytes) -> Any:
    """What a pickle (protocol 2 and newer) describes: containers, numbers, texts, bytes and records.

    Raises:
        _Refused: it is damaged, uses an instruction that networks have no need of (persistent ids, extension
            codes, instances by name), or names something that is not in :data:`KNOWN`.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        items = []
        while not isinstance(item := stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def known(name: str) -> Name:
        if name not in KNOWN:
            raise _refused_name(name)
        return Name(name)

    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count > MAX_INSTRUCTIONS:
                raise _Refused("it has far more instructions than a network needs")
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    stack.append(_Mark())
                case name if name in CONSTANTS:
                    stack.append(CONSTANTS[name])
                case name if name in NUMBERS_AND_TEXTS:
                    stack.append(argument)
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST" | "EMPTY_SET":  # of a set nothing is asked but that it can be skipped
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE":
                    stack.append(tuple(above_mark()))
                case name if name in TUPLES:
                    items = stack[-TUPLES[name] :]
                    del stack[-TUPLES[name] :]
                    stack.append(tuple(items))
                case "APPEND":
                    item = stack.pop()
                    _list(stack[-1]).append(item)
                case "APPENDS" | "ADDITEMS":
                    items = above_mark()
                    _list(stack[-1]).extend(items)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    _set(stack[-1], key, value)
                case "SETITEMS":
                    items = above_mark()
                    for key, value in zip(items[::2], items[1::2], strict=True):
                        _set(stack[-1], key, value)
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINPUT" | "LONG_BINPUT":
                    memo[_number(argument)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[_number(argument)])
                case "GLOBAL":
                    stack.append(known(str(argument).replace(" ", ".", 1)))
                case "STACK_GLOBAL":
                    name, module = stack.pop(), stack.pop()
                    stack.append(known(f"{module}.{name}"))
                case "REDUCE" | "NEWOBJ":
                    arguments, called = stack.pop(), stack.pop()
                    if not (isinstance(called, Name) and isinstance(arguments, tuple)):
                        raise _Refused("it calls something that it does not name")
                    empty = called.name in DICTIONARIES and not arguments
                    stack.append({} if empty else Made(called.name, arguments))
                case "BUILD":  # numpy's data types have a state, which is of no use here
                    stack.pop()
                    if not isinstance(stack[-1], Made):
                        raise _Refused("it sets attributes of something that has none")
                case name:
                    raise _Refused(f"it uses the instruction {name}, of which networks have no need")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _Refused("it is no pickle, or damaged") from error
    raise _Refused("it is no pickle, or damaged")


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _set(target: Any, key: Any, value: Any) -> None:
    if not isinstance(target, dict) or not isinstance(key, (str, int, float, type(None))):
        raise TypeError
    target[key] = value


def _refused_name(name: str) -> _Refused:
    if name.startswith("dnnlib.tflib"):
        return _Refused(
            "it is a TensorFlow network", "Take the PyTorch version of the same network, which NVIDIA offers."
        )
    return _Refused(
        f"it asks for {name[:80]!r}, which no StyleGAN2 needs",
        "Do not open this file with anything else either, unless you trust its source.",
    )


# --- the records as tensors ---


def _network(root: Any) -> Made:
    """``G_ema``."""
    network = root.get("G_ema") if isinstance(root, dict) else root
    if not (isinstance(network, Made) and network.name == PERSISTENT):
        raise _Refused("it holds no generator called G_ema", "Pass a network's snapshot, *.pkl.")
    return network


def _modules(
    module: Made, prefix: str, left: list[int], depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A pickled module's attributes, and those of the modules in it, each with what its names begin with."""
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise _Refused("its modules are nested deeper than a network's")
    meta = module.arguments[0] if module.arguments else None
    state = meta.get("state") if isinstance(meta, dict) else None
    if not isinstance(state, dict):
        raise _Refused("it is no pickle, or damaged")
    yield prefix, state
    for name, member in _members(state, "_modules"):
        if isinstance(member, Made) and member.name == PERSISTENT:
            yield from _modules(member, f"{prefix}{name}.", left, depth + 1)


def _members(state: dict[str, Any], kind: str) -> Iterable[tuple[str, Any]]:
    members = state.get(kind, {})
    if not isinstance(members, dict):
        raise _Refused("it is no pickle, or damaged")
    return members.items()


def _named_tensors(modules: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, by their names in NVIDIA's code."""
    for prefix, state in modules:
        for kind in ("_parameters", "_buffers"):
            for name, member in _members(state, kind):
                if member is not None:
                    yield f"{prefix}{name}", _tensor(member)


def _clamp(modules: list[tuple[str, dict[str, Any]]]) -> float | None:
    """The bound of what each layer draws, ``conv_clamp``."""
    found = {state["conv_clamp"] for _, state in modules if _is_number(state.get("conv_clamp", ""))}
    unknown = [s for _, s in modules if "conv_clamp" in s and not _is_number(s["conv_clamp"])]
    if unknown or len(found) > 1:
        raise _Refused(
            "its layers bound what they draw (conv_clamp) in different or unknown ways",
            "Only networks with one bound for all layers, or none, can be converted.",
        )
    return next(iter(found), None)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value < math.inf)


def _tensor(made: Any) -> Tensor:
    """A tensor from the record of its call."""
    if isinstance(made, Made) and made.name == REBUILD_PARAMETER and made.arguments:
        made = made.arguments[0]
    if not (isinstance(made, Made) and made.name == REBUILD_TENSOR and len(made.arguments) >= 4):
        raise _Refused("one of its tensors is described in an unknown way")
    storage, offset, size, stride = made.arguments[:4]
    whole = all(
        isinstance(numbers, tuple) and all(type(n) is int and n >= 0 for n in numbers)
        for numbers in (size, stride, (offset,))
    )
    stored = isinstance(storage, Made) and storage.name == LOAD_STORAGE and len(storage.arguments) == 1
    if not (whole and stored and isinstance(storage.arguments[0], bytes)):
        raise _Refused("one of its tensors is described in an unknown way")
    try:
        # A storage in bytes is itself a small file of torch.save: read as every other checkpoint is.
        read = torch.load(io.BytesIO(storage.arguments[0]), map_location="cpu", weights_only=True)
        flat = torch.empty(0, dtype=read.dtype).set_(read)
        if math.prod(size) > len(flat):
            raise _Refused("one of its tensors claims to be larger than what the file stores")
        return flat.as_strided(size, stride, offset)
    except _Refused:
        raise
    except Exception as error:  # the loader raises all sorts of things over bytes that are no storage
        raise _Refused("one of its tensors is damaged, or asks for more than numbers") from error


def _renamed(theirs: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """NVIDIA's names and scales to those of :mod:`.stylegan2`.

    A convolution's weights are stored there as they are used, here without ``1 / sqrt(fan in)``; the blur's
    kernel sums to one there and to four here, since it is always used after zeros were put in.
    """
    what = None
    if any(name.startswith("mapping.embed") for name in theirs):
        what = "is conditional on a class"
    elif any(name.startswith("synthesis.input.") for name in theirs):
        what = "is a StyleGAN3"
    elif "synthesis.b4.const" not in theirs or "mapping.fc0.weight" not in theirs:
        what = "is no StyleGAN2"
    if what is not None:
        raise GANPaintError(
            f"The generator in {source.name} {what}.",
            "Only unconditional StyleGAN2 generators are supported.",
        )
    ours: dict[str, Tensor] = {}
    try:
        number = 0
        while f"mapping.fc{number}.weight" in theirs:
            for kind in ("weight", "bias"):
                ours[f"style.{number + 1}.{kind}"] = theirs[f"mapping.fc{number}.{kind}"]
            number += 1
        ours["latent_avg"] = theirs["mapping.w_avg"]
        ours["input.input"] = theirs["synthesis.b4.const"][None]
        block = 0
        while f"synthesis.b{4 * 2**block}.conv1.weight" in theirs:
            at = f"synthesis.b{4 * 2**block}"
            for half in (0, 1) if block else (1,):
                index = 2 * block - 1 + half if block else 0
                ours |= _layer(theirs, f"{at}.conv{half}", f"convs.{index - 1}" if index else "conv1")
                ours[f"noises.noise_{index}"] = theirs[f"{at}.conv{half}.noise_const"][None, None]
            rgb = f"to_rgbs.{block - 1}" if block else "to_rgb1"
            ours[f"{rgb}.conv.weight"] = theirs[f"{at}.torgb.weight"][None]
            for kind in ("weight", "bias"):
                ours[f"{rgb}.conv.modulation.{kind}"] = theirs[f"{at}.torgb.affine.{kind}"]
            ours[f"{rgb}.bias"] = theirs[f"{at}.torgb.bias"].view(1, -1, 1, 1)
            if block:
                ours[f"{rgb}.upsample.kernel"] = 4 * theirs[f"{at}.resample_filter"]
                ours[f"convs.{2 * block - 2}.conv.blur.kernel"] = 4 * theirs[f"{at}.conv0.resample_filter"]
            block += 1
    except (KeyError, IndexError, RuntimeError) as error:
        raise GANPaintError(
            f"The generator in {source.name} is no complete StyleGAN2 with skip connections.",
            "Only the published configurations with architecture 'skip' are supported.",
        ) from error
    return ours


def _layer(theirs: Mapping[str, Tensor], at: str, to: str) -> dict[str, Tensor]:
    weight = theirs[f"{at}.weight"]
    return {
        f"{to}.conv.weight": weight[None] * math.sqrt(weight[0].numel()),
        f"{to}.conv.modulation.weight": theirs[f"{at}.affine.weight"],
        f"{to}.conv.modulation.bias": theirs[f"{at}.affine.bias"],
        f"{to}.noise.weight": theirs[f"{at}.noise_strength"].view(1),
        f"{to}.activate.bias": theirs[f"{at}.bias"],
    }
