"""The state at rest, which a reload, a second view or a saved notebook shows (docs/protocol.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..images import files
from ..images.files import Original
from ..method.edits import Edit
from ..session import View
from ..session.document import Edits
from .questions import key_of


class AtRest:
    """The widget's synchronized traits. Only changed pictures are encoded again."""

    def __init__(self) -> None:
        self._pictures: dict[str, tuple[NDArray[np.uint8], bytes]] = {}
        self._masks: dict[str, tuple[NDArray[np.uint8], bytes]] = {}

    def traits(self, view: View, covers: Mapping[str, int]) -> dict[str, Any]:
        """Return the traits by their names, all from one moment.

        Args:
            view: that moment.
            covers: the last message of each page that the state contains. Read it before the view. Then a
                message that is applied in between is in the edits but not in covers, and its page waits for
                the next state. In the other order, the page would take over a state without the message.
        """
        return {
            "_photo": self._png("photo", view.photo),
            "_reconstruction": self._png("reconstruction", view.reconstruction),
            "_preview": self._png("preview", view.preview),
            "_result": b"" if view.blend is None else self._png("result", view.blend.array),
            "_segments": b"" if view.labels is None else self._png("segments", view.labels),
            "_masks": self._mask_pngs(view.edits),
            "_state": _state(view) | {"covers": dict(covers)},
        }

    def _png(self, kind: str, array: NDArray[np.uint8]) -> bytes:
        """Return the PNG of a picture, encoded once."""
        known = self._pictures.get(kind)
        if known is not None and (known[0] is array or np.array_equal(known[0], array)):
            return known[1]
        self._pictures[kind] = (array, files.encode_png(array))
        return self._pictures[kind][1]

    def _mask_pngs(self, edits: Edits) -> dict[str, bytes]:
        # Edits never change their mask in place, so the same array is the same mask.
        known, self._masks = self._masks, {}
        for edit in edits:
            old = known.get(edit.id)
            if old is None or old[0] is not edit.mask:
                old = edit.mask, files.encode_png(edit.mask)
            self._masks[edit.id] = old
        return {name: data for name, (_, data) in self._masks.items()}


def _state(view: View) -> dict[str, Any]:
    """Return everything but the pictures and masks as a JSON object."""
    notice, job, metrics = view.notice, view.job, view.metrics
    return {
        "revision": view.revision,
        "title": view.title,
        "width": view.photo.shape[1],
        "height": view.photo.shape[0],
        "photo": _size(view.original),
        "cells": list(view.cells),
        "classes": [] if view.labels is None else list(view.classes),
        "journal": list(view.journals),
        "generator": view.generator_name,
        "concepts": [
            {"name": concept.name, "color": concept.color, "quality": concept.quality}
            for concept in view.palette
        ],
        "verbs": ["add", "remove", "restyle"],
        "edits": [_described(edit) for edit in view.edits],
        "can_undo": view.can_undo,
        "can_redo": view.can_redo,
        "has_gallery": view.has_gallery,
        "scene": view.scene,
        "loading": view.loading,
        "job": None if job is None else {"name": job.job, "fraction": job.fraction},
        "faithful": {"on": view.faithful, "ready": view.is_faithful},
        "blended": None if view.blend is None else view.blend.revision,
        "measures": _without_nan(
            {"reconstruction_decibel": metrics["reconstruction_psnr"], "blend": metrics["blend"]}
        ),
        "notice": None if notice is None else {"level": notice.level, "text": notice.text},
    }


def _described(edit: Edit) -> dict[str, Any]:
    """Return an edit for the page, without its mask and its unit numbers, which the page does not use."""
    reference = edit.reference
    return {
        "id": edit.id,
        "verb": edit.verb,
        "concept": edit.concept,
        "strength": edit.strength,
        "enabled": edit.enabled,
        "units": edit.units if isinstance(edit.units, str) or edit.units is None else "own",
        "target": edit.target,
        "variant": edit.variant,
        "reference": None
        if reference is None
        else {
            "key": key_of(reference),
            "region": None if reference.region is None else _box(reference.region),
        },
    }


def _size(photo: Original | None) -> dict[str, Any] | None:
    """Return a photo's own size, and how its square was cut out or padded."""
    if photo is None:
        return None
    return {"width": photo.image.width, "height": photo.image.height, "fit": photo.fit}


def _box(mask: NDArray[np.uint8]) -> list[int]:
    """Return x, y, width and height of the painted area."""
    (rows, columns) = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinity with null, since JSON cannot express them."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
