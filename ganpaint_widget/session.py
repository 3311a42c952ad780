"""The editing session: the whole product, without a face.

A session holds one picture in four forms, and the edits made to it::

    session = EditingSession("church.jpg", generator="church")
    session.add("tree", mask)                # G(z_e) is rendered in the background ...
    session.preview                          # ... and waited for here
    session.adapt()                          # G'(z_e): the edit, and the rest of the photo as it was
    session.save_png("edited.png")

The widget does nothing but call these same methods and show what comes back.

How it is kept consistent: the edits are an immutable tuple of immutable :class:`~.editing.Edit`\\ s. A
verb checks everything that could be wrong with its arguments, writes the journal, swaps the tuple for
another and counts the revision up, all under one lock; then, outside the lock, it tells the observers
and asks the worker for a new preview. So a verb that fails has changed nothing, and undo is keeping
the old tuples. The model is only ever touched on the worker's thread (see ``jobs.py``).

Importing this module does not import torch; making a session does.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

import ganpaint_widget

from . import pictures, project
from .editing import (
    Edit,
    checked_concept,
    checked_id,
    checked_mask,
    checked_rect,
    checked_strength,
    checked_verb,
)
from .errors import GANPaintError
from .jobs import Cancelled, Report, Ticket, Worker, default_worker

if TYPE_CHECKING:
    from torch import Tensor

    from .generators.staged import StagedGenerator, State
    from .generators.zoo import Model
    from .preview import Preview

Array = npt.NDArray[np.uint8]
Edits = tuple[Edit, ...]

MAX_UNDO: Final = 200
MAX_EDITS: Final = 200
# How long reading a picture waits for the worker before it gives up.
PATIENCE_SECONDS: Final = 60.0
# A change below this (of 255) cannot be seen. Generators refuse some edits: no door in the sky.
VISIBLE: Final = 2

SPEAKER: Final[ContextVar[tuple[str, int] | None]] = ContextVar("ganpaint-speaker", default=None)
"""On whose behalf a verb is carried out: a page and the number of its message. It goes into the journal, so
that after a recovery a page that says its last messages again is not obeyed twice."""

log = logging.getLogger(__name__)


# --- events: what observers are called with ---


@dataclass(frozen=True)
class Changed:
    """The edits, or the picture that they belong to, have changed."""

    revision: int


@dataclass(frozen=True)
class Opened:
    """Another picture was opened; all reads are about it now."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A new G(z_e). ``array`` is uint8 R x R x 3, read-only."""

    picture: Literal["preview"]
    array: Array
    revision: int


@dataclass(frozen=True, eq=False)
class Blended:
    """A new G'(z_e), for the edits of ``revision``, which may not be the newest. ``array`` as in Rendered."""

    array: Array
    revision: int
    final: bool


@dataclass(frozen=True)
class Progress:
    """How far a job is. ``decibel``: PSNR of the kept pixels so far, of a blend."""

    job: Literal["blend", "open"]
    fraction: float
    seconds_left: float | None
    decibel: float | None


@dataclass(frozen=True)
class Finished:
    """A job has ended, well or not; ``session.job`` is ``None`` unless another one has begun."""

    job: Literal["blend"]


@dataclass(frozen=True)
class Noticed:
    """Something the user should know; nothing failed."""

    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True)
class Failed:
    """Work in the background failed. Verbs that fail raise instead."""

    what: str
    mend: str


Event = Changed | Opened | Rendered | Blended | Progress | Finished | Noticed | Failed


# --- what a session holds ---


@dataclass(frozen=True)
class Concept:
    """What can be painted: ``color`` as "#rrggbb", ``quality`` 0 to 1 (how well the generator knows it)."""

    name: str
    color: str
    quality: float


@dataclass(frozen=True, eq=False)
class Blend:
    """A finished G'(z_e).

    Attributes:
        array: uint8 R x R x 3, read-only.
        revision, edits: what it shows.
        before, after: PSNR of the kept pixels against the photo, of G(z_e) and of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit, near 1 when the edit has
            survived; ``None`` without one.
    """

    array: Array
    revision: int
    edits: Edits
    before: float
    after: float
    survival: float | None


@dataclass(frozen=True, eq=False)
class _Source:
    """Where a picture comes from; ``array`` is uint8 R x R x 3 and ``None`` for the generator's own scenes.

    ``scene`` is one of the gallery, ``sample`` is G(z) for a seed, for generators that have no gallery.
    """

    kind: Literal["photo", "scene", "sample"]
    title: str
    index: int = 0
    array: Array | None = None


