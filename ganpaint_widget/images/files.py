"""Pictures on their way in and out: files from strangers, and PNGs that say what they are.

Reading is guarded: the size of the file and the size that its header claims are looked at *before*
anything is decoded, and only formats that cannot start other programs are accepted. What comes out is
upright, RGB and in the colors of sRGB.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, features

from ..errors import GANPaintError
from .arrays import Array
from .color import has_alpha, to_srgb
from .foreign import foreign
from .framing import Fit, fitted, square_mask
from .sources import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    File,
    Values,
    eight_bits,
    opened,
    refuse_too_many_pixels,
    too_many_pixels,
)

# Pillow reads many more, among them EPS, which it hands to Ghostscript.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Read by every Pillow. AVIF is read where Pillow can, HEIC where pillow-heif is installed."""

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".heic", ".heif"}
)
"""Of the files that a folder of pictures may consist of."""

MAX_STORED_BYTES: Final = 3 * MAX_PIXELS + 10 * 2**20
"""Of a file that :meth:`Original.encoded` has made: the largest picture there is, without any compression."""

FAINTEST: Final = 16
"""Of 255: a mask that stays below would paint nothing that can be seen."""

_KINDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_SAVE_ANEW = f"Pass a {_KINDS} file, or save the picture again from a picture program."
_AVIF: Final = (b"avif", b"avis")
_HEIC: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif")


@dataclass(frozen=True, eq=False)
class Original:
    """A photograph at its own size, of which a square is edited.

    Attributes:
        image: upright and RGB, as :func:`read` gives it.
        fit: which square: see :func:`.framing.frame`.
        file: the file's bytes as they came, if it came as a file that every installation can read.
        name: of the file, if it had one.
        remark: a sentence on what was left out of it, such as the other frames of an animation.
    """

    image: Image.Image
    fit: Fit = "crop"
    file: bytes | None = None
    name: str | None = None
    remark: str | None = None

    def encoded(self) -> bytes:
        """Return a picture file of it that has lost nothing; at most ``MAX_STORED_BYTES``."""
        if self.file is not None:
            return self.file
        target = io.BytesIO()
        self.image.save(target, "PNG", compress_level=1)  # of the levels, the one that keeps nobody waiting
        return target.getvalue()


@dataclass(frozen=True, eq=False)
class _Decoded:
    image: Image.Image
    lasting: bytes | None = None
    name: str | None = None
    remark: str | None = None
    eight_bits: bool = True
    """Whether 8 bits a channel hold its values. Otherwise, they were scaled, and faint ones became 1."""


# --- reading ---


def read(source: object) -> Image.Image:
    """Read any picture that a user may come with: upright, RGB, sRGB, at its own size.

    Args:
        source: what :func:`.sources.opened` knows. What is transparent becomes white.

    Raises:
        GANPaintError: it is not a picture, has more than 64 MB as a file or 50 million pixels, or its numbers
            are ambiguous.
    """
    return _read(source, "picture", _rgb).image


def read_square(source: object, size: int) -> Array:
    """Return the centered square of :func:`read`, resized with Lanczos: uint8 ``size`` x ``size`` x 3."""
    return fitted(read(source), size)


def read_original(source: object, fit: object = "crop", *, limit: int = MAX_FILE_BYTES) -> Original:
    """Read any picture that a user may come with, to be edited and pasted back.

    Args:
        source: as for :func:`read`.
        fit: ``"crop"`` edits the centered square, ``"pad"`` all of it, with its edges mirrored around it.
        limit: bytes that its file may have; ``MAX_STORED_BYTES`` for one that this package has written.

    Raises:
        GANPaintError: as in :func:`read`, or ``fit`` is unknown.
    """
    if fit not in get_args(Fit):
        raise GANPaintError(f"A photo cannot be fitted with {fit!r}.", 'Pass "crop" or "pad".')
    found = _read(source, "picture", _rgb, limit)
    return Original(found.image, fit, found.lasting, found.name, found.remark)  # type: ignore[arg-type]


