"""Adaptation on the tiny random generator: what R and the loss must do whatever the generator is."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from ganpaint_widget.method import ablation, adaptation
from ganpaint_widget.method.ablation import Ablation
from ganpaint_widget.method.adaptation import AdaptationConfig
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.session.worker import Worker

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
    network = ablation.PerturbationNetwork({n: generator.shape(n) for n in generator.fine_layers})
    with torch.no_grad():
        delta = network()
        assert {name: one.shape[1:] for name, one in delta.items()} == {
            name: generator.shape(name) for name in generator.fine_layers
        }
        plain = generator.picture(generator.run(edited))
        assert torch.equal(adaptation.render(generator, edited, delta), plain)


WAYS = {
    "pyramid": AdaptationConfig(),
    "added": Ablation(combine="add"),
    "direct": Ablation("direct"),
    "without regularization": AdaptationConfig(regularization=0),
    "network": Ablation("network", regularization=0.1),
    "weights": Ablation("weights"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_fits_the_photo_and_leaves_the_generator(generator: ProGAN, case, way: AdaptationConfig) -> None:
    original, edited, x, strokes = case
    weights = {name: p.clone() for name, p in generator.named_parameters()}
    learning = [p.requires_grad for p in generator.parameters()]
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    found = adaptation.adapt(generator, edited, x, keep, original=original, config=way)
    assert found.after > found.before + 6
    assert 1 <= found.steps <= way.steps
    assert [p.requires_grad for p in generator.parameters()] == learning
    assert all(p.grad is None for p in generator.parameters())
    picture = ablation.render(generator, edited, found.delta)
    assert adaptation.kept_psnr(picture, x, keep) == pytest.approx(found.after, abs=0.01)
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


def test_kept_psnr_counts_the_kept_alone() -> None:
    x, picture = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    picture[..., 0] = 1
    picture[..., 1] = 0.2
    keep = torch.ones(1, 1, 4, 4)
    keep[..., 0] = 0
    # 0.04 on a third of the kept pixels, of a range of 2: 10 log10(4 / (0.04 / 3))
    assert adaptation.kept_psnr(picture, x, keep) == pytest.approx(24.77, abs=0.01)


def test_survival_without_a_perturbation_is_one(generator: ProGAN, case) -> None:
    original, edited, _, strokes = case
    nothing = {name: torch.zeros(1, *generator.shape(name)) for name in generator.fine_layers}
    assert adaptation.survival(generator, original, edited, nothing, 1 - strokes) == pytest.approx(
        1, abs=1e-5
    )
    erased = {name: torch.full((1, *generator.shape(name)), -1.0) for name in generator.fine_layers}
    assert adaptation.survival(generator, original, edited, erased, 1 - strokes) < 0.01
    assert adaptation.survival(generator, original, original, nothing, 1 - strokes) is None


def test_what_is_stored_says_how_it_acts(generator: ProGAN, case) -> None:
    """By its names alone: multiplied, added, or a change of a weight."""
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    adapt = partial(adaptation.adapt, generator, edited, x, keep, original=original, steps=1)
    names = {key: set(adapt(config=way).delta) for key, way in WAYS.items()}
    fine = set(generator.fine_layers)
    assert names["pyramid"] == names["direct"] == names["network"] == fine
    assert names["added"] == {f"+{name}" for name in fine}
    # the stages behind the first fine layer, whose output is where deltas begin
    behind = generator.stages[generator.stage_index(generator.fine_layers[0]) + 1 :]
    assert {name.split(".")[0] for name in names["weights"]} == {*behind, generator.output_name}


def test_the_pyramid_goes_on_through_the_edit(generator: ProGAN, case) -> None:
    """Where the loss is silent a direct delta stays zero, and the pyramid goes on from the surroundings."""
    original, _, x, _ = case
    keep = torch.ones(1, 1, 32, 32)
    keep[..., 12:20, 12:20] = 0
    inside = {}
    for name in ("pyramid", "direct"):
        found = adaptation.adapt(generator, original, x, keep, original=original, config=Ablation(name))
        last = found.delta[generator.fine_layers[-1]]
        inside[name] = float(last[..., 15:17, 15:17].abs().mean() / last.abs().mean())
    assert inside["direct"] == 0
    assert inside["pyramid"] > 0.1


def test_a_warm_start_goes_on_from_there(generator: ProGAN, case) -> None:
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    for way in (AdaptationConfig(), Ablation("weights")):
        adapt = partial(adaptation.adapt, generator, edited, x, keep, original=original, config=way)
        first = adapt(steps=20)
        assert adapt(steps=1, start=first.delta).after == pytest.approx(first.after, abs=0.01)
        assert adapt(steps=10, start=first.delta).after > adapt(steps=10).after


def test_a_gate_closes_where_the_edit_is(generator: ProGAN, case) -> None:
    """Fitted once to the photo as it is, then shown with the edit."""
    original, edited, x, strokes = case
    whole = torch.ones_like(strokes)
    delta = adaptation.adapt(generator, original, x, whole, original=original).delta
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    plain = adaptation.render(generator, edited, {})
    before = adaptation.kept_psnr(plain, x, keep)
    held = adaptation.gated(generator, delta, original, edited)
    assert all((held[name].abs() <= delta[name].abs() + 1e-6).all() for name in delta)
    assert adaptation.kept_psnr(adaptation.render(generator, edited, held), x, keep) > before + 3
    same = adaptation.gated(generator, delta, original, original)
    assert all(torch.equal(same[name], delta[name]) for name in delta)
    # Where all has changed, nothing of it is left.
    other = original.replace(-original.features)
    closed = adaptation.gated(generator, delta, original, other)
    assert all(closed[name].norm() < 0.2 * delta[name].norm() for name in delta)
    assert sum(closed[name].norm() for name in delta) < 0.5 * sum(held[name].norm() for name in delta)


def test_gates_in_one_pass_do_what_gating_in_two_does(generator: ProGAN, case) -> None:
    original, edited, x, strokes = case
    delta = adaptation.adapt(generator, original, x, torch.ones_like(strokes), original=original).delta
    modify = adaptation.gates(generator, delta, original)
    with torch.no_grad():
        # without an edit it is G'(z), not a little of it
        whole = generator.picture(generator.run(original, modify=modify))
        assert torch.allclose(whole, adaptation.render(generator, original, delta), atol=1e-5)
        once = generator.picture(generator.run(edited, modify=modify))
        twice = adaptation.render(generator, edited, adaptation.gated(generator, delta, original, edited))
        plain = adaptation.render(generator, edited, {})
    # they differ in whether a layer sees what was changed in the layers before it
    assert (once - twice).norm() < 0.35 * (twice - plain).norm()
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    assert adaptation.kept_psnr(once, x, keep) > adaptation.kept_psnr(plain, x, keep) + 3


def test_a_budget_of_no_time_still_gives_a_picture(generator: ProGAN, case) -> None:
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    found = adaptation.adapt(generator, edited, x, keep, original=original, seconds=1e-9)
    assert found.steps == 1
    picture = adaptation.render(generator, edited, found.delta)
    assert torch.equal(picture, adaptation.render(generator, edited, {}))


def test_pictures_come_early_and_get_better(generator: ProGAN, case) -> None:
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    shown: list[float] = []

    def on_picture(picture: torch.Tensor, psnr: float) -> None:
        assert adaptation.kept_psnr(picture, x, keep) == pytest.approx(psnr, abs=1e-4)
        shown.append(psnr)

    found = adaptation.adapt(generator, edited, x, keep, original=original, on_picture=on_picture)
    assert len(shown) >= 6
    assert shown[0] > found.before
    assert shown[-1] > shown[0]
    assert found.after >= shown[-1]


def test_cancel_keeps_the_best_so_far(generator: ProGAN, case, worker: Worker) -> None:
    original, edited, x, strokes = case
    keep = adaptation.keep_mask(generator, original, edited, strokes)
    decibels: list[float] = []

    def watch(report) -> None:
        decibels.append(report.numbers["psnr"])
        if len(decibels) == 20:
            ticket.cancel()

    ticket = worker.ticket(watch)
    adapt = partial(adaptation.adapt, original=original, steps=10_000, ticket=ticket)
    found = worker.submit(adapt, generator, edited, x, keep).result(timeout=60)
    assert found.steps < 100
    assert found.after >= max(decibels) - 1e-6
    assert found.after > found.before
