"""StyleGAN2 against a straightforward reference in float64, and its stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references import randomized
from references import stylegan2 as reference

from ganpaint_widget.dissection import Dissection
from ganpaint_widget.method import inversion
from ganpaint_widget.models.generator import StagedGenerator
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.stylegan2 import StyleGAN2, config_of
from ganpaint_widget.session import EditingSession


@pytest.fixture(scope="module")
def stylegan2() -> StyleGAN2:
    torch.manual_seed(3)
    return randomized(StyleGAN2((12, 10, 8, 6), latent_size=9, style_size=7, mapping_layers=3))


def test_stylegan2_is_its_formula(stylegan2: StyleGAN2) -> None:
    z = stylegan2.sample_z(2, seed=5)
    expected = reference(stylegan2.state_dict(), z, blocks=4)
    with torch.no_grad():
        found = stylegan2(z).double()
    assert found.shape == (2, 3, 32, 32)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_truncation_moves_w_towards_its_mean(stylegan2: StyleGAN2) -> None:
    z = stylegan2.sample_z(2, seed=6)
    cut = StyleGAN2.stored(**{**stylegan2.config, "truncation": 0.5})
    cut.load_state_dict(stylegan2.state_dict())
    with torch.no_grad():
        found = cut(z).double()
    expected = reference(stylegan2.state_dict(), z, blocks=4, psi=0.5)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert not torch.allclose(found.float(), stylegan2(z), atol=1e-2)


def test_the_mean_w_is_estimated_where_it_is_missing(stylegan2: StyleGAN2) -> None:
    other = StyleGAN2.stored(**stylegan2.config)
    other.load_state_dict(stylegan2.state_dict())
    other.estimate_mean()
    with torch.no_grad():
        many = other.mapped(other.sample_z(20_000, seed=99))
    deviation = many.std(dim=0)
    assert ((other.latent_avg - many.mean(dim=0)).abs() < 0.1 * deviation).all()


def test_public_sizes() -> None:
    """The defaults at each public size; 30.37 M parameters at 1024 px, as published."""
    widths = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    for count, resolution, edit_layer, fine in [
        (7, 256, "b8_conv1", ("b32_conv1", "b64_conv1", "b128_conv1", "b256_conv1")),
        (8, 512, "b16_conv1", ("b64_conv1", "b128_conv1", "b256_conv1", "b512_conv1")),
        (9, 1024, "b32_conv1", ("b128_conv1", "b256_conv1", "b512_conv1", "b1024_conv1")),
    ]:
        with torch.device("meta"):
            model = StyleGAN2(widths[:count])
        assert model.resolution == resolution
        assert model.edit_layer == edit_layer
        assert model.fine_layers == fine
        assert config_of(model.state_dict())["channels"] == list(widths[:count])
        if resolution == 1024:
            assert sum(p.numel() for p in model.parameters()) == 30_370_060


def test_the_configuration_is_in_the_shapes(stylegan2: StyleGAN2) -> None:
    found = config_of(stylegan2.state_dict())
    assert found == {"channels": [12, 10, 8, 6], "latent_size": 9, "style_size": 7, "mapping_layers": 3}


def test_running_in_parts_is_running_at_once(stylegan2: StyleGAN2) -> None:
    z = stylegan2.sample_z(2, seed=1)
    with torch.no_grad():
        whole = stylegan2(z)
        for stage in stylegan2.stages:
            part = stylegan2.run(stylegan2.start(z), until=stage)
            assert part.stage == stage
            assert part.features.shape[1:] == stylegan2.shape(stage)
            assert torch.equal(stylegan2.picture(stylegan2.run(part)), whole)
            one = stylegan2.picture(stylegan2.run(part.one(1)))
            assert torch.allclose(one[0], whole[1], atol=1e-5)


@pytest.mark.parametrize("index", range(7))
def test_what_is_changed_at_a_stage_reaches_the_picture(stylegan2: StyleGAN2, index: int) -> None:
    """Edited features and a perturbation of the same stage give one picture: its RGB is read afterwards."""
    stage = stylegan2.stages[index]
    with torch.no_grad():
        state = stylegan2.run(stylegan2.start(stylegan2.sample_z(1, 1)), until=stage)
        edited = stylegan2.picture(stylegan2.run(state.replace(state.features * 1.5)))
        start = stylegan2.start(stylegan2.sample_z(1, 1))
        perturbed = stylegan2.picture(stylegan2.run(start, modify={stage: lambda features: 1.5 * features}))
        plain = stylegan2.picture(stylegan2.run(state))
    assert torch.allclose(edited, perturbed, atol=1e-5)
    assert not torch.allclose(edited, plain, atol=1e-3)


def test_rgb_alone_carries_an_edit_of_a_silenced_resolution(stylegan2: StyleGAN2) -> None:
    """Were RGB read before an edit, features that the next stage no longer sees could not be seen at all."""
    quiet = StyleGAN2.stored(**stylegan2.config)
    quiet.load_state_dict(stylegan2.state_dict())
    with torch.no_grad():
        quiet.convs[2].conv.weight.zero_()  # the first layer at 16 x 16 sees nothing
        state = quiet.run(quiet.start(quiet.sample_z(1, 1)), until="b8_conv1")
        change = quiet.picture(quiet.run(state.replace(state.features + 1))) - quiet.picture(quiet.run(state))
    assert change.abs().mean() > 0.01


def test_each_layer_has_its_own_w_and_noise(stylegan2: StyleGAN2) -> None:
    with torch.no_grad():
        w = stylegan2.mapped(stylegan2.sample_z(2, seed=1))
        plain = stylegan2.picture(stylegan2.run(stylegan2.start_w(w)))
        assert torch.equal(plain, stylegan2(stylegan2.sample_z(2, seed=1)))
        for position in range(stylegan2.layers_of_w):
            plus = w[:, None].repeat(1, stylegan2.layers_of_w, 1)
            plus[:, position] += 1
            other = stylegan2.picture(stylegan2.run(stylegan2.start_w(plus)))
            assert not torch.allclose(other, plain, atol=1e-4), position
        noise = {"b16_conv0": torch.randn(1, 1, 16, 16)}
        state = stylegan2.start_w(w, noise)
        noisy = stylegan2.picture(stylegan2.run(state))
        assert not torch.allclose(noisy, plain, atol=1e-4)
        alone = stylegan2.picture(stylegan2.run(state.one(1)))
        assert torch.allclose(alone[0], noisy[1], atol=1e-5)  # the noise is picked along
    with pytest.raises(ValueError, match="shape"):
        stylegan2.start_w(w[:, :3])
    with pytest.raises(ValueError, match="no stage 'b99'"):
        stylegan2.start_w(w, {"b99": torch.zeros(1, 1, 4, 4)})


def test_gradients_reach_w_and_the_features(stylegan2: StyleGAN2) -> None:
    w = stylegan2.mapped(stylegan2.sample_z(1, 1)).detach().requires_grad_()
    state = stylegan2.run(stylegan2.start_w(w), until=stylegan2.edit_layer)
    features = state.features.detach().requires_grad_()
    stylegan2.picture(stylegan2.run(state.replace(features))).square().mean().backward()
    for leaf in (w, features):
        assert leaf.grad is not None and float(leaf.grad.abs().sum()) > 0


def test_the_method_works_on_it(stylegan2: StyleGAN2, real_methods: None) -> None:
    """Inversion, an edit, its preview and its adaptation, by a session that knows nothing of StyleGAN2."""
    layer = stylegan2.edit_layer
    units = stylegan2.shape(layer)[0]
    table = torch.rand(2, units, generator=torch.Generator().manual_seed(1))
    known = Dissection(
        layer=layer, concepts=("tree", "sky"), iou=table, iqr=table, high=torch.full((units,), 3.0),
        present=3 * table, level=3 * table, weight=torch.ones(2, 2, units), effect=torch.full((2, 2), 0.5),
        colors={"tree": "#00ff00", "sky": "#0000ff"}, samples=1,
    )  # fmt: skip
    photo = np.linspace(40, 200, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)  # not of its world
    session = EditingSession(photo, Model("stylegan2", stylegan2, dissection=known), journal=False)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:16, 4:16] = 255
    before = np.asarray(session.preview).astype(int)
    session.add("tree", mask, strength=2)
    preview = np.asarray(session.preview).astype(int)
    assert np.abs(preview - before).max() > 5
    session.adapt()
    assert session.blend is not None and session.blend.after > session.blend.before + 1
    assert {name.lstrip("+") for name in session.blend.delta} == set(stylegan2.fine_layers)

    with torch.no_grad():
        x = stylegan2(stylegan2.sample_z(1, seed=9)).clamp(-1, 1)
    found = inversion.invert(Model("stylegan2", stylegan2), x, steps=5, starts=1)
    assert found.state.stage == layer and set(found.state.extra) >= {"w", "skip"}


def test_inversion_searches_in_w_plus(
    stylegan2: StyleGAN2, real_methods: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture whose layers have styles of their own is in no z; searching W+ comes nearer to it."""
    z = stylegan2.sample_z(stylegan2.layers_of_w, seed=7)
    styles = stylegan2.extended(z)
    mixed = styles[range(stylegan2.layers_of_w), range(stylegan2.layers_of_w)][None]
    with torch.no_grad():
        x = stylegan2.picture(stylegan2.run(stylegan2.start_w(mixed)))
        begun = stylegan2.start_extended(styles[:1])
        assert torch.allclose(stylegan2(z[:1]), stylegan2.picture(stylegan2.run(begun)), atol=1e-4)
    monkeypatch.setattr(inversion, "DRAWS", 8)
    monkeypatch.setattr(inversion, "SEARCH_STEPS", 40)
    model = Model("tiny", stylegan2)

    def apart() -> float:
        found = inversion.invert(model, x, steps=0, starts=2)
        with torch.no_grad():
            redrawn = stylegan2.picture(stylegan2.run(found.state))
        return float((redrawn - x).abs().mean())

    by_styles = apart()
    monkeypatch.setattr(StyleGAN2, "extended", StagedGenerator.extended)
    monkeypatch.setattr(StyleGAN2, "start_extended", StagedGenerator.start_extended)
    by_z = apart()
    assert by_styles < 0.5 * by_z, (by_styles, by_z)
