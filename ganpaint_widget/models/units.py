"""What is known of a layer's units: which of them draw which concept, and how well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import GANPaintError
from ..storage import damaged, read_safetensors, write_safetensors
from .networks import usable
from .parts import Parts
from .shaper import Shaper

MINIMUM_IOU, MINIMUM_IQR = 0.05, 0.01
"""From here on a unit is called interpretable (published for GANs)."""

TENSORS = ("iou", "iqr", "high", "present", "level", "weight", "effect")

MEASURED = ("add", "remove")
"""The verbs whose weights and effects are measured, in the order of the tables."""


def setting_of(features: Tensor) -> Tensor:
    """Describe pictures as wholes: each unit's mean over the grid, B x C from features B x C x H x W."""
    return features.mean(dim=(2, 3))


@dataclass(frozen=True)
class Exemplars:
    """Single objects of K concepts, M rows for each, and what the pictures around them were like.

    Attributes:
        activations: K x M x C, each unit's mean over the object.
        settings: K x M x C, :func:`setting_of` the picture that shows it.
        counts: K, how many of the M rows are filled.
    """

    activations: Tensor
    settings: Tensor
    counts: Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Exemplars:
        """Make exemplars from stored tensors. Raises KeyError if one is missing."""
        return cls(
            tensors["activations"].float(), tensors["settings"].float(), tensors["counts"].to(torch.int64)
        )

    @classmethod
    def stacked(cls, each: Sequence[tuple[Tensor, Tensor]]) -> Exemplars:
        """Stack tables from what :meth:`objects` gives of each concept."""
        most = max(len(activations) for activations, _ in each)
        tables = [[F.pad(one, (0, 0, 0, most - len(one))) for one in pair] for pair in each]
        activations, settings = (torch.stack(column) for column in zip(*tables, strict=True))
        return cls(activations, settings, torch.tensor([len(one) for one, _ in each]))

    def objects(self, row: int) -> tuple[Tensor, Tensor]:
        """Return activations and settings of a concept's objects, N x C each."""
        filled = int(self.counts[row])
        return self.activations[row, :filled], self.settings[row, :filled]

    def check(self, concepts: int, units: int) -> None:
        """Raise ValueError if the tables do not fit that many concepts and units, or are not finite."""
        rows = self.activations.shape[1] if self.activations.ndim == 3 else 0
        for name in ("activations", "settings"):
            table = getattr(self, name)
            if table.shape != (concepts, rows, units) or not table.isfinite().all():
                raise ValueError(f"exemplars whose {name} are not finite or do not fit the units")
        counts = self.counts
        if counts.shape != (concepts,) or not bool(((counts >= 0) & (counts <= rows)).all()):
            raise ValueError("exemplars that are not counted")

    def nearest(self, row: int, setting: Tensor) -> list[int]:
        """Return the exemplars of concept ``row``, those first whose pictures are most like a setting.

        Every unit counts in units of its own spread over all the settings that are known.
        """
        filled = torch.arange(self.settings.shape[1]) < self.counts[:, None]
        spread = self.settings[filled].std(dim=0, unbiased=False).clamp_min(1e-6)
        own = self.settings[row, : int(self.counts[row])]
        apart = ((own - setting.float().cpu()) / spread).square().sum(dim=1)
        order: list[int] = apart.argsort(stable=True).tolist()
        return order


