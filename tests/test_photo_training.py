"""A generator of one's own photos: reading a folder, the two stages, and the model that comes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.demo.scenes import TRAINING, Scene
from ganpaint_widget.dissection import discovery, rename
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models.registry import keep_discovery, load, trained_folder
from ganpaint_widget.session import EditingSession
from ganpaint_widget.training import generator as training
from ganpaint_widget.training.autoencoder import AutoencoderRecipe, regions, train_autoencoder
from ganpaint_widget.training.judging import PatchDiscriminator, augmented, penalty
from ganpaint_widget.training.photos import FEWEST, Photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty scenes as PNG files of another shape than a square, two of them in a folder of their own."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for number in range(60):
        picture = Image.fromarray(Scene.sample(TRAINING[number]).render(64))
        wide = Image.new("RGB", (96, 64))
        wide.paste(picture, (16, 0))
        wide.save(folder / ("more" if number < 2 else ".") / f"{number}.png")
    return folder


def test_a_folder_of_photos_is_read_as_squares(folder: Path, tmp_path: Path) -> None:
    photos = Photos(folder, 32)
    assert photos.images.shape == (57, 32, 32, 3) and photos.held_out.shape == (3, 32, 32, 3)
    first = next(photos.batches(200, 0))[0]
    assert first.shape == (200, 3, 32, 32) and float(first.min()) >= -1 and float(first.max()) <= 1
    # The bars on both sides, which are black, are cut away.
    assert float((photos.images == 0).all(axis=3).mean()) < 0.01
    again = next(photos.batches(200, 0))[0]
    assert torch.equal(first, again) and not torch.equal(first, next(photos.batches(200, 1))[0])


def test_files_that_cannot_be_read_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.png"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (tmp_path / "notes.txt").write_text("not even by its name")
    photos = Photos(tmp_path, 32)
    assert list(photos.refused) == ["broken.jpg"]
    assert len(photos) + len(photos.held_out) == 58


def test_too_few_photos_are_refused(folder: Path, tmp_path: Path) -> None:
    for number in range(FEWEST - 1):
        (tmp_path / f"{number}.png").symlink_to(folder / f"{number + 2}.png")
    with pytest.raises(GANPaintError, match=f"{FEWEST - 1} readable photos"):
        Photos(tmp_path, 32)
    with pytest.raises(GANPaintError, match="does not exist"):
        Photos(tmp_path / "nowhere", 32)


def test_a_region_holds_the_cell_that_it_grew_from_and_cells_like_it() -> None:
    torch.manual_seed(0)
    features = torch.zeros(40, 2, 8, 8)
    features[:, 0, :, :4] = 1
    features[:, 1, :, 4:] = 1
    found = regions(features)
    left, right = found[..., :4].any(dim=(1, 2, 3)), found[..., 4:].any(dim=(1, 2, 3))
    assert bool((left ^ right).all())  # never both halves, never none


def test_augmentation_moves_and_cuts_and_lets_gradients_through() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(16, 3, 32, 32, requires_grad=True)
    seen = augmented(pictures, color=False)
    assert seen.shape == pictures.shape
    missing = (seen == 0).all(dim=1).float().mean(dim=(1, 2))
    assert float(missing.min()) > 0.05 and float(missing.max()) < 0.6
    seen.sum().backward()
    assert pictures.grad is not None and set(pictures.grad.unique().tolist()) <= {
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    }
    assert not torch.equal(augmented(pictures.detach(), color=True), seen)


def test_the_penalty_is_the_squared_slope_of_the_score() -> None:
    weight = torch.randn(3, 8, 8)
    inputs = torch.randn(5, 3, 8, 8)
    found = penalty(lambda x: (x * weight).sum(dim=(1, 2, 3)), inputs)
    assert float(found) == pytest.approx(float(weight.square().sum()), rel=1e-5)


def test_a_discriminator_learns_to_tell_drawn_pictures_and_the_painter_to_fool_it(
    folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    photos = Photos(folder, 32)
    recipe = AutoencoderRecipe(batch=8)
    run = train_autoencoder(
        tmp_path, training.new_painter(32), photos, recipe, minutes=60, budget=8, log_every=1
    )
    first = json.loads((tmp_path / "autoencoder.jsonl").read_text().splitlines()[0])
    run = train_autoencoder(
        tmp_path, training.new_painter(32), photos, recipe, minutes=60, budget=400, log_every=1
    )
    lines = [json.loads(line) for line in (tmp_path / "autoencoder.jsonl").read_text().splitlines()]
    assert run.shown == 400 and lines[0] == first and lines[-1]["shown"] == 400
    late = np.mean([line["pixels"] for line in lines[-5:]])
    assert late < 0.6 * first["pixels"]
    assert isinstance(run.discriminator, PatchDiscriminator)
    assert (tmp_path / "autoencoder-00000k.png").is_file()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANPAINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_command_makes_a_model_that_opens_by_its_name(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training, "INITIALIZER_STEPS", 2)
    monkeypatch.setattr(training, "PRIOR_STEPS", 2)
    quick = {"samples": 30, "steps": 10, "batch": 15}
    monkeypatch.setattr(discovery.discover, "__kwdefaults__", {**discovery.discover.__kwdefaults__, **quick})
    monkeypatch.setattr(discovery, "TRIED", 2)
    caplog.set_level("INFO")
    words = ["train", "generator", str(folder), "--size", "32", "--minutes", "0.1", "--name", "mine"]
    said = CliRunner().invoke(app, [*words, "--license", "CC0", "--concepts", "3"])
    assert said.exit_code == 0, said.output
    assert "GANPaint(generator='mine')" in said.output
    made = trained_folder("mine")
    assert made == cache / "generators" / "mine"
    card = (made / "CARD.md").read_text()
    assert "CC0" in card and "| photos | 60;" in card
    metrics = json.loads((made / "measures.json").read_text())
    assert metrics["photos"] == 60 and metrics["psnr_of_held_out_photos"] > 5
    with Image.open(made / "samples.png") as sheet:
        assert sheet.size == (256, 256)
    for source in ("mine", made):
        model = load(source)
        assert model.name == "mine" and model.generator.resolution == 32
        assert model.encoder is not None and model.initializer is not None
    # It can be painted with at once.
    told = [one.getMessage() for one in caplog.records]
    assert "Finding concepts: 0 %" in told and "Finding concepts: 100 %" in told
    session = EditingSession(generator="mine")
    assert 2 <= len(session.concepts) <= 3 and metrics["concepts"] == len(session.concepts)
    before = np.array(session.preview)
    session.add(session.concepts[-1], np.ones((32, 32), bool))
    assert not np.array_equal(np.array(session.preview), before)
    # Names that were given since are there the next time.
    assert session.model.dissection is not None
    keep_discovery(session.model.generator, rename(session.model.dissection, "part 1", "meadow"))
    assert load("mine").dissection.concepts[0] == "meadow"
    session.close()
    # Concepts are of the weights, so that a training without them leaves none behind.
    said = CliRunner().invoke(app, [*words, "--concepts", "0"])
    assert said.exit_code == 0, said.output
    assert not (made / "generator.dissection.safetensors").exists()


def test_a_name_that_another_model_has_is_refused(cache: Path) -> None:
    for name in ("demo", "church", "../up", "", "a b"):
        with pytest.raises(GANPaintError, match="cannot be called"):
            trained_folder(name)


def test_a_training_that_has_not_finished_is_no_model(cache: Path) -> None:
    (trained_folder("half") / "training").mkdir(parents=True)
    with pytest.raises(GANPaintError, match="no finished generator"):
        load("half")


def test_sizes_that_cannot_be_trained_are_refused() -> None:
    with pytest.raises(GANPaintError, match="of 100 pixels"):
        training.new_painter(100)
    for size in training.SIZES:
        painter = training.new_painter(size)
        assert painter.generator.resolution == size
        features = painter.generator.shape(painter.generator.edit_layer)
        with torch.no_grad():
            drawn = painter.draw(painter.encode(torch.zeros(1, 3, size, size)))
        assert drawn.shape == (1, 3, size, size) and features[-1] in (8, 16)
