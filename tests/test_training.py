"""Training: networks so small that it takes seconds. How good the shipped ones are is measured elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.demo.scenes import CLASSES, TRAINING
from ganpaint_widget.demo.segmenter import SceneSegmenter
from ganpaint_widget.demo.train_generator import Painter, Players, Recipe, train
from ganpaint_widget.demo.train_segmenter import mean_iou, train_segmenter
from ganpaint_widget.demo.train_units import UNITS, Painted, arrange_units, correlation, known
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models import registry
from ganpaint_widget.models.checkpoints import write_module
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.training.encoder import train_encoder

TINY = Recipe(
    latent_size=8,
    channels=(8, 8, 8, 8, 8),
    edit_layer="layer4",
    base=32,
    scenes=64,
    teacher_steps=2,
    batch=8,
    warm_up=16,
    grow=40,
    refine=16,
    penalty_every=2,
)


def test_training_goes_through_all_stages_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    train(folder, TINY, minutes=60, budget=48, log_every=1)
    first = torch.load(folder / "checkpoint.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert "gap" not in lines[0]  # the warm-up has no discriminator
    assert "gap" in lines[4]
    assert "drift" in lines[5]  # the new layers by themselves
    assert first["shown"] == lines[-1]["shown"] == 8 * len(lines) == 48
    assert first["resolution"] == 64
    assert list(folder.glob("samples-*.png"))

    train(folder, TINY, minutes=60, budget=64, log_every=1)
    second = torch.load(folder / "checkpoint.pt", weights_only=True)
    again = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert again[: len(lines)] == lines
    assert [line["shown"] for line in again[len(lines) :]] == [56, 64]
    assert "gap" in again[-1]
    assert second["spent"] > first["spent"]


def test_growing_changes_nobodys_mind() -> None:
    """Pictures twice as large are encoded and judged as their 2 x 2 averages were."""
    small = Players(TINY, 32)
    large = small.grown(TINY)
    pictures, labels = torch.randn(8, 3, 64, 64), torch.rand(8, 11, 32, 32)
    averaged = F.avg_pool2d(pictures, 2)
    with torch.no_grad():
        for before, after in (
            (small.discriminator(averaged, labels), large.discriminator(pictures, labels)),
            (small.painter.encode(averaged)[0], large.painter.encode(pictures)[0]),
            (small.painter.draw(z := torch.randn(4, 8))[0], large.painter.draw_refined(z)[1]),
        ):
            torch.testing.assert_close(before, after, rtol=0, atol=1e-5)


# --- units ---


def test_assigned_units_are_compared_with_their_concepts() -> None:
    areas = torch.rand(4, 3, 8, 8)
    areas[:, 2] = 0  # no picture shows it
    related = correlation(torch.stack([2 * areas + 1, -areas, torch.randn_like(areas)], dim=2), areas)
    torch.testing.assert_close(related[:2, :2], torch.tensor([[1.0, -1.0]] * 2), rtol=0, atol=1e-2)
    assert related[:2, 2].abs().max() < 0.5
    assert torch.equal(related[2], torch.zeros(3))


def test_painting_sets_the_units_of_one_concept_where_pictures_show_it() -> None:
    areas = torch.zeros(4, 3, 8, 8)
    areas[:, 0] = 1  # too large to be an object
    areas[0, 1, 2:4, 2:4], areas[1, 2, 5, 5] = 1, 1
    painted = Painted.like(areas)
    assert painted.concept[:2].tolist() == [1, 2]
    assert [float(one.sum()) for one in painted.mask] == [4, 1, 0, 0]
    features = torch.randn(4, 3 * UNITS + 2, 8, 8)
    edited = painted.paint(features, torch.arange(3.0)[:, None].expand(-1, UNITS) + 10)
    changed = edited != features
    assert changed.any(dim=1).equal(painted.mask > 0)
    assert known(edited, 3)[0, 1, :, 2, 2].tolist() == [11] * UNITS
    assert torch.equal(edited[0, :UNITS], features[0, :UNITS])
    assert torch.equal(edited[:, 3 * UNITS :], features[:, 3 * UNITS :])


def test_arranged_units_know_more_and_draw_the_same() -> None:
    torch.manual_seed(0)
    generator = ProGAN(8, (24, 24, 16, 16), "layer4")
    # It sees bright and dark: what any random generator draws.
    segmenter = SceneSegmenter(("dark", "bright"), (4, 4, 4, 4))
    segmenter.forward = lambda x: 8 * torch.stack([-x.mean(dim=1), x.mean(dim=1)], dim=1)  # type: ignore[method-assign]
    arranged = arrange_units(generator, segmenter, steps=60, batch=8, rate=0.03)
    with torch.no_grad():
        z = generator.sample_z(16, seed=1)
        plain = generator(z)
        areas = F.adaptive_avg_pool2d(segmenter(plain).softmax(dim=1), 8)

        def related(one: ProGAN) -> float:
            features = one.run(one.start(z), until="layer4").features
            return float(correlation(known(features, 2), areas).mean())

        assert related(arranged) > related(generator) + 0.05
        assert (arranged(z) - plain).abs().mean() < 0.8 * (plain - plain.roll(1, 0)).abs().mean()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SceneData:
    return SceneData(tmp_path_factory.mktemp("scenes"), 32, TRAINING[:100])


def test_scenes_are_rendered_once(data: SceneData, tmp_path: Path) -> None:
    first = SceneData(tmp_path, 32, TRAINING[:4])
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = SceneData(tmp_path, 32, TRAINING[:4])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert (first.images == again.images).all()
    assert (first.labels == data.labels[:4]).all()


def test_a_segmenter_learns(data: SceneData) -> None:
    segmenter = SceneSegmenter(CLASSES, (8, 12, 16, 16))
    before, _ = mean_iou(train_segmenter(segmenter, data, steps=1), data, 100)
    after, _ = mean_iou(train_segmenter(segmenter, data, steps=60), data, 100)
    assert after > before + 0.15


@pytest.mark.parametrize("kind", ["ProGAN", "StyleGAN2"])
def test_an_encoder_for_any_generator_goes_into_the_cache_and_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("GANPAINT_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(3)
    path = tmp_path / f"mine.{'safetensors' if kind == 'ProGAN' else 'pt'}"
    if kind == "ProGAN":
        generator = ProGAN(8, (16, 16, 16, 8)).eval()
        write_module(path, "generator", generator, generator.config)
    else:  # as the public files are laid out
        weights = StyleGAN2((16, 16, 16, 8), 8, 8, mapping_layers=2).state_dict()
        torch.save({"latent_avg": weights.pop("latent_avg"), "g_ema": weights}, path)

    def trained(steps: int) -> float:
        options = [f"--generator={path}", f"--steps={steps}", "--batch=4", "--json"]
        result = CliRunner().invoke(app, ["train", "encoder", *options])
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout.splitlines()[-1])
        assert Path(told["encoder"]).is_relative_to(tmp_path / "cache")
        return float(told["psnr"])

    missing = CliRunner().invoke(app, ["train", "encoder", "--generator=nobody"])
    assert missing.exit_code == 1 and "There is no generator 'nobody'" in missing.output
    assert registry.load(path).encoder is None
    few = trained(2)
    assert trained(40) > few + 1
    model = registry.load(path)
    assert model.encoder is not None and model.initializer is not None

    # another generator's weights are another encoder's
    assert registry.load(ProGAN(8, (16, 16, 16, 8))).encoder is None

    # and inversions begin from it
    def search(*_: object) -> None:
        raise AssertionError("There is an encoder.")

    monkeypatch.setattr("ganpaint_widget.method.inversion._search", search)
    x = model.generator(model.generator.sample_z(1, seed=77)).clamp(-1, 1).detach()
    found = invert(model, x)
    assert found.scores.psnr > few

    # as blends begin from the initializer
    delta = model.first_delta(found.state, x, torch.ones_like(x[:, :1]))
    assert delta is not None and tuple(delta) == model.generator.fine_layers


def test_an_encoder_learns(data: SceneData) -> None:
    torch.manual_seed(0)
    generator = Painter(TINY, 32).generator.eval()
    x = next(data.batches(16, 5))[0]

    @torch.no_grad()
    def error(steps: int) -> float:
        with torch.enable_grad():
            encoder = train_encoder(generator, data, steps=steps, batch=8)
        z, features = encoder(x)
        state = generator.run(generator.start(z), until=generator.edit_layer)
        return float((generator.picture(generator.run(state.replace(features))) - x).abs().mean())

    assert error(60) < 0.9 * error(2)
