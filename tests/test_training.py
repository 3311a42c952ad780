"""Training: networks so small that it takes seconds. How good the shipped ones are is measured elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.demo.scenes import CLASSES, TRAINING
from ganpaint_widget.demo.segmenter import SceneSegmenter
from ganpaint_widget.demo.train_encoder import train_encoder
from ganpaint_widget.demo.train_generator import Painted, Painter, Players, Recipe, correlation, train
from ganpaint_widget.demo.train_segmenter import mean_iou, train_segmenter

TINY = Recipe(
    latent_size=8,
    channels=(8, 16, 8, 8, 8),
    edit_layer="layer4",
    base=32,
    scenes=64,
    teacher_steps=2,
    batch=8,
    warm_up=16,
    grow=40,
    refine=16,
    units=1,
    painted=2,
    penalty_every=2,
)


def test_training_goes_through_all_stages_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    train(folder, TINY, minutes=60, budget=48, log_every=1)
    first = torch.load(folder / "checkpoint.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert "gap" not in lines[0]  # the warm-up has no discriminator
    assert "gap" in lines[4]
    assert "inside" in lines[4]
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


def test_assigned_units_are_compared_with_their_concepts() -> None:
    areas = torch.rand(4, 3, 8, 8)
    areas[:, 2] = 0  # no picture shows it
    known = torch.stack([2 * areas + 1, -areas, torch.randn_like(areas)], dim=2)
    related = correlation(known, areas)
    torch.testing.assert_close(related[:2, :2], torch.tensor([[1.0, -1.0]] * 2), rtol=0, atol=1e-2)
    assert related[:2, 2].abs().max() < 0.5
    assert torch.equal(related[2], torch.zeros(3))


def test_painting_sets_the_units_of_one_concept_where_scenes_have_it() -> None:
    painter = Painter(TINY, 32)
    painter.levels.copy_(torch.arange(1.0, 12.0)[:, None])
    areas = torch.zeros(4, len(CLASSES), 8, 8)
    areas[:, 0] = 1  # too large to be painted
    areas[0, 4, 2:4, 2:4], areas[1, 6, 5, 5], areas[2, 5] = 1, 1, 1
    painted = Painted.like(areas, 4)
    assert painted.concept[:2].tolist() == [4, 6]
    assert [float(one.sum()) for one in painted.mask] == [4, 1, 0, 0]
    features = torch.randn(4, 16, 8, 8)
    changed = painter.paint(features, painted) - features
    assert changed.abs().sum(dim=1).gt(0).equal(painted.mask > 0)
    assert changed[0].flatten(1).any(dim=1).nonzero().flatten().tolist() == [4]

    before = torch.randn(4, len(CLASSES), 32, 32)
    shows = before.clone()
    shows[0, 4, 8:16, 8:16] += 50
    shows[1, 6, 20:24, 20:24] += 50
    (missed, kept), (shown, still) = painted.missed(before, before), painted.missed(before, shows)
    assert shown < 1e-6 < missed
    assert kept == still
    assert painted.missed(before, -before)[1] > kept


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
