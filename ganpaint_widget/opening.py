"""From a picture to something that can be edited: z, the edit layer's features, and what follows from them.

A session opens its photo with :func:`open_picture`, and the pictures that restyles refer to as well, for
their features are what a restyle takes over. Everything here runs on the worker's thread (see ``jobs.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .editing import Levels, Reference, mean_levels
from .errors import GANPaintError
from .jobs import Cancelled, Ticket
from .pictures import Original

if TYPE_CHECKING:
    from torch import Tensor

    from .generators.staged import StagedGenerator, State
    from .generators.zoo import Model
    from .preview import Preview

Array = npt.NDArray[np.uint8]

MINIMUM_SHARE: Final = 0.004
"""The part of a picture that a concept must cover to have a look to take over: 16 of 64 x 64 pixels."""

GLANCE: Final = 10
"""Steps of an inversion's optimisation before an editor shows it: the guess has wrong colours."""

TRIES: Final = 32
"""How many samples are looked at for one variant. A concept that is rarer than that has no variants."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where a picture comes from; ``array`` is uint8 R x R x 3 and ``None`` for the generator's own scenes.

    ``scene`` is one of the gallery, ``sample`` is G(z) for a seed, for generators that have no gallery.
    ``original`` is the photo at its own size, into which the result is pasted.
    """

    kind: Literal["photo", "scene", "sample"]
    title: str
    index: int = 0
    array: Array | None = None
    kept: Kept | None = None
    original: Original | None = None


@dataclass(frozen=True, eq=False)
class Kept:
    """What an inversion has found before, so that nothing is inverted again; ``extra`` is the state's."""

    z: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    extra: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """One picture that is being edited, ready to be rendered.

    Attributes:
        source: where it comes from.
        photo: x, uint8 R x R x 3, read-only.
        x: the same as 1 x 3 x R x R in [-1, 1].
        z: the latent, 1 x latent_size.
        fast: draws edits of it; its ``state`` is that of the edit layer.
        reconstruction: G(z), uint8 R x R x 3, read-only.
        decibel: PSNR of G(z) against x.
    """

    source: Source
    photo: Array
    x: Tensor
    z: Tensor
    fast: Preview
    reconstruction: Array
    decibel: float


def load(generator: str | Path | StagedGenerator | Model) -> Model:
    """The model of :func:`.generators.zoo.load`, ready to be edited with. GANPaintError when it is not.

    Where the environment's ``GANPAINT_DEVICE`` names a device of torch, such as ``cuda``, it is there.
    """
    from .generators import zoo

    model = zoo.load(generator)
    device = os.environ.get("GANPAINT_DEVICE")
    if device:
        model = _on(model, device)
    model.generator.eval().requires_grad_(False)
    if model.dissection is not None and model.dissection.layer != model.generator.edit_layer:
        raise GANPaintError(
            f"The dissection is of {model.dissection.layer!r}, but this generator is edited at "
            f"{model.generator.edit_layer!r}.",
            "Dissect that layer, or set the generator's edit_layer.",
        )
    return model


_moved: dict[str, tuple[Model, Model]] = {}
"""By device: the last model that was moved there, as it was and as it is there."""


def _on(model: Model, device: str) -> Model:
    """The model on a device; all sessions share its copy there. GANPaintError without such a device."""
    was, there = _moved.get(device, (None, None))
    if was is model and there is not None:
        return there
    try:
        there = model.to(device)
        _moved[device] = model, there
        return there
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
        raise GANPaintError(
            f"torch cannot use the device {device!r} that GANPAINT_DEVICE names ({error}).",
            "`ganpaint doctor` lists the devices that work here; without GANPAINT_DEVICE it is the CPU.",
        ) from error


def open_picture(
    model: Model, source: Source, ticket: Ticket | None = None, *, guess: bool = False
) -> OpenedPicture:
    """z, and all that follows from it, for a picture. GANPaintError and Cancelled come through.

    Args:
        guess: leave it at the encoder's guess, a little improved; :func:`inverted` does the rest.
    """
    import torch

    generator = model.generator
    device = next(generator.parameters()).device
    if source.kept is not None:
        assert source.array is not None
        return opened_at(model, source, source.array, *_restored(model, source.kept))
    if source.kind == "sample":
        with torch.no_grad():
            z = generator.sample_z(1, source.index).to(device)
            state = generator.run(generator.start(z), until=generator.edit_layer)
        return opened_at(model, source, None, z, state)
    if source.array is not None:
        photo = source.array
    else:
        assert model.gallery is not None
        photo = model.gallery.picture(source.index % model.gallery.count)
    return inverted(model, source, photo, ticket, guess=guess)


def inverted(
    model: Model, source: Source, photo: Array, ticket: Ticket | None = None, *, guess: bool = False
) -> OpenedPicture:
    """A photo, uint8 R x R x 3, opened by inversion; ``guess`` as in :func:`open_picture`. Cancelled comes
    through."""
    from .inversion import STEPS, invert

    device = next(model.generator.parameters()).device
    found = invert(model, tensor_of(photo, device), steps=GLANCE if guess else STEPS, ticket=ticket)
    if ticket is not None and ticket.cancelled:
        raise Cancelled
    return opened_at(model, source, photo, found.z, found.state)