@dataclass(frozen=True)
class Dissection:
    """The measured relation of a layer's C units to K concepts.

    Attributes:
        layer: the dissected stage.
        concepts: the K names.
        iou: K x C, at each pair's best threshold.
        iqr: K x C, the information quality ratio there.
        high: C, each unit's 0.99 quantile.
        present: K x C, each unit's mean over the cells in which the concept is present.
        level: K x C, the activation that an addition aims at; :func:`.measure.dissect` takes ``present``.
        weight: K x 2 x C in [0, 1], how far each unit takes part in adding and in removing;
            :func:`.measure.dissect` takes 1 for the concept's best units.
        effect: K x 2, the shares of a painted patch that turn into the concept when it is added at a likely
            place, and that cease to be it when it is removed; see :func:`.causal_effect`.
        colors: concept to "#rrggbb".
        samples: how many pictures were measured.
        threshold: K x C, the activation above which a pair's IoU counts a unit as on; ``None`` where that is
            not known (published units, files of earlier versions).
        exemplars: single objects of each concept, as targets of additions; ``None``: not looked for.
        parts: of concepts that were discovered, what they consist of, and the segmenter that sees them;
            ``None`` of those that a segmenter has named.
        shaper: gives the outline of the mask to the objects that are added; ``None``: their activations are
            the same in all cells.
    """

    layer: str
    concepts: tuple[str, ...]
    iou: Tensor
    iqr: Tensor
    high: Tensor
    present: Tensor
    level: Tensor
    weight: Tensor
    effect: Tensor
    colors: Mapping[str, str]
    samples: int
    threshold: Tensor | None = None
    exemplars: Exemplars | None = None
    parts: Parts | None = None
    shaper: Shaper | None = None

    def index(self, concept: str) -> int:
        """Return the row of a concept; an unknown one raises and lists the known ones."""
        try:
            return self.concepts.index(concept)
        except ValueError:
            raise GANPaintError(
                f"This generator does not know the concept {concept!r}.",
                f"Choose one of: {', '.join(self.concepts)}.",
            ) from None

    @property
    def offered(self) -> tuple[str, ...]:
        """The concepts that can be painted: all but the hidden ones, and those without units."""
        hidden = () if self.parts is None else self.parts.hidden
        with_units = self.weight.flatten(1).any(dim=1).tolist()
        return tuple(
            name
            for name, drawn in zip(self.concepts, with_units, strict=True)
            if drawn and name not in hidden
        )

    def same_clusters(self, other: Dissection) -> bool:
        """Return whether both are of one discovery, whatever people have made of its parts since."""
        one, two = self.parts, other.parts
        return one is not None and two is not None and torch.equal(one.centroids.cpu(), two.centroids.cpu())

    def target(self, concept: str, by: str = "tuned") -> Tensor:
        """Return C activations that additions to any picture aim at, by "tuned", "quantile" or "mean"."""
        row = self.index(concept)
        return {"tuned": self.level[row], "quantile": self.high, "mean": self.present[row]}[by]

    def exemplar(self, concept: str, features: Tensor, variant: int = 0) -> Tensor:
        """Return C activations of one object of a concept, that of the picture most like this one.

        Args:
            concept: which one; it must have exemplars, see :meth:`has_exemplars`.
            features: of the picture that is edited, before any edit, 1 x C x H x W.
            variant: 0 for the object of the most similar picture, 1 for that of the next one, and so on;
                after the last it begins anew.
        """
        assert self.exemplars is not None
        row = self.index(concept)
        order = self.exemplars.nearest(row, setting_of(features)[0])
        return self.exemplars.activations[row, order[variant % len(order)]]

    def shaped(self, concept: str, features: Tensor, mask: Tensor, activations: Tensor) -> Tensor:
        """Return an object's activations for each cell that a mask touches, as far as that was learned.

        Args:
            concept: what the object is.
            features: of the picture, 1 x C x H x W.
            mask: what is painted, 1 x 1 x R x R in [0, 1].
            activations: the object's, 1 x C x 1 x 1. They come back where no shaper knows the concept.
        """
        if self.shaper is None or not self.shaper.knows(concept):
            return activations
        # This runs for every piece of a stroke, and looking through a network's weights takes a tenth of it.
        here = self.shaper.middle.device == features.device
        shaper = self.shaper if here else usable(self.shaper, features.device)
        return shaper.within(features, mask, activations)

    def has_exemplars(self, concept: str) -> bool:
        """Return whether additions of a concept can take one of its objects as their target."""
        return self.exemplars is not None and int(self.exemplars.counts[self.index(concept)]) > 0

    def default_target(self, concept: str) -> str:
        """Return the default target of additions of a concept: an exemplar if there is one."""
        return "exemplar" if self.has_exemplars(concept) else "tuned"

    def weights(self, concept: str, verb: str) -> Tensor:
        """Return C values in [0, 1]: how far each unit takes part in an edit.

        Restyling takes the weights of adding: both put an activation in place of another.
        """
        return self.weight[self.index(concept), MEASURED.index("remove" if verb == "remove" else "add")]

    def units(self, concept: str, count: int) -> Tensor:
        """Return the ``count`` best units of a concept, best IoU first (int64)."""
        return self.iou[self.index(concept)].argsort(descending=True)[:count]

    def likest(self, features: Tensor) -> Tensor:
        """Return the row of the concept that each cell is most like: B x C x H x W to int64 B x H x W.

        A cell is like a concept by the cosine between its activations and the concept's mean activations
        (``present``).
        """
        means = F.normalize(self.present.to(features), dim=1)
        return torch.einsum("kc,bchw->bkhw", means, F.normalize(features, dim=1)).argmax(dim=1)

    def labels(self) -> list[str | None]:
        """Return each unit's concept: the one of its best IoU for which it is interpretable, if any."""
        known = (self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)
        best = torch.where(known, self.iou, torch.full_like(self.iou, -1)).max(dim=0)
        return [
            self.concepts[row] if value >= 0 else None
            for value, row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def interpretable(self, concept: str) -> int:
        """Return how many units are interpretable for the concept."""
        row = self.index(concept)
        return int(((self.iou[row] > MINIMUM_IOU) & (self.iqr[row] > MINIMUM_IQR)).sum())

    def interpretable_units(self) -> int:
        """Return how many units are interpretable for at least one concept."""
        return int(((self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)).any(dim=0).sum())

    def table(self) -> list[dict[str, Any]]:
        """List each concept's best unit with IoU and IQR, its interpretable units, and what edits cause."""
        best = self.iou.argmax(dim=1).tolist()
        return [
            {
                "concept": concept,
                "unit": unit,
                "iou": float(self.iou[row, unit]),
                "iqr": float(self.iqr[row, unit]),
                "interpretable": self.interpretable(concept),
                "added": float(self.effect[row, 0]),
                "removed": float(self.effect[row, 1]),
            }
            for row, (concept, unit) in enumerate(zip(self.concepts, best, strict=True))
        ]

    def quality(self, concept: str) -> float:
        """Return how well the generator knows the concept, 0 to 1: the mean effect of adding and removing."""
        return float(self.effect[self.index(concept)].mean().clamp(0, 1))

    def only(self, rows: Sequence[int]) -> Dissection:
        """Return the same for the concepts in some rows, in that order.

        Of parts that were discovered, all are needed for a picture, so what remains is an ordinary
        dissection.
        """
        chosen = list(rows)
        names = tuple(self.concepts[row] for row in chosen)
        tables = ("iou", "iqr", "present", "level", "weight", "effect", "threshold")
        parts: dict[str, Any] = {
            name: table[chosen] for name in tables if (table := getattr(self, name)) is not None
        }
        if self.exemplars is not None:
            parts["exemplars"] = Exemplars(*(table[chosen] for table in vars(self.exemplars).values()))
        colors = {name: self.colors[name] for name in names}
        return replace(self, concepts=names, colors=colors, **{"parts": None, **parts})

    def save(self, path: str | Path) -> None:
        """Write as safetensors, with names and colors in the metadata.

        Raises:
            ValueError: its parts do not fit together, or are not finite: it would not be read again.
            OSError: it cannot be written there.
        """
        self._check()
        # Copies, because safetensors refuses tables that share memory, as `present` and `level` may.
        tensors = {name: getattr(self, name).contiguous().clone() for name in TENSORS}
        if self.threshold is not None:
            tensors["threshold"] = self.threshold.contiguous()
        if self.exemplars is not None:
            tensors |= {f"exemplars.{name}": one.contiguous() for name, one in vars(self.exemplars).items()}
        meta: dict[str, Any] = {
            "layer": self.layer,
            "concepts": list(self.concepts),
            "colors": dict(self.colors),
            "samples": self.samples,
        }
        if self.parts is not None:
            packed, meta["parts"] = self.parts.packed()
            tensors |= {f"parts.{name}": one for name, one in packed.items()}
        if self.shaper is not None:
            packed, meta["shaper"] = self.shaper.packed()
            tensors |= {f"shaper.{name}": one for name, one in packed.items()}
        write_safetensors(Path(path), tensors, {"kind": "dissection", "config": json.dumps(meta)})

    @classmethod
    def load(cls, path: str | Path) -> Dissection:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        path = Path(path)
        tensors, config = read_safetensors(path, "dissection")

        def under(prefix: str) -> dict[str, Tensor]:
            found = [(name, one) for name, one in tensors.items() if name.startswith(prefix)]
            return {name.removeprefix(prefix): one for name, one in found}

        exemplars, parts, shaper = under("exemplars."), under("parts."), under("shaper.")
        try:
            found = cls(
                layer=config["layer"],
                concepts=tuple(config["concepts"]),
                colors=config["colors"],
                samples=config["samples"],
                exemplars=Exemplars.of(exemplars) if exemplars else None,
                parts=Parts.unpacked(parts, config["parts"]) if parts else None,
                shaper=Shaper.unpacked(shaper, config["shaper"]) if shaper else None,
                **{name: one.float() for name, one in tensors.items() if name in (*TENSORS, "threshold")},
            )
            found._check()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, "dissection", error) from error
        return found

    def _check(self) -> None:
        """Raise ValueError if the parts do not fit together. What is written is checked as what is read."""
        if not (type(self.layer) is str and type(self.samples) is int and self.iou.ndim == 2):
            raise ValueError("no layer, number of samples or table of units")
        concepts, units = self.iou.shape
        names = [*self.concepts]
        if len({*names}) != concepts or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{len(names)} names of {concepts} concepts")
        if not all(isinstance(self.colors.get(name), str) for name in names):
            raise ValueError("a concept without a color")
        table = (concepts, units)
        shapes = {"high": (units,), "weight": (concepts, 2, units), "effect": (concepts, 2)}
        for name in (*TENSORS, "threshold"):
            tensor = getattr(self, name)
            if tensor is None and name == "threshold":
                continue
            if tensor.shape != shapes.get(name, table):
                raise ValueError(f"{name} of the shape {tuple(tensor.shape)}")
            if not tensor.isfinite().all():
                raise ValueError(f"{name} with numbers that are not finite")
        if self.exemplars is not None:
            self.exemplars.check(concepts, units)
        if self.parts is not None:
            self.parts.check()
            if self.parts.classes != self.concepts or len(self.parts.evidence.high) != units:
                raise ValueError("parts that are not those of the concepts")
        if self.shaper is not None and self.shaper.units != units:
            raise ValueError(f"a shaper of {self.shaper.units} units")
