"""Photographs of any shape: which square of them is edited, and pasting it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ..errors import GANPaintError
from .arrays import Array
from .color import tagged

Fit = Literal["crop", "pad"]


@dataclass(frozen=True)
class Frame:
    """How a photo and the generator's square lie to each other.

    Attributes:
        photo: the part of the photo that is in the square: left, top, right, bottom in its pixels.
        square: where that part is in the square, in parts of its side: all of it for a crop; for a padded
            photo, the rest is the photo mirrored at its edges.
    """

    photo: tuple[int, int, int, int]
    square: tuple[float, float, float, float]


def frame(width: int, height: int, fit: Fit = "crop") -> Frame:
    """Return the centered square of a photo: the largest inside it, or the smallest around it.

    Args:
        width, height: of the photo, in pixels.
        fit: ``"crop"`` or ``"pad"``.
    """
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return Frame((left, top, left + side, top + side), (0.0, 0.0, 1.0, 1.0))
    side = max(width, height)
    across, down = (1 - width / side) / 2, (1 - height / side) / 2
    return Frame((0, 0, width, height), (across, down, 1 - across, 1 - down))


def fitted(image: Image.Image, size: int, fit: Fit = "crop") -> Array:
    """Return the square of :func:`frame`, resized with Lanczos: uint8 ``size`` x ``size`` x 3."""
    where = frame(*image.size, fit)
    left, top, right, bottom = _pixels(where, size)
    # Cropped first: given a box, resize() lets what lies outside it bleed in.
    cropped = image.crop(where.photo)
    small = np.array(cropped.resize((right - left, bottom - top), Image.Resampling.LANCZOS))
    around = ((top, size - bottom), (left, size - right), (0, 0))
    # Mirrored after resizing: the square around a long, thin panorama would not fit into memory.
    return np.pad(small, around, mode="symmetric")


def paste(
    photo: Image.Image, result: Array, fit: Fit = "crop", where: Array | None = None, feather: float = 0.04
) -> Image.Image:
    """Paste an edited square back into its photo, at the photo's full size.

    Args:
        photo: upright and RGB, as :func:`.files.read` gives it.
        result: uint8 R x R x 3, for example a session's result.
        fit: as it was when the square was taken.
        where: uint8 R x R, 255 where the result is wanted and 0 where the photo's own, sharper pixels are to
            stay, for example the edits' masks, grown and blurred; ``None`` wants all of the square.
        feather: width of the seam, in parts of the square's side: along each edge of the square that is not
            one of the photo, the result fades in over this distance.

    Raises:
        GANPaintError: ``result`` or ``where`` has another shape or type.
    """
    size = len(result)
    if result.dtype != np.uint8 or result.shape != (size, size, 3) or size == 0:
        raise GANPaintError(
            f"The result has the shape {result.shape} and the type {result.dtype}.", "Pass uint8 R x R x 3."
        )
    if where is not None and (where.dtype != np.uint8 or where.shape != (size, size)):
        raise GANPaintError(
            f"The mask has the shape {where.shape} and the type {where.dtype}.",
            f"Pass uint8 {size} x {size}, like the result.",
        )
    lies = frame(*photo.size, fit)
    left, top, right, bottom = lies.photo
    extent = (right - left, bottom - top)
    part = _pixels(lies, size)
    large = Image.fromarray(result).crop(part).resize(extent, Image.Resampling.LANCZOS)
    # From 0 at an inner edge to 1: smoothstep, which has no visible kink at either end.
    distance = max(1.0, feather * (max(extent) if fit == "pad" else min(extent)))
    ramps = []
    for length, before, after in (
        (extent[1], top > 0, bottom < photo.height),
        (extent[0], left > 0, right < photo.width),
    ):
        at = np.arange(length, dtype=np.float32) + 0.5
        near = np.full(length, np.inf, np.float32)
        near = np.minimum(near, at) if before else near
        near = np.minimum(near, length - at) if after else near
        ramp = np.clip(near / distance, 0, 1)
        ramps.append(ramp * ramp * (3 - 2 * ramp))
    weight = np.minimum(ramps[0][:, None], ramps[1][None]) * 255
    if where is not None:
        wanted = Image.fromarray(where).crop(part).resize(extent, Image.Resampling.BILINEAR)
        weight = weight * (np.asarray(wanted, np.float32) / 255)
    whole = photo.copy()
    whole.paste(large, (left, top), Image.fromarray(weight.round().astype(np.uint8)))
    return tagged(whole)


def _pixels(where: Frame, size: int) -> tuple[int, int, int, int]:
    """Return the photo's part of a square of ``size`` pixels, at least one pixel wide and high."""
    left, top, right, bottom = (round(part * size) for part in where.square)
    left, top = min(left, size - 1), min(top, size - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def square_mask(mask: Array, size: int, fit: Fit = "crop") -> Array:
    """Fit a mask, uint8 H x W, like :func:`fitted`, averaging all that falls into one pixel.

    Around a padded one nothing is painted.
    """
    image = Image.fromarray(mask)
    where = frame(*image.size, fit)
    left, top, right, bottom = _pixels(where, size)
    square = np.zeros((size, size), np.uint8)
    cropped = image.crop(where.photo)
    small = cropped.resize((right - left, bottom - top), Image.Resampling.BOX)
    square[top:bottom, left:right] = np.asarray(small)
    return square