def _restored(model: Model, kept: Kept) -> tuple[Tensor, State]:
    """z and the state that were kept, on the generator's device. GANPaintError when they do not fit it."""
    import torch

    generator = model.generator
    device = next(generator.parameters()).device
    with torch.no_grad():
        z = generator.sample_z(1, 0).to(device)
        state = generator.run(generator.start(z), until=generator.edit_layer)
    expected = {"z": z, "features": state.features} | {f"extra/{k}": v for k, v in state.extra.items()}
    found = {"z": kept.z, "features": kept.features} | {f"extra/{k}": v for k, v in kept.extra.items()}
    if {k: tuple(v.shape) for k, v in expected.items()} != {k: v.shape for k, v in found.items()}:
        raise GANPaintError(
            f"The stored features do not fit the generator {model.name!r}.",
            "Open the project with the generator that it was made with.",
        )
    extra = {name: torch.from_numpy(value).to(state.extra[name]) for name, value in kept.extra.items()}
    features = torch.from_numpy(kept.features).to(state.features)
    return torch.from_numpy(kept.z).to(z), replace(state, features=features, extra=extra)


def opened_at(model: Model, source: Source, photo: Array | None, z: Tensor, state: State) -> OpenedPicture:
    """A picture whose state at the edit layer is known; for no photo, what the state draws is the photo."""
    from .measures import decibel
    from .preview import Preview

    # The state is kept for blending, which differentiates; inference mode's tensors refuse that.
    fast = Preview(model, _plain(state))
    picture = fast.render(())
    reconstruction = array_of(picture)
    photo = reconstruction if photo is None else frozen(photo)
    x = tensor_of(photo, state.features.device)
    return OpenedPicture(source, photo, x, z.detach().clone(), fast, reconstruction, decibel(picture, x))


# --- references: how a concept looks elsewhere ---


def reference_levels(model: Model, opened: OpenedPicture, reference: Reference, concept: str) -> Levels:
    """p for restyling a concept after an opened reference: C levels.

    Raises:
        GANPaintError: the generator does not draw the concept in it, and no region is given.
    """
    import torch

    if reference.region is not None:
        region = torch.from_numpy(reference.region.astype(np.float32) / 255)
    else:
        region = _where(model, opened.fast.state, concept, "Pass the region of the reference that counts.")
        if float(region.mean()) < MINIMUM_SHARE:
            raise GANPaintError(
                f"The generator's version of the reference shows no {concept}.",
                "Choose another reference, or pass the region of it that counts.",
            )
    return _levels(mean_levels(opened.fast.state, region))


def variant_levels(model: Model, concept: str, target: str, variant: int) -> Levels:
    """p for one of several plausible versions of an addition: C levels.

    The target, moved by what sets one *instance* of the concept apart from the average: its mean levels over
    the concept's pixels, less the dissection's ``mean`` target. The instance is the first that shows among
    the samples of the seeds 32 n to 32 n + 31, for variant n: the same for all who ask, whatever was asked
    before.

    Raises:
        GANPaintError: none of these samples shows the concept.
    """
    import torch

    generator, dissection = model.generator, model.dissection
    assert dissection is not None
    device = next(generator.parameters()).device
    for seed in range(TRIES * variant, TRIES * (variant + 1)):
        with torch.no_grad():
            z = generator.sample_z(1, seed).to(device)
            state = generator.run(generator.start(z), until=generator.edit_layer)
        region = _where(model, state, concept, "Leave the variant at 0.")
        if float(region.mean()) >= MINIMUM_SHARE:
            instance = mean_levels(state, region)
            moved = instance - dissection.target(concept, "mean").to(instance)
            return _levels(dissection.target(concept, target).to(instance) + moved)
    raise GANPaintError(
        f"None of {TRIES} samples shows a {concept} from which variant {variant} could be made.",
        "Choose another variant.",
    )


def shares(model: Model, seed: int) -> dict[str, float]:
    """Which part of a sample each of the segmenter's classes covers, 0 to 1."""
    assert model.segmenter is not None
    opened = open_picture(model, Source("sample", f"sample {seed}", seed))
    labels = model.segmenter.segment(opened.x)[0]
    return {
        name: float((labels == place).float().mean()) for place, name in enumerate(model.segmenter.classes)
    }


def _where(model: Model, state: State, concept: str, mend: str) -> Tensor:
    """Where the segmenter sees a concept in the picture of a state: R x R, 0 or 1."""
    import torch

    segmenter, generator = model.segmenter, model.generator
    if segmenter is None or concept not in segmenter.classes:
        raise GANPaintError(
            f"The generator {model.name!r} comes with no segmenter that could find a {concept}.", mend
        )
    with torch.no_grad():
        labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1))[0]
    return (labels == segmenter.classes.index(concept)).float()


def _levels(tensor: Tensor) -> Levels:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)


# --- between pictures outside and tensors inside ---


def frozen(array: Array) -> Array:
    """A copy that cannot be written to: it is handed out to observers and kept."""
    array = np.array(array, np.uint8)
    array.setflags(write=False)
    return array


def array_of(picture: Tensor) -> Array:
    """1 x 3 x R x R in [-1, 1] to uint8 R x R x 3, read-only."""
    # By NumPy, on one thread: so little is done here that PyTorch's threads would mostly wait for each other.
    numbers = picture.detach()[0].float().cpu().numpy().transpose(1, 2, 0)
    array: Array = np.rint((numbers.clip(-1, 1) + 1) * np.float32(127.5)).astype(np.uint8, order="C")
    array.setflags(write=False)
    return array


def tensor_of(array: Array, device: Any) -> Tensor:
    """uint8 R x R x 3 to 1 x 3 x R x R in [-1, 1]."""
    import torch

    scaled = torch.from_numpy(array.astype(np.float32) / 127.5 - 1)
    return scaled.permute(2, 0, 1)[None].contiguous().to(device)


def _plain(state: State) -> State:
    """The same state with tensors that autograd accepts, whatever mode they were made in."""
    extra = {name: tensor.detach().clone() for name, tensor in state.extra.items()}
    return replace(state, features=state.features.detach().clone(), extra=extra)
