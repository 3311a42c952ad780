"""A generator with its companions, and the protocols of these parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..deprecated import renamed_fields
from .generator import StagedGenerator, State
from .initializer import Initializer
from .networks import usable
from .parts import Parts
from .units import Dissection


class Gallery(Protocol):
    """Pictures of a generator's own world, to open without having a photo at hand.

    Asked from several threads: while one picture is opened, others may be looked at.
    """

    count: int

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Return picture ``index`` (0 to ``count`` - 1), uint8 R x R x 3."""
        ...

    def title(self, index: int) -> str:
        """Return a name for it, in a few words."""
        ...


class Segmenter(Protocol):
    """What dissection asks of a segmenter; any object with these two members is one.

    Attributes:
        classes: the names of the K classes.
    """

    classes: tuple[str, ...]

    def segment(self, pictures: Tensor) -> Tensor:
        """Label maps (B x H x W, whole numbers below K) of pictures B x 3 x H x W in [-1, 1]."""
        ...


@renamed_fields(initialiser="initializer")
@dataclass(frozen=True)
class Model:
    """A generator and its companions.

    Attributes:
        name: how users call it.
        generator: G.
        encoder: photo to latent and features (see ``method/inversion.py``); without one inversion searches.
        initializer: a first delta for the adaptation, which otherwise starts with zero.
        dissection: the units of each concept; a model without one cannot be painted with.
        gallery: pictures of its world, if there are any.
        segmenter: names the pixels of its pictures; without one, a restyle needs the region of its reference.
            Discovered concepts bring their own.
    """

    name: str
    generator: StagedGenerator
    encoder: nn.Module | None = None
    dissection: Dissection | None = None
    gallery: Gallery | None = None
    segmenter: Segmenter | None = None
    initializer: Initializer | None = None

    def __post_init__(self) -> None:
        own = None if self.dissection is None else self.dissection.parts
        # Parts see exactly the concepts that they belong to: other concepts bring other parts along.
        if own is not None and (self.segmenter is None or isinstance(self.segmenter, Parts)):
            object.__setattr__(self, "segmenter", own)

    def to(self, device: str | torch.device | None = None) -> Model:
        """Return the same model, ready for use on a device.

        Its networks are in float32, in evaluation mode and without gradients. Others are copied, because a
        user may go on training them. Latents are drawn on the CPU (:meth:`.StagedGenerator.sample_z`), and so
        are the same on every device.

        Args:
            device: by default, where the generator is.
        """
        # An index is added by torch: "cuda" and "cuda:0" are the same.
        where = (
            next(self.generator.parameters()).device
            if device is None
            else torch.empty(0, device=device).device
        )
        parts: dict[str, Any] = {name: usable(part, where) for name, part in vars(self).items()}
        if all(part is getattr(self, name) for name, part in parts.items()):
            return self
        return replace(self, **parts)

    @torch.no_grad()
    def first_delta(self, edited: State, x: Tensor, keep: Tensor) -> dict[str, Tensor] | None:
        """Predict where :func:`.adaptation.adapt` may ``start``, in one pass.

        Args:
            edited, x, keep: as there.

        Returns:
            The deltas; ``None`` without an initializer, and where it brings G(z_e) no nearer to the photo.
        """
        if self.initializer is None:
            return None
        deltas: dict[str, Tensor]
        deltas, adapted = self.initializer(self.generator, edited, x, keep)
        plain = self.generator.picture(self.generator.run(edited))
        before, after = (float(((one - x).square() * keep).sum()) for one in (plain, adapted))
        return deltas if after < before else None

    @torch.no_grad()
    def read(self, x: Tensor) -> tuple[Tensor, State]:
        """Return z of photos, and the state at the edit layer with the features that the encoder reads.

        Needs an encoder.

        Args:
            x: B x 3 x R x R in [-1, 1], on the generator's device.
        """
        assert self.encoder is not None
        z, features = self.encoder(x)
        state = self.generator.run(self.generator.start(z), until=self.generator.edit_layer)
        return z, state.replace(features)

    @torch.no_grad()
    def imagine(self, state: State, concept: str) -> tuple[Tensor, Tensor]:
        """Return the state of E(G(state)), the latent of G's picture: the same scene, as G knows it.

        Needs an encoder and a dissection.

        Args:
            state: at the edit layer.
            concept: what should not be in it.

        Returns:
            Features of the edit layer, B x C x H x W; and which of their cells are free of the concept,
            B x 1 x H x W, 0 or 1. The segmenter looks for it in their picture. Without one that knows it,
            the cells are free that are more like another concept.
        """
        assert self.encoder is not None and self.dissection is not None
        generator, segmenter = self.generator, self.segmenter
        z = self.encoder(generator.picture(generator.run(state)).clamp(-1, 1))[0]
        imagined = generator.run(generator.start(z), until=generator.edit_layer)
        features = imagined.features
        if segmenter is None or concept not in segmenter.classes:
            free = self.dissection.likest(features) != self.dissection.index(concept)
            return features, free[:, None].to(features)
        labels = segmenter.segment(generator.picture(generator.run(imagined)).float().clamp(-1, 1))
        there = (labels == segmenter.classes.index(concept)).to(features)[:, None]
        return features, 1 - F.adaptive_max_pool2d(there, features.shape[-2:])
