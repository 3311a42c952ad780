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
history (see ``document.py``) under one lock; then, outside the lock, it tells the observers and asks the
worker for a new preview. So a verb that fails has changed nothing. The model is only ever touched on the
worker's thread (see ``worker.py``).

Importing this module does not import torch; making a session does.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from ..deprecated import Renamed
from ..errors import GANPaintError
from ..explorer import brushes
from ..images import files, framing
from ..images.arrays import array_of, frozen
from ..method.edits import MAX_SEED, MAX_VARIANT, Activations, Edit, Mask, Reference
from ..models.devices import load
from ..tickets import Cancelled, Report, Ticket
from ..validation import checked_concept, checked_edit, checked_id, checked_mask, checked_number, checked_verb
from ..version import __version__
from . import journal as record
from . import project
from .document import MAX_EDITS, Edits, History, with_edit

# Written so that these are the session's own names, too: observers of a session find them there.
from .events import Array as Array
from .events import Blended as Blended
from .events import Changed as Changed
from .events import Event as Event
from .events import Failed as Failed
from .events import Finished as Finished
from .events import Noticed as Noticed
from .events import Opened as Opened
from .events import PaletteChanged as PaletteChanged
from .events import Progress as Progress
from .events import Rendered as Rendered
from .processes import blending
from .processes.blending import Blend as Blend
from .processes.blending import Faithful, pasted
from .processes.opening import (
    MINIMUM_SHARE,
    CachedInversion,
    OpenedPicture,
    Source,
    inverted,
    open_picture,
    reference_activations,
    shares,
    variant_activations,
)
from .worker import Worker, default_worker

if TYPE_CHECKING:
    from torch import Tensor

    from ..method.inversion import Scores
    from ..models.generator import Modifier, StagedGenerator
    from ..models.model import Model

# How long reading a picture waits for the worker before it gives up.
PATIENCE_SECONDS: Final = 60.0
# Of a reconstruction, in dB: below this, nobody would call it the same photo.
POOR: Final = 18.0
# A change below this (of 255) cannot be seen. Generators refuse some edits: no door in the sky.
VISIBLE: Final = 2
# Opened references that are kept at hand, newest first: a strip of samples has about as many.
MAX_REFERENCES: Final = 16
# How many samples are looked at for a strip of those that show a concept.
SAMPLES: Final = 32

_FAITHFUL: Final = {
    True: "The preview keeps to the photo as soon as the generator is fitted to it, in a few seconds.",
    False: "The preview is the generator's own picture.",
}


class _Keep(Enum):
    """Stands for "as it is": ``None`` says something of its own to :meth:`EditingSession.update`."""

    KEEP = 0


KEEP: Final = _Keep.KEEP

log = logging.getLogger(__name__)


# --- what a session holds ---


@dataclass(frozen=True)
class Concept:
    """What can be painted: ``color`` as "#rrggbb", ``quality`` 0 to 1 (how well the generator knows it)."""

    name: str
    color: str
    quality: float


@dataclass(frozen=True, eq=False)
class Referred:
    """A restyle's reference, to be passed to :meth:`EditingSession.restyle`, and how it looks.

    Attributes:
        reference: the same reference can serve several edits.
        photo: the picture, R x R; of a sample G(z).
        reconstruction: what the generator makes of it.
        psnr: PSNR of that.
    """

    reference: Reference
    photo: Image.Image
    reconstruction: Image.Image
    psnr: float

    decibel = Renamed("psnr")


@dataclass(frozen=True, eq=False)
class _Rendering:
    """The newest G(z_e), or G'(z_e) where ``modify`` is what drew it, or how it failed."""

    opened: OpenedPicture
    array: Array
    edits: Edits
    revision: int
    modify: Mapping[str, Modifier] | None = None
    error: BaseException | None = None


@dataclass(frozen=True, eq=False)
class _Running:
    """A blend that is queued or running."""

    ticket: Ticket
    future: Future[Blend]
    revision: int


