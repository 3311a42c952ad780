"""Inversion on the tiny random generator: what must hold whatever the generator is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganpaint_widget.images.metrics import psnr
from ganpaint_widget.method import inversion
from ganpaint_widget.models.model import Model
from ganpaint_widget.session.worker import Worker

pytestmark = pytest.mark.usefixtures("real_methods")


class Guess(nn.Module):
    """An encoder that knows the answer to one picture, nearly."""

    def __init__(self, generator: Any, z: Tensor, off: float) -> None:
        super().__init__()
        state = generator.run(generator.start(z), until=generator.edit_layer)
        noise = torch.randn(state.features.shape, generator=torch.Generator().manual_seed(0))
        self.z, self.answer = z, state.features + off * noise

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        count = len(pictures)
        return self.z.expand(count, -1), self.answer.expand(count, -1, -1, -1)


def blurs(pictures: Tensor) -> Sequence[Tensor]:
    """A perceptual metric of two scales."""
    return [F.avg_pool2d(pictures, 2), F.avg_pool2d(pictures, 4)]


@pytest.fixture
def photo(generator: Any) -> Tensor:
    with torch.no_grad():
        return generator(generator.sample_z(1, 5)).clamp(-1, 1)


@pytest.fixture
def near(generator: Any) -> Model:
    with torch.no_grad():
        encoder = Guess(generator, generator.sample_z(1, 5), 0.3)
    return Model("near", generator, encoder=encoder)


def drawn(generator: Any, found: inversion.Inversion) -> Tensor:
    with torch.no_grad():
        return generator.picture(generator.run(found.state))


def test_it_comes_nearer_than_the_guess_and_says_how_near(near: Model, generator: Any, photo: Tensor):
    guess = inversion.invert(near, photo, steps=0)
    found = inversion.invert(near, photo, steps=40, perceptual=blurs)
    assert found.state.stage == generator.edit_layer
    assert found.scores.psnr > guess.scores.psnr + 3
    assert found.scores.ssim > guess.scores.ssim
    picture = drawn(generator, found).clamp(-1, 1)
    assert found.scores.psnr == pytest.approx(psnr(picture, photo), abs=1e-3)
    wanted = sum(
        float((one - other).abs().mean()) for one, other in zip(blurs(picture), blurs(photo), strict=True)
    )
    assert found.scores.perceptual == pytest.approx(wanted, rel=1e-3)
    assert guess.scores.perceptual is None  # this model has no segmenter whose features could be compared
    assert not found.state.features.requires_grad


def test_the_metric_decides_what_near_means(near: Model, generator: Any, photo: Tensor):
    """Weighed heavily, a metric that sees only red gives red up last."""

    def red(pictures: Tensor) -> Sequence[Tensor]:
        return [pictures[:, :1]]

    foreign = torch.rand(photo.shape, generator=torch.Generator().manual_seed(2)) * 2 - 1
    plain = inversion.invert(near, foreign, steps=40, weight=0, perceptual=red)
    reddish = inversion.invert(near, foreign, steps=40, weight=20, perceptual=red)
    assert reddish.scores.perceptual < plain.scores.perceptual
    others = [
        float((drawn(generator, found)[:, 1:].clamp(-1, 1) - foreign[:, 1:]).abs().mean())
        for found in (plain, reddish)
    ]
    assert others[0] < others[1]


def test_the_segmenters_features_are_the_default_metric(near: Model, photo: Tensor):
    calls = []
    segmenter = SimpleNamespace(classes=("a",), features=lambda p: calls.append(1) or blurs(p))
    found = inversion.invert(replace(near, segmenter=segmenter), photo, steps=5)
    assert calls
    assert found.scores.perceptual is not None
    same = inversion.invert(near, photo, steps=5, perceptual=blurs)
    assert torch.equal(found.state.features, same.state.features)


def test_without_an_encoder_the_best_of_several_starts_is_taken(generator: Any, photo: Tensor, monkeypatch):
    monkeypatch.setattr(inversion, "DRAWS", 12)
    monkeypatch.setattr(inversion, "SEARCH_STEPS", 30)
    model = Model("bare", generator)
    one = inversion.invert(model, photo, steps=0, starts=1)
    several = inversion.invert(model, photo, steps=0, starts=6)
    assert several.z.shape == (1, generator.latent_size)
    error = [float((drawn(generator, found) - photo).abs().mean()) for found in (one, several)]
    assert error[1] <= error[0]
    again = inversion.invert(model, photo, steps=0, starts=6)
    assert torch.equal(again.z, several.z)


def test_a_batch_is_inverted_like_each_of_it(near: Model, generator: Any, photo: Tensor):
    with torch.no_grad():
        other = generator(generator.sample_z(1, 9)).clamp(-1, 1)
    both = inversion.invert(near, torch.cat([photo, other]), steps=8)
    for index, x in enumerate((photo, other)):
        alone = inversion.invert(near, x, steps=8).state.features
        # Adam is blind to the scale of a loss, up to its epsilon.
        assert torch.allclose(both.state.features[index : index + 1], alone, atol=0.02)


class Clock:
    """Time that passes a second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize("budget", [0.0, 6.0, 12.0])
