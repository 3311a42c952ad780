"""What people hand over as a picture or a mask: files in any wrapping, arrays and tensors in any layout."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import GANPaintError, kind_of
from .arrays import Array

MAX_FILE_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 50_000_000

CHANNELS: Final = (1, 3, 4)
"""Of an array: gray, RGB, RGBA."""

_ADDRESS = re.compile(r"(?:https?|ftp|s3|gs|file):/|\w+://", re.IGNORECASE)  # a Path keeps one slash
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_ROUNDING: Final = 1e-3  # by so much a float may leave [0, 1]


@dataclass(frozen=True)
class File:
    """The bytes of a file, and how to speak of it.

    Attributes:
        data: all of it, nothing decoded.
        name: of the file, if it has one.
    """

    data: bytes
    name: str | None = None

    @property
    def named(self) -> str:
        return "The file" if self.name is None else f"The file {self.name!r}"


@dataclass(frozen=True, eq=False)
class Values:
    """An array: H x W, or H x W x 1, 3 or 4, of any type of number."""

    array: npt.NDArray[Any]


def opened(source: object, what: str, limit: int = MAX_FILE_BYTES) -> File | Values | Image.Image:
    """Find out what a user means by a picture or a mask; nothing is decoded yet.

    Args:
        source: a path; a ``file:`` or ``data:`` address; the bytes of an image file, or a file object that
            holds them; the value of an ``ipywidgets.FileUpload``, one of its files, or the widget itself; a
            PIL image; an array or a tensor, H x W or with 1, 3 or 4 channels first or last.
        what: "picture" or "mask", for messages.
        limit: bytes that a file may have.

    Raises:
        GANPaintError: it is none of these, is larger, or can be read in two ways.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source), what, limit)
    if isinstance(source, memoryview) and source.ndim > 1:  # as matplotlib's canvas.buffer_rgba() is
        return Values(_arranged(np.asarray(source), what, tensor=False))
    if isinstance(source, io.BytesIO):
        source = source.getvalue()  # wherever its writer has left off
    if isinstance(source, (bytes, bytearray, memoryview)):
        _refuse_too_many_bytes(memoryview(source).nbytes, limit)
        return File(bytes(source))
    if isinstance(source, Mapping) or (
        isinstance(source, (tuple, list)) and all(isinstance(one, Mapping) for one in source)
    ):
        return _from_upload(source, what, limit)
    if callable(getattr(source, "read", None)):
        return _from_file_object(source, what, limit)
    if isinstance(value := getattr(source, "value", None), (bytes, memoryview, tuple, dict)):
        return opened(value, what, limit)  # a FileUpload, or an Image of ipywidgets
    if hasattr(source, "detach") and hasattr(source, "cpu"):  # a tensor, told without importing torch
        return Values(_arranged(_numbers(source, what), what, tensor=True))
    if isinstance(source, np.ma.MaskedArray) and np.ma.is_masked(source):
        raise GANPaintError("A masked array has places without a value.", "Fill them: array.filled(0).")
    if hasattr(source, "__array__") or (what == "mask" and isinstance(source, (list, tuple))):
        try:
            values = np.asarray(source)
        except (TypeError, ValueError) as error:  # ragged lists, for one
            raise GANPaintError(f"The {what} is not an array.", _hint(what)) from error
        return Values(_arranged(values, what, tensor=False))
    if isinstance(data := getattr(source, "data", None), bytes):  # an Image of IPython
        return opened(data, what, limit)
    raise _unknown(source, what)


def _unknown(source: object, what: str) -> GANPaintError:
    return GANPaintError(f"{kind_of(source)} is not a {what}.", _hint(what))


def _hint(what: str) -> str:
    if what == "mask":
        return "Pass an array of 0 and 1 (or 0 to 255), a PIL image, or the path of a picture."
    return "Pass the path of a picture, its bytes, a PIL image, or an array H x W x 3."


# --- files ---


