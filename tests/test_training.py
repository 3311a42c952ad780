"""Training: networks so small that it takes seconds. How good the shipped ones are is measured elsewhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.demo import shaping
from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.demo.pairs import Pairs
from ganpaint_widget.demo.scenes import CLASSES, TRAINING
from ganpaint_widget.demo.segmenter import SceneSegmenter
from ganpaint_widget.demo.train import painter_from
from ganpaint_widget.demo.train_details import (
    CELLS,
    INNER,
    DetailsRecipe,
    DetailsRun,
    Gallery,
    train_details,
    with_details,
)
from ganpaint_widget.demo.train_edits import DEMO, chroma, moved, new_painter, stroke, train_edits
from ganpaint_widget.demo.train_segmenter import mean_iou, train_segmenter
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.method.equation import apply, mean_activations
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models import registry
from ganpaint_widget.models.checkpoints import write_module
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.progan import ProGAN, pixel_norm
from ganpaint_widget.models.shaper import Shaper
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.training import precision
from ganpaint_widget.training.axes import skewed_axes, turned
from ganpaint_widget.training.data import to_tensor
from ganpaint_widget.training.encoder import train_encoder
from ganpaint_widget.training.features import FeatureRecipe, FeatureRun, train_features, with_features
from ganpaint_widget.training.judging import PatchDiscriminator
from ganpaint_widget.training.muon import Muon, orthogonalized
from ganpaint_widget.training.painter import Painter, mean_inside, painted

TINY = dataclasses.replace(
    DEMO,
    latent_size=8,
    channels=(8, 8, 8, 8, 8),
    edit_layer="layer6",
    residual=(1,),
    pairs=16,
    batch=4,
    warm_up=18,
    ramp=12,
    penalty_every=2,
)


# --- edits in the loop ---


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"), 64, 16)


def test_pairs_differ_by_one_object_where_the_mask_is(pairs: Pairs) -> None:
    batch = next(pairs.batches(16, 0))
    for one in range(16):
        where = batch.mask[one, 0] > 0
        before, after = batch.instances_without[one], batch.instances_with[one]
        assert len((after[where] >> 3).unique()) == 1  # all of it is one concept
        assert not (before[where] == after[where]).any()
        far = torch.nn.functional.max_pool2d(batch.mask[one], 31, stride=1, padding=15)[0] == 0
        assert torch.equal(batch.without[one][:, far], batch.with_[one][:, far])


def test_pairs_are_rendered_once(tmp_path: Path) -> None:
    first = Pairs(tmp_path, 32, 4)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = Pairs(tmp_path, 32, 4)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert all((one == other).all() for one, other in zip(first.arrays, again.arrays, strict=True))


def test_lessons_edit_as_the_editor_does(pairs: Pairs) -> None:
    batch = next(pairs.batches(1, 3))
    features = torch.randn(1, 8, 16, 16)
    mask = (batch.mask[0, 0].numpy() * 255).astype(np.uint8)
    own = mean_inside(features, batch.mask)
    torch.testing.assert_close(
        own.flatten(), mean_activations(State(features, "layer6"), batch.mask[0, 0]), rtol=0, atol=1e-5
    )
    edit = Edit("e", "add", "tree", mask, target="exemplar", activations=own.flatten().numpy())
    # The fine layers learn with the mean itself. What a shaper makes of it is nearer to a true object.
    edited = apply(State(features, "layer6"), [edit], NoUnits(), shaped=lambda *given: given[-1]).features
    torch.testing.assert_close(painted(features, batch.mask, own), edited, rtol=0, atol=1e-5)


class NoUnits:
    """All that an edit with activations of its own asks of a dissection: nothing."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def test_strokes_are_where_the_object_is() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:40, 30:44] = True
    random = np.random.default_rng(0)
    for _ in range(40):
        drawn = stroke(random, mask)
        assert drawn.any() and (drawn & mask).sum() > 0.15 * drawn.sum()
        rows, columns = np.nonzero(drawn)
        assert rows.min() > 5 and rows.max() < 58 and columns.min() > 15 and columns.max() < 60