def test_a_budget_ends_it_with_the_best_so_far(near, generator, photo, monkeypatch, budget: float):
    monkeypatch.setattr(inversion, "time", Clock())
    shown = []
    metric = lambda pictures: shown.append(1) or blurs(pictures)  # noqa: E731
    found = inversion.invert(near, photo, steps=1000, seconds=budget, perceptual=metric)
    # One look a step, and three for the target and the scores.
    assert len(shown) <= budget + 4
    guess = inversion.invert(near, photo, steps=0)
    assert found.scores.psnr >= guess.scores.psnr
    assert (found.scores.psnr > guess.scores.psnr + 0.5) == (budget > 0)


def test_without_an_encoder_the_budget_is_kept_too(generator: Any, photo: Tensor, monkeypatch):
    monkeypatch.setattr(inversion, "DRAWS", 3)
    monkeypatch.setattr(inversion, "time", Clock())
    found = inversion.invert(Model("bare", generator), photo, steps=10**6, seconds=20)
    assert found.seconds < 40
    assert torch.isfinite(found.state.features).all()


def test_the_best_is_kept_where_the_last_is_worse(near: Model, photo: Tensor, monkeypatch):
    """At a hopeless learning rate every step makes it worse, and the guess is returned."""
    monkeypatch.setattr(inversion, "LEARNING_RATE", 50.0)
    guess = inversion.invert(near, photo, steps=0)
    found = inversion.invert(near, photo, steps=6)
    assert torch.equal(found.state.features, guess.state.features)


def test_cancel_keeps_the_best_so_far(near: Model, photo: Tensor, worker: Worker):
    steps = []

    def watch(report: Any) -> None:
        steps.append(report.fraction)
        if len(steps) == 10:
            ticket.cancel()

    ticket = worker.ticket(watch)
    work = worker.submit(lambda: inversion.invert(near, photo, steps=100_000, ticket=ticket))
    found = work.result(timeout=60)
    assert len(steps) == 10
    assert found.scores.psnr > inversion.invert(near, photo, steps=0).scores.psnr


def test_samples_are_of_the_generators_world_and_noise_is_not(generator: Any):
    """The encoder here reads z off nothing but a first pixel; what counts is that samples are its own."""

    class Reader(nn.Module):
        def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
            z = pictures[:, :, :2, :2].flatten(1)[:, : generator.latent_size]
            return z, generator.run(generator.start(z), until=generator.edit_layer).features

    model = Model("read", generator, encoder=Reader())
    with torch.no_grad():
        samples = generator(generator.sample_z(20, 77)).clamp(-1, 1)
    noise = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)).round() * 2 - 1
    assert 0.2 < inversion.in_domain(model, samples) < 0.8
    assert inversion.in_domain(model, noise) == 0
    assert inversion.in_domain(Model("bare", generator), samples) is None
    found = inversion.invert(model, noise[:1], steps=0, domain=True)
    assert found.scores.in_domain == 0
