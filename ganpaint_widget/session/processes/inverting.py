"""Inverting: from a picture to its latent z and the edit layer's features, which can be edited.

:func:`open_picture` does this in one go. :class:`Inverting` does it for a session: a picture replaces the
last one only once it is open, and the inversion of the last one continues until then. A picture that cannot
be opened therefore changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from ...errors import GANPaintError
from ...images.arrays import Array, array_of, frozen, tensor_of
from ...images.files import Original
from ...tickets import Cancelled, Report, Ticket
from ..events import Noticed
from ..worker import Worker
from .waiting import Waiting

if TYPE_CHECKING:
    from torch import Tensor

    from ...method.preview import Preview
    from ...models.generator import State
    from ...models.model import Model


GLANCE: Final = 10
"""Steps of optimization before an editor shows an inversion, since the encoder's guess has wrong colors."""

LONG: Final = 30.0
"""Expected seconds above which an opening is announced on the terminal as well."""

POOR: Final = 18.0
"""PSNR of a reconstruction in dB, below which it hardly resembles the photo."""


@dataclass(frozen=True, eq=False)
class Source:
    """The source of a picture. ``array`` is uint8 R x R x 3, or ``None`` for the generator's own scenes.

    A ``scene`` is one of the gallery. A ``sample`` is G(z) for a seed, for generators without a gallery.
    ``original`` is the photo at its own size, into which the result is pasted. ``notice`` tells users about
    the source.
    """

    kind: Literal["photo", "scene", "sample"]
    title: str
    index: int = 0
    array: Array | None = None
    cached: CachedInversion | None = None
    original: Original | None = None
    notice: Noticed | None = None


@dataclass(frozen=True, eq=False)
class CachedInversion:
    """The result of an earlier inversion, so that nothing is inverted again; ``extra`` is the state's."""

    z: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    extra: Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class OpenedPicture:
    """An open picture, ready to be edited and rendered.

    Attributes:
        source: the picture's source.
        photo: x, uint8 R x R x 3, read-only.
        x: the same as 1 x 3 x R x R in [-1, 1].
        z: the latent, 1 x latent_size.
        fast: draws the picture with edits; its ``state`` is that of the edit layer.
        reconstruction: G(z), uint8 R x R x 3, read-only.
        psnr: PSNR of G(z) against x.
        labels: the photo's classes: uint8 R x R, indices into the segmenter's classes; ``None`` without a
            segmenter.
        notice: a message for users, for example that the photo is outside the generator's world.
    """

    source: Source
    photo: Array
    x: Tensor
    z: Tensor
    fast: Preview
    reconstruction: Array
    psnr: float
    labels: Array | None = None
    notice: Noticed | None = None


def open_picture(
    model: Model, source: Source, ticket: Ticket | None = None, *, guess: bool = False
) -> OpenedPicture:
    """Find z of a picture, and everything that follows from z. GANPaintError and Cancelled pass through.

    Args:
        guess: stop at the encoder's guess, a little improved. :func:`inverted` does the rest.
    """
    import torch

    generator = model.generator
    size = generator.resolution
    if source.array is not None and source.array.shape != (size, size, 3):
        raise GANPaintError(
            f"The stored picture has the shape {source.array.shape}, and {model.name!r} makes pictures of "
            f"{size} x {size}.",
            "Open it with the generator that it was painted with.",
        )
    if source.cached is not None:
        assert source.array is not None
        return opened_at(model, source, source.array, *_restored(model, source.cached))
    if source.kind == "sample":
        with torch.no_grad():
            z = generator.here(generator.sample_z(1, source.index))
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
    """Open a photo, uint8 R x R x 3, by inversion; ``guess`` as in :func:`open_picture`.

    Cancelled passes through.
    """
    from ...method.inversion import STEPS, invert

    device = next(model.generator.parameters()).device
    found = invert(model, tensor_of(photo, device), steps=GLANCE if guess else STEPS, ticket=ticket)
    if ticket is not None and ticket.cancelled:
        raise Cancelled
    return opened_at(model, source, photo, found.z, found.state)


def _restored(model: Model, cached: CachedInversion) -> tuple[Tensor, State]:
    """Return the stored z and state on the generator's device. GANPaintError if they do not fit."""
    import torch

    generator = model.generator
    with torch.no_grad():
        z = generator.here(generator.sample_z(1, 0))
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
    """Open a picture with a known state at the edit layer. Without a photo, the state's picture is used."""
    from ...images.metrics import psnr
    from ...method.preview import Preview

    # The state is kept for blending, which differentiates; inference mode's tensors refuse that.
    fast = Preview(model, _plain(state))
    picture = fast.render(())
    reconstruction = array_of(picture)
    photo = reconstruction if photo is None else frozen(photo)
    x = tensor_of(photo, state.features.device)
    return OpenedPicture(source, photo, x, z.detach().clone(), fast, reconstruction, psnr(picture, x))


def reconceived(model: Model, picture: OpenedPicture) -> OpenedPicture:
    """Return the picture for a model of the same generator with other concepts."""
    from ...method.preview import Preview

    return replace(picture, fast=Preview(model, picture.fast.state), labels=_labels(model, picture.x))


def _plain(state: State) -> State:
    """Return the state with tensors that autograd accepts, even if they were made in inference mode."""
    extra = {name: tensor.detach().clone() for name, tensor in state.extra.items()}
    return replace(state, features=state.features.detach().clone(), extra=extra)


def searching(model: Model) -> str | None:
    """Return a progress bar's text for an inversion that may take minutes, else ``None``."""
    return None if model.encoder is not None else "Searching the latent from several starts (no encoder)"


