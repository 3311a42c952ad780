"""A session's state: the open picture, its edits, and the processes that work on them.

The state changes under one lock. Observers are called once the lock is free, so they may call the session.
The processes (see ``processes/``) do the slow work on the worker's thread. They hand over a picture, a better
inversion of it, or new concepts, and this file puts these in place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..tickets import Report
from . import journal as record
from . import project
from .document import Edits, History
from .events import Changed, Event, Failed, Observers, Opened, PaletteChanged, Progress, Rendered
from .palette import Palette
from .processes.blending import Blending, restored
from .processes.choosing import Choosing
from .processes.discovering import Discovering
from .processes.fitting import Fitting
from .processes.inverting import Inverting, OpenedPicture, reconceived
from .processes.references import References
from .processes.rendering import Frame, Rendering, Wanted
from .processes.reviewing import Reviewing
from .processes.waiting import explained
from .worker import Worker

if TYPE_CHECKING:
    from ..models.model import Model

log = logging.getLogger(__name__)


class SessionState:
    """The picture, the edits, the palette and the processes of a session.

    Args:
        model: the generator with its companions.
        generator_name: the name under which it was loaded; ``None`` if it was given as an object.
        worker: the thread that runs the model.
        scene: the scene from which the next one is counted.
        journal: the directory for the journal; ``None`` keeps none.
        progressive: see :class:`.EditingSession`.

    Attributes:
        lock: protects everything below.
        picture: the open picture. It does not exist until :attr:`inverting` has opened the first.
        history: the edits of the picture.
        palette: the concepts and brushes to paint with.
    """

    picture: OpenedPicture

    def __init__(
        self,
        model: Model,
        generator_name: str | None,
        worker: Worker,
        *,
        scene: int,
        journal: Path | None,
        progressive: bool,
    ) -> None:
        self.lock = threading.RLock()
        self.model, self.generator_name, self.worker, self.scene = model, generator_name, worker, scene
        self.observers = Observers()
        self.palette = self._palette_of(model)
        self.history = History(journal)
        self.inverting = Inverting(
            model,
            worker,
            progressive=progressive,
            opened=self._take_over,
            refined=self._take_over_refined,
            failed=self._tell_failure,
            report=self._reporter("open"),
            tell=lambda notice: self.tell([notice]),
        )
        self.rendering = Rendering(
            worker, self.lock, wanted=self._wanted, tell=self.tell, failed=self._tell_failure
        )
        self.reviewing = Reviewing(
            model, worker, self.lock, wanted=self._wanted, frame=lambda: self.rendering.newest, tell=self.tell
        )
        self.choosing = Choosing(
            worker,
            picture=lambda: self.picture,
            slow=lambda: self.reviewing.slow,
            change=self.change,
            failed=self._tell_failure,
        )
        self.fitting = Fitting(
            model,
            worker,
            changed=self.rendering.start,
            failed=self._tell_failure,
            report=self._reporter("fit"),
        )
        self.blending = Blending(
            model,
            worker,
            self.lock,
            picture=lambda: self.picture,
            fitted=self.fitting.result,
            tell=self.tell,
            failed=self._tell_failure,
        )
        self.references = References(model, worker, self._reporter("open"))
        self.discovering = Discovering(
            worker, found=self._take_over_concepts, report=self._reporter("discover")
        )

    def cancel(self) -> None:
        """Ask all processes that a user can stop to end."""
        for process in (self.blending, self.fitting, self.inverting, self.references, self.discovering):
            process.cancel()

    @contextmanager
    def change(self) -> Iterator[History]:
        """Provide the history under the lock, and pass on its news once the lock is free.

        What has changed is told even if Ctrl-C or an error ends the change.
        """
        events: list[Event] = []
        try:
            with self.lock:
                try:
                    yield self.history
                finally:
                    events = self.history.news()
        finally:
            self.tell(events)

    # --- what a file has kept ---

    def resume(self, stored: project.Project, edits: Edits, blended: Edits | None) -> None:
        """Take over a project's edits and blend, after its picture was opened. Called within a change.

        Args:
            stored: the project.
            edits, blended: its edits and those of its blend; see :func:`.saving.fitting_edits`.
        """
        history = self.history
        history.resume(edits)
        if stored.blend is not None and blended is not None:
            revision = history.revision if blended == edits else history.revision - 1
            self.blending.begin(restored(stored.blend, blended, revision, self.picture))

    def replay(self, recording: record.Recording) -> None:
        """Make a journal's edits again, after its picture was opened. This journal continues that one."""
        with self.change() as history:
            history.goes_on_with(recording)
            history.begin(self._opening(), self.picture.photo, self.picture.source.original)
            history.replay(recording, self.palette.checked)

    # --- what belongs together, read together ---

    def inverted(self) -> tuple[OpenedPicture, Edits]:
        """Wait until the picture is fully inverted; return it and its edits."""
        self.inverting.wait()
        with self.lock:
            return self.picture, self.history.edits

    def frame(self) -> Frame:
        """Wait for the preview of the present revision; return it."""
        self.inverting.wait()
        self.fitting.wait(self.picture)
        return self.rendering.result()

    def _wanted(self) -> Wanted:
        """Return the present view; called under the lock."""
        history, picture = self.history, self.picture
        return Wanted(
            picture,
            history.edits,
            history.revision,
            self.fitting.modify(picture),
            history.touched,
            history.before or (),
        )

    # --- results of processes, put in place ---

    def _take_over(
        self, picture: OpenedPicture, begin: Callable[[], None], complete: Callable[[], None]
    ) -> None:
        """Replace the last picture with one that has been opened; see ``opened`` of :class:`.Inverting`."""
        source = picture.source
        with self.change() as history:
            picture = self._in_concepts(picture)
            begin()  # raises Cancelled while nothing has changed
            self.picture = picture
            history.announce(Opened())
            if source.kind != "photo":
                self.scene = source.index
            history.begin(self._opening(), picture.photo, source.original)
            self.blending.begin()
            rendered = self.rendering.begin(picture, history.revision)
            complete()
            if self.fitting.on:
                self.fitting.start(picture)
            if picture.notice is not None:
                history.announce(picture.notice)
            history.announce(rendered)

    def _take_over_refined(self, guess: OpenedPicture, picture: OpenedPicture) -> None:
        """Replace a picture's rough inversion with a better one."""
        with self.lock:
            if self.picture.x is not guess.x:
                return
            picture = self._in_concepts(picture)
            self.picture = picture
            if self.fitting.on:
                self.fitting.start(picture)
        if picture.notice is not None and picture.notice is not guess.notice:
            self.tell([picture.notice])
        self.rendering.start()

    def _take_over_concepts(self, model: Model) -> None:
        """Use the concepts of a model with the same generator."""
        with self.lock:
            self.model = model
            for process in (self.inverting, self.reviewing, self.fitting, self.blending, self.references):
                process.model = model
            self.palette = self._palette_of(model)
            self.picture = self._in_concepts(self.picture)
        self.tell([PaletteChanged()])

    def _palette_of(self, model: Model) -> Palette:
        return Palette(model, lambda: self.tell([PaletteChanged()]))

    def _in_concepts(self, picture: OpenedPicture) -> OpenedPicture:
        """Return the picture with the present concepts, since it may have been opened before them."""
        known = picture.fast.model.dissection is self.model.dissection
        return picture if known else reconceived(self.model, picture)

    def _opening(self) -> dict[str, Any]:
        """Return the journal's description of the picture."""
        source = self.picture.source
        return {
            "generator": self.generator_name,
            "kind": source.kind,
            "index": source.index,
            "title": source.title,
        }

    # --- telling, outside the lock ---

    def tell(self, events: list[Event]) -> None:
        """Call the observers. A change asks for its preview afterwards, so that they hear of it first."""
        for event in events:
            try:
                self.observers.tell(event)
            finally:  # Ctrl-C may end an observer, but the change has been made
                if isinstance(event, Changed):
                    self.rendering.start()
                elif isinstance(event, Rendered) and self.observers:
                    self.reviewing.start()

    def _tell_failure(self, what: str, error: BaseException) -> None:
        """Report a failure of background work, which has no waiting caller to raise it to."""
        log.error("%s.", what, exc_info=error)
        told = explained(what, error)
        self.tell([Failed(told.message, told.hint)])

    def _reporter(self, job: Literal["open", "fit", "discover"]) -> Callable[[Report], None]:
        return lambda report: self.tell([Progress(job, report.fraction, report.seconds_left, None)])
