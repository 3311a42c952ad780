"""The editing session: the whole product, without a face.

A session holds one picture in four forms, and the edits made to it::

    session = EditingSession("church.jpg", generator="church")
    session.add("tree", mask)                # G(z_e) is rendered in the background ...
    session.restyle("dome", mask, "gold.jpg")
    session.preview                          # ... and waited for here
    session.adapt()                          # G'(z_e): the edit, and the rest of the photo as it was
    session.save_png("edited.png")

The widget does nothing but call these same methods and show what comes back.

How it is kept consistent: a verb checks everything that could be wrong with its arguments and changes the
history (see ``document.py``) under one lock; then, outside the lock, it tells the observers and asks for a
new preview. So a verb that fails has changed nothing. What takes time is done by the processes (see
``processes/``), on the worker's thread; the session only puts their results in place. Half of this file is
what its verbs say of their arguments: it is the product's reference.

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
from ..images.arrays import frozen
from ..method.edits import MAX_SEED, Edit
from ..models.devices import load
from ..tickets import Cancelled, Report, Ticket
from ..validation import checked_concept, checked_id, checked_number, checked_scene, checked_title
from . import journal as record
from . import project, saving
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
    """Open a picture, paint concepts onto it, see what the generator makes of them.

    Thread-safe: every method may be called from any thread, observers' callbacks included.

    Args:
        photo: a path, a PIL image, an array or a tensor, or a file in any other wrapping, see
            :func:`.images.sources.opened`; its colors are brought to sRGB, and its centered square is resized
            to the generator's size. ``None``: a scene of the generator's gallery.
        generator: the name of a generator, or one of your own (a ``StagedGenerator`` or a ``Model``).
        fit: of a photo that is no square: ``"crop"`` edits its middle, ``"pad"`` all of it, with its edges
            mirrored to fill the square.
        scene: which scene of the gallery; for a generator without a gallery, the seed of a sample G(z).
        progressive: show a picture's first, rough inversion at once, and go on with it in the
            background: for editors, where somebody waits. ``reconstruction`` and ``measures`` are then as
            they are by now; ``preview``, and all that is kept or made from it, waits for the inversion.
        journal: ``True`` keeps a journal where ``journal.py`` says, ``False`` keeps none; a path keeps
            it there.
        worker: the thread that runs the model; by default one that all sessions share.
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
            source = self._scene_source(self._scene)
        else:
            source = photo if isinstance(photo, Source) else self._photo_source(photo, None, fit)
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
        """A new session with everything that was painted in one whose kernel has ended, undo included.

        Args:
            path: the journal's directory; by default that of the newest session that has ended and in
                which something was painted.
            generator: needed when that session's generator was given as an object: the journal knows
                names only.
            journal, worker, device: as in the constructor. The new session keeps a journal of its own.

        Raises:
            GANPaintError: there is no such journal, or it does not fit the generator.
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
        kind = opening.get("kind")
        if kind not in ("photo", "scene", "sample") or not isinstance(opening.get("index"), int):
            raise GANPaintError(f"The journal in {str(recording.path)!r} is damaged.", "Recover another one.")
        source = Source(
            kind,
            str(opening.get("title", "")),
            opening["index"] % (MAX_SEED + 1),  # earlier versions have kept negative ones, too
            recording.photo,
            original=recording.original,
        )
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
        """A session as :meth:`save` has kept it: on the same machine the same pictures, bit for bit.

        If the generator's weights have changed since, the photo is inverted again, and a notice says so.

        Args:
            source: the path of a ``.ganpaint`` file, or its bytes.
            generator: needed when the project's generator was given as an object or as a file: a project
                may come from a stranger, and has no say in which files are opened.
            journal, worker, device: as in the constructor.

        Raises:
            GANPaintError: there is no such project, or it is damaged, or it does not fit the generator.
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
        """Stop what is running and let go of the journal, which stays on disk. What follows is not in it."""
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
            strength: 0 to 4.
            units: on which units it acts: ``None`` for all, each as far as the dissection says; ``"low"``,
                ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or a list of their numbers.
            target: the activation that it aims at: ``"exemplar"`` takes one object of the concept, from
                the picture that is most like this one; ``"tuned"`` is the dissection's, ``"quantile"`` the
                units' 0.99 quantile, ``"mean"`` their mean where the concept is. By default an exemplar
                where the dissection has some, else ``"tuned"``.
            variant: 1, 2, ... are other plausible versions, the same for the same number; 0 is the plain
                one. See :meth:`variants`.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        return self._put("add", concept, mask, strength, units=units, target=target, variant=variant)

    def remove(self, concept: str, mask: object, strength: float = 1.0, *, units: object = None) -> Edit:
        """Remove a concept where the mask says; arguments and errors as in :meth:`add`.

        The strength fades the removal: at 0 nothing is taken away, from 1 on all of it is.
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
        """Draw a concept as it looks in a reference, where the mask says. Waits for that to be inverted.

        Args:
            concept, mask, strength, units: as in :meth:`add`. By the paper's equation the strength is a
                factor of the reference's activations: 1 is its look, 0 removes, more exaggerates.
            reference: a picture, as in the constructor, or the seed of one of the generator's samples.
            region: which part of the reference counts: a mask, R x R or as large as the picture;
                ``None``: where the generator's segmenter sees the concept.

        Raises:
            GANPaintError: an argument is not as above, or the reference does not show the concept; nothing
                has changed then.
        """
        checked_concept(concept, self.concepts, self.generator_name)
        referred = read_reference(reference, region, self.size)
        return self._put("restyle", concept, mask, strength, units=units, reference=referred)

    def suppress(self, units: object, mask: object = None) -> Edit:
        """Switch units off, whatever they draw: such as those that cause artifacts.

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
        """A piece of a stroke: an edit's mask is ``values`` inside ``rect`` from now on.

        Values are absolute, so that applying the same piece twice does no harm. Consecutive pieces
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
        with self._lock:
            known = self._history.find(checked_id(edit_id)) is not None
        fresh = None
        if not known:
            referred = None if reference is None else read_reference(reference, region, self.size)
            unpainted = self._palette.fresh(
                edit_id, verb, concept, strength,
                units=units, target=target, variant=variant, reference=referred,
            )  # fmt: skip
            fresh = self._completed(unpainted)
        with self._change() as history:
            history.paint(edit_id, rect, values, fresh, stroke)
            return history.revision

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
        """Change an edit's settings; what is not given stays. One step of undo.

        Args:
            edit_id: of the edit.
            strength, units, target, variant: as in :meth:`add`.
            reference, region: as in :meth:`restyle`.

        Raises:
            GANPaintError: there is no such edit, or an argument is wrong for it; nothing has changed then.
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
        """Switch an edit off or on. GANPaintError when there is no such edit."""
        if not isinstance(enabled, (bool, np.bool_)):
            raise GANPaintError("An edit is switched with True or False.", "Pass one of the two.")
        with self._change() as history:
            return history.alter(edit_id, "toggle", {"enabled": bool(enabled)})

    def move(self, edit_id: str, index: int) -> None:
        """Give an edit another place in the order in which they apply, from 0 (first) on.

        Raises:
            GANPaintError: there is no such edit or place; nothing has changed then.
        """
        with self._change() as history:
            history.move(edit_id, index)

    def import_studio(self, source: object) -> tuple[Edit, ...]:
        """Make the edits that GANPaint Studio has recorded, in one step of undo.

        Args:
            source: the path of a JSON file, or the list in it; see :func:`.project.read_interventions`.

        Raises:
            GANPaintError: it is no such recording, or an edit in it is not possible here; nothing has
                changed then.
        """
        made = []
        for verb, concept, strength, mask in project.read_interventions(source, self.size):
            edit_id = f"e-{uuid.uuid4().hex[:10]}"
            fresh = self._completed(self._palette.fresh(edit_id, verb, concept, strength))
            made.append(replace(fresh, mask=mask))
        with self._change() as history:
            if len(history.edits) + len(made) > MAX_EDITS:
                raise GANPaintError(f"Of all edits, {MAX_EDITS} are the most that are kept.", "Delete some.")
            stroke = uuid.uuid4().hex
            for edit in made:
                blank = replace(edit, mask=np.zeros_like(edit.mask))
                history.paint(edit.id, (0, 0, self.size, self.size), edit.mask, blank, stroke)
        return tuple(made)

    def delete(self, edit_id: str) -> None:
        """Take an edit away; undo brings it back. GANPaintError when there is no such edit."""
        with self._change() as history:
            history.delete(edit_id)

    def undo(self) -> bool:
        """Take back the last step; ``False`` when there is none (at most 200 are kept)."""
        with self._change() as history:
            return history.step("undo")

    def redo(self) -> bool:
        """Do again what undo has taken back; ``False`` when there is nothing."""
        with self._change() as history:
            return history.step("redo")

    def open(self, photo: object, *, title: str | None = None, fit: framing.Fit = "crop") -> None:
        """Open another picture in place of this one, whose edits and undo are gone. Waits for the inversion.

        Args:
            photo, fit: as in the constructor.
            title: what to call it; by default the file's name.

        Raises:
            GANPaintError: it cannot be read as a picture, or :meth:`cancel` was called; the one that was open
                stays, with all that goes on with it.
        """
        source = self._photo_source(photo, title, fit)
        self._inverting.start(lambda: source)

    def open_project(self, source: str | Path | bytes) -> None:
        """Open a project, as :meth:`load` does, in place of this picture: made with this session's generator.

        Raises:
            GANPaintError: there is no such project, or it is damaged, or was made with another generator; the
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
        self._inverting.start(lambda: self._scene_source(self._scene + 1))

    def open_scene(self, index: int) -> None:
        """Open a scene of the gallery; for a generator without a gallery, the sample with this seed.

        Args:
            index: which scene, from 0; below the number of scenes that the gallery has.

        Raises:
            GANPaintError: there is no such scene. The picture that was open stays.
        """
        gallery = self._model.gallery
        what, largest = ("seed", MAX_SEED) if gallery is None else ("scene", gallery.count - 1)
        number = checked_number(index, what, largest)
        self._inverting.start(lambda: self._scene_source(number))

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
        """Blend the edits into the photo: G'(z_e). Blocks; Ctrl-C ends it and keeps the best so far.

        Returns:
            The result, R x R; ``None`` when it was ended before there was any.

        Raises:
            GANPaintError: it failed; or it was called on the worker's own thread, from an observer.
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
        """Whether the preview is to be G'(z_e), with a G' that is fitted to the photo as it is."""
        return self._fitting.on

    @faithful.setter
    def faithful(self, on: bool) -> None:
        warn("Setting EditingSession.faithful", "start_faithful() and stop_faithful()")
        if on:
            self.start_faithful()
        else:
            self.stop_faithful()

    def start_faithful(self) -> None:
        """Make the preview G'(z_e), with a G' that is fitted to the photo as it is, instead of G(z_e).

        With an initializer (see :class:`Model`) it is one from the next preview on. The fit then goes on in
        the background, when nothing else is to be done, and takes a few seconds; :meth:`adapt` begins from
        it. Without an initializer, reading :attr:`preview` waits for the fit.
        """
        with self._lock:
            self._fitting.start(self._picture)
        self._tell([Noticed("info", _FAITHFUL[True])])
        self._rendering.start()

    def stop_faithful(self) -> None:
        """Make the preview G(z_e) again. What was fitted is kept."""
        self._fitting.stop()
        self._tell([Noticed("info", _FAITHFUL[False])])
        self._rendering.start()

    @property
    def is_faithful(self) -> bool:
        """Whether :attr:`faithful` is on, and the preview shows it."""
        with self._lock:
            return self._fitting.modify(self._picture) is not None

    def start_adapt(self) -> Future[Blend]:
        """Start blending in the background; observers hear of it, and editing may go on.

        The result belongs to the edits as they are now. If these are being blended already, this is
        that job; a job for other edits is asked to end. One that was cancelled goes on where it was.
        """
        return self._start_adapt()[0]

    def cancel(self) -> None:
        """Ask what is running to end. Without anything running, nothing happens.

        A blend, and a fit that is waited for, keep the best so far. A picture or a reference that is being
        opened, and a search for concepts, are given up, and who waits for it gets a GANPaintError.
        """
        self._blending.cancel()
        self._fitting.cancel()
        self._inverting.cancel()
        self._references.cancel()
        self._discovering.cancel()

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Have ``callback`` called with every event from now on.

        It is called on the thread on which the event happens (verbs: the caller's; pictures and
        progress: the worker's), never under the session's lock, so that events of different
        threads may overtake each other: go by their revision. Be quick: the worker waits for it.
        What it raises is logged and goes no further.

        Returns:
            A function that ends this.
        """
        return self._observers.add(callback)

    # --- changing the state ---

    @contextmanager
    def _change(self) -> Iterator[History]:
        """The history, under the lock; what it has to tell is told once the lock is free."""
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
        """A picture that may have been opened before the concepts were found."""
        known = picture.fast.model.dissection is self._model.dissection
        return picture if known else reconceived(self._model, picture)

    def _opening(self) -> dict[str, Any]:
        """What the journal says of the picture."""
        source = self._picture.source
        return {
            "generator": self._generator_name,
            "kind": source.kind,
            "index": source.index,
            "title": source.title,
        }

    def _photo_source(self, photo: object, title: str | None, fit: framing.Fit) -> Source:
        original = files.read_original(photo, fit)
        title = checked_title(original.name or "photo" if title is None else title)
        square = frozen(framing.fitted(original.image, self.size, fit))
        notice = None if original.remark is None else Noticed("info", original.remark)
        return Source("photo", title, self._scene, square, original=original, notice=notice)

    def _scene_source(self, scene: int) -> Source:
        gallery = self._model.gallery
        if gallery is None:
            return Source("sample", f"sample {scene}", scene)
        return Source("scene", gallery.title(scene % gallery.count), scene)

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

    def _tell_failure(self, what: str, error: BaseException) -> None:
        """Of work in the background: nobody waits for it to whom it could be raised."""
        log.error("%s.", what, exc_info=error)
        told = explained(what, error)
        self._tell([Failed(told.message, told.hint)])

    def _reporter(self, job: Literal["open", "fit", "discover"]) -> Callable[[Report], None]:
        return lambda report: self._tell([Progress(job, report.fraction, report.seconds_left, None)])
