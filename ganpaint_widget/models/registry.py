"""A generator by its name, its file or itself, with what belongs to it: encoder, dissection, gallery."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cpus import follow_quota
from ..errors import GANPaintError
from ..storage import cache_folder, fingerprint, kind_of, read_plain
from ..storage import cached as in_cache
from . import progan, stylegan2
from .catalogue import CATALOGUE, DEFAULT_UNITS, Entry
from .checkpoints import checked_tensors, module_of, read_module, read_torch
from .download import by_hand, cached
from .encoder import Encoder
from .generator import StagedGenerator
from .initializer import Initializer
from .model import Model
from .progan import ProGAN
from .stylegan2 import StyleGAN2
from .units import Dissection

LOADERS = {"demo": "ganpaint_widget.demo.model:load_demo"}
"""Models that come whole, by name: the function that loads each, since it stands above this file."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".pkl")
"""Of files that may hold a generator."""


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
    if isinstance(generator, str) and generator in LOADERS:
        module, name = LOADERS[generator].split(":")
        made: Model = getattr(import_module(module), name)()
        return made
    if isinstance(generator, str) and generator in CATALOGUE:
        model = _with_encoder(_public(CATALOGUE[generator]))
        if model.encoder is None:
            model = replace(model, encoder=_published_encoder(CATALOGUE[generator], model.generator))
        return model
    path = Path(generator)
    if path.suffix in SUFFIXES and path.exists():
        found = read_generator(path)
        return _with_encoder(Model(path.stem, found, dissection=_measured(path, found)))
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


def initializer_file(generator: StagedGenerator) -> Path:
    """Where it puts the initializer that it trains for the same encoder."""
    return encoder_file(generator).with_suffix(".initialiser.safetensors")


def _with_encoder(model: Model) -> Model:
    """The model with what ``ganpaint train encoder`` has made for it, if it has."""
    if not (cache_folder() / "encoders").is_dir():  # a fingerprint takes a moment
        return model
    encoder = in_cache(encoder_file(model.generator), lambda path: read_module(path, "encoder", Encoder))
    if encoder is None:
        return model
    device = next(model.generator.parameters()).device
    own = initializer_file(model.generator)
    initializer = in_cache(own, lambda path: read_module(path, "initialiser", Initializer).to(device))
    return replace(model, encoder=encoder.to(device), initializer=initializer)


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
            return (
                read_module(path, "stylegan2", StyleGAN2.stored) if kind == "stylegan2" else read_progan(path)
            )
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
        generator.stage_index(entry.edit_layer)
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
            level[unit] = brush.activations[place]
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
