"""Whatever comes in: one sentence that says what, one that says what to do, and everything as it was."""

from __future__ import annotations

import io
import math
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files
from ganpaint_widget.session import EditingSession

SIZE = 32
MASK = np.zeros((SIZE, SIZE), np.uint8)


def state_of(session: EditingSession) -> tuple[Any, ...]:
    return (
        session.edits,
        session.revision,
        session.can_undo,
        session.can_redo,
        session.title,
        session.notice,
        session.photo.tobytes(),
        session.preview.tobytes(),
        session.result,
    )


def refused(session: EditingSession, act: Callable[[], object]) -> GANPaintError:
    """The error of something that must be refused, and with nothing changed."""
    before = state_of(session)
    with pytest.raises(GANPaintError) as caught:
        act()
    assert state_of(session) == before
    error = caught.value
    for sentence in (error.message, error.hint):
        assert sentence[0].isupper() or not sentence[0].isalpha()
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert len(sentence) < 250
    assert str(error) == f"{error.message} {error.hint}"
    return error


@pytest.fixture
def edited(session: EditingSession, mask: np.ndarray) -> EditingSession:
    """A session with something to lose: two edits, one undone."""
    session.add("tree", mask)
    session.add("dome", mask)
    session.undo()
    return session


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    """A small file with a header for a picture of any size: 8-bit RGB, one row of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 + 3 * width), 9)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- pictures ---


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(30_000, 30_000), (7072, 7072), (2**31 - 1, 1), (12_000, 12_000)])
def test_a_header_that_claims_too_much_is_refused_before_decoding(edited, size, tmp_path, monkeypatch):
    data = (
        png_that_claims(*size)
        if size[0] < 10**6
        else png_that_claims(10, 10).replace(struct.pack(">II", 10, 10), struct.pack(">II", *size))
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    began = time.perf_counter()
    for source in (data, path):
        with pytest.raises(GANPaintError) as caught:
            edited.open(source)
        told = caught.value.message
        assert "million pixels" in told or "cannot be read as a picture" in told
    assert time.perf_counter() - began < 1
    if size == (30_000, 30_000):
        assert "million pixels" in caught.value.message


def test_a_refused_header_leaves_the_session(edited: EditingSession):
    told = refused(edited, lambda: edited.open(png_that_claims(30_000, 30_000))).message
    assert "50 million pixels" in told


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"this is a text",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"GIF89a",
        np.zeros((8, 8, 2), np.uint8),
        np.full((8, 8, 3), 255, np.float32),
        np.zeros((0, 8, 3), np.uint8),
        42,
        object,
        "no/such/file.png",
        "https://example.org/church.jpg",
        "with\0zero.png",
    ],
    ids=lambda source: (
        f"{source.dtype}{source.shape}" if isinstance(source, np.ndarray) else repr(source)[:20]
    ),
)
def test_what_is_no_picture_is_refused(edited: EditingSession, source: Any):
    refused(edited, lambda: edited.open(source))


def test_files_that_are_no_pictures_are_refused(edited: EditingSession, tmp_path: Path):
    text = tmp_path / "letter.png"
    text.write_text("Dear reader, this is not a picture.")
    assert "letter.png" in refused(edited, lambda: edited.open(text)).message
    refused(edited, lambda: edited.open(tmp_path))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(edited, tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Image, "open", lambda *arguments, **more: pytest.fail("it was opened"))
    with pytest.raises(GANPaintError, match="at most 64 MB"):
        edited.open(path)


def test_a_picture_cut_short_is_refused(edited: EditingSession):
    target = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(target, "PNG")
    assert "damaged" in refused(edited, lambda: edited.open(target.getvalue()[:-400])).message


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on what is odd in them
@settings(max_examples=60)
@given(start=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), data=st.data())
def test_a_damaged_file_is_a_picture_or_a_clear_error(start: str, data: st.DataObject):
    target = io.BytesIO()
    Image.effect_noise((24, 16), 50).convert("RGB").save(target, start)
    damaged = bytearray(target.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 200) - 1))] = data.draw(st.integers(0, 255))
    try:
        array = files.read_square(bytes(damaged), 8)
    except GANPaintError:
        return
    assert (array.shape, array.dtype) == ((8, 8, 3), np.uint8)


@given(st.binary(max_size=200))
@example(b"\x89PNG\r\n\x1a\n")
def test_no_bytes_end_in_anything_but_a_clear_error(data: bytes):
    with pytest.raises(GANPaintError):
        files.read(data)


# Not bad input, but the kinds of picture that a careless reader gets wrong.


def saved(image: Image.Image, kind: str, **more: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **more)
    return target.getvalue()


def test_a_photo_from_a_phone_is_turned_upright():
    image = Image.new("RGB", (40, 40), "black")
    image.paste("white", (0, 0, 40, 20))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    array = files.read_square(saved(image, "JPEG", exif=exif, quality=95), 8)
    assert array[-1].mean() > 240
    assert array[0].mean() < 15


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (9, 9), 100),
        Image.new("LA", (9, 9), (100, 255)),
        Image.new("RGBA", (9, 9), (100, 100, 100, 255)),
        Image.new("RGB", (9, 9), (100, 100, 100)).convert("P"),
        Image.fromarray(np.full((9, 9), 100 * 257, np.uint16)),
        Image.new("RGB", (9, 1), (100, 100, 100)),
    ],
    ids=lambda image: image.mode,
)
def test_every_mode_becomes_rgb(image: Image.Image):
    array = files.read_square(saved(image, "PNG"), 4)
    assert array.shape == (4, 4, 3)
    assert np.abs(array.astype(int) - 100).max() <= 2


def test_what_is_transparent_is_white():
    assert (files.read_square(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), 4) == 255).all()


def test_nothing_from_beside_the_square_bleeds_in():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 255
    assert (files.read_square(image, 16) == 255).all()


# --- edits ---


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((SIZE, SIZE - 1), np.uint8),
        np.zeros((2 * SIZE, 2 * SIZE), np.uint8),
        np.zeros((SIZE, SIZE, 2), np.uint8),
        np.full((SIZE, SIZE), 255, np.float32),
        np.full((SIZE, SIZE), -1, np.int64),
        np.zeros((SIZE, SIZE), object),
        np.zeros(0, np.uint8),
        None,
        "mask",
        [[0, 1], [1, 0]],
        [[0, 1], [1]],
    ],
    ids=lambda mask: f"{getattr(mask, 'dtype', mask)}{getattr(mask, 'shape', '')}",
)
@pytest.mark.parametrize("verb", ["add", "remove"])
def test_a_mask_of_the_wrong_kind_is_refused(edited: EditingSession, verb: str, wrong: Any):
    error = refused(edited, lambda: getattr(edited, verb)("tree", wrong))
    assert "mask" in error.message


def test_an_unknown_concept_is_refused_with_the_known_ones(edited: EditingSession):
    for concept in ("unicorn", "", None, 3, ["tree"], "x" * 10_000):
        error = refused(edited, lambda concept=concept: edited.add(concept, MASK))
        assert "tree, dome, window" in error.hint


@pytest.mark.parametrize(
    "strength",
    [math.nan, math.inf, -0.1, 4.01, "1", None, True, 1j, [1], 10**400, np.float32("nan")],
    ids=str,
)
def test_a_strength_that_is_none_is_refused(edited: EditingSession, strength: Any):
    error = refused(edited, lambda: edited.add("tree", MASK, strength))
    assert "strength" in error.message
    assert "0 to 4" in error.hint
    refused(edited, lambda: edited.update(edited.edits[0].id, strength))
    refused(
        edited,
        lambda: edited.paint(
            "new", (0, 0, 1, 1), MASK[:1, :1], verb="add", concept="tree", strength=strength
        ),
    )


@pytest.mark.parametrize(
    "rect",
    [
        (0, 0, SIZE + 1, 1),
        (SIZE, 0, 1, 1),
        (-1, 0, 2, 2),
        (0, 0, -1, 1),
        (0, 0, 1),
        (0.0, 0, 1, 1),
        (True, 0, 1, 1),
        (math.nan, 0, 1, 1),
        "0011",
        None,
        {0: 1},
    ],
    ids=repr,
)
def test_a_rectangle_outside_is_refused(edited: EditingSession, rect: Any):
    error = refused(edited, lambda: edited.paint("a", rect, MASK[:1, :1], verb="add", concept="tree"))
    assert "rectangle" in error.message


@pytest.mark.parametrize("edit", ["", "a" * 33, "a b", "a/b", "é", "a\n", 5, None])
def test_an_id_that_is_none_is_refused(edited: EditingSession, edit: Any):
    refused(edited, lambda: edited.paint(edit, (0, 0, 1, 1), MASK[:1, :1], verb="add", concept="tree"))
    refused(edited, lambda: edited.update(edit, 1))
    refused(edited, lambda: edited.toggle(edit, True))
    refused(edited, lambda: edited.delete(edit))


def test_an_edit_that_is_not_there_is_refused_with_those_that_are(edited: EditingSession):
    error = refused(edited, lambda: edited.delete("nobody"))
    assert edited.edits[0].id in error.hint


def test_other_nonsense_is_refused(edited: EditingSession):
    refused(edited, lambda: edited.toggle(edited.edits[0].id, "no"))
    refused(edited, lambda: edited.paint("a", (0, 0, 1, 1), MASK[:1, :1], verb="restyle", concept="tree"))
    refused(edited, lambda: edited.paint("a", (0, 0, 2, 2), MASK[:1, :1], verb="add", concept="tree"))
    refused(edited, lambda: edited.save_png("no/such/folder/out.png"))


SETTINGS = ["units", "target", "variant", "reference", "region"]
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(-40, 40), max_size=5),
    st.just(MASK),
    st.just("tree"),
    st.just("add"),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[anything] * 6), st.lists(st.tuples(st.sampled_from(SETTINGS), anything), max_size=2))
def test_no_arguments_end_in_anything_but_a_clear_error(session: EditingSession, values, more):
    edit, rect, pixels, verb, concept, strength = values
    edits = session.edits
    try:
        session.paint(edit, rect, pixels, verb=verb, concept=concept, strength=strength, **dict(more))
    except GANPaintError:
        assert session.edits is edits


def test_a_generator_without_a_dissection_says_that_it_cannot_be_painted_with(model: Any):
    from ganpaint_widget.models.model import Model
    from ganpaint_widget.session.worker import Worker

    session = EditingSession(generator=Model("plain", model.generator), worker=Worker(start=False))
    assert session.concepts == ()
    assert "no dissection" in refused(session, lambda: session.add("tree", MASK)).message
    assert session.preview.size == (SIZE, SIZE)


def test_an_unknown_generator_is_refused():
    with pytest.raises(GANPaintError, match="unicorns"):
        EditingSession(generator="unicorns")
