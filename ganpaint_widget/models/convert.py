"""``ganpaint convert``: checkpoints to safetensors, and of NVIDIA's pickles nothing is run.

The files of StyleGAN2-ADA's and StyleGAN3's repositories pickle their networks together with the source code
of their classes, which is executed when they are unpickled; so do those of the older TensorFlow repository.
Here nothing is unpickled. :func:`read_pickle` walks the pickle's instructions and builds *records*: where an
unpickler would call a function, it notes the name and the arguments. A file therefore cannot reach any call,
and a name beyond the few that such files need is refused. Then the tensors are read out of the records, and
named and scaled as in :mod:`.stylegan2` (by :mod:`.nvidia`).

This module is for the commands ``convert`` and ``fetch`` alone; nothing that runs in a session imports it.
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

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import GANPaintError
from ..storage import explained_writing, write_safetensors
from .checkpoints import MAX_CHECKPOINT_BYTES, checked_tensors, module_of
from .layouts import WRAP
from .nvidia import own_names, pytorch_names
from .progan import ProGAN
from .reading import PICKLES, read_generator
from .stylegan2 import StyleGAN2, config_of

MAX_INSTRUCTIONS: Final = 2_000_000
"""A public file has fewer than 100,000; each may cost a hundred bytes of memory."""

MAX_DEPTH: Final = 32
MAX_MODULES: Final = 4096

REBUILD_TENSOR: Final = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER: Final = "torch._utils._rebuild_parameter"
LOAD_STORAGE: Final = "torch.storage._load_from_bytes"
PERSISTENT: Final = "torch_utils.persistence._reconstruct_persistent_obj"
TENSORFLOW: Final = "dnnlib.tflib.network.Network"
DICTIONARIES: Final = ("collections.OrderedDict", "dnnlib.util.EasyDict")
# What NumPy calls to make an array or a number, under the names of its releases before 2 and since.
ARRAYS: Final = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
BUFFERS: Final = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
SCALARS: Final = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
DTYPE, ENCODE = "numpy.dtype", "_codecs.encode"
KNOWN: Final = (
    *DICTIONARIES, REBUILD_TENSOR, REBUILD_PARAMETER, LOAD_STORAGE, PERSISTENT, TENSORFLOW, *ARRAYS, *BUFFERS,
    *SCALARS, DTYPE, ENCODE, "numpy.ndarray", "builtins.set", "__builtin__.set",
)  # fmt: skip
"""What a pickle may name. None of it is imported or called."""


def convert(source: Path, target: Path) -> StyleGAN2 | ProGAN:
    """Write the generator of a checkpoint as a safetensors file: small, quick to read, and free of code.

    Args:
        source: a ``.pkl`` of StyleGAN2-ADA (PyTorch), a StyleGAN2 of the StyleGAN3 repository or of NVIDIA's
            TensorFlow repository, of which it is the moving average (``G_ema``, ``Gs``); or any other
            checkpoint that :func:`.reading.read_generator` knows.
        target: the safetensors file, float32, with the configuration in its metadata.

    Returns:
        The generator, as ``load_generator(target)`` will give it.

    Raises:
        GANPaintError: the file is damaged, names anything but tensors and NVIDIA's classes, or holds another
            network, such as a class-conditional one or a StyleGAN3.
    """
    generator = read_pickled(source) if source.suffix in PICKLES else read_generator(source)
    assert isinstance(generator, StyleGAN2 | ProGAN)
    write_generator(target, generator)
    return generator


def write_generator(target: Path, generator: StyleGAN2 | ProGAN) -> None:
    """Write a generator as a float32 safetensors file. GANPaintError if that fails."""
    kind = "stylegan2" if isinstance(generator, StyleGAN2) else "generator"
    metadata = {"kind": kind, "config": json.dumps(generator.config)}
    tensors = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    with explained_writing("The generator", target, "Choose another place with --output, or make room."):
        write_safetensors(target, tensors, metadata)


def read_pickled(source: Path) -> StyleGAN2:
    """Return the generator in a pickle of NVIDIA's. GANPaintError as in :func:`convert`."""
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
        root = read_pickle(data)
        del data  # what the records need of it they hold
        older = _tensorflow_network(root)
        if older is not None:
            tensors, clamp = _tensorflow_tensors(older)
        else:
            modules = list(_modules(_network(root), "", [MAX_MODULES]))
            tensors, clamp = dict(_named_tensors(modules)), _clamp(modules)
    except _Refused as refused:
        raise GANPaintError(f"The file {source.name} was not converted: {refused}.", refused.hint) from None
    # Once more at the end: what was finite may no longer be after scaling.
    tensors = checked_tensors(own_names(checked_tensors(tensors, source.name), source.name), source.name)
    return module_of(source.name, StyleGAN2, {**config_of(tensors), "clamp": clamp}, tensors)


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


