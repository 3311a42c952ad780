"""Do hostile files stay harmless? Damaged and forged checkpoints, given to everything that reads one.

    python -m benchmarks.fuzz [--count 50000] [--seed 0] [--processes 1] [--only NUMBER] [--json FILE]

Each input begins as a good file in one of the layouts that public checkpoints come in (PyTorch's present and
its older format, safetensors of this package and of others, an NVIDIA pickle), and is then damaged: bytes
changed, cut out, put in, doubled, taken from another file; numbers made enormous; pickles given instructions
that would run a program; tensors given NaN and wrong shapes; zip archives repacked around the damage, so
that it is found behind the checksums. What reads it must return a generator whose tensors are finite, or
raise ``GANPaintError``. Nothing may run: a canary file says so. An input is made from its number alone, so
that ``--only NUMBER`` repeats it.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import pickle
import random
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from benchmarks.figures import Figure, Report, parser
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models.convert import convert
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.reading import read_generator
from ganpaint_widget.models.stylegan2 import StyleGAN2

SLOWEST = 10.0
"""Seconds of computing that reading one input may take."""

# --- good files ---


@cache
def good_files() -> list[tuple[str, bytes]]:
    """One small file of each layout: suffix and bytes."""
    torch.manual_seed(0)
    progan, stylegan2 = ProGAN(4, (8, 8, 4)), StyleGAN2((6, 5, 4), 5, 7, 2)
    wrapped = {"g_ema": stylegan2.state_dict(), "latent_avg": torch.zeros(7)}
    ours = {"kind": "generator", "config": json.dumps(progan.config)}
    styled = {"kind": "stylegan2", "config": json.dumps(stylegan2.config)}

    def of_torch(content: Any, present: bool) -> bytes:
        target = io.BytesIO()
        torch.save(content, target, _use_new_zipfile_serialization=present)
        return target.getvalue()

    def of_safetensors(module: torch.nn.Module, metadata: dict[str, str] | None = None) -> bytes:
        return safetensors_bytes({n: t.contiguous() for n, t in module.state_dict().items()}, metadata)

    return [
        (".pth", of_torch(progan.state_dict(), True)),
        (".pth", of_torch({"state_dict": progan.state_dict()}, False)),
        (".pt", of_torch(wrapped, True)),
        (".safetensors", of_safetensors(progan, ours)),
        (".safetensors", of_safetensors(stylegan2, styled)),
        (".safetensors", of_safetensors(progan)),
        (".pkl", nvidia_pickle()),
    ]


def nvidia_pickle() -> bytes:
    """Return a StyleGAN2 snapshot as NVIDIA's code pickles one, made without that code."""
    channels, latent, style = (6, 5), 5, 7
    found = {"mapping.w_avg": torch.zeros(style)}
    for number, inputs in enumerate((latent, style)):
        found[f"mapping.fc{number}.weight"] = torch.randn(style, inputs)
        found[f"mapping.fc{number}.bias"] = torch.zeros(style)
    blur = torch.ones(4, 4) / 16
    for block, width in enumerate((*channels, 4)):
        at = f"synthesis.b{4 * 2**block}"
        found[f"{at}.resample_filter"] = blur
        if block == 0:
            found[f"{at}.const"] = torch.randn(width, 4, 4)
        for half in (0, 1) if block else (1,):
            inputs = channels[block - 1] if half == 0 else width
            found[f"{at}.conv{half}.weight"] = torch.randn(width, inputs, 3, 3)
            found[f"{at}.conv{half}.bias"] = torch.zeros(width)
            found[f"{at}.conv{half}.noise_const"] = torch.randn(4 * 2**block, 4 * 2**block)
            found[f"{at}.conv{half}.noise_strength"] = torch.zeros(())
            found[f"{at}.conv{half}.affine.weight"] = torch.randn(inputs, style)
            found[f"{at}.conv{half}.affine.bias"] = torch.ones(inputs)
            if half == 0:
                found[f"{at}.conv{half}.resample_filter"] = blur
        found[f"{at}.torgb.weight"], found[f"{at}.torgb.bias"] = torch.randn(3, width, 1, 1), torch.zeros(3)
        found[f"{at}.torgb.affine.weight"] = torch.randn(width, style)
        found[f"{at}.torgb.affine.bias"] = torch.ones(width)
    with nvidia_names() as (reconstruct, easy):

        class Persistent:
            def __init__(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
                here = {n: t for n, t in tensors.items() if "." not in n}
                under: dict[str, dict[str, torch.Tensor]] = {}
                for full, tensor in tensors.items():
                    if "." in full:
                        part, rest = full.split(".", 1)
                        under.setdefault(part, {})[rest] = tensor
                modules = OrderedDict((part, Persistent(part, inside)) for part, inside in under.items())
                state = {"_parameters": OrderedDict(), "_buffers": OrderedDict(here), "_modules": modules}
                self.meta = easy(type="class", version=6, module_src="", class_name=name, state=state)

            def __reduce__(self) -> Any:
                return reconstruct, (self.meta,)

        return pickle.dumps({"G_ema": Persistent("Generator", found)}, protocol=4)


@contextlib.contextmanager
def nvidia_names() -> Any:
    """Provide a function and a class under the names that such pickles refer to, for writing only."""

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("a pickle's function was called")

    class EasyDict(dict[str, Any]):
        pass

    names = ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    try:
        for name in names:
            sys.modules[name] = ModuleType(name)
        for made, home in ((_reconstruct_persistent_obj, names[1]), (EasyDict, names[3])):
            made.__module__, made.__qualname__ = home, made.__name__
            setattr(sys.modules[home], made.__name__, made)
        yield _reconstruct_persistent_obj, EasyDict
    finally:
        for name in names:
            sys.modules.pop(name, None)


# --- damage ---


def payloads(canary: Path) -> list[bytes]:
    """Pickle instructions that would leave a canary if anything carried them out."""
    touch, run = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    calls = [
        ("os", "system", touch),
        ("posix", "system", touch),
        ("builtins", "eval", run),
        ("builtins", "exec", run),
        ("subprocess", "getoutput", touch),
        ("torch.serialization", "load", str(canary)),
    ]
    made = [f"c{module}\n{name}\n(V{text}\ntR".encode() for module, name, text in calls]
    inner = f"cbuiltins\ngetattr\n(cos\nV\nVsystem\ntR(V{touch}\ntR".encode()
    persistent = f"(V{touch}\nVx\ntQ".encode()
    instance = f"(V{touch}\nios\nsystem\n".encode()
    return [*made, inner, persistent, instance]


def damaged(data: bytes, source: random.Random, canary: Path) -> bytes:
    """One to four injuries of a file."""
    bad = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(bad) + 1)
        length = min(source.choice([1, 1, 2, 4, 8, 64, 512]), len(bad) - at)
        match source.randrange(9):
            case 0 | 1:
                bad[at : at + length] = source.randbytes(length)
            case 2:
                if length:
                    bad[at] ^= 1 << source.randrange(8)
            case 3:
                del bad[at : at + length]
            case 4:
                bad[at:at] = source.randbytes(length)
            case 5:
                bad[at:at] = bad[at : at + length] * source.randint(1, 3)
            case 6:
                huge = source.choice([2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1, 0])
                bad[at : at + 8] = struct.pack("<Q", huge)
            case 7:
                other = source.choice(good_files())[1]
                begin = source.randrange(len(other))
                bad[at : at + length] = other[begin : begin + source.randint(1, 512)]
            case 8:
                bad[at:at] = source.choice(payloads(canary))
        if source.random() < 0.1:
            del bad[source.randrange(len(bad) + 1) :]
        if not bad:
            break
    return bytes(bad)


