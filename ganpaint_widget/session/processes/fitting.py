"""Fitting: G' of the unedited photo, with which each preview can be faithful to the photo.

The fit runs when nothing else is to be done, makes way for all other work, and then resumes. If the model has
an initializer, one pass of it gives the first G', so that the next preview is already faithful.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...tickets import Report, Ticket
from ..worker import Worker
from .inverting import OpenedPicture
from .waiting import Waiting

if TYPE_CHECKING:
    from torch import Tensor

    from ...method.adaptation import Fit
    from ...models.generator import Modifier
    from ...models.model import Model


@dataclass(eq=False)
class _Work:
    """The state of the fit of one picture's G'."""

    picture: OpenedPicture
    begun: bool = False
    fit: Fit | None = None
    delta: Mapping[str, Tensor] = field(default_factory=dict)
    modify: Mapping[str, Modifier] | None = None
    fitted: bool = False


class Fitting:
    """G' of the open photo without its edits.

    Args:
        changed: called on the worker's thread when :meth:`modify` has a new result.
        failed: called there with the failed step and the reason; previews are plain from then on.
        report: called with the progress while a caller waits for it.

    Attributes:
        on: whether previews are to be faithful.
    """

    def __init__(
        self,
        model: Model,
        worker: Worker,
        *,
        changed: Callable[[], object],
        failed: Callable[[str, BaseException], None],
        report: Callable[[Report], None],
    ) -> None:
        self.on = False
        self.model, self._worker = model, worker
        self._changed, self._failed = changed, failed
        self._waiting = Waiting(
            worker, "The faithful preview could not be fitted", "Fitting the preview was canceled", report
        )
        self._work: _Work | None = None

    def start(self, picture: OpenedPicture) -> None:
        """Start or resume the fit of G' to a picture. The fit of another picture is dropped."""
        self.on = True
        if self._work is None or self._work.picture is not picture:
            self._work = _Work(picture)
        work = self._work
        self._worker.request((id(self), "begin"), lambda: self._begin(work), self._give_up)
        if not work.fitted:
            self._worker.idle((id(self), "fit"), lambda ticket: self._go_on(ticket, work), self._give_up)

    def stop(self) -> None:
        """Make previews plain from now on. The fit is kept, and can be resumed."""
        self.on = False

    def cancel(self) -> None:
        """Stop waiting: a waiting caller gets the fit so far."""
        self._waiting.cancel()

    def wait(self, picture: OpenedPicture) -> None:
        """Wait for a first G', if previews are to be faithful. On the worker's thread, do not wait.

        Raises:
            GANPaintError: the fit failed.
        """
        work = self._of(picture)
        if work is not None and work.modify is None and not self._worker.current:
            self._waiting.run(self._first, work)

    def modify(self, picture: OpenedPicture) -> Mapping[str, Modifier] | None:
        """Return the gates that draw G'(z_e) (:func:`.adaptation.gates`); ``None`` for plain previews."""
        work = self._of(picture)
        return None if work is None else work.modify

    def result(self, picture: OpenedPicture) -> Mapping[str, Tensor] | None:
        """Return the delta of a picture once its fit is complete; ``None`` before."""
        work = self._of(picture)
        return work.delta if work is not None and work.fitted else None

    def _of(self, picture: OpenedPicture) -> _Work | None:
        work = self._work
        return work if self.on and work is not None and work.picture is picture else None

    def _begin(self, work: _Work) -> None:
        """Make the first G' with one pass of the initializer, if there is one."""
        import torch

        if work.begun:
            return
        work.begun = True
        x = work.picture.x
        first = self.model.first_delta(work.picture.fast.state, x, torch.ones_like(x[:, :1]))
        if first is not None:
            self._found(work, first)

    def _first(self, ticket: Ticket, work: _Work) -> None:
        self._begin(work)
        if work.modify is None and not self._go_on(ticket, work):
            assert work.fit is not None
            self._found(work, work.fit.delta)

    def _go_on(self, ticket: Ticket, work: _Work) -> bool:
        """Continue the fit; return ``True`` once it is done, ``False`` if the ticket was cancelled before."""
        import torch

        from ...method.adaptation import Fit

        if work is not self._work or not self.on or work.fitted:
            return True
        self._begin(work)
        if work.fit is None:
            state, x = work.picture.fast.state, work.picture.x
            everything = torch.ones_like(x[:, :1])
            work.fit = Fit(self.model.generator, state, x, everything, original=state, start=work.delta)
        fit = work.fit
        fit.run(ticket=ticket)
        if not fit.done:
            return False
        if not work.fitted:  # another caller may have finished it meanwhile
            self._found(work, fit.delta)
            work.fitted, work.fit = True, None
        return True

    def _found(self, work: _Work, delta: Mapping[str, Tensor]) -> None:
        from ...method import adaptation

        work.delta = delta
        work.modify = adaptation.gates(self.model.generator, delta, work.picture.fast.state)
        self._changed()

    def _give_up(self, error: BaseException) -> None:
        self.on, self._work = False, None
        self._failed("The faithful preview could not be fitted", error)