def read_mask(source: object, size: int, photo: Original | Image.Image | None = None) -> Array:
    """Read any mask that a user may come with, for the square that is edited.

    Args:
        source: an array or a tensor H x W of bool, of 0 and 1, of 0 to 255 or of floats from 0 to 1; a PIL
            image of any mode; the path or the bytes of a picture. Where a picture has transparent pixels,
            what is opaque is painted, whatever its color; else what is bright. A mask whose largest value is
            1 is one of 0 and 1, whatever its type.
        size: R; a mask of R x R is in the pixels of the square.
        photo: what the square was taken from; a mask of its size goes through the same frame.

    Returns:
        uint8 R x R, 0 (not painted) to 255 (painted).

    Raises:
        GANPaintError: it is not a mask, has another size, or holds NaN, negative or larger values, or only
            such small ones as labels are.
    """
    mask = mask_of(source)
    height, width = mask.shape
    if (height, width) == (size, size):
        return mask
    image = photo.image if isinstance(photo, Original) else photo
    fit = photo.fit if isinstance(photo, Original) else "crop"
    if image is not None and (width, height) == image.size:
        return square_mask(mask, size, fit)
    if image is not None and (height, width) == image.size:
        raise GANPaintError(
            "The mask has the photo's height and width exchanged.",
            f"Pass one of {image.height} x {image.width} pixels; of a photo with an EXIF orientation, make "
            "the mask for ImageOps.exif_transpose(photo).",
        )
    also = "" if image is None else f", or the photo's {image.height} x {image.width}"
    raise GANPaintError(
        f"The mask has the size {height} x {width}, which is neither the square's nor the photo's."
        if image is not None
        else f"The mask has the size {height} x {width}, which is not that of the square.",
        f"Pass one of {size} x {size} pixels{also}.",
    )


def mask_of(source: object) -> Array:
    """Return the same at its own size: uint8 H x W."""
    found = _read(source, "mask", _gray)
    mask = np.asarray(found.image)
    largest = int(mask.max())
    if 0 < largest < FAINTEST and not found.eight_bits:
        raise GANPaintError(
            f"The mask paints at most {largest / 255:.1%}, which is invisible.",
            "Scale it, so that its largest value is painted fully.",
        )
    if 1 < largest < FAINTEST:
        raise GANPaintError(
            f"The mask goes up to {largest} of 255 only, as a map of labels does.",
            f"Pass one of its labels, such as labels == {largest}, or scale it so that 255 is painted.",
        )
    return mask * np.uint8(255) if largest == 1 else mask


def _read(
    source: object,
    what: str,
    convert: Callable[[Image.Image], Image.Image],
    limit: int = MAX_FILE_BYTES,
) -> _Decoded:
    found = opened(source, what, limit)
    if isinstance(found, File):
        return _decode(found, convert)
    if isinstance(found, Values):
        given = found.array
        values = eight_bits(given, what)
        image = Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2:] == (1,) else values))
        plain = given.dtype.kind in "biu" and (given.dtype.itemsize == 1 or int(given.max()) <= 255)
        return _Decoded(_converted(image, f"The {what}", convert), eight_bits=plain)
    return _Decoded(_converted(found, f"The {what}", convert), eight_bits=_plain(found))


def _decode(file: File, convert: Callable[[Image.Image], Image.Image]) -> _Decoded:
    formats = _formats(file)
    if (other := foreign(file.name, file.data)) is not None:
        raise GANPaintError(f"{file.named} {other[0]}.", other[1])
    try:
        image = Image.open(io.BytesIO(file.data), formats=formats)  # reads the header only
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limit, which is higher than ours, speaks before we can ask for the size.
        raise too_many_pixels(file.named) from error
    except Exception as error:  # decoders raise all sorts of exceptions over bytes that are not a picture
        if file.data[:4] in (b"II*\0", b"MM\0*"):
            raise GANPaintError(
                f"{file.named} is a TIFF of an unsupported kind, such as floats in several channels.",
                "Save it with 8 or 16 bits per channel.",
            ) from error
        raise GANPaintError(f"{file.named} cannot be read as a picture.", _SAVE_ANEW) from error
    with image:
        lasting = file.data if formats == FORMATS else None
        converted = _converted(image, file.named, convert)
        return _Decoded(converted, lasting, file.name, _remark(image, file), _plain(image))


def _plain(image: Image.Image) -> bool:
    """Return whether a picture's values need at most 8 bits a channel."""
    if image.mode.startswith("I"):
        return bool(np.asarray(image).max() <= 255)
    return image.mode != "F"


