"""Blending: G'(z_e), the edits in an otherwise unchanged photo, on demand.

G' is fitted to the photo around the edits. The fit starts with the G' that :mod:`.fitting` has found for the
unedited photo, or with the initializer's. A stopped blend resumes if the same edits are blended again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ...images import framing
from ...images.arrays import array_of, frozen
from ...tickets import Cancelled, Report, Ticket
from ..document import Edits
from ..events import Array, Blended, Event, Finished, Progress
from ..worker import Worker
from .inverting import OpenedPicture
from .waiting import explained

if TYPE_CHECKING:
    from torch import Tensor

    from ...method.adaptation import Fit
    from ...models.generator import StagedGenerator
    from ...models.model import Model
    from ..project import StoredBlend

WARM_STEPS: Final = 12
"""Evaluations of the loss for a blend that starts with a fitted G': about half of the 20 without one. More
would restore more of the photo's own pixels, even inside the edit."""


@dataclass(frozen=True, eq=False)
class Blend:
    """A finished G'(z_e).

    Attributes:
        array: uint8 R x R x 3, read-only.
        revision, edits: the revision that it shows, and its edits.
        before, after: PSNR of the kept pixels against the photo, of G(z_e) and of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit, near 1 if the edit has survived;
            ``None`` without an edit.
        picture: the edited picture.
        delta: the perturbation that turns G into G', by fine layer; see ``adaptation.render``.
    """

    array: Array
    revision: int
    edits: Edits
    before: float
    after: float
    survival: float | None
    picture: OpenedPicture = field(repr=False)
    delta: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class _Running:
    """A blend that is queued or running."""

    ticket: Ticket
    future: Future[Blend]
    revision: int


@dataclass(frozen=True, eq=False)
class _Stopped:
    """A blend that was cancelled before it was done."""

    picture: OpenedPicture
    edits: Edits
    fit: Fit


