"""A generator by its name, its file or itself, with what belongs to it: encoder, dissection, gallery."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cpus import follow_quota
from ..errors import GANPaintError, kind_of
from ..images.sources import refuse_address
from ..storage import cache_folder, explained_writing, fingerprint
from ..storage import cached as in_cache
from .catalogue import CATALOGUE, DEFAULT_UNITS, Entry
from .checking import declared, is_own, unwrapped
from .checkpoints import read_module
from .download import by_hand, cached
from .encoder import Encoder
from .generator import StagedGenerator
from .initializer import Initializer
from .layouts import WRAP
from .model import Model
from .reading import generator_of, read_generator
from .units import Dissection

LOADERS = {"demo": "ganpaint_widget.demo.model:load_demo"}
"""Models that come whole, by name: the function that loads each, since it stands above this file."""

Source = str | Path | StagedGenerator | Model | nn.Module | Mapping[str, Any]
"""Of what :func:`load` makes a model."""


def load(generator: Source) -> Model:
    """Return the model for a name, a path or an object.

    Args:
        generator: ``"demo"``, a name of the :data:`.catalogue.CATALOGUE` whose file has been fetched, the
            name of one that ``ganpaint train generator`` has made, or its folder, the path of a file for
            :func:`.reading.read_generator`, a :class:`StagedGenerator`, or a
            :class:`Model`, which is returned as it is or with the concepts of :func:`discovery_file`. A
            module of another kind, or its state dict, is read if it is of a public layout
            (:func:`.reading.generator_of`). Others come with the encoder of :func:`encoder_file`, if it was
            trained, and those without a dissection with the concepts of :func:`discovery_file`, if some were
            found; the church and bedroom ProGANs otherwise with the published encoder, if its file is in the
            cache. Those that are read from a file come with its :func:`dissection_file`.

    Raises:
        GANPaintError: the generator does not exist, its file is damaged or not in the cache yet, or it is an
            object whose attributes do not fit together (:func:`.checking.declared`).
    """
    follow_quota()
    if isinstance(generator, Model):
        found = declared(generator)
        return _with_discovery(
            generator if found is generator.generator else replace(generator, generator=found)
        )
    if isinstance(unwrapped(generator), StagedGenerator):
        found = declared(generator)
        return _with_made(Model(type(found).__name__, found))
    if isinstance(generator, str) and generator in LOADERS:
        module, name = LOADERS[generator].split(":")
        made: Model = getattr(import_module(module), name)()
        return made
    if isinstance(generator, str) and generator in CATALOGUE:
        model = _with_made(_public(CATALOGUE[generator]))
        if model.encoder is None:
            model = replace(model, encoder=_published_encoder(CATALOGUE[generator], model.generator))
        return model
    if (folder := trained_at(generator)) is not None:
        return _trained(folder)
    if isinstance(generator, nn.Module | Mapping):
        return _with_made(_of_module(generator))
    if not isinstance(generator, str | Path):
        raise GANPaintError(f"{kind_of(generator)} is not a generator.", _USE)
    if not str(generator).strip():
        raise GANPaintError("The generator's name is empty.", _USE)
    refuse_address(str(generator), "Download the file first, or run `ganpaint fetch` for a public model.")
    path = Path(generator).expanduser()
    if not path.exists():
        looks_like_a_file = path.suffix != "" or len(path.parts) > 1
        what = "file" if looks_like_a_file else "generator"
        raise GANPaintError(f"The {what} {str(generator)!r} does not exist.", _USE)
    found = read_generator(path)
    return _with_made(Model(path.stem, found, dissection=_measured(path, found)))


def _with_made(model: Model) -> Model:
    """Return the model with what this package has made for its weights on this machine."""
    return _with_discovery(_with_encoder(model))


def trained_folder(name: str) -> Path:
    """Return where in the cache ``ganpaint train generator`` keeps the model of a name.

    Raises:
        GANPaintError: the name has more than letters, digits, dots, dashes and underscores, or another model
            has it.
    """
    if not _is_name(name):
        raise GANPaintError(
            f"A trained generator cannot be called {name!r}.",
            "Choose a name of letters, digits, dots, dashes and underscores that no other model has.",
        )
    return cache_folder() / "generators" / name


def trained_at(generator: object) -> Path | None:
    """Return the folder of ``ganpaint train generator`` that a name or a path means; ``None`` for others."""
    if isinstance(generator, str) and _is_name(generator) and trained_folder(generator).is_dir():
        return trained_folder(generator)
    if not isinstance(generator, str | Path) or not str(generator).strip():
        return None
    path = Path(generator).expanduser()
    made = (path / "generator.safetensors").is_file() or (path / "training").is_dir()
    return path if made else None


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\w[\w.-]{0,79}", name) is not None and name not in LOADERS and name not in CATALOGUE


def _trained(folder: Path) -> Model:
    """Return the model in a folder of ``ganpaint train generator``."""
    file = folder / "generator.safetensors"
    if not file.is_file():
        raise GANPaintError(
            f"The folder {str(folder)!r} holds no finished generator.",
            "Run `ganpaint train generator` again, or pass a generator's file.",
        )
    generator = read_generator(file)
    parts: dict[str, Any] = {}
    for part, name, make in (("encoder", "encoder", Encoder), ("initializer", "initialiser", Initializer)):
        path = folder / f"{name}.safetensors"
        if path.is_file():
            parts[part] = read_module(path, name, make)
    return _with_discovery(Model(folder.name, generator, dissection=_measured(file, generator), **parts))


_USE = (
    'Use "demo", a public model (`ganpaint fetch --list`), the name or folder of a trained generator, '
    "a file, or a StagedGenerator."
)


def _of_module(generator: nn.Module | Mapping[str, Any]) -> Model:
    """Wrap another author's module, or its state dict, if it has a public layout."""
    name = type(generator).__name__
    content = generator.state_dict() if isinstance(generator, nn.Module) else generator
    content = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in content.items()}
    try:
        return Model(name, generator_of(content, name))
    except GANPaintError as error:
        raise GANPaintError(f"The {name} is not a StagedGenerator. {error.message}", WRAP) from error