def repacked(data: bytes, source: random.Random, canary: Path) -> bytes:
    """Return a zip archive with one of its files damaged or renamed, and its checksums right again."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w") as fresh:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("data.pkl")]
        chosen = source.choice(names if source.random() < 0.3 else pickles)
        for name in names:
            inside = archive.read(name)
            if name == chosen:
                inside = damaged(inside, source, canary)
                if source.random() < 0.1:
                    name = source.choice(["../" * 3 + "evil", "/tmp/evil", f"{name}\0", "evil/data.pkl"])
            how = zipfile.ZIP_DEFLATED if source.random() < 0.05 else zipfile.ZIP_STORED
            fresh.writestr(zipfile.ZipInfo(name), inside, how)
    return target.getvalue()


def reheaded(data: bytes, source: random.Random) -> bytes:
    """Return a safetensors file whose header says something else of one tensor, or of the network."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    name = source.choice(list(header))
    if name == "__metadata__":
        config = json.loads(header[name].get("config", "{}"))
        values: list[Any] = [-1, 0, 10**9, 1e308, None, "x", [10**6] * 3, [], [[1]], {}]
        config[source.choice([*config, "surprise"])] = source.choice(values)
        header[name]["config"] = json.dumps(config)
    else:
        entry = header[name]
        shapes = [[-1], [0], [2**62], [2**32, 2**32], [1] * 70, [], entry["shape"][::-1]]
        offsets = [[0, 2**63], [2**40, 0], [-1, 4], [0, 0]]
        match source.randrange(4):
            case 0:
                entry["shape"] = source.choice(shapes)
            case 1:
                entry["data_offsets"] = source.choice(offsets)
            case 2:
                entry["dtype"] = source.choice(["F64", "BOOL", "I64", "F8_E4M3", "nonsense"])
            case 3:
                header[source.choice(["surprise", name + ".x", ""])] = header.pop(name)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def poisoned(suffix: str, source: random.Random) -> tuple[str, bytes]:
    """Return a well-formed file whose tensors are not what a network's are."""
    torch.manual_seed(source.randrange(2**31))
    state = dict(ProGAN(4, (8, 8, 4)).state_dict())
    name = source.choice(list(state))
    bad = [
        torch.full_like(state[name], float("nan")),
        torch.full_like(state[name], float("inf")),
        torch.zeros(source.choice([(0,), (1,), (2, 3), (8, 8, 3, 3, 1)])),
        torch.zeros(1).expand(1 << source.choice([10, 40])),
        torch.zeros(3, dtype=source.choice([torch.complex64, torch.bool, torch.int64])),
        torch.zeros(3).to_sparse(),
        torch.full_like(state[name], 3e38),
    ]
    state[name] = source.choice(bad)
    target = io.BytesIO()
    torch.save({source.choice(["g_ema", "state_dict"]): state}, target)
    return suffix, target.getvalue()


