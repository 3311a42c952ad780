"""A generator by its name, its file or itself, with what belongs to it: encoder, dissection, gallery."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..cpus import follow_quota
from ..errors import GANPaintError
from ..initialiser import Initialiser
from . import progan, stylegan2
from .catalogue import CATALOGUE, Entry
from .checkpoints import (
    checked_tensors,
    fingerprint,
    kind_of,
    module_of,
    read_module,
    read_plain,
    read_torch,
)
from .fetch import by_hand, cache_folder, cached
from .progan import ProGAN
from .staged import StagedGenerator, State
from .stylegan2 import StyleGAN2

if TYPE_CHECKING:
    from ..dissection import Dissection
    from ..segmentation import Segmenter

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".pkl")
"""Of files that may hold a generator."""

TELLING = 8
"""How many of a concept's best units tell whether a picture shows it."""

WEIGHTS = Path(__file__).parent.parent / "demo" / "weights"


class Gallery(Protocol):
    """Pictures of a generator's own world, to open without having a photo at hand.

    Asked from several threads: while one picture is opened, others may be looked at.
    """

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
        initialiser: a first delta for the adaptation; without one that begins with none.
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
    initialiser: Initialiser | None = None

    def to(self, device: str | torch.device) -> Model:
        """The same model on a device; its networks are copied, unless they are there already.

        Latents are drawn on the CPU (:meth:`.StagedGenerator.sample_z`), and so are the same on every device.
        """
        if next(self.generator.parameters()).device == torch.device(device):
            return self
        networks: dict[str, Any] = {
            name: deepcopy(network).to(device)
            for name, network in vars(self).items()
            if isinstance(network, nn.Module)
        }
        return replace(self, **networks)

    @torch.no_grad()
    def first_delta(self, edited: State, x: Tensor, keep: Tensor) -> dict[str, Tensor] | None:
        """Where :func:`.adaptation.adapt` may ``start``, in one pass; ``None`` without an initialiser.

        Args:
            edited, x, keep: as there.
        """
        if self.initialiser is None:
            return None
        deltas: dict[str, Tensor] = self.initialiser(self.generator, edited, x, keep)[0]
        return deltas

    @torch.no_grad()
    def imagine(self, state: State, concept: str) -> tuple[Tensor, Tensor]:
        """What G draws from the latent of G's picture of a state, E(G(state)): the same scene, as G knows it.

        Needs an encoder and a dissection.

        Args:
            state: at the edit layer.
            concept: what should not be in it.

        Returns:
            Features of the edit layer, B x C x H x W; and how far each of their cells is free of the concept,
            B x 1 x H x W: 1 where none of its best ``TELLING`` units is on, 0 where half of them are.
        """
        assert self.encoder is not None and self.dissection is not None
        generator = self.generator
        z = self.encoder(generator.picture(generator.run(state)).clamp(-1, 1))[0]
        features = generator.run(generator.start(z), until=generator.edit_layer).features
        on = self.dissection.on(concept, features, TELLING).float().mean(dim=1, keepdim=True)
        return features, (1 - 2 * on).clamp_min(0)


def load(generator: str | Path | StagedGenerator | Model) -> Model:
    """The model that a user named, passed or stored.

    Args:
        generator: ``"demo"``, a name of the :data:`.catalogue.CATALOGUE` whose file has been fetched, the
            path of a file for :func:`read_generator`, a :class:`StagedGenerator`, or a :class:`Model`, which
            is returned as it is. Others come with the encoder of :func:`encoder_file`, if it was trained; the
            church and bedroom ProGANs otherwise with the published one, if its file is in the cache. Those
            that are read from a file come with its :func:`dissection_file`.

    Raises:
        GANPaintError: there is no such generator, its file is damaged or not in the cache yet.
    """
    follow_quota()
    if isinstance(generator, Model):
        return generator
    if isinstance(generator, StagedGenerator):
        return _with_encoder(Model(type(generator).__name__, generator))
    if generator == "demo":
        return _demo()
    if isinstance(generator, str) and generator in CATALOGUE:
        model = _with_encoder(_public(CATALOGUE[generator]))
        if model.encoder is None:
            model = replace(model, encoder=_published_encoder(CATALOGUE[generator], model.generator))
        return model
    path = Path(generator)
    if path.suffix in SUFFIXES and path.exists():
        made = read_generator(path)
        return _with_encoder(Model(path.stem, made, dissection=_measured(path, made)))
    raise GANPaintError(
        f"There is no generator {str(generator)!r}.",
        'Use "demo", a public model (`ganpaint fetch --list`), the path of a generator\'s file, or a '
        "StagedGenerator.",
    )