def dissection_file(path: Path) -> Path:
    """Return where, beside a generator's file, ``ganpaint dissect`` puts what it has measured of it."""
    return path.with_suffix(".dissection.safetensors")


def _measured(path: Path, generator: StagedGenerator) -> Dissection | None:
    """Return the dissection kept beside a file, if any. GANPaintError if it belongs to another generator."""
    own = dissection_file(path)
    if not own.is_file():
        return None
    found = Dissection.load(own)
    if found.layer not in generator.stages or found.iou.shape[1] != generator.shape(found.layer)[0]:
        raise GANPaintError(
            f"The dissection {own.name} is not of the generator in {path.name}.",
            "Measure it again with `ganpaint dissect`, or delete it.",
        )
    return found


def encoder_file(generator: StagedGenerator) -> Path:
    """Return where in the cache ``ganpaint train encoder`` puts the encoder for a generator's weights."""
    return cache_folder() / "encoders" / f"{fingerprint(generator)}.safetensors"


def initializer_file(generator: StagedGenerator) -> Path:
    """Return where it puts the initializer that it trains for the same encoder."""
    return encoder_file(generator).with_suffix(".initialiser.safetensors")


def discovery_file(generator: StagedGenerator) -> Path:
    """Return where in the cache an editor puts the concepts that it has found at a generator's edit layer."""
    return _discovery_files(generator)[0]


def _discovery_files(generator: StagedGenerator) -> tuple[Path, Path]:
    """Return :func:`discovery_file`, and that of earlier versions, which had one for all layers."""
    weights, layer = fingerprint(generator), re.sub(r"\W", "_", generator.edit_layer)[:80]
    names = f"{_identity(generator, weights)}-{layer}", weights
    new, old = (cache_folder() / "discoveries" / f"{name}.safetensors" for name in names)
    return new, old