class Blending:
    """The blends of a session's picture, one at a time.

    Args:
        lock: the owner's lock.
        picture: returns the open picture.
        fitted: returns the delta of a picture without edits, if it is fitted; see :meth:`.Fitting.result`.
        tell: called on the worker's thread with new events.
        failed: called there with the failed step and the reason.

    Attributes:
        result: the last finished blend of the picture; ``None`` before.
        progress: the progress of the running one; ``None`` when none runs.
    """

    def __init__(
        self,
        model: Model,
        worker: Worker,
        lock: threading.RLock,
        *,
        picture: Callable[[], OpenedPicture],
        fitted: Callable[[OpenedPicture], Mapping[str, Tensor] | None],
        tell: Callable[[list[Event]], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self.model, self._worker, self._lock = model, worker, lock
        self._picture, self._fitted, self._tell, self._failed = picture, fitted, tell, failed
        self._running: _Running | None = None
        self._stopped: _Stopped | None = None
        self.result: Blend | None = None
        self.progress: Progress | None = None

    def start(self, edits: Edits, revision: int) -> tuple[Future[Blend], Ticket]:
        """Blend edits into the picture, in the worker's turn.

        If a job already blends these, this returns that job. A job for other edits is asked to end.
        """
        with self._lock:
            running = self._running
            if running is not None and not running.ticket.cancelled and running.revision == revision:
                return running.future, running.ticket
            ticket = self._worker.ticket(self._report)
            # The job takes the lock before it looks at _running, so it finds what is set here.
            future = self._worker.submit(self._blend, self._picture(), edits, revision, ticket)
            self._running = _Running(ticket, future, revision)
            self.progress = Progress("blend", 0.0, None, None)
            if running is not None:
                running.ticket.cancel()
        return future, ticket

    def wait(self, future: Future[Blend], ticket: Ticket) -> Blend | None:
        """Wait for a blend. Ctrl-C ends it and keeps the best result so far.

        Returns:
            The blend; ``None`` if it was stopped before its first result.

        Raises:
            GANPaintError: the blend failed, or the call came on the worker's own thread.
        """
        try:
            try:
                return self._worker.wait(future)
            except KeyboardInterrupt:
                ticket.cancel()
                return self._worker.wait(future)  # a second Ctrl-C goes through
        except Cancelled:
            return None
        except Exception as error:
            raise explained("The blend failed", error) from error

    def cancel(self) -> None:
        """Ask the running blend to end. Its result is the best so far."""
        with self._lock:
            if self._running is not None:
                self._running.ticket.cancel()

    def begin(self, result: Blend | None = None) -> None:
        """Begin with another picture and its stored blend; cancel the last one's. Called under the lock."""
        self.cancel()
        self._running = self._stopped = self.progress = None
        self.result = result

    def _report(self, report: Report) -> None:
        progress = Progress("blend", report.fraction, report.seconds_left, report.numbers.get("psnr"))
        with self._lock:
            if self._running is None:
                return
            self.progress = progress
        self._tell([progress])

    def _blend(self, picture: OpenedPicture, edits: Edits, revision: int, ticket: Ticket) -> Blend:
        def is_open() -> bool:
            return self._picture() is picture

        def on_picture(found: Tensor, psnr: float) -> None:
            if is_open():
                self._tell([Blended(array_of(found), revision, final=False)])

        try:
            # Sent here, not where the job was queued, so that it cannot come after the job's end.
            self._tell([Progress("blend", 0.0, None, None)])
            if ticket.cancelled:
                raise Cancelled
            with self._lock:
                now = self._picture()
            if now.source is picture.source:
                picture = now  # a better inversion may have replaced it
            fit = self._fit(picture, edits)
            fit.run(ticket=ticket, on_picture=on_picture)
            blend = self._blended(picture, edits, revision, fit)
            with self._lock:
                ours = is_open()
                if ours:
                    self.result = blend
                    self._stopped = None if fit.done else _Stopped(picture, edits, fit)
            if ours:
                self._tell([Blended(blend.array, revision, final=True)])
            return blend
        except Cancelled:
            raise
        except Exception as error:
            self._failed("The blend failed", error)
            raise
        finally:
            with self._lock:
                # Another one may have been queued since. Then the session still has a running job.
                if self._running is not None and self._running.ticket is ticket:
                    self._running = self.progress = None
            self._tell([Finished("blend")])

    def _fit(self, picture: OpenedPicture, edits: Edits) -> Fit:
        """Return the fit of G' to the photo around these edits: the stopped one, or a new one."""
        import torch

        from ...method import adaptation

        stopped = self._stopped
        if stopped is not None and stopped.picture is picture and stopped.edits == edits:
            return stopped.fit
        generator = self.model.generator
        original, keep = picture.fast.state, kept(generator, picture, edits)
        with torch.no_grad():
            edited = picture.fast.edited(edits)
        delta = self._fitted(picture)
        start: Mapping[str, Tensor] | None
        if delta is None:
            start = self.model.first_delta(edited, picture.x, keep)
        else:
            start = adaptation.gated(generator, delta, original, edited)
        steps = None if delta is None else WARM_STEPS
        return adaptation.Fit(generator, edited, picture.x, keep, original=original, steps=steps, start=start)

    def _blended(self, picture: OpenedPicture, edits: Edits, revision: int, fit: Fit) -> Blend:
        import torch

        from ...method import adaptation

        found = fit.found()
        with torch.no_grad():
            edited = picture.fast.edited(edits)
            array = array_of(adaptation.render(self.model.generator, edited, found.delta))
        return Blend(
            array, revision, edits, found.before, found.after, found.survival, picture, dict(found.delta)
        )


def kept(generator: StagedGenerator, picture: OpenedPicture, edits: Edits) -> Tensor:
    """Return how much each pixel must keep the photo: 1 x 1 x R x R, see :func:`.adaptation.keep_mask`.

    Blends and saved pictures both use it. An edit counts wherever it was painted. Suppressed units, which are
    usually off everywhere, count where the change is visible.
    """
    import torch

    from ...method.adaptation import keep_mask

    def strokes(some: Edits) -> Tensor:
        union = np.zeros(picture.photo.shape[:2], np.uint8)
        for edit in some:
            union = np.maximum(union, edit.mask)
        return torch.from_numpy(union.astype(np.float32) / 255).to(picture.x)[None, None]

    edits = tuple(edit for edit in edits if edit.enabled)
    painted = tuple(edit for edit in edits if edit.verb != "suppress")
    with torch.no_grad():
        edited, original = picture.fast.edited(edits), picture.fast.state
        keep = keep_mask(generator, original, edited, strokes(painted))
        if len(painted) < len(edits):
            suppressed = strokes(tuple(edit for edit in edits if edit.verb == "suppress"))
            without = picture.fast.edited(painted)
            seen = keep_mask(generator, without, edited, suppressed, painted=False)
            keep = torch.minimum(keep, seen)
        return keep


def pasted(generator: StagedGenerator, picture: OpenedPicture, edits: Edits, array: Array) -> Image.Image:
    """Paste a picture of these edits into the photo at its own size. Unedited parts keep its pixels.

    Args:
        array: G(z_e) or G'(z_e), uint8 R x R x 3; returned unchanged without a larger photo.
    """
    original = picture.source.original
    if original is None:
        return Image.fromarray(array.copy())
    changed = (1 - kept(generator, picture, edits)[0, 0]).mul(255).round().cpu().numpy().astype(np.uint8)
    return framing.paste(original.image, array, original.fit, changed)


def restored(stored: StoredBlend, edits: Edits, revision: int, picture: OpenedPicture) -> Blend:
    """Return a blend of a picture from a project."""
    import torch

    delta = {name: torch.from_numpy(value).to(picture.x) for name, value in stored.delta.items()}
    array = frozen(stored.array)
    return Blend(array, revision, edits, stored.before, stored.after, stored.survival, picture, delta)
