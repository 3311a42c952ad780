"""Events, with which a session calls its observers; see :meth:`.EditingSession.observe`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..deprecated import Renamed
from ..images.arrays import Array as Array

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changed:
    """The edits, or the picture that they belong to, have changed."""

    revision: int


@dataclass(frozen=True)
class Opened:
    """Another picture was opened. All reads now return its data."""


@dataclass(frozen=True)
class PaletteChanged:
    """The palette has changed: a brush was made or removed, or concepts were found."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A new G(z_e).

    Attributes:
        array: uint8 R x R x 3, read-only.
        revision: that of its edits.
        exact: ``False`` for a picture that was drawn while the hand moved, after which an exact one of the
            same revision follows.
    """

    picture: Literal["preview"]
    array: Array
    revision: int
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Blended:
    """A new G'(z_e), for the edits of ``revision``, which may not be the newest. ``array`` as in Rendered."""

    array: Array
    revision: int
    final: bool


@dataclass(frozen=True)
class Progress:
    """The progress of a job. For a blend, ``psnr`` is the PSNR of the kept pixels so far.

    The job ``open`` opens a picture or a reference. ``fit`` fits a faithful preview for a waiting caller.
    ``discover`` looks for concepts.
    """

    job: Literal["blend", "open", "fit", "discover"]
    fraction: float
    seconds_left: float | None
    psnr: float | None

    decibel = Renamed("psnr")


@dataclass(frozen=True)
class Finished:
    """A job has ended, successfully or not. ``session.job`` is ``None`` unless another one has begun."""

    job: Literal["blend"]


@dataclass(frozen=True)
class Noticed:
    """A notice for the user. Nothing has failed."""

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


class Observers:
    """The callbacks that receive events. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: tuple[tuple[object, Callable[[Event], None]], ...] = ()

    def add(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on. Return a function that ends this."""
        own = object()  # the same callback may be registered twice
        with self._lock:
            self._callbacks = (*self._callbacks, (own, callback))

        def leave() -> None:
            with self._lock:
                self._callbacks = tuple(entry for entry in self._callbacks if entry[0] is not own)

        return leave

    def tell(self, event: Event) -> None:
        """Call all observers. Their exceptions are logged and go no further."""
        for _, callback in self._callbacks:
            try:
                callback(event)
            except Exception:
                log.exception("An observer of the session failed on %s.", type(event).__name__)

    def __bool__(self) -> bool:
        return bool(self._callbacks)