def _from_path(place: str | bytes, what: str, limit: int) -> File:
    text = os.fsdecode(place)
    if found := _DATA.match(text):
        return _from_data(text[found.end() :], what, limit)
    if text.lower().startswith("file:"):
        text = url2pathname(urlsplit(text).path)
    if not text.strip():
        raise GANPaintError("The path is empty.", f"Pass the path of a {what}.")
    refuse_address(text, f"Download the {what} first, and pass the path of the file.")
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            raise GANPaintError(f"{str(path)!r} is a folder.", f"Pass the path of one {what} in it.")
        # A device or a pipe has no size and may never end.
        if not path.is_file():
            raise GANPaintError(f"The file {str(path)[-150:]!r} does not exist.", "Check the path.")
        _refuse_too_many_bytes(path.stat().st_size, limit)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except GANPaintError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of a user that there is none of
        reason = getattr(error, "strerror", None) or error
        raise GANPaintError(
            f"The file {text[-100:]!r} cannot be read: {reason}.", "Check the path and its permissions."
        ) from error
    _refuse_too_many_bytes(len(data), limit)
    return File(data, path.name)


def _from_data(letters: str, what: str, limit: int) -> File:
    """Return the file that a ``data:`` address carries."""
    _refuse_too_many_bytes(3 * len(letters) // 4, limit)
    try:
        return File(base64.b64decode(unquote(letters), validate=True))
    except ValueError as error:
        raise GANPaintError(
            "The data: address is damaged or cut short.", f"Copy all of it, or pass the path of a {what}."
        ) from error


def _from_file_object(file: Any, what: str, limit: int) -> File:
    try:
        if callable(getattr(file, "seekable", None)) and file.seekable():
            file.seek(0)  # a program that has just written or read it has left it at its end
        data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise GANPaintError(f"The file object cannot be read: {error}.", "Open the file again.") from error
    if not isinstance(data, (bytes, bytearray)):
        raise GANPaintError(
            f"The file object returns {type(data).__name__}, not bytes.", 'Open it with open(path, "rb").'
        )
    _refuse_too_many_bytes(len(data), limit)
    name = getattr(file, "name", None)
    return File(bytes(data), os.path.basename(name) if isinstance(name, str) else None)


def _from_upload(value: Any, what: str, limit: int) -> File:
    """Return the value of a FileUpload: a tuple of files in ipywidgets 8, a dictionary by name in 7."""
    if isinstance(value, Mapping) and "content" not in value:
        files = [{"name": name, **one} for name, one in value.items() if isinstance(one, Mapping)]
    else:
        files = [dict(value)] if isinstance(value, Mapping) else [dict(one) for one in value]
    if value and not files:
        raise _unknown(value, what)
    if len(files) != 1:
        raise GANPaintError(
            f"This upload holds {len(files)} files." if files else "This upload is still empty.",
            f"Pass one of them: upload.value[0] is the first {what}." if files else "Choose one first.",
        )
    content, name = files[0].get("content"), files[0].get("name")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise GANPaintError(f"{kind_of(value)} like this is not a {what}.", _hint(what))
    _refuse_too_many_bytes(memoryview(content).nbytes, limit)
    return File(bytes(content), name if isinstance(name, str) else None)


def _refuse_too_many_bytes(count: int, limit: int) -> None:
    if count > limit:
        raise GANPaintError(
            f"The file has {count / 2**20:.0f} MB, and at most {limit // 2**20} MB are read.",
            "Save a smaller copy of the picture, for example as a JPEG.",
        )


# --- arrays ---


def _numbers(tensor: Any, what: str) -> npt.NDArray[Any]:
    """Return a tensor's numbers."""
    try:
        dense = tensor.detach().cpu()
        try:
            values: npt.NDArray[Any] = dense.numpy()
        except TypeError:  # NumPy has no bfloat16
            values = dense.float().numpy()
    except (TypeError, RuntimeError) as error:  # RuntimeError: NotImplementedError, of the device "meta"
        raise GANPaintError(
            f"The {what} is a tensor whose numbers cannot be read: it is sparse, quantized or without data.",
            "Pass a dense tensor: x.to_dense() or x.dequantize().",
        ) from error
    return values


def _arranged(values: npt.NDArray[Any], what: str, *, tensor: bool) -> npt.NDArray[Any]:
    """Return an array of any layout as H x W or H x W x C. GANPaintError if that can be meant in two ways."""
    shape = values.shape
    if values.ndim == 4:
        if shape[0] != 1:
            raise GANPaintError(f"The {what} is a batch, {shape}.", f"Pass one {what} of it: x[0].")
        values = values[0]
    if 0 in shape or values.ndim not in (2, 3):
        raise GANPaintError(
            f"An array of the shape {shape} is not a {what}.", f"Pass a {what} of H x W, or H x W x 3."
        )
    if values.ndim == 3:
        first, last = values.shape[0] in CHANNELS, values.shape[2] in CHANNELS
        if first and last and tensor:
            raise GANPaintError(
                f"A tensor of the shape {shape} may have its channels first or last.",
                f"Pass it as a NumPy array, H x W x {values.shape[2]}.",
            )
        if not last:
            if not first:
                raise GANPaintError(
                    f"The {what} has the shape {shape}, and neither its first nor its last dimension "
                    "has 1, 3 or 4 channels.",
                    "Pass H x W, H x W x 3 (RGB) or H x W x 4 (RGBA).",
                )
            values = values.transpose(1, 2, 0)
    height, width = values.shape[:2]
    refuse_too_many_pixels(width, height, f"The {what}")
    return values


def eight_bits(values: npt.NDArray[Any], what: str) -> Array:
    """Bring numbers to uint8, 0 to 255.

    Args:
        values: bool; uint8; integers from 0 to 255, or uint16 from 0 to 65535; floats from 0 to 1.
        what: "picture" or "mask", for messages.

    Raises:
        GANPaintError: they are not finite, negative, larger, or can be meant in two ways.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        raise GANPaintError(
            f"The {what} has the data type {values.dtype}.",
            "Pass uint8 from 0 to 255, or floats from 0 to 1.",
        )
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise GANPaintError(
            f"The {what} holds numbers that are not finite.", "Look for a NaN, or a division by 0."
        )
    if low < (-_ROUNDING if values.dtype.kind == "f" else 0):
        raise GANPaintError(
            f"The {what} has negative values, down to {low:.4g}.",
            "Scale it to 0 to 1; from -1 to 1 that is (x + 1) / 2.",
        )
    if values.dtype.kind == "f":
        if high > 1 + _ROUNDING:
            raise GANPaintError(
                f"The {what} has floating-point values up to {high:.4g}, so its white level is unknown.",
                "Divide it so that it goes from 0 to 1, or pass uint8 from 0 to 255.",
            )
        return np.asarray(np.rint(values.clip(0, 1) * 255), np.uint8)
    if high > 255 and values.dtype.kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        return np.asarray((values.astype(np.uint32) + 128) // 257, np.uint8)
    if high > 255:
        raise GANPaintError(
            f"The {what} has {values.dtype} values up to {high:.0f}, so its white level is unknown.",
            "Pass uint8 from 0 to 255, uint16 from 0 to 65535, or floats from 0 to 1.",
        )
    if high == 1 and what != "mask":
        raise GANPaintError(
            f"The {what} has {values.dtype} values of 0 and 1: black and white, or almost black.",
            "Pass it as bool for black and white, or as uint8.",
        )
    return values.astype(np.uint8)


def refuse_address(text: str, hint: str) -> None:
    """Raise GANPaintError with this hint if a path is an address."""
    if _ADDRESS.match(text):
        raise GANPaintError(f"{text[:60]!r} is a web address, and nothing is fetched from the network.", hint)


def refuse_too_many_pixels(width: int, height: int, named: str) -> None:
    """Raise GANPaintError if a picture of this size would not be decoded."""
    if width * height > MAX_PIXELS:
        raise too_many_pixels(f"{named} ({width} x {height})")


def too_many_pixels(named: str) -> GANPaintError:
    """Return the error for a picture that is too large."""
    return GANPaintError(
        f"{named} has more than {MAX_PIXELS // 10**6} million pixels and was not decoded.",
        "Make it smaller in a picture program first.",
    )
