"""The dissection explorer without its widget: a layer's units as arrays, tables and figures.

    units = Exploration("demo")                  # or Exploration("demo", "layer4").measure()
    units.table(by="iou", concept="dome")        # the units, best first
    units.picture(units.order(concept="dome"))   # their strongest samples, with active regions outlined
    units.per_concept()                          # units per concept, beside the baselines
    units.curve("dome")                          # the effects of the best 1, 2, ... units
    units.make_brush("my dome", [43, 8, 101])    # paint with them

``measured.py`` measures a layer's dissection, atlas, baselines and effects, and keeps them in the cache. This
file answers questions with them. Nothing here needs Jupyter. ``widget/explorer/`` shows the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch.nn import functional as F

from ..deprecated import Renamed
from ..dissection import (
    ArtifactCandidate,
    artifact_candidates,
    causal_effect,
)
from ..errors import GANPaintError
from ..images.arrays import Array, Floats, array_of
from ..images.contours import contours
from ..images.files import read_mask
from ..method.edits import Edit
from ..method.equation import apply
from ..models.generator import State
from ..tickets import Ticket, watched
from ..validation import checked_color, checked_name, checked_strength, checked_units
from . import charts
from .atlas import STRONGEST
from .brushes import Brush
from .curves import CURVE, Causality, measure_curves, published_removal
from .measured import MeasuredLayer
from .rows import ComparisonRow, ConceptRow, LabelRow, Side, UnitRow

Order = Literal["number", "iou", "quality", "effect"]

ORDERS: Final[tuple[Order, ...]] = ("iou", "effect", "quality", "number")

ACTIVE: Final = 0.99
"""The share of all cells whose activation lies below that of active ones (GAN Dissection)."""

INACTIVE: Final = 0.7
"""Brightness of a strip's pixels outside the active region, relative to the sample's."""


@dataclass(frozen=True, eq=False)
class TopSamples:
    """A unit's strongest samples.

    Attributes:
        pictures: uint8 S x T x T x 3.
        maps: float32 S x h x w, the unit's activation.
        regions: bool S x T x T, where the activation is above the unit's 0.99 quantile.
        seeds: the numbers of these samples among those of the atlas.
    """

    pictures: Array
    maps: Floats
    regions: npt.NDArray[np.bool_]
    seeds: tuple[int, ...]


class Exploration(MeasuredLayer):
    """A layer of a generator, with measurements of its units and answers about them.

    Args:
        generator: as for :func:`.models.registry.load`.
        layer: the stage; by default the edit layer.
        device: as for :func:`.models.devices.load`.

    Attributes:
        model: the model with ``layer`` as its edit layer, so that sessions on it edit there.
        layer: the stage.
        dissection: which units draw which concept; ``None`` until it is measured.
        own: whether the generator came with this dissection.
        atlas, baselines, effects: see the classes; ``None`` until they are measured.
        draft: the atlas of the samples so far, while an atlas is measured and after that was cancelled. It
            serves in place of an atlas, and the cache does not keep it.

    Raises:
        GANPaintError: the generator or the layer does not exist.
    """

    def __repr__(self) -> str:
        missing = f", without {', '.join(self.missing)}" if self.missing else ""
        return f"<Exploration of {self.model.name!r}, {self.layer}: {self.channels} units{missing}>"

    # --- units: in which order, and what is known of them ---

    def label(self, unit: int) -> str | None:
        """Return the concept with a unit's best IoU, or ``None`` if the unit is not interpretable."""
        return self._labels[self._checked(unit)]

    def order(self, by: Order = "iou", concept: str | None = None, label: str | None = None) -> list[int]:
        """Return the units' numbers, sorted.

        Args:
            by: ``"iou"``, ``"quality"`` (the information quality ratio) or ``"effect"`` (the average causal
                effect of the unit alone), highest first; or ``"number"``.
            concept: the concept of these scores; by default, each unit's best one counts.
            label: the label of the units to return; by default, all units.

        Raises:
            GANPaintError: the order or the concept does not exist, or has not been measured.
        """
        units = list(range(self.channels))
        if label is not None:
            self._dissected.index(label)
            units = [unit for unit in units if self._labels[unit] == label]
        if by == "number":
            return units
        values = self.scores(by, concept)
        return sorted(units, key=lambda unit: (-values[unit], unit))

    def scores(self, by: Order, concept: str | None = None) -> Floats:
        """Return the C values by which :meth:`order` sorts: of a concept, or the largest of any."""
        if by not in ORDERS or by == "number":
            raise GANPaintError(f"Units have no score {by!r}.", "Choose one of: iou, effect, quality.")
        found = self._dissected
        if by == "effect":
            if self.effects is None:
                raise GANPaintError(
                    "The effect of single units has not been measured yet.", 'Call measure("effects").'
                )
            table, concepts = self.effects.effect, self.effects.concepts
        else:
            table, concepts = (found.iou if by == "iou" else found.iqr), found.concepts
        if concept is None:
            return np.asarray(table.amax(dim=0).numpy(), np.float32)
        found.index(concept)
        return np.asarray(table[concepts.index(concept)].numpy(), np.float32)

    def search(self, text: str) -> tuple[str, ...]:
        """Return the concepts whose names contain a text, ignoring case; all of them for an empty text."""
        return tuple(concept for concept in self.concepts if text.strip().lower() in concept.lower())

    def table(self, by: Order = "iou", concept: str | None = None, label: str | None = None) -> list[UnitRow]:
        """Sort the units by label, or by IoU, IQR or effect for ``concept`` or the label."""
        found = self._dissected
        rows = []
        for unit in self.order(by, concept, label):
            named = concept or self._labels[unit]
            index = int(found.iou[:, unit].argmax()) if named is None else found.index(named)
            rows.append(
                UnitRow(
                    unit,
                    self._labels[unit],
                    float(found.iou[index, unit]),
                    float(found.iqr[index, unit]),
                    self._effect(found.concepts[index], unit),
                )
            )
        return rows

    def unit(self, unit: int) -> list[ConceptRow]:
        """Compare a unit with every concept, best first: IoU, IQR, threshold, target activation, effect."""
        found, unit = self._dissected, self._checked(unit)
        return [
            ConceptRow(
                found.concepts[index],
                float(found.iou[index, unit]),
                float(found.iqr[index, unit]),
                None if found.threshold is None else float(found.threshold[index, unit]),
                float(found.level[index, unit]),
                self._effect(found.concepts[index], unit),
            )
            for index in found.iou[:, unit].argsort(descending=True).tolist()
        ]

    def _effect(self, concept: str, unit: int) -> float | None:
        """Return a unit's own effect on a concept's area, if it was measured."""
        if self.effects is None or concept not in self.effects.concepts:
            return None
        return float(self.effects.effect[self.effects.concepts.index(concept), unit])

    def per_concept(self) -> list[LabelRow]:
        """Return the number of units with each label, beside chance: the numbers of the bars."""
        found = self._dissected
        rows = []
        for index, concept in enumerate(found.concepts):
            units = [unit for unit, label in enumerate(self._labels) if label == concept]
            row = LabelRow(concept, len(units), float(found.iou[index].max()), found.colors[concept])
            if self.baselines is not None and concept in self.baselines.concepts:
                place = self.baselines.concepts.index(concept)
                position = self.baselines.position[place]
                row = replace(
                    row,
                    above_position=sum(float(found.iou[index, unit]) > position for unit in units),
                    rotated=self.baselines.rotated[place],
                    position_iou=position,
                )
            rows.append(row)
        return rows

    unit_rows = Renamed("unit")
    bars = Renamed("per_concept")

    def concept_figure(self) -> charts.Chart:
        """Return the bars as an SVG."""
        rows = self.per_concept()
        series = {"units": [row.units for row in rows]}
        if self.baselines is not None:
            series["above position only"] = [row.above_position or 0 for row in rows]
            series["rotated axes"] = [row.rotated or 0 for row in rows]
        return charts.bars([row.concept for row in rows], series, f"Units per concept, {self.layer}")

    # --- units: what they look like ---

    def top(self, unit: int) -> TopSamples:
        """Return the samples that activate a unit most, with the active regions."""
        atlas, unit = self._surveyed, self._checked(unit)
        pictures = np.stack([atlas.sample(int(file)) for file in atlas.strongest[unit]])
        maps = atlas.maps[unit].astype(np.float32)
        shown = _resized(maps, pictures.shape[1])
        seeds = tuple(atlas.numbers[int(file)] for file in atlas.strongest[unit])
        return TopSamples(pictures, maps, shown > self.active_level(unit), seeds)

    def active_level(self, unit: int) -> float:
        """Return the activation above which a unit counts as active: its 0.99 quantile over the samples.

        That of the dissection may be of other pictures: the demo's was measured on scenes, in whose features
        units are on more strongly than in those that G makes from z.
        """
        return self._surveyed.quantile(self._checked(unit), ACTIVE)

    def histogram(self, unit: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """Return counts (B) and edges (B + 1) of a unit's activations over all cells of the samples."""
        atlas, unit = self._surveyed, self._checked(unit)
        return atlas.counts[unit], atlas.edges[unit]

    def coactive_units(self, unit: int, count: int = 6) -> list[tuple[int, float]]:
        """Return the units that correlate most with this one, with Pearson's correlation over cells."""
        values = self._surveyed.correlation[self._checked(unit)].copy()
        values[unit] = -np.inf
        return [(int(other), float(values[other])) for other in np.argsort(-values)[:count]]

    together = Renamed("coactive_units")

    def heatmap(self, unit: int, features: Floats, size: int | None = None) -> Floats:
        """Return a unit's activity in a picture: float32 size x size, 0 to 1.

        It is 1 from the dissection's 0.99 quantile on.

        Args:
            unit: its number.
            features: C x h x w at this layer, for example ``EditingSession.features``.
            size: pixels a side; the generator's by default.
        """
        shown = _resized(features[self._checked(unit)][None], size or self.model.generator.resolution)[0]
        return np.asarray(np.clip(shown / max(float(self._dissected.high[unit]), 1e-6), 0, 1), np.float32)

    def heatmap_picture(self, unit: int, picture: Any, features: Floats, size: int = 256) -> Image.Image:
        """Draw :meth:`heatmap` over the picture: dark where the unit is inactive, warm where it is active."""
        base = Image.fromarray(np.asarray(picture)).resize((size, size), Image.Resampling.LANCZOS)
        heat = self.heatmap(unit, features, size)[..., None]
        gray = np.asarray(base.convert("L").convert("RGB"), np.float32)
        color = np.asarray(base, np.float32)
        warm = np.concatenate([np.full_like(heat, 255), 225 - 165 * heat, 40 + 0 * heat], axis=2)
        mixed = (1 - heat) * (0.30 * gray + 0.22 * color) + heat * (0.55 * color + 0.45 * warm)
        return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))

    def histogram_figure(self, unit: int, concept: str | None = None) -> charts.Chart:
        """Draw the histogram, with the 0.99 quantile, the threshold, and the target of an addition marked."""
        counts, edges = self.histogram(unit)
        found = self._dissected
        marks = [(self.active_level(unit), "0.99 quantile")]
        if concept is not None:
            row = found.index(concept)
            if found.threshold is not None:
                marks.append((float(found.threshold[row, unit]), f"threshold, {concept}"))
            marks.append((float(found.level[row, unit]), f"level, {concept}"))
        return charts.histogram(counts.tolist(), edges.tolist(), marks, f"Activation of unit {unit}")

    def outlines(self, unit: int) -> list[npt.NDArray[np.float32]]:
        """Return the active region's border in each strongest sample: N x 2 x 2 (x, y in 0 to 1)."""
        maps = self._surveyed.maps[self._checked(unit)].astype(np.float32)
        return contours(maps, self.active_level(unit))

    def strip(self, unit: int, tile: int, count: int = STRONGEST) -> Array:
        """Return a unit's strongest samples side by side, darker outside the active region.

        Args:
            unit: its number.
            tile: pixels a side of a sample.
            count: how many samples, 1 to ``STRONGEST``.

        Returns:
            uint8 tile x (count tile) x 3.
        """
        atlas, unit = self._surveyed, self._checked(unit)
        tiles = np.stack([atlas.tile(int(file), tile) for file in atlas.strongest[unit][:count]])
        active = _resized(atlas.maps[unit][:count].astype(np.float32), tile) > self.active_level(unit)
        shown = np.where(active[..., None], tiles, tiles * INACTIVE).astype(np.uint8)
        return np.concatenate(list(shown), axis=1)

    def picture(self, units: Sequence[int], columns: int = 3, tile: int = 64) -> Image.Image:
        """Return the atlas as one picture: each unit's strongest samples in a row, with regions outlined.

        Args:
            units: the units to show, for example from :meth:`order`.
            columns: units side by side.
            tile: pixels a side of a sample.
        """
        head, gap = 14, 6
        width = STRONGEST * tile + gap
        rows = -(-len(units) // columns)
        sheet = Image.new("RGB", (columns * width + gap, rows * (tile + head + gap) + gap), "white")
        draw = ImageDraw.Draw(sheet)
        for place, unit in enumerate(units):
            left = gap + place % columns * width
            top = gap + place // columns * (tile + head + gap)
            name = f"{unit}  {self.label(unit) or ''}"
            draw.text((left, top), name, fill="black")
            sheet.paste(Image.fromarray(self.strip(unit, tile)), (left, top + head))
            for index, lines in enumerate(self.outlines(unit)):
                for one, other in lines * tile + (left + index * tile, top + head):
                    draw.line([*one, *other], fill="#ffd400", width=2)
        return sheet

    # --- units: what they do ---

    @torch.no_grad()
    def intervene(
        self,
        off: Sequence[int] = (),
        on: Sequence[int] = (),
        *,
        seed: int = 0,
        state: State | None = None,
        mask: object = None,
        strength: float = 1.0,
    ) -> tuple[Array, Array]:
        """Switch units off or on in a sample, as edits do.

        Args:
            off: units to set to 0.
            on: units to set to ``strength`` times their 0.99 quantile.
            seed: the seed of the sample.
            state: a state of one picture at this layer, in place of a sample.
            mask: the area, as for ``EditingSession.add``; everywhere by default.
            strength: 0 to 4.

        Returns:
            The picture before and after: uint8 R x R x 3 each.
        """
        generator = self.model.generator
        size = generator.resolution
        where = np.full((size, size), 255, np.uint8) if mask is None else read_mask(mask, size)
        strength = checked_strength(strength)
        edits = []
        if len(off):
            units = checked_units(off, self.channels)
            edits.append(Edit("off", "suppress", "", where, units=units))
        if len(on):
            units = checked_units(on, self.channels)
            edits.append(
                Edit("on", "add", "", where, strength, units=units, activations=self.on_activations())
            )
        state = self.state(seed) if state is None else state
        before = array_of(generator.picture(generator.run(state)))
        edited = apply(state, edits, self._dissected)
        return before, array_of(generator.picture(generator.run(edited)))

    @torch.no_grad()
    def state(self, seed: int) -> State:
        """Return a sample's state at this layer; its ``features`` are the activations, 1 x C x h x w."""
        generator = self.model.generator
        z = generator.sample_z(1, seed).to(next(generator.parameters()).device)
        return generator.run(generator.start(z), until=self.layer)

    def on_activations(self) -> Floats:
        """Return the activation that means "on" for each unit: C, its 0.99 quantile (GAN Dissection)."""
        return np.asarray(self._dissected.high.numpy(), np.float32)

    levels = Renamed("on_activations")

    def make_brush(
        self,
        name: str,
        units: Sequence[int],
        *,
        concept: str | None = None,
        color: str | None = None,
        samples: int = 40,
        ticket: Ticket | None = None,
    ) -> Brush:
        """Make a brush of some units, for all sessions of this process that edit this layer.

        If there is a segmenter, the brush is scored for its concept: how much of a patch at a likely place
        turns into the concept, and how much of the concept vanishes. See ``dissection.causal_effect``. The
        cache keeps the brush.

        Args:
            name: 1 to 64 characters, different from all concepts.
            units: their numbers.
            concept: the concept to score it for; by default the one with the units' highest mean IQR.
            color: "#rrggbb" for the palette.
            samples: pictures in which it is tried.
            ticket: progress and cancel. If the scoring is cancelled, no brush is made.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        found = self._dissected
        numbers = checked_units(units, self.channels)
        assert isinstance(numbers, tuple)
        checked_name(name)
        color = self.shelf.next_color() if color is None else checked_color(color)
        if name in found.concepts:
            raise GANPaintError(f"The concept {name!r} already exists.", "Choose another name.")
        if concept is None:
            # With IoU, a concept that covers half of every picture would nearly always win.
            table = found.iqr if bool(found.iqr.any()) else found.iou
            concept = found.concepts[int(table[:, list(numbers)].mean(dim=1).argmax())]
        found.index(concept)
        activations = self.on_activations()
        added = removed = 0.0
        if self.model.segmenter is not None:
            added, removed = causal_effect(
                self.model.generator,
                self.model.segmenter,
                found,
                concept,
                units=numbers,
                activations=activations,
                samples=samples,
                ticket=ticket,
            )
        brush = Brush(name, numbers, activations, concept, added, removed, color)
        self.shelf.put(brush)
        return brush

    def curve(
        self,
        concept: str,
        *,
        units: Sequence[int] = CURVE,
        by: Order = "iou",
        samples: int = 16,
        draws: int = 2,
        seed: int = 10_000,
        ticket: Ticket | None = None,
    ) -> Causality:
        """Measure the effects of removing and adding a concept's best units, against their number.

        Random units serve as comparison.

        Args:
            concept: its name.
            units: numbers of units. Numbers above C are left out.
            by: the order of the units, as in :meth:`order`.
            samples: pictures.
            draws: how many sets of random units to average.
            seed: of the pictures and of the random units.
            ticket: progress and cancel.
        """
        published = published_removal(self.model.name, self.layer, concept)
        return measure_curves(
            self.model.generator,
            self._segmenter,
            self._dissected,
            concept,
            self.order(by, concept),
            published,
            units=units,
            samples=samples,
            draws=draws,
            seed=seed,
            ticket=ticket,
        )

    def artifact_candidates(
        self, *, samples: int = 200, ticket: Ticket | None = None
    ) -> list[ArtifactCandidate]:
        """Rank all units by how likely they are to cause artifacts: unit, distance, excess.

        See :func:`.artifacts.artifact_candidates`. The features are the segmenter's.
        """
        segmenter = self._segmenter
        if not callable(getattr(segmenter, "features", None)):
            raise GANPaintError(
                "The segmenter does not offer features for comparing pictures.",
                "Call ganpaint_widget.dissection.artifact_candidates with your own features.",
            )
        return artifact_candidates(
            self.model.generator, segmenter.features, layer=self.layer, samples=samples, ticket=ticket
        )

    artifacts = Renamed("artifact_candidates")
    suspects = Renamed("artifact_candidates")

    def before_after(self, unit: int, count: int = 4, *, ticket: Ticket | None = None) -> tuple[Array, Array]:
        """Draw a unit's strongest samples unchanged and with the unit off: uint8 S x R x R x 3 each."""
        atlas, unit = self._surveyed, self._checked(unit)
        generator = self.model.generator
        latents = generator.sample_z(atlas.samples, atlas.seed)
        chosen = [atlas.numbers[int(file)] for file in atlas.strongest[unit][:count]]
        pairs = []
        for number in watched(chosen, ticket):
            with torch.no_grad():
                z = latents[number : number + 1].to(next(generator.parameters()).device)
                state = generator.run(generator.start(z), until=self.layer)
            pairs.append(self.intervene(off=[unit], state=state))
        before, after = zip(*pairs, strict=True)
        return np.stack(before), np.stack(after)

    def _checked(self, unit: int) -> int:
        numbers = checked_units([unit], self.channels)
        assert isinstance(numbers, tuple)
        return numbers[0]


def compare(one: Exploration, other: Exploration) -> list[ComparisonRow]:
    """Compare two layers or generators by their common concepts: units, best unit and IoU of each.

    Counts are also given as shares of the layer's units, since layers differ in their number of units.
    """

    def side(layer: Exploration, concept: str) -> Side:
        found = layer._dissected
        index, units = found.index(concept), layer._labels.count(concept)
        best, iou = int(found.iou[index].argmax()), float(found.iou[index].max())
        return Side(units, units / layer.channels, best, iou)

    both = [concept for concept in one.concepts if concept in other.concepts]
    return [ComparisonRow(concept, side(one, concept), side(other, concept)) for concept in both]


# --- helpers ---


def _resized(maps: Floats, size: int) -> Floats:
    """Resize maps N x h x w to N x size x size as dissection does: bilinear, half-pixel alignment."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    grown = F.interpolate(tensor, size=(size, size), mode="bilinear", align_corners=False)
    return np.asarray(grown[:, 0].numpy(), np.float32)