@dataclass(eq=False)
class Made:
    """What a call would have made: the callable's name and its arguments, and the state it would be given."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


class _Mark:
    """Where the arguments of an instruction begin on the stack."""


CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXTS: Final = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "LONG4",
    "BINSTRING", "SHORT_BINSTRING",  # Python 2's, which are bytes: pickletools reads them as Latin-1
}  # fmt: skip
TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(data: bytes) -> Any:
    """Return what a pickle (protocol 2 and newer) describes: containers, numbers, texts, bytes and records.

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
                case "BUILD":  # the state of a network, an array, a data type
                    state, owner = stack.pop(), stack[-1]
                    if not isinstance(owner, Made) or owner.state is not None:
                        raise _Refused("it sets attributes of something that has none")
                    owner.state = state
                case name:
                    raise _Refused(f"it uses the instruction {name}, of which networks have no need")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _Refused("it is damaged, or not a pickle") from error
    raise _Refused("it is damaged, or not a pickle")


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
    module = name.rpartition(".")[0]
    if module == "tfutil" or name == "network.Network":
        return _Refused(
            "it is a ProGAN of NVIDIA's oldest TensorFlow code",
            "Get the PyTorch version of the same network: `ganpaint fetch --list`.",
        )
    if module.startswith(("torch.nn.modules", "training.", "networks", "model")):
        return _Refused(
            f"it is a whole pickled network ({name[:80]!r}), which only its own code can load",
            "If you trust it, load it with its own code, and save the generator's state_dict().",
        )
    return _Refused(
        f"it asks for {name[:80]!r}, which no StyleGAN2 needs",
        "Do not open this file with anything else either, unless you trust its source.",
    )


# --- the records as tensors ---


def _network(root: Any) -> Made:
    """``G_ema`` of a PyTorch pickle."""
    network = root.get("G_ema") if isinstance(root, dict) else root
    if not (isinstance(network, Made) and network.name == PERSISTENT):
        raise _Refused("it holds no generator called G_ema", "Pass a network's snapshot, *.pkl.")
    return network


