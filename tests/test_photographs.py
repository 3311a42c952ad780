"""Photographs of one's own: the square that is edited, and the result at the photo's own size."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files, framing
from ganpaint_widget.method import inversion
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.processes import inverting

WIDTH, HEIGHT = 150, 100


@pytest.fixture
def photo() -> bytes:
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    target = io.BytesIO()
    Image.fromarray(values).save(target, "PNG")
    return target.getvalue()


def painted(session: EditingSession) -> EditingSession:
    """A corner of the square is painted over."""
    mask = np.zeros((session.size, session.size), np.uint8)
    mask[: session.size // 4, : session.size // 4] = 255
    session.add("tree", mask, strength=4)
    return session


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_result_is_put_back_at_full_size(model: Any, worker: Any, photo: bytes, fit: Any) -> None:
    session = EditingSession(photo, model, fit=fit, journal=False, worker=worker)
    whole = files.read(photo)
    assert np.array_equal(np.asarray(session.photo), framing.fitted(whole, session.size, fit))
    assert np.array_equal(np.asarray(session.full), np.asarray(whole))  # nothing is edited yet
    painted(session)
    before = np.asarray(whole)
    for after in (session.full, Image.open(io.BytesIO(session.png()))):
        assert after.size == (WIDTH, HEIGHT)
        changed = (np.asarray(after) != before).any(axis=2)
        assert changed.any()
        assert not changed[:, WIDTH * 3 // 4 :].any() and not changed[HEIGHT * 3 // 4 :].any()
    session.adapt()
    assert session.full.size == (WIDTH, HEIGHT)
    named = Image.open(io.BytesIO(session.png()))
    assert named.size == (WIDTH, HEIGHT) and json.loads(named.text["ganpaint:concepts"])


def test_a_scene_has_no_larger_photo(model_with_gallery: Any, worker: Any) -> None:
    session = EditingSession(generator=model_with_gallery, journal=False, worker=worker)
    painted(session)
    assert np.array_equal(np.asarray(session.full), np.asarray(session.preview))


def test_the_photo_outlives_the_kernel_and_travels_with_the_project(
    model: Any, worker: Any, photo: bytes, tmp_path: Path
) -> None:
    session = EditingSession(photo, model, fit="pad", journal=tmp_path / "journal", worker=worker)
    painted(session)
    wanted = np.asarray(session.full)
    journal = next((tmp_path / "journal").iterdir())
    session.close()
    for number in range(2):  # what a recovered session writes down can be recovered as well
        root = tmp_path / f"again {number}"
        again = EditingSession.recover(journal, generator=model, journal=root, worker=worker)
        assert np.array_equal(np.asarray(again.full), wanted)
        again.close()
        (journal,) = root.iterdir()
    session.save(tmp_path / "photo.ganpaint")
    loaded = EditingSession.load(tmp_path / "photo.ganpaint", generator=model, journal=False, worker=worker)
    assert np.array_equal(np.asarray(loaded.full), wanted)
    # The journal keeps one original, and that of the picture that is open.
    session = EditingSession(photo, model, journal=tmp_path / "other", worker=worker)
    painted(session)
    session.open(photo, fit="pad")
    painted(session)
    assert len(list((tmp_path / "other").glob("*/original-*"))) == 1
    session.next_scene()
    painted(session)
    assert not list((tmp_path / "other").glob("*/original-*"))


def test_there_are_two_ways_to_fit(model: Any, worker: Any, photo: bytes) -> None:
    session = EditingSession(generator=model, journal=False, worker=worker)
    with pytest.raises(GANPaintError, match="stretch"):
        session.open(photo, fit="stretch")  # type: ignore[arg-type]
    assert session.title == "sample 0"


@pytest.mark.parametrize(("apart", "words"), [(3.0, "3.0 times"), (1.0, None), (None, None)])
def test_the_notice_goes_by_the_distance(
    model: Any,
    worker: Any,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    apart: float | None,
    words: str | None,
) -> None:
    monkeypatch.setattr(inversion, "distance", lambda model, x: apart)
    monkeypatch.setattr(inverting, "POOR", -100.0)
    session = EditingSession(photo, model, journal=False, worker=worker)
    if words is None:
        assert session.notice is None
    else:
        assert session.notice.level == "warning" and words in session.notice.text
    monkeypatch.setattr(inverting, "POOR", 100.0)
    session.open(photo)
    assert ("poorly" in session.notice.text) if apart is None else ("poorly" not in str(session.notice))


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16"])
def test_photos_of_every_mode_come_back_at_full_size(model: Any, worker: Any, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    image = Image.fromarray(ramp.astype(np.uint16) * 257 if mode == "I;16" else ramp)
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its right side
    target = io.BytesIO()
    image.save(target, "TIFF", exif=exif.tobytes())
    session = EditingSession(target.getvalue(), model, journal=False, worker=worker)
    painted(session)
    assert session.full.mode == "RGB" and session.full.size == (HEIGHT, WIDTH)
