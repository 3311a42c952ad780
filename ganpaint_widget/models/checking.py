"""Checks of what users bring: does a wrapper keep what :class:`.StagedGenerator` promises, and a segmenter?

A slip in a wrapper would show much later otherwise, as an error of another function or as a wrong picture.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from ..errors import GANPaintError, kind_of
from .generator import StagedGenerator, State
from .model import Model, Segmenter
from .networks import evaluated

SEE: Final = "docs/bring_a_gan.md shows how."

WIDEST: Final = 1.5
"""Most values of a picture are at most this large: pictures are nominally in [-1, 1], and not clamped."""

WHOLE: Final = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of labels."""

SAME: Final = 1e-3
"""Two runs on the same latent differ by less than this share of the largest value."""

_checked: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""The generators whose runs have been checked, each once."""


@evaluated
@torch.no_grad()
def check(generator: object) -> StagedGenerator:
    """Return a generator that declares and draws what the package needs; a model's, if it is a model.

    One sample is drawn twice, the first time that an object is seen. The package's own classes are not drawn.

    Raises:
        GANPaintError: as for :func:`declared`, or what its stages or its pictures do wrong.
    """
    found = declared(generator)
    if not is_own(found) and found not in _checked:
        z = found.here(found.sample_z(1, 0))
        once, again = _drawn(found, z), _drawn(found, z)
        if (once - again).abs().max() > SAME * once.abs().max():
            raise GANPaintError(
                f"{kind_of(found)} draws another picture each time, from the same latent.",
                "Draw the noise of its stages once, and keep it as a buffer or in State.extra.",
            )
        _checked.add(found)
    return found


def is_own(generator: object) -> bool:
    """Return whether a generator is of one of the package's own classes."""
    return type(generator).__module__.partition(".")[0] == __name__.partition(".")[0]


def unwrapped(thing: object) -> object:
    """Return the generator in an ``nn.DataParallel`` or a ``torch.compile``; anything else as it is."""
    if isinstance(thing, nn.Module) and not isinstance(thing, StagedGenerator):
        for name in ("module", "_orig_mod"):
            if isinstance(inner := getattr(thing, name, None), StagedGenerator):
                return inner
    return thing


def declared(generator: object) -> StagedGenerator:
    """Return a generator whose attributes fit together, or that of a model.

    Raises:
        GANPaintError: it is another thing, has no network, or its attributes are missing or wrong.
    """
    found = unwrapped(generator.generator if isinstance(generator, Model) else generator)
    if not isinstance(found, StagedGenerator):
        what = f"The class {found.__name__}" if isinstance(found, type) else kind_of(found)
        raise GANPaintError(
            f"{what} is not a StagedGenerator.",
            "Pass one or a Model: load_generator() opens names and files, and docs/bring_a_gan.md shows how "
            "to wrap a network.",
        )
    if next(found.parameters(), None) is None:
        raise GANPaintError(
            f"{kind_of(found)} was made without a network.",
            f"Pass your network by a name, as in {type(found).__name__}(gan=network): {SEE}",
        )
    names, fine = (_names(getattr(found, name, None)) for name in ("stages", "fine_layers"))
    edit = getattr(found, "edit_layer", None)
    after = names[names.index(edit) + 1 :] if names and edit in names else []
    right = {
        "stages": (bool(names) and len({*names}) == len(names), "a tuple of different names"),
        "latent_size": (_positive(getattr(found, "latent_size", None)), "the number of components of z"),
        "resolution": (_positive(getattr(found, "resolution", None)), "the pixels along a side"),
        "edit_layer": (edit in names, f"one of its stages, {', '.join(names)}"),
        "fine_layers": (
            # Behind the last stage there are none: the explorer edits there.
            bool(fine or not after) and [name for name in after if name in fine] == fine,
            f"the stages after {edit!r}, in their order" if after else "(), or choose an earlier edit_layer",
        ),
    }
    for name, (fits, what) in right.items():
        if not fits:
            given = f"{name} = {getattr(found, name)!r}" if hasattr(found, name) else f"no {name}"
            raise GANPaintError(f"{kind_of(found)} has {given}.", f"Set {name} to {what}: {SEE}")
    return found


def check_segmenter(segmenter: object) -> None:
    """Raise GANPaintError if an object cannot be a segmenter: see :class:`.Segmenter`."""
    classes = getattr(segmenter, "classes", None)
    if isinstance(segmenter, type) or not callable(getattr(segmenter, "segment", None)):
        what = f"The class {segmenter.__name__}" if isinstance(segmenter, type) else kind_of(segmenter)
        raise GANPaintError(
            f"{what} is not a segmenter.",
            "Pass an object with `classes` and a method `segment(pictures)`: docs/bring_a_gan.md shows one.",
        )
    if (
        not isinstance(classes, Sequence)
        or isinstance(classes, str)
        or not all(isinstance(name, str) and name for name in classes)
        or not 0 < len({*classes}) == len(classes)
    ):
        raise GANPaintError(
            f"The segmenter's classes are {classes!r}.",
            "Set `classes` to a tuple of different names, in the order of the labels.",
        )


