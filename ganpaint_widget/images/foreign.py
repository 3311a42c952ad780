"""What a file is that people take for a picture, told by its first bytes, so that a refusal can say it."""

from __future__ import annotations

import re
from typing import Final

_PNG: Final = "Convert it to a PNG or JPEG, and pass that."
_PAGE: Final = "Export the page as a PNG, and pass that."
_FRAME: Final = "Save one of its frames as a PNG, and pass that."
_DEVELOP: Final = "Develop it in a photo program, and export a JPEG."
_UNPACK: Final = "Unpack it, and pass one of its pictures."

_KINDS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (rb"\Z", "is empty", "Save or download it again."),
    (rb"version https://git-lfs", "is a pointer of Git LFS", "Run `git lfs pull` in its repository first."),
    (
        rb"(?i)\s*(<!doctype html|<html)",
        "is a web page, perhaps in place of a picture",
        "Right-click the picture on the page, save it, and pass that file.",
    ),
    (rb"(?i)\s*(<\?xml|<!doctype svg|<svg)", "is an SVG drawing or other XML", _PNG),
    (rb"%PDF-", "is a PDF document", _PAGE),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "is a PostScript document", _PAGE),
    (rb"8BPS", "is a Photoshop document", _PNG),
    (rb"gimp xcf", "is a GIMP document", _PNG),
    (rb"\x93NUMPY", "holds a NumPy array", "Pass the array itself: numpy.load(path)."),
    (rb"PK\x03\x04", "is a ZIP archive", _UNPACK),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "is a compressed file or archive", _UNPACK),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "is a JPEG XL picture", _PNG),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ", "is a JPEG 2000 picture", _PNG),
    (
        rb"v/1\x01|#\?(RADIANCE|RGBE)",
        "is a picture of high dynamic range",
        "Export it with 8 bits a channel.",
    ),
    (rb"(?s).{4}ftypcrx ", "is a camera's raw photo", _DEVELOP),
    (rb"(?s).{4}ftyp(isom|iso\d|mp4|M4V|qt  |avc1|3gp|dash)", "is a video", _FRAME),
    (rb"(?s)\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba", "is a video", _FRAME),
    (rb"(?s)\0\0\x01\0.\0", "is an icon", _PNG),
    (rb"(?s).{128}DICM", "is a DICOM picture", "Export it as a PNG with 8 or 16 bits."),
)

_RAW: Final = re.compile(
    r".*\.(arw|cr2|cr3|crw|dng|nef|nrw|orf|pef|raf|raw|rw2|sr2|srw|x3f)", re.IGNORECASE | re.DOTALL
)
"""Names of raw photos."""


def foreign(name: str | None, data: bytes) -> tuple[str, str] | None:
    """Return what a file is that is not read as a picture, and what to do; ``None`` if it may be one.

    Args:
        name: of the file, if it has one. Raw photos are told by it: most begin like a TIFF, and a decoder
            would take the thumbnail in them for the photo.
        data: its bytes, of which only the first ones are looked at.
    """
    if name is not None and _RAW.fullmatch(name):
        return "is a camera's raw photo", _DEVELOP
    start = data[:1024]
    return next(((what, hint) for first, what, hint in _KINDS if re.match(first, start)), None)
