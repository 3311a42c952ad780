"""The editing session: the whole product, without its widget.

A session holds one picture in four forms, and the edits made to it::

    session = EditingSession("church.jpg", generator="church")
    session.add("tree", mask)                # G(z_e) is rendered in the background
    session.restyle("dome", mask, "gold.jpg")
    session.preview                          # this waits for it
    session.adapt()                          # G'(z_e): the edit, and the rest of the photo as it was
    session.save_png("edited.png")

The widget only calls these methods and shows their results.

This file holds the verbs; the reads are in ``reading.py``. A verb keeps the session consistent. It turns its
arguments into an edit (``making.py``), or finds the picture that they name (``sources.py``). It then changes
the history (``document.py``) or starts a process, under the one lock of ``state.py``. A verb that fails
therefore changes nothing. Most of this file documents arguments: it is the product's reference.

Importing this module does not import torch; making a session does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from ..deprecated import warn
from ..images import files, framing
from ..method.edits import Edit
from ..models.devices import load
from ..tickets import Ticket
from ..validation import checked_concept, checked_id, checked_number, checked_scene, checked_switch
from . import journal as record
from . import making, project, saving, sources
from .events import Event, Noticed
from .making import KEEP, Keep
from .palette import Concept
from .processes.blending import Blend
from .processes.inverting import OpenedPicture, Source
from .reading import Reading, image
from .state import SessionState
from .worker import Worker, default_worker

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator
    from ..models.model import Model

_FAITHFUL: Final = {
    True: "The preview becomes faithful to the photo once the generator is fitted to it, in a few seconds.",
    False: "The preview is the generator's own picture.",
}


class EditingSession(Reading):
    """Open a picture, and edit it with concepts that the generator knows.

    It is thread-safe: any thread may call any method, even from an observer's callback.

    Args:
        photo: a path, a PIL image, an array or a tensor, or a file in any other wrapping; see
            :func:`.images.sources.opened`. Its colors are converted to sRGB, and its centered square is
            resized to the generator's size. ``None`` opens a scene of the generator's gallery.
        generator: a name, the path of a checkpoint or of a trained folder, a ``StagedGenerator`` or a
            ``Model``; see :func:`.load`.
        fit: for a photo that is not square: ``"crop"`` edits its middle, ``"pad"`` all of it, with its edges
            mirrored to fill the square.
        scene: the index of a scene in the gallery, which begins again after its last scene; without a
            gallery, the seed of a sample G(z).
        progressive: show a picture's first, rough inversion at once, and refine it in the background, for
            editors with a waiting user. ``reconstruction`` and ``metrics`` then return the present state;
            ``preview``, and everything saved or made from it, waits for the inversion.
        journal: ``True`` keeps a journal in the usual place (see ``journal.py``), ``False`` keeps none, and a
            path keeps it there.
        worker: the thread that runs the model; by default, all sessions share one.
        device: a device of torch, such as ``"cuda"``. The default is the environment's ``GANPAINT_DEVICE``,
            and without that the generator's own device.

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
        worker = worker if worker is not None else default_worker()
        root = record.place_of(journal)
        model: Model = worker.ask(load, generator, device)
        name = str(generator) if isinstance(generator, (str, Path)) else None
        self._state = SessionState(
            model, name, worker, scene=checked_scene(scene), journal=root, progressive=progressive
        )
        if photo is None:
            source = sources.scene(model.gallery, self._state.scene)
        else:
            source = photo if isinstance(photo, Source) else self._photo(photo, None, fit)
        self._state.inverting.start(lambda: source)

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
            path: the journal's directory; by default that of the newest ended session with edits.
            generator: needed if that session's generator was given as an object, since the journal keeps
                names only.
            journal, worker, device: as in the constructor. The new session keeps a journal of its own.

        Raises:
            GANPaintError: the journal does not exist, or does not fit the generator.
        """
        place = record.newest(record.journal_root()) if path is None else Path(path).expanduser()
        recording = record.read(place)
        chosen = sources.generator_of(recording) if generator is None else generator
        source = sources.recorded(recording)
        session = cls(source, chosen, scene=source.index, journal=journal, worker=worker, device=device)
        session._state.replay(recording)
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
            generator: needed if the project's generator was given as an object or as a file. A project may
                come from a stranger, so it cannot choose which files are opened.
            journal, worker, device: as in the constructor.

        Raises:
            GANPaintError: the project does not exist, is damaged, or does not fit the generator.
        """
        stored = project.read(source)
        chosen: Any = saving.generator_of(stored) if generator is None else generator
        worker = worker if worker is not None else default_worker()
        picture = worker.ask(saving.source_of, stored, worker.ask(load, chosen, device))
        session = cls(picture, chosen, scene=picture.index, journal=journal, worker=worker, device=device)
        state = session._state
        edits = saving.fitting_edits(stored, state, state.picture)
        with state.change():
            state.resume(stored, *edits)
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
        with self._state.lock:
            self._state.history.close()

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
        variant: int | None = None,
    ) -> Edit:
        """Add a concept where the mask says.

        Args:
            concept: one of ``concepts``.
            mask: R x R, or of the photo's own size: an array or a tensor of bool, of 0 and 1, of 0 to 255 or
                of floats from 0 to 1; a PIL image; the path of a picture; see :func:`.files.read_mask`.
            strength: 0 to 4; 1 is the plain edit. See :func:`.equation.apply` for its two meanings.
            units: the units that take part: ``None`` for all, each with the dissection's weight (with an
                exemplar, fully); ``"low"``, ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15;
                or a list of their numbers.
            target: the activations to aim at. ``"exemplar"`` takes those of one real object of the concept,
                from the picture most similar to this one. ``"tuned"`` takes the dissection's, ``"quantile"``
                the units' 0.99 quantiles, and ``"mean"`` their means over the concept. Without
                ``units``, the default is an exemplar if the concept has one; otherwise ``"tuned"``.
            variant: 0 is the plain version; with an exemplar, that of the most similar picture. Each number
                from 1 to 9999 gives another plausible version, always the same one. Those of exemplars repeat
                after the last object. See :meth:`variants`. ``None`` takes 0, or another one of the first
                eight exemplars if the segmenter sees that it fills the mask clearly better; see
                :func:`.choosing.best_fitting`.

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
        """Draw a concept as it looks in a reference, under the mask; wait for the reference's inversion.

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
        details = {"units": units, "reference": reference, "region": region}
        return self._put("restyle", concept, mask, strength, **details)

    def suppress(self, units: object, mask: object = None) -> Edit:
        """Switch off units, for example units that cause artifacts.

        Args:
            units: their numbers.
            mask: the area, as in :meth:`add`; everywhere by default.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        everywhere = np.full((self.size, self.size), 255, np.uint8)
        return self._put("suppress", "", everywhere if mask is None else mask, 1.0, units=units)

    def _put(self, verb: str, concept: str, mask: object, strength: float, **details: Any) -> Edit:
        # Arguments are checked in their order, so that the message names the first wrong one.
        if verb != "suppress":
            checked_concept(concept, self.concepts, self.generator_name)
        values = files.read_mask(mask, self.size, self._state.picture.source.original)
        fresh = making.new_edit(self._state, making.new_id(), verb, concept, strength, **details)
        if details.get("variant", 0) is None:
            chosen = self._state.choosing.of(replace(fresh, mask=values), self.edits)
            fresh = replace(fresh, variant=chosen.variant, activations=chosen.activations)
        with self._state.change() as history:
            history.paint(fresh.id, (0, 0, self.size, self.size), values, fresh, None)
            return history.edit(fresh.id)

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
        variant: int | None = None,
        reference: object = None,
        region: object = None,
        last: bool = True,
    ) -> int:
        """Paint a piece of a stroke: set an edit's mask inside ``rect`` to ``values``.

        Values are absolute, so applying the same piece twice is harmless. Consecutive pieces with the same
        ``stroke`` (not ``None``) are one step of undo. A rectangle without pixels changes nothing.

        Args:
            edit_id: 1 to 32 characters of ``A-Z a-z 0-9 -``. An unknown one begins a new edit.
            rect: x, y, width and height in picture pixels, inside the picture.
            values: uint8 height x width, 0 to 255.
            verb, concept, strength, units, target, variant, reference, region: of a new edit, as in
                :meth:`add` and :meth:`restyle`; ignored for a known one.
            last: whether the stroke ends with this piece. Without a ``variant``, the version of a new
                addition is chosen soon after, and once for all.

        Returns:
            The revision with this piece in it.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        checked_id(edit_id)
        fresh = None
        while True:
            with self._state.change() as history:
                if fresh is not None or history.find(edit_id) is not None:
                    history.paint(edit_id, rect, values, fresh, stroke)
                    break
            # A new edit may wait for the model, which would hold the lock too long.
            fresh = making.new_edit(
                self._state, edit_id, verb, concept, strength,
                units=units, target=target, variant=variant, reference=reference, region=region,
            )  # fmt: skip
        if fresh is not None and variant is None:
            self._state.choosing.begin(edit_id)
        if last:
            self._state.choosing.end(edit_id)
        return self.revision

    def update(
        self,
        edit_id: str,
        strength: float | Keep = KEEP,
        *,
        units: object = KEEP,
        target: str | Keep = KEEP,
        variant: int | Keep = KEEP,
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
        with self._state.lock:
            before = self._state.history.edit(edit_id)
        settings = {"strength": strength, "units": units, "target": target, "variant": variant}
        changes = making.altered(self._state, before, reference=reference, region=region, **settings)
        with self._state.change() as history:
            return history.alter(edit_id, "retune", changes)

    def toggle(self, edit_id: str, enabled: bool) -> Edit:
        """Switch an edit off or on. GANPaintError if the edit does not exist."""
        changes = {"enabled": checked_switch(enabled)}
        with self._state.change() as history:
            return history.alter(edit_id, "toggle", changes)

    def move(self, edit_id: str, index: int) -> None:
        """Move an edit to a place in the order; 0 is the first. GANPaintError if either does not exist."""
        with self._state.change() as history:
            history.move(edit_id, index)

    def import_studio(self, source: object) -> tuple[Edit, ...]:
        """Apply a recording of GANPaint Studio, as one step of undo.

        Args:
            source: the path of a JSON file, or the list in it; see :func:`.project.read_interventions`.

        Raises:
            GANPaintError: it is not such a recording, or an edit in it is not possible here; nothing has
                changed then.
        """
        made = making.recorded(self._state, source)
        with self._state.change() as history:
            history.paint_all(made)
        return tuple(made)

    def delete(self, edit_id: str) -> None:
        """Delete an edit; undo brings it back. GANPaintError if the edit does not exist."""
        with self._state.change() as history:
            history.delete(edit_id)

    def undo(self) -> bool:
        """Take back the last step; return ``False`` if none is left. The session keeps up to 200 steps."""
        with self._state.change() as history:
            return history.step("undo")

    def redo(self) -> bool:
        """Repeat a step that undo took back; return ``False`` if none is left."""
        with self._state.change() as history:
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
        self._state.inverting.start(lambda: source)

    def open_project(self, source: str | Path | bytes) -> None:
        """Open a project, as :meth:`load` does, in place of this picture; it must have the same generator.

        Raises:
            GANPaintError: the project does not exist, is damaged, or was made with another generator; the
                picture that was open stays.
        """
        stored = project.read(source)
        state = self._state
        picture = state.worker.ask(saving.source_in_place, stored, state.model, state.generator_name)

        def with_edits(opened: OpenedPicture) -> Callable[[], None]:
            edits = saving.fitting_edits(stored, state, opened)
            return lambda: state.resume(stored, *edits)

        state.inverting.start(lambda: picture, with_edits)

    def next_scene(self) -> None:
        """Open the next scene of the gallery; for a generator without a gallery, another sample."""
        state = self._state
        state.inverting.start(lambda: sources.scene(state.model.gallery, state.scene + 1))

    def open_scene(self, index: int) -> None:
        """Open a scene of the gallery; for a generator without a gallery, the sample with this seed.

        Args:
            index: which scene, from 0; below the number of scenes that the gallery has.

        Raises:
            GANPaintError: the scene does not exist. The open picture stays.
        """
        source = sources.chosen(self._state.model.gallery, index)
        self._state.inverting.start(lambda: source)

    def find_concepts(self, parts: int = 12) -> tuple[Concept, ...]:
        """Find concepts to paint with, for a generator that has none. This takes minutes.

        See :func:`.discover`. The cache keeps them for the next session with this generator.

        Args:
            parts: how many to find, 2 to 64.

        Returns:
            The palette.

        Raises:
            GANPaintError: the number is out of range, the generator has concepts already, or
                :meth:`cancel` was called; nothing has changed then.
        """
        number = checked_number(parts, "number of parts", 64)
        self._state.inverting.wait()
        self._state.discovering.run(self._state.model, number)
        return self.palette

    def adapt(self) -> Image.Image | None:
        """Blend the edits into the photo: G'(z_e). This blocks. Ctrl-C ends it and keeps the best result.

        Returns:
            The result, R x R; ``None`` if it was stopped before the first one.

        Raises:
            GANPaintError: the blend failed, or an observer called this on the worker's own thread.
        """
        self._state.choosing.wait()
        blend = self._state.blending.wait(*self._start_adapt())
        return None if blend is None else image(blend.array)

    @property
    def faithful(self) -> bool:
        """Whether the preview is to be G'(z_e), with a G' that is fitted to the unedited photo."""
        return self._state.fitting.on

    @faithful.setter
    def faithful(self, on: bool) -> None:
        warn("Setting EditingSession.faithful", "start_faithful() and stop_faithful()")
        if on:
            self.start_faithful()
        else:
            self.stop_faithful()

    def start_faithful(self) -> None:
        """Make the preview G'(z_e) instead of G(z_e), with a G' that is fitted to the unedited photo.

        With an initializer (see :class:`Model`), the next preview is already faithful. The fit continues in
        the background while nothing else runs, and takes a few seconds; :meth:`adapt` starts with it. Without
        an initializer, reading :attr:`preview` waits for the fit.
        """
        state = self._state
        with state.lock:
            state.fitting.start(state.picture)
        state.tell([Noticed("info", _FAITHFUL[True])])
        state.rendering.start()

    def stop_faithful(self) -> None:
        """Make the preview G(z_e) again. The fit is kept."""
        self._state.fitting.stop()
        self._state.tell([Noticed("info", _FAITHFUL[False])])
        self._state.rendering.start()

    def start_adapt(self) -> Future[Blend]:
        """Start blending in the background. Editing can continue, and observers get the blend's events.

        The result belongs to the present edits. If a job already blends these, this returns that job. A job
        for other edits is asked to end. A cancelled blend resumes where it stopped.
        """
        return self._start_adapt()[0]

    def cancel(self) -> None:
        """Ask all running jobs to end.

        A blend, and a fit with a waiting caller, keep the best result so far. A picture or a reference that
        is being opened, and a search for concepts, are abandoned: a waiting caller gets a GANPaintError.
        """
        self._state.cancel()

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on.

        The call comes on the event's own thread: the caller's for verbs, the worker's for pictures and
        progress. It never comes under the session's lock, so events of different threads may overtake each
        other: compare their revisions. Return quickly, because the worker waits for the callback. Its
        exceptions are logged and go no further.

        Returns:
            A function that ends the calls.
        """
        return self._state.observers.add(callback)

    # --- what several verbs share ---

    def _photo(self, photo: object, title: str | None, fit: framing.Fit) -> Source:
        return sources.photo(photo, self.size, title=title, fit=fit, beside=self._state.scene)

    def _start_adapt(self) -> tuple[Future[Blend], Ticket]:
        state = self._state
        with state.lock:
            return state.blending.start(state.history.edits, state.history.revision)
