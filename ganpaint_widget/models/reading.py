"""A generator from a checkpoint as it is found in the world: wrapped, prefixed, with all that training needs.

A checkpoint is a tree of dictionaries with tensors as leaves. Each network that can be painted with has one
tensor whose name no other has, its *mark*; what stands before the mark in the path of names is where the
network lies, whatever wraps it: ``g_ema.``, ``state_dict.generator.module.``, ``_orig_mod.`` or nothing.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import GANPaintError
from ..storage import kind_of, read_plain
from . import nvidia, progan, stylegan2
from .checkpoints import checked_tensors, module_of, read_module, read_torch
from .generator import StagedGenerator
from .layouts import WRAP, described
from .progan import ProGAN
from .stylegan2 import StyleGAN2

PICKLES: Final = (".pkl", ".pickle")

MAX_DEPTH: Final = 4
"""Dictionaries in dictionaries: {"state_dict": {"generator": {"g_ema": tensors}}} has three."""

MAX_TENSORS: Final = 100_000
"""A training checkpoint with two networks, their averages and two optimizers has a few thousand."""

NOISE_SEED: Final = 0
"""From which noises are drawn that a checkpoint does not hold. It is kept with the network."""

_AVERAGES: Final = {"ema", "avg", "average", "averaged", "smooth", "shadow", "ge"}


def read_generator(path: Path) -> StagedGenerator:
    """Read a ProGAN or a StyleGAN2 from a file of any layout that public checkpoints have.

    safetensors files say themselves what they hold (``ganpaint train`` and ``ganpaint convert`` write them).
    Of PyTorch files, and of safetensors files of others, the tensors' names and shapes tell the architecture
    and its size, see :func:`generator_of`.

    Raises:
        GANPaintError: the file is damaged, or no such generator, or would have to be converted first. It
            says what the file is, as far as that is known.
    """
    if path.suffix in PICKLES:
        raise GANPaintError(
            f"The file {path.name} is a pickle, which could run code when it is read.",
            f"Convert it first, which runs no code: `ganpaint convert {path.name}`.",
        )
    if path.suffix != ".safetensors":
        return generator_of(read_torch(path), path.name)
    kind = kind_of(path)
    if kind == "stylegan2":
        return read_module(path, "stylegan2", StyleGAN2.stored)
    if kind is not None:
        return read_progan(path)
    return generator_of(read_plain(path), path.name)


def read_progan(path: Path) -> ProGAN:
    """Read a ProGAN from a safetensors file with its configuration in the metadata."""
    return read_module(path, "generator", ProGAN)


def generator_of(content: Mapping[Any, Any], name: str) -> StagedGenerator:
    """Find the generator among a checkpoint's tensors; of several, the moving average, as papers use it.

    Three families of names are known: those of ProGAN (:func:`.progan.public_state_dict`), rosinality's for
    StyleGAN2 (:mod:`.stylegan2`) and NVIDIA's PyTorch code's (:mod:`.nvidia`).

    Args:
        content: tensors by name, and dictionaries of them, as deep as :data:`MAX_DEPTH`.
        name: of the file, for messages.

    Raises:
        GANPaintError: there is none, or it is incomplete, or draws something else than square RGB pictures.
    """
    flat: dict[str, Tensor] = {}
    for place, tensor in _leaves(content, "", set(), MAX_DEPTH):
        if len(flat) > MAX_TENSORS:
            raise GANPaintError(
                f"The file {name} holds more than {MAX_TENSORS} tensors, which no generator needs.",
                "Save the generator's state_dict() alone.",
            )
        # torch.compile and FSDP insert parts into the middle of names; these do not count.
        flat.setdefault(place.replace("_orig_mod.", "").replace("_fsdp_wrapped_module.", ""), tensor)
    place, read = _chosen(flat, name)
    inside = {one: tensor for one, tensor in flat.items() if one.startswith(place)}
    _refuse_known(inside, name)
    tensors = {one[len(place) :]: tensor for one, tensor in inside.items()}
    if "latent_avg" not in tensors and (mean := _beside(flat, place, "latent_avg")) is not None:
        tensors["latent_avg"] = mean
    return read(checked_tensors(tensors, name), name)


def _leaves(
    content: Mapping[Any, Any], prefix: str, seen: set[int], depth: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors with the path of names to each, looking into each dictionary once."""
    if id(content) in seen or depth == 0:
        return
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            yield prefix + key, value
        elif isinstance(key, str) and isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.", seen, depth - 1)


Read = Callable[[dict[str, Tensor], str], StagedGenerator]


def _chosen(flat: Mapping[str, Tensor], name: str) -> tuple[str, Read]:
    """Where the generator's names begin, and what makes it of its tensors."""
    found: dict[str, Read] = {}
    for one in flat:
        for mark, read in _MARKS.items():
            if one == mark or one.endswith(f".{mark}"):
                found[one.removesuffix(mark)] = read
    averages = {place: read for place, read in found.items() if _is_average(place)}
    best = averages or found
    if not best:
        _refuse_known(flat, name)
        first = f": the first is {next(iter(flat))[:60]!r}" if flat else ""
        raise GANPaintError(
            f"The tensors in {name} belong neither to a ProGAN nor to a StyleGAN2{first}.", WRAP
        )
    if len(best) > 1:
        places = ", ".join(repr(place.rstrip(".")[:40]) for place in list(best)[:4])
        raise GANPaintError(
            f"The file {name} holds several generators: {places}.",
            "Save the state_dict() of the one that you want, alone, with torch.save.",
        )
    return next(iter(best.items()))


