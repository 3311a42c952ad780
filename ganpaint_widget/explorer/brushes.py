"""Brushes of one's own: named sets of a layer's units, to paint with like with any concept.

All sessions of a process that edit the same layer of the same generator share one :class:`Shelf`: a brush put
there is a concept in each of them at once. A shelf lies beside the layer's dissection in the cache, under the
fingerprint of the generator's weights, so that its brushes are there the next time, and never with weights to
which their units mean nothing.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import GANPaintError
from ..method.edits import Activations
from ..validation import checked_name

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator

MAX_BRUSHES: Final = 200

COLORS: Final = ("#d81b60", "#1e88e5", "#b8860b", "#00897b", "#8e24aa", "#f4511e", "#5e35b1", "#43a047")
"""For brushes that are given none, in turn."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Brush:
    """A named set of units.

    Attributes:
        name: 1 to 64 visible characters; the palette shows it.
        units: their numbers.
        activations: float32 C, the activations that adding aims at; read at ``units`` only.
        concept: the concept by which it was scored; ``None`` if it was not.
        added, removed: that score, 0 to 1: see ``dissection.causal_effect``.
        color: "#rrggbb".
        kept: whether it is written to the cache; one that is not is gone with the process.
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
    """The brushes of one layer of one generator, by name; kept in ``path`` if there is one."""

    def __init__(self, channels: int, path: Path | None = None) -> None:
        self._channels = channels
        self._path = path
        self._lock = threading.RLock()
        self._watchers: tuple[weakref.WeakMethod[Callable[[], object]], ...] = ()
        self._brushes: dict[str, Brush] = {} if path is None else _read(path, channels)

    @property
    def brushes(self) -> tuple[Brush, ...]:
        """All of them, the oldest first."""
        return tuple(self._brushes.values())

    def get(self, name: object) -> Brush | None:
        """The brush of that name, if there is one. What is no name is the name of none."""
        return self._brushes.get(name) if isinstance(name, str) else None

    def put(self, brush: Brush) -> None:
        """Add a brush, or replace the one of its name, and tell all sessions.

        Raises:
            GANPaintError: it cannot be kept, or does not fit this layer; nothing has changed then.
        """
        checked_name(brush.name)
        if not brush.units or not all(0 <= unit < self._channels for unit in brush.units):
            raise GANPaintError(
                f"The brush {brush.name!r} has no units of this layer.",
                f"Pass numbers from 0 to {self._channels - 1}.",
            )
        if brush.activations.shape != (self._channels,):
            raise GANPaintError(
                f"The brush {brush.name!r} has activations of the shape {brush.activations.shape}.",
                f"Pass one for each of the {self._channels} units.",
            )
        with self._lock:
            brushes = {**self._brushes, brush.name: brush}
            if len(brushes) > MAX_BRUSHES:
                raise GANPaintError(f"There are {MAX_BRUSHES} brushes, and no more are kept.", "Delete some.")
            if brush.kept:
                self._write(brushes)
            self._brushes = brushes
        self._tell()

    def take(self, name: str) -> None:
        """Remove a brush; edits made with it stay as they are. Without such a brush, nothing happens."""
        with self._lock:
            if name not in self._brushes:
                return
            brushes = {key: brush for key, brush in self._brushes.items() if key != name}
            self._write(brushes)
            self._brushes = brushes
        self._tell()

    def next_color(self) -> str:
        """For the next brush."""
        return COLORS[len(self._brushes) % len(COLORS)]

    def watch(self, changed: Callable[[], object]) -> None:
        """Have a method called after every change, for as long as its object lives."""
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

    def _write(self, brushes: dict[str, Brush]) -> None:
        if self._path is None:
            return
        stored = [
            {
                "name": brush.name,
                "units": list(brush.units),
                "levels": [float(brush.activations[unit]) for unit in brush.units],
                "concept": brush.concept,
                "added": brush.added,
                "removed": brush.removed,
                "color": brush.color,
            }
            for brush in brushes.values()
            if brush.kept
        ]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)
        except OSError as error:
            raise GANPaintError(
                f"The brush cannot be kept in {self._path.parent}: {error.strerror or error}.",
                "Make room there, or set GANPAINT_CACHE to another folder.",
            ) from error


def _read(path: Path, channels: int) -> dict[str, Brush]:
    """What a shelf has written. A file that is damaged is no reason not to paint: it is left where it is."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return {brush.name: brush for brush in (_brush(one, channels) for one in stored[:MAX_BRUSHES])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        log.warning("The brushes in %s cannot be read.", path, exc_info=True)
        return {}


def _brush(stored: Any, channels: int) -> Brush:
    units = tuple(int(unit) for unit in stored["units"])
    activations = np.zeros(channels, np.float32)
    if not units or min(units) < 0 or max(units) >= channels:
        raise ValueError(f"It has the units {units}.")
    activations[list(units)] = np.asarray(stored["levels"], np.float32)
    added, removed = float(stored["added"]), float(stored["removed"])
    if not (np.isfinite(activations).all() and math.isfinite(added) and math.isfinite(removed)):
        raise ValueError("It has numbers that are not finite.")
    concept = None if stored["concept"] is None else str(stored["concept"])
    color = str(stored["color"])
    if re.fullmatch("#[0-9a-fA-F]{6}", color) is None:
        raise ValueError(f"{color!r} is no color.")
    return Brush(checked_name(stored["name"]), units, activations, concept, added, removed, color)


# --- one shelf for all sessions ---

_shelves: dict[Path, Shelf] = {}
_lock = threading.Lock()


def folder(generator: StagedGenerator, layer: str) -> Path:
    """Where in the cache everything is that is known of a layer: its dissection, atlas and brushes."""
    from ..storage import cache_folder, fingerprint

    named = "".join(letter if letter.isalnum() else "_" for letter in layer)
    return cache_folder() / "dissections" / f"{fingerprint(generator)[:16]}-{named}"


def shelf(place: Path, channels: int) -> Shelf:
    """The shelf of a layer (see :func:`folder`) with C channels, the same for everybody in this process."""
    with _lock:
        if place not in _shelves:
            _shelves[place] = Shelf(channels, place / "brushes.json")
        return _shelves[place]
