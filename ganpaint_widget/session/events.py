"""What a session's observers are called with; see :meth:`.EditingSession.observe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..deprecated import Renamed

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Changed:
    """The edits, or the picture that they belong to, have changed."""

    revision: int


@dataclass(frozen=True)
class Opened:
    """Another picture was opened; all reads are about it now."""


@dataclass(frozen=True)
class PaletteChanged:
    """There are other concepts to paint with: a brush was made or removed."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A new G(z_e). ``array`` is uint8 R x R x 3, read-only."""

    picture: Literal["preview"]
    array: Array
    revision: int


@dataclass(frozen=True, eq=False)
class Blended:
    """A new G'(z_e), for the edits of ``revision``, which may not be the newest. ``array`` as in Rendered."""

    array: Array
    revision: int
    final: bool


@dataclass(frozen=True)
class Progress:
    """How far a job is. ``psnr``: PSNR of the kept pixels so far, of a blend."""

    job: Literal["blend", "open"]
    fraction: float
    seconds_left: float | None
    psnr: float | None

    decibel = Renamed("psnr")


@dataclass(frozen=True)
class Finished:
    """A job has ended, well or not; ``session.job`` is ``None`` unless another one has begun."""

    job: Literal["blend"]


@dataclass(frozen=True)
class Noticed:
    """Something the user should know; nothing failed."""

    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True)
class Failed:
    """Work in the background failed. Verbs that fail raise instead."""

    message: str
    hint: str

    what = Renamed("message")
    mend = Renamed("hint")


Event = Changed | Opened | PaletteChanged | Rendered | Blended | Progress | Finished | Noticed | Failed