def test_a_moved_mask_goes_with_the_moved_picture() -> None:
    random = np.random.default_rng(0)
    masks = torch.zeros(40, 1, 64, 64)
    for mask in masks:
        top, left = random.integers(0, 50, 2)
        mask[:, top : top + 12, left : left + 10] = 1
    views, places, objects = moved(masks.expand(-1, 3, -1, -1), masks, masks[:, 0].long(), random)
    assert torch.equal(objects * places[:, 0], places[:, 0])
    assert not torch.equal(places, masks)
    assert (places.sum(dim=(1, 2, 3)) > 20).all(), "it stays in the picture"
    inside = (views * places).sum(dim=(1, 2, 3)) / (3 * places.sum(dim=(1, 2, 3)))
    assert float(inside.min()) > 0.8 and float(inside.mean()) > 0.93
    sizes = places.sum(dim=(1, 2, 3)) / 120
    assert float(sizes.max()) > 1.3 and float(sizes.min()) < 0.8


def test_chroma_is_of_hue_and_not_of_brightness() -> None:
    picture = torch.rand(2, 3, 8, 8)
    brighter = picture + torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(chroma(brighter), chroma(picture))
    assert chroma(picture).shape == (2, 2, 8, 8)
    for channel, (across, against_blue) in enumerate([(1, 0.5), (-1, 0.5), (0, -1)]):
        single = torch.zeros(1, 3, 1, 1)
        single[:, channel] = 1
        assert chroma(single).flatten().tolist() == [across, against_blue]


@pytest.mark.usefixtures("in_both_precisions")
def test_training_with_edits_judges_after_the_warm_up_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    segmenter = SceneSegmenter(CLASSES, (4, 4, 4, 4))
    train_edits(folder, TINY, segmenter, minutes=60, budget=27, log_every=1)
    first = torch.load(folder / "edits.pt", weights_only=True)
    lines = [json.loads(line) for line in (folder / "edits.jsonl").read_text().splitlines()]
    assert ["gap" in line for line in lines] == [False, False, True]
    assert all(line["chroma"] > 0 for line in lines)
    assert first["shown"] == lines[-1]["shown"] == 27
    assert list(folder.glob("edits-*.png"))

    run = train_edits(folder, TINY, segmenter, minutes=60, budget=36, log_every=1)
    again = [json.loads(line) for line in (folder / "edits.jsonl").read_text().splitlines()]
    assert again[:3] == lines and [line["shown"] for line in again[3:]] == [36]
    assert run.seconds > first["seconds"]
    changed = {
        name for name, one in run.painter.state_dict().items() if not torch.equal(one, first["painter"][name])
    }
    early = {f"generator.layer{number}." for number in range(1, 7)}
    assert not [name for name in changed if name.startswith((*early, "encoder.latent"))]
    assert any(name.startswith("generator.layer7") for name in changed)
    assert any(name.startswith("encoder.trunk") for name in changed)


@pytest.mark.usefixtures("in_both_precisions")
def test_features_from_z_teach_what_edits_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    folder.mkdir()
    data = SceneData(tmp_path / "scenes", 64, TRAINING[:20])
    painter = new_painter(TINY).requires_grad_(False).eval()
    # To fine layers that have learned nothing, most differences of features are the same.
    recipe = FeatureRecipe(known=20, batch=8, warm_up=20, important=0.01)
    classes = len(CLASSES)
    few = train_features(folder, painter, data, recipe, minutes=60, budget=1, classes=classes, log_every=1)
    finished = train_features(
        folder, painter, data, recipe, minutes=60, budget=24 * 8, classes=classes, log_every=1
    )
    lines = [json.loads(line) for line in (folder / "features.jsonl").read_text().splitlines()]
    assert [line["shown"] for line in lines] == [8 * step for step in range(1, 25)]
    assert ["fooling" in line for line in lines] == [step >= 20 for step in range(24)]
    assert all(line["labeled"] > 0 for line in lines), "what is made must be seen as what it is"
    assert torch.load(folder / "features.pt", weights_only=True)["shown"] == 24 * 8
    assert list(folder.glob("features-*.png"))
    again = with_features(painter, folder)
    for name, weight in finished.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        taught = (
            name.startswith(("encoder.deep", "encoder.latent"))
            or name.split(".")[1] in painter.generator.stages[:6]
        )
        if not taught:
            assert torch.equal(weight, painter.state_dict()[name]), name

    @torch.no_grad()
    def missed(one: Painter) -> float:
        """How far the features that z makes are from those of the scene that it was read from."""
        x = to_tensor(data.images[:])
        z, features = one.encoder(x)
        generator = one.generator
        made = generator.run(generator.start(z), until=generator.edit_layer).features
        return float((pixel_norm(made) - pixel_norm(features)).abs().mean())

    assert missed(finished) < missed(few) - 0.02


