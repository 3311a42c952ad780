"""The prior: from standard normal numbers to latents that pictures have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models.checkpoints import read_safetensors, write_module, write_safetensors
from ganpaint_widget.models.prior import Prior
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.reading import read_progan
from ganpaint_widget.training import prior as training
from ganpaint_widget.training.data import SampleBatches
from ganpaint_widget.training.prior import train_prior


def ring(count: int) -> Tensor:
    """Latents on a circle of radius 4 in two of 16 components, thus as long as an encoder's."""
    angles = 2 * torch.pi * torch.rand(count)
    return torch.cat([4 * torch.stack([angles.cos(), angles.sin()], dim=1), torch.zeros(count, 14)], dim=1)


def off(latents: Tensor) -> float:
    """How far latents are from the circle, as a median."""
    return float(((latents[:, :2].norm(dim=1) - 4).square() + latents[:, 2:].square().sum(1)).sqrt().median())


@pytest.fixture(scope="module")
def trained() -> Prior:
    torch.manual_seed(0)
    return train_prior(ring(2000), steps=600, batch=128, width=64)


def test_samples_of_a_prior_lie_where_the_latents_lie_all_around(trained: Prior) -> None:
    torch.manual_seed(1)
    noise = torch.randn(500, 16)
    with torch.no_grad():
        made = trained(noise)
    assert off(ring(500)) < 1e-5
    assert off(made) < 2
    # Cheats: the noise itself, and the latents' mean.
    assert off(noise) > 3
    assert off(ring(500).mean(dim=0, keepdim=True).expand(500, -1)) > 3
    # No part of the circle is left out.
    quarters = torch.bincount(2 * (made[:, 0] > 0) + (made[:, 1] > 0), minlength=4)
    assert quarters.min() > 60


def test_the_average_that_fits_held_out_latents_best_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Few latents are soon known by heart, and then a prior becomes worse for others."""
    caplog.set_level("INFO")
    torch.manual_seed(0)
    few = torch.nn.functional.normalize(torch.randn(20, 16)) * 4
    monkeypatch.setattr(training, "TRIED_EVERY", 50)
    monkeypatch.setattr(training, "KEPT_APART", 0.5)
    kept = train_prior(few, steps=600, batch=64, width=256)
    told = [one.args for one in caplog.records]
    tried = {step: missed for step, _, missed in told[:-1]}
    best = min(tried, key=tried.__getitem__)
    assert told[-1] == (best,)
    assert tried[600] > 1.02 * tried[best]

    # It is the average of that step, not a name for the last one.
    monkeypatch.setattr(training, "TRIED_EVERY", 10_000)
    last = train_prior(few, steps=600, batch=64, width=256)
    torch.manual_seed(2)
    noise, t = torch.randn(10, 16), torch.rand(10)
    assert not torch.allclose(kept.velocity(noise, t), last.velocity(noise, t), atol=0.05)


def test_a_generator_without_a_prior_has_standard_normal_latents() -> None:
    generator = ProGAN(8, (8, 8, 8, 4)).eval()
    source = torch.Generator().manual_seed(3)
    assert torch.equal(generator.sample_z(5, 3), torch.randn(5, 8, generator=source))
    noise = torch.randn(2, 8)
    assert torch.equal(generator.latents(noise), noise)


def test_a_prior_makes_all_samples_of_its_generator(trained: Prior, tmp_path: Path) -> None:
    generator = ProGAN(16, (8, 8, 8, 4)).eval()
    generator.prior = trained
    latents = generator.sample_z(4, 3)
    assert off(latents) < 2 and not latents.requires_grad
    torch.testing.assert_close(generator.sample_z(2, 3), latents[:2])
    torch.testing.assert_close(generator.sample(1, 3)[0], generator(latents)[0], atol=1e-3, rtol=0)
    assert off(SampleBatches(generator, None, 8, seed=0).latents()) < 2

    path = tmp_path / "generator.safetensors"
    write_module(path, "generator", generator, generator.config)
    read = read_progan(path)
    assert isinstance(read.prior, Prior) and read.config == generator.config
    torch.testing.assert_close(read.sample_z(4, 3), latents, atol=0.02, rtol=0)

    # A file may say nothing of a prior, as those of earlier versions, or claim one that it does not hold.
    tensors, config = read_safetensors(path, "generator")
    plain = {name: one for name, one in tensors.items() if not name.startswith("prior.")}
    old = {name: one for name, one in config.items() if name != "prior"}
    write_safetensors(path, plain, {"kind": "generator", "config": json.dumps(old)})
    assert read_progan(path).prior is None
    write_safetensors(path, plain, {"kind": "generator", "config": json.dumps(config)})
    with pytest.raises(GANPaintError, match="do not fit"):
        read_progan(path)