@dataclass(frozen=True, eq=False)
class _Opened:
    """One picture that is being edited, ready to be rendered."""

    source: _Source
    photo: Array
    x: Tensor
    fast: Preview
    reconstruction: Array
    decibel: float


@dataclass(frozen=True, eq=False)
class _Rendering:
    """The newest G(z_e), or how it failed."""

    array: Array
    edits: Edits
    revision: int
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
        photo: a path, the bytes of an image file, a PIL image or a uint8 array H x W x 3; its centred
            square is resized to the generator's size. ``None``: a scene of the generator's gallery.
        generator: the name of a generator, or one of your own (a ``StagedGenerator`` or a ``Model``).
        scene: which scene of the gallery; for a generator without a gallery, the seed of a sample G(z).
        journal: ``True`` keeps a journal where ``project.py`` says, ``False`` keeps none; a path keeps
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
        scene: int = 0,
        journal: bool | str | Path = True,
        worker: Worker | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._rendered = threading.Condition(self._lock)
        self._worker = worker if worker is not None else default_worker()
        self._observers: tuple[tuple[object, Callable[[Event], None]], ...] = ()

        self._model: Model = self._worker.call(_load, generator)
        self._generator_name = str(generator) if isinstance(generator, (str, Path)) else None
        dissection = self._model.dissection
        self._palette: tuple[Concept, ...] = ()
        if dissection is not None:
            self._palette = tuple(
                Concept(name, dissection.colors[name], float(dissection.quality(name)))
                for name in dissection.concepts
            )
        self._concepts = tuple(concept.name for concept in self._palette)
        self._scene = scene

        self._edits: Edits = ()
        self._undo: list[Edits] = []
        self._redo: list[Edits] = []
        self._stroke: tuple[Hashable] | None = None  # key of the stroke that the next paint() may go on with
        self._stroke_count = 0
        self._revision = 0
        self._touched: str | None = None  # the edit that the newest revision painted, if it did
        self._base: _Rendering | None = None  # G(z_e) as it was before the present stroke
        self._standing_notice: Noticed | None = None
        self._passing_notice: Noticed | None = None
        self._labels: Array | None = None
        self._blend: Blend | None = None
        self._running: _Running | None = None
        self._progress: Progress | None = None

        root = project.journal_root() if journal is True else None if journal is False else Path(journal)
        self._journal = None if root is None else project.Journal(root)
        self._continues: tuple[str, ...] = ()
        self._heard: dict[str, int] = {}
        self._opened: _Opened
        self._newest: _Rendering
        if photo is None:
            self._open(self._scene_source(scene))
        else:
            self._open(photo if isinstance(photo, _Source) else self._photo_source(photo, None))

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
        recording = project.read(project.newest(project.journal_root()) if path is None else Path(path))
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
        source = _Source(kind, str(opening.get("title", "")), opening["index"], recording.photo)
        session = cls(source, chosen, scene=source.index, journal=journal, worker=worker)
        earlier = opening.get("continues", [])
        if isinstance(earlier, list):
            session._continues = (recording.path.name, *(name for name in earlier if isinstance(name, str)))
        with session._lock:
            session._begin_journal(session._opened)
        session._replay(recording)
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
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def __repr__(self) -> str:
        return f"<EditingSession {self.title!r} with {self.generator_name!r}, {len(self.edits)} edits>"

    # --- verbs ---

    def add(self, concept: str, mask: object, strength: float = 1.0) -> Edit:
        """Add a concept where the mask says.

        Args:
            concept: one of ``concepts``.
            mask: uint8 R x R, 0 to 255, in picture pixels; or boolean.
            strength: 0 to 4.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        return self._put("add", concept, mask, strength)

    def remove(self, concept: str, mask: object, strength: float = 1.0) -> Edit:
        """Remove a concept where the mask says; arguments and errors as in :meth:`add`."""
        return self._put("remove", concept, mask, strength)

    def _put(self, verb: str, concept: str, mask: object, strength: float) -> Edit:
        # Checked in the order of the arguments, so that the message is about the first that is wrong.
        checked_concept(concept, self._concepts, self.generator_name)
        values = checked_mask(mask, self.size, self.size)
        edit_id = f"e-{uuid.uuid4().hex[:10]}"
        rect = (0, 0, self.size, self.size)
        with self._lock:
            edit, events = self._paint(edit_id, rect, values, verb, concept, strength, None)
        self._tell(events)
        assert edit is not None
        return edit

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
    ) -> int:
        """A piece of a stroke: an edit's mask is ``values`` inside ``rect`` from now on.

        Values are absolute, so that applying the same piece twice does no harm. Consecutive pieces
        with the same ``stroke`` (not ``None``) are one step of undo. A rectangle without pixels changes
        nothing.

        Args:
            edit_id: 1 to 32 characters of ``A-Z a-z 0-9 -``. An unknown one begins a new edit.
            rect: x, y, width and height in picture pixels, inside the picture.
            values: uint8 height x width, 0 to 255.
            verb, concept, strength: of a new edit; ignored for a known one.

        Returns:
            The revision with this piece in it.

        Raises:
            GANPaintError: an argument is not as above; nothing has changed then.
        """
        with self._lock:
            _, events = self._paint(edit_id, rect, values, verb, concept, strength, stroke)
            revision = self._revision
        self._tell(events)
        return revision

    def _paint(
        self,
        edit_id: str,
        rect: tuple[int, int, int, int],
        values: object,
        verb: str,
        concept: str,
        strength: float,
        stroke: Hashable | None,
    ) -> tuple[Edit | None, list[Event]]:
        checked_id(edit_id)
        x, y, width, height = checked_rect(rect, self.size)
        piece = checked_mask(values, height, width)
        place = self._find(edit_id)
        if place is None:
            blank = np.zeros((self.size, self.size), np.uint8)
            edit = Edit(
                edit_id,
                checked_verb(verb),
                checked_concept(concept, self._concepts, self.generator_name),
                blank,
                checked_strength(strength),
            )
            if len(self._edits) >= MAX_EDITS:
                raise GANPaintError(
                    f"This picture already has {MAX_EDITS} edits, and no more are kept.",
                    "Delete one, or go on painting in one of them.",
                )
        else:
            edit = self._edits[place]
        if not piece.size:
            return None, []

        mask = edit.mask.copy()
        mask[y : y + height, x : x + width] = piece
        mask.setflags(write=False)
        painted = replace(edit, mask=mask)
        edits = (*self._edits, painted) if place is None else _with(self._edits, place, painted)
        goes_on = stroke is not None and self._stroke == (stroke,)
        number = self._stroke_count if goes_on else self._stroke_count + 1
        operation = project.painting(edit_id, (x, y, width, height), piece, edit, stroke=number)
        events = self._commit(edits, operation, new_step=not goes_on)
        self._stroke = None if stroke is None else (stroke,)
        self._stroke_count = number
        self._touched = edit_id
        return painted, events

    def retune(self, edit_id: str, strength: float) -> Edit:
        """Give an edit another strength, 0 to 4. GANPaintError when it cannot be."""
        value = checked_strength(strength)
        return self._alter(edit_id, {"op": "retune", "edit": edit_id, "strength": value}, strength=value)

    def toggle(self, edit_id: str, enabled: bool) -> Edit:
        """Switch an edit off or on. GANPaintError when there is no such edit."""
        if not isinstance(enabled, (bool, np.bool_)):
            raise GANPaintError("An edit is switched with True or False.", "Pass one of the two.")
        value = bool(enabled)
        return self._alter(edit_id, {"op": "toggle", "edit": edit_id, "enabled": value}, enabled=value)

    def _alter(self, edit_id: str, operation: project.Operation, **changes: Any) -> Edit:
        with self._lock:
            place = self._known(edit_id)
            before = self._edits[place]
            after = replace(before, **changes)
            if after == before:
                return before
            events = self._commit(_with(self._edits, place, after), operation)
        self._tell(events)
        return after

    def delete(self, edit_id: str) -> None:
        """Take an edit away; undo brings it back. GANPaintError when there is no such edit."""
        with self._lock:
            place = self._known(edit_id)
            edits = self._edits[:place] + self._edits[place + 1 :]
            events = self._commit(edits, {"op": "delete", "edit": edit_id})
        self._tell(events)

    def move(self, edit_id: str, index: int) -> None:
        """Put an edit at another place in the order in which they apply; 0 applies first.

        Raises:
            GANPaintError: there is no such edit or no such place; nothing has changed then.
        """
        with self._lock:
            place = self._known(edit_id)
            if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
                raise GANPaintError("A place in the order is a whole number.", "Pass one, counted from 0.")
            if not 0 <= index < len(self._edits):
                raise GANPaintError(
                    f"There is no place {index} among {len(self._edits)} edits.",
                    f"Pass a number from 0 to {len(self._edits) - 1}.",
                )
            if place == index:
                return
            others = self._edits[:place] + self._edits[place + 1 :]
            edits = (*others[:index], self._edits[place], *others[index:])
            events = self._commit(edits, {"op": "move", "edit": edit_id, "index": int(index)})
        self._tell(events)

    def undo(self) -> bool:
        """Take back the last step; ``False`` when there is none (at most 200 are kept)."""
        return self._step("undo")

    def redo(self) -> bool:
        """Do again what undo has taken back; ``False`` when there is nothing."""
        return self._step("redo")

    def _step(self, name: Literal["undo", "redo"]) -> bool:
        with self._lock:
            source, target = (self._undo, self._redo) if name == "undo" else (self._redo, self._undo)
            if not source:
                return False
            events = self._write({"op": name})
            target.append(self._edits)
            self._edits = source.pop()
            events += self._next_revision()
        self._tell(events)
        return True

    def open(self, photo: object, *, title: str | None = None) -> None:
        """Open another picture in place of this one, whose edits and undo are gone. Waits for the inversion.

        Args:
            photo: as in the constructor.
            title: what to call it; by default the file's name.

        Raises:
            GANPaintError: it cannot be read as a picture; the one that was open stays.
        """
        self._open(self._photo_source(photo, title))

    def next_scene(self) -> None:
        """Open the next scene of the gallery; for a generator without a gallery, another sample."""
        self._open(None)

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
        """The names of what can be painted."""
        return self._concepts

    @property
    def palette(self) -> tuple[Concept, ...]:
        """The concepts with their colours, and how well the generator knows them."""
        return self._palette

    @property
    def edits(self) -> Edits:
        """The edits in the order in which they apply."""
        return self._edits

    @property
    def revision(self) -> int:
        """Grows by one with everything that changes what is edited."""
        return self._revision

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        return bool(self._redo)

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
        generator = self._model.generator
        _, down, across = generator.shape(generator.edit_layer)
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
        return () if self._journal is None else (self._journal.path.name, *self._continues)

    @property
    def heard(self) -> dict[str, int]:
        """Page to its last message that is in the journal, from before a recovery, too."""
        with self._lock:
            return dict(self._heard)

    @property
    def generator_name(self) -> str:
        return self._model.name

    @property
    def has_gallery(self) -> bool:
        return self._model.gallery is not None

    @property
    def notice(self) -> Noticed | None:
        """What the user should know at present: about the last stroke, else about the picture."""
        with self._lock:
            return self._passing_notice or self._standing_notice

    @property
    def job(self) -> Progress | None:
        """How far the running blend is; ``None`` when none runs."""
        return self._progress

    @property
    def measures(self) -> dict[str, Any]:
        """How near the pictures come to the photo.

        ``reconstruction_decibel`` is the PSNR of G(z), at most 99; ``blend`` is ``None`` or has
        ``before``, ``after`` and ``survival``, see :class:`Blend`.
        """
        with self._lock:
            blend = self._blend
            return {
                "reconstruction_decibel": self._opened.decibel,
                "blend": None
                if blend is None
                else {"before": blend.before, "after": blend.after, "survival": blend.survival},
            }

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

    def png(self) -> bytes:
        """The result as a PNG file, or the preview before there is one, with its provenance as text chunks.

        The chunks: ``Software``; ``ganpaint:edited`` ("true" or "false"); ``ganpaint:picture``
        ("result" or "preview"); ``ganpaint:generator``; ``ganpaint:concepts``, a JSON list of
        objects with ``verb``, ``concept`` and ``strength``.
        """
        with self._lock:
            blend, revision = self._blend, self._revision
        if blend is None:
            rendering = self._current_rendering()
            array, edits = rendering.array, rendering.edits
        else:
            array, edits = blend.array, blend.edits
            if blend.revision != revision:
                text = "The saved picture is the last blend, without the edits made since. Blend again first."
                self._tell([Noticed("info", text)])
        used = [
            {"verb": edit.verb, "concept": edit.concept, "strength": edit.strength}
            for edit in edits
            if edit.enabled
        ]
        text_chunks = {
            "Software": f"ganpaint_widget {ganpaint_widget.__version__}",
            "ganpaint:edited": "true" if used else "false",
            "ganpaint:picture": "preview" if blend is None else "result",
            "ganpaint:generator": self.generator_name,
            "ganpaint:concepts": json.dumps(used),
        }
        return pictures.encode_png(array, text_chunks)

    def save_png(self, path: str | Path) -> None:
        """Write :meth:`png` to a file. GANPaintError when it cannot be written."""
        data = self.png()
        try:
            Path(path).write_bytes(data)
        except OSError as error:
            raise GANPaintError(
                f"The picture cannot be written to {str(path)!r}: {error}.", "Choose another place."
            ) from error

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

    # --- changing the state, under the lock ---

    def _commit(self, edits: Edits, operation: project.Operation, *, new_step: bool = True) -> list[Event]:
        """Everything was found in order: journal, swap, count. Returns what to tell once the lock is free."""
        events: list[Event] = []
        if new_step and self._journal is not None and self._journal.too_long:
            # Between two steps only: the next piece of a stroke could not tell which step it belongs to.
            events += self._rewrite_journal()
        events += self._write(operation)
        if new_step:
            self._undo.append(self._edits)
            del self._undo[:-MAX_UNDO]
        self._redo.clear()
        self._edits = edits
        return events + self._next_revision()

    def _begin_journal(self, opened: _Opened) -> list[Event]:
        """The journal is about this picture from now on."""
        if self._journal is None:
            return []
        source = opened.source
        opening = {
            "op": "open",
            "format": project.FORMAT,
            "generator": self._generator_name,
            "kind": source.kind,
            "index": source.index,
            "title": source.title,
            "continues": list(self._continues),
        }
        try:
            self._journal.open(opening, opened.photo)
        except OSError as error:
            return self._without_journal(error)
        return []

    def _next_revision(self) -> list[Event]:
        self._revision += 1
        self._stroke = None
        self._touched = None
        return [Changed(self._revision)]

    def _write(self, operation: project.Operation) -> list[Event]:
        speaker = SPEAKER.get()
        if speaker is not None:
            page, sequence = speaker
            self._heard[page] = max(sequence, self._heard.get(page, 0))
            operation = {**operation, "by": [page, sequence]}
        try:
            if self._journal is not None:
                self._journal.write(operation)
        except OSError as error:
            return self._without_journal(error)
        return []

    def _rewrite_journal(self) -> list[Event]:
        assert self._journal is not None
        history = [*self._undo, self._edits, *reversed(self._redo)]
        operations = [*project.operations_of(history), *({"op": "undo"} for _ in self._redo)]
        operations += [{"op": "heard", "by": [page, count]} for page, count in self._heard.items()]
        try:
            self._journal.rewrite(operations)
        except OSError as error:
            return self._without_journal(error)
        return []

    def _without_journal(self, error: OSError) -> list[Event]:
        """A full disk is no reason to stop somebody from painting, but they have to know."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
        self._standing_notice = Noticed(
            "warning",
            f"The journal cannot be written ({error}): if the kernel ends, what was painted is lost.",
        )
        return [self._standing_notice]

    def _find(self, edit_id: str) -> int | None:
        return next((place for place, edit in enumerate(self._edits) if edit.id == edit_id), None)

    def _known(self, edit_id: str) -> int:
        place = self._find(checked_id(edit_id))
        if place is None:
            known = ", ".join(edit.id for edit in self._edits[-10:])
            raise GANPaintError(
                f"There is no edit {edit_id!r}.", f"Choose one of: {known}." if known else "Paint one first."
            )
        return place

    def _replay(self, recording: project.Recording) -> None:
        """Do again what a journal has recorded, through the same verbs."""
        for number, operation in enumerate(recording.operations):
            try:
                token = SPEAKER.set(_speaker_of(operation))
                try:
                    self._replay_one(operation)
                finally:
                    SPEAKER.reset(token)
            except (ValueError, KeyError, TypeError, zlib.error) as error:
                log.warning("The journal %s stops at operation %d: %s", recording.path, number + 1, error)
                with self._lock:
                    self._standing_notice = Noticed(
                        "warning",
                        f"Only {number} of {len(recording.operations)} steps could be recovered: {error}",
                    )
                return

    def _replay_one(self, operation: Mapping[str, Any]) -> None:
        name = operation["op"]
        if name == "paint":
            self.paint(
                operation["edit"],
                operation["rect"],
                project.values_of(operation),
                verb=operation["verb"],
                concept=operation["concept"],
                strength=operation["strength"],
                stroke=("recovered", str(operation["stroke"])),
            )
        elif name == "retune":
            self.retune(operation["edit"], operation["strength"])
        elif name == "toggle":
            self.toggle(operation["edit"], operation["enabled"])
        elif name == "delete":
            self.delete(operation["edit"])
        elif name == "move":
            self.move(operation["edit"], operation["index"])
        elif name in ("undo", "redo"):
            self._step(name)
        elif name == "heard":
            with self._lock:
                self._write({"op": "heard"})
        else:
            raise ValueError(f"There is no operation {name!r}.")

    # --- telling, outside the lock ---

    def _tell(self, events: list[Event]) -> None:
        """Call the observers; a change also asks for its preview."""
        for event in events:
            if isinstance(event, Changed) and not self._worker.closed:
                self._worker.request((id(self), "preview"), self._render, self._render_failed)
            for _, observer in self._observers:
                try:
                    observer(event)
                except Exception:
                    log.exception("An observer of the session failed on %s.", type(event).__name__)

    # --- on the worker's thread ---

    def _photo_source(self, photo: object, title: str | None) -> _Source:
        if title is None:
            title = Path(photo).name if isinstance(photo, (str, Path)) else "photo"
        return _Source("photo", title, self._scene, _frozen(pictures.read_square(photo, self.size)))

    def _scene_source(self, scene: int) -> _Source:
        gallery = self._model.gallery
        if gallery is None:
            return _Source("sample", f"sample {scene}", scene)
        return _Source("scene", gallery.title(scene % gallery.count), scene)

    def _open(self, source: _Source | None) -> None:
        """Open a source, or the next scene for ``None``."""
        if (
            source is not None
            and source.array is not None
            and source.array.shape != (self.size, self.size, 3)
        ):
            raise GANPaintError(
                f"The journal's picture has the shape {source.array.shape}, and {self.generator_name!r} "
                f"makes pictures of {self.size} x {self.size}.",
                "Recover it with the generator that it was painted with.",
            )
        self.cancel()  # what is being blended is about to be gone, and the worker is needed
        ticket = self._worker.ticket(self._report_opening)
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

    def _open_now(self, source: _Source | None, ticket: Ticket) -> None:
        if source is None:  # only here is it certain which scene was the last
            source = self._scene_source(self._scene + 1)
        opened = self._invert(source, ticket)
        labels = self._segment(opened.x)
        if ticket.cancelled:
            raise Cancelled
        with self._lock:
            self._opened, self._labels = opened, labels
            if source.kind != "photo":
                self._scene = source.index
            self._edits, self._base, self._blend = (), None, None
            self._undo.clear()
            self._redo.clear()
            self._passing_notice = self._standing_notice = None
            if source.kind == "photo":
                self._standing_notice = Noticed(
                    "warning",
                    f"This photo is outside the world of the generator {self.generator_name!r}: its "
                    f"reconstruction scores {opened.decibel:.1f} dB (PSNR), and edits may look out of place.",
                )
            events: list[Event] = [Opened(), *self._next_revision()]
            if self._standing_notice is not None:
                events.append(self._standing_notice)
            events += self._begin_journal(opened)
            self._newest = _Rendering(opened.reconstruction, (), self._revision)
            events.append(Rendered("preview", opened.reconstruction, self._revision))
            self._rendered.notify_all()
        self._tell(events)

    def _segment(self, x: Tensor) -> Array | None:
        """The class of each pixel of a photo. More classes than a byte can count are seen by nobody."""
        segmenter = self._model.segmenter
        if segmenter is None or len(segmenter.classes) > 256:
            return None
        return _frozen(segmenter.segment(x)[0].cpu().numpy())

    def _invert(self, source: _Source, ticket: Ticket) -> _Opened:
        """z, and all that follows from it, for a picture."""
        import torch

        from .inversion import invert
        from .preview import Preview

        generator = self._model.generator
        device = next(generator.parameters()).device
        state: State
        if source.kind == "sample":
            with torch.no_grad():
                z = generator.sample_z(1, source.index).to(device)
                state = generator.run(generator.start(z), until=generator.edit_layer)
            fast = Preview(self._model, state)
            photo = _array(fast.render(()))
            x = _tensor(photo, device)
        else:
            if source.array is not None:
                photo = source.array
            else:
                assert self._model.gallery is not None
                photo = self._model.gallery.picture(source.index % self._model.gallery.count)
            photo = _frozen(photo)
            x = _tensor(photo, device)
            # The state is kept for blending, which differentiates; inference mode's tensors refuse that.
            state = _plain(invert(self._model, x, ticket=ticket).state)
            fast = Preview(self._model, state)
        picture = fast.render(())
        return _Opened(source, photo, x, fast, _array(picture), _decibel(picture, x))

    def _render(self) -> None:
        """G(z_e) for the newest edits, if they have not been rendered yet."""
        with self._lock:
            opened, edits, revision, touched = self._opened, self._edits, self._revision, self._touched
            if self._newest.revision == revision and self._newest.error is None:
                return
            stroke_began_with = self._undo[-1] if touched is not None and self._undo else None
            base = self._base
        if stroke_began_with is not None and (base is None or base.edits is not stroke_began_with):
            # The last preview will usually be the one; a fast hand may have left it unrendered.
            base = self._newest
            if base.edits is not stroke_began_with:
                base = _Rendering(_array(opened.fast.render(stroke_began_with)), stroke_began_with, revision)
        array = _array(opened.fast.render(edits))
        events: list[Event] = [Rendered("preview", array, revision)]
        with self._lock:
            if self._opened is not opened:
                return
            self._newest = _Rendering(array, edits, revision)
            self._base = base
            before, self._passing_notice = self._passing_notice, None
            if stroke_began_with is not None and base is not None:
                edit = next((edit for edit in edits if edit.id == touched), None)
                self._passing_notice = _without_effect(edit, base.array, array)
                if self._passing_notice is not None and before is None:
                    events.append(self._passing_notice)
            self._rendered.notify_all()
        self._tell(events)

    def _render_failed(self, error: BaseException) -> None:
        log.error("The preview failed.", exc_info=error)
        with self._lock:
            self._newest = replace(self._newest, revision=self._revision, error=error)
            self._rendered.notify_all()
        told = _error("The preview could not be computed", error)
        self._tell([Failed(told.what, told.mend)])

    def _current_rendering(self) -> _Rendering:
        """The rendering of the present revision; waits for it."""
        if self._worker.current:
            self._render()
        elif not self._worker.threaded:
            self._worker.run_pending()
        end = time.monotonic() + PATIENCE_SECONDS
        with self._lock:
            while self._newest.revision < self._revision:
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
                if running.revision == self._revision:
                    return running.future, running.ticket
                running.ticket.cancel()
            opened, edits, revision = self._opened, self._edits, self._revision
            ticket = self._worker.ticket(self._report)
            # The job takes the lock before it looks at _running, so it finds what is set here.
            future = self._worker.submit(self._blend_now, opened, edits, revision, ticket)
            self._running = _Running(ticket, future, revision)
            self._progress = Progress("blend", 0.0, None, None)
        return future, ticket

    def _report_opening(self, report: Report) -> None:
        self._tell([Progress("open", report.fraction, report.seconds_left, None)])

    def _report(self, report: Report) -> None:
        decibel = report.numbers.get("decibel")
        progress = Progress("blend", report.fraction, report.seconds_left, decibel)
        with self._lock:
            self._progress = progress
        self._tell([progress])

    def _blend_now(self, opened: _Opened, edits: Edits, revision: int, ticket: Ticket) -> Blend:
        """G'(z_e) as a job; see ``adaptation.py`` for the method."""
        try:
            # Told here and not where the job was queued, so that it cannot come after the job's end.
            self._tell([Progress("blend", 0.0, None, None)])
            blend = self._adapt(opened, edits, revision, ticket)
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
            log.error("The blend failed.", exc_info=error)
            told = _error("The blend failed", error)
            self._tell([Failed(told.what, told.mend)])
            raise
        finally:
            with self._lock:
                # Another one may have been queued since; then the session is still at work.
                if self._running is not None and self._running.ticket is ticket:
                    self._running = self._progress = None
            self._tell([Finished("blend")])

    def _adapt(self, opened: _Opened, edits: Edits, revision: int, ticket: Ticket) -> Blend:
        import torch

        from . import adaptation

        if ticket.cancelled:
            raise Cancelled
        generator = self._model.generator

        def on_picture(picture: Tensor, decibel: float) -> None:
            with self._lock:
                ours = self._opened is opened
            if ours:
                self._tell([Blended(_array(picture), revision, final=False)])

        with torch.no_grad():
            original = opened.fast.state
            edited = opened.fast.edited(edits)
            strokes = np.zeros((self.size, self.size), np.uint8)
            for edit in edits:
                if edit.enabled:
                    strokes = np.maximum(strokes, edit.mask)
            painted = torch.from_numpy(strokes.astype(np.float32) / 255).to(opened.x)[None, None]
            keep = adaptation.keep_mask(generator, original, edited, painted)
        adapted = adaptation.adapt(
            generator,
            edited,
            opened.x,
            keep,
            original=original,
            ticket=ticket,
            on_picture=on_picture,
        )
        with torch.no_grad():
            array = _array(adaptation.render(generator, edited, adapted.delta))
        return Blend(array, revision, edits, adapted.before, adapted.after, adapted.survival)