def dissection_file(path: Path) -> Path:
    """Beside a generator's file: where ``ganpaint dissect`` puts what it has measured of it."""
    return path.with_suffix(".dissection.safetensors")


def _measured(path: Path, generator: StagedGenerator) -> Dissection | None:
    """The dissection of the generator in a file, if it was measured. GANPaintError if it is another's."""
    from ..dissection import Dissection

    own = dissection_file(path)
    if not own.is_file():
        return None
    found = Dissection.load(own)
    if found.layer not in generator.stages or found.iou.shape[1] != generator.shape(found.layer)[0]:
        raise GANPaintError(
            f"The dissection {own.name} is not of the generator in {path.name}.",
            "Measure it again with `ganpaint dissect`, or take it away.",
        )
    return found


def encoder_file(generator: StagedGenerator) -> Path:
    """Where in the cache ``ganpaint train encoder`` puts the encoder for a generator's weights."""
    return cache_folder() / "encoders" / f"{fingerprint(generator)}.safetensors"


def initialiser_file(generator: StagedGenerator) -> Path:
    """Where it puts the initialiser that it trains for the same encoder."""
    return encoder_file(generator).with_suffix(".initialiser.safetensors")


def _with_encoder(model: Model) -> Model:
    """The model with what ``ganpaint train encoder`` has made for it, if it has."""
    from ..demo.encoder import Encoder

    if not (cache_folder() / "encoders").is_dir():  # a fingerprint takes a moment
        return model
    path = encoder_file(model.generator)
    if not path.is_file():
        return model
    device = next(model.generator.parameters()).device
    encoder = read_module(path, "encoder", Encoder).to(device)
    own = initialiser_file(model.generator)
    initialiser = read_module(own, "initialiser", Initialiser).to(device) if own.is_file() else None
    return replace(model, encoder=encoder, initialiser=initialiser)


def load_generator(generator: str | Path | StagedGenerator) -> StagedGenerator:
    """The generator of :func:`load`."""
    return load(generator).generator


def read_progan(path: Path) -> ProGAN:
    """A ProGAN from a safetensors file with its configuration in the metadata."""
    return read_module(path, "generator", ProGAN)


def read_generator(path: Path) -> StagedGenerator:
    """A ProGAN or a StyleGAN2 from a file of any layout that public checkpoints have.

    safetensors files say themselves what they hold (``ganpaint train`` and ``ganpaint convert`` write them).
    Of PyTorch files, and of safetensors files of others, the tensors' names and shapes tell the architecture
    and its size: :func:`.progan.public_state_dict` has the names of ProGAN, :mod:`.stylegan2` has those of
    StyleGAN2, wrapped as ``{"g_ema": ..., "latent_avg": ...}`` or not.

    Raises:
        GANPaintError: the file is damaged, or no such generator, or would have to be converted first.
    """
    if path.suffix == ".pkl":
        raise GANPaintError(
            f"The file {path.name} is a pickle, which could run code when it is read.",
            f"Convert it first, which runs none: ganpaint convert {path.name}",
        )
    if path.suffix == ".safetensors":
        kind = kind_of(path)
        if kind is not None:
            return read_module(path, "stylegan2", StyleGAN2) if kind == "stylegan2" else read_progan(path)
        content: dict[str, Any] = dict(read_plain(path))
    else:
        content = read_torch(path)
    for wrapper in ("g_ema", "state_dict"):
        if isinstance(content.get(wrapper), dict):
            mean = content.get("latent_avg")
            content = {**content[wrapper], **({"latent_avg": mean} if mean is not None else {})}
            break
    tensors = checked_tensors(content, path)
    if "conv1.conv.modulation.weight" in tensors:
        return _stylegan2(path, tensors)
    try:
        state = progan.public_state_dict(tensors)
        config = progan.config_of(state)
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise GANPaintError(
            f"The tensors in {path.name} are no ProGAN's and no StyleGAN2's.",
            "Load the network yourself and wrap it as a StagedGenerator; docs/bring_a_gan.md shows how.",
        ) from error
    return module_of(path, ProGAN, config, state)


