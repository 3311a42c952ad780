"""Users' brushes: named sets of a layer's units, to paint with like any concept.

All sessions of a process that edit the same layer of the same generator share one :class:`Shelf`. A brush on
it becomes a concept in each of them at once. The cache keeps a shelf beside the layer's dissection, under the
fingerprint of the generator's weights. So its brushes are there the next time, but never with weights for
which their units mean nothing. Several processes may use one shelf: each write locks the file and takes over
the others' changes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import GANPaintError
from ..method.edits import Activations
from ..storage import cache_folder, fingerprint, locked, replacing
from ..validation import (
    checked_activations,
    checked_color,
    checked_name,
    checked_share,
    checked_title,
    checked_units,
)

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator

MAX_BRUSHES: Final = 200

COLORS: Final = ("#d81b60", "#1e88e5", "#b8860b", "#00897b", "#8e24aa", "#f4511e", "#5e35b1", "#43a047")
"""Default colors of brushes, in turn."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Brush:
    """A named set of units.

    Attributes:
        name: 1 to 64 visible characters; the palette shows it.
        units: their numbers.
        activations: float32 C, the targets of an addition; only those of ``units`` are used.
        concept: the concept for which it was scored; ``None`` without a score.
        added, removed: that score, 0 to 1; see ``dissection.causal_effect``.
        color: "#rrggbb".
        kept: whether the cache keeps it. Otherwise it ends with the process.
    """

    name: str
    units: tuple[int, ...]
    activations: Activations
    concept: str | None = None
    added: float = 0.0
    removed: float = 0.0
    color: str = COLORS[0]
    kept: bool = True

    @property
    def quality(self) -> float:
        """The mean of both scores, 0 to 1."""
        return (self.added + self.removed) / 2


class Shelf:
    """The brushes of one layer of one generator, by name, kept in ``path`` if that is given."""

    def __init__(self, channels: int, path: Path | None = None) -> None:
        self._channels = channels
        self._path = path
        self._lock = threading.RLock()
        self._watchers: tuple[weakref.WeakMethod[Callable[[], object]], ...] = ()
        self._brushes: Brushes = {} if path is None else _read(path, channels)

    @property
    def brushes(self) -> tuple[Brush, ...]:
        """All brushes, the oldest first."""
        return tuple(self._brushes.values())

    def get(self, name: object) -> Brush | None:
        """Return the brush of that name, or ``None`` if there is none or the name is not a text."""
        return self._brushes.get(name) if isinstance(name, str) else None

    def put(self, brush: Brush) -> None:
        """Add a brush, or replace the one of its name, and tell all sessions.

        Raises:
            GANPaintError: the brush cannot be kept, or does not fit this layer; nothing has changed then.
        """
        brush = checked(brush, self._channels)
        self._change(lambda brushes: {**brushes, brush.name: brush}, write=brush.kept)

    def take(self, name: str) -> None:
        """Remove a brush if it exists. Edits that were made with it do not change."""
        brush = self._brushes.get(name)
        if brush is not None:
            self._change(
                lambda brushes: {key: one for key, one in brushes.items() if key != name}, write=brush.kept
            )

    def refresh(self) -> None:
        """Take over the changes of other processes, and tell all sessions if there are any."""
        if self._path is None:
            return
        with self._lock:
            brushes = self._with_theirs(self._path)
            changed = _plain(brushes.values()) != _plain(self._brushes.values())
            self._brushes = brushes
        if changed:
            self._tell()

    def next_color(self) -> str:
        """Return the default color of the next brush."""
        return COLORS[len(self._brushes) % len(COLORS)]

    def watch(self, changed: Callable[[], object]) -> None:
        """Call a method after every change, for as long as its object lives."""
        with self._lock:
            self._watchers = (*self._watchers, weakref.WeakMethod(changed))

    def _tell(self) -> None:
        for watcher in self._watchers:
            method = watcher()
            if method is not None:
                try:
                    method()
                except Exception:
                    log.exception("A session could not take over its brushes.")
        with self._lock:
            self._watchers = tuple(watcher for watcher in self._watchers if watcher() is not None)

    def _change(self, change: Callable[[Brushes], Brushes], write: bool = True) -> None:
        """Change the brushes in memory and on disk, and tell all sessions."""
        with self._lock:
            if self._path is None or not write:
                self._brushes = _few(change(self._brushes))
            else:
                try:
                    with locked(self._path):
                        brushes = _few(change(self._with_theirs(self._path)))
                        with replacing(self._path) as partial:
                            partial.write_text(_encoded(brushes.values()), encoding="utf-8")
                except OSError as error:
                    raise GANPaintError(
                        f"The brush cannot be kept in {self._path.parent}: {error.strerror or error}.",
                        "Make room there, or set GANPAINT_CACHE to another folder.",
                    ) from error
                self._brushes = brushes
        self._tell()

    def _with_theirs(self, path: Path) -> Brushes:
        """Return the brushes on disk, from any process, and those of this process that are not kept there."""
        ours = {name: brush for name, brush in self._brushes.items() if not brush.kept}
        return {**_read(path, self._channels), **ours}