def _formats(file: File) -> tuple[str, ...]:
    """Return the formats that a file may have. GANPaintError if it needs a package that is not there."""
    brand = file.data[8:12] if file.data[4:8] == b"ftyp" else b""
    if brand in _AVIF:
        if not features.check("avif"):
            raise GANPaintError(
                f"{file.named} is an AVIF picture, which this Pillow cannot read.",
                "Install Pillow 11.3 or newer, or save the picture as a JPEG.",
            )
        return ("AVIF",)
    if brand in _HEIC:
        try:
            import pillow_heif
        except ImportError as error:
            raise GANPaintError(
                f"{file.named} is a HEIC photo, which needs the package pillow-heif.",
                "Run `pip install pillow-heif`, or export the photo as a JPEG.",
            ) from error
        pillow_heif.register_heif_opener()
        return ("HEIF",)
    return FORMATS


def _remark(image: Image.Image, file: File) -> str | None:
    """Return a sentence on what is left out of a file with several pictures."""
    try:
        several = getattr(image, "is_animated", False)  # n_frames would look at each, however many they are
    except Exception:  # the second one is damaged; the first one is what is used
        several = True
    if not several or image.format in ("MPO", "HEIF"):  # their further pictures are thumbnails and depths
        return None
    kind = "pages" if image.format == "TIFF" else "frames"
    return f"{file.named} has several {kind}; only the first one is used."


def _converted(image: Image.Image, named: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode what Pillow has only looked at so far."""
    refuse_too_many_pixels(*image.size, named)
    try:
        return convert(image)
    except GANPaintError:
        raise
    except Exception as error:
        raise GANPaintError(
            f"{named} cannot be decoded: it is damaged or cut short.",
            "Open it in a picture program and save it again, or pass another file.",
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Upright, RGB, sRGB; what is transparent becomes white."""
    image = to_srgb(_upright(image, "picture"))
    if has_alpha(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    image = image.convert("RGB")
    image.info = {}  # its embedded profile does not describe it any more
    return image


def _gray(image: Image.Image) -> Image.Image:
    """Upright, 8-bit gray: the opacity if that differs between pixels, else the brightness."""
    image = _upright(image, "mask")
    if has_alpha(image):
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return alpha
    return image.convert("RGB").convert("L")


def _upright(image: Image.Image, what: str) -> Image.Image:
    """As it is to be looked at, with 8 bits a channel."""
    if 0 in image.size:
        raise GANPaintError(f"The {what} has no pixels.", "Pass one of at least 1 x 1.")
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "La":  # gray that its opacity has darkened, which converts to nothing else
        upright = upright.convert("LA")
    if upright.mode == "F" or upright.mode.startswith("I"):  # Pillow would clip at 255 instead of scaling
        profile = upright.info.get("icc_profile")
        values = np.asarray(upright)
        if values.dtype != np.uint16 and values.dtype.kind in "iu" and 255 < values.max() < 2**16:
            values = values.clip(0).astype(np.uint16)  # 16 bits, in Pillow's mode of 32
        upright = Image.fromarray(eight_bits(values, what))
        if profile:
            upright.info["icc_profile"] = profile
    return upright


# --- writing ---


def encode_png(picture: Array | Image.Image, text: Mapping[str, str] | None = None) -> bytes:
    """Encode a picture, or a uint8 array H x W x 3 or H x W, as a PNG in sRGB with text chunks."""
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\0")
    for key, value in (text or {}).items():
        info.add_text(key, value)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    target = io.BytesIO()
    image.save(target, "PNG", pnginfo=info, icc_profile=None)
    return target.getvalue()


def encode_jpeg(picture: Array | Image.Image, quality: int = 85) -> bytes:
    """Encode a picture, or a uint8 array H x W x 3, as a JPEG without chroma subsampling (4:4:4).

    At 64 to 256 pixels the color edges of an edit are what one looks at, and halving their resolution shows.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality, subsampling=0)
    return target.getvalue()


__all__ = [
    "FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_STORED_BYTES",
    "Original",
    "encode_jpeg",
    "encode_png",
    "mask_of",
    "read",
    "read_mask",
    "read_original",
    "read_square",
]
