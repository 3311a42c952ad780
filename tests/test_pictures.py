"""Photographs as they come: any size, orientation and mode; and back into them at their full size."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files, framing


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    return np.stack(
        [np.tile(across, (height, 1)), np.tile(down[:, None], (1, width)), np.full((height, width), 90.0)],
        axis=2,
    ).astype(np.uint8)


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright(orientation: int) -> None:
    upright = Image.fromarray(gradient(60, 40))
    turn = Image.Transpose
    back = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    lying = upright if orientation == 1 else upright.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = files.read(stored(lying, "PNG", exif=exif.tobytes()))
    assert found.size == (60, 40) and np.array_equal(np.asarray(found), np.asarray(upright))


@pytest.mark.parametrize("kind", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1"])
def test_photos_of_every_mode(kind: str) -> None:
    gray = gradient(32, 32)[:, :, 0]
    image = Image.fromarray(np.repeat(gray[:, :, None], 3, axis=2))
    if kind == "I;16":
        image = Image.fromarray(gray.astype(np.uint16) * 257)
    elif kind == "RGBA":
        image = image.convert("RGBA")
        image.putpixel((0, 0), (10, 20, 30, 0))
    else:
        image = image.quantize(64) if kind == "P" else image.convert(kind)
    found = files.read(stored(image, "TIFF" if kind in ("CMYK", "I;16") else "PNG"))
    assert found.mode == "RGB" and found.size == (32, 32)
    shown = np.asarray(found).astype(int)
    if kind == "1":
        assert set(np.unique(shown)) == {0, 255}
        return
    if kind == "RGBA":
        assert tuple(shown[0, 0]) == (255, 255, 255)  # what is transparent is white
        shown[0, 0] = gray[0, 0]
    assert np.abs(shown - gray[:, :, None]).max() <= 3


@pytest.mark.parametrize(("width", "height"), [(90, 60), (60, 90), (64, 64), (1, 40), (333, 7)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_squares(fit: Any, width: int, height: int) -> None:
    photo = Image.fromarray(gradient(width, height))
    square = framing.fitted(photo, 32, fit)
    assert square.shape == (32, 32, 3) and square.dtype == np.uint8
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        middle = photo.crop((left, top, left + side, top + side))
        assert np.array_equal(square, np.array(middle.resize((32, 32), Image.Resampling.LANCZOS)))
    elif width > height:  # all of it is there from side to side, and mirrored above and below
        assert square[16, 0, 0] < 20 and (square[16, -1, 0] > 235 or width == 1)
        first = round((1 - height / width) / 2 * 32)
        assert first == 0 or np.array_equal(square[first - 1], square[first])


def test_a_panorama_fits_into_memory() -> None:
    assert framing.fitted(Image.new("RGB", (1_000_000, 2)), 64, "pad").shape == (64, 64, 3)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_what_was_not_edited_comes_back_as_it_was(fit: Any) -> None:
    photo = Image.fromarray(gradient(150, 100))
    square = framing.fitted(photo, 50, fit)
    back = np.asarray(framing.paste(photo, square, fit)).astype(int)
    assert back.shape == (100, 150, 3)
    assert np.abs(back - np.asarray(photo)).max() <= 4  # a gradient survives being resized
    exact = framing.paste(photo, 255 - square, fit, where=np.zeros((50, 50), np.uint8))
    assert np.array_equal(np.asarray(exact), np.asarray(photo))


def test_the_seam_is_feathered_where_the_photo_goes_on() -> None:
    photo = Image.new("RGB", (200, 100), "black")
    back = np.asarray(framing.paste(photo, np.full((50, 50, 3), 200, np.uint8), feather=0.1))[:, :, 0].astype(
        int
    )
    assert (back[:, :50] == 0).all() and (back[:, 150:] == 0).all()  # outside the square
    assert (back[:, 62:138] == 200).all()  # inside: also at the photo's own upper and lower edge
    rising = back[50, 50:62]
    assert (np.diff(rising) >= 0).all() and 0 < rising[4] < 200 and np.abs(np.diff(back[50])).max() < 40


def test_only_what_is_wanted_is_pasted() -> None:
    photo = Image.new("RGB", (100, 100), "black")
    where = np.zeros((50, 50), np.uint8)
    where[10:20, 10:20] = 255
    back = np.asarray(framing.paste(photo, np.full((50, 50, 3), 200, np.uint8), where=where))[:, :, 0]
    assert (back[24:36, 24:36] == 200).all() and (back[44:] == 0).all()


@pytest.mark.parametrize(
    ("result", "where"),
    [
        (np.zeros((4, 5, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.float32), None),
        (np.zeros((0, 0, 3), np.uint8), None),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((5, 5), np.uint8)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)),
    ],
)
def test_pasting_what_does_not_fit(result: Any, where: Any) -> None:
    with pytest.raises(GANPaintError):
        framing.paste(Image.new("RGB", (8, 8)), result, where=where)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_masks_lie_as_the_photo_does(fit: Any) -> None:
    painted = np.zeros((60, 90), np.uint8)
    painted[20:40, 30:60] = 255
    square = framing.square_mask(painted, 30, fit)
    rows, columns = np.nonzero(square > 127)
    scale = 30 / (60 if fit == "crop" else 90)
    assert abs(len(set(rows)) - 20 * scale) <= 1 and abs(len(set(columns)) - 30 * scale) <= 1
    assert abs(rows.mean() - 14.5) <= 0.5 and abs(columns.mean() - 14.5) <= 0.5


def test_an_original_keeps_the_file_that_it_came_as(tmp_path: Any) -> None:
    file = stored(Image.fromarray(gradient(30, 20)), "JPEG")
    path = tmp_path / "photo.jpg"
    path.write_bytes(file)
    for source in (path, str(path), file, memoryview(file)):
        assert files.read_original(source, "pad").encoded() == file
    array = gradient(30, 20)
    again = files.read(files.read_original(array).encoded())
    assert np.array_equal(np.asarray(again), array)
    with pytest.raises(GANPaintError, match="fitted"):
        files.read_original(array, "stretch")