def test_rare_classes_count_more_in_features() -> None:
    painter = new_painter(TINY).requires_grad_(False).eval()
    channels = painter.generator.shape(painter.generator.edit_layer)[0]
    areas = torch.tensor([0.9, 0.1])
    run = FeatureRun(FeatureRecipe(), painter, torch.eye(channels), areas)
    assert float(run.counts[1] / run.counts[0]) == pytest.approx(3)  # the root of 9
    assert float((run.counts * areas).sum()) == pytest.approx(1)


def test_a_painter_begins_where_narrower_weights_are(tmp_path: Path) -> None:
    torch.manual_seed(1)
    narrow = new_painter(dataclasses.replace(TINY, channels=(8, 8, 8, 8, 6), residual=()))
    for name in ("generator", "encoder"):
        module = getattr(narrow, name)
        write_module(tmp_path / f"{name}.safetensors", name, module, module.config)
    wide = painter_from(tmp_path, TINY)
    with torch.no_grad():
        z = narrow.generator.sample_z(4, 0)
        before, after = narrow.generator(z), wide.generator(z)
    assert (before - after).abs().mean() < 0.3 * (before - before.roll(1, 0)).abs().mean()


def test_muon_moves_all_directions_alike() -> None:
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(
        orthogonalized(torch.randn(12, 30) @ torch.diag(torch.logspace(0, -2, 30)))
    )
    assert float(singular.min()) > 0.5 and float(singular.max()) < 1.5
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    before = weight.detach().clone()
    optimizer = Muon([weight], lr=0.01)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    assert float((weight.detach() - before).norm() / before.norm()) == pytest.approx(0.01, rel=1e-3)