def _stylegan2(path: Path, tensors: dict[str, Tensor]) -> StyleGAN2:
    """A StyleGAN2 from its state dict; what a bare one lacks is filled in."""
    try:
        config = stylegan2.config_of(tensors)
    except (KeyError, IndexError) as error:
        raise GANPaintError(
            f"The StyleGAN2 in {path.name} is not complete.", "Get the file from its source again."
        ) from error
    mean = tensors.pop("latent_avg", None)
    style_size = config["style_size"]
    assert isinstance(style_size, int)
    known = torch.zeros(style_size) if mean is None else mean.flatten()
    found = module_of(path, StyleGAN2, config, {**tensors, "latent_avg": known})
    if mean is None:
        found.estimate_mean()
    return found


def _public(entry: Entry) -> Model:
    """A public model from the cache, with what is known of its units."""
    path = cached(entry)
    if path is None:
        raise GANPaintError(
            f"The public model {entry.name!r} is not in the cache yet.",
            f"Run `ganpaint fetch {entry.name}`, or do by hand: {by_hand(entry)}",
        )
    changed = [one.stat().st_mtime_ns for one in (path, dissection_file(path)) if one.is_file()]
    return _read_public(entry.name, path, *changed)


@lru_cache(maxsize=2)
def _read_public(name: str, path: Path, *_changed: int) -> Model:
    """The model in a file, read once a process for all sessions that edit it."""
    entry = CATALOGUE[name]
    generator = read_generator(path)
    if entry.edit_layer is not None and entry.edit_layer != generator.edit_layer:
        generator.position(entry.edit_layer)
        generator.edit_layer = entry.edit_layer
    dissection = _measured(path, generator)
    if dissection is None and entry.brushes:
        dissection = published(entry)
    return Model(name, generator, dissection=dissection)


def _published_encoder(entry: Entry, generator: StagedGenerator) -> nn.Module | None:
    """The encoder that was published for a model, if a user has put its file into the cache."""
    path = cache_folder() / entry.encoder if entry.encoder else None
    if path is None or not path.is_file():
        return None
    from .hybrid_encoder import read_hybrid_encoder

    encoder = read_hybrid_encoder(path)
    if encoder.shape != (generator.shape(generator.edit_layer)[0], generator.latent_size):
        raise GANPaintError(
            f"The encoder {path.name} does not fit the generator {entry.name!r}.",
            f"Get it from its source again, or take it away from {path.parent}.",
        )
    return encoder


def published(entry: Entry) -> Dissection:
    """An entry's published units in the form of a dissection.

    Only what was published is in it. The table ``iou`` holds the published scores, by which units are ranked
    (for some brushes they are causal effects; ties keep the published order), and 0 for all others. Levels
    are the units' 0.99 quantiles for every kind of target. Adding and removing take the best units alike;
    artifact units take no part. ``effect`` has the published effect of removal, and the same for addition,
    where there is one, else 0.
    """
    from ..dissection import Dissection
    from ..editing import DEFAULT_UNITS

    concepts = tuple(entry.brushes)
    score = torch.zeros(len(concepts), entry.channels)
    level = torch.zeros(entry.channels)
    weight = torch.zeros(len(concepts), 2, entry.channels)
    effect = torch.zeros(len(concepts), 2)
    for row, brush in enumerate(entry.brushes.values()):
        taken = [place for place, unit in enumerate(brush.units) if unit not in entry.artifact_units]
        for rank, place in enumerate(taken):
            unit = brush.units[place]
            score[row, unit] = brush.scores[place] * (1 - 1e-5 * rank)
            level[unit] = brush.levels[place]
            if rank < DEFAULT_UNITS:
                weight[row, :, unit] = 1
        if brush.removed is not None:
            effect[row] = brush.removed
    return Dissection(
        layer=str(entry.edit_layer),
        concepts=concepts,
        iou=score,
        iqr=torch.zeros_like(score),
        high=level,
        present=level.expand(len(concepts), -1).clone(),
        level=level.expand(len(concepts), -1).clone(),
        weight=weight,
        effect=effect,
        colors={name: brush.color for name, brush in entry.brushes.items()},
        samples=0,
    )


@cache
def _demo() -> Model:
    """The demo world's model, read once a process: everybody who edits it shares its weights."""
    from ..demo.encoder import Encoder
    from ..demo.gallery import SceneGallery
    from ..demo.segmenter import SceneSegmenter
    from ..dissection import Dissection

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
        read_module(WEIGHTS / "initialiser.safetensors", "initialiser", Initialiser),
    )
