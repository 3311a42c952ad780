"""A layer of a generator and its measured parts: dissection, atlas, baselines and effects.

The cache keeps the parts, under the fingerprint of the generator's weights. A missing or damaged part is
``None`` until :meth:`MeasuredLayer.measure` makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..dissection import dissect
from ..errors import GANPaintError
from ..models.devices import load
from ..models.generator import StagedGenerator
from ..models.model import Model
from ..models.registry import keep_discovery
from ..models.units import Dissection
from ..storage import cached
from ..tickets import Ticket, share_of
from . import brushes
from .atlas import Atlas, Baselines, Effects, make_atlas, measure_baselines, measure_effects

Part = Literal["dissection", "atlas", "baselines", "effects"]

PARTS: Final[tuple[Part, ...]] = ("dissection", "atlas", "baselines", "effects")
"""The measured parts of a layer; each needs those before it."""

Measured = TypeVar("Measured", bound="MeasuredLayer")


class MeasuredLayer:
    """A layer of a generator, with parts that are measured once and kept.

    The arguments and attributes are documented at :class:`.Exploration`, which adds the questions about
    units.
    """

    def __init__(
        self,
        generator: str | Path | StagedGenerator | Model = "demo",
        layer: str | None = None,
        *,
        device: str | None = None,
    ) -> None:
        model = load(generator, device)
        self.layer = layer or model.generator.edit_layer
        if self.layer not in model.generator.stages:
            raise GANPaintError(
                f"The generator {model.name!r} has no layer {self.layer!r}.",
                f"Choose one of: {', '.join(model.generator.stages)}.",
            )
        self.folder = brushes.folder(model.generator, self.layer)
        self._edited = self.layer == model.generator.edit_layer
        own = model.dissection if self._edited else None
        self.own = own is not None
        self.dissection = own
        self.model = replace(_at(model, self.layer), dissection=own)
        if own is None:
            self.dissection = self._stored("dissection", Dissection.load)
            self.model = replace(self.model, dissection=self.dissection)
        self.atlas: Atlas | None = self._stored("atlas", Atlas.load)
        self.draft: Atlas | None = None
        self.baselines: Baselines | None = self._stored("baselines", Baselines.load)
        self.effects: Effects | None = self._stored("effects", Effects.load)

    @cached_property
    def channels(self) -> int:
        """C, the number of units."""
        if self.dissection is not None:  # the generator need not run then
            return int(self.dissection.iou.shape[1])
        return self.model.generator.shape(self.layer)[0]

    @property
    def missing(self) -> tuple[Part, ...]:
        """The parts that have not been measured yet."""
        return tuple(part for part in PARTS if getattr(self, part) is None)

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of the dissection's concepts; empty before it is measured."""
        return () if self.dissection is None else self.dissection.concepts

    @cached_property
    def shelf(self) -> brushes.Shelf:
        """The layer's brushes, shared with all sessions that edit there."""
        return brushes.shelf(self.folder, self.channels)

    # --- measuring ---

    def measure(
        self: Measured,
        *parts: Part,
        samples: int = 500,
        seed: int = 0,
        executor: Executor | None = None,
        drafted: Callable[[], object] | None = None,
        ticket: Ticket | None = None,
    ) -> Measured:
        """Measure missing parts, and keep them in the cache.

        Args:
            parts: some of ``PARTS``; by default dissection and atlas, which everything else needs. Existing
                parts are not measured again.
            samples: generated pictures.
            seed: of their latents.
            executor: counts for the dissection elsewhere; see :func:`.measure.dissect`.
            drafted: called when ``draft`` has changed. Without it, no drafts are made.
            ticket: progress and cancel. Parts that were complete before a cancellation stay.

        Returns:
            This object.

        Raises:
            GANPaintError: the generator has no segmenter that could name its pixels.
        """
        wanted = [part for part in PARTS if part in (parts or PARTS[:2]) and part in self.missing]
        generator = self.model.generator
        for done, part in enumerate(wanted):
            share = share_of(ticket, done / len(wanted), (done + 1) / len(wanted))
            given: dict[str, Any] = {"seed": seed, "ticket": share}
            if part == "dissection":
                found = dissect(
                    generator, self._segmenter, layer=self.layer, samples=samples, executor=executor, **given
                )
                self._keep(part, found.save)
                self.dissection = found
                self.__dict__.pop("_labels", None)
                self.model = replace(self.model, dissection=found)
            elif part == "atlas":
                draft = None if drafted is None else partial(self._take_draft, drafted)
                self.atlas = make_atlas(generator, self.layer, samples=samples, draft=draft, **given)
                self.draft = None
                self._keep(part, self.atlas.save)
            elif part == "baselines":
                self.baselines = measure_baselines(
                    generator, self._segmenter, self.layer, samples=samples, **given
                )
                self._keep(part, self.baselines.save)
            else:
                self.effects = measure_effects(
                    generator, self._segmenter, self.layer, self._dissected.high, ticket=share
                )
                self._keep(part, self.effects.save)
        return self

    def _take_draft(self, drafted: Callable[[], object], draft: Atlas) -> None:
        self.draft = draft
        drafted()

    def take(self, dissection: Dissection) -> None:
        """Replace this layer's concepts with other discovered ones, and keep them.

        New sessions find those of the edit layer. Measurements of the old concepts are deleted.

        Raises:
            GANPaintError: the concepts cannot be kept; nothing has changed then.
        """
        if self._edited:
            keep_discovery(self.model.generator, dissection)
        else:
            self._keep("dissection", dissection.save)
        for part in ("baselines", "effects"):
            (self.folder / f"{part}.safetensors").unlink(missing_ok=True)
        self.baselines = self.effects = None
        self.dissection, self.own = dissection, self._edited
        self.__dict__.pop("_labels", None)
        self.model = replace(self.model, dissection=dissection).to()

    @property
    def _segmenter(self) -> Any:
        if self.model.segmenter is None:
            raise GANPaintError(
                f"The generator {self.model.name!r} has no segmenter that could name its pixels.",
                "Pass a Model with a segmenter, for example ganpaint_widget.models.segmentation.ade20k().",
            )
        return self.model.segmenter

    @property
    def _dissected(self) -> Dissection:
        if self.dissection is None:
            raise GANPaintError(
                f"The layer {self.layer!r} of {self.model.name!r} has not been dissected yet.",
                "Call measure() first.",
            )
        return self.dissection

    @cached_property
    def _labels(self) -> list[str | None]:
        return self._dissected.labels()

    @property
    def _surveyed(self) -> Atlas:
        found = self.atlas or self.draft
        if found is None:
            raise GANPaintError(
                f"The atlas of {self.layer!r} of {self.model.name!r} has not been measured yet.",
                'Call measure("atlas").',
            )
        return found

    def _stored(self, part: Part, read: Callable[[Path], Any]) -> Any:
        """Return a stored part, or ``None`` if it is missing, damaged, or of another number of units."""

        def fitting(path: Path) -> Any:
            found = read(path)
            if units_of(found) not in (None, self.channels):
                raise GANPaintError(f"{path.name} has another number of units.", "Measure it again.")
            return found

        return cached(self.folder / f"{part}.safetensors", fitting)

    def _keep(self, part: Part, write: Callable[[Path], object]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / f"{part}.safetensors")
        except OSError as error:
            raise GANPaintError(
                f"The {part} cannot be kept in {self.folder}: {error.strerror or error}.",
                "Make room there, or set GANPAINT_CACHE to another folder.",
            ) from error


def units_of(part: Dissection | Atlas | Baselines | Effects) -> int | None:
    """Return the number of units of a measured part; ``None`` if the part does not tell."""
    table = {Dissection: "iou", Atlas: "correlation", Effects: "effect"}.get(type(part))
    return None if table is None else int(getattr(part, table).shape[1])


def _at(model: Model, layer: str) -> Model:
    """Return the model with another edit layer and the same weights.

    It only opens samples, since an encoder belongs to the layer that it was trained for.
    """
    if layer == model.generator.edit_layer:
        return model
    generator = copy(model.generator)
    generator.edit_layer = layer
    behind = generator.stages[generator.stage_index(layer) + 1 :]
    generator.fine_layers = tuple(name for name in generator.fine_layers if name in behind) or behind[-1:]
    return replace(model, generator=generator, encoder=None, gallery=None, dissection=None)
