"""Public checkpoints in every layout that they come in, and files that are not what they say."""

from __future__ import annotations

import io
import os
import pickle
import stat
import zipfile
from pathlib import Path

import pytest
import torch
from references import progan as progan_reference
from references import randomized
from references import stylegan2 as stylegan2_reference
from safetensors.torch import save_file

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import registry
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.stylegan2 import StyleGAN2

Weights = dict[str, torch.Tensor]


def progan_weights(channels: tuple[int, ...], latent: int = 8) -> Weights:
    """A ProGAN's tensors under the converted names, with the shapes and the stored scales of public files."""
    source = torch.Generator().manual_seed(1)
    found, before = {}, latent
    for n in range(1, 2 * len(channels) + 1):
        width = channels[(n - 1) // 2]
        kernel = 4 if n == 1 else 3
        found[f"layer{n}.conv.weight"] = torch.randn(width, before, kernel, kernel, generator=source)
        found[f"layer{n}.wscale.b"] = 0.3 * torch.randn(width, generator=source)
        found[f"layer{n}.wscale.scale"] = torch.tensor([123.0])
        before = width
    output = f"output_{4 * 2 ** (len(channels) - 1)}x{4 * 2 ** (len(channels) - 1)}"
    found[f"{output}.conv.weight"] = torch.randn(3, before, 1, 1, generator=source)
    found[f"{output}.wscale.b"] = torch.randn(3, generator=source)
    found[f"{output}.wscale.scale"] = torch.tensor([123.0])
    return found


def old_names(weights: Weights) -> Weights:
    found = {}
    for name, tensor in weights.items():
        first, rest = name.split(".", 1)
        first = f"features.{int(first[5:]) - 1}" if first.startswith("layer") else "output"
        found[f"{first}.{rest}"] = tensor
    return found


def tensorflow_names(weights: Weights) -> Weights:
    """The inverse of what the reader does, number by number and not by permuting axes."""
    found = {"lod": torch.zeros(())}
    for name, tensor in weights.items():
        first, rest = name.split(".", 1)
        if rest == "wscale.scale":
            continue
        if first.startswith("output"):
            to = "ToRGB_lod0"
        else:
            n = int(first[5:])
            size = 4 * 2 ** ((n - 1) // 2)
            to = f"{size}x{size}/" + {1: "Dense", 2: "Conv"}.get(n, "Conv0_up" if n % 2 else "Conv1")
        if rest == "wscale.b":
            found[f"{to}/bias"] = tensor
            continue
        outputs, inputs, kernel, _ = tensor.shape
        if to.endswith("Dense"):
            stored = torch.zeros(inputs, outputs * 16)
        elif to.endswith("Conv0_up"):
            stored = torch.zeros(kernel, kernel, outputs, inputs)
        else:
            stored = torch.zeros(kernel, kernel, inputs, outputs)
        for o in range(outputs):
            for i in range(inputs):
                for a in range(kernel):
                    for b in range(kernel):
                        value = tensor[o, i, a, b]
                        if to.endswith("Dense"):
                            stored[i, o * 16 + 4 * (3 - a) + 3 - b] = value
                        elif to.endswith("Conv0_up"):
                            stored[2 - a, 2 - b, o, i] = value
                        else:
                            stored[a, b, i, o] = value
        found[f"{to}/weight"] = stored
    found["ToRGB_lod1/weight"] = torch.zeros(1, 1, 4, 3)
    return found


NAMES = {"converted": dict, "old": old_names, "tensorflow": tensorflow_names}


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
@pytest.mark.parametrize("names", NAMES)
def test_every_layout_of_progan_draws_the_same(tmp_path: Path, names: str, wrapped: bool) -> None:
    weights = progan_weights((16, 16, 16, 12))
    stored = NAMES[names](weights)
    path = tmp_path / "progan.pth"
    torch.save({"state_dict": stored, "epoch": 3} if wrapped else stored, path)
    generator = registry.load_generator(path)
    assert isinstance(generator, ProGAN)
    z = generator.sample_z(2, seed=4)
    expected = progan_reference(weights, z, layers=8, size=32)
    with torch.no_grad():
        found = generator(z).double()
        exact = generator.double()(z.double())
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (exact - expected).abs().max() < 1e-12 * expected.abs().max()
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())


@pytest.mark.parametrize("count", range(6, 10))
@pytest.mark.parametrize("names", NAMES)
def test_progans_of_every_size(tmp_path: Path, names: str, count: int) -> None:
    weights = progan_weights((8, 8, 8, 8, 8, 8, 8, 4, 4)[:count])
    torch.save(NAMES[names](weights), tmp_path / "progan.pth")
    generator = registry.load_generator(tmp_path / "progan.pth")
    size = {6: 128, 7: 256, 8: 512, 9: 1024}[count]
    assert generator.resolution == size
    state = generator.state_dict()
    assert all(torch.equal(state[name], one) for name, one in weights.items() if "scale.s" not in name)
    if names == "converted":  # the others have the same tensors now
        z = generator.sample_z(1, seed=4)
        expected = progan_reference(weights, z, layers=2 * count, size=size)
        with torch.no_grad():
            found = generator(z).double()
        # Over the picture: where all of so few channels are near zero, PixelNorm divides by their rounding.
        assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.fixture(scope="module")
def stylegan2() -> StyleGAN2:
    torch.manual_seed(2)
    return randomized(StyleGAN2((6, 5, 4), latent_size=5, style_size=6, mapping_layers=2))


@pytest.mark.parametrize("layout", ["g_ema", "g_ema without a mean", "bare", "safetensors"])
def test_every_layout_of_stylegan2_draws_the_same(tmp_path: Path, stylegan2: StyleGAN2, layout: str) -> None:
    weights = {name: tensor.clone() for name, tensor in stylegan2.state_dict().items()}
    mean = weights.pop("latent_avg")
    path = tmp_path / "stylegan2.pt"
    if layout == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(weights, path)
    elif layout == "bare":
        torch.save(weights, path)
    else:
        wrapper = {"g_ema": weights, "d": {"convs.0.0.weight": torch.zeros(1)}}
        torch.save(wrapper if "without" in layout else {**wrapper, "latent_avg": mean}, path)
    generator = registry.load_generator(path)
    assert isinstance(generator, StyleGAN2)
    z = generator.sample_z(2, seed=4)
    expected = stylegan2_reference({**weights, "latent_avg": mean}, z, blocks=3)
    with torch.no_grad():
        found = generator(z).double()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    if layout == "g_ema":
        assert torch.equal(generator.latent_avg, mean)
    else:  # estimated: the mean of many samples
        with torch.no_grad():
            many = generator.mapped(generator.sample_z(4096, seed=50))
        assert torch.allclose(generator.latent_avg, many.mean(dim=0), atol=0.1)


@pytest.mark.parametrize("count", range(7, 10))
def test_stylegan2s_of_every_size(tmp_path: Path, count: int) -> None:
    torch.manual_seed(4)
    made = randomized(StyleGAN2((3, 3, 3, 2, 2, 2, 2, 2, 2)[:count], 4, 5, 2))
    weights = {name: tensor for name, tensor in made.state_dict().items() if name != "latent_avg"}
    # Older files, and the zip archives of today.
    torch.save(
        {"g_ema": weights, "latent_avg": made.latent_avg},
        tmp_path / "stylegan2.pt",
        _use_new_zipfile_serialization=count != 7,
    )
    generator = registry.load_generator(tmp_path / "stylegan2.pt")
    assert generator.resolution == {7: 256, 8: 512, 9: 1024}[count]
    z = generator.sample_z(1, seed=4)
    expected = stylegan2_reference(made.state_dict(), z, blocks=count)
    with torch.no_grad():
        found = generator(z).double()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


# --- files that are not what they say ---


class Canary:
    """Unpickled, it writes a file: nothing that reads a checkpoint may ever do that."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.system, (f"touch '{self.path}'",)


def refusal(path: Path) -> GANPaintError:
    with pytest.raises(GANPaintError) as caught:
        registry.load(path)
    error = caught.value
    assert error.hint and "\n" not in str(error) and len(str(error)) < 400
    return error


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_checkpoint_runs_no_code(tmp_path: Path, legacy: bool, nested: bool) -> None:
    canary = Canary(tmp_path / "canary")
    torch.save(
        {"state_dict": {"layer1.conv.weight": canary}} if nested else canary,
        tmp_path / "evil.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    assert "asks for more than tensors" in refusal(tmp_path / "evil.pth").message
    assert not canary.path.exists()
    pickle.loads(pickle.dumps(canary))
    assert canary.path.exists()  # the canary does sing where code is run


def test_pickles_are_not_read_at_all(tmp_path: Path) -> None:
    canary = Canary(tmp_path / "canary")
    for name in ("evil.pth", "evil.pkl", "evil.pt"):
        (tmp_path / name).write_bytes(pickle.dumps({"G_ema": canary}))
        error = refusal(tmp_path / name)
        assert ("ganpaint convert" in error.hint) == (name == "evil.pkl")
    assert not canary.path.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 1000, -30])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_checkpoint(tmp_path: Path, legacy: bool, keep: int) -> None:
    path = tmp_path / "cut.pth"
    torch.save(progan_weights((6, 5, 4, 4)), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:keep])
    refusal(path)


def test_a_tensor_that_is_larger_than_its_file(tmp_path: Path) -> None:
    weights = progan_weights((6, 5, 4, 4))
    weights["layer1.conv.weight"] = torch.zeros(1).expand(10**5, 10**5, 4, 4)  # 640 GB out of 4 bytes
    torch.save(weights, tmp_path / "huge.pth")
    assert (tmp_path / "huge.pth").stat().st_size < 10**5
    assert "claims to be larger" in refusal(tmp_path / "huge.pth").message


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    torch.save(progan_weights((6, 5, 4, 4)), path)
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in stored.infolist():
            bomb.writestr(entry.filename, stored.read(entry))
        bomb.writestr("archive/data/999", bytes(64 * 2**20))
    path.write_bytes(packed.getvalue())
    assert "unpack to far more" in refusal(path).message


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize(
    "name", ["../canary", "archive/../../canary", "/canary", "..\\canary", "C:\\canary", "link"]
)
def test_archives_that_lead_out(tmp_path: Path, name: str, suffix: str) -> None:
    """Links and paths to elsewhere, beside weights that are as they should be and a pickle that runs code."""
    folder, canary = tmp_path / "deep" / "folder", Canary(tmp_path / "sung")
    folder.mkdir(parents=True)
    path = folder / f"network{suffix}"
    torch.save(progan_weights((6, 5, 4, 4)), path)
    entry = zipfile.ZipInfo(f"{tmp_path}{name}" if name.startswith("/") else name)
    content = pickle.dumps(canary)
    if name == "link":
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        content = str(tmp_path / "canary").encode()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, content)
    before = sorted(tmp_path.rglob("*"))
    assert "leads out" in refusal(path).message
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked, and the canary has not sung


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    weights = progan_weights((6, 5, 4, 4))
    weights["layer3.conv.weight"][0, 0, 0, 0] = value
    torch.save(weights, tmp_path / "nan.pth")
    assert "layer3.conv.weight" in refusal(tmp_path / "nan.pth").message


def test_other_contents(tmp_path: Path, stylegan2: StyleGAN2) -> None:
    weights = progan_weights((6, 5, 4, 4))
    path = tmp_path / "other.pth"
    for content, message in [
        ([1, 2], "not a dictionary"),
        ({}, "neither to a ProGAN nor to a StyleGAN2"),
        ({"a": torch.zeros(3)}, "neither to a ProGAN nor to a StyleGAN2"),
        ({"state_dict": {}}, "neither to a ProGAN nor to a StyleGAN2"),
        ({n: t for n, t in weights.items() if "layer5" not in n}, "do not fit"),
        ({**weights, "layer5.conv.weight": torch.zeros(4, 4, 3, 3)}, "do not fit"),
        ({**weights, "layer5.conv.weight": torch.zeros(4, 5, 3, 3).to_sparse()}, "not a dense array"),
        ({**weights, "layer5.conv.weight": torch.zeros(4, 5, 3, 3, dtype=torch.cfloat)}, "not a dense array"),
        ({n: t for n, t in stylegan2.state_dict().items() if "style" not in n}, "not complete"),
        ({n: t for n, t in stylegan2.state_dict().items() if n != "convs.1.activate.bias"}, "do not fit"),
        ({**old_names(weights), "features.4.conv.weight": torch.zeros(1)}, "do not fit"),
        ({**tensorflow_names(weights), "8x8/Conv1/weight": torch.zeros(1)}, "a ProGAN's names"),
        ({**tensorflow_names(weights), "4x4/Dense/weight": torch.zeros(3, 5)}, "a ProGAN's names"),
    ]:
        torch.save(content, path)
        assert message in refusal(path).message, message
