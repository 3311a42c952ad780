"""Adaptation on the tiny random generator: what R and the loss must do whatever the generator is."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from ganpaint_widget import adaptation
from ganpaint_widget.generators.progan import ProGAN
from ganpaint_widget.generators.staged import State
from ganpaint_widget.jobs import Worker

pytestmark = pytest.mark.usefixtures("real_methods")


@pytest.fixture
def case(generator: ProGAN) -> tuple[State, State, torch.Tensor, torch.Tensor]:
    """z, z_e, a photo that G(z) is not, and the strokes."""
    with torch.no_grad():
        original = generator.run(generator.start(generator.sample_z(1, 1)), until=generator.edit_layer)
        features = original.features.clone()
        features[:, :8, 2:4, 2:4] = 3
        edited = original.replace(features)
        x = (generator.picture(generator.run(original)) * 0.7 + 0.2).clamp(-1, 1)
    strokes = torch.zeros(1, 1, 32, 32)
    size = 32 // original.features.shape[-1]
    strokes[..., 2 * size : 4 * size, 2 * size : 4 * size] = 1
    return original, edited, x, strokes


def test_g_prime_starts_as_g(generator: ProGAN, case) -> None:
    _, edited, _, _ = case
    network = adaptation.PerturbationNetwork({n: generator.shape(n) for n in generator.fine_layers})
    with torch.no_grad():
        delta = network()
        assert {name: one.shape[1:] for name, one in delta.items()} == {
            name: generator.shape(name) for name in generator.fine_layers
        }
        plain = generator.picture(generator.run(edited))
        assert torch.equal(adaptation.render(generator, edited, delta), plain)


def test_it_fits_the_photo_and_leaves_the_generator(generator: ProGAN, case) -> None:
    original, edited, x, strokes = case
    weights = {name: p.clone() for name, p in generator.named_parameters()}
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    found = adaptation.adapt(generator, edited, x, keep, original=original, steps=120)
    assert found.after > found.before + 6
    picture = adaptation.render(generator, edited, found.delta)
    assert adaptation.kept_decibel(picture, x, keep) == pytest.approx(found.after, abs=0.01)
    assert all(torch.equal(weights[name], p) for name, p in generator.named_parameters())


def test_the_keep_mask_is_open_where_the_edit_is(generator: ProGAN, case) -> None:
    original, edited, _, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    assert keep.min() >= 0
    assert keep.max() <= 1
    assert float((keep * strokes).max()) < 0.2
    assert float(keep[..., -4:, -4:].min()) > 0.99
    untouched = adaptation.keep_mask(generator, original, original, torch.zeros_like(strokes))
    assert float(untouched.min()) == 1


def test_kept_decibel_counts_the_kept_alone() -> None:
    x, picture = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    picture[..., 0] = 1
    picture[..., 1] = 0.2
    keep = torch.ones(1, 1, 4, 4)
    keep[..., 0] = 0
    # 0.04 on a third of the kept pixels, of a range of 2: 10 log10(4 / (0.04 / 3))
    assert adaptation.kept_decibel(picture, x, keep) == pytest.approx(24.77, abs=0.01)


def test_survival_without_a_perturbation_is_one(generator: ProGAN, case) -> None:
    original, edited, _, strokes = case
    nothing = {name: torch.zeros(1, *generator.shape(name)) for name in generator.fine_layers}
    assert adaptation.survival(generator, original, edited, nothing, 1 - strokes) == pytest.approx(
        1, abs=1e-5
    )
    erased = {name: torch.full((1, *generator.shape(name)), -1.0) for name in generator.fine_layers}
    assert adaptation.survival(generator, original, edited, erased, 1 - strokes) < 0.01
    assert adaptation.survival(generator, original, original, nothing, 1 - strokes) is None


def test_cancel_keeps_the_best_so_far(generator: ProGAN, case, worker: Worker) -> None:
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    decibels: list[float] = []

    def watch(report) -> None:
        decibels.append(report.numbers["decibel"])
        if len(decibels) == 30:
            ticket.cancel()

    ticket = worker.ticket(watch)
    adapt = partial(adaptation.adapt, original=original, steps=10_000, ticket=ticket)
    found = worker.submit(adapt, generator, edited, x, keep).result(timeout=60)
    assert found.steps < 100
    assert found.after >= max(decibels) - 1e-6
    assert found.after > found.before
