"""Pictures on their way in and out: files from strangers, and PNGs that say what they are.

Reading is guarded: the size of the file and the size that its header claims are looked at *before*
anything is decoded, and only formats that cannot start other programs are accepted.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, PngImagePlugin

from ..errors import GANPaintError
from .arrays import Array
from .framing import Fit, fitted, square_mask

MAX_FILE_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 50_000_000
# Pillow reads many more, among them EPS, which it hands to Ghostscript.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_KINDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_HINT_KIND = f"Pass a {_KINDS} file, a PIL image, or a uint8 array H x W x 3."


def read_square(source: object, size: int) -> Array:
    """Any picture a user may come with, as its centered square: uint8 ``size`` x ``size`` x 3.

    Args:
        source: a path, the bytes of an image file, a PIL image, or a uint8 array H x W x 3.
        size: width and height of the result; resampling is Lanczos.

    Raises:
        GANPaintError: it is no picture, or larger than 64 MB as a file or 50 million pixels.
    """
    return fitted(read(source), size)


def read(source: object) -> Image.Image:
    """Any picture a user may come with, upright and in RGB, at its own size. See :func:`read_square`."""
    return _read(source, _rgb)


def _read(source: object, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if isinstance(source, Image.Image):
        return _decoded(source, "The picture", convert)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), "The file", convert)  # as a page sends one
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(os.fspath(source)), convert)
    raise GANPaintError(f"A {type(source).__name__} is no picture.", _HINT_KIND)


@dataclass(frozen=True, eq=False)
class Original:
    """A photograph at its own size, of which a square is edited.

    Attributes:
        image: upright and RGB, as :func:`read` gives it.
        fit: which square: see :func:`.framing.frame`.
        file: the file's bytes as they came, if it came as a file.
    """

    image: Image.Image
    fit: Fit = "crop"
    file: bytes | None = None

    def encoded(self) -> bytes:
        """A picture file of it that has lost nothing."""
        if self.file is not None:
            return self.file
        target = io.BytesIO()
        self.image.save(target, "PNG", compress_level=1)  # of the levels, the one that keeps nobody waiting
        return target.getvalue()


def read_original(source: object, fit: object = "crop") -> Original:
    """Any picture that a user may come with, to be edited and pasted back.

    Args:
        source: as for :func:`read_square`.
        fit: ``"crop"`` edits the centered square, ``"pad"`` all of it, with its edges mirrored around it.

    Raises:
        GANPaintError: as in :func:`read_square`, or there is no such way to fit.
    """
    if fit not in get_args(Fit):
        raise GANPaintError(f"A photo cannot be fitted by {fit!r}.", 'Pass "crop" or "pad".')
    file: bytes | None = None
    if isinstance(source, (str, os.PathLike)):
        source = file = _bytes_of(path := Path(os.fspath(source)))
        image = _decode(file, f"The file {path.name!r}", _rgb)
    else:
        image = read(source)
        if isinstance(source, (bytes, bytearray, memoryview)):
            file = bytes(source)
    return Original(image, fit, file)  # type: ignore[arg-type]


def read_mask(source: object, size: int, fit: Fit = "crop") -> Array:
    """A picture file as a mask, its square as of :func:`.framing.fitted`: uint8 ``size`` x ``size``.

    Where it has transparent pixels, what is opaque is painted, whatever its color; else what is bright.

    Raises:
        GANPaintError: as in :func:`read_square`.
    """
    return square_mask(np.array(_read(source, _mask)), size, fit)


def encode_png(picture: Array | Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """A PNG file of a picture or of a uint8 H x W x 3 (or H x W) array, with text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    target = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(target, "PNG", pnginfo=info)
    return target.getvalue()


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise GANPaintError(
            f"An array of the shape {array.shape} and the data type {array.dtype} is no picture.",
            "Pass a uint8 array of the shape H x W x 3 with values from 0 to 255.",
        )
    _refuse_too_many_pixels(array.shape[1], array.shape[0])
    return Image.fromarray(np.ascontiguousarray(array))


def _from_file(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    return _decode(_bytes_of(path), f"The file {path.name!r}", convert)


def _bytes_of(path: Path) -> bytes:
    try:
        # A device or a pipe has no size and may never end.
        if not path.is_file():
            raise GANPaintError(
                f"There is no file {str(path)!r}.", "Check the path; a folder or a web address does not do."
            )
        _refuse_too_many_bytes(path.stat().st_size)
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, GANPaintError):
            raise
        raise GANPaintError(
            f"The file {str(path)!r} cannot be read: {error}.", "Check its permissions."
        ) from error


def _decode(data: bytes, named: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    _refuse_too_many_bytes(len(data))
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header only
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limit, which is higher than ours, speaks before we can ask for the size.
        raise _too_many_pixels(named) from error
    except Exception as error:  # decoders raise all sorts of things over bytes that are no picture
        hint = f"Take a {_KINDS} file, or save it anew by a picture program."
        raise GANPaintError(f"{named} cannot be read as a picture.", hint) from error
    with image:
        return _decoded(image, named, convert)


def _decoded(image: Image.Image, named: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode what Pillow has only looked at so far."""
    _refuse_too_many_pixels(*image.size, named)
    try:
        return convert(image)
    except GANPaintError:
        raise
    except Exception as error:
        raise GANPaintError(
            f"{named} cannot be decoded: it is damaged or cut short.",
            "Open it in a picture program and save it anew, or pass another file.",
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Upright, RGB; what is transparent becomes white."""
    if 0 in image.size:
        raise GANPaintError("The picture has no pixels.", _HINT_KIND)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise GANPaintError("The picture has floating-point pixels.", "Convert it to 8 bits a channel first.")
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255 instead of scaling
        deep = np.asarray(image).astype(np.int64)
        gray = deep.clip(0, 65535) // 257 if deep.max() > 255 else deep.clip(0)
        image = Image.fromarray(gray.astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _mask(image: Image.Image) -> Image.Image:
    """8-bit gray: the opacity if that differs between pixels, else the brightness."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        alpha = ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return alpha
    return _rgb(image).convert("L")


def _refuse_too_many_bytes(count: int) -> None:
    if count > MAX_FILE_BYTES:
        raise GANPaintError(
            f"The file has {count / 2**20:.0f} MB, and at most {MAX_FILE_BYTES // 2**20} MB are read.",
            "Save the picture smaller, for example as a JPEG.",
        )


def _refuse_too_many_pixels(width: int, height: int, named: str = "The picture") -> None:
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"{named} ({width} x {height})")


def _too_many_pixels(named: str) -> GANPaintError:
    return GANPaintError(
        f"{named} has more than {MAX_PIXELS // 10**6} million pixels and was not decoded.",
        "Make it smaller in a picture program first.",
    )
