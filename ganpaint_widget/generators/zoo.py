"""Which generators there are, and what belongs to each: encoder, dissection, gallery."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from ..errors import GANPaintError
from .checkpoints import load_weights, read_safetensors
from .progan import ProGAN
from .staged import StagedGenerator

if TYPE_CHECKING:
    from ..dissection import Dissection
    from ..segmentation import Segmenter

WEIGHTS = Path(__file__).parent.parent / "demo" / "weights"


class Gallery(Protocol):
    """Pictures of a generator's own world, to open without having a photo at hand."""

    count: int

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """Picture ``index`` (0 to ``count`` - 1): uint8 R x R x 3."""
        ...

    def title(self, index: int) -> str:
        """What to call it, in a few words."""
        ...


@dataclass(frozen=True)
class Model:
    """A generator and what was made for it.

    Attributes:
        name: how users call it.
        generator: G.
        encoder: photo to latent and features (see ``inversion.py``); without one inversion searches.
        dissection: which units draw which concept; without one nothing can be painted.
        gallery: pictures of its world, if there are any.
        segmenter: names the pixels of its pictures; without one, a restyle needs the region of its reference.
    """

    name: str
    generator: StagedGenerator
    encoder: nn.Module | None = None
    dissection: Dissection | None = None
    gallery: Gallery | None = None
    segmenter: Segmenter | None = None


def load(generator: str | Path | StagedGenerator | Model) -> Model:
    """The model that a user named, passed or stored.

    Args:
        generator: ``"demo"``, the path of a safetensors file that ``ganpaint train`` wrote, a
            :class:`StagedGenerator`, or a :class:`Model`, which is returned as it is.

    Raises:
        GANPaintError: there is no such generator, or its file is damaged.
    """
    if isinstance(generator, Model):
        return generator
    if isinstance(generator, StagedGenerator):
        return Model(type(generator).__name__, generator)
    if generator == "demo":
        return _demo()
    path = Path(generator)
    if path.suffix == ".safetensors" and path.exists():
        return Model(path.stem, read_progan(path))
    raise GANPaintError(
        f"There is no generator {str(generator)!r}.",
        'Use "demo", the path of a generator\'s safetensors file, or an object of StagedGenerator.',
    )


def load_generator(generator: str | Path | StagedGenerator) -> StagedGenerator:
    """The generator of :func:`load`."""
    return load(generator).generator


def read_progan(path: Path) -> ProGAN:
    """A ProGAN from a safetensors file with its configuration in the metadata."""
    tensors, config = read_safetensors(path, "generator")
    generator = ProGAN(**config)
    load_weights(generator, tensors, path.name)
    return generator


@cache
def _demo() -> Model:
    """The demo world's model, read once a process: everybody who edits it shares its weights."""
    from ..demo.encoder import Encoder
    from ..demo.gallery import SceneGallery
    from ..demo.segmenter import SceneSegmenter
    from ..dissection import Dissection

    generator = read_progan(WEIGHTS / "generator.safetensors")
    tensors, config = read_safetensors(WEIGHTS / "encoder.safetensors", "encoder")
    encoder = Encoder(**config)
    load_weights(encoder, tensors, "encoder.safetensors")
    tensors, config = read_safetensors(WEIGHTS / "segmenter.safetensors", "segmenter")
    segmenter = SceneSegmenter(tuple(config["classes"]), tuple(config["widths"]))
    load_weights(segmenter, tensors, "segmenter.safetensors")
    return Model(
        "demo",
        generator,
        encoder,
        Dissection.load(WEIGHTS / "dissection.safetensors"),
        SceneGallery(generator.resolution),
        segmenter,
    )
