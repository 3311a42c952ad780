"""The project file: everything comes back bit for bit, and what a stranger puts into one does no harm."""

from __future__ import annotations

import base64
import io
import json
import stat
import struct
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load, save

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.method import adaptation, inversion
from ganpaint_widget.models import registry
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.session import EditingSession, Opened, saving
from ganpaint_widget.session.palette import Palette
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.storage import fingerprint

SIZE = 32


def begin(model: Any, photo: Any = None, **more: Any) -> EditingSession:
    return EditingSession(photo, model, worker=Worker(start=False), **more)


def again(path: Path | bytes, model: Any, **more: Any) -> EditingSession:
    return EditingSession.load(path, generator=model, worker=Worker(start=False), **more)


def pixels(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image)


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture
def full(model_with_segmenter: Any, photo: np.ndarray, mask: np.ndarray) -> EditingSession:
    """A session with one of everything."""
    session = begin(model_with_segmenter, photo)
    session.add("tree", mask, 2, units="low", target="quantile")
    session.add("window", mask.T, variant=2)
    off = session.remove("dome", mask[::-1], units=[3, 1])
    session.toggle(off.id, False)
    session.restyle("dome", mask, 5, 0.7)
    session.restyle("dome", mask, photo[::-1], region=mask)
    session.suppress([7])
    return session


@pytest.fixture
def saved(full: EditingSession, tmp_path: Path) -> Path:
    path = tmp_path / "edit.ganpaint"
    full.adapt()
    full.save(path)
    return path


# --- there and back ---


def test_everything_comes_back_bit_for_bit(full: EditingSession, saved: Path, model_with_segmenter: Any):
    back = again(saved, model_with_segmenter)
    assert back.edits == full.edits
    assert back.title == full.title
    for name in ("photo", "reconstruction", "preview", "result"):
        assert np.array_equal(pixels(getattr(back, name)), pixels(getattr(full, name))), name
    assert back.metrics == full.metrics
    assert back.blend.edits == full.blend.edits
    assert back.blend.revision == back.revision
    assert (back.can_undo, back.can_redo) == (False, False)
    assert back.notice == full.notice