class Inverting:
    """A session's pictures, opened in one go, or as a guess that improves in the background.

    Args:
        progressive: show the encoder's guess first, if the model has an encoder.
        opened: called on the worker's thread with an open picture and two functions. Under its lock, it must
            call the first, replace the last picture, and call the second. The first ends the inversion of the
            last picture, or raises Cancelled. The second completes the new one; see :meth:`start`.
        refined: called there with a guess and the same picture, fully inverted.
        failed: called there with the failed step in the background and the reason.
        report: called with the progress of an opening.
        tell: called with a notice for users before an opening that takes minutes.
    """

    def __init__(
        self,
        model: Model,
        worker: Worker,
        *,
        progressive: bool,
        opened: Callable[[OpenedPicture, Callable[[], None], Callable[[], None]], None],
        refined: Callable[[OpenedPicture, OpenedPicture], None],
        failed: Callable[[str, BaseException], None],
        report: Callable[[Report], None],
        tell: Callable[[Noticed], None],
    ) -> None:
        self.model, self._worker = model, worker
        self._progressive = progressive and model.encoder is not None
        self._opened, self._refined, self._failed, self._tell = opened, refined, failed, tell
        self._waiting = Waiting(
            worker,
            "The picture could not be opened",
            "Opening the picture was canceled",
            report,
            searching(model),
        )
        self._refining: tuple[Ticket, Future[None]] | None = None

    def start(
        self,
        source: Callable[[], Source],
        prepare: Callable[[OpenedPicture], Callable[[], None]] | None = None,
    ) -> None:
        """Open a picture, and wait for it. This cancels earlier openings that are not done by then.

        Args:
            source: returns the source; called on the worker's thread.
            prepare: called there with the open picture before it replaces the last one. It may take time, and
                returns a quick function that completes the new picture, for example with a project's edits.

        Raises:
            GANPaintError: the picture cannot be opened, or it was cancelled; nothing has changed then.
        """
        self._waiting.run(self._open, source, prepare)

    def cancel(self) -> None:
        """Abandon all openings. A picture that is already open continues to improve."""
        self._waiting.cancel()

    def wait(self) -> None:
        """Wait until the picture is fully inverted. On the worker's own thread, do not wait."""
        refining = self._refining
        if refining is not None and not self._worker.current:
            self._worker.wait(refining[1])

    def _open(
        self,
        ticket: Ticket,
        source_of: Callable[[], Source],
        prepare: Callable[[OpenedPicture], Callable[[], None]] | None,
    ) -> None:
        source = source_of()
        if self.model.encoder is None and source.kind != "sample" and source.cached is None:
            self._say_how_long()
        later = self._progressive and source.cached is None and source.kind != "sample"
        picture = open_picture(self.model, source, ticket, guess=later)
        picture = replace(picture, labels=_labels(self.model, picture.x), notice=source.notice)
        if not later:
            picture = self._looked_at(picture)
        complete = (lambda: None) if prepare is None else prepare(picture)

        def begin() -> None:
            if ticket.cancelled:
                raise Cancelled
            self._waiting.cancel(before=ticket)
            if self._refining is not None:
                self._refining[0].cancel()
            self._refining = None
            if later:
                rest = self._worker.ticket(courteous=True)  # painting goes first
                self._refining = rest, self._worker.submit(self._refine, picture, rest)

        self._opened(picture, begin, complete)

    def _say_how_long(self) -> None:
        from ...method.forecast import forecast

        told = forecast(self.model)
        if told is not None:
            self._tell(Noticed("info", told.sentence))
            if told.seconds > LONG:
                self._waiting.say(told.sentence)

    def _refine(self, guess: OpenedPicture, ticket: Ticket) -> None:
        """Finish an inversion, and replace the encoder's guess. Previews continue meanwhile."""
        try:
            picture = inverted(self.model, guess.source, guess.photo, ticket)
            picture = self._looked_at(replace(picture, labels=guess.labels, notice=guess.notice))
        except Cancelled:
            return
        except Exception as error:
            self._failed("The picture could not be inverted beyond the encoder's guess", error)
            return
        self._refined(guess, picture)

    def _looked_at(self, picture: OpenedPicture) -> OpenedPicture:
        """Return the opened picture, with a warning if a photo lies outside the generator's world."""
        from ...method.inversion import OUTSIDE, distance

        known = picture.notice
        if picture.source.kind != "photo" or (known is not None and known.level == "warning"):
            return picture
        name, apart = self.model.name, distance(self.model, picture.x)
        if apart is not None and apart > OUTSIDE:
            text = (
                f"This photo is outside the world of the generator {name!r}: redrawn from its latent, it has "
                f"{apart:.1f} times the error of the worst of the generator's own pictures. "
                "Edits may look out of place."
            )
        elif apart is None and picture.psnr < POOR:
            text = (
                f"The generator {name!r} redraws this photo poorly ({picture.psnr:.1f} dB PSNR): "
                "it may be outside its world, and edits may look out of place."
            )
        else:
            return picture
        return replace(picture, notice=Noticed("warning", text if known is None else f"{known.text} {text}"))


def _labels(model: Model, x: Tensor) -> Array | None:
    """Return the class of each pixel of a photo, or ``None`` for more classes than a byte can count."""
    from ...models.checking import segmented

    segmenter = model.segmenter
    if segmenter is None or len(segmenter.classes) > 256:
        return None
    return frozen(segmented(segmenter, x)[0].cpu().numpy().astype(np.uint8))