def _modules(
    module: Made, prefix: str, left: list[int], depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the attributes of a pickled module and of the modules in it, each with its names' prefix."""
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise _Refused("its modules are nested deeper than a network's")
    meta = module.arguments[0] if module.arguments else None
    state = meta.get("state") if isinstance(meta, dict) else None
    if not isinstance(state, dict):
        raise _Refused("it is damaged, or not a pickle")
    yield prefix, state
    for name, member in _members(state, "_modules"):
        if isinstance(member, Made) and member.name == PERSISTENT:
            yield from _modules(member, f"{prefix}{name}.", left, depth + 1)


def _members(state: dict[str, Any], kind: str) -> Iterable[tuple[str, Any]]:
    members = state.get(kind, {})
    if not isinstance(members, dict):
        raise _Refused("it is damaged, or not a pickle")
    return members.items()


def _named_tensors(modules: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, by their names in NVIDIA's code."""
    for prefix, state in modules:
        for kind in ("_parameters", "_buffers"):
            for name, member in _members(state, kind):
                if member is not None:
                    yield f"{prefix}{name}", _tensor(member)


def _clamp(modules: list[tuple[str, dict[str, Any]]]) -> float | None:
    """Return the bound of what each layer draws, ``conv_clamp``."""
    found = {state["conv_clamp"] for _, state in modules if _is_number(state.get("conv_clamp", ""))}
    unknown = [s for _, s in modules if "conv_clamp" in s and not _is_number(s["conv_clamp"])]
    if unknown or len(found) > 1:
        raise _Refused(
            "its layers bound what they draw (conv_clamp) in different or unknown ways",
            WRAP,
        )
    return next(iter(found), None)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value < math.inf)


def _tensor(made: Any) -> Tensor:
    """Return a tensor from the record of its call."""
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
    except Exception as error:  # the loader raises all sorts of exceptions over bytes that are not a storage
        raise _Refused("one of its tensors is damaged, or asks for more than numbers") from error


# --- TensorFlow's networks ---

# Whatever does not stand here changes what is drawn in a way that nobody has looked at.
OPTIONS: Final[Mapping[str, tuple[Any, ...]]] = {
    "label_size": (0, None),
    "num_channels": (3,),
    "architecture": ("skip",),
    "mapping_nonlinearity": ("lrelu",),
    "mapping_lrmul": (0.01,),
    "nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "use_noise": (True,),
}
"""By option of the network: the values with which :class:`.StyleGAN2` draws the same."""
OTHER_OPTIONS: Final = (
    "latent_size", "label_fmaps", "dlatent_size", "resolution", "mapping_layers", "mapping_fmaps",
    "w_avg_beta", "fmap_base", "fmap_max", "fmap_decay", "fmap_min", "num_fp16_res", "conv_clamp",
    "resample_kernel", "truncation_psi", "truncation_cutoff", "style_mixing_prob", "structure",
    "randomize_noise", "dtype", "dlatent_avg_beta", "fused_modconv",
)  # fmt: skip
"""Options that the shapes of the tensors show, that are read below, or that only training looks at."""


def _tensorflow_network(root: Any) -> Made | None:
    """``Gs`` of (G, D, Gs), or the one network of a pickle; ``None`` for PyTorch's."""
    networks = root if isinstance(root, (tuple, list)) else (root,)
    if not all(isinstance(one, Made) and one.name == TENSORFLOW for one in networks):
        return None
    if len(networks) not in (1, 3):
        raise _Refused("it holds no generator", "Pass the pickle of a whole training: G, D and Gs.")
    found = networks[-1]
    assert isinstance(found, Made)
    return found


def _tensorflow_tensors(network: Made) -> tuple[dict[str, Tensor], float | None]:
    """Return a network of NVIDIA's TensorFlow code under its PyTorch code's names, and its conv_clamp."""
    state = _state(network)
    version, options = _plain(state.get("version")), state.get("static_kwargs")
    if not isinstance(version, int) or not isinstance(options, dict):
        raise _Refused("it is damaged, or not a pickle")
    if version < 4:
        raise _Refused(
            f"it is a network of the first StyleGAN (version {version})",
            "Only StyleGAN2 is read: `ganpaint fetch --list` names NVIDIA's networks of it.",
        )
    for name, value in options.items():
        if name in OPTIONS and _plain(value) not in OPTIONS[name]:
            raise _Refused(
                _WHY.get(name, f"its option {str(name)[:40]} is {str(_plain(value))[:40]!r}"),
                WRAP,
            )
        if name not in OPTIONS and name not in OTHER_OPTIONS:
            raise _Refused(
                f"it was built with the option {str(name)[:40]!r}, which NVIDIA's networks do not have",
                "Load it with its own code, and wrap it as a StagedGenerator: docs/bring_a_gan.md shows how.",
            )
    clamp, kernel = _plain(options.get("conv_clamp")), options.get("resample_kernel", [1, 3, 3, 1])
    if not _is_number(clamp):
        raise _Refused("its layers bound what they draw (conv_clamp) in an unknown way")
    row = [_plain(one) for one in kernel] if isinstance(kernel, (list, tuple)) else []
    if len(row) != 4 or not all(_is_number(one) and one is not None for one in row):
        raise _Refused("it blurs by another kernel than four numbers (resample_kernel)")
    variables = dict(_variables(network, "", [MAX_MODULES]))
    try:
        return pytorch_names(variables, row), clamp
    except (KeyError, IndexError, RuntimeError) as error:
        raise _Refused(
            f"it is not a complete StyleGAN2 ({str(error)[:60]})",
            WRAP,
        ) from error


_WHY: Final = {
    "label_size": "its generator is conditional on a class",
    "num_channels": "its generator draws other pictures than RGB",
}


def _state(network: Any) -> dict[str, Any]:
    if not (isinstance(network, Made) and network.name == TENSORFLOW and isinstance(network.state, dict)):
        raise _Refused("it is damaged, or not a pickle")
    return network.state


def _variables(network: Any, prefix: str, left: list[int], depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the variables of a network and of the networks in it, each with the prefix of its names."""
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise _Refused("its networks are nested deeper than a generator's")
    state = _state(network)
    variables, components = state.get("variables"), state.get("components", {})
    if not isinstance(variables, list) or not isinstance(components, dict):
        raise _Refused("it is damaged, or not a pickle")
    for one in variables:
        if not (isinstance(one, (tuple, list)) and len(one) == 2 and isinstance(one[0], str)):
            raise _Refused("it is damaged, or not a pickle")
        left[0] -= 1
        if left[0] < 0:
            raise _Refused("it has more variables than a generator")
        yield prefix + one[0], torch.from_numpy(_array(one[1]).astype(np.float32))
    for name, component in components.items():
        yield from _variables(component, f"{prefix}{name}/", left, depth + 1)


def _plain(value: Any) -> Any:
    """Return a number or a text as Python has it, if it was one of NumPy's."""
    return _array(value).item() if isinstance(value, Made) and value.name in SCALARS else value


def _array(made: Any) -> npt.NDArray[Any]:
    """Return an array, or a number of no dimensions, from the record of NumPy's call."""
    damaged = _Refused("one of its arrays is described in an unknown way")
    if isinstance(made, (int, float)):
        return np.asarray(made)
    if not isinstance(made, Made):
        raise damaged
    if made.name in SCALARS and len(made.arguments) == 2:
        shape: Any = ()
        (kind, raw), columns = made.arguments, False
    elif made.name in BUFFERS and len(made.arguments) == 4:
        raw, kind, shape, order = made.arguments
        columns = order == "F"
    elif made.name in ARRAYS and isinstance(made.state, tuple) and len(made.state) == 5:
        _, shape, kind, columns, raw = made.state
    else:
        raise damaged
    data, dtype = _bytes(raw), _dtype(kind)
    sizes = isinstance(shape, tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
    if data is None or dtype is None or not sizes or math.prod(shape) * dtype.itemsize != len(data):
        raise damaged
    return np.frombuffer(data, dtype).reshape(shape, order="F" if columns else "C")


def _bytes(raw: Any) -> bytes | None:
    """Return what Python 2 and old protocols wrote as text, and the others as bytes."""
    if (
        isinstance(raw, Made)
        and raw.name == ENCODE
        and raw.arguments
        and raw.arguments[-1] in ("latin1", "latin-1")
    ):
        raw = raw.arguments[0]
    try:
        return (
            raw.encode("latin-1")
            if isinstance(raw, str)
            else bytes(raw)
            if isinstance(raw, (bytes, bytearray))
            else None
        )
    except UnicodeEncodeError:
        return None


def _dtype(made: Any) -> np.dtype[Any] | None:
    """Return a data type of plain numbers from the record of its call, and the byte order from its state."""
    if not (isinstance(made, Made) and made.name == DTYPE and made.arguments):
        return None
    code, state = made.arguments[0], made.state
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        return None
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    return np.dtype(code).newbyteorder(order) if order in ("<", ">", "=", "|") else None
