"""The command line as a user meets it: what it writes, what it says, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from strict_device import is_there, strict_device
from typer.testing import CliRunner, Result

import ganpaint_widget.widget.paint as static
from ganpaint_widget.cli import app, doctor
from ganpaint_widget.dissection import Dissection
from ganpaint_widget.images.files import read_mask
from ganpaint_widget.method import inversion
from ganpaint_widget.models import registry
from ganpaint_widget.models.checkpoints import write_module
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.worker import Worker

SIZE = 32


@pytest.fixture(autouse=True)
def tiny(model_with_segmenter: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny generator under the demo's name, and one without a segmenter."""
    known = {"demo": model_with_segmenter, "bare": model}
    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda name: known[name] if isinstance(name, str) and name in known else load(name)
    )


@pytest.fixture
def folder(tmp_path: Path, mask: np.ndarray) -> Path:
    """Three photos of different kinds, masks, and a reference."""
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for number, name in enumerate(["a.png", "b.jpg", "c.webp"]):
        photo = random.integers(0, 256, (40, 50 + number, 3)).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / "in" / name)
        Image.fromarray(np.roll(mask, number, axis=0)).save(tmp_path / "masks" / f"{name[0]}.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(photo).save(tmp_path / "reference.png")
    return tmp_path


def ganpaint(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failed(result: Result) -> list[str]:
    """The two sentences of an error."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    sentences = result.stderr.strip().splitlines()
    assert len(sentences) == 2 and all(one.endswith(".") for one in sentences)
    return sentences


def edits_of(project: Path, model: Any) -> list[Any]:
    return list(
        EditingSession.load(project, generator=model, worker=Worker(start=False), journal=False).edits
    )


# --- edit ---


def test_one_edit_of_one_photo(folder: Path, model_with_segmenter: Any, mask: np.ndarray):
    photo, out = folder / "in" / "a.png", folder / "out.png"
    result = ganpaint("edit", photo, "--add", "tree", "--mask", folder / "mask.png", "-o", out)
    assert result.exit_code == 0
    assert str(out) in result.stdout
    session = EditingSession(photo, model_with_segmenter, worker=Worker(start=False))
    session.add("tree", mask)
    session.adapt()
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(session.full))
    assert Image.open(out).size == Image.open(photo).size  # the square is back in its photo
    assert Image.open(out).text["ganpaint:picture"] == "result"


def test_a_photo_is_padded(folder: Path, model_with_segmenter: Any):
    photo, out = folder / "in" / "a.png", folder / "out.png"
    mask = folder / "mask.png"
    assert ganpaint("edit", photo, "--add", "tree", "--mask", mask, "--fit", "pad", "-o", out).exit_code == 0
    session = EditingSession(photo, model_with_segmenter, fit="pad", worker=Worker(start=False))
    session.add("tree", read_mask(mask, session.size, "pad"))
    session.adapt()
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(session.full))
    told = ganpaint("edit", photo, "--add", "tree", "--mask", mask, "--fit", "stretch", "-o", out)
    assert "stretch" in failed(told)[0]


def test_without_blending_it_is_the_preview(folder: Path, model_with_segmenter: Any, mask: np.ndarray):
    photo, out = folder / "in" / "a.png", folder / "out.png"
    ganpaint("edit", photo, "--remove", "dome", "--mask", folder / "mask.png", "--no-adapt", "-o", out)
    session = EditingSession(photo, model_with_segmenter, worker=Worker(start=False))
    session.remove("dome", mask)
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(session.full))


def test_what_follows_an_edit_belongs_to_it(folder: Path, model_with_segmenter: Any):
    mask = folder / "mask.png"
    made = said(
        ganpaint(
            "edit", folder / "in" / "a.png", "--restyle", "dome", f"--mask={mask}",
            "--reference", folder / "reference.png", "--region", mask, "--strength", 0.7,
            "--add", "tree", "--units", "3,1", "--mask", folder / "masks" / "b.png", "--variant", 2,
            "--restyle", "window", "--reference", 5, "--mask", mask,
            "--remove", "window", "--mask", mask, "--units", "low", "--strength", 2,
            "-o", folder / "out.png", "--project", folder / "out.ganpaint", "--json",
        )
    )  # fmt: skip
    first, second, third, fourth = edits_of(folder / "out.ganpaint", model_with_segmenter)
    assert (first.verb, first.concept, first.strength) == ("restyle", "dome", 0.7)
    assert first.reference.picture is not None and first.reference.region is not None
    assert (second.verb, second.units, second.variant, second.strength) == ("add", (1, 3), 2, 1.0)
    assert not np.array_equal(second.mask, first.mask)
    assert (third.verb, third.reference.seed, third.units) == ("restyle", 5, None)
    assert (fourth.verb, fourth.units, fourth.strength) == ("remove", "low", 2.0)
    (picture,) = made["pictures"]
    assert [one["verb"] for one in picture["edits"]] == ["restyle", "add", "restyle", "remove"]
    assert picture["blend"]["after"] > picture["blend"]["before"]
    assert picture["scores"].keys() == {"psnr", "ssim", "perceptual", "in_domain", "distance"}
    assert picture["scores"]["psnr"] == pytest.approx(picture["reconstruction_psnr"], abs=1e-3)
    assert Path(picture["output"]).is_file()


def test_a_folder_of_photos_with_masks_of_their_own(folder: Path, model_with_segmenter: Any):
    made = said(
        ganpaint(
            "edit", folder / "in", "--add", "tree", "--mask", folder / "masks", "--no-adapt",
            "-o", folder / "new" / "out", "--project", folder / "new" / "projects", "--json",
        )
    )  # fmt: skip
    assert [Path(one["photo"]).name for one in made["pictures"]] == ["a.png", "b.jpg", "c.webp"]
    assert sorted(path.name for path in (folder / "new" / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    masks = [
        edits_of(path, model_with_segmenter)[0].mask
        for path in sorted((folder / "new" / "projects").iterdir())
    ]
    assert len({mask.tobytes() for mask in masks}) == 3


def test_one_bad_photo_does_not_end_a_batch(folder: Path):
    (folder / "in" / "b.jpg").write_bytes(b"no picture")
    arguments = ["edit", folder / "in", "--add", "tree", "--mask", folder / "mask.png", "-o", folder / "out"]
    result = ganpaint(*arguments)
    assert result.exit_code == 1
    assert "b.jpg" in result.stderr and "cannot be read as a picture" in result.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "c.png"]
    result = ganpaint(*arguments, "--json")
    assert result.exit_code == 1
    errors = [one.get("error") for one in json.loads(result.stdout)["pictures"]]
    assert errors[0] is errors[2] is None
    assert errors[1]["hint"].startswith("Pass a PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "asks for no edit"),
        (["--mask", "M"], "before any edit"),
        (["--add", "tree"], "lacks a mask"),
        (["--add", "tree", "--mask", "M", "--mask", "M"], "twice"),
        (["--remove", "tree", "--mask", "M", "--variant", "1"], "does not belong to --remove"),
        (["--add", "tree", "--mask", "M", "--reference", "1"], "does not belong to --add"),
        (["--restyle", "tree", "--mask", "M"], "no reference"),
        (["--add", "unicorn", "--mask", "M"], "no concept 'unicorn'"),
        (["--add", "tree", "--mask", "nowhere.png"], "does not exist"),
        (["--add", "tree", "--mask", "M", "--strength", "9"], "strength"),
        (["--add", "tree", "--mask", "M", "--units", "1,x"], "units"),
        (["--add", "tree", "--mask", "M", "--generator", "unicorns"], "unicorns"),
        (["--add", "tree", "--mask", "M", "-o", "/nowhere/at/all.png"], "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_said_in_two_sentences(folder: Path, arguments: list[str], says: str):
    given = [str(folder / "mask.png") if one == "M" else one for one in arguments]
    if "-o" not in given:
        given += ["-o", str(folder / "out.png")]
    result = ganpaint("edit", folder / "in" / "a.png", *given)
    assert says in failed(result)[0]
    assert not (folder / "out.png").exists()
    told = json.loads(ganpaint("edit", folder / "in" / "a.png", *given, "--json").stdout)
    assert says in told["error"]["message"]


def test_results_never_overwrite_each_other(folder: Path):
    Image.open(folder / "in" / "a.png").save(folder / "in" / "a.bmp")
    common = ["--add", "tree", "--mask", folder / "mask.png", "--no-adapt", "-o", folder / "out", "--json"]
    made = said(ganpaint("edit", folder / "in", *common))
    names = [Path(one["output"]).name for one in made["pictures"]]
    assert names == ["a.bmp.png", "a.png.png", "b.png", "c.png"]
    twice = ganpaint("edit", folder / "in", folder / "in" / "a.bmp", *common)
    assert "same name" in json.loads(twice.stdout)["error"]["message"]
    (folder / "empty").mkdir()
    assert (
        "does not hold pictures"
        in json.loads(ganpaint("edit", folder / "empty", *common).stdout)["error"]["message"]
    )


# --- adapt ---


def test_a_project_is_blended(folder: Path, model_with_segmenter: Any, mask: np.ndarray, adaptation: Any):
    session = EditingSession(folder / "in" / "a.png", "demo", worker=Worker(start=False))
    session.add("tree", mask)
    session.save(folder / "a.ganpaint")
    made = said(
        ganpaint(
            "adapt", folder / "a.ganpaint", "-o", folder / "a.png", "--save", folder / "b.ganpaint", "--json"
        )
    )
    assert made["blend"]["after"] > made["blend"]["before"]
    session.adapt()
    result = np.asarray(session.full)
    assert np.array_equal(np.asarray(Image.open(folder / "a.png")), result)
    # A project that is blended already is not blended again.
    adaptation.error = RuntimeError("not again")
    assert ganpaint("adapt", folder / "b.ganpaint", "-o", folder / "b.png").exit_code == 0
    assert np.array_equal(np.asarray(Image.open(folder / "b.png")), result)
    (folder / "c.ganpaint").write_bytes(b"x")
    for missing in ("c.ganpaint", "d.ganpaint"):
        failed(ganpaint("adapt", folder / missing, "-o", folder / "c.png"))


# --- dissect ---


def test_a_dissection_is_written_and_told(folder: Path):
    out = folder / "units.safetensors"
    made = said(ganpaint("dissect", "-o", out, "--samples", 40, "--baselines", "--json"))
    found = Dissection.load(out)
    assert (found.samples, found.concepts) == (40, ("tree", "dome", "window"))
    assert [one["concept"] for one in made["concepts"]] == ["tree", "dome", "window"]
    assert made["interpretable_units"] == found.interpretable_units()
    assert made["units"] == found.iou.shape[1]
    assert 0 <= made["interpretable_units_rotated"] <= made["units"]
    assert all(0 <= one["position_iou"] <= 1 for one in made["concepts"])
    table = ganpaint("dissect", "-o", out, "--samples", 40)
    assert table.exit_code == 0
    assert "window" in table.stdout and "interpretable" in table.stdout


def test_concepts_are_discovered_where_no_segmenter_is(folder: Path):
    out = folder / "units.safetensors"
    made = said(
        ganpaint("dissect", "--generator", "bare", "-o", out, "--discover", 3, "--samples", 40, "--json")
    )
    found = Dissection.load(out)
    assert [one["concept"] for one in made["concepts"]] == list(found.concepts)
    assert 1 <= len(found.concepts) <= 3
    assert found.parts is not None
    assert found.samples == 40
    refused = failed(ganpaint("dissect", "-o", out, "--discover", 3, "--segmenter", "ade20k"))
    assert "without a segmenter" in refused[0]
    assert "out of range" in failed(ganpaint("dissect", "-o", out, "--discover", 1))[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--generator", "bare"], "has no segmenter"),
        (["--layer", "layer99"], "no layer"),
        (["--generator", "unicorns"], "does not exist"),
    ],
)
def test_a_dissection_that_cannot_be(folder: Path, arguments: list[str], says: str):
    out = folder / "units.safetensors"
    assert says in failed(ganpaint("dissect", "-o", out, *arguments))[0]
    assert "does not exist" in failed(ganpaint("dissect", "-o", folder / "no" / "x.safetensors"))[0]
    assert not out.exists()


def test_a_trained_generator_finds_its_dissection(tmp_path: Path, model: Any):
    """Named or by its folder, as `ganpaint train generator` leaves it."""
    for named, place in ("meadow", registry.trained_folder("meadow")), (tmp_path / "own", tmp_path / "own"):
        place.mkdir(parents=True)
        write_module(place / "generator.safetensors", "generator", model.generator, model.generator.config)
        made = said(ganpaint("dissect", "--generator", named, "--discover", 3, "--samples", 30, "--json"))
        assert Path(made["output"]).parent == place
        found = registry.load(str(named)).dissection
        assert found is not None and found.samples == 30


@pytest.mark.parametrize(
    ("place", "says"), [("", "is a folder"), (f"{'x' * 250}.safetensors", "cannot be written")]
)
def test_the_place_of_a_dissection_is_checked_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str, says: str
):
    monkeypatch.setattr("ganpaint_widget.dissection.dissect", None)  # not called
    assert says in failed(ganpaint("dissect", "-o", folder / place))[0]


# --- doctor ---


@pytest.mark.parametrize(
    ("fault", "healthy"), [(0.0, True), (1e-4, True), (0.5, False), (float("nan"), False), (None, False)]
)
@pytest.mark.usefixtures("real_methods")
def test_doctor_compares_devices_with_the_cpu(
    model: Any, monkeypatch: pytest.MonkeyPatch, fault: float | None, healthy: bool
) -> None:
    """On a device that spoils pictures on purpose, or lacks something that only blends need."""
    monkeypatch.setattr(doctor, "_devices", lambda: ["cuda:0"])
    monkeypatch.setattr(static, "static_file", lambda name: name)  # whether it is built is not the question
    monkeypatch.setattr(inversion, "DRAWS", 4)
    monkeypatch.setattr(inversion, "SEARCH_STEPS", 2)
    generator = type(model.generator)
    picture = generator.picture

    def spoilt(self: Any, state: Any) -> Any:
        drawn = picture(self, state)
        if not is_there(drawn):
            return drawn
        if fault is None and drawn.requires_grad:
            raise RuntimeError("no kernel image is available")
        return drawn + (fault or 0)

    monkeypatch.setattr(generator, "picture", spoilt)
    with strict_device():
        result = ganpaint("doctor")
    assert ("THE DEVICE" in result.output) == (not healthy)
    assert ("draws as the CPU does: pictures, removals, inversions, blends" in result.output) == healthy
    assert result.exit_code == (0 if healthy else 1)