def test_the_blend_is_drawn_again_from_what_is_kept(
    model: Any, photo: np.ndarray, mask: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = begin(model, photo)
    session.add("tree", mask, 2)
    result = pixels(session.adapt())
    session.save(tmp_path / "edit.ganpaint")
    monkeypatch.setattr(inversion, "invert", None)  # nothing is inverted again
    back = again(tmp_path / "edit.ganpaint", model)
    assert np.array_equal(pixels(back.preview), pixels(session.preview))
    edited = back._state.picture.fast.edited(back.edits)
    with torch.no_grad():
        drawn = adaptation.render(model.generator, edited, back.blend.delta)[0].clamp(-1, 1)
    drawn = ((drawn + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, result)
    assert np.array_equal(pixels(back.result), result)
    assert not np.array_equal(result, pixels(back.preview))


def test_its_bytes_are_as_good_as_the_file(full: EditingSession, saved: Path, model_with_segmenter: Any):
    data = full.project_file()
    assert data == saved.read_bytes()
    assert again(data, model_with_segmenter).edits == full.edits
    with pytest.raises(GANPaintError, match="these bytes"):
        again(data[:-1], model_with_segmenter)


def test_a_blend_of_earlier_edits_stays_one(
    full: EditingSession, mask: np.ndarray, model_with_segmenter, tmp_path
):
    full.adapt()
    blended = full.edits
    full.delete(blended[0].id)
    full.save(tmp_path / "a.ganpaint")
    back = again(tmp_path / "a.ganpaint", model_with_segmenter)
    assert back.edits == blended[1:]
    assert back.blend.edits == blended
    assert back.blend.revision < back.revision
    assert np.array_equal(pixels(back.result), pixels(full.result))


@pytest.mark.parametrize("kind", ["photo", "scene", "sample"])
def test_it_opens_as_what_it_was(kind: str, model: Any, model_with_gallery: Any, photo: Any, tmp_path: Path):
    chosen = model if kind == "sample" else model_with_gallery
    session = begin(chosen, photo if kind == "photo" else None, scene=2)
    session.save(tmp_path / "a.ganpaint")
    back = again(tmp_path / "a.ganpaint", chosen)
    assert (back.title, back.notice) == (session.title, session.notice)
    assert np.array_equal(pixels(back.preview), pixels(session.preview))
    back.next_scene()
    session.next_scene()
    assert back.title == session.title


def test_what_follows_is_journalled_on_top(full, saved, model_with_segmenter, mask, journals):
    full.close()
    before = set(journals.iterdir())
    back = again(saved, model_with_segmenter)
    assert set(journals.iterdir()) == before  # who only looks leaves nothing
    back.add("tree", mask)
    back.undo()
    back.add("window", mask)
    back.close()
    recovered = EditingSession.recover(generator=model_with_segmenter, worker=Worker(start=False))
    assert recovered.edits == back.edits


def test_the_generator_is_found_by_its_name(model: Any, mask: np.ndarray, tmp_path: Path, monkeypatch):
    real = registry.load
    monkeypatch.setattr(
        registry, "load", lambda name: model if name in ("church", "/x/church.safetensors") else real(name)
    )
    session = begin("church")
    session.add("tree", mask)
    session.save(tmp_path / "a.ganpaint")
    assert EditingSession.load(tmp_path / "a.ganpaint", worker=Worker(start=False)).edits == session.edits
    for other, says in [(model, "was an object"), ("/x/church.safetensors", "is the file")]:
        begin(other).save(tmp_path / "b.ganpaint")
        with pytest.raises(GANPaintError, match=says):
            EditingSession.load(tmp_path / "b.ganpaint", worker=Worker(start=False))
    assert again(tmp_path / "b.ganpaint", model).edits == ()


def test_other_weights_invert_again_and_say_so(full: EditingSession, saved: Path, model_with_segmenter: Any):
    from copy import deepcopy
    from dataclasses import replace

    trained = deepcopy(model_with_segmenter.generator)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.1)
    assert fingerprint(trained) != fingerprint(model_with_segmenter.generator)
    back = again(saved, replace(model_with_segmenter, generator=trained))
    assert back.notice.level == "warning"
    assert "weights" in back.notice.text
    assert [edit.id for edit in back.edits] == [edit.id for edit in full.edits]
    assert back.result is None
    restyle, known = back.edits[3], full.edits[3]
    assert restyle.reference == known.reference
    assert not np.array_equal(restyle.activations, known.activations)


def test_a_fingerprint_sees_every_weight(model: Any):
    from copy import deepcopy

    generator = deepcopy(model.generator)
    before = fingerprint(generator)
    assert before == fingerprint(model.generator)
    with torch.no_grad():
        list(generator.parameters())[-1].flatten()[0] += 1e-6
    assert fingerprint(generator) != before


def test_it_cannot_be_written_everywhere_and_then_nothing_is_left(
    full: EditingSession, saved: Path, tmp_path
):
    for path in (tmp_path / "no" / "a.ganpaint", tmp_path):
        with pytest.raises(GANPaintError, match="cannot be written"):
            full.save(path)
    assert [one.name for one in tmp_path.iterdir() if "ganpaint" in one.name] == ["edit.ganpaint"]


def test_an_interrupted_save_leaves_the_old_file(full: EditingSession, saved: Path, monkeypatch):
    before = saved.read_bytes()

    def interrupted(*given: Any) -> None:
        raise KeyboardInterrupt

    full.suppress([1])
    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        full.save(saved)
    assert saved.read_bytes() == before
    assert [one.name for one in saved.parent.iterdir() if "ganpaint" in one.name] == ["edit.ganpaint"]


# --- from strangers ---


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes], path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, model: Any, tmp_path: Path) -> GANPaintError:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(GANPaintError) as caught:
        again(path, model)
    assert sorted(tmp_path.rglob("*")) == before
    for sentence in (caught.value.message, caught.value.hint):
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    return caught.value


def in_manifest(*keys: Any, value: Any) -> Callable[[dict[str, bytes]], None]:
    """Damage: another value in project.json."""

    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["project.json"])
        inner = manifest
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        files["project.json"] = json.dumps(manifest).encode()

    return change