class EditingSession:
    """Open a picture, paint concepts onto it, see what the generator makes of them.

    Thread-safe: every method may be called from any thread, observers' callbacks included.

    Args:
        photo: a path, the bytes of an image file, a PIL image or a uint8 array H x W x 3; its centered
            square is resized to the generator's size. ``None``: a scene of the generator's gallery.
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
    ) -> None:
        self._lock = threading.RLock()
        self._rendered = threading.Condition(self._lock)
        self._worker = worker if worker is not None else default_worker()
        self._observers: tuple[tuple[object, Callable[[Event], None]], ...] = ()

        self._model: Model = self._worker.call(load, generator)
        self._generator_name = str(generator) if isinstance(generator, (str, Path)) else None
        dissection = self._model.dissection
        self._dissected: tuple[Concept, ...] = ()
        self._channels = 0
        self._shelf: brushes.Shelf | None = None
        if dissection is not None:
            self._dissected = tuple(
                Concept(name, dissection.colors[name], float(dissection.quality(name)))
                for name in dissection.concepts
            )
            self._channels = dissection.iou.shape[1]
            place = brushes.folder(self._model.generator, dissection.layer)
            self._shelf = brushes.shelf(place, self._channels)
            self._shelf.watch(self._brushes_changed)
        self._faithful = False
        self._fitting: Faithful | None = None
        self._seen: dict[int, dict[str, float]] = {}
        self._references: OrderedDict[Reference, OpenedPicture] = OrderedDict()
        self._scene = scene
        self._progressive = progressive and self._model.encoder is not None
        self._inverting: tuple[Ticket, Future[None]] | None = None

        self._base: _Rendering | None = None  # G(z_e) as it was before the present stroke
        self._standing_notice: Noticed | None = None
        self._passing_notice: Noticed | None = None
        self._labels: Array | None = None
        self._blend: Blend | None = None
        self._running: _Running | None = None
        self._progress: Progress | None = None

        root = record.journal_root() if journal is True else None if journal is False else Path(journal)
        self._history = History(root)
        self._opened: OpenedPicture
        self._newest: _Rendering
        if photo is None:
            self._open(self._scene_source(scene))
        else:
            self._open(photo if isinstance(photo, Source) else self._photo_source(photo, None, fit))

    @classmethod
    def recover(
        cls,
        path: str | Path | None = None,
        *,
        generator: str | Path | StagedGenerator | Model | None = None,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
    ) -> EditingSession:
        """A new session with everything that was painted in one whose kernel has ended, undo included.

        Args:
            path: the journal's directory; by default that of the newest session that has ended and in
                which something was painted.
            generator: needed when that session's generator was given as an object: the journal knows
                names only.
            journal, worker: as in the constructor. The new session keeps a journal of its own.

        Raises:
            GANPaintError: there is no such journal, or it does not fit the generator.
        """
        recording = record.read(record.newest(record.journal_root()) if path is None else Path(path))
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
            opening["index"],
            recording.photo,
            original=recording.original,
        )
        session = cls(source, chosen, scene=source.index, journal=journal, worker=worker)
        earlier = opening.get("continues", [])
        with session._change() as history:
            if isinstance(earlier, list):
                history.continues = (recording.path.name, *(one for one in earlier if isinstance(one, str)))
            history.begin(session._opening(), session._opened.photo)
            history.replay(recording, session._checked)
        return session

    @classmethod
    def load(
        cls,
        source: str | Path | bytes,
        *,
        generator: str | Path | StagedGenerator | Model | None = None,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
    ) -> EditingSession:
        """A session as :meth:`save` has kept it: on the same machine the same pictures, bit for bit.

        If the generator's weights have changed since, the photo is inverted again, and a notice says so.

        Args:
            source: the path of a ``.ganpaint`` file, or its bytes.
            generator: needed when the project's generator was given as an object or as a file: a project
                may come from a stranger, and has no say in which files are opened.
            journal, worker: as in the constructor.

        Raises:
            GANPaintError: there is no such project, or it is damaged, or it does not fit the generator.
        """
        stored = project.read(source if isinstance(source, bytes) else Path(source))
        name = stored.generator
        if generator is None and (name is None or Path(name).name != name or Path(name).suffix):
            raise GANPaintError(
                f"The project's generator {'was an object' if name is None else f'is the file {name!r}'}.",
                "Pass it: EditingSession.load(..., generator=...).",
            )
        worker = worker if worker is not None else default_worker()
        chosen: Any = name if generator is None else generator
        model: Model = worker.call(load, chosen)
        same = worker.call(_fingerprint, model) == stored.weights
        picture = _source(stored, same)
        session = cls(picture, chosen, scene=picture.index, journal=journal, worker=worker)
        session._resume(stored, session._fitting_project(stored, same), same)
        return session

    def __enter__(self) -> EditingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop a running blend and let go of the journal, which stays on disk. What follows is not in it."""
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
        target: str = "tuned",
        variant: int = 0,
    ) -> Edit:
        """Add a concept where the mask says.

        Args:
            concept: one of ``concepts``.
            mask: uint8 R x R, 0 to 255, in picture pixels; or boolean.
            strength: 0 to 4.
            units: on which units it acts: ``None`` for all, each as far as the dissection says; ``"low"``,
                ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or a list of their numbers.
            target: the activation that it aims at: ``"tuned"`` by the dissection, the units' 0.99
                ``"quantile"``, or their ``"mean"`` where the concept is.
            variant: 1, 2, ... are other plausible versions, the same for the same number; 0 is the plain
                one. See :meth:`variants`.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        return self._put("add", concept, mask, strength, units=units, target=target, variant=variant)

    def remove(self, concept: str, mask: object, strength: float = 1.0, *, units: object = None) -> Edit:
        """Remove a concept where the mask says; arguments and errors as in :meth:`add`."""
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
            region: which part of the reference counts: uint8 or boolean, R x R or as large as the picture;
                ``None``: where the generator's segmenter sees the concept.

        Raises:
            GANPaintError: an argument is not as above, or the reference does not show the concept; nothing
                has changed then.
        """
        checked_concept(concept, self.concepts, self.generator_name)
        referred = self._as_reference(reference, region)
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
        values = checked_mask(mask, self.size, self.size)
        edit_id = f"e-{uuid.uuid4().hex[:10]}"
        fresh = self._fresh(edit_id, verb, concept, strength, **details)
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
        target: str = "tuned",
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
            referred = None if reference is None else self._as_reference(reference, region)
            fresh = self._fresh(
                edit_id, verb, concept, strength,
                units=units, target=target, variant=variant, reference=referred,
            )  # fmt: skip
        with self._change() as history:
            history.paint(edit_id, rect, values, fresh, stroke)
            return history.revision

    def _fresh(self, edit_id: str, verb: str, concept: str, strength: float, **details: Any) -> Edit:
        """A new edit on which nothing has been painted yet, checked and with its activations."""
        blank = np.zeros((self.size, self.size), np.uint8)
        brush = None if self._shelf is None else self._shelf.get(concept)
        if brush is not None and details.get("units") is None:
            details = {
                **details,
                "units": brush.units,
                "activations": brush.activations if verb == "add" else None,
            }
        return self._with_activations(Edit(edit_id, verb, concept, blank, strength, **details))

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
            changes["reference"] = self._as_reference(reference, region)
        if changes.keys() & {"target", "variant", "reference"}:
            changes["activations"] = None
        after = self._with_activations(replace(before, **changes))
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
            fresh = self._fresh(f"e-{uuid.uuid4().hex[:10]}", verb, concept, strength)
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

    def _with_activations(self, edit: Edit) -> Edit:
        """An edit checked, with the activations that have to be measured for it. Waits for that."""
        verb, variant = checked_verb(edit.verb), checked_number(edit.variant, "variant", MAX_VARIANT)
        if edit.activations is not None or not (verb == "restyle" or variant):
            return self._checked(edit)
        # Everything else is checked first: measuring takes a while.
        checked = self._checked(replace(edit, activations=np.zeros(self._channels, np.float32)))
        return replace(checked, activations=self._worker.ask(self._measure_activations, checked))

    def _checked(self, edit: Edit) -> Edit:
        # Brushes are none of these: their edits bring units and activations of their own.
        known = tuple(concept.name for concept in self._dissected)
        return checked_edit(edit, known, self.generator_name, self.size, self._channels)

    def _as_reference(self, reference: object, region: object) -> Reference:
        """What a user passes as a reference, read and brought to the generator's size."""
        if isinstance(reference, Reference):
            return reference
        if isinstance(reference, (int, np.integer)) and not isinstance(reference, bool):
            seed = checked_number(reference, "seed of the reference", MAX_SEED)
            part = None if region is None else checked_mask(region, self.size, self.size)
            return Reference(seed=seed, region=part)
        image = files.read(reference)
        part = None
        if region is not None:
            if getattr(region, "shape", None) == (self.size, self.size):
                part = checked_mask(region, self.size, self.size)
            else:
                whole = checked_mask(region, image.height, image.width)
                part = framing.square_mask(whole, self.size)
        return Reference(picture=framing.fitted(image, self.size), region=part)

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
            GANPaintError: it cannot be read as a picture; the one that was open stays.
        """
        self._open(self._photo_source(photo, title, fit))

    def open_project(self, source: str | Path | bytes) -> None:
        """Open a project, as :meth:`load` does, in place of this picture: made with this session's generator.

        Raises:
            GANPaintError: there is no such project, or it is damaged, or was made with another generator; the
                picture that was open stays.
        """
        stored = project.read(source if isinstance(source, bytes) else Path(source))
        same = self._worker.call(_fingerprint, self._model) == stored.weights
        if not same and (stored.generator is None or stored.generator != self._generator_name):
            raise GANPaintError(
                f"The project was made with another generator than {self.generator_name!r}"
                f"{'.' if stored.generator is None else f': {stored.generator!r}.'}",
                "Open it in a cell: EditingSession.load(...).",
            )
        checked = self._fitting_project(stored, same)
        self._open(_source(stored, same))
        self._resume(stored, checked, same)

    def next_scene(self) -> None:
        """Open the next scene of the gallery; for a generator without a gallery, another sample."""
        self._open(None)

    def open_scene(self, index: int) -> None:
        """Open a scene of the gallery; for a generator without a gallery, the sample with this seed.

        Args:
            index: which scene, from 0; below the number of scenes that the gallery has.

        Raises:
            GANPaintError: there is no such scene. The picture that was open stays.
        """
        gallery = self._model.gallery
        what, largest = ("seed", MAX_SEED) if gallery is None else ("scene", gallery.count - 1)
        self._open(self._scene_source(checked_number(index, what, largest)))

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
            raise _error("The blend failed", error) from error
        return _image(blend.array)

    @property
    def faithful(self) -> bool:
        """Whether the preview is G'(z_e), with a G' that was fitted to the photo as it is, instead of G(z_e).

        With an initializer (see :class:`Model`) it is one from the next preview on. The fit takes a few
        seconds in which nothing else is to be done; without an initializer ``preview`` is G(z_e) until then.
        :meth:`adapt` begins from that fit.
        """
        return self._faithful

    @faithful.setter
    def faithful(self, on: bool) -> None:
        with self._lock:
            self._faithful = bool(on)
            self._fit_when_idle()
        self._tell([Noticed("info", _FAITHFUL[self._faithful])])
        self._worker.request((id(self), "preview"), self._render, self._render_failed)

    @property
    def is_faithful(self) -> bool:
        """Whether :attr:`faithful` is on, and the preview shows it."""
        with self._lock:
            return self._modify() is not None

    def start_adapt(self) -> Future[Blend]:
        """Start blending in the background; observers hear of it, and editing may go on.

        The result belongs to the edits as they are now. If these are being blended already, this is
        that job; a job for other edits is asked to end first.
        """
        return self._start_adapt()[0]

    def cancel(self) -> None:
        """Ask a running blend to end, keeping the best so far. Without one, nothing happens."""
        with self._lock:
            if self._running is not None:
                self._running.ticket.cancel()

    # --- reads ---

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of what can be painted: the dissection's, and the brushes made of its units."""
        return tuple(concept.name for concept in self.palette)

    @property
    def palette(self) -> tuple[Concept, ...]:
        """The concepts with their colors, and how well the generator knows them."""
        made = () if self._shelf is None else self._shelf.brushes
        return (*self._dissected, *(Concept(brush.name, brush.color, brush.quality) for brush in made))

    @property
    def edits(self) -> Edits:
        """The edits in the order in which they apply."""
        return self._history.edits

    @property
    def revision(self) -> int:
        """Grows by one with everything that changes what is edited."""
        return self._history.revision

    @property
    def can_undo(self) -> bool:
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        return self._history.can_redo

    @property
    def title(self) -> str:
        return self._opened.source.title

    @property
    def size(self) -> int:
        """R: all pictures and masks are R x R."""
        return self._model.generator.resolution

    @property
    def cells(self) -> tuple[int, int]:
        """The edited layer's grid: cells across and down. A painted pixel edits its whole cell."""
        down, across = self._opened.fast.state.features.shape[-2:]
        return across, down

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the segmenter's classes; none where the generator comes without a segmenter."""
        return () if self._model.segmenter is None else tuple(self._model.segmenter.classes)

    @property
    def labels(self) -> Array | None:
        """What is where in the photo: uint8 R x R, indices into ``classes``; ``None`` without a segmenter."""
        return self._labels

    @property
    def journals(self) -> tuple[str, ...]:
        """The name of this session's journal, then those that it continues; none where none is kept."""
        return self._history.journals

    @property
    def acknowledged(self) -> dict[str, int]:
        """Page to its last message that is in the journal, from before a recovery, too."""
        with self._lock:
            return dict(self._history.acknowledged)

    @property
    def model(self) -> Model:
        """The generator with all that belongs to it; sessions share it."""
        return self._model

    @property
    def generator_name(self) -> str:
        return self._model.name

    @property
    def has_gallery(self) -> bool:
        return self._model.gallery is not None

    @property
    def scene_count(self) -> int:
        """How many scenes the gallery has; 0 without one."""
        return 0 if self._model.gallery is None else self._model.gallery.count

    @property
    def scene(self) -> int | None:
        """Which scene of the gallery is open; ``None`` for a photo, or a sample of the generator."""
        source = self._opened.source
        return source.index % self.scene_count if source.kind == "scene" and self.scene_count else None

    def scenes(self, first: int = 0, count: int = 20) -> tuple[tuple[str, Image.Image], ...]:
        """Scenes of the gallery, to choose one for :meth:`open_scene`. Asks the gallery alone, not the model.

        Args:
            first: the first of them, from 0.
            count: how many; fewer where the gallery ends.

        Returns:
            Of each its title and its picture, R x R.

        Raises:
            GANPaintError: the generator has no gallery, or its gallery no such scene.
        """
        gallery = self._model.gallery
        if gallery is None:
            raise GANPaintError(
                f"The generator {self.generator_name!r} has no gallery of scenes.",
                "Open a photo, or call next_scene() for a sample of the generator.",
            )
        first = checked_number(first, "first scene", gallery.count - 1)
        last = min(first + checked_number(count, "number of scenes", sys.maxsize), gallery.count)
        return tuple((gallery.title(index), _image(gallery.picture(index))) for index in range(first, last))

    @property
    def notice(self) -> Noticed | None:
        """What the user should know at present: about the last stroke, else about the picture."""
        with self._lock:
            return self._passing_notice or self._history.notice or self._standing_notice

    @property
    def job(self) -> Progress | None:
        """How far the running blend is; ``None`` when none runs."""
        return self._progress

    @property
    def metrics(self) -> dict[str, Any]:
        """How near the pictures come to the photo.

        ``reconstruction_psnr`` is the PSNR of G(z), at most 99; ``blend`` is ``None`` or has
        ``before``, ``after`` and ``survival``, see :class:`Blend`.
        """
        with self._lock:
            blend = self._blend
            return {
                "reconstruction_psnr": self._opened.psnr,
                "blend": None
                if blend is None
                else {"before": blend.before, "after": blend.after, "survival": blend.survival},
            }

    @property
    def _measures(self) -> dict[str, Any]:
        """The metrics with the keys of earlier versions."""
        found = self.metrics
        return {"reconstruction_decibel": found["reconstruction_psnr"], "blend": found["blend"]}

    retune = Renamed("update")
    heard = Renamed("acknowledged")
    measures = Renamed("_measures")

    @property
    def blend(self) -> Blend | None:
        """The last finished blend of this picture; its ``revision`` says whether edits were made since."""
        return self._blend

    @property
    def photo(self) -> Image.Image:
        """x: the picture as it was opened, R x R."""
        return _image(self._opened.photo)

    @property
    def reconstruction(self) -> Image.Image:
        """G(z): what the generator makes of the photo."""
        return _image(self._opened.reconstruction)

    @property
    def preview(self) -> Image.Image:
        """G(z_e), with all edits made so far: waits for them to be rendered.

        Raises:
            GANPaintError: it was not rendered within 60 seconds, or could not be.
        """
        return _image(self._current_rendering().array)

    @property
    def result(self) -> Image.Image | None:
        """G'(z_e) of the last blend, ``None`` before. Edits made since are not in it: see ``blend``."""
        blend = self._blend
        return None if blend is None else _image(blend.array)

    @property
    def rendered(self) -> Rendered:
        """The newest G(z_e) that there is, which may be without the last edits: waits for nothing."""
        newest = self._newest
        return Rendered("preview", newest.array, newest.revision)

    def features(self) -> npt.NDArray[np.float32]:
        """The activations of the edit layer's units with all edits made so far: C x h x w."""
        self._wait_for_inversion()
        with self._lock:
            opened, edits = self._opened, self._history.edits
        return self._worker.call(lambda: _numbers(opened.fast.edited(edits).features)[0])

    def scores(self) -> Scores:
        """How good the reconstruction is: PSNR, SSIM, perceptual distance, and whether the photo is of the
        generator's world at all. Computed when asked for, which takes a moment the first time."""
        self._wait_for_inversion()
        return self._worker.ask(_score, self._model, self._opened)

    def reference(self, edit_id: str) -> Referred:
        """The reference of a restyle, and G of it. GANPaintError when there is no such restyle."""
        with self._lock:
            edit = self._history.edit(edit_id)
        if edit.reference is None:
            raise GANPaintError(f"The edit {edit_id!r} has no reference.", "Only a restyle has one.")
        return self.refer(edit.reference)

    def refer(self, reference: object, region: object = None) -> Referred:
        """A reference for restyles, and how the generator sees it; see :meth:`restyle`."""
        read = self._as_reference(reference, region)
        opened = self._worker.ask(self._open_reference, read)
        return Referred(read, _image(opened.photo), _image(opened.reconstruction), opened.psnr)

    def samples(self, concept: str, count: int = 8) -> tuple[Referred, ...]:
        """Samples of the generator that show a concept, for restyles to refer to.

        Those of the first 32 seeds on which the segmenter sees most of the concept; without a segmenter, the
        first seeds.

        Raises:
            GANPaintError: there is no such concept.
        """
        checked_concept(concept, self.concepts, self.generator_name)
        count = checked_number(count, "number of samples", MAX_REFERENCES)
        seeds = list(range(count))
        if concept in self.classes:
            shown = {seed: self._worker.ask(self._look, seed)[concept] for seed in range(SAMPLES)}
            best = sorted(shown, key=lambda seed: (-shown[seed], seed))[:count]
            seeds = [seed for seed in best if shown[seed] >= MINIMUM_SHARE]
        return tuple(self.refer(seed) for seed in seeds)

    def variants(self, edit_id: str, count: int = 4) -> tuple[Image.Image, ...]:
        """G(z_e) with the variants 0 to ``count`` - 1 of an addition: choose one with :meth:`update`.

        Raises:
            GANPaintError: there is no such addition, or the generator's samples do not show its concept.
        """
        count = checked_number(count, "number of variants", MAX_VARIANT + 1)
        self._wait_for_inversion()
        with self._lock:
            opened, edits, place = self._opened, self._history.edits, self._history.place(edit_id)
        versions = [
            self._with_activations(replace(edits[place], variant=variant, activations=None))
            for variant in range(count)
        ]
        return tuple(
            _image(self._worker.ask(_draw, opened, with_edit(edits, place, version))) for version in versions
        )

    def footprint(self, edit: str | Edit | None = None) -> Mask:
        """Where an edit changes G(z_e), and how much: uint8 R x R, the largest change of three channels.

        An edit works in the cells of the edit layer and the layers behind it carry it further, so that this
        is larger than what was painted; where the generator refuses an edit, it is 0.

        Args:
            edit: the id of an edit, an edit that has not been made (put last), or ``None`` for all together.

        Raises:
            GANPaintError: there is no such edit, or it does not fit this picture.
        """
        unmade = self._with_activations(edit) if isinstance(edit, Edit) else None
        self._wait_for_inversion()
        with self._lock:
            opened, edits = self._opened, self._history.edits
            before, after = edits[:0], edits
            if unmade is not None:
                before, after = edits, (*edits, unmade)
            elif edit is not None:
                place = self._history.place(edit)  # type: ignore[arg-type]
                before = edits[:place] + edits[place + 1 :]
        one, other = (self._worker.ask(_draw, opened, stack).astype(np.int16) for stack in (before, after))
        change: Mask = np.abs(one - other).max(axis=2).astype(np.uint8)
        return change

    @property
    def full(self) -> Image.Image:
        """The result, or the preview before there is one, pasted into the photo at the photo's own size.

        The seam is feathered, and where nothing was edited the photo's own pixels stay. A scene or a sample
        has no larger photo: R x R.
        """
        array, edits, _ = self._current()
        return self._pasted(array, edits)

    def _current(self) -> tuple[Array, Edits, Blend | None]:
        with self._lock:
            blend = self._blend
        if blend is not None:
            return blend.array, blend.edits, blend
        rendering = self._current_rendering()
        return rendering.array, rendering.edits, None

    def _pasted(self, array: Array, edits: Edits) -> Image.Image:
        with self._lock:
            opened = self._opened
        return self._worker.call(pasted, self._model.generator, opened, edits, array)

    def png(self) -> bytes:
        """The picture :attr:`full` as a PNG file, with its provenance as text chunks.

        The chunks: ``Software``; ``ganpaint:edited`` ("true" or "false"); ``ganpaint:picture``
        ("result" or "preview"); ``ganpaint:generator``; ``ganpaint:concepts``, a JSON list of
        objects with ``verb``, ``concept`` and ``strength``.
        """
        array, edits, blend = self._current()
        if blend is not None and blend.revision != self.revision:
            text = "The saved picture is the last blend, without the edits made since. Blend again first."
            self._tell([Noticed("info", text)])
        used = [
            {"verb": edit.verb, "concept": edit.concept, "strength": edit.strength}
            for edit in edits
            if edit.enabled
        ]
        text_chunks = {
            "Software": f"ganpaint_widget {__version__}",
            "ganpaint:edited": "true" if used else "false",
            "ganpaint:picture": "preview" if blend is None else "result",
            "ganpaint:generator": self.generator_name,
            "ganpaint:concepts": json.dumps(used),
        }
        return files.encode_png(self._pasted(array, edits), text_chunks)

    def save_png(self, path: str | Path) -> None:
        """Write :meth:`png` to a file. GANPaintError when it cannot be written."""
        data = self.png()
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            raise GANPaintError(
                f"The picture cannot be written to {str(path)!r}: {error}.", "Choose another place."
            ) from error

    def save(self, path: str | Path) -> None:
        """Keep all of it in one ``.ganpaint`` file, to go on with by :meth:`load`; see ``project.py``.

        The photo, the inversion, the edits with their masks and references, and the last blend; not undo.

        Raises:
            GANPaintError: it cannot be written there.
        """
        project.write(Path(path), self._stored())

    def project_file(self) -> bytes:
        """What :meth:`save` would write, for places without files."""
        return project.encode(self._stored())

    def _stored(self) -> project.Project:
        import torch

        self._wait_for_inversion()
        with self._lock:
            opened, edits, blend = self._opened, self._history.edits, self._blend
        state = opened.fast.state
        return project.Project(
            generator=self._generator_name,
            weights=_fingerprint(self._model),
            kind=opened.source.kind,
            title=opened.source.title,
            index=opened.source.index,
            photo=opened.photo,
            original=opened.source.original,
            z=_numbers(opened.z),
            features=_numbers(state.features),
            extra={name: _numbers(value) for name, value in state.extra.items()},
            edits=edits,
            blend=None
            if blend is None
            else project.StoredBlend(
                blend.array,
                blend.edits,
                blend.before,
                blend.after,
                blend.survival,
                {name: _numbers(value) for name, value in blend.delta.items()},
            ),
            versions={"torch": torch.__version__, "numpy": np.__version__},
        )

    def observe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Have ``callback`` called with every event from now on.

        It is called on the thread on which the event happens (verbs: the caller's; pictures and
        progress: the worker's), never under the session's lock, so that events of different
        threads may overtake each other: go by their revision. Be quick: the worker waits for it.
        What it raises is logged and goes no further.

        Returns:
            A function that ends this.
        """
        own = object()  # the same callback may be registered twice
        with self._lock:
            self._observers = (*self._observers, (own, callback))

        def unobserve() -> None:
            with self._lock:
                self._observers = tuple(entry for entry in self._observers if entry[0] is not own)

        return unobserve

    # --- changing the state ---

    @contextmanager
    def _change(self) -> Iterator[History]:
        """The history, under the lock; what it has to tell is told once the lock is free."""
        with self._lock:
            yield self._history
            events = self._history.news()
        self._tell(events)

    def _fitting_project(self, stored: project.Project, same_weights: bool) -> tuple[Edits, Edits | None]:
        """A project's edits, and those of its blend if that can be kept. GANPaintError if they do not fit."""

        def fitting(edit: Edit) -> Edit:
            # Activations are those of these weights, and say nothing about others.
            return self._with_activations(edit if same_weights else replace(edit, activations=None))

        if max(len(stored.edits), 0 if stored.blend is None else len(stored.blend.edits)) > MAX_EDITS:
            raise GANPaintError(f"The project has more than {MAX_EDITS} edits.", "Open another one.")
        edits = tuple(map(fitting, stored.edits))
        if stored.blend is None or not same_weights:
            return edits, None
        generator = self._model.generator
        shapes = {name: value.shape for name, value in stored.blend.delta.items()}
        if shapes != {name: (1, *generator.shape(name)) for name in shapes if name in generator.stages}:
            raise GANPaintError(
                f"The project's blend does not fit the generator {self.generator_name!r}.",
                "Open it with the generator that it was made with.",
            )
        return edits, tuple(map(fitting, stored.blend.edits))

    def _resume(
        self, stored: project.Project, checked: tuple[Edits, Edits | None], same_weights: bool
    ) -> None:
        """Take over a project's edits and blend, its picture having been opened."""
        edits, blended = checked
        with self._change() as history:
            history.resume(edits)
            if stored.blend is not None and blended is not None:
                revision = history.revision if blended == edits else history.revision - 1
                self._blend = blending.restored(stored.blend, blended, revision, self._opened.x)
            if not same_weights:
                self._standing_notice = Noticed(
                    "warning",
                    f"The weights of {self.generator_name!r} are not those that the project was made with: "
                    "the photo was inverted again, and the edits may look different.",
                )

    # --- telling, outside the lock ---

    def _brushes_changed(self) -> None:
        self._tell([PaletteChanged()])

    def _tell(self, events: list[Event]) -> None:
        """Call the observers; a change then asks for its preview, so that they know of it before that."""
        for event in events:
            for _, observer in self._observers:
                try:
                    observer(event)
                except Exception:
                    log.exception("An observer of the session failed on %s.", type(event).__name__)
            if isinstance(event, Changed) and not self._worker.closed:
                self._worker.request((id(self), "preview"), self._render, self._render_failed)

    def _tell_failure(self, what: str, error: BaseException) -> None:
        """Of work in the background: nobody waits for it to whom it could be raised."""
        log.error("%s.", what, exc_info=error)
        told = _error(what, error)
        self._tell([Failed(told.message, told.hint)])

    # --- on the worker's thread ---

    def _photo_source(self, photo: object, title: str | None, fit: framing.Fit) -> Source:
        if title is None:
            title = Path(photo).name if isinstance(photo, (str, Path)) else "photo"
        original = files.read_original(photo, fit)
        square = frozen(framing.fitted(original.image, self.size, fit))
        return Source("photo", title, self._scene, square, original=original)

    def _scene_source(self, scene: int) -> Source:
        gallery = self._model.gallery
        if gallery is None:
            return Source("sample", f"sample {scene}", scene)
        return Source("scene", gallery.title(scene % gallery.count), scene)

    def _open(self, source: Source | None) -> None:
        """Open a source, or the next scene for ``None``."""
        if (
            source is not None
            and source.array is not None
            and source.array.shape != (self.size, self.size, 3)
        ):
            raise GANPaintError(
                f"The stored picture has the shape {source.array.shape}, and {self.generator_name!r} "
                f"makes pictures of {self.size} x {self.size}.",
                "Open it with the generator that it was painted with.",
            )
        self.cancel()  # what is being blended is about to be gone, and the worker is needed
        inverting = self._inverting
        if inverting is not None:
            inverting[0].cancel()
        from ..method.forecast import forecast

        # Without an encoder it takes minutes: said before, here too if no editor is there to show it.
        if source is None:
            searched = self._model.gallery is not None  # the next scene; a sample is only drawn
        else:
            searched = source.kind != "sample" and source.cached is None
        told = self._worker.call(forecast, self._model) if searched else None
        if told is not None:
            self._tell([Noticed("info", told.sentence)])
        bar = tqdm(
            total=1.0,
            desc="" if told is None else told.sentence,
            bar_format="{desc} {percentage:.0f} %, {remaining} left",
            # What a cell says on the other stream looks like an error, and leaves a red line behind.
            file=sys.stdout if type(sys.stdout).__module__.startswith("ipykernel.") else sys.stderr,
            delay=0 if told is not None and told.seconds > 30 else 3,
            leave=False,
            disable=told is None,
        )

        def tell(report: Report) -> None:
            bar.update(report.fraction - bar.n)
            self._report_opening(report)

        ticket = self._worker.ticket(tell)
        try:
            self._worker.call(self._open_now, source, ticket)
        except Cancelled:
            raise GANPaintError("Opening the picture was cancelled.", "Open it again.") from None
        except GANPaintError:
            raise
        except KeyboardInterrupt:
            ticket.cancel()
            raise
        except Exception as error:
            raise _error("The picture could not be opened", error) from error
        finally:
            bar.close()

    def _open_now(self, source: Source | None, ticket: Ticket) -> None:
        if source is None:  # only here is it certain which scene was the last
            source = self._scene_source(self._scene + 1)
        later = self._progressive and source.cached is None and source.kind != "sample"
        opened = open_picture(self._model, source, ticket, guess=later)
        labels = self._segment(opened.x)
        foreign = None if later else self._foreign(opened)
        if ticket.cancelled:
            raise Cancelled
        with self._lock:
            self._opened, self._labels = opened, labels
            if source.kind != "photo":
                self._scene = source.index
            self._base = self._blend = self._fitting = None
            self._passing_notice, self._standing_notice = None, foreign
            self._history.begin(self._opening(), opened.photo, source.original)
            revision = self._history.revision
            events: list[Event] = [Opened(), *self._history.news()]
            if self._standing_notice is not None:
                events.append(self._standing_notice)
            self._newest = _Rendering(opened, opened.reconstruction, (), revision)
            self._inverting = None
            if later:
                rest = self._worker.ticket(courteous=True)  # painting goes first
                self._inverting = rest, self._worker.submit(self._invert, opened, rest)
            else:
                self._fit_when_idle()
            events.append(Rendered("preview", opened.reconstruction, revision))
            self._rendered.notify_all()
        self._tell(events)

    def _invert(self, guess: OpenedPicture, ticket: Ticket) -> None:
        """The rest of an inversion, in place of the encoder's guess. Previews are served meanwhile."""
        try:
            opened = inverted(self._model, guess.source, guess.photo, ticket)
            foreign = self._foreign(opened)
        except Cancelled:
            return
        except Exception as error:
            self._tell_failure("The picture could not be inverted beyond the encoder's guess", error)
            return
        with self._lock:
            if self._opened is not guess:
                return
            self._opened = opened
            self._standing_notice = foreign or self._standing_notice
            self._fit_when_idle()
        self._tell([] if foreign is None else [foreign])
        try:
            self._render()
        except Exception as error:
            self._render_failed(error)

    def _wait_for_inversion(self) -> None:
        """Until the picture is inverted as well as it will be. On the worker's own thread it is as it is."""
        inverting = self._inverting
        if inverting is not None and not self._worker.current:
            self._worker.wait(inverting[1])

    def _foreign(self, opened: OpenedPicture) -> Noticed | None:
        """A warning, if a photo is not of the generator's world."""
        from ..method.inversion import OUTSIDE, distance

        if opened.source.kind != "photo":
            return None
        apart = distance(self._model, opened.x)
        if apart is not None and apart > OUTSIDE:
            return Noticed(
                "warning",
                f"This photo is outside the world of the generator {self.generator_name!r}: from its latent "
                f"it is redrawn {apart:.1f} times as badly as the worst of the generator's own pictures. "
                "Edits may look out of place.",
            )
        if apart is None and opened.psnr < POOR:
            return Noticed(
                "warning",
                f"The generator {self.generator_name!r} redraws this photo poorly "
                f"({opened.psnr:.1f} dB PSNR): it may be outside its world, and edits may look out of "
                "place.",
            )
        return None

    def _opening(self) -> dict[str, Any]:
        """What the journal says of the picture."""
        source = self._opened.source
        return {
            "generator": self._generator_name,
            "kind": source.kind,
            "index": source.index,
            "title": source.title,
        }

    def _measure_activations(self, edit: Edit) -> Activations:
        """p of an edit whose activations the dissection does not know by itself."""
        if edit.reference is None:
            return variant_activations(self._model, edit.concept, edit.target, edit.variant)
        opened = self._open_reference(edit.reference)
        return reference_activations(self._model, opened, edit.reference, edit.concept)

    def _look(self, seed: int) -> dict[str, float]:
        """What is to be seen on a sample; each is looked at once."""
        if seed not in self._seen:
            self._seen[seed] = shares(self._model, seed)
        return self._seen[seed]

    def _segment(self, x: Tensor) -> Array | None:
        """The class of each pixel of a photo. More classes than a byte can count are seen by nobody."""
        segmenter = self._model.segmenter
        if segmenter is None or len(segmenter.classes) > 256:
            return None
        labels: Array = segmenter.segment(x)[0].cpu().numpy()
        return frozen(labels.astype(np.uint8))

    def _open_reference(self, reference: Reference) -> OpenedPicture:
        """A reference opened like a photo; the last few are kept."""
        key = replace(reference, region=None)
        opened = self._references.get(key)
        if opened is None:
            source = (
                Source("photo", "reference", 0, reference.picture)
                if reference.seed is None
                else Source("sample", f"sample {reference.seed}", reference.seed)
            )
            try:
                opened = open_picture(self._model, source)
            except GANPaintError:
                raise
            except Exception as error:
                raise _error("The reference could not be opened", error) from error
            self._references[key] = opened
            while len(self._references) > MAX_REFERENCES:
                self._references.popitem(last=False)
        self._references.move_to_end(key)
        return opened

    def _render(self) -> None:
        """G(z_e) for the newest edits, if they have not been rendered yet."""
        with self._lock:
            opened, history = self._opened, self._history
            edits, revision, touched = history.edits, history.revision, history.touched
            modify, newest = self._modify(), self._newest
            if newest.revision == revision and _shows(newest, opened, edits, modify) and newest.error is None:
                return
            stroke_began_with = None if touched is None else history.before
            base = self._base
        if stroke_began_with is not None and not _shows(base, opened, stroke_began_with, modify):
            # The last preview will usually be the one; a fast hand may have left it unrendered.
            base = newest
            if not _shows(base, opened, stroke_began_with, modify):
                before = _draw(opened, stroke_began_with, modify)
                base = _Rendering(opened, before, stroke_began_with, revision, modify)
        array = _draw(opened, edits, modify)
        events: list[Event] = [Rendered("preview", array, revision)]
        with self._lock:
            if self._opened is not opened:
                return
            self._newest = _Rendering(opened, array, edits, revision, modify)
            self._base = base
            told, self._passing_notice = self._passing_notice, None
            if stroke_began_with is not None and base is not None:
                edit = next((edit for edit in edits if edit.id == touched), None)
                self._passing_notice = _without_effect(edit, base.array, array)
                if self._passing_notice is not None and told is None:
                    events.append(self._passing_notice)
            self._rendered.notify_all()
        self._tell(events)

    def _render_failed(self, error: BaseException) -> None:
        with self._lock:
            revision = self._history.revision
            self._newest = replace(self._newest, opened=self._opened, revision=revision, error=error)
            self._rendered.notify_all()
        self._tell_failure("The preview could not be computed", error)

    def _modify(self) -> Mapping[str, Modifier] | None:
        """What draws faithful previews, if they are wanted and there is a first fit; under the lock."""
        return self._fitting.modify if self._faithful and self._fitting is not None else None

    def _fit_when_idle(self) -> None:
        """Under the lock: begin to fit G' to the photo, if that is wanted and not done."""
        opened = self._opened
        if not self._faithful or (self._fitting is not None and self._fitting.opened is opened):
            return
        fitting = self._fitting = Faithful(self._model, opened)

        def fit(ticket: Ticket) -> bool:
            if self._fitting is not fitting or not self._faithful:
                return True
            return fitting.fit(ticket, self._render)

        self._worker.idle((id(self), "fit"), fit, self._fit_failed)

    def _fit_failed(self, error: BaseException) -> None:
        with self._lock:
            self._faithful, self._fitting = False, None
        self._tell_failure("The faithful preview could not be fitted", error)

    def _current_rendering(self) -> _Rendering:
        """The rendering of the present revision; waits for it."""
        self._wait_for_inversion()
        if self._worker.current:
            self._render()
        elif not self._worker.threaded:
            self._worker.run_pending()
        end = time.monotonic() + PATIENCE_SECONDS
        with self._lock:
            while self._newest.opened is not self._opened or self._newest.revision < self._history.revision:
                left = end - time.monotonic()
                if left <= 0 or self._worker.closed:
                    raise GANPaintError(
                        "The session's worker has been closed."
                        if self._worker.closed
                        else f"The preview was not ready within {PATIENCE_SECONDS:.0f} seconds.",
                        "Try again; if it stays so, restart the kernel and recover the session.",
                    )
                self._rendered.wait(min(left, 1.0))
            if self._newest.error is not None:
                raise _error("The preview could not be computed", self._newest.error) from self._newest.error
            return self._newest

    def _start_adapt(self) -> tuple[Future[Blend], Ticket]:
        with self._lock:
            running = self._running
            if running is not None and not running.ticket.cancelled:
                if running.revision == self._history.revision:
                    return running.future, running.ticket
                running.ticket.cancel()
            opened, edits, revision = self._opened, self._history.edits, self._history.revision
            ticket = self._worker.ticket(self._report)
            # The job takes the lock before it looks at _running, so it finds what is set here.
            future = self._worker.submit(self._blend_now, opened, edits, revision, ticket)
            self._running = _Running(ticket, future, revision)
            self._progress = Progress("blend", 0.0, None, None)
        return future, ticket

    def _report_opening(self, report: Report) -> None:
        self._tell([Progress("open", report.fraction, report.seconds_left, None)])

    def _report(self, report: Report) -> None:
        psnr = report.numbers.get("psnr")
        progress = Progress("blend", report.fraction, report.seconds_left, psnr)
        with self._lock:
            self._progress = progress
        self._tell([progress])

    def _blend_now(self, opened: OpenedPicture, edits: Edits, revision: int, ticket: Ticket) -> Blend:
        """G'(z_e) as a job; see ``processes/blending.py``."""

        def on_picture(array: Array) -> None:
            if self._opened is opened:
                self._tell([Blended(array, revision, final=False)])

        try:
            # Told here and not where the job was queued, so that it cannot come after the job's end.
            self._tell([Progress("blend", 0.0, None, None)])
            with self._lock:
                if self._opened.source is opened.source:
                    opened = self._opened  # inverted since
                faithful = self._fitting if self._faithful else None
            if faithful is not None and not (faithful.fitted and faithful.opened is opened):
                faithful = None
            blend = blending.blend(self._model, opened, edits, revision, ticket, on_picture, faithful)
            with self._lock:
                ours = self._opened is opened
                if ours:
                    self._blend = blend
            if ours:
                self._tell([Blended(blend.array, revision, final=True)])
            return blend
        except Cancelled:
            raise
        except Exception as error:
            self._tell_failure("The blend failed", error)
            raise
        finally:
            with self._lock:
                # Another one may have been queued since; then the session is still at work.
                if self._running is not None and self._running.ticket is ticket:
                    self._running = self._progress = None
            self._tell([Finished("blend")])


# --- small things ---


def _fingerprint(model: Model) -> str:
    from ..storage import fingerprint

    return fingerprint(model.generator)


def _source(stored: project.Project, same_weights: bool) -> Source:
    cached = CachedInversion(stored.z, stored.features, stored.extra) if same_weights else None
    kind: Any = stored.kind
    return Source(kind, stored.title, stored.index, stored.photo, cached, stored.original)


def _numbers(tensor: Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()


def _score(model: Model, opened: OpenedPicture) -> Scores:
    from ..method.inversion import score

    return score(model, opened.fast.render(()).clone(), opened.x)


def _draw(
    opened: OpenedPicture, edits: Sequence[Edit], modify: Mapping[str, Modifier] | None = None
) -> Array:
    """G(z_e), or G'(z_e): uint8 R x R x 3, read-only."""
    return array_of(opened.fast.render(edits, modify))


def _shows(
    rendering: _Rendering | None, opened: OpenedPicture, edits: Edits, modify: Mapping[str, Modifier] | None
) -> bool:
    return (
        rendering is not None
        and rendering.opened is opened
        and rendering.edits is edits
        and rendering.modify is modify
    )


def _without_effect(edit: Edit | None, before: Array, after: Array) -> Noticed | None:
    """A notice if painting ``edit`` has changed nothing that can be seen where it was painted."""
    if edit is None or not edit.enabled or not edit.mask.any():
        return None
    inside = edit.mask > 0
    change = np.abs(after[inside].astype(np.int16) - before[inside])
    if change.max() >= VISIBLE:
        return None
    why = {
        "add": f"the generator would not put a {edit.concept} in this place",
        "suppress": "these units draw nothing in this place",
    }.get(edit.verb, f"the generator sees no {edit.concept} in this place")
    return Noticed("info", f"No visible effect here: {why}.")


def _error(what: str, error: BaseException) -> GANPaintError:
    """What to tell users of an error that was not meant for them."""
    if isinstance(error, GANPaintError):
        return error
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return GANPaintError(f"{what} ({detail}).", "Try again; if it stays so, the kernel's log says more.")


def _image(array: Array) -> Image.Image:
    return Image.fromarray(array.copy())
