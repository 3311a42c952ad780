"""The demo world's model, from the weights that the package brings along."""

from __future__ import annotations

from functools import cache

from ..models.checkpoints import read_module
from ..models.initializer import Initializer
from ..models.model import Model
from ..models.reading import read_progan
from .outline import WEIGHTS


@cache
def load_demo() -> Model:
    """Return the demo world's model, read once per process; all its sessions share the weights."""
    from ..models.encoder import Encoder
    from ..models.units import Dissection
    from .gallery import SceneGallery
    from .segmenter import SceneSegmenter

    generator = read_progan(WEIGHTS / "generator.safetensors")
    encoder = read_module(WEIGHTS / "encoder.safetensors", "encoder", Encoder)
    segmenter = read_module(WEIGHTS / "segmenter.safetensors", "segmenter", SceneSegmenter)
    return Model(
        "demo",
        generator,
        encoder,
        Dissection.load(WEIGHTS / "dissection.safetensors"),
        SceneGallery(generator.resolution),
        segmenter,
        read_module(WEIGHTS / "initialiser.safetensors", "initialiser", Initializer),
    )