def _identity(generator: StagedGenerator, weights: str) -> str:
    """Hash what a generator draws with: its weights, and the class and plain attributes of a user's wrapper.

    Two wrappers of one network may draw different worlds, for example two classes of a conditional GAN.
    """
    if is_own(generator):
        return weights
    # The edit layer has a part of the file's name for itself, and the fine layers follow from it.
    besides = ("training", "edit_layer", "fine_layers")
    plain = {
        name: value
        for name, value in sorted(vars(generator).items())
        if not name.startswith("_") and name not in besides and _is_plain(value)
    }
    return hashlib.sha256(f"{weights} {type(generator).__qualname__} {plain}".encode()).hexdigest()


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def keep_discovery(generator: StagedGenerator, dissection: Dissection) -> None:
    """Keep discovered concepts, with their names, where :func:`load` finds them from then on.

    Raises:
        GANPaintError: the cache cannot be written.
    """
    path = discovery_file(generator)
    with explained_writing("The file of found concepts", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        dissection.save(path)


def _with_discovery(model: Model) -> Model:
    """Return the model with the concepts that were discovered for it, if it has no others.

    Those that it came with may have been renamed, merged or hidden since: then what was kept is newer.
    """
    own, generator = model.dissection, model.generator
    discovered = own is not None and own.parts is not None
    if (own is not None and not discovered) or not (cache_folder() / "discoveries").is_dir():
        return model
    for path in _discovery_files(generator):
        kept = in_cache(path, Dissection.load)
        if kept is not None and kept.layer == generator.edit_layer:
            fits = own is None or own.same_clusters(kept)
            return replace(model, dissection=kept) if fits else model
    return model


def _with_encoder(model: Model) -> Model:
    """Return the model with the encoder and initializer of ``ganpaint train encoder``, if there are any."""
    if not (cache_folder() / "encoders").is_dir():  # a fingerprint takes a moment
        return model
    encoder = in_cache(encoder_file(model.generator), lambda path: read_module(path, "encoder", Encoder))
    if encoder is None:
        return model
    device = next(model.generator.parameters()).device
    own = initializer_file(model.generator)
    initializer = in_cache(own, lambda path: read_module(path, "initialiser", Initializer).to(device))
    return replace(model, encoder=encoder.to(device), initializer=initializer)


def load_generator(generator: Source, *, truncation_psi: float | None = None) -> StagedGenerator:
    """Return the generator for a name, a file or an object.

    Args:
        generator: as for :func:`load`.
        truncation_psi: as in :meth:`.StagedGenerator.truncated`; ``None`` leaves it as it is stored.

    Raises:
        GANPaintError: as in :func:`load` and there.
    """
    found = load(generator).generator
    return found if truncation_psi is None else found.truncated(truncation_psi)


def _public(entry: Entry) -> Model:
    """Return a public model from the cache, with the known facts about its units."""
    path = cached(entry)
    if path is None:
        raise GANPaintError(
            f"The public model {entry.name!r} is not in the cache yet.",
            f"Run `ganpaint fetch {entry.name}`. Without a network: {by_hand(entry)}",
        )
    changed = [one.stat().st_mtime_ns for one in (path, dissection_file(path)) if one.is_file()]
    return _read_public(entry.name, path, *changed)


@lru_cache(maxsize=2)
def _read_public(name: str, path: Path, *_changed: int) -> Model:
    """Return the model in a file, read once per process for all sessions that edit it."""
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
    """Return the encoder that was published for a model, if a user has put its file into the cache."""
    path = cache_folder() / entry.encoder if entry.encoder else None
    if path is None or not path.is_file():
        return None
    from .hybrid_encoder import read_hybrid_encoder

    encoder = read_hybrid_encoder(path)
    if encoder.shape != (generator.shape(generator.edit_layer)[0], generator.latent_size):
        raise GANPaintError(
            f"The encoder {path.name} does not fit the generator {entry.name!r}.",
            f"Get it from its source again, or remove it from {path.parent}.",
        )
    return encoder


def published(entry: Entry) -> Dissection:
    """Return an entry's published units in the form of a dissection.

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