def segmented(segmenter: Segmenter, pictures: Tensor) -> Tensor:
    """Return a segmenter's label maps of pictures B x 3 x H x W: int64 B x H x W.

    Raises:
        GANPaintError: as for :func:`check_segmenter`, or it returns something else.
    """
    check_segmenter(segmenter)
    labels: object = segmenter.segment(pictures)
    size, classes = (len(pictures), *pictures.shape[2:]), len(segmenter.classes)
    if not isinstance(labels, Tensor) or labels.shape != size or labels.dtype not in WHOLE:
        raise GANPaintError(
            f"The segmenter returned {_shown(labels)}, not whole numbers of {' x '.join(map(str, size))}.",
            "Return an index into its classes for each pixel, for example logits.argmax(dim=1).",
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise GANPaintError(
            f"The segmenter returned labels from {low} to {high}, and it has {classes} classes.",
            f"Return labels from 0 to {classes - 1}; a label for unknown pixels needs a class, too.",
        )
    return labels.long()


def _names(value: object) -> list[str]:
    """Return the names in a tuple or a list; none of anything else, such as a single name."""
    return [*value] if isinstance(value, tuple | list) and all(isinstance(one, str) for one in value) else []


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _drawn(generator: StagedGenerator, z: Tensor) -> Tensor:
    """Return the picture of one latent. Everything on the way is checked."""
    name, size = type(generator).__name__, generator.resolution
    state = _state(_called(f"{name}.start()", generator.start, z), f"{name}.start()", None)
    for stage in generator.stages:
        what = f"{name}.stage({stage!r}, ...)"
        state = _state(_called(what, generator.stage, stage, state), what, stage)
    what = f"{name}.picture()"
    picture = _called(what, generator.picture, state)
    if not isinstance(picture, Tensor) or picture.shape != (1, 3, size, size):
        raise GANPaintError(
            f"{what} returned {_shown(picture)}, where resolution = {size} needs 1 x 3 x {size} x {size}.",
            f"Return pictures in color, and set resolution to the pixels along their side: {SEE}",
        )
    _check_numbers(picture, what)
    if (picture.abs() <= WIDEST).float().mean() < 0.5:
        raise GANPaintError(
            f"{what} returned values from {float(picture.min()):.3g} to {float(picture.max()):.3g}.",
            "Return pictures in [-1, 1], for example x / 127.5 - 1 where x is from 0 to 255.",
        )
    return picture


def _called(what: str, method: Callable[..., object], *given: object) -> object:
    """Return what a generator's method makes. GANPaintError if it fails, or writes into what it was given."""
    states = [one for one in given if isinstance(one, State)]
    tensors = [one for one in given if isinstance(one, Tensor)]
    tensors += [tensor for one in states for tensor in (one.features, *one.extra.values())]
    before = [one.clone() for one in tensors]
    try:
        result = method(*given)
    except GANPaintError:
        raise
    except Exception as error:
        raise GANPaintError(
            f"{what} failed ({type(error).__name__}: {error}).",
            "Change that method, or latent_size if it got a z of the wrong size: " + SEE,
        ) from error
    if not all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True)):
        raise GANPaintError(
            f"{what} writes into the tensors that it was given.",
            "Make new tensors there, for example with inplace=False, since edits keep the old ones.",
        )
    return result


def _state(state: object, what: str, stage: str | None) -> State:
    """Return the state after a stage, or with ``None`` before the first one. GANPaintError if it is none."""
    features: object = state.features if isinstance(state, State) else None
    if not isinstance(state, State) or not isinstance(features, Tensor):
        raise GANPaintError(
            f"{what} returned {_shown(state)}, not a State.",
            f"Return State(features{', name' if stage else ''}): {SEE}",
        )
    if state.stage != stage:
        raise GANPaintError(
            f"{what} returned a State whose stage is {state.stage!r}, not {stage!r}.",
            f"Return State(features{', name' if stage else ''}): {SEE}",
        )
    if stage is not None and (features.ndim != 4 or len(features) != 1):
        raise GANPaintError(
            f"{what} returned {_shown(features)} for one latent, not B x C x H x W.",
            f"Split the network where its features are B x C x H x W: {SEE}",
        )
    if stage is not None:
        _check_numbers(features, what)
    extra: Mapping[str, object] = state.extra
    for name, one in extra.items():
        if not isinstance(one, Tensor) or one.shape[:1] != (1,):
            raise GANPaintError(
                f"{what} returned {_shown(one)} as extra[{name!r}], for one latent.",
                f"Carry tensors whose first dimension is the batch: {SEE}",
            )
    return state


def _check_numbers(tensor: Tensor, what: str) -> None:
    if not tensor.is_floating_point():
        raise GANPaintError(
            f"{what} returned numbers of the type {tensor.dtype}.", f"Return floating-point numbers: {SEE}"
        )
    if not tensor.isfinite().all():
        raise GANPaintError(
            f"{what} returned numbers that are not finite.",
            "Check the weights for NaN, and the method for divisions by zero.",
        )


def _shown(thing: object) -> str:
    """Return what a thing is, in the middle of a message."""
    if isinstance(thing, Tensor):
        kind = str(thing.dtype).removeprefix("torch.")
        return f"a tensor ({kind}) of {' x '.join(map(str, thing.shape)) or 'no dimensions'}"
    what = kind_of(thing)
    return what[0].lower() + what[1:]
