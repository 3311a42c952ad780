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
        ({}, "synthesis.b4.const", "no StyleGAN2"),
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


def test_tensorflow_networks(tmp_path: Path) -> None:
    assert "TensorFlow" in refusal(tmp_path, b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81.")


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
                assert path.parts[-2:] == ("cli", "models.py"), f"{path} imports the converter"
                assert node not in top.body, f"{path} imports the converter before it is asked to"


def test_an_editing_session_does_not_load_it() -> None:
    code = (
        "import sys; from ganpaint_widget import EditingSession, GANPaint; import ganpaint_widget.cli;"
        "session = EditingSession(journal=False); session.preview;"
        "print([name for name in sys.modules if name.startswith('ganpaint_widget') and 'convert' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
