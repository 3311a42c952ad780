"""What people hand over as photos, masks and checkpoints, made on the fly, and what must come of each.

    python -m benchmarks.inputs            the table
    python -m benchmarks.inputs --check    and whether all of it holds; the exit status says so

Each row is read by the functions that the sessions, the command line and the page use. What must happen to a
photo or a mask is either a picture (compared pixel by pixel with the one that was put in) or a refusal, of
which the words are given that tell one reason from another. The checkpoints are those of
``checkpoint_cases.py``: each opens and draws, or is refused with a sentence that says what it is.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, features

from benchmarks import checkpoint_cases
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.images import files

Array = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
Make = Callable[[Path], object]

WIDTH, HEIGHT, SIZE = 64, 48, 32
"""Of the photo, and of the square that is edited."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: what it is.
        make: makes it, in a folder for its files.
        wanted: the picture or mask that must come of it; or the words that its refusal must hold.
        apart: by how much a pixel may differ, of 255.
        remark: words of the remark that must go with it.
        fit: of a mask, how the photo that it is for lies in the square.
    """

    name: str
    make: Make
    wanted: Array | str
    apart: int = 0
    remark: str = ""
    fit: str = "crop"


# --- the picture, and its colors elsewhere ---


def picture() -> Array:
    """Every color grows slowly, so that no codec has to give much away: uint8 H x W x 3."""
    across, down = np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT)[:, None]
    whole = np.stack([across + 0 * down, 0 * across + down, 0.5 + 0.4 * np.sin(3 * (across + down))], axis=-1)
    return np.asarray(np.rint(whole * 215 + 20), np.uint8)


PICTURE: Final = picture()
GRAY: Final = np.asarray(Image.fromarray(PICTURE).convert("L"))
GRAY3: Final = np.repeat(GRAY[..., None], 3, axis=2)

# The primaries of each space for the white of ICC profiles (D50, by Bradford), columns red, green, blue.
SRGB: Final = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
P3: Final = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE: Final = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
ADOBE_GAMMA: Final = 563 / 256


def linear(values: Numbers) -> Numbers:
    """Return the curve of sRGB and of Display P3, 0 to 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def shown(values: Array, space: Numbers, gamma: float | None = None) -> Array:
    """Return the colors of a color-managed viewer on an sRGB screen, from the formulas, without a library."""
    straight = values / 255
    light = linear(straight) if gamma is None else straight**gamma
    there = np.clip(light @ space.T @ np.linalg.inv(SRGB).T, 0, 1)
    encoded = np.where(there <= 0.0031308, 12.92 * there, 1.055 * there ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


def profile(space: Numbers | None, gamma: float | None = None) -> bytes:
    """Return an ICC profile of version 2: three primaries and a curve, or for ``None`` one of gray."""
    if gamma is None:
        table = np.rint(linear(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
        curve = b"curv" + bytes(4) + struct.pack(">I", 1024) + table.tobytes()
    else:
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)

    def xyz(values: Any) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

    tags = {b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    if space is None:
        tags[b"kTRC"] = curve
    else:
        tags |= {name + b"XYZ": xyz(space[:, place]) for place, name in enumerate((b"r", b"g", b"b"))}
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    directory, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        directory += name + struct.pack(">II", start + len(data), len(content))
        data += content
    kind = b"GRAY" if space is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), 0x02100000, b"mntr", kind, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + data


# --- files ---


def saved(image: Image.Image | Numbers, kind: str, **options: Any) -> bytes:
    """Return a picture file."""
    target = io.BytesIO()
    whole = image if isinstance(image, Image.Image) else Image.fromarray(image)
    whole.save(target, kind, **options)
    return target.getvalue()


def file(name: str, data: bytes) -> Make:
    """Its path, once it is written."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def of(value: object) -> Make:
    return lambda folder: value


def turned(orientation: int) -> bytes:
    """Return the photo as a rotated camera stores it: EXIF says which way is up."""
    turn = Image.Transpose
    back = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(PICTURE).transpose(back[orientation]), "PNG", exif=exif.tobytes())


def deep_tiff(pixels: bytes, bits: int, form: int) -> bytes:
    """Return a TIFF of three channels as scientific programs write them and Pillow does not.

    Args:
        pixels: row by row, lowest byte first.
        bits: of each number.
        form: 1 for unsigned integers, 3 for floats.
    """
    tags = [
        (256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 12 * 10 + 4), (277, 3, 1, 3), (278, 3, 1, HEIGHT), (279, 4, 1, len(pixels)),
        (339, 3, 1, form),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + pixels


def claiming(width: int, height: int) -> bytes:
    """Return a PNG whose header claims another size than it has."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def _file_cases() -> Iterator[Case]:
    image = Image.fromarray(PICTURE)
    gray = Image.fromarray(GRAY)
    png = saved(image, "PNG")
    yield Case("PNG", file("a.png", png), PICTURE)
    yield Case("PNG, path as text", lambda folder: str(file("a.png", png)(folder)), PICTURE)
    yield Case("PNG of no suffix", file("photo", png), PICTURE)
    yield Case("PPM", file("a.ppm", saved(PICTURE, "PPM")), PICTURE)
    yield Case("PGM", file("a.pgm", saved(image.convert("L"), "PPM")), GRAY3, 1)
    yield Case("PNG called .jpg", file("a.jpg", png), PICTURE)
    yield Case("PNG in upper case", file("A.PNG", png), PICTURE)
    yield Case("PNG, opaque RGBA", file("a.png", saved(image.convert("RGBA"), "PNG")), PICTURE)
    half = image.convert("RGBA")
    half.putalpha(0)
    yield Case("PNG, transparent", file("a.png", saved(half, "PNG")), np.full_like(PICTURE, 255))
    yield Case("PNG, gray", file("a.png", saved(gray, "PNG")), GRAY3)
    yield Case("PNG, gray and alpha", file("a.png", saved(gray.convert("LA"), "PNG")), GRAY3)
    yield Case("PNG, palette", file("a.png", saved(gray.convert("P"), "PNG")), GRAY3)
    yield Case(
        "PNG, palette with a transparent color",
        file("a.png", saved(gray.convert("P"), "PNG", transparency=3)),
        GRAY3,
    )
    black = np.where(GRAY > 127, 255, 0).astype(np.uint8)
    black3 = np.repeat(black[..., None], 3, axis=2)
    yield Case("PNG, 1 bit", file("a.png", saved(Image.fromarray(black).convert("1"), "PNG")), black3)
    deep = GRAY.astype(np.uint16) * 257
    yield Case("PNG, 16-bit gray", file("a.png", saved(deep, "PNG")), GRAY3)
    yield Case("JPEG", file("a.jpg", saved(image, "JPEG", quality=98, subsampling=0)), PICTURE, 5)
    yield Case("JPEG, 4:2:0", file("a.jpeg", saved(image, "JPEG", quality=95)), PICTURE, 12)
    yield Case(
        "JPEG, progressive", file("a.jpg", saved(image, "JPEG", quality=98, progressive=True)), PICTURE, 12
    )
    yield Case("JPEG, gray", file("a.jpg", saved(gray, "JPEG", quality=98)), GRAY3, 4)
    yield Case("JPEG, CMYK", file("a.jpg", saved(image.convert("CMYK"), "JPEG", quality=98)), PICTURE, 12)
    yield Case(
        "JPEG with a second picture (MPO)",
        file("a.jpg", saved(image, "MPO", save_all=True, append_images=[image], quality=98, subsampling=0)),
        PICTURE,
        5,
    )
    yield Case("WEBP, lossless", file("a.webp", saved(image, "WEBP", lossless=True)), PICTURE)
    yield Case("WEBP, lossy", file("a.webp", saved(image, "WEBP", quality=98)), PICTURE, 12)
    yield Case("WEBP, alpha", file("a.webp", saved(image.convert("RGBA"), "WEBP", lossless=True)), PICTURE)
    yield Case("GIF", file("a.gif", saved(gray, "GIF")), GRAY3)
    moving = {"save_all": True, "append_images": [Image.fromarray(255 - GRAY)], "duration": 100}
    yield Case("GIF, animated", file("a.gif", saved(gray, "GIF", **moving)), GRAY3, 0, "several frames")
    yield Case("PNG, animated", file("a.png", saved(gray, "PNG", **moving)), GRAY3, 0, "several frames")
    yield Case(
        "WEBP, animated",
        file("a.webp", saved(gray, "WEBP", lossless=True, **moving)),
        GRAY3,
        1,
        "several frames",
    )
    yield Case("TIFF, two pages", file("a.tif", saved(gray, "TIFF", **moving)), GRAY3, 0, "several pages")
    yield Case("BMP", file("a.bmp", saved(image, "BMP")), PICTURE)
    yield Case("BMP, palette", file("a.bmp", saved(gray.convert("P"), "BMP")), GRAY3)
    yield Case("TIFF", file("a.tif", saved(image, "TIFF")), PICTURE)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield Case(
            f"TIFF, {compression}", file("a.tiff", saved(image, "TIFF", compression=compression)), PICTURE
        )
    yield Case("TIFF, CMYK", file("a.tif", saved(image.convert("CMYK"), "TIFF")), PICTURE)
    yield Case("TIFF, 16-bit gray", file("a.tif", saved(deep, "TIFF")), GRAY3)
    yield Case(
        "TIFF, 32-bit integers up to 65535", file("a.tif", saved(deep.astype(np.int32), "TIFF")), GRAY3
    )
    yield Case(
        "TIFF, floats from 0 to 1", file("a.tif", saved((GRAY / 255).astype(np.float32), "TIFF")), GRAY3
    )
    yield Case(
        "TIFF, floats up to 235", file("a.tif", saved(GRAY.astype(np.float32), "TIFF")), "floating-point"
    )
    yield Case(
        "TIFF, floats in three channels",
        file("a.tif", deep_tiff((PICTURE / 255).astype("<f4").tobytes(), 32, 3)),
        "unsupported kind",
    )
    sixteen = deep_tiff((PICTURE.astype("<u2") * 257).tobytes(), 16, 1)
    yield Case("TIFF, 16 bits in three channels", file("a.tif", sixteen), PICTURE)
    if features.check("avif"):
        yield Case("AVIF", file("a.avif", saved(image, "AVIF", quality=95, subsampling="4:4:4")), PICTURE, 12)
        with_alpha = saved(image.convert("RGBA"), "AVIF", quality=95, subsampling="4:4:4")
        yield Case("AVIF, alpha", file("a.avif", with_alpha), PICTURE, 12)
    for orientation in range(2, 9):
        yield Case(f"turned by EXIF, {orientation}", file("a.png", turned(orientation)), PICTURE)

    # Colors.
    tagged = {"P3": (profile(P3), shown(PICTURE, P3)), "Adobe RGB": (
        profile(ADOBE, ADOBE_GAMMA), shown(PICTURE, ADOBE, ADOBE_GAMMA)
    )}  # fmt: skip
    for name, (icc, right) in tagged.items():
        yield Case(f"PNG in {name}", file("a.png", saved(image, "PNG", icc_profile=icc)), right, 1)
        jpeg = saved(image, "JPEG", quality=98, subsampling=0, icc_profile=icc)
        yield Case(f"JPEG in {name}", file("a.jpg", jpeg), right, 20)
        yield Case(f"TIFF in {name}", file("a.tif", saved(image, "TIFF", icc_profile=icc)), right, 1)
        rgba = saved(image.convert("RGBA"), "PNG", icc_profile=icc)
        yield Case(f"RGBA in {name}", file("a.png", rgba), right, 1)
        yield Case(
            f"PIL image in {name}", of(Image.open(io.BytesIO(saved(image, "PNG", icc_profile=icc)))), right, 1
        )
    yield Case("PNG tagged sRGB", file("a.png", saved(image, "PNG", icc_profile=profile(SRGB))), PICTURE)
    yield Case(
        "PNG with a damaged profile", file("a.png", saved(image, "PNG", icc_profile=b"no profile")), PICTURE
    )
    yield Case(
        "gray PNG with a profile of RGB", file("a.png", saved(gray, "PNG", icc_profile=profile(P3))), GRAY3
    )
    light = shown(GRAY3, SRGB, 1.0)
    yield Case(
        "gray PNG of linear light",
        file("a.png", saved(gray, "PNG", icc_profile=profile(None, 1.0))),
        light,
        2,
    )

    # What is none.
    yield Case(
        "text called .png",
        file("a.png", b"Dear reader, this is not a picture."),
        "cannot be read as a picture",
    )
    yield Case("empty file", file("a.png", b""), "is empty")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    for name, start, told in (
        ("a.eps", eps, "PostScript"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("b.svg", b"<?xml version='1.0'?>\n<!-- by hand -->\n<svg/>", "SVG"),
        ("a.pdf", b"%PDF-1.7\n", "PDF"),
        ("a.ico", saved(image.resize((16, 16)), "ICO"), "an icon"),
        ("page.jpg", b"\n<!DOCTYPE html><html>403</html>", "a web page"),
        ("lfs.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.npy", b"\x93NUMPY\x01\0", "numpy.load"),
        ("a.npz", b"PK\x03\x04" + bytes(40), "ZIP archive"),
        ("a.png.gz", b"\x1f\x8b\x08" + bytes(40), "compressed"),
        ("a.psd", b"8BPS\0\x01" + bytes(40), "Photoshop"),
        ("a.xcf", b"gimp xcf v011\0" + bytes(40), "GIMP"),
        ("a.exr", b"v/1\x01" + bytes(40), "high dynamic range"),
        ("a.hdr", b"#?RADIANCE\n" + bytes(40), "high dynamic range"),
        ("a.jxl", b"\xff\x0a" + bytes(40), "JPEG XL"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(40), "a video"),
        ("a.webm", b"\x1aE\xdf\xa3" + bytes(40), "a video"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(40), "DICOM"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(40), "raw photo"),
    ):
        yield Case(f"called {name}", file(name, start), told)
    # It begins like a TIFF, and Pillow would take the thumbnail in it for the photo.
    yield Case("raw photo", file("a.NEF", saved(image, "TIFF")), "raw photo")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    try:
        import pillow_heif  # noqa: F401

        reason = "cannot be read as a picture"
    except ImportError:
        reason = "pillow-heif"
    yield Case("HEIC", file("IMG_0001.HEIC", heic), reason)
    yield Case("PNG cut short", file("a.png", png[:-300]), "damaged or cut short")
    yield Case("header of 900 million pixels", file("a.png", claiming(30_000, 30_000)), "million pixels")
    yield Case("header of 51 million pixels", file("a.png", claiming(10_000, 5_100)), "million pixels")

    def large(folder: Path) -> Path:
        path = folder / "a.png"
        with path.open("wb") as out:
            out.truncate(files.MAX_FILE_BYTES + 1)
        return path

    yield Case("file of more than 64 MB", large, "at most 64 MB")
    yield Case("folder", lambda folder: folder, "is a folder")
    yield Case("path that is not there", lambda folder: folder / "no.png", "does not exist")
    for address in (
        "https://example.org/a.jpg",
        "http://example.org/a.jpg",
        "ftp://a/b.png",
    ):
        yield Case(f"address {address[:12]}", of(address), "web address")
    yield Case("address as a Path", of(Path("https://example.org/a.jpg")), "web address")
    letters = base64.b64encode(png).decode()
    yield Case("data: address", of(f"data:image/png;base64,{letters}"), PICTURE)
    yield Case("data: address, cut", of(f"data:image/png;base64,{letters[:-3]}"), "damaged or cut short")
    yield Case("file: address", lambda folder: Path(file("a b.png", png)(folder)).as_uri(), PICTURE)  # type: ignore[arg-type]
    yield Case("no path", of(""), "path is empty")
    yield Case("path with a zero", of("a\0b.png"), "a\\x00b.png")


def _wrapped_cases() -> Iterator[Case]:
    png = saved(PICTURE, "PNG")

    class Home(os.PathLike[str]):
        """A path from the home folder, which is another one while it is looked at."""

        def __init__(self, folder: Path) -> None:
            os.environ["HOME"] = os.environ["USERPROFILE"] = str(folder)

        def __fspath__(self) -> str:
            return "~/a.png"

    def home(folder: Path) -> object:
        (folder / "a.png").write_bytes(png)
        return Home(folder)

    def ended() -> io.BytesIO:
        target = io.BytesIO()
        Image.fromarray(PICTURE).save(target, "PNG")
        return target

    def spooled(folder: Path) -> object:
        target = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        target.write(png)
        return target

    class Stream:
        """What a web server hands out: it can be read once."""

        def __init__(self) -> None:
            self._file = io.BytesIO(png)

        def read(self, count: int) -> bytes:
            return self._file.read(count)

    upload = {"name": "a.png", "type": "image/png", "size": len(png), "content": memoryview(png)}
    yield Case("~ in a path", home, PICTURE)
    yield Case("bytes", of(png), PICTURE)
    yield Case("bytearray", of(bytearray(png)), PICTURE)
    yield Case("memoryview", of(memoryview(png)), PICTURE)
    yield Case("BytesIO", of(io.BytesIO(png)), PICTURE)
    yield Case("BytesIO at its end", of(ended()), PICTURE)
    yield Case("open file", lambda folder: file("a.png", png)(folder).open("rb"), PICTURE)  # type: ignore[attr-defined]
    yield Case("temporary file", spooled, PICTURE)
    yield Case("stream", of(Stream()), PICTURE)
    yield Case("FileUpload.value", of((upload,)), PICTURE)
    yield Case("FileUpload", of(SimpleNamespace(value=(upload,))), PICTURE)
    yield Case("FileUpload.value[0]", of(upload), PICTURE)
    yield Case("FileUpload.value of ipywidgets 7", of({"a.png": {"metadata": {}, "content": png}}), PICTURE)
    yield Case("FileUpload.value of two files", of((upload, upload)), "2 files")
    yield Case("FileUpload.value of none", of(()), "still empty")
    yield Case(
        "file opened as text",
        lambda folder: file("a.txt", b"letters")(folder).open(),  # type: ignore[attr-defined]
        "not bytes",
    )
    image = Image.fromarray(PICTURE)
    for mode, apart in (("RGB", 0), ("RGBA", 0), ("CMYK", 0), ("YCbCr", 3), ("HSV", 6)):
        yield Case(f"PIL image, {mode}", of(image.convert(mode)), PICTURE, apart)
    for mode in ("L", "LA", "P", "F", "I"):
        whole = Image.fromarray(GRAY)
        made = Image.fromarray((GRAY / 255).astype(np.float32)) if mode == "F" else whole.convert(mode)
        yield Case(f"PIL image, {mode}", of(made), GRAY3)
    yield Case("PIL image, I;16", of(Image.fromarray(GRAY.astype(np.uint16) * 257)), GRAY3)
    yield Case("PIL image without pixels", of(Image.new("RGB", (0, 4))), "no pixels")
    for nothing in (None, 42, 1.5, object(), [1, 2], {"a": 1}, len):
        yield Case(
            f"{nothing!r}"[:24],
            of(nothing),
            "is not a picture",
        )
    yield Case("Image of IPython", of(SimpleNamespace(data=png)), PICTURE)


def _array_cases() -> Iterator[Case]:
    black = GRAY > 127
    black3 = np.repeat(black[..., None] * np.uint8(255), 3, axis=2)
    rgba = np.dstack([PICTURE, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    clear = rgba.copy()
    clear[..., 3] = 0
    yield Case("array H x W x 3", of(PICTURE), PICTURE)
    yield Case("array H x W", of(GRAY), GRAY3)
    yield Case("array H x W x 1", of(GRAY[..., None]), GRAY3)
    yield Case("array H x W x 4", of(rgba), PICTURE)
    yield Case("array H x W x 4, transparent", of(clear), np.full_like(PICTURE, 255))
    yield Case("array 3 x H x W", of(np.ascontiguousarray(PICTURE.transpose(2, 0, 1))), PICTURE)
    yield Case("array 1 x H x W", of(GRAY[None]), GRAY3)
    yield Case("array 1 x H x W x 3", of(PICTURE[None]), PICTURE)
    yield Case("array, bool", of(black), black3)
    for name in ("float16", "float32", "float64"):
        apart = 1 if name == "float16" else 0
        yield Case(f"array, {name} from 0 to 1", of((PICTURE / 255).astype(name)), PICTURE, apart)
    yield Case("array, float gray", of(GRAY / 255), GRAY3)
    yield Case("array, float RGBA, as plt.imread has it", of((rgba / 255).astype(np.float32)), PICTURE)
    yield Case("array, float above 1 by rounding", of(PICTURE / 255 * (1 + 1e-6)), PICTURE)
    yield Case("array, uint16", of(PICTURE.astype(np.uint16) * 257), PICTURE)
    yield Case("array, uint16 of big end", of((PICTURE.astype(np.uint16) * 257).astype(">u2")), PICTURE)
    for name in ("int16", "int32", "int64", "uint32"):
        yield Case(f"array, {name} from 0 to 255", of(PICTURE.astype(name)), PICTURE)
    yield Case("array in Fortran's order", of(np.asfortranarray(PICTURE)), PICTURE)
    yield Case("array turned by a view", of(PICTURE[::-1, ::-1][::-1, ::-1]), PICTURE)
    yield Case("array of a view with gaps", of(np.repeat(PICTURE, 2, axis=1)[:, ::2]), PICTURE)
    frozen = PICTURE.copy()
    frozen.setflags(write=False)
    yield Case("array, read-only", of(frozen), PICTURE)
    yield Case(
        "memoryview of H x W x 4, as matplotlib's buffer_rgba()",
        of(memoryview(np.ascontiguousarray(rgba).data)),
        PICTURE,
    )

    class Wrapped:
        """An array of another library."""

        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            return PICTURE

    yield Case("object with __array__", of(Wrapped()), PICTURE)
    whole = torch.from_numpy(PICTURE.copy())
    yield Case("tensor H x W x 3", of(whole), PICTURE)
    yield Case("tensor 3 x H x W", of(whole.permute(2, 0, 1)), PICTURE)
    yield Case("tensor, float", of(whole.permute(2, 0, 1) / 255), PICTURE)
    yield Case("tensor 1 x 3 x H x W", of(whole.permute(2, 0, 1)[None] / 255), PICTURE)
    yield Case("tensor H x W", of(torch.from_numpy(GRAY.copy())), GRAY3)
    yield Case("tensor 1 x H x W", of(torch.from_numpy(GRAY.copy())[None]), GRAY3)
    yield Case("tensor, half", of((whole / 255).half()), PICTURE, 1)
    yield Case("tensor, bfloat16", of((whole / 255).bfloat16()), PICTURE, 1)
    yield Case("tensor, bool", of(torch.from_numpy(black)), black3)
    yield Case("tensor, sparse", of(torch.rand(9, 9).to_sparse()), "x.to_dense()")
    yield Case("tensor without data", of(torch.zeros(3, 9, 9, device="meta")), "without data")
    yield Case("tensor with a gradient", of((whole / 255).requires_grad_()), PICTURE)

    ramp = PICTURE / 255
    broken = ramp.copy()
    broken[3, 4, 1] = np.nan
    endless = ramp.copy()
    endless[3, 4, 1] = np.inf
    yield Case("array, float from 0 to 255", of(PICTURE.astype(np.float32)), "floating-point")
    yield Case("array, float from -1 to 1", of(2 * ramp - 1), "negative")
    yield Case("tensor from -1 to 1", of(whole.permute(2, 0, 1) / 127.5 - 1), "negative")
    yield Case("array, NaN", of(broken), "not finite")
    yield Case("array, infinite", of(endless), "not finite")
    yield Case("array, int64 of 0 and 1", of(black.astype(np.int64)), "almost black")
    yield Case("array, int64 up to 1000", of(GRAY.astype(np.int64) * 4), "white level is unknown")
    yield Case("array, negative int", of(GRAY.astype(np.int16) - 100), "negative")
    yield Case("array, complex", of(ramp.astype(complex)), "data type")
    yield Case("array, object", of(np.zeros((4, 4), object)), "data type")
    yield Case("array, text", of(np.array([["a", "b"], ["c", "d"]])), "data type")
    yield Case("array H x W x 2", of(PICTURE[..., :2]), "channels")
    yield Case("array H x W x 5", of(np.zeros((8, 9, 5), np.uint8)), "channels")
    yield Case("array, one dimension", of(np.zeros(9, np.uint8)), "is not a picture")
    yield Case("array, five dimensions", of(np.zeros((1, 1, 3, 4, 4), np.uint8)), "is not a picture")
    yield Case("array without pixels", of(np.zeros((0, 8, 3), np.uint8)), "is not a picture")
    yield Case("number as an array", of(np.uint8(7)), "is not a picture")
    yield Case("batch of two", of(torch.zeros(2, 3, 8, 8)), "batch")
    yield Case("tensor 3 x W x 3", of(torch.zeros(3, 9, 3)), "first or last")
    yield Case(
        "array of 51 million pixels", of(np.broadcast_to(np.uint8(0), (5_100, 10_000))), "million pixels"
    )


# --- masks ---


def _mask_cases() -> Iterator[Case]:
    hard = np.zeros((SIZE, SIZE), np.uint8)
    hard[4:12, 6:20] = 255
    soft = np.rint(np.linspace(0, 255, SIZE * SIZE)).reshape(SIZE, SIZE).astype(np.uint8)
    ones = hard // 255
    empty = np.zeros_like(hard)
    for name in (
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint16",
        "float16",
        "float32",
        "float64",
    ):
        yield Case(f"mask of 0 and 1, {name}", of(ones.astype(name)), hard)
    written = np.zeros((SIZE, SIZE))
    written[4:12, 6:20] = 1
    yield Case("mask as everybody writes it", of(written), hard)
    for name in ("uint8", "int16", "int32", "int64", "uint16"):
        yield Case(f"mask of 0 to 255, {name}", of(soft.astype(name)), soft)
    yield Case("mask of floats", of(soft / 255), soft)
    yield Case("mask of 0 to 65535", of(soft.astype(np.uint16) * 257), soft)
    yield Case("mask without anything", of(empty), empty)
    yield Case("mask without anything, float", of(empty.astype(float)), empty)
    yield Case("mask as lists", of(ones.tolist()), hard)
    yield Case("mask H x W x 1", of(hard[..., None]), hard)
    yield Case("mask H x W x 3", of(np.repeat(hard[..., None], 3, axis=2)), hard)
    yield Case("tensor, bool", of(torch.from_numpy(ones.astype(bool))), hard)
    yield Case("tensor 1 x H x W, float", of(torch.from_numpy(ones.astype(np.float32))[None]), hard)
    yield Case("tensor 1 x 1 x H x W, float", of(torch.from_numpy(ones.astype(np.float32))[None, None]), hard)
    image = Image.fromarray(hard)
    for mode in ("1", "L", "P", "RGB", "CMYK", "I"):
        made = image.convert(mode)
        yield Case(f"PIL mask, {mode}", of(made), hard)
    yield Case("PIL mask, L of 0 and 1", of(Image.fromarray(ones)), hard)
    yield Case("PIL mask, F", of(Image.fromarray(ones.astype(np.float32))), hard)
    yield Case("PIL mask, I;16", of(Image.fromarray(hard.astype(np.uint16) * 257)), hard)
    opaque = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    opaque.putalpha(image)
    yield Case("PIL mask, RGBA by its opacity", of(opaque), hard)
    both = Image.merge("LA", (Image.new("L", (SIZE, SIZE), 9), image))
    yield Case("PIL mask, LA by its opacity", of(both), hard)
    png = saved(image, "PNG")
    yield Case("mask, path", file("mask.png", png), hard)
    yield Case("mask, bytes", of(png), hard)
    yield Case("mask, BytesIO", of(io.BytesIO(png)), hard)
    yield Case("mask, FileUpload.value", of(({"name": "m.png", "content": memoryview(png)},)), hard)
    yield Case("mask, PNG of 0 and 1", file("mask.png", saved(ones, "PNG")), hard)
    # In the photo's own pixels: its middle columns are the square.
    left = (WIDTH - HEIGHT) // 2
    wide = np.zeros((HEIGHT, WIDTH), np.uint8)
    wide[:24, :left + 24] = 1  # fmt: skip
    corner = np.zeros_like(hard)
    corner[:16, :16] = 255
    yield Case("mask of the photo's size", of(wide), corner)
    yield Case("mask of the photo's size, bool", of(wide.astype(bool)), corner)
    yield Case("mask of the photo's size, float", of(wide.astype(float)), corner)
    yield Case("mask of the photo's size, PIL", of(Image.fromarray(wide * np.uint8(255))), corner)
    yield Case("mask of the photo's size, path", file("mask.png", saved(wide * np.uint8(255), "PNG")), corner)
    yield Case("mask of the photo's size, tensor", of(torch.from_numpy(wide)[None].float()), corner)
    padded = np.zeros_like(hard)
    padded[4:28] = 255
    yield Case("mask of a padded photo's size", of(np.ones((HEIGHT, WIDTH))), padded, 0, "", "pad")

    broken = written.copy()
    broken[0, 0] = np.nan
    yield Case("mask, NaN", of(broken), "not finite")
    yield Case("mask, negative", of(-written), "negative")
    yield Case("mask, floats up to 255", of(hard.astype(float)), "floating-point")
    yield Case("mask, integers up to 256", of(hard.astype(int) + 1), "white level is unknown")
    for shape in ((SIZE, SIZE - 1), (2 * SIZE, 2 * SIZE), (1, 1)):
        yield Case(f"mask of the size {shape}", of(np.ones(shape)), "size")
    yield Case("mask of the photo's size, turned", of(np.ones((WIDTH, HEIGHT))), "height and width exchanged")
    yield Case("mask, PIL of another size", of(Image.new("L", (9, 9))), "size")
    yield Case("mask H x W x 2", of(np.zeros((SIZE, SIZE, 2))), "channels")
    yield Case("mask, batch", of(np.zeros((2, 1, SIZE, SIZE))), "batch")
    yield Case("mask, ragged lists", of([[0, 1], [1]]), "mask")
    yield Case("mask, object", of(np.zeros((SIZE, SIZE), object)), "data type")
    yield Case("mask, None", of(None), "is not a mask")
    yield Case("mask, number", of(3), "is not a mask")
    yield Case("mask, path that is not there", of("no-such-mask.png"), "does not exist")
    yield Case("mask, address", of("https://example.org/mask.png"), "web address")
    labels = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) % 5
    yield Case("mask, labels", of(labels), "labels == 4")
    yield Case("mask, file of labels", file("a.png", saved(labels.astype(np.uint8), "PNG")), "labels == 4")
    faint = np.where(hard > 0, 0.003, 0)
    yield Case("mask, invisible floats", of(faint), "is invisible")
    yield Case("mask, almost invisible floats", of(3 * faint), "is invisible")
    yield Case("mask, PIL F, invisible", of(Image.fromarray(faint.astype(np.float32))), "is invisible")
    yield Case("mask, invisible among 65535", of((hard // 255).astype(np.uint16) * 300), "is invisible")
    yield Case("PIL mask, I;16 of 0 and 1", of(Image.fromarray(ones.astype(np.uint16))), hard)
    yield Case("mask, masked array", of(np.ma.masked_array(ones, hard == 0)), "masked array")
    yield Case("mask, masked array with all values", of(np.ma.masked_array(ones)), hard)
    yield Case("mask, no picture", of(b"text"), "cannot be read as a picture")


def photos() -> list[Case]:
    """Yield inputs for ``photo=``."""
    return [*_file_cases(), *_wrapped_cases(), *_array_cases()]


def masks() -> list[Case]:
    """Yield inputs for ``mask=``, for the square of SIZE pixels of a photo of WIDTH x HEIGHT."""
    return list(_mask_cases())


# --- checking ---


def read(case: Case, folder: Path, *, mask: bool) -> tuple[Array, str]:
    """Read an input: return the picture or the mask, and its remark."""
    source = case.make(folder)
    if mask:
        photo = files.Original(Image.fromarray(PICTURE), case.fit)  # type: ignore[arg-type]
        return files.read_mask(source, SIZE, photo), ""
    found = files.read_original(source)
    return np.asarray(found.image), found.remark or ""


def wrong_with(case: Case, folder: Path, *, mask: bool) -> str | None:
    """Return what is wrong with an input, or ``None``."""
    home = {name: os.environ.get(name) for name in ("HOME", "USERPROFILE")}
    try:
        found, remark = read(case, folder, mask=mask)
    except GANPaintError as error:
        if not isinstance(case.wanted, str):
            return f"was refused: {error}"
        sentences = [str(argument) for argument in error.args]
        if case.wanted not in str(error):
            return f"was refused for another reason: {error}"
        plain = all(one.endswith(".") and "\n" not in one and len(one) < 250 for one in sentences)
        return None if plain else f"was refused in other than plain sentences: {sentences}"
    except Exception as error:
        return f"ended in {type(error).__name__}: {error}"
    finally:
        for name, value in home.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    if isinstance(case.wanted, str):
        return "was taken"
    if found.shape != case.wanted.shape or found.dtype != np.uint8:
        return f"became {found.dtype} of the shape {found.shape}"
    apart = int(np.abs(found.astype(int) - case.wanted).max())
    if apart > case.apart:
        return f"is up to {apart} of 255 away, and may be {case.apart}"
    if (case.remark or None) and case.remark not in remark:
        return f"has the remark {remark!r}"
    return None if case.remark or not remark else f"has the remark {remark!r}"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        kind: "photo", "mask" or "checkpoint".
        name: what it is.
        refusal: words that its refusal must hold; "" if it must be taken.
        wrong: says what is wrong with it, in a folder for its files.
    """

    kind: str
    name: str
    refusal: str
    wrong: Callable[[Path], str | None]


def rows() -> list[Row]:
    """Return the whole table."""
    return [
        *(
            Row(
                "mask" if mask else "photo",
                case.name,
                case.wanted if isinstance(case.wanted, str) else "",
                partial(wrong_with, case, mask=mask),
            )
            for cases, mask in ((photos(), False), (masks(), True))
            for case in cases
        ),
        *(
            Row("checkpoint", case.name, case.says, partial(checkpoint_cases.wrong_with, case))
            for case in checkpoint_cases.cases()
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit status is 1 if something is not as it must be."""
    parser = argparse.ArgumentParser(description="What people hand over as photos, masks and checkpoints.")
    parser.add_argument("--check", action="store_true", help="read each, and say what is wrong")
    options = parser.parse_args(arguments)
    table, failed = rows(), 0
    for row in table:
        told = f"refused: ... {row.refusal} ..." if row.refusal else "taken"
        wrong = None
        if options.check:
            with tempfile.TemporaryDirectory() as folder:
                wrong = row.wrong(Path(folder))
        failed += wrong is not None
        print(f"{row.kind:10}  {row.name:52}  {told if wrong is None else 'WRONG: ' + wrong}")
    print(f"{len(table)} inputs" + (f", {failed} wrong" if options.check else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
