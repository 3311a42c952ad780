"""Naming the pixels of a picture.

A :class:`Segmenter` may be anything that gives label maps with names. For generators of photographs there is
an adapter to the scene-parsing models of ``transformers`` (SegFormer and its like) that know the 150 classes
of ADE20K: ``pip install ganpaint_widget[segmenter]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import GANPaintError

OTHER: Final = "other"
"""The class of all pixels that belong to no concept."""

ADE20K_CONCEPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "tree": ("tree", "palm", "plant"),
    "grass": ("grass", "field"),
    "door": ("door", "screen door"),
    "sky": ("sky",),
    "building": ("building", "house", "skyscraper", "hovel", "tower"),
    "wall": ("wall",),
    "window": ("windowpane", "window"),
    "mountain": ("mountain", "hill", "rock"),
    "water": ("water", "sea", "river", "lake"),
    "road": ("road", "sidewalk", "path", "earth"),
    "person": ("person",),
    "car": ("car",),
    "bed": ("bed",),
    "chair": ("chair", "armchair", "swivel chair"),
    "table": ("table", "coffee table", "desk"),
    "curtain": ("curtain", "blind"),
    "lamp": ("lamp", "chandelier", "sconce"),
    "painting": ("painting",),
    "sofa": ("sofa",),
    "floor": ("floor", "rug"),
    "ceiling": ("ceiling",),
}
"""The brushes, and the classes of ADE20K that each stands for. ADE20K names no cloud, dome or brick: those
published brushes come from another set of labels and cannot be measured with these models."""


class ADE20KSegmenter(nn.Module):
    """A semantic segmentation model of ``transformers`` as a segmenter of brushes.

    Its classes are matched with the concepts by name (a class may list synonyms, "door;double door"); what
    belongs to none is :data:`OTHER`. Concepts of which the model knows no class are left out.

    Args:
        model: a ``SegformerForSemanticSegmentation`` or another model that returns ``logits``,
            B x L x h x w, and whose ``config.id2label`` names the L classes.
        concepts: brush to names of classes.
        size: pixels a side that the model sees; its published size is 512. Smaller is quicker.

    Attributes:
        classes: the brushes, in the order of ``concepts``, and :data:`OTHER` at the end.

    Raises:
        GANPaintError: the model knows none of the concepts.
    """

    MEAN: Final = (0.485, 0.456, 0.406)
    DEVIATION: Final = (0.229, 0.224, 0.225)
    """Of ImageNet's pictures in [0, 1], by which the models' inputs are normalized."""

    member: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self, model: nn.Module, concepts: Mapping[str, tuple[str, ...]] = ADE20K_CONCEPTS, size: int = 512
    ) -> None:
        super().__init__()
        self.model = model
        self.size = size
        config: Any = model.config
        labels: dict[int, str] = {int(index): str(name) for index, name in config.id2label.items()}
        known = {
            index: {part.strip().lower() for part in name.replace(",", ";").split(";")}
            for index, name in labels.items()
        }
        found = {
            concept: [index for index, names in known.items() if names & set(classes)]
            for concept, classes in concepts.items()
        }
        found = {concept: indices for concept, indices in found.items() if indices}
        if not found:
            raise GANPaintError(
                "The segmentation model does not know any of the concepts.",
                "Pass a model trained on ADE20K, or your own table of concepts.",
            )
        self.classes = (*found, OTHER)
        # Which class belongs to which brush; each to one, the first that claims it.
        member = torch.full((max(labels) + 1,), len(found))
        for row, indices in reversed(list(enumerate(found.values()))):
            member[indices] = row
        self.register_buffer("member", member, persistent=False)
        for name, values in (("mean", self.MEAN), ("deviation", self.DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the model's own logits, B x L x h x w, of pictures B x 3 x H x W in [-1, 1]."""
        resized = F.interpolate(
            pictures, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        )
        normalized = ((resized + 1) / 2 - self.mean) / self.deviation
        logits: Tensor = self.model(pixel_values=normalized).logits
        return logits

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits of the brushes, B x K x H x W: the log of each brush's share of the classes' odds."""
        logits = F.interpolate(
            self.logits(pictures), size=pictures.shape[-2:], mode="bilinear", align_corners=False
        )
        parts = [logits[:, self.member == row] for row in range(len(self.classes))]
        lowest = torch.full_like(logits[:, :1], -1e4)  # no class is left over for OTHER
        return torch.stack([torch.cat([part, lowest], 1).logsumexp(1) for part in parts], dim=1)

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        """Label maps (B x H x W, int64 below K) of pictures B x 3 x H x W in [-1, 1].

        A pixel gets the brush of its likeliest class, at the picture's own size.
        """
        logits = F.interpolate(
            self.logits(pictures), size=pictures.shape[-2:], mode="bilinear", align_corners=False
        )
        labels: Tensor = self.member[logits.argmax(dim=1)]
        return labels


def ade20k(
    model: str | Path = "nvidia/segformer-b0-finetuned-ade-512-512", size: int = 512
) -> ADE20KSegmenter:
    """Return the adapter around a model of the Hugging Face hub or of a local folder.

    Args:
        model: its name or folder. Only safetensors weights are read, and no code of the model's own.
        size: see :class:`ADE20KSegmenter`.

    Raises:
        GANPaintError: ``transformers`` is not installed, or the model cannot be had.
    """
    try:
        from transformers import AutoModelForSemanticSegmentation
    except ImportError as error:
        raise GANPaintError(
            "Segmenting photographs needs the package transformers.",
            "Run `pip install transformers`.",
        ) from error
    from .download import offline

    try:
        found = AutoModelForSemanticSegmentation.from_pretrained(
            model, use_safetensors=True, trust_remote_code=False, local_files_only=offline()
        )
    except (OSError, ValueError) as error:
        raise GANPaintError(
            f"The segmentation model {str(model)!r} cannot be loaded: {str(error).splitlines()[0]}",
            "Pass the folder of a model that is on this machine.",
        ) from error
    return ADE20KSegmenter(found, size=size)
