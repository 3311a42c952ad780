"""Photos and masks as people have them: the table of benchmarks.inputs, and what sessions make of it."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.worker import Worker


@pytest.fixture
def inputs(benchmark_module: Any) -> ModuleType:
    module: ModuleType = benchmark_module("inputs")
    return module


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on what is odd in them
@pytest.mark.parametrize("kind", ["photos", "masks"])
def test_the_table_holds(inputs: ModuleType, kind: str, tmp_path: Path) -> None:
    wrong = {}
    cases = getattr(inputs, kind)()
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = inputs.wrong_with(case, folder, mask=kind == "masks")
        if found is not None:
            wrong[case.name] = found
    assert not wrong
    assert len(cases) >= (140 if kind == "photos" else 60)
    assert len({case.name for case in cases}) == len(cases)


def test_there_is_one_table(inputs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Of photos, masks and checkpoints. ``test_layouts.py`` has a test for each of the last."""
    rows = inputs.rows()
    count = Counter(row.kind for row in rows)
    assert count["photo"] >= 140 and count["mask"] >= 60 and count["checkpoint"] >= 80
    assert count.total() == len({(row.kind, row.name) for row in rows})
    assert inputs.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{len(rows)} inputs"


def test_a_wrong_row_is_told(
    inputs: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(row for row in inputs.rows() if row.kind == "checkpoint" and row.refusal)
    case = dataclasses.replace(row.wrong.args[0], says="a loaf of bread")
    wrong = partial(inputs.checkpoint_cases.wrong_with, case)
    monkeypatch.setattr(inputs, "rows", lambda: [row, dataclasses.replace(row, wrong=wrong)])
    assert inputs.main(["--check"]) == 1
    right, told, total = capsys.readouterr().out.splitlines()
    assert "WRONG" not in right and "WRONG: was refused for another reason" in told
    assert total == "2 inputs, 1 wrong"


def here(model: Any, photo: Any, **more: Any) -> EditingSession:
    return EditingSession(photo, model, worker=Worker(start=False), journal=False, **more)


@pytest.mark.parametrize("way", ["PNG", "pixels"])
def test_kept_pixels_of_a_p3_photo_are_shown_as_they_were(
    model: Any, mask: Any, inputs: ModuleType, tmp_path: Path, way: str
) -> None:
    photo = inputs.saved(inputs.PICTURE, "PNG", icc_profile=inputs.profile(inputs.P3))
    right = inputs.shown(inputs.PICTURE, inputs.P3).astype(int)
    session = here(model, photo if way == "PNG" else Image.open(io.BytesIO(photo)))
    corner = np.zeros_like(mask)
    corner[:4, :4] = 255
    session.add("tree", corner)
    session.save_png(tmp_path / "edited.png")
    session.full.save(tmp_path / "full.png")
    session.full.save(tmp_path / "full.jpg", quality=98, subsampling=0)
    written = (tmp_path / "edited.png").read_bytes()
    assert b"sRGB" in written[:80] and b"iCCP" not in written
    for name, apart in (("edited.png", 1), ("full.png", 1), ("full.jpg", 20)):
        with Image.open(tmp_path / name) as image:
            found = np.asarray(image).astype(int)
            if name == "full.png":
                icc = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
                assert "sRGB" in ImageCms.getProfileDescription(icc)
        kept = np.abs(found - right)[30:, 40:]  # far from the corner of the square
        assert kept.max() <= apart, name
    assert np.abs(np.asarray(files.read(tmp_path / "full.png")).astype(int) - right)[30:, 40:].max() <= 1


def test_heic_needs_a_package_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(GANPaintError, match="pip install pillow-heif"):
        files.read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_avif_needs_a_pillow_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.features, "check", lambda name: False)
    with pytest.raises(GANPaintError, match=r"Pillow 11\.3"):
        files.read(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")


def test_what_is_left_out_of_a_file_is_said(model: Any, inputs: ModuleType) -> None:
    moving = inputs.saved(
        inputs.GRAY, "GIF", save_all=True, append_images=[Image.fromarray(255 - inputs.GRAY)]
    )
    session = here(model, moving)
    assert session.notice is not None and "several frames" in session.notice.text
    session.open(inputs.PICTURE)
    assert "frames" not in str(session.notice)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_every_verb_takes_the_masks_that_people_have(
    model_with_segmenter: Any, inputs: ModuleType, fit: Any
) -> None:
    session = here(model_with_segmenter, inputs.PICTURE, fit=fit)
    whole = np.zeros((inputs.HEIGHT, inputs.WIDTH))
    whole[:20] = 1
    right = files.read_mask(whole, session.size, files.Original(Image.fromarray(inputs.PICTURE), fit))
    assert right.any()
    edits = [
        session.add("tree", whole),
        session.remove("tree", whole.astype(bool)),
        session.restyle("tree", whole.astype(int), 3, region=np.ones((session.size, session.size))),
        session.restyle("tree", whole.tolist(), inputs.PICTURE, region=whole),
        session.suppress([1], Image.fromarray(whole.astype(np.uint8))),
    ]
    assert all(np.array_equal(edit.mask, right) for edit in edits)
    assert np.array_equal(
        edits[3].reference.region, files.read_mask(whole, 32, Image.fromarray(inputs.PICTURE))
    )
    before = session.edits
    for wrong in (whole.T, whole - 1, whole * np.nan, 255 * whole):
        with pytest.raises(GANPaintError, match="mask"):
            session.add("tree", wrong)
    assert session.edits is before


def test_the_command_line_takes_them_too(inputs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(
        inputs.saved(inputs.PICTURE, "PNG", icc_profile=inputs.profile(inputs.P3))
    )
    mask = np.zeros((inputs.HEIGHT, inputs.WIDTH), np.uint8)
    mask[:20, :40] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:-1]).save(tmp_path / "other.png")

    def edit(name: str) -> Any:
        arguments = ["edit", "photo.png", "--add", "tree", "--mask", name, "--no-adapt", "-o", "out.png"]
        paths = [str(tmp_path / one) if one.endswith(".png") else one for one in arguments]
        return CliRunner().invoke(app, paths)

    refused = edit("other.png")
    assert refused.exit_code == 1 and "47 x 64" in refused.output and not (tmp_path / "out.png").exists()
    assert edit("mask.png").exit_code == 0
    with Image.open(tmp_path / "out.png") as out:
        kept = np.abs(np.asarray(out).astype(int) - inputs.shown(inputs.PICTURE, inputs.P3))[40:, 56:]
    assert kept.max() <= 1
