"""NVIDIA's pickles: converted exactly, and read without running anything that is in them.

The pickles are made here without NVIDIA's code: objects that reduce as theirs do, under the same names.
"""

from __future__ import annotations

import ast
import importlib
import io
import math
import os
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from references import upfirdn
from torch import nn
from typer.testing import CliRunner

import ganpaint_widget
from ganpaint_widget.cli import app
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import registry
from ganpaint_widget.models.convert import convert
from ganpaint_widget.models.stylegan2 import StyleGAN2

CHANNELS, LATENT, STYLE = (6, 5, 4), 5, 7


class Persistent:
    """A module as NVIDIA's decorator pickles it: the source of its class, and its state."""

    def __init__(self, name: str, tensors: dict[str, torch.Tensor], clamp: Any = None) -> None:
        here = {n: t for n, t in tensors.items() if "." not in n}
        parts = OrderedDict.fromkeys(n.split(".", 1)[0] for n in tensors if "." in n)
        buffers = ("w_avg", "noise_const", "resample_filter")
        modules = {
            part: Persistent(
                part,
                {n.split(".", 1)[1]: t for n, t in tensors.items() if n.startswith(f"{part}.")},
                clamp,
            )
            for part in parts
        }
        self.meta = sys.modules["dnnlib.util"].EasyDict(
            type="class",
            version=6,
            module_src="import os\nos.system('false')  # run by NVIDIA's unpickler",
            class_name=name,
            state={
                "training": False,
                "_parameters": OrderedDict((n, nn.Parameter(t)) for n, t in here.items() if n not in buffers),
                "_buffers": OrderedDict((n, t) for n, t in here.items() if n in buffers),
                "_non_persistent_buffers_set": set(),
                "_modules": OrderedDict(modules),
                "_init_args": (),
                "_init_kwargs": sys.modules["dnnlib.util"].EasyDict(z_dim=LATENT, c_dim=np.int64(0), lr=0.5),
                "img_resolution": np.float32(16),
                **({"conv_clamp": clamp} if name.startswith(("conv", "torgb")) else {}),
            },
        )

    def __reduce__(self) -> Any:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the names that such pickles refer to, for writing them only."""
    for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("a pickle's function was called")

    class EasyDict(dict):
        pass

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    sys.modules["dnnlib.util"].EasyDict = EasyDict


def tensors() -> dict[str, torch.Tensor]:
    """A StyleGAN2's tensors under NVIDIA's names, random."""
    source = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=source)

    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    found = {"mapping.w_avg": drawn(STYLE)}
    for n, inputs in enumerate((LATENT, STYLE)):
        found[f"mapping.fc{n}.weight"], found[f"mapping.fc{n}.bias"] = (
            100 * drawn(STYLE, inputs),
            drawn(STYLE),
        )
    for block, channels in enumerate(CHANNELS):
        size = 4 * 2**block
        at = f"synthesis.b{size}"
        found[f"{at}.resample_filter"] = row[:, None] * row / 64 + 0.01 * drawn(4, 4)
        if block == 0:
            found[f"{at}.const"] = drawn(channels, 4, 4)
        for half in (0, 1) if block else (1,):
            inputs = CHANNELS[block - 1] if half == 0 else channels
            layer = f"{at}.conv{half}"
            found[f"{layer}.weight"], found[f"{layer}.bias"] = drawn(channels, inputs, 3, 3), drawn(channels)
            found[f"{layer}.noise_const"], found[f"{layer}.noise_strength"] = drawn(size, size), drawn()
            found[f"{layer}.affine.weight"] = drawn(inputs, STYLE)
            found[f"{layer}.affine.bias"] = 1 + 0.1 * drawn(inputs)
            if half == 0:
                found[f"{layer}.resample_filter"] = row[:, None] * row / 64 + 0.01 * drawn(4, 4)
        found[f"{at}.torgb.weight"], found[f"{at}.torgb.bias"] = drawn(3, channels, 1, 1), drawn(3)
        found[f"{at}.torgb.affine.weight"] = drawn(channels, STYLE)
        found[f"{at}.torgb.affine.bias"] = 1 + 0.1 * drawn(channels)
    return found


def reference(theirs: dict[str, torch.Tensor], z: torch.Tensor, clamp: float = math.inf) -> torch.Tensor:
    """StyleGAN2 by NVIDIA's own conventions: no scale on demodulated weights, blurs with a gain of four."""
    d = {name: tensor.double() for name, tensor in theirs.items()}

    def lrelu(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    def affine(at: str, w: torch.Tensor) -> torch.Tensor:
        return d[f"{at}.affine.weight"] @ w / math.sqrt(STYLE) + d[f"{at}.affine.bias"]

    def layer(at: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        kernel = d[f"{at}.weight"] * affine(at, w)[None, :, None, None]
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if f"{at}.resample_filter" in d:
            spread = torch.conv_transpose2d(x[None], kernel.transpose(0, 1), stride=2)[0]
            x = upfirdn(spread, 4 * d[f"{at}.resample_filter"], 1, 1, 1)
        else:
            x = torch.conv2d(x[None], kernel, padding=1)[0]
        x = x + d[f"{at}.noise_const"] * d[f"{at}.noise_strength"] + d[f"{at}.bias"][:, None, None]
        return lrelu(x).clamp(-clamp, clamp)

    pictures = []
    for w in z.double():
        w = w / (w.square().mean() + 1e-8).sqrt()
        for n in (0, 1):
            matrix = d[f"mapping.fc{n}.weight"]
            w = lrelu(matrix @ w * 0.01 / math.sqrt(matrix.shape[1]) + 0.01 * d[f"mapping.fc{n}.bias"])
        x, picture = d["synthesis.b4.const"], None
        for block in range(len(CHANNELS)):
            at = f"synthesis.b{4 * 2**block}"
            for half in (0, 1) if block else (1,):
                x = layer(f"{at}.conv{half}", x, w)
            style = affine(f"{at}.torgb", w) / math.sqrt(len(x))
            rgb = torch.einsum("oi,ihw->ohw", d[f"{at}.torgb.weight"][:, :, 0, 0] * style, x)
            rgb = (rgb + d[f"{at}.torgb.bias"][:, None, None]).clamp(-clamp, clamp)
            if picture is not None:
                rgb = rgb + upfirdn(picture, 4 * d[f"{at}.resample_filter"], 2, 2, 1)
            picture = rgb
        pictures.append(picture)
    return torch.stack(pictures)


def snapshot(path: Path, theirs: dict[str, torch.Tensor], protocol: int = 4, clamp: Any = None) -> Path:
    network = Persistent("Generator", theirs, clamp)
    content = {
        "G": None,
        "D": Persistent("Discriminator", {"b4.out.weight": torch.zeros(1)}),
        "G_ema": network,
    }
    path.write_bytes(pickle.dumps({**content, "augment_pipe": None}, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_converted_network_draws_the_same(tmp_path: Path, nvidia: None, protocol: int) -> None:
    theirs = tensors()
    source, target = snapshot(tmp_path / "net.pkl", theirs, protocol), tmp_path / "net.safetensors"
    convert(source, target)
    generator = registry.load_generator(target)
    assert isinstance(generator, StyleGAN2)
    z = generator.sample_z(2, seed=3)
    expected = reference(theirs, z)
    with torch.no_grad():
        found = generator(z).double()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert torch.equal(generator.latent_avg, theirs["mapping.w_avg"])


def test_the_bound_of_what_layers_draw_is_kept(tmp_path: Path, nvidia: None) -> None:
    theirs = tensors()
    source, target = snapshot(tmp_path / "net.pkl", theirs, clamp=1.5), tmp_path / "net.safetensors"
    convert(source, target)
    generator = registry.load_generator(target)
    z = generator.sample_z(2, seed=3)
    expected = reference(theirs, z, clamp=1.5)
    assert (expected - reference(theirs, z)).abs().max() > 0.1
    with torch.no_grad():
        found = generator(z).double()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    state = generator.start(z)
    state.extra["w"].requires_grad_()
    generator.picture(generator.run(state)).sum().backward()
    assert state.extra["w"].grad.isfinite().all()


@pytest.mark.parametrize("clamp", ["256", -1, 0, float("nan"), np.float32(256)])
def test_a_bound_that_is_none(tmp_path: Path, nvidia: None, clamp: Any) -> None:
    source = snapshot(tmp_path / "net.pkl", tensors(), clamp=clamp)
    with pytest.raises(GANPaintError, match="conv_clamp"):
        convert(source, tmp_path / "net.safetensors")


def test_the_command(tmp_path: Path, nvidia: None) -> None:
    source = snapshot(tmp_path / "net.pkl", tensors())
    done = CliRunner().invoke(app, ["convert", str(source)])
    assert done.exit_code == 0 and "net.safetensors" in done.output
    assert registry.load(tmp_path / "net.safetensors").generator.resolution == 16
    (tmp_path / "bad.pkl").write_bytes(b"cos\nsystem\n(S'x'\ntR.")
    failed = CliRunner().invoke(app, ["convert", str(tmp_path / "bad.pkl")])
    assert failed.exit_code == 1 and "os.system" in failed.output and "Traceback" not in failed.output
    assert not (tmp_path / "bad.safetensors").exists()


# --- hostile files ---


class Call:
    """Reduces to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def refusal(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "evil.pkl").write_bytes(data)
    with pytest.raises(GANPaintError) as caught:
        convert(tmp_path / "evil.pkl", tmp_path / "evil.safetensors")
    assert caught.value.hint and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert sorted(path.name for path in tmp_path.iterdir() if "evil" in path.name) == ["evil.pkl"]
    return str(caught.value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["root", "G_ema", "state", "storage", "key", "other network"])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, nvidia: None, protocol: int, place: str) -> None:
    canary = tmp_path / "canary"
    for evil in [
        Call(os.system, f"touch '{canary}'"),
        Call(eval, f"open('{canary}', 'w')"),
        Call(exec, f"open('{canary}', 'w')"),
        Call(importlib.import_module, "this"),
    ]:
        network: Any = Persistent("Generator", {"mapping.w_avg": torch.zeros(2)})
        state = network.meta["state"]
        content: Any = {"G_ema": network}
        if place == "root":
            content = evil
        elif place == "G_ema":
            content = {"G_ema": evil}
        elif place == "state":
            state["_parameters"]["x"] = evil
        elif place == "storage":
            storage = Call(torch.storage._load_from_bytes, evil)
            state["_buffers"]["x"] = Call(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, {})
        elif place == "key":
            content = {"G_ema": network, "D": [(evil, 1)]}
        else:
            content = {"D": evil, "G_ema": network}
        data = pickle.dumps(content, protocol=protocol)
        assert "was not converted" in refusal(tmp_path, data)
        assert not canary.exists()


def test_a_storage_that_is_a_pickle_of_its_own_is_not_run(tmp_path: Path, nvidia: None) -> None:
    canary = tmp_path / "canary"
    inner = io.BytesIO()
    torch.save(Call(os.system, f"touch '{canary}'"), inner, _use_new_zipfile_serialization=False)
    network = Persistent("Generator", {"mapping.w_avg": torch.zeros(2)})
    storage = Call(torch.storage._load_from_bytes, inner.getvalue())
    made = Call(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, OrderedDict())
    network.meta["state"]["_buffers"]["w_avg"] = made
    assert "asks for more than numbers" in refusal(tmp_path, pickle.dumps({"G_ema": network}))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (10**9, 10**9), (0, 0)),
        (0, (10**30,), (1,)),
        (10**6, (4,), (1,)),
        (0, (4,), (10**15,)),
        (-1, (4,), (1,)),
        (0, (-4,), (1,)),
        (0, (4, 1), (1,)),
        (0, "four", (1,)),
        (0, (4.0,), (1,)),
        (0, (True,) * 40, (1,) * 40),
    ],
)
def test_tensors_of_impossible_sizes(
    tmp_path: Path, nvidia: None, offset: Any, size: Any, stride: Any
) -> None:
    storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(16).untyped_storage(), dtype=torch.float32)
    network = Persistent("Generator", {})
    made = Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())
    network.meta["state"]["_buffers"]["w_avg"] = made
    refusal(tmp_path, pickle.dumps({"G_ema": network}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04}.",
        b"\x80\x04P1\n.",  # a persistent id
        b"\x80\x04\x8c\x011Q.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"(ios\nsystem\n.",
        b"\x80\x04(cbuiltins\neval\nX\x01\x00\x00\x001o.",
        b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93}b.",  # attributes of a class
        b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.",  # four exabytes
        b"\x80\x04\x8b" + (2**31 - 1).to_bytes(4, "little") + b"x.",
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"x.",
        b"\x80\x04Nr\xff\xff\xff\xff.",  # a memo of four billion
        b"\x80\x04j\xff\xff\xff\xff.",
        b"\x80\x04" + b"]" * 3_000_000 + b".",
        b"\x80\x04" + b"(" * 100_000 + b"t" * 100_001 + b".",
        b"\x80\x04K\x010000.",
        b"\x80\x04]]s.",
        b"\x80\x04}]Ns.",
    ],
    ids=lambda data: data[:12].hex() or "empty",
)
def test_pickles_that_are_none(tmp_path: Path, data: bytes) -> None:
    refusal(tmp_path, data)


def test_modules_inside_one_another(tmp_path: Path, nvidia: None) -> None:
    """Twenty modules, each twice in the next, would be a million."""
    network = Persistent("Generator", {})
    for _ in range(20):
        outer = Persistent("Generator", {})
        outer.meta["state"]["_modules"].update(a=network, b=network)
        network = outer
    assert "nested deeper" in refusal(tmp_path, pickle.dumps({"G_ema": network}))
    meta: dict[str, Any] = {"state": {"_modules": {}}}
    reconstruct = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
    meta["state"]["_modules"]["self"] = Call(reconstruct, meta)
    assert "nested deeper" in refusal(tmp_path, pickle.dumps({"G_ema": Call(reconstruct, meta)}))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pickles(tmp_path: Path, nvidia: None, data: st.DataObject) -> None:
    """Whatever bytes are changed, it is refused, or nothing of the network was changed that would show."""
    path = tmp_path / "damaged.pkl"
    bad = bytearray(snapshot(path, tensors()).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(bad))
    with suppress(GANPaintError):  # and no other error
        generator = convert(path, path.with_suffix(".safetensors"))
        assert all(tensor.isfinite().all() for tensor in generator.state_dict().values())


@pytest.mark.parametrize(
    ("extra", "missing", "message"),
    [
        ({"mapping.embed.weight": torch.zeros(1)}, "", "conditional"),
        ({"synthesis.input.weight": torch.zeros(1)}, "", "StyleGAN3"),
        ({}, "synthesis.b4.const", "not a StyleGAN2"),
        ({}, "synthesis.b8.torgb.weight", "skip connections"),
        ({}, "mapping.w_avg", "skip connections"),
        ({"synthesis.b8.conv1.bias": torch.zeros(99)}, "", "do not fit"),
        ({"synthesis.b8.conv1.bias": torch.full((5,), math.nan)}, "", "not finite"),
    ],
)
def test_other_networks(
    tmp_path: Path, nvidia: None, extra: dict[str, torch.Tensor], missing: str, message: str
) -> None:
    theirs = {name: tensor for name, tensor in {**tensors(), **extra}.items() if name != missing}
    assert message in refusal(tmp_path, snapshot(tmp_path / "made.pkl", theirs).read_bytes())


# --- NVIDIA's TensorFlow networks ---


class Network:
    """Pickled as ``dnnlib.tflib.network.Network`` is: a state, and nothing that would be called."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


Network.__module__ = "dnnlib.tflib.network"


def tensorflow_variables(theirs: dict[str, torch.Tensor]) -> dict[str, list[tuple[str, Any]]]:
    """The inverse of the conversion, number by number: variables of Gs, and of its two components."""
    found: dict[str, list[tuple[str, Any]]] = {
        "": [("lod", np.float32(0)), ("dlatent_avg", theirs["mapping.w_avg"].numpy())]
    }
    found["mapping"] = [
        pair
        for n in (0, 1)
        for pair in [
            (f"Dense{n}/weight", np.ascontiguousarray(theirs[f"mapping.fc{n}.weight"].numpy().T)),
            (f"Dense{n}/bias", theirs[f"mapping.fc{n}.bias"].numpy()),
        ]
    ]

    def convolution(at: str, to: str, mirrored: bool = False) -> list[tuple[str, Any]]:
        weight = theirs[f"{at}.weight"].numpy()
        outputs, inputs, height, width = weight.shape
        stored = np.zeros((height, width, inputs, outputs), np.float32)
        for o, i, a, b in np.ndindex(*weight.shape):
            stored[(height - 1 - a, width - 1 - b, i, o) if mirrored else (a, b, i, o)] = weight[o, i, a, b]
        return [
            (f"{to}/weight", stored),
            (f"{to}/mod_weight", np.ascontiguousarray(theirs[f"{at}.affine.weight"].numpy().T)),
            (f"{to}/mod_bias", theirs[f"{at}.affine.bias"].numpy() - 1),
            (f"{to}/bias", theirs[f"{at}.bias"].numpy()),
        ]

    synthesis: list[tuple[str, Any]] = [("4x4/Const/const", theirs["synthesis.b4.const"].numpy()[None])]
    for size in (4, 8, 16):
        layers = {"conv1": "Conv"} if size == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        for ours, to in layers.items():
            at = f"synthesis.b{size}.{ours}"
            synthesis += convolution(at, f"{size}x{size}/{to}", mirrored=to == "Conv0_up")
            synthesis.append(
                (f"{size}x{size}/{to}/noise_strength", np.float32(theirs[f"{at}.noise_strength"]))
            )
            number = {
                "Conv": 0,
                "Conv0_up": 2 * int(math.log2(size)) - 5,
                "Conv1": 2 * int(math.log2(size)) - 4,
            }[to]
            synthesis.append((f"noise{number}", theirs[f"{at}.noise_const"].numpy()[None, None]))
        synthesis += convolution(f"synthesis.b{size}.torgb", f"{size}x{size}/ToRGB")
    found["synthesis"] = synthesis
    return found


def network(theirs: dict[str, torch.Tensor], **options: Any) -> Network:
    """Gs, with the mapping and the synthesis network in it."""
    variables = tensorflow_variables(theirs)
    common = {"version": 4, "build_module_src": "import os\nos.system('false')", "build_func_name": "G_main"}
    static = {"num_channels": 3, "resolution": 16, "label_size": 0, "mapping_layers": 2, **options}
    inside = {
        name: Network(
            {
                **common,
                "name": f"G_{name}",
                "static_kwargs": static,
                "components": {},
                "variables": variables[name],
            }
        )
        for name in ("synthesis", "mapping")
    }
    return Network(
        {**common, "name": "Gs", "static_kwargs": static, "components": inside, "variables": variables[""]}
    )


@pytest.fixture
def tflib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's name, for writing only."""
    for name in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["dnnlib.tflib.network"].Network = Network


def old_names(data: bytes) -> bytes:
    """NumPy's names of the years of those files, of the same length or written as text (protocol 2)."""
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def usual(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with the blur that TensorFlow's networks have, which they do not store."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return {n: row[:, None] * row / 64 if n.endswith("resample_filter") else t for n, t in theirs.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("alone", [False, True], ids=["three", "alone"])
def test_a_tensorflow_network_draws_the_same(tmp_path: Path, tflib: None, protocol: int, alone: bool) -> None:
    theirs = usual(tensors())
    other = {name: 2 * tensor for name, tensor in theirs.items()}
    content = network(theirs) if alone else (network(other), Network({"version": 4}), network(theirs))
    source, target = tmp_path / "stylegan2-church-config-f.pkl", tmp_path / "church.safetensors"
    source.write_bytes(old_names(pickle.dumps(content, protocol=protocol)))
    convert(source, target)
    generator = registry.load_generator(target)
    z = generator.sample_z(2, seed=3)
    expected = reference(theirs, z)
    with torch.no_grad():
        exact = generator.double()(z.double())
    # NVIDIA's 1e-8 in the demodulation is added before the weights are scaled here, and after it there.
    assert (exact - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(generator.latent_avg.float(), theirs["mapping.w_avg"])


def test_it_is_the_pytorch_network(tmp_path: Path, tflib: None, nvidia: None) -> None:
    """NVIDIA's two pickles of one network become one generator, tensor by tensor."""
    theirs = usual(tensors())
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(network(theirs), protocol=2))
    old = convert(tmp_path / "old.pkl", tmp_path / "old.safetensors")
    new = convert(snapshot(tmp_path / "new.pkl", theirs), tmp_path / "new.safetensors")
    assert old.config == new.config
    for name, tensor in new.state_dict().items():
        assert (old.state_dict()[name] - tensor).abs().max() <= 1e-5 * tensor.abs().max(), name


def test_a_pickle_of_python_2(tmp_path: Path, tflib: None) -> None:
    """Its texts and bytes are one kind of string: written as such, read as Latin-1."""
    theirs = usual(tensors())
    data = pickle.dumps(
        network(theirs), protocol=3
    )  # short bytes are C, and long ones B: U and T in Python 2
    rewritten = io.BytesIO()
    ends = [at for _, _, at in pickletools.genops(data)] + [len(data)]
    for (opcode, _, at), end in zip(pickletools.genops(data), ends[1:], strict=True):
        kind = {"BINBYTES": b"T", "SHORT_BINBYTES": b"U"}.get(opcode.name)
        rewritten.write(data[at:end] if kind is None else kind + data[at + 1 : end])
    (tmp_path / "old.pkl").write_bytes(old_names(rewritten.getvalue()))
    generator = convert(tmp_path / "old.pkl", tmp_path / "old.safetensors")
    assert torch.equal(generator.latent_avg, theirs["mapping.w_avg"])


def test_its_bound_is_kept(tmp_path: Path, tflib: None) -> None:
    source = tmp_path / "ada.pkl"
    source.write_bytes(pickle.dumps(network(usual(tensors()), conv_clamp=256, num_fp16_res=4), protocol=4))
    assert convert(source, tmp_path / "ada.safetensors").clamp == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_size": 10}, "conditional on a class"),
        ({"label_size": np.int64(10)}, "conditional on a class"),
        ({"num_channels": 1}, "other pictures than RGB"),
        ({"architecture": "resnet"}, "option architecture is 'resnet'"),
        ({"mapping_lrmul": 1.0}, "mapping_lrmul"),
        ({"resample_kernel": [1, 2, 1]}, "resample_kernel"),
        ({"resample_kernel": [1, 3, "x", 1]}, "resample_kernel"),
        ({"init_res": [4, 4]}, "option 'init_res'"),
        ({"conv_clamp": "much"}, "conv_clamp"),
    ],
)
def test_other_tensorflow_networks(
    tmp_path: Path, tflib: None, options: dict[str, Any], message: str
) -> None:
    data = pickle.dumps(network(usual(tensors()), **options), protocol=4)
    assert message in refusal(tmp_path, data)


def test_tensorflow_networks_that_are_not_whole(tmp_path: Path, tflib: None) -> None:
    def damaged(change: Any) -> str:
        made = network(usual(tensors()))
        change(made)
        return refusal(tmp_path, pickle.dumps(made, protocol=4))

    def cut(made: Network) -> None:
        made.components["synthesis"].variables = made.components["synthesis"].variables[:5]

    def itself(made: Network) -> None:
        made.components["mapping"] = made

    assert "first StyleGAN" in damaged(lambda made: vars(made).update(version=3))
    assert "not a complete StyleGAN2" in damaged(cut)
    assert "nested deeper" in damaged(itself)
    assert "damaged" in damaged(lambda made: vars(made).update(variables=3))
    assert "damaged" in damaged(lambda made: vars(made).update(variables=[("a", "b", "c")]))
    assert "unknown way" in damaged(lambda made: made.variables.append(("x", "text")))
    assert "unknown way" in damaged(lambda made: made.variables.append(("x", np.zeros(2, complex))))
    assert "more variables" in damaged(lambda made: made.variables.extend([("x", np.float32(0))] * 5000))
    assert "damaged" in refusal(tmp_path, b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81.")
    assert "oldest TensorFlow" in refusal(tmp_path, b"\x80\x02ctfutil\nNetwork\n)\x81.")
    assert "whole pickled network" in refusal(tmp_path, b"\x80\x02cmodel\nGenerator\n)\x81.")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "place", ["a variable", "an option", "a component", "the raw bytes", "the shape", "beside"]
)
def test_nothing_in_a_tensorflow_pickle_is_run(
    tmp_path: Path, tflib: None, protocol: int, place: str
) -> None:
    canary = tmp_path / "canary"
    evil = Call(os.system, f"touch '{canary}'")
    made: Any = network(usual(tensors()))
    made.build_module_src = f"open({str(canary)!r}, 'w')"
    if place == "a variable":
        made.variables.append(("x", evil))
    elif place == "an option":
        made.static_kwargs["resolution"] = evil
    elif place == "a component":
        made.components["evil"] = evil
    elif place == "the raw bytes":
        made.variables.append(("x", Call(np._core.multiarray.scalar, np.dtype("f4"), evil)))
    elif place == "the shape":
        made.variables.append(("x", Call(np._core.numeric._frombuffer, b"1234", np.dtype("f4"), evil, "C")))
    else:
        made = (evil, made, made)
    message = refusal(tmp_path, pickle.dumps(made, protocol=protocol))
    assert "was not converted" in message and not canary.exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_tensorflow_pickles(tmp_path: Path, tflib: None, data: st.DataObject) -> None:
    path = tmp_path / "damaged.pkl"
    bad = bytearray(pickle.dumps(network(usual(tensors())), protocol=data.draw(st.sampled_from([2, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(bad))
    with suppress(GANPaintError):  # and no other error
        generator = convert(path, path.with_suffix(".safetensors"))
        assert all(tensor.isfinite().all() for tensor in generator.state_dict().values())


def test_a_tensorflow_pickle_without_evil_runs_nothing_either(tmp_path: Path, tflib: None) -> None:
    canary = tmp_path / "canary"
    made = network(usual(tensors()))
    made.build_module_src = f"open({str(canary)!r}, 'w')"
    (tmp_path / "fine.pkl").write_bytes(pickle.dumps(made, protocol=4))
    assert convert(tmp_path / "fine.pkl", tmp_path / "fine.safetensors").resolution == 16
    assert not canary.exists() and not any(
        "dnnlib.tflib" in name for name in vars(sys.modules["ganpaint_widget.models.convert"])
    )


@pytest.mark.parametrize("shape", [(10**9, 10**9), (-1, 4), (3,), "four", (True,) * 40])
def test_arrays_of_impossible_sizes(tmp_path: Path, tflib: None, shape: Any) -> None:
    made = network(usual(tensors()))
    made.variables.append(("x", Call(np._core.numeric._frombuffer, bytes(16), np.dtype("f4"), shape, "C")))
    assert "unknown way" in refusal(tmp_path, pickle.dumps(made, protocol=4))


# --- the command ---


def test_the_command_takes_o(tmp_path: Path, nvidia: None) -> None:
    source = snapshot(tmp_path / "net.pkl", tensors())
    done = CliRunner().invoke(app, ["convert", str(source), "-o", str(tmp_path / "a.safetensors")])
    assert done.exit_code == 0 and (tmp_path / "a.safetensors").exists() and "--to" not in done.output
    done = CliRunner().invoke(app, ["convert", str(source), "--to", str(tmp_path / "b.safetensors")])
    assert done.exit_code == 0 and (tmp_path / "b.safetensors").exists() and "-o" in done.output
    both = ["convert", str(source), "--to", "c.safetensors", "-o", "d.safetensors"]
    assert CliRunner().invoke(app, both).exit_code == 1
    same = CliRunner().invoke(app, ["convert", str(tmp_path / "a.safetensors")])
    assert same.exit_code == 1 and "would be overwritten" in same.output


def test_the_command_converts_other_checkpoints(tmp_path: Path) -> None:
    made = StyleGAN2(CHANNELS, LATENT, STYLE, 2)
    torch.save({"g_ema": made.state_dict(), "d": {"x": torch.zeros(9)}}, tmp_path / "150000.pt")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "150000.pt")])
    assert done.exit_code == 0, done.output
    found = registry.load_generator(tmp_path / "150000.safetensors").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in made.state_dict().items())


# --- never at run time ---


def test_nobody_imports_it_but_the_command() -> None:
    package = Path(ganpaint_widget.__file__).parent
    for path in package.rglob("*.py"):
        top = ast.parse(path.read_text())
        for node in ast.walk(top):
            names = (
                {alias.name for alias in node.names}
                if isinstance(node, (ast.Import, ast.ImportFrom))
                else set()
            )
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}, path
            if "convert" in module.split(".") or ("models" in module and "convert" in names):
                asked = {("cli", "models.py"), ("models", "download.py")}
                assert path.parts[-2:] in asked, f"{path} imports the converter"
                assert node not in top.body, f"{path} imports the converter before it is asked to"


def test_an_editing_session_does_not_load_it() -> None:
    code = (
        "import sys; from ganpaint_widget import EditingSession, GANPaint; import ganpaint_widget.cli;"
        "session = EditingSession(journal=False); session.preview;"
        "print([name for name in sys.modules if name.startswith('ganpaint_widget') and 'convert' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
