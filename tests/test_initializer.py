"""A first delta in one pass: what it may see, what it starts, and that it learns."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method import adaptation
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.initializer import Initializer
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.registry import load
from ganpaint_widget.training.encoder import train_encoder
from ganpaint_widget.training.initializer import train_initializer

pytestmark = pytest.mark.usefixtures("real_methods")


def small() -> ProGAN:
    torch.manual_seed(3)
    return ProGAN(8, (16, 16, 16, 8)).eval()


def opened(generator: ProGAN) -> tuple[State, Tensor, Tensor]:
    """Edited features, a photo that they do not draw, and a keep-mask with a hole."""
    state = generator.run(generator.start(generator.sample_z(1, 0)), until=generator.edit_layer)
    x = generator(generator.sample_z(1, 1)).clamp(-1, 1)
    keep = torch.ones_like(x[:, :1])
    keep[..., 8:20, 8:20] = 0
    return state, x, keep


@torch.no_grad()
def test_before_it_has_learned_it_leaves_the_generator_as_it_is() -> None:
    generator = small()
    state, x, keep = opened(generator)
    deltas, drawn = Initializer({name: generator.shape(name) for name in generator.fine_layers})(
        generator, state, x, keep
    )
    assert {name: tuple(one.shape[1:]) for name, one in deltas.items()} == {
        name: generator.shape(name) for name in generator.fine_layers
    }
    assert not any(bool(one.any()) for one in deltas.values())
    assert torch.equal(drawn, generator.picture(generator.run(state)))


def test_it_sees_nothing_of_the_photo_inside_the_edit_and_draws_what_it_says() -> None:
    model = load("demo")
    generator = model.generator
    assert model.initializer is not None
    state, x, keep = opened(generator)  # type: ignore[arg-type]
    other = torch.where(keep > 0, x, -x)
    with torch.no_grad():
        deltas, drawn = model.initializer(generator, state, x, keep)
        again, _ = model.initializer(generator, state, other, keep)
        elsewhere, _ = model.initializer(generator, state, -x, keep)
    for name, delta in deltas.items():
        assert torch.equal(delta, again[name])
        assert not torch.equal(delta, elsewhere[name])
    torch.testing.assert_close(adaptation.render(generator, state, deltas), drawn)


def test_the_first_picture_of_the_demo_is_faithful_without_any_step() -> None:
    model = load("demo")
    generator, gallery = model.generator, model.gallery
    assert model.encoder is not None and gallery is not None
    for index in range(4):
        x = torch.from_numpy(gallery.picture(index).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            z, features = model.encoder(x)
            state = generator.run(generator.start(z), until=generator.edit_layer).replace(features)
            keep = torch.ones_like(x[:, :1])
            first = model.first_delta(state, x, keep)
            assert first is not None
            plain = psnr(generator.picture(generator.run(state)), x)
            at_once = psnr(adaptation.render(generator, state, first), x)
        assert at_once > plain + 3
        shown: list[tuple[Tensor, float]] = []
        found = adaptation.adapt(
            generator, state, x, keep, original=state, steps=4, start=first,
            on_picture=partial(_note, shown),
        )  # fmt: skip
        assert abs(shown[0][1] - at_once) < 0.2, "the first picture is what it starts from"
        cold = adaptation.adapt(generator, state, x, keep, original=state, steps=4)
        assert found.after > max(at_once, cold.after)


@torch.no_grad()
def test_it_is_not_asked_where_the_generator_is_nearer_to_the_photo() -> None:
    model = load("demo")
    generator = model.generator
    state = generator.sampled(1, 0)
    drawn = generator.picture(generator.run(state))
    assert model.first_delta(state, drawn, torch.ones_like(drawn[:, :1])) is None
    assert model.first_delta(state, drawn.flip(3), torch.ones_like(drawn[:, :1])) is not None


def _note(shown: list[tuple[Tensor, float]], picture: Tensor, kept: float) -> None:
    shown.append((picture, kept))


def test_it_learns_for_any_generator() -> None:
    generator = small()
    encoder = train_encoder(generator, steps=20, batch=4)
    x = generator(generator.sample_z(16, 9)).clamp(-1, 1)
    x = (0.7 * x + 0.3 * x.roll(1, 0)).detach()

    @torch.no_grad()
    def quality(steps: int) -> float:
        with torch.enable_grad():
            initializer = train_initializer(generator, encoder, steps=steps, batch=8)
        z, features = encoder(x)
        state = generator.run(generator.start(z), until=generator.edit_layer).replace(features)
        _, drawn = initializer(generator, state, x, torch.ones_like(x[:, :1]))
        return psnr(drawn, x)

    assert quality(60) > quality(1) + 1
