"""The editing session: the whole product, without its widget.

A session holds one picture in four forms, and the edits made to it::

    session = EditingSession("church.jpg", generator="church")
    session.add("tree", mask)                # G(z_e) is rendered in the background ...
    session.restyle("dome", mask, "gold.jpg")
    session.preview                          # ... and this waits for it
    session.adapt()                          # G'(z_e): the edit, and the rest of the photo as it was
    session.save_png("edited.png")

The widget only calls these methods and shows their results.

A verb keeps the session consistent. It checks its arguments and changes the history (see ``document.py``)
under one lock. Then, outside the lock, it calls the observers and requests a new preview. A verb that fails
therefore changes nothing. The processes (see ``processes/``) do the slow work on the worker's thread, and the
session puts their results in place. Half of this file documents arguments: it is the product's reference.

Importing this module does not import torch; making a session does.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image

from ..deprecated import warn
from ..errors import GANPaintError
from ..images import files, framing
from ..method.edits import MAX_SEED, Edit
from ..models.devices import load
from ..tickets import Cancelled, Report, Ticket
from ..validation import checked_concept, checked_id, checked_number, checked_scene
from . import journal as record
from . import project, saving, sources
from .document import MAX_EDITS, Edits, History

# Written so that these are the session's own names, too: observers of a session find them there.
from .events import Array as Array
from .events import Blended as Blended
from .events import Changed as Changed
from .events import Event as Event
from .events import Failed as Failed
from .events import Finished as Finished
from .events import Noticed as Noticed
from .events import Observers
from .events import Opened as Opened
from .events import PaletteChanged as PaletteChanged
from .events import Progress as Progress
from .events import Rendered as Rendered
from .palette import Concept as Concept
from .palette import Palette
from .processes.blending import Blend as Blend
from .processes.blending import Blending, restored
from .processes.discovering import Discovering
from .processes.fitting import Fitting
from .processes.inverting import Inverting, OpenedPicture, Source, reconceived
from .processes.references import References, read_reference
from .processes.rendering import Rendering
from .processes.reviewing import Reviewing
from .processes.waiting import explained
from .reading import Reading, image
from .reading import Referred as Referred
from .reading import View as View
from .worker import Worker, default_worker

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator
    from ..models.model import Model

_FAITHFUL: Final = {
    True: "The preview keeps to the photo as soon as the generator is fitted to it, in a few seconds.",
    False: "The preview is the generator's own picture.",
}


class _Keep(Enum):
    """Stands for "as it is": ``None`` says something of its own to :meth:`EditingSession.update`."""

    KEEP = 0


KEEP: Final = _Keep.KEEP

log = logging.getLogger(__name__)


class EditingSession(Reading):
    """Open a picture, and edit it with concepts that the generator knows.

    It is thread-safe: any thread may call any method, even from an observer's callback.

    Args:
        photo: a path, a PIL image, an array or a tensor, or a file in any other wrapping, see
            :func:`.images.sources.opened`; its colors are brought to sRGB, and its centered square is resized
            to the generator's size. ``None``: a scene of the generator's gallery.
        generator: the name of a generator, or one of your own (a ``StagedGenerator`` or a ``Model``).
        fit: for a photo that is not square: ``"crop"`` edits its middle, ``"pad"`` all of it, with its edges
            mirrored to fill the square.
        scene: the index of a scene in the gallery; without a gallery, the seed of a sample G(z).
        progressive: show a picture's first, rough inversion at once, and refine it in the background, for
            editors with a waiting user. ``reconstruction`` and ``measures`` then return the present state;
            ``preview``, and everything saved or made from it, waits for the inversion.
        journal: ``True`` keeps a journal in the usual place (see ``journal.py``), ``False`` keeps none, and a
            path keeps it there.
        worker: the thread that runs the model; by default, all sessions share one.
        device: of torch, such as ``"cuda"``; by default what the environment's ``GANPAINT_DEVICE`` names, and
            without that where the generator is.

    Raises:
        GANPaintError: the picture cannot be read, or the generator cannot be loaded.
    """

    def __init__(
        self,
        photo: object = None,
        generator: str | Path | StagedGenerator | Model = "demo",
        *,
        fit: framing.Fit = "crop",
        scene: int = 0,
        progressive: bool = False,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
        device: str | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._worker = worker if worker is not None else default_worker()
        self._observers = Observers()
        self._generator_name = str(generator) if isinstance(generator, (str, Path)) else None
        self._model: Model = self._worker.ask(load, generator, device)
        self._palette = Palette(self._model, lambda: self._tell([PaletteChanged()]))
        self._scene = checked_scene(scene)
        self._picture: OpenedPicture

        root = record.journal_root() if journal is True else None if journal is False else Path(journal)
        self._history = History(root)
        self._inverting = Inverting(
            self._model,
            self._worker,
            progressive=progressive,
            opened=self._take_over,
            refined=self._take_over_refined,
            failed=self._tell_failure,
            report=self._reporter("open"),
            tell=lambda notice: self._tell([notice]),
        )
        self._rendering = Rendering(
            self._worker, self._lock, wanted=self._wanted, tell=self._tell, failed=self._tell_failure
        )
        self._reviewing = Reviewing(
            lambda: self._model,
            self._worker,
            self._lock,
            wanted=self._wanted,
            frame=lambda: self._rendering.newest,
            tell=self._tell,
        )
        self._fitting = Fitting(
            self._model,
            self._worker,
            changed=self._rendering.start,
            failed=self._tell_failure,
            report=self._reporter("fit"),
        )
        self._blending = Blending(
            self._model,
            self._worker,
            self._lock,
            picture=lambda: self._picture,
            fitted=self._fitting.result,
            tell=self._tell,
            failed=self._tell_failure,
        )
        self._references = References(self._model, self._worker, self._reporter("open"))
        self._discovering = Discovering(
            self._worker, found=self._take_over_concepts, report=self._reporter("discover")
        )
        if photo is None:
            source = sources.scene(self._model, self._scene)
        else:
            source = photo if isinstance(photo, Source) else self._photo(photo, None, fit)
        self._inverting.start(lambda: source)

    @classmethod
    def recover(
        cls,
        path: str | Path | None = None,
        *,
        generator: str | Path | StagedGenerator | Model | None = None,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
        device: str | None = None,
    ) -> EditingSession:
        """Return a new session with all edits of one whose kernel has ended, undo included.

        Args:
            path: the journal's directory; by default that of the newest session that has ended and in
                which something was painted.
            generator: needed when that session's generator was given as an object: the journal knows
                names only.
            journal, worker, device: as in the constructor. The new session keeps a journal of its own.

        Raises:
            GANPaintError: the journal does not exist, or does not fit the generator.
        """
        place = record.newest(record.journal_root()) if path is None else Path(path).expanduser()
        recording = record.read(place)
        opening = recording.opening
        chosen = generator if generator is not None else opening.get("generator")
        if chosen is None:
            raise GANPaintError(
                "That session's generator was given as an object, which the journal cannot keep.",
                "Pass it again: EditingSession.recover(generator=...).",
            )
        source = sources.recorded(recording)
        session = cls(source, chosen, scene=source.index, journal=journal, worker=worker, device=device)
        earlier = opening.get("continues", [])
        with session._change() as history:
            if isinstance(earlier, list):
                history.continues = (recording.path.name, *(one for one in earlier if isinstance(one, str)))
            history.acknowledged = record.acknowledged_of(opening)
            history.begin(session._opening(), session._picture.photo, source.original)
            history.replay(recording, session._palette.checked)
        return session

    @classmethod
    def load(
        cls,
        source: str | Path | bytes,
        *,
        generator: str | Path | StagedGenerator | Model | None = None,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
        device: str | None = None,
    ) -> EditingSession:
        """Load a session that :meth:`save` kept: on the same machine, the same pictures, bit for bit.

        If the generator's weights have changed since, the photo is inverted again, and a notice says so.

        Args:
            source: the path of a ``.ganpaint`` file, or its bytes.
            generator: needed when the project's generator was given as an object or as a file: a project
                may come from a stranger, and has no say in which files are opened.
            journal, worker, device: as in the constructor.

        Raises:
            GANPaintError: the project does not exist, is damaged, or does not fit the generator.
        """
        stored = project.read(source if isinstance(source, bytes) else Path(source).expanduser())
        name = stored.generator
        if generator is None and (name is None or Path(name).name != name or Path(name).suffix):
            raise GANPaintError(
                f"The project's generator {'was an object' if name is None else f'is the file {name!r}'}.",
                "Pass it: EditingSession.load(..., generator=...).",
            )
        worker = worker if worker is not None else default_worker()
        chosen: Any = name if generator is None else generator
        picture = worker.ask(saving.source_of, stored, worker.ask(load, chosen))
        session = cls(picture, chosen, scene=picture.index, journal=journal, worker=worker, device=device)
        session._resume(stored, session._fitting_edits(stored))
        return session

    def __enter__(self) -> EditingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all jobs and release the journal, which stays on disk and records nothing further."""
        self.cancel()
        with self._lock:
            self._history.close()

    def __repr__(self) -> str:
        return f"<EditingSession {self.title!r} with {self.generator_name!r}, {len(self.edits)} edits>"

    # --- verbs ---

    def add(
        self,
        concept: str,
        mask: object,
        strength: float = 1.0,
        *,
        units: object = None,
        target: str | None = None,
        variant: int = 0,
    ) -> Edit:
        """Add a concept where the mask says.

        Args:
            concept: one of ``concepts``.
            mask: R x R, or of the photo's own size: an array or a tensor of bool, of 0 and 1, of 0 to 255 or
                of floats from 0 to 1; a PIL image; the path of a picture; see :func:`.files.read_mask`.
            strength: 0 to 4; 1 is the plain edit. See :func:`.equation.apply` for its two meanings.
            units: the units that take part: ``None`` for all, each with the dissection's weight; ``"low"``,
                ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or a list of their numbers.
            target: the activations to aim at. ``"exemplar"`` takes those of one true object of the concept,
                from the picture that is most like this one. ``"tuned"`` takes the dissection's,
                ``"quantile"`` the units' 0.99 quantiles, ``"mean"`` their means over the concept. The default
                is an exemplar if the dissection has some, else ``"tuned"``.
            variant: 1, 2, ... are other plausible versions, the same for the same number; 0 is the plain
                one. See :meth:`variants`.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        return self._put("add", concept, mask, strength, units=units, target=target, variant=variant)

    def remove(self, concept: str, mask: object, strength: float = 1.0, *, units: object = None) -> Edit:
        """Remove a concept where the mask says; arguments and errors as in :meth:`add`.

        The strength fades the removal: 0 removes nothing, and 1 or more removes all of it.
        """
        return self._put("remove", concept, mask, strength, units=units)

    def restyle(
        self,
        concept: str,
        mask: object,
        reference: object,
        strength: float = 1.0,
        *,
        region: object = None,
        units: object = None,
    ) -> Edit:
        """Draw a concept as a reference does, where the mask says; waits for the reference's inversion.

        Args:
            concept, mask, strength, units: as in :meth:`add`. In the paper's equation, the strength is a
                factor of the reference's activations: 1 is its look, 0 removes, and more exaggerates.
            reference: a picture, as in the constructor, or the seed of one of the generator's samples.
            region: the part of the reference that counts: a mask, R x R or as large as the picture. ``None``
                stands for the pixels where the generator's segmenter sees the concept.

        Raises:
            GANPaintError: an argument is not as above, or the reference does not show the concept; nothing
                has changed then.
        """
        checked_concept(concept, self.concepts, self.generator_name)
        referred = read_reference(reference, region, self.size)
        return self._put("restyle", concept, mask, strength, units=units, reference=referred)

    def suppress(self, units: object, mask: object = None) -> Edit:
        """Switch units off whatever they draw, for example units that cause artifacts.

        Args:
            units: their numbers.
            mask: where, as in :meth:`add`; everywhere by default.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        everywhere = np.full((self.size, self.size), 255, np.uint8)
        return self._put("suppress", "", everywhere if mask is None else mask, 1.0, units=units)

    def _put(self, verb: str, concept: str, mask: object, strength: float, **details: Any) -> Edit:
        # Checked in the order of the arguments, so that the message is about the first that is wrong.
        if verb != "suppress":
            checked_concept(concept, self.concepts, self.generator_name)
        values = files.read_mask(mask, self.size, self._picture.source.original)
        edit_id = f"e-{uuid.uuid4().hex[:10]}"
        fresh = self._completed(self._palette.fresh(edit_id, verb, concept, strength, **details))
        with self._change() as history:
            history.paint(edit_id, (0, 0, self.size, self.size), values, fresh, None)
            return history.edit(edit_id)

    def paint(
        self,
        edit_id: str,
        rect: tuple[int, int, int, int],
        values: object,
        *,
        verb: str,
        concept: str,
        strength: float = 1.0,
        stroke: Hashable | None = None,
        units: object = None,
        target: str | None = None,
        variant: int = 0,
        reference: object = None,
        region: object = None,
    ) -> int:
        """Paint a piece of a stroke: set an edit's mask inside ``rect`` to ``values``.

        Values are absolute, so that applying the same piece twice is harmless. Consecutive pieces
        with the same ``stroke`` (not ``None``) are one step of undo. A rectangle without pixels changes
        nothing.

        Args:
            edit_id: 1 to 32 characters of ``A-Z a-z 0-9 -``. An unknown one begins a new edit.
            rect: x, y, width and height in picture pixels, inside the picture.
            values: uint8 height x width, 0 to 255.
            verb, concept, strength, units, target, variant, reference, region: of a new edit, as in
                :meth:`add` and :meth:`restyle`; ignored for a known one.

        Returns:
            The revision with this piece in it.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        checked_id(edit_id)
        fresh = None
        while True:
            with self._change() as history:
                if fresh is not None or history.find(edit_id) is not None:
                    history.paint(edit_id, rect, values, fresh, stroke)
                    return history.revision
            # A new edit takes a look at the model, which is long for a lock.
            referred = None if reference is None else read_reference(reference, region, self.size)
            unpainted = self._palette.fresh(
                edit_id, verb, concept, strength,
                units=units, target=target, variant=variant, reference=referred,
            )  # fmt: skip
            fresh = self._completed(unpainted)

    def update(
        self,
        edit_id: str,
        strength: float | _Keep = KEEP,
        *,
        units: object = KEEP,
        target: str | _Keep = KEEP,
        variant: int | _Keep = KEEP,
        reference: object = KEEP,
        region: object = None,
    ) -> Edit:
        """Change an edit's settings, as one step of undo; omitted settings stay.

        Args:
            edit_id: of the edit.
            strength, units, target, variant: as in :meth:`add`.
            reference, region: as in :meth:`restyle`.

        Raises:
            GANPaintError: the edit does not exist, or an argument is wrong for it; nothing has changed then.
        """
        with self._lock:
            before = self._history.edit(edit_id)
        given = {"strength": strength, "units": units, "target": target, "variant": variant}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not KEEP}
        if reference is not KEEP:
            changes["reference"] = read_reference(reference, region, self.size)
        if changes.keys() & {"target", "variant", "reference"}:
            changes["activations"] = None
        after = self._completed(replace(before, **changes))
        with self._change() as history:
            return history.alter(edit_id, "retune", {name: getattr(after, name) for name in changes})

    def toggle(self, edit_id: str, enabled: bool) -> Edit:
        """Switch an edit off or on. GANPaintError if the edit does not exist."""
        if not isinstance(enabled, (bool, np.bool_)):
            raise GANPaintError("An edit is switched with True or False.", "Pass one of the two.")
        with self._change() as history:
            return history.alter(edit_id, "toggle", {"enabled": bool(enabled)})

    def move(self, edit_id: str, index: int) -> None:
        """Give an edit another place in the order in which they apply, from 0 (first) on.

        Raises:
            GANPaintError: the edit or the place does not exist; nothing has changed then.
        """
        with self._change() as history:
            history.move(edit_id, index)

    def import_studio(self, source: object) -> tuple[Edit, ...]:
        """Apply a recording of GANPaint Studio, as one step of undo.

        Args:
            source: the path of a JSON file, or the list in it; see :func:`.project.read_interventions`.

        Raises:
            GANPaintError: it is not such a recording, or an edit in it is not possible here; nothing has
                changed then.
        """
        made = []
        for verb, concept, strength, mask in project.read_interventions(source, self.size):
            edit_id = f"e-{uuid.uuid4().hex[:10]}"
            fresh = self._completed(self._palette.fresh(edit_id, verb, concept, strength))
            made.append(replace(fresh, mask=mask))
        with self._change() as history:
            if len(history.edits) + len(made) > MAX_EDITS:
                raise GANPaintError(f"A picture keeps at most {MAX_EDITS} edits.", "Delete some.")
            stroke = uuid.uuid4().hex
            for edit in made:
                blank = replace(edit, mask=np.zeros_like(edit.mask))
                history.paint(edit.id, (0, 0, self.size, self.size), edit.mask, blank, stroke)
        return tuple(made)

    def delete(self, edit_id: str) -> None:
        """Delete an edit; undo brings it back. GANPaintError if the edit does not exist."""
        with self._change() as history:
            history.delete(edit_id)

    def undo(self) -> bool:
        """Take back the last step; return ``False`` if none is left. At most 200 are kept."""
        with self._change() as history:
            return history.step("undo")

    def redo(self) -> bool:
        """Repeat a step that undo took back; return ``False`` if none is left."""
        with self._change() as history:
            return history.step("redo")

    def open(self, photo: object, *, title: str | None = None, fit: framing.Fit = "crop") -> None:
        """Open another picture, which drops this one's edits and undo; waits for the inversion.

        Args:
            photo, fit: as in the constructor.
            title: what to call it; by default the file's name.

        Raises:
            GANPaintError: it cannot be read as a picture, or :meth:`cancel` was called. The open picture
                stays, with its running jobs.
        """
        source = self._photo(photo, title, fit)
        self._inverting.start(lambda: source)

    def open_project(self, source: str | Path | bytes) -> None:
        """Open a project, as :meth:`load` does, in place of this picture; it must have the same generator.

        Raises:
            GANPaintError: the project does not exist, is damaged, or was made with another generator; the
                picture that was open stays.
        """
        stored = project.read(source if isinstance(source, bytes) else Path(source).expanduser())
        picture = self._worker.ask(saving.source_of, stored, self._model)
        other = stored.generator is None or stored.generator != self._generator_name
        if picture.cached is None and other:
            raise GANPaintError(
                f"The project was made with another generator than {self.generator_name!r}"
                f"{'.' if stored.generator is None else f': {stored.generator!r}.'}",
                "Open it in a cell: EditingSession.load(...).",
            )
        edits = self._fitting_edits(stored)
        self._inverting.start(lambda: picture)
        self._resume(stored, edits)

    def next_scene(self) -> None:
        """Open the next scene of the gallery; for a generator without a gallery, another sample."""
        self._inverting.start(lambda: sources.scene(self._model, self._scene + 1))

    def open_scene(self, index: int) -> None:
        """Open a scene of the gallery; for a generator without a gallery, the sample with this seed.

        Args:
            index: which scene, from 0; below the number of scenes that the gallery has.

        Raises:
            GANPaintError: the scene does not exist. The open picture stays.
        """
        gallery = self._model.gallery
        what, largest = ("seed", MAX_SEED) if gallery is None else ("scene", gallery.count - 1)
        number = checked_number(index, what, largest)
        self._inverting.start(lambda: sources.scene(self._model, number))

    def find_concepts(self, parts: int = 12) -> tuple[Concept, ...]:
        """Find concepts to paint with, for a generator that has none. Waits for them: it takes minutes.

        See :func:`.discover`. They are kept in the cache for the next session with this generator.

        Args:
            parts: how many, 2 to 64.

        Returns:
            The palette.

        Raises:
            GANPaintError: the generator has concepts already, or :meth:`cancel` was called; nothing has
                changed then.
        """
        number = checked_number(parts, "number of parts", 64)
        self._inverting.wait()
        self._discovering.run(self._model, number)
        return self.palette

    def adapt(self) -> Image.Image | None:
        """Blend the edits into the photo: G'(z_e). Blocks; Ctrl-C ends it and keeps the best result.

        Returns:
            The result, R x R; ``None`` if it was stopped before the first one.

        Raises:
            GANPaintError: the blend failed, or an observer called this on the worker's own thread.
        """
        future, ticket = self._start_adapt()
        try:
            try:
                blend = self._worker.wait(future)
            except KeyboardInterrupt:
                ticket.cancel()
                blend = self._worker.wait(future)  # a second Ctrl-C goes through
        except Cancelled:
            return None
        except GANPaintError:
            raise
        except Exception as error:
            raise explained("The blend failed", error) from error
        return image(blend.array)

    @property
    def faithful(self) -> bool:
        """Whether the preview shall be G'(z_e), with a G' that is fitted to the unedited photo."""
        return self._fitting.on

    @faithful.setter
    def faithful(self, on: bool) -> None:
        warn("Setting EditingSession.faithful", "start_faithful() and stop_faithful()")
        if on:
            self.start_faithful()
        else:
            self.stop_faithful()

    def start_faithful(self) -> None:
        """Make the preview G'(z_e) instead of G(z_e), with a G' that is fitted to the unedited photo.

        With an initializer (see :class:`Model`), the next preview already is one. The fit continues in the
        background while nothing else runs, and takes a few seconds; :meth:`adapt` starts with it. Without an
        initializer, reading :attr:`preview` waits for the fit.
        """
        with self._lock:
            self._fitting.start(self._picture)
        self._tell([Noticed("info", _FAITHFUL[True])])
        self._rendering.start()

    def stop_faithful(self) -> None:
        """Make the preview G(z_e) again. The fit is kept."""
        self._fitting.stop()
        self._tell([Noticed("info", _FAITHFUL[False])])
        self._rendering.start()

    def start_adapt(self) -> Future[Blend]:
        """Start blending in the background, while editing may go on; observers get its events.

        The result belongs to the present edits. If a job already blends these, this returns that job; a job
        for other edits is asked to end. A cancelled blend resumes where it stopped.
        """
        return self._start_adapt()[0]

    def cancel(self) -> None:
        """Ask running jobs to end, if there are any.

        A blend, and a fit with a waiting caller, keep the best result so far. The opening of a picture or a
        reference, and a search for concepts, are given up, and a waiting caller gets a GANPaintError.
        """
        self._blending.cancel()
        self._fitting.cancel()
        self._inverting.cancel()
        self._references.cancel()
        self._discovering.cancel()

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on.

        The call comes on the event's own thread: the caller's for verbs, the worker's for pictures and
        progress. It never comes under the session's lock, so events of different threads may overtake each
        other: compare their revisions. Be quick, because the worker waits for the callback. Exceptions in it
        are logged and go no further.

        Returns:
            A function that ends the calls.
        """
        return self._observers.add(callback)

    # --- changing the state ---

    @contextmanager
    def _change(self) -> Iterator[History]:
        """Provide the history under the lock, and pass on its news once the lock is free."""
        with self._lock:
            yield self._history
            events = self._history.news()
        self._tell(events)

    def _fitting_edits(self, stored: project.Project) -> tuple[Edits, Edits | None]:
        return saving.fitting_edits(stored, self._model, self._completed)

    def _resume(self, stored: project.Project, fitting: tuple[Edits, Edits | None]) -> None:
        """Take over a project's edits and blend, its picture having been opened."""
        edits, blended = fitting
        with self._change() as history:
            history.resume(edits)
            if stored.blend is not None and blended is not None:
                revision = history.revision if blended == edits else history.revision - 1
                self._blending.begin(restored(stored.blend, blended, revision, self._picture))

    def _take_over(self, picture: OpenedPicture, commit: Callable[[], None]) -> None:
        """Put a picture that is there in the last one's place."""
        source = picture.source
        with self._lock:
            picture = self._in_concepts(picture)
            self._picture = picture
            if source.kind != "photo":
                self._scene = source.index
            self._history.begin(self._opening(), picture.photo, source.original)
            self._blending.begin()
            rendered = self._rendering.begin(picture, self._history.revision)
            commit()
            if self._fitting.on:
                self._fitting.start(picture)
            events: list[Event] = [Opened(), *self._history.news()]
        if picture.notice is not None:
            events.append(picture.notice)
        self._tell([*events, rendered])

    def _take_over_refined(self, guess: OpenedPicture, picture: OpenedPicture) -> None:
        """Put a picture that is inverted further in the place of its guess."""
        with self._lock:
            if self._picture.x is not guess.x:
                return
            picture = self._in_concepts(picture)
            self._picture = picture
            if self._fitting.on:
                self._fitting.start(picture)
        if picture.notice is not None and picture.notice is not guess.notice:
            self._tell([picture.notice])
        self._rendering.start()

    def _take_over_concepts(self, model: Model) -> None:
        """Paint with what a model knows, the generator being the same."""
        with self._lock:
            self._model = model
            for process in (self._inverting, self._fitting, self._blending, self._references):
                process.model = model
            self._palette = Palette(model, lambda: self._tell([PaletteChanged()]))
            self._picture = self._in_concepts(self._picture)
        self._tell([PaletteChanged()])

    def _in_concepts(self, picture: OpenedPicture) -> OpenedPicture:
        """Return A picture that may have been opened before the concepts were found."""
        known = picture.fast.model.dissection is self._model.dissection
        return picture if known else reconceived(self._model, picture)

    def _opening(self) -> dict[str, Any]:
        """Return the journal's description of the picture."""
        source = self._picture.source
        return {
            "generator": self._generator_name,
            "kind": source.kind,
            "index": source.index,
            "title": source.title,
        }

    def _photo(self, photo: object, title: str | None, fit: framing.Fit) -> Source:
        return sources.photo(photo, self.size, title=title, fit=fit, beside=self._scene)

    def _start_adapt(self) -> tuple[Future[Blend], Ticket]:
        with self._lock:
            return self._blending.start(self._history.edits, self._history.revision)

    # --- telling, outside the lock ---

    def _tell(self, events: list[Event]) -> None:
        """Call the observers; a change then asks for its preview, so that they know of it before that."""
        for event in events:
            self._observers.tell(event)
            if isinstance(event, Changed):
                self._rendering.start()
            elif isinstance(event, Rendered) and self._observers:
                self._reviewing.start()

    def _tell_failure(self, what: str, error: BaseException) -> None:
        """Of work in the background: nobody waits for it to whom it could be raised."""
        log.error("%s.", what, exc_info=error)
        told = explained(what, error)
        self._tell([Failed(told.message, told.hint)])

    def _reporter(self, job: Literal["open", "fit", "discover"]) -> Callable[[Report], None]:
        return lambda report: self._tell([Progress(job, report.fraction, report.seconds_left, None)])