Brushes = dict[str, Brush]


def checked(brush: Brush, channels: int) -> Brush:
    """Return the brush if it can be used, kept and read again; otherwise raise GANPaintError.

    Args:
        brush: the brush to check, for example from a file.
        channels: C of the layer.
    """
    units = checked_units(brush.units, channels)
    if not isinstance(units, tuple):
        raise GANPaintError(
            f"The brush {str(brush.name)[:64]!r} has no units of its own.", "Pass their numbers."
        )
    return Brush(
        checked_name(brush.name),
        units,
        checked_activations(brush.activations, channels),
        None if brush.concept is None else checked_title(brush.concept),
        checked_share(brush.added, "score of adding"),
        checked_share(brush.removed, "score of removing"),
        checked_color(brush.color),
        brush.kept,
    )


def _few(brushes: Brushes) -> Brushes:
    if len(brushes) > MAX_BRUSHES:
        raise GANPaintError(f"The shelf is full: it keeps at most {MAX_BRUSHES} brushes.", "Delete some.")
    return brushes


def _plain(brushes: Iterable[Brush]) -> list[dict[str, Any]]:
    """Return the kept brushes in the form of the file."""
    return [
        {
            "name": brush.name,
            "units": list(brush.units),
            "levels": [float(brush.activations[unit]) for unit in brush.units],
            "concept": brush.concept,
            "added": brush.added,
            "removed": brush.removed,
            "color": brush.color,
        }
        for brush in brushes
        if brush.kept
    ]


def _encoded(brushes: Iterable[Brush]) -> str:
    return json.dumps(_plain(brushes), indent=1, allow_nan=False) + "\n"


def _read(path: Path, channels: int) -> Brushes:
    """Read a shelf's file, without damaged brushes.

    If some are damaged, the file is kept under another name as well, because the next write would lose them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        return _set_aside(path, {}, error)
    brushes: Brushes = {}
    wrong: Exception | None = None
    try:
        stored = json.loads(text)
        if not isinstance(stored, list):
            raise TypeError("It is not a list.")
    except (ValueError, TypeError, RecursionError) as error:
        return _set_aside(path, {}, error)
    for one in stored[:MAX_BRUSHES]:
        try:
            brush = _brush(one, channels)
            brushes[brush.name] = brush
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            wrong = error
    return brushes if wrong is None else _set_aside(path, brushes, wrong)


def _set_aside(path: Path, brushes: Brushes, error: Exception) -> Brushes:
    """Keep a copy of a file with unreadable brushes beside it."""
    log.warning("Brushes in %s cannot be read; they stay in a copy of the file beside it: %s", path, error)
    try:
        data = path.read_bytes()
        copy = path.with_name(f"{path.stem}.damaged-{hashlib.sha256(data).hexdigest()[:8]}.json")
        if not copy.exists():
            copy.write_bytes(data)
    except OSError:
        log.warning("The copy could not be made.", exc_info=True)
    return brushes


def _brush(stored: Any, channels: int) -> Brush:
    """Read a brush that :func:`_plain` made. ValueError, KeyError, IndexError or TypeError for others."""
    units = stored["units"]
    numbers = checked_units(units, channels)
    if not isinstance(numbers, tuple) or list(numbers) != sorted(units):
        raise ValueError(f"It has the units {units}.")
    activations = np.zeros(channels, np.float32)
    activations[units] = checked_activations(stored["levels"], len(units))
    return checked(
        Brush(
            stored["name"],
            numbers,
            activations,
            stored["concept"],
            stored["added"],
            stored["removed"],
            stored["color"],
        ),
        channels,
    )


# --- one shelf for all sessions ---

_shelves: dict[Path, Shelf] = {}
_lock = threading.Lock()


def folder(generator: StagedGenerator, layer: str) -> Path:
    """Return the folder in the cache that has a layer's dissection, atlas and brushes."""
    named = "".join(letter if letter.isalnum() else "_" for letter in layer)
    return cache_folder() / "dissections" / f"{fingerprint(generator)[:16]}-{named}"


def shelf(place: Path, channels: int) -> Shelf:
    """Return the shelf of a layer (see :func:`folder`) with C channels, shared within this process."""
    with _lock:
        if place not in _shelves:
            _shelves[place] = Shelf(channels, place / "brushes.json")
            return _shelves[place]
        found = _shelves[place]
    found.refresh()
    return found