def test_muon_fits_faster_than_adam() -> None:
    """A regression whose directions differ a hundredfold in strength."""

    def left(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> float:
        torch.manual_seed(0)
        x = torch.randn(256, 20) @ torch.diag(torch.logspace(0, -2, 20))
        wanted = x @ torch.randn(20, 20)
        weight = torch.nn.Parameter(0.3 * torch.randn(20, 20))
        optimizer = make([weight])
        for _ in range(150):
            loss = (x @ weight.T - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    assert left(lambda p: Muon(p, lr=0.02)) < 0.8 * left(lambda p: torch.optim.Adam(p, lr=0.02))


# --- details ---


def tiny_shaper() -> Shaper:
    torch.manual_seed(0)
    shaper = Shaper(TINY.channels[2], shaping.CONCEPTS, width=8, depth=1).eval().requires_grad_(False)
    torch.nn.init.normal_(shaper.last[1].weight, 0, 0.3)
    return shaper


READ_ONLY = {"by_z": 0.0, "flat": 0.0, "shaped": 0.0, "foreign": 0.0, "imagined": 0.0, "squares": 0.0}
"""Shares of crops of which none is edited."""


def tiny_segmenter() -> SceneSegmenter:
    torch.manual_seed(1)
    return SceneSegmenter(CLASSES, (8, 8, 8, 8)).eval()


def tiny_pairs(folder: Path) -> Pairs:
    return Pairs(folder / "scenes", 64, 6)


def gallery_of(folder: Path, painter: Painter | None = None) -> Gallery:
    painter = new_painter(TINY).eval() if painter is None else painter
    data = SceneData(folder / "scenes", 64, TRAINING[:6])
    return Gallery(painter, tiny_shaper(), tiny_segmenter(), data, tiny_pairs(folder), DetailsRecipe())


def columns(features: torch.Tensor) -> set[tuple[float, ...]]:
    """The cells of features ... x C x H x W."""
    return {tuple(cell) for cell in features.float().movedim(-3, -1).flatten(0, -2).tolist()}


@pytest.mark.parametrize("kind", ["flat", "shaped", "foreign", "imagined", "squares"])
def test_crops_are_edited_where_they_are_in_focus(tmp_path: Path, kind: str) -> None:
    """Elsewhere, features are those that the encoder reads."""
    gallery = gallery_of(tmp_path)
    read = columns(gallery.read) | columns(gallery.around)
    crops = next(gallery.batches(DetailsRecipe(batch=12, **(READ_ONLY | {kind: 1.0})), 3))
    changed = [len(columns(crop) - read) for crop in crops.features]
    assert sum(changed) > 0
    assert float(crops.focus.mean()) > 0
    assert all(number > 0 for number, focus in zip(changed, crops.focus, strict=True) if bool(focus.any()))
    if kind in ("flat", "shaped", "imagined"):
        assert bool((crops.known == 1).all())
    else:
        assert not bool((crops.known[:, 0] * crops.focus).any())
        assert bool(crops.known.any()) == (kind == "foreign")


def test_crops_are_of_the_features_of_their_truth(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path)
    crops = next(gallery.batches(DetailsRecipe(batch=12, **READ_ONLY), 1))
    assert bool((crops.known == 1).all())
    places = [(row, column) for row in range(16 - CELLS + 1) for column in range(16 - CELLS + 1)]
    assert not bool(crops.focus.any())
    for features, (y, x), picture in zip(crops.features, crops.inner, crops.pictures, strict=True):
        at = [
            (one, 4 * (row + y), 4 * (column + x))
            for one in range(6)
            for row, column in places
            if torch.equal(gallery.read[one, :, row : row + CELLS, column : column + CELLS].float(), features)
        ]
        (scene, top, left) = at[0]
        side = 4 * INNER
        box = np.s_[scene, top : top + side, left : left + side]
        assert torch.equal(picture, to_tensor(np.array(gallery.images[box])[None])[0])
        assert len(at) == 1


def test_crops_by_z_have_no_truth(tmp_path: Path) -> None:
    gallery = gallery_of(tmp_path)
    by_z = next(gallery.batches(DetailsRecipe(batch=8, **(READ_ONLY | {"by_z": 1.0})), 1))
    assert bool((by_z.known == 0).all())
    assert columns(by_z.features) <= columns(gallery.made)


@pytest.mark.usefixtures("in_both_precisions")
def test_details_teach_the_fine_layers_alone(tmp_path: Path) -> None:
    data = SceneData(tmp_path / "scenes", 64, TRAINING[:6])
    pairs = tiny_pairs(tmp_path)
    painter = new_painter(TINY).requires_grad_(False).eval()
    segmenter = tiny_segmenter()
    recipe = DetailsRecipe(batch=4, known=6, warm_up=8, ramp=8)
    steps = {"minutes": 60, "log_every": 1}
    train_details(tmp_path, painter, tiny_shaper(), segmenter, data, pairs, recipe, budget=12, **steps)
    finished = train_details(
        tmp_path, painter, tiny_shaper(), segmenter, data, pairs, recipe, budget=160, **steps
    )
    lines = [json.loads(line) for line in (tmp_path / "details.jsonl").read_text().splitlines()]
    assert [line["shown"] for line in lines] == [4 * step for step in range(1, 41)]
    assert np.mean([line["pixels"] for line in lines[-12:]]) < 0.8 * np.mean(
        [line["pixels"] for line in lines[:12]]
    )
    assert list(tmp_path.glob("details-*.png"))
    before, after = painter.state_dict(), finished.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    fine = {f"generator.{name}." for name in painter.generator.stages[6:]} | {"generator.output_64x64."}
    assert changed and all(name.startswith(tuple(fine)) for name in changed)
    assert any(name.startswith("generator.layer7.") for name in changed)
    again = with_details(painter, tmp_path).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in after.items())
    assert with_details(painter, tmp_path / "elsewhere") is painter


@pytest.mark.parametrize("kind", ["by_z", "foreign", "squares"])
def test_pictures_without_a_truth_stay_coarsely_what_they_were(tmp_path: Path, kind: str) -> None:
    painter = new_painter(TINY).eval()
    recipe = DetailsRecipe(batch=4, **(READ_ONLY | {kind: 1.0}))
    crops = next(gallery_of(tmp_path, painter).batches(recipe, 0))
    run = DetailsRun(recipe, painter, tiny_segmenter())
    run.set_pace(0)
    assert run.learn(crops)["strayed"] == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        run.painter.generator.output_64x64.wscale.b += 0.5
    unknown = float((crops.known == 0).float().mean())
    # Twice the mean over squares; opponent colors do not see light.
    assert run.learn(crops)["strayed"] == pytest.approx(2 * 0.5 * unknown, rel=0.3)
    known = crops._replace(known=torch.ones_like(crops.known))
    assert run.learn(known)["strayed"] == 0


def test_a_shaper_goes_on_with_other_fine_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaping, "DRAWN_AGAIN", 3)
    begun = tiny_shaper()
    kept = {name: weight.clone() for name, weight in begun.state_dict().items()}
    painter = new_painter(TINY).eval().requires_grad_(False)
    found = shaping.shaper_of_scenes(painter, tiny_segmenter(), tiny_pairs(tmp_path), start=begun)
    assert all(torch.equal(weight, kept[name]) for name, weight in begun.state_dict().items())
    moved_by = {name: float((weight - kept[name]).abs().max()) for name, weight in found.state_dict().items()}
    assert moved_by["spread"] == moved_by["middle"] == 0
    assert 0 < moved_by["mask.weight"] < 0.05


