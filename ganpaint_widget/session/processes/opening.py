"""From a picture to something that can be edited: z, the edit layer's features, and what follows from them.

A session opens its photo with :func:`open_picture`, and the pictures that restyles refer to as well, for
their features are what a restyle takes over. Everything here runs on the worker's thread (see ``worker.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from ...errors import GANPaintError
from ...images.arrays import Array, array_of, frozen, tensor_of
from ...images.files import Original
from ...method.edits import Activations, Reference
from ...method.equation import mean_activations
from ...tickets import Cancelled, Ticket

if TYPE_CHECKING:
    from torch import Tensor

    from ...method.preview import Preview
    from ...models.generator import State
    from ...models.model import Model

MINIMUM_SHARE: Final = 0.004
"""The part of a picture that a concept must cover to have a look to take over: 16 of 64 x 64 pixels."""

GLANCE: Final = 10
"""Steps of an inversion's optimization before an editor shows it: the guess has wrong colors."""

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
    cached: CachedInversion | None = None
    original: Original | None = None


@dataclass(frozen=True, eq=False)
class CachedInversion:
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
        psnr: PSNR of G(z) against x.
    """

    source: Source
    photo: Array
    x: Tensor
    z: Tensor
    fast: Preview
    reconstruction: Array
    psnr: float


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
    if source.cached is not None:
        assert source.array is not None
        return opened_at(model, source, source.array, *_restored(model, source.cached))
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
    from ...method.inversion import STEPS, invert

    device = next(model.generator.parameters()).device
    found = invert(model, tensor_of(photo, device), steps=GLANCE if guess else STEPS, ticket=ticket)
    if ticket is not None and ticket.cancelled:
        raise Cancelled
    return opened_at(model, source, photo, found.z, found.state)


def _restored(model: Model, cached: CachedInversion) -> tuple[Tensor, State]:
    """z and the state that were kept, on the generator's device. GANPaintError when they do not fit it."""
    import torch

    generator = model.generator
    device = next(generator.parameters()).device
    with torch.no_grad():
        z = generator.sample_z(1, 0).to(device)
        state = generator.run(generator.start(z), until=generator.edit_layer)
    expected = {"z": z, "features": state.features} | {f"extra/{k}": v for k, v in state.extra.items()}
    found = {"z": cached.z, "features": cached.features} | {f"extra/{k}": v for k, v in cached.extra.items()}
    if {k: tuple(v.shape) for k, v in expected.items()} != {k: v.shape for k, v in found.items()}:
        raise GANPaintError(
            f"The stored features do not fit the generator {model.name!r}.",
            "Open the project with the generator that it was made with.",
        )
    extra = {name: torch.from_numpy(value).to(state.extra[name]) for name, value in cached.extra.items()}
    features = torch.from_numpy(cached.features).to(state.features)
    return torch.from_numpy(cached.z).to(z), replace(state, features=features, extra=extra)


def opened_at(model: Model, source: Source, photo: Array | None, z: Tensor, state: State) -> OpenedPicture:
    """A picture whose state at the edit layer is known; for no photo, what the state draws is the photo."""
    from ...images.metrics import psnr
    from ...method.preview import Preview

    # The state is kept for blending, which differentiates; inference mode's tensors refuse that.
    fast = Preview(model, _plain(state))
    picture = fast.render(())
    reconstruction = array_of(picture)
    photo = reconstruction if photo is None else frozen(photo)
    x = tensor_of(photo, state.features.device)
    return OpenedPicture(source, photo, x, z.detach().clone(), fast, reconstruction, psnr(picture, x))


# --- references: how a concept looks elsewhere ---


def reference_activations(
    model: Model, opened: OpenedPicture, reference: Reference, concept: str
) -> Activations:
    """p for restyling a concept after an opened reference: C activations.

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
    return _activations(mean_activations(opened.fast.state, region))


def variant_activations(model: Model, concept: str, target: str, variant: int) -> Activations:
    """p for one of several plausible versions of an addition: C activations.

    The target, moved by what sets one *instance* of the concept apart from the average: its mean activations
    over the concept's pixels, less the dissection's ``mean`` target. The instance is the first that shows
    among the samples of the seeds 32 n to 32 n + 31, for variant n: the same for all who ask, whatever was
    asked before.

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
            instance = mean_activations(state, region)
            moved = instance - dissection.target(concept, "mean").to(instance)
            return _activations(dissection.target(concept, target).to(instance) + moved)
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


def _where(model: Model, state: State, concept: str, hint: str) -> Tensor:
    """Where the segmenter sees a concept in the picture of a state: R x R, 0 or 1."""
    import torch

    segmenter, generator = model.segmenter, model.generator
    if segmenter is None or concept not in segmenter.classes:
        raise GANPaintError(
            f"The generator {model.name!r} comes with no segmenter that could find a {concept}.", hint
        )
    with torch.no_grad():
        labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1))[0]
    return (labels == segmenter.classes.index(concept)).float()


def _activations(tensor: Tensor) -> Activations:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)


def _plain(state: State) -> State:
    """The same state with tensors that autograd accepts, whatever mode they were made in."""
    extra = {name: tensor.detach().clone() for name, tensor in state.extra.items()}
    return replace(state, features=state.features.detach().clone(), extra=extra)
