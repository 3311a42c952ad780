"""What is known of a layer's units: which of them draw which concept, and how well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import GANPaintError
from ..storage import read_safetensors, write_safetensors

MINIMUM_IOU, MINIMUM_IQR = 0.05, 0.01
"""From here on a unit is called interpretable (published for GANs)."""

TENSORS = ("iou", "iqr", "high", "present", "level", "weight", "effect")

MEASURED = ("add", "remove")
"""The verbs whose weights and effects are measured, in the order of the tables."""


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
        level: K x C, the activation that an addition aims at; :func:`.measure.dissect` takes ``present``,
            :func:`.tune` improves on it.
        weight: K x 2 x C in [0, 1], how far each unit takes part in adding and in removing;
            :func:`.measure.dissect` takes 1 for the concept's best units, :func:`.tune` improves on it.
        effect: K x 2, the shares of a painted patch that turn into the concept when it is added at a likely
            place, and that cease to be it when it is removed; see :func:`.causal_effect`.
        colors: concept to "#rrggbb".
        samples: how many generated pictures were measured.
        threshold: K x C, the activation above which a pair's IoU counts a unit as on; ``None`` where that is
            not known (published units, files of earlier versions).
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

    def index(self, concept: str) -> int:
        """The row of a concept; an unknown one raises and lists the known ones."""
        try:
            return self.concepts.index(concept)
        except ValueError:
            raise GANPaintError(
                f"This generator does not know the concept {concept!r}.",
                f"Choose one of: {', '.join(self.concepts)}.",
            ) from None

    def target(self, concept: str, by: str = "tuned") -> Tensor:
        """C activations that an addition aims at, by one of ``editing.TARGETS``."""
        row = self.index(concept)
        return {"tuned": self.level[row], "quantile": self.high, "mean": self.present[row]}[by]

    def weights(self, concept: str, verb: str) -> Tensor:
        """C values in [0, 1]: how far each unit takes part in an edit.

        Restyling takes the weights of adding: both put an activation in place of another.
        """
        return self.weight[self.index(concept), MEASURED.index("remove" if verb == "remove" else "add")]

    def units(self, concept: str, count: int) -> Tensor:
        """The ``count`` best units of a concept, best IoU first (int64)."""
        return self.iou[self.index(concept)].argsort(descending=True)[:count]

    def on(self, concept: str, features: Tensor, count: int) -> Tensor:
        """Where the ``count`` best units of a concept are on: B x C x H x W to boolean B x count x H x W.

        A unit is on above its threshold; where that is not known, above its mean where the concept is.
        """
        units, row = self.units(concept, count), self.index(concept)
        least = self.present if self.threshold is None else self.threshold
        return features[:, units] > least[row, units].to(features).view(1, -1, 1, 1)

    def labels(self) -> list[str | None]:
        """Each unit's concept: that of its best IoU among those for which it is interpretable, if any."""
        known = (self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)
        best = torch.where(known, self.iou, torch.full_like(self.iou, -1)).max(dim=0)
        return [
            self.concepts[row] if value >= 0 else None
            for value, row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def interpretable(self, concept: str) -> int:
        """How many units are interpretable for the concept."""
        row = self.index(concept)
        return int(((self.iou[row] > MINIMUM_IOU) & (self.iqr[row] > MINIMUM_IQR)).sum())

    def interpretable_units(self) -> int:
        """How many units are interpretable for at least one concept."""
        return int(((self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)).any(dim=0).sum())

    def table(self) -> list[dict[str, Any]]:
        """For each concept: its best unit with IoU and IQR, how many are interpretable, what edits cause."""
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
        """How well the generator knows the concept, 0 to 1: the mean of adding's and removing's effect."""
        return float(self.effect[self.index(concept)].mean().clamp(0, 1))

    def save(self, path: Path) -> None:
        """Write as safetensors, with names and colors in the metadata."""
        tensors = {name: getattr(self, name).contiguous() for name in TENSORS}
        if self.threshold is not None:
            tensors["threshold"] = self.threshold.contiguous()
        meta = {
            "layer": self.layer,
            "concepts": list(self.concepts),
            "colors": dict(self.colors),
            "samples": self.samples,
        }
        write_safetensors(path, tensors, {"kind": "dissection", "config": json.dumps(meta)})

    @classmethod
    def load(cls, path: Path) -> Dissection:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        tensors, config = read_safetensors(path, "dissection")
        return cls(
            layer=config["layer"],
            concepts=tuple(config["concepts"]),
            colors=config["colors"],
            samples=config["samples"],
            **{name: one.float() for name, one in tensors.items() if name in (*TENSORS, "threshold")},
        )