def in_tensors(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        tensors = load(files["tensors.safetensors"])
        for name, value in changes.items():
            name = name.replace("__", "/")
            if value is None:
                del tensors[name]
            else:
                tensors[name] = value(tensors[name]) if callable(value) else value
        files["tensors.safetensors"] = save(tensors)

    return change


def png(width: int, height: int) -> bytes:
    target = io.BytesIO()
    Image.new("L", (width, height)).save(target, "PNG")
    return target.getvalue()


def claims(data: bytes, side: int) -> bytes:
    """A PNG whose header claims another size."""
    return data[:16] + struct.pack(">II", side, side) + data[24:]


DAMAGE: dict[str, Callable[[dict[str, bytes]], object]] = {
    "a path that leads out": lambda files: files.update({"../../evil.png": b"x"}),
    "an absolute path": lambda files: files.update({"/tmp/evil.png": b"x"}),
    "a file more": lambda files: files.update({"run.py": b"print()"}),
    "a mask too many digits": lambda files: files.update({"masks/0001.png": b"x"}),
    "no manifest": lambda files: files.pop("project.json"),
    "no photo": lambda files: files.pop("photo.png"),
    "no result": lambda files: files.pop("result.png"),
    "no mask": lambda files: files.pop("masks/1.png"),
    "no tensors": lambda files: files.pop("tensors.safetensors"),
    "no JSON": lambda files: files.update({"project.json": b"{"}),
    "deep JSON": lambda files: files.update({"project.json": b"[" * 10**6}),
    "a list for a manifest": lambda files: files.update({"project.json": b"[]"}),
    "a manifest of 9 MB": lambda files: files.update({"project.json": b" " * 9 * 2**20}),
    "another format": in_manifest("format", value=2),
    "a format that is true": in_manifest("format", value=[1]),
    "a kind": in_manifest("picture", "kind", value="url"),
    "an index": in_manifest("picture", "index", value=-1),
    "a huge index": in_manifest("picture", "index", value=2**40),
    "a title": in_manifest("picture", "title", value=["x"]),
    "edits that are none": in_manifest("edits", value={}),
    "too many edits": in_manifest("edits", value=[{}] * 401),
    "an edit that is none": in_manifest("edits", 0, value=3),
    "a stack out of range": in_manifest("stack", value=[99]),
    "a stack of negative numbers": in_manifest("stack", value=[-1]),
    "an edit twice": in_manifest("stack", value=[0, 0]),
    "an id": in_manifest("edits", 0, "id", value="../x"),
    "an id that is a list": in_manifest("edits", 0, "id", value=[1]),
    "a verb": in_manifest("edits", 0, "verb", value="explode"),
    "a concept": in_manifest("edits", 0, "concept", value="unicorn"),
    "a strength": in_manifest("edits", 0, "strength", value=1e300),
    "a strength that is none": in_manifest("edits", 0, "strength", value=float("nan")),
    "a strength in words": in_manifest("edits", 0, "strength", value="1"),
    "units out of range": in_manifest("edits", 0, "units", value=[16]),
    "units in floats": in_manifest("edits", 0, "units", value=[1.5]),
    "a target": in_manifest("edits", 0, "target", value="moon"),
    "a variant": in_manifest("edits", 1, "variant", value=10**9),
    "enabled in words": in_manifest("edits", 0, "enabled", value="no"),
    "a reference for an addition": in_manifest("edits", 0, "reference", value={"seed": 1}),
    "a seed": in_manifest("edits", 3, "reference", value={"seed": "1"}),
    "no reference": in_manifest("edits", 3, "reference", value=None),
    "a survival": in_manifest("blend", "survival", value="x"),
    "a photo that is text": lambda files: files.update({"photo.png": b"hello"}),
    "a photo of another size": lambda files: files.update({"photo.png": png(16, 16)}),
    "a photo that is not square": lambda files: files.update({"photo.png": png(32, 16)}),
    "a mask of another size": lambda files: files.update({"masks/0.png": png(64, 64)}),
    "a mask that claims 60000 x 60000": lambda files: files.update(
        {"masks/0.png": claims(png(8, 8), 60_000)}
    ),
    "a photo that claims 60000 x 60000": lambda files: files.update({"photo.png": claims(png(8, 8), 60_000)}),
    "tensors that are none": lambda files: files.update({"tensors.safetensors": b"x" * 100}),
    "tensors with a huge header": lambda files: files.update(
        {"tensors.safetensors": struct.pack("<Q", 2**62) + b"{}"}
    ),
    "no features": in_tensors(features=None),
    "features of another shape": in_tensors(features=lambda value: value[:, :, 1:]),
    "features that are not finite": in_tensors(features=lambda value: value * np.float32("nan")),
    "features in float64": in_tensors(features=lambda value: value.astype(np.float64)),
    "a z of another shape": in_tensors(z=np.zeros((1, 9), np.float32)),
    "an extra that the generator has not": in_tensors(extra__w=np.zeros(3, np.float32)),
    "activations of another length": in_tensors(levels__1=np.zeros(3, np.float32)),
    "a delta for no layer": in_tensors(delta__nowhere=np.zeros(3, np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_hostile_project_is_one_error(saved, damage, model_with_segmenter, tmp_path):
    files = contents(saved)
    assert len(again(packed(files, saved), model_with_segmenter).edits) == 6
    damage(files)
    refused(packed(files, saved), model_with_segmenter, tmp_path)


def test_what_is_compressed_is_refused(saved: Path, model: Any, tmp_path: Path):
    """A megabyte of zeros is a kilobyte when it is packed: a project could swell a thousandfold."""
    path = packed({"photo.png": bytes(20 * 2**20)}, tmp_path / "bomb", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**19
    refused(path, model, tmp_path)


def test_a_table_of_contents_of_any_length_is_not_read(model: Any, tmp_path: Path, monkeypatch):
    path = packed({f"masks/{'0' * 200}{number}.png": b"" for number in range(6000)}, tmp_path / "many")
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "too many" in refused(path, model, tmp_path).message


def test_a_link_is_refused_and_not_followed(saved: Path, model_with_segmenter: Any, tmp_path: Path):
    files = contents(saved)
    (tmp_path / "secret.png").write_bytes(files.pop("photo.png"))
    packed(files, saved)
    with zipfile.ZipFile(saved, "a") as archive:
        link = zipfile.ZipInfo("photo.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path / "secret.png"))
    assert "does not belong to a project" in refused(saved, model_with_segmenter, tmp_path).message


def test_a_name_that_comes_twice_is_refused(saved: Path, model: Any, tmp_path: Path):
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("photo.png", b"x")
    refused(saved, model, tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 1000, png(9, 9)])
def test_other_files_are_refused(data: bytes, model: Any, tmp_path: Path):
    path = tmp_path / "edit.ganpaint"
    path.write_bytes(data)
    refused(path, model, tmp_path)
    refused(tmp_path / "missing.ganpaint", model, tmp_path)
    refused(tmp_path, model, tmp_path)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_one_error_or_a_sound_project(saved: Path, model_with_segmenter, data, tmp_path):
    whole = saved.read_bytes()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.ganpaint"
    path.write_bytes(
        damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2, len(damaged) - 1]))]
    )
    try:
        back = again(path, model_with_segmenter, journal=False)
    except GANPaintError:
        return
    assert back.preview.size == (SIZE, SIZE)


# --- GANPaint Studio ---


def recorded(mask: np.ndarray, mode: str = "L", **more: Any) -> dict[str, Any]:
    image = Image.fromarray(mask)
    if mode == "RGBA":  # as a canvas has it: black strokes on nothing
        clear = Image.new("RGBA", image.size, (0, 0, 0, 0))
        clear.putalpha(image)
        image = clear
    target = io.BytesIO()
    image.save(target, "PNG")
    url = "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()
    return {"erase": False, "feature": "tree", "strength": 3.0, "value_mask": url} | more


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_what_ganpaint_studio_recorded_can_be_imported(session, mask, mode, tmp_path):
    large = mask.repeat(4, axis=0).repeat(4, axis=1)
    recording = [recorded(mask, mode), recorded(large.T, mode, erase=True, feature="dome", strength=1)]
    path = tmp_path / "studio.json"
    path.write_text(json.dumps(recording))
    first, second = session.import_studio(path)
    assert session.edits == (first, second)
    assert (first.verb, first.concept, first.strength) == ("add", "tree", 3.0)
    assert (second.verb, second.concept, second.strength) == ("remove", "dome", 1.0)
    assert np.array_equal(first.mask, mask)
    assert np.array_equal(second.mask, mask.T)
    session.undo()
    assert session.edits == ()
    assert [edit.verb for edit in session.import_studio(recording)] == ["add", "remove"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"erase": 1}, {"feature": "unicorn"}, {"feature": None}, {"strength": 99}, {"strength": "3"},
        {"value_mask": "http://example.org/mask.png"}, {"value_mask": "data:image/png;base64,AAAA"},
        {"value_mask": "data:image/png;base64,A"}, {"value_mask": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_recording_changes_nothing(session: EditingSession, mask: np.ndarray, wrong: dict[str, Any]):
    revision = session.revision
    with pytest.raises(GANPaintError):
        session.import_studio([recorded(mask), recorded(mask, **wrong)])
    assert (session.edits, session.revision) == ((), revision)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[" * 10**5, "[[]]", '"x"', "\xff"])
def test_a_file_that_is_no_recording_is_refused(session: EditingSession, text: str, tmp_path: Path):
    path = tmp_path / "studio.json"
    path.write_bytes(text.encode("latin-1"))
    for source in (
        path,
        str(path),
        tmp_path / "missing",
        None,
        3,
        [recorded(np.zeros((4, 4), np.uint8))] * 401,
    ):
        with pytest.raises(GANPaintError):
            session.import_studio(source)
    assert session.edits == ()


def test_a_project_opens_in_place_of_a_picture(model_with_gallery, worker, mask):
    with EditingSession(generator=model_with_gallery, worker=worker) as session:
        session.add("tree", mask, 2)
        data, before = session.project_file(), np.asarray(session.preview)
        session.next_scene()
        session.open_project(data)
        assert [edit.strength for edit in session.edits] == [2] and not session.can_undo
        assert np.array_equal(np.asarray(session.preview), before)
        with pytest.raises(GANPaintError):
            session.open_project(data[:100])
        assert len(session.edits) == 1

        other = Model("other", ProGAN(8, (16, 16, 16, 8)).eval(), model_with_gallery.dissection)
        elsewhere = EditingSession(generator=other, worker=worker)
        with pytest.raises(GANPaintError, match="another generator"):
            elsewhere.open_project(data)
        elsewhere.close()


def test_an_edit_that_is_made_on_hearing_of_a_project_follows_the_projects_edits(
    model, worker, mask, journals
):
    with EditingSession(generator=model, worker=worker, journal=False) as first:
        first.add("tree", mask)
        first.adapt()
        data = first.project_file()
    session = EditingSession(generator=model, worker=worker)
    session.add("window", mask)

    def hear(event: Any) -> None:
        if isinstance(event, Opened):
            assert session.blend is not None and session.blend.revision == session.revision
            thread = threading.Thread(target=session.add, args=("dome", mask))
            thread.start()
            thread.join(20)

    session.observe(hear)
    session.open_project(data)
    assert [edit.concept for edit in session.edits] == ["tree", "dome"]
    session.close()
    (path,) = journals.iterdir()
    back = EditingSession.recover(path, generator=model, worker=Worker(start=False))
    assert back.edits == session.edits
    assert session.undo() and [edit.concept for edit in session.edits] == ["tree"] and not session.can_undo


def test_exemplars_of_a_project_fit_its_own_picture(model, photo, mask, monkeypatch):
    measured: list[Any] = []

    def exemplar(palette: Any, edit: Any, features: torch.Tensor) -> np.ndarray:
        measured.append(features)
        return features.mean((0, 2, 3)).numpy()

    monkeypatch.setattr(Palette, "exemplar", exemplar)
    session = begin(model, photo)
    session._state.generator_name = "tiny"
    session.add("tree", mask, target="exemplar")
    data = session.project_file()
    session.next_scene()
    monkeypatch.setattr(saving, "weights_of", lambda model: "0" * 64)  # so that everything is measured anew
    session.open_project(data)
    assert torch.equal(measured[-1], session._state.picture.fast.state.features)
    expected = measured[-1].mean((0, 2, 3)).numpy()
    assert np.array_equal(session.edits[0].activations, expected)