# --- small things ---


def _load(generator: str | Path | StagedGenerator | Model) -> Model:
    from .generators import zoo

    model = zoo.load(generator)
    model.generator.eval().requires_grad_(False)
    if model.dissection is not None and model.dissection.layer != model.generator.edit_layer:
        raise GANPaintError(
            f"The dissection is of {model.dissection.layer!r}, but this generator is edited at "
            f"{model.generator.edit_layer!r}.",
            "Dissect that layer, or set the generator's edit_layer.",
        )
    return model


def _without_effect(edit: Edit | None, before: Array, after: Array) -> Noticed | None:
    """A notice if painting ``edit`` has changed nothing that can be seen where it was painted."""
    if edit is None or not edit.enabled or not edit.mask.any():
        return None
    inside = edit.mask > 0
    change = np.abs(after[inside].astype(np.int16) - before[inside])
    if change.max() >= VISIBLE:
        return None
    why = "sees no" if edit.verb == "remove" else "would not put a"
    return Noticed("info", f"No visible effect here: the generator {why} {edit.concept} in this place.")


def _error(what: str, error: BaseException) -> GANPaintError:
    """What to tell users of an error that was not meant for them."""
    if isinstance(error, GANPaintError):
        return error
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return GANPaintError(f"{what} ({detail}).", "Try again; if it stays so, the kernel's log says more.")


