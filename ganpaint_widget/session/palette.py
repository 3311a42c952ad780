"""The palette: the concepts of the generator's dissection, and the brushes made of its units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GANPaintError
from ..explorer import brushes
from ..method.edits import TARGETS, Activations, Edit
from ..validation import checked_edit

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.model import Model


@dataclass(frozen=True)
class Concept:
    """A concept to paint: ``color`` as "#rrggbb"; ``quality``, 0 to 1: how well the generator knows it."""

    name: str
    color: str
    quality: float


class Palette:
    """The concepts of one generator, and the edits that can be made with them.

    Args:
        changed: called after a brush was made or removed.
    """

    def __init__(self, model: Model, changed: Callable[[], None]) -> None:
        self._model, self._changed = model, changed
        self._dissected: tuple[Concept, ...] = ()
        self._shelf: brushes.Shelf | None = None
        self.channels = 0
        dissection = model.dissection
        if dissection is not None:
            self._dissected = tuple(
                Concept(name, dissection.colors[name], float(dissection.quality(name)))
                for name in dissection.offered
            )
            self.channels = dissection.iou.shape[1]
            place = brushes.folder(model.generator, dissection.layer)
            self._shelf = brushes.shelf(place, self.channels)
            self._shelf.watch(self._brushes_changed)

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The dissection's, then the brushes."""
        made = () if self._shelf is None else self._shelf.brushes
        return (*self._dissected, *(Concept(brush.name, brush.color, brush.quality) for brush in made))

    def fresh(self, edit_id: str, verb: str, concept: str, strength: float, **details: Any) -> Edit:
        """Return a new edit, not yet painted or checked. With a brush, it has the brush's units."""
        size = self._model.generator.resolution
        brush = None if self._shelf is None else self._shelf.get(concept)
        if brush is not None and details.get("units") is None:
            activations = brush.activations if verb == "add" else None
            details = {**details, "units": brush.units, "activations": activations}
        if details.get("target", "") is None:
            details["target"] = self._default_target(verb, concept, details.get("units"))
        return Edit(edit_id, verb, concept, np.zeros((size, size), np.uint8), strength, **details)

    def _default_target(self, verb: object, concept: object, units: object) -> str:
        """Return the default target of an edit. An exemplar sets all units, so chosen units have none.

        The arguments have not been checked yet, and may be of any type.
        """
        dissection = self._model.dissection
        adding = isinstance(verb, str) and verb == "add" and units is None
        if not (adding and isinstance(concept, str) and dissection and concept in dissection.concepts):
            return TARGETS[0]
        return dissection.default_target(concept)

    def exemplar(self, edit: Edit, features: Tensor) -> Activations:
        """Return an addition's target by exemplar, for a picture's features 1 x C x H x W."""
        dissection = self._model.dissection
        if dissection is None or not dissection.has_exemplars(edit.concept):
            raise GANPaintError(
                f"The concept {edit.concept!r} has no exemplar to aim at.",
                "Choose another target, or find exemplars with `ganpaint dissect`.",
            )
        chosen = dissection.exemplar(edit.concept, features, edit.variant)
        return np.asarray(chosen.numpy(), np.float32)

    def checked(self, edit: Edit) -> Edit:
        """Return an edit after checking everything in it. GANPaintError if something is wrong."""
        # Brushes are not among these, since their edits have their own units and activations.
        known = tuple(concept.name for concept in self._dissected)
        size = self._model.generator.resolution
        return checked_edit(edit, known, self._model.name, size, self.channels)

    def _brushes_changed(self) -> None:
        self._changed()
