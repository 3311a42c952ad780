"""The staged interface, ProGAN against a straightforward reference, and reading weights safely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from references import progan as reference

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import progan, registry
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.storage import read_safetensors, write_safetensors


def test_progan_is_its_formula(generator: ProGAN) -> None:
    z = generator.sample_z(3, seed=5)
    expected = reference(generator.state_dict(), z, layers=8, size=32)
    with torch.no_grad():
        found = generator(z).double()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_progan_draws_with_the_weights_that_it_has_now(generator: ProGAN) -> None:
    z = generator.sample_z(1, seed=5)
    weights = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    with torch.inference_mode():
        before = generator(z)
    for layer in ("layer2", "layer3"):  # a plain one and one that upsamples
        with torch.no_grad():
            generator.get_submodule(layer).conv.weight[0].mul_(2)
            assert not torch.allclose(generator(z), before)
        generator.load_state_dict(weights)
        with torch.inference_mode():
            assert torch.equal(generator(z), before)


def test_public_sizes() -> None:
    with torch.device("meta"):
        progan = ProGAN(512, (512, 512, 512, 256, 128, 64, 32))
    assert sum(p.numel() for p in progan.parameters()) == 18_344_995  # published: 18.34 M
    assert progan.edit_layer == "layer4"
    assert progan.fine_layers == ("layer8", "layer10", "layer12", "layer14")


def test_running_in_parts_is_running_at_once(generator: ProGAN) -> None:
    z = generator.sample_z(2, seed=1)
    with torch.no_grad():
        whole = generator(z)
        for stage in generator.stages:
            part = generator.run(generator.start(z), until=stage)
            assert part.stage == stage
            assert part.features.shape[1:] == generator.shape(stage)
            assert torch.equal(generator.picture(generator.run(part)), whole)
            one = generator.picture(generator.run(part.one(1)))
            assert torch.allclose(one[0], whole[1], atol=1e-5)


def test_modify_acts_on_the_named_stage(generator: ProGAN) -> None:
    z = generator.sample_z(1, seed=1)
    seen = {}

    def double(features: torch.Tensor) -> torch.Tensor:
        seen["before"] = features
        return 2 * features

    with torch.no_grad():
        state = generator.run(generator.start(z), until="layer3", modify={"layer3": double})
    assert torch.equal(state.features, 2 * seen["before"])


def test_staged_errors(generator: ProGAN) -> None:
    state = generator.run(generator.start(generator.sample_z(1, 0)), until="layer4")
    with pytest.raises(ValueError, match=r"no stage 'layer99'.*layer1, layer2"):
        generator.run(state, until="layer99")
    with pytest.raises(ValueError, match="lies before"):
        generator.run(state, until="layer2")
    with pytest.raises(ValueError, match="shape"):
        state.replace(torch.zeros(1, 1, 1, 1))


def test_extra_state_travels() -> None:
    state = State(torch.zeros(2, 1, 1, 1), extra={"w": torch.arange(2.0)[:, None]})
    assert state.replace(torch.ones(2, 1, 1, 1)).extra["w"].shape == (2, 1)
    assert state.one(1).extra["w"].item() == 1


@pytest.fixture
def stored(tmp_path: Path, generator: ProGAN) -> Path:
    path = tmp_path / "tiny.safetensors"
    write_safetensors(
        path, generator.state_dict(), {"kind": "generator", "config": json.dumps(generator.config)}
    )
    return path


def test_a_stored_generator_draws_the_same(stored: Path, generator: ProGAN) -> None:
    z = generator.sample_z(1, seed=3)
    with torch.no_grad():
        assert torch.equal(registry.load_generator(stored)(z), generator(z))
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_damaged_weights_give_one_sentence(stored: Path, keep: int) -> None:
    stored.write_bytes(stored.read_bytes()[:keep])
    with pytest.raises(GANPaintError, match="could not be read") as caught:
        registry.load(stored)
    assert caught.value.hint


def test_foreign_weights_give_one_sentence(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(GANPaintError, match="holds no encoder"):
        read_safetensors(stored, "encoder")
    with pytest.raises(GANPaintError, match="The generator 'chruch' does not exist"):
        registry.load("chruch")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": [16, 16, 16, 4]}, "do not fit"),
        ({"channels": [10**9] * 4}, "do not fit"),  # 10^19 weights, were they made
        ({"channels": [16] * 40}, "do not fit"),
        ({"channels": None}, "do not fit"),
        ({"latent_size": -1}, "do not fit"),
        ({"edit_layer": "layer99"}, "do not fit"),
        ({"__class__": "str"}, "do not fit"),
        (None, "holds no generator"),
    ],
)
def test_weights_that_do_not_fit_give_one_sentence(
    stored: Path, tmp_path: Path, config: dict | None, message: str
) -> None:
    tensors, right = read_safetensors(stored, "generator")
    other = tmp_path / "other.safetensors"
    wrong = json.dumps(config if config is None else {**right, **config})
    write_safetensors(other, tensors, {"kind": "generator", "config": wrong})
    with pytest.raises(GANPaintError, match=message) as caught:
        registry.load(other)
    assert caught.value.hint


def test_the_normalization_of_layers_is_that_of_the_formula() -> None:
    """Its values, and the gradient that it writes down itself."""
    source = torch.Generator().manual_seed(0)
    for scale in (1e-5, 1.0, 1e3):
        x = (scale * torch.randn(2, 5, 3, 4, generator=source)).requires_grad_()
        away = torch.randn(2, 5, 3, 4, generator=source)
        fast, plain = progan._PixelNorm.apply(x), progan.pixel_norm(x)
        assert torch.allclose(fast, plain, rtol=1e-6, atol=1e-7)
        (one,), (other,) = (torch.autograd.grad(y, x, away) for y in (fast, plain))
        assert (one - other).norm() <= 1e-6 * max(other.norm(), away.norm() / scale * 1e-3)
    x = x.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(progan._PixelNorm.apply, x)