def _speaker_of(operation: Mapping[str, Any]) -> tuple[str, int] | None:
    """On whose behalf a journal's operation was carried out. ValueError if that is damaged."""
    match operation.get("by"):
        case None:
            return None
        case [str() as page, int() as sequence] if sequence > 0:
            return page, sequence
    raise ValueError("It does not say who asked for it.")


def _with(edits: Edits, place: int, edit: Edit) -> Edits:
    return (*edits[:place], edit, *edits[place + 1 :])


def _frozen(array: Array) -> Array:
    """A copy that cannot be written to: it is handed out to observers and kept."""
    array = np.array(array, np.uint8)
    array.setflags(write=False)
    return array


def _image(array: Array) -> Image.Image:
    return Image.fromarray(array.copy())


def _array(picture: Tensor) -> Array:
    """1 x 3 x R x R in [-1, 1] to uint8 R x R x 3, read-only."""
    import torch

    rounded = ((picture.detach()[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    array: Array = rounded.permute(1, 2, 0).contiguous().cpu().numpy()
    array.setflags(write=False)
    return array


def _tensor(array: Array, device: Any) -> Tensor:
    """uint8 R x R x 3 to 1 x 3 x R x R in [-1, 1]."""
    import torch

    scaled = torch.from_numpy(array.astype(np.float32) / 127.5 - 1)
    return scaled.permute(2, 0, 1)[None].contiguous().to(device)


def _plain(state: State) -> State:
    """The same state with tensors that autograd accepts, whatever mode they were made in."""
    extra = {name: tensor.detach().clone() for name, tensor in state.extra.items()}
    return replace(state, features=state.features.detach().clone(), extra=extra)


def _decibel(picture: Tensor, x: Tensor) -> float:
    """PSNR in dB of 1 x 3 x R x R against x, both in [-1, 1]; at most 99, which stands for "the same"."""
    error = float((picture.clamp(-1, 1) - x).square().mean())
    return min(99.0, 10 * math.log10(4 / max(error, 1e-12)))
