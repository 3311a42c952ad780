"""The staged interface, ProGAN against a straightforward reference, and reading weights safely."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import progan as reference
from torch import Tensor, nn

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import devices, progan, registry
from ganpaint_widget.models.checking import check
from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.model import Model
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


def test_labels_that_travel_stay_whole_numbers() -> None:
    labels, flags = torch.tensor([2, 1]), torch.tensor([True, False])
    state = State(torch.zeros(2, 1, 1, 1), extra={"w": torch.ones(2), "label": labels, "flag": flags})
    extra = state.to(torch.zeros(1, dtype=torch.float64)).extra
    assert {name: one.dtype for name, one in extra.items()} == {
        "w": torch.float64,
        "label": torch.int64,
        "flag": torch.bool,
    }


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


# --- wrappers of one's own ---


def block(inputs: int, outputs: int, stride: int = 2, padding: int = 1) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Own(StagedGenerator):
    """Keeps what the interface promises; each test below breaks one promise."""

    stages = ("head", "block8", "block16")
    latent_size, resolution = 4, 16
    edit_layer, fine_layers = "head", ("block8", "block16")

    def start(self, z: Tensor) -> State:
        return State(z[:, :, None, None])

    def stage(self, name: str, state: State) -> State:
        return State(self.get_submodule(name)(state.features), name, state.extra)

    def picture(self, state: State) -> Tensor:
        return self.get_submodule("rgb")(state.features).tanh()


def own(kind: type[Own] = Own) -> Own:
    torch.manual_seed(0)
    parts = {"head": block(4, 8, 1, 0), "block8": block(8, 8), "block16": block(8, 8)}
    return kind(**parts, rgb=nn.Conv2d(8, 3, 1))


def with_picture(change: Callable[[Tensor], object]) -> dict[str, object]:
    return {"picture": lambda self, state: change(Own.picture(self, state))}


def with_stage(change: Callable[[State], object], name: str = "block8") -> dict[str, object]:
    def stage(self: Own, at: str, state: State) -> object:
        made = Own.stage(self, at, state)
        return change(made) if at == name else made

    return {"stage": stage}


def in_place(self: Own, name: str, state: State) -> State:
    state.features.sub_(0.1)
    return Own.stage(self, name, state)


BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "gray": (with_picture(lambda x: x[:, :1]), "1 x 1 x 16 x 16, where resolution = 16 needs 1 x 3 x 16"),
    "not square": (with_picture(lambda x: x[..., :12]), "1 x 3 x 16 x 12"),
    "another resolution": ({"resolution": 32}, "resolution = 32 needs"),
    "a tuple of pictures": (with_picture(lambda x: (x,)), "returned a tuple"),
    "pictures to 255": (with_picture(lambda x: 127.5 * x + 127.5), "values from .* for example x / 127.5"),
    "pictures of bytes": (with_picture(lambda x: (127.5 * x + 127.5).byte()), "type torch.uint8"),
    "pictures of NaN": (with_picture(lambda x: x * torch.nan), "picture.. returned .* not finite"),
    "a stage of NaN": (
        with_stage(lambda state: replace(state, features=state.features * torch.nan)),
        "block8.*not finite",
    ),
    "a stage that is a tensor": (with_stage(lambda state: state.features), "a tensor .*, not a State"),
    "a stage without a name": (with_stage(lambda state: State(state.features)), "None, not 'block8'"),
    "a stage that is flat": (
        with_stage(lambda state: State(state.features.flatten(1), "block16"), "block16"),
        "not B x C x H x W",
    ),
    "a stage that writes into its input": ({"stage": in_place}, "writes into"),
    "a stage with noise": (
        with_stage(lambda state: replace(state, features=state.features + torch.rand(1))),
        "another picture each time",
    ),
    "a number in extra": ({"start": lambda self, z: State(z[:, :, None, None], extra={"n": 3})}, "an int"),
    "a start that is a tensor": ({"start": lambda self, z: z[:, :, None, None]}, "start.*not a State"),
    "another edit layer": ({"edit_layer": "blok8"}, "edit_layer = 'blok8'.*head, block8, block16"),
    "another fine layer": ({"fine_layers": ("blok8",)}, "fine_layers = .*after 'head'"),
    "a fine layer before the edits": ({"fine_layers": ("head",)}, "fine_layers"),
    "fine layers in a string": ({"fine_layers": "block8"}, "fine_layers = 'block8'"),
    "fine layers that are missing": ({"fine_layers": ()}, "fine_layers"),
    "stages of one name": ({"stages": ("head", "head")}, "stages"),
    "a size of 0": ({"latent_size": 0}, "latent_size = 0"),
    "another latent": ({"latent_size": 5}, "head.*failed.*latent_size"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrapper_that_breaks_a_promise_is_refused(name: str) -> None:
    """When it is opened, and not later in the middle of something else."""
    changed, says = BROKEN[name]
    broken = own(type("Broken", (Own,), changed))
    for source in (broken, Model("own", broken)):
        with pytest.raises(GANPaintError, match=says):
            devices.load(source)


def test_a_wrapper_that_was_never_finished_is_refused() -> None:
    class Bare(StagedGenerator):
        start, stage, picture = Own.start, Own.stage, Own.picture

    with pytest.raises(GANPaintError, match="has no stages"):
        check(Bare(head=block(4, 8)))
    with pytest.raises(GANPaintError, match=r"without a network.*Own\(gan=network\)"):
        devices.load(Own())
    for other in (Own, nn.Linear(1, 1), "demo", None):
        with pytest.raises(GANPaintError, match="is not a StagedGenerator"):
            check(other)


def test_a_right_wrapper_is_run_twice_and_then_trusted() -> None:
    calls: list[str] = []

    class Counted(Own):
        def stage(self, name: str, state: State) -> State:
            calls.append(name)
            return super().stage(name, state)

        def picture(self, state: State) -> Tensor:
            return (super().picture(state) + 1) / 2  # in [0, 1], which is unusual and works

    generator = own(Counted)
    statistics = {name: one.clone() for name, one in generator.state_dict().items()}
    assert check(generator) is check(Model("own", generator)) is generator
    assert calls == 2 * [*Own.stages]
    assert generator.training
    assert all(torch.equal(one, statistics[name]) for name, one in generator.state_dict().items())


def test_samples_in_training_are_those_in_evaluation() -> None:
    generator = own()
    drawn = generator.sample(2, seed=7)
    assert generator.training
    assert torch.equal(drawn, generator.eval().sample(2, seed=7))


def test_latents_may_have_another_shape() -> None:
    class Placed(Own):
        def start(self, z: Tensor) -> State:
            return State(z)

        def sample_z(self, count: int, seed: int) -> Tensor:
            return super().sample_z(count, seed)[:, :, None, None]

    assert devices.load(own(Placed)).generator.shape("block8") == (8, 8, 8)


def test_a_dissection_of_other_units_is_refused(model: Any) -> None:
    other = ProGAN(8, (12, 12, 12, 8)).eval()
    assert other.edit_layer == model.generator.edit_layer
    with pytest.raises(GANPaintError, match=r"of 16 units, but .* has 12"):
        devices.load(replace(model, generator=other))


def test_a_segmenter_that_is_none_is_refused(model: Any) -> None:
    with pytest.raises(GANPaintError, match="A function is not a segmenter"):
        devices.load(replace(model, segmenter=lambda pictures: pictures))


def test_a_generator_of_several_devices_opens() -> None:
    generator = own()
    assert registry.load(nn.DataParallel(generator)).generator is generator
    compiled = nn.Module()
    compiled._orig_mod = generator  # as torch.compile keeps it
    assert registry.load(Model("own", compiled)).generator is generator  # type: ignore[arg-type]