def made(seed: int, number: int, canary: Path) -> tuple[str, bytes]:
    """Input ``number``: the suffix under which it is read, and its bytes."""
    source = random.Random(f"{seed}/{number}")
    suffix, data = source.choice(good_files())
    chance = source.random()
    if chance < 0.05:
        suffix, data = poisoned(".pth", source)
    elif chance < 0.10:
        data = source.randbytes(source.randrange(2000))
    elif chance < 0.45 and data[:2] == b"PK":
        data = repacked(data, source, canary)
    elif chance < 0.45 and suffix == ".safetensors":
        data = reheaded(data, source)
    else:
        data = damaged(data, source, canary)
    if source.random() < 0.05:
        suffix = source.choice([one for one, _ in good_files()])
    return suffix, data


# --- reading ---


@dataclass
class Outcome:
    """What became of the inputs of one process."""

    refused: int = 0
    read: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    failures: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


def readers(suffix: str) -> list[Callable[[Path], Any]]:
    """Pass such a file to its reader."""
    if suffix == ".pkl":
        return [lambda path: convert(path, path.with_name("converted.safetensors")), read_generator]
    return [read_generator]


def run(seed: int, numbers: range) -> Outcome:
    """Make and read the inputs of these numbers."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary"
        for number in numbers:
            suffix, data = made(seed, number, canary)
            path = Path(folder) / f"input{suffix}"
            path.write_bytes(data)
            outcome.kinds[suffix] += 1
            for reader in readers(suffix):
                began = time.process_time()
                try:
                    generator = reader(path)
                    if not all(one.isfinite().all() for one in generator.state_dict().values()):
                        outcome.failures.append(f"{number}: a generator with NaN or infinity was returned")
                    outcome.read += 1
                except GANPaintError:
                    outcome.refused += 1
                except BaseException as error:
                    outcome.failures.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
                outcome.slowest = max(outcome.slowest, (time.process_time() - began, number))
            left = {one.name for one in Path(folder).iterdir()} - {path.name, "converted.safetensors"}
            if left:
                outcome.failures.append(f"{number}: it left {', '.join(sorted(left))}")
                for name in left:
                    (Path(folder) / name).unlink()
            path.unlink()
    return outcome


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=50_000, help="inputs (50000)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--only", type=int, help="one input alone, by its number")
    chosen = options.parse_args()
    if chosen.only is not None:
        print(run(chosen.seed, range(chosen.only, chosen.only + 1)))
        return 0
    # In processes of their own: what crashes the interpreter is found, too.
    parts = [range(at, min(at + 1000, chosen.count)) for at in range(0, chosen.count, 1000)]
    whole = Outcome()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.processes, spawn) as pool:
        for part, future in [(part, pool.submit(run, chosen.seed, part)) for part in parts]:
            one = future.result()
            whole.read, whole.refused = whole.read + one.read, whole.refused + one.refused
            whole.slowest = max(whole.slowest, one.slowest)
            whole.failures += one.failures
            whole.kinds += one.kinds
            print(f"{part.stop} inputs, {len(whole.failures)} failures", file=sys.stderr, flush=True)
    for failure in whole.failures:
        print(failure)
    report = Report()
    report.add(Figure("inputs", sum(whole.kinds.values()), note=str(dict(whole.kinds))))
    report.add(Figure("refused", whole.refused))
    report.add(Figure("read", whole.read, note="what was changed does not show, or is only a number"))
    report.add(Figure("failures", len(whole.failures), high=0))
    seconds, number = whole.slowest
    report.add(Figure("slowest", seconds, high=SLOWEST, note=f"seconds of computing, for number {number}"))
    return report.finish(chosen, failures=whole.failures)


if __name__ == "__main__":
    sys.exit(main())