def test_a_discriminator_that_sees_details_learns_textures_sooner() -> None:
    def left(details: float) -> float:
        torch.manual_seed(0)
        judge = PatchDiscriminator(widths=(8, 12, 16), details=details)
        optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.99))
        for _ in range(150):
            smooth = torch.randn(8, 3, 4, 4).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
            grain = 0.05 * torch.randn(8, 1, 32, 32)
            loss = torch.nn.functional.softplus(judge(smooth) - judge(smooth + grain)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    assert left(6.0) < 0.8 * left(0.0)


# --- precision ---


@pytest.mark.parametrize("quick", [torch.bfloat16, torch.float32])
def test_cpus_compute_in_the_precision_that_is_quicker(
    quick: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_seconds", lambda x, weight: 1.0 if x.dtype == quick else 2.0)
    precision.quick_in_bfloat16.cache_clear()
    with precision.bfloat16(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    precision.quick_in_bfloat16.cache_clear()
    assert product.dtype == quick


def test_the_quicker_precision_is_measured() -> None:
    """A larger convolution takes more of the processor's time."""
    weight = torch.ones(32, 32, 3, 3)
    small, large = (precision._seconds(torch.ones(n, 32, 16, 16), weight) for n in (1, 64))
    assert 0 <= small < large


# --- segmenter, encoder ---


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
    assert missing.exit_code == 1 and "The generator 'nobody' does not exist" in missing.output
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
    assert model.initializer is not None
    delta, _ = model.initializer(model.generator, found.state, x, torch.ones_like(x[:, :1]))
    assert tuple(delta) == model.generator.fine_layers


def test_an_encoder_learns(data: SceneData) -> None:
    torch.manual_seed(0)
    generator = ProGAN(8, (8, 8, 8, 8), "layer4").eval()
    x = next(data.batches(16, 5))[0]

    @torch.no_grad()
    def error(steps: int) -> float:
        with torch.enable_grad():
            encoder = train_encoder(generator, data, steps=steps, batch=8)
        z, features = encoder(x)
        state = generator.run(generator.start(z), until=generator.edit_layer)
        return float((generator.picture(generator.run(state.replace(features))) - x).abs().mean())

    assert error(60) < 0.9 * error(2)


def test_axes_are_found_along_which_things_are_seldom_and_strong() -> None:
    torch.manual_seed(0)
    sources = torch.rand(20_000, 6).pow(8)  # mostly near 0, and now and then near 1
    mixed, _ = torch.linalg.qr(torch.randn(6, 6))
    rotation = skewed_axes(sources @ mixed)
    assert torch.allclose(rotation @ rotation.T, torch.eye(6), atol=1e-4)
    found = (mixed @ rotation).abs()
    assert float(found.max(dim=1).values.min()) > 0.98  # every source has an axis of its own
    assert bool(((mixed @ rotation).max(dim=0).values > 0.98).all())  # and is positive along it


def test_a_turned_painter_draws_the_same_pictures_along_other_axes() -> None:
    torch.manual_seed(0)
    painter = new_painter(TINY).eval().requires_grad_(False)
    pictures = torch.rand(8, 3, 64, 64) * 2 - 1
    other = turned(painter, pictures)
    before, after = painter.encode(pictures), other.encode(pictures)
    assert not torch.allclose(before, after, atol=1e-2)
    assert torch.allclose(before.square().sum(dim=1), after.square().sum(dim=1), atol=1e-4)
    assert torch.allclose(painter.draw(before), other.draw(after), atol=1e-4)
