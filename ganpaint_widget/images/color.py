"""Colors on the way in and out: whatever profile a picture carries, inside it is sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final

import numpy as np
from PIL import Image, ImageCms

SPACES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB", "LAB": "LAB"}
"""The color space that an ICC profile names, and Pillow's mode for its pixels."""

TRANSPARENT: Final = ("RGBA", "LA", "PA", "La", "RGBa")

_FLAGS: Final = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, the same bytes every time, for pictures that are handed out."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 35 are the date of its making, by which the same picture would never be the same file.
    return made[:24] + bytes(12) + made[36:]


def tagged(image: Image.Image) -> Image.Image:
    """Return the picture with the profile of sRGB, which Pillow writes into PNG and WEBP files of it."""
    image.info["icc_profile"] = srgb_profile()
    return image


def has_alpha(image: Image.Image) -> bool:
    """Return whether some of its pixels may be transparent."""
    return image.mode in TRANSPARENT or "transparency" in image.info


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert a picture with an embedded ICC profile to sRGB, as color-managed viewers show it.

    A profile that is damaged or is for another kind of pixels is passed over, as viewers do, and a picture
    whose profile differs from sRGB by no more than rounding keeps its pixels. What sRGB lacks is clipped.

    Args:
        image: of any mode, upright or not.

    Returns:
        The same picture, of mode RGB or RGBA if anything was converted.
    """
    stored = image.info.get("icc_profile")
    if not stored and image.mode != "LAB":
        return image
    try:
        profile = (
            ImageCms.ImageCmsProfile(io.BytesIO(stored))
            if stored and image.mode != "LAB"
            else ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        )
        space = profile.profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError, TypeError, ValueError):
        return image
    alpha = None
    plain = image
    if has_alpha(image):
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        plain = rgba.convert("L" if image.mode in ("LA", "La") else "RGB")
    elif image.mode == "P":
        plain = image.convert("RGB")
    if SPACES.get(space) != plain.mode:
        return image
    try:
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            plain.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            _FLAGS,
        )
        if plain.mode in ("L", "RGB") and _changes_nothing(transform, plain.mode):
            return image
        converted = ImageCms.applyTransform(plain, transform)
    except (OSError, ImageCms.PyCMSError, ValueError):
        return image
    assert converted is not None  # only a conversion in place returns nothing
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform moves no color by more than rounding would."""
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    if mode == "L":
        probe = Image.fromarray(steps[None])
    else:
        probe = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3))
    moved = ImageCms.applyTransform(probe, transform)
    apart = np.asarray(moved, np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return int(np.abs(apart).max()) <= 1