def _is_average(place: str) -> bool:
    return bool(_AVERAGES & set(re.split(r"[._]", place.lower())))


def _refuse_known(tensors: Mapping[str, Tensor], name: str) -> None:
    """GANPaintError if these are the tensors of a network that is known and not supported."""
    layout = described(tensors)
    if layout is not None:
        raise GANPaintError(f"The file {name} holds {layout.what}.", layout.hint)


def _beside(flat: Mapping[str, Tensor], place: str, wanted: str) -> Tensor | None:
    """Return a tensor that is stored beside a network, or beside what wraps it."""
    parts = place.split(".")[:-1]
    above = (".".join([*parts[:count], wanted]) for count in range(len(parts), -1, -1))
    return next((flat[one] for one in above if one in flat), None)


# --- each family of names ---


def _progan(tensors: dict[str, Tensor], name: str) -> ProGAN:
    try:
        state = progan.public_state_dict(tensors)
        config = progan.config_of(state)
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise GANPaintError(
            f"The tensors in {name} have a ProGAN's names, but not all of them, or not its shapes.",
            WRAP,
        ) from error
    output = next(
        (tensor for one, tensor in state.items() if one.startswith("output") and tensor.dim() == 4), None
    )
    _refuse_channels(0 if output is None else output.shape[0], name)
    return module_of(name, ProGAN, config, state, hint=WRAP)


def _stylegan2(tensors: dict[str, Tensor], name: str) -> StyleGAN2:
    """Fill in what the checkpoint lacks: the mean w, the usual blur, and noises."""
    try:
        config = stylegan2.config_of(tensors)
        drawn, constant = tensors["to_rgb1.conv.weight"].shape[1], tensors["input.input"]
    except (KeyError, IndexError) as error:
        raise GANPaintError(
            f"The StyleGAN2 in {name} is not complete.", "Get the file from its source again."
        ) from error
    _refuse_channels(drawn, name)
    if constant.dim() != 4 or constant.shape[2:] != (4, 4):
        height, width = constant.shape[-2:] if constant.dim() >= 2 else (0, 0)
        raise GANPaintError(
            f"The StyleGAN2 in {name} draws oblong pictures: it begins at {height} x {width}, not 4 x 4.",
            WRAP,
        )
    count = 2 * len(config["channels"]) - 1  # type: ignore[arg-type]
    for index in range(1, count, 2):
        tensors.setdefault(f"convs.{index - 1}.conv.blur.kernel", stylegan2.binomial())
        tensors.setdefault(f"to_rgbs.{index // 2}.upsample.kernel", stylegan2.binomial())
    if not any(one.startswith("noises.") for one in tensors):
        tensors |= {
            f"noises.noise_{index}": noise
            for index, noise in enumerate(stylegan2.drawn_noises(count, NOISE_SEED))
        }
        config["noise_seed"] = NOISE_SEED
        warnings.warn(
            f"{name} holds no noise inputs, so the fixed seed {NOISE_SEED} draws them: fine texture, such as "
            "hair and leaves, differs from the author's own pictures.",
            stacklevel=2,
        )
    mean = tensors.pop("latent_avg", None)
    known = torch.zeros(config["style_size"]) if mean is None else mean.view(-1, mean.shape[-1])[0]  # type: ignore[call-overload]
    found = module_of(name, StyleGAN2, config, {**tensors, "latent_avg": known}, hint=WRAP)
    if mean is None:
        found.estimate_mean()
    return found


def _nvidia(tensors: dict[str, Tensor], name: str) -> StyleGAN2:
    warnings.warn(
        f"{name} holds NVIDIA's tensors alone, which do not say whether layers bound what they draw "
        "(conv_clamp). None is assumed; `ganpaint convert` reads it from the original pickle.",
        stacklevel=2,
    )
    return _stylegan2(nvidia.own_names(tensors, name), name)


def _refuse_channels(drawn: int, name: str) -> None:
    if drawn == 3:
        return
    what = {
        1: "gray pictures, of 1 channel",
        4: "pictures of 4 channels, with transparency",
    }.get(drawn, f"pictures of {drawn} channels")
    raise GANPaintError(
        f"The generator in {name} draws {what}, and only RGB is painted.",
        "Wrap it as a StagedGenerator whose picture() gives three channels: docs/bring_a_gan.md shows how.",
    )


_MARKS: Final[Mapping[str, Read]] = {
    "conv1.conv.modulation.weight": _stylegan2,
    "synthesis.b4.const": _nvidia,
    "layer1.wscale.b": _progan,
    "features.0.wscale.b": _progan,
    "4x4/Dense/weight": _progan,
}
"""By the one tensor that no other network has."""
