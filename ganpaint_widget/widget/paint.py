"""`GANPaint`: the editing session with a face.

The widget repeats none of the session's verbs. It carries messages in (docs/protocol.md) and pictures out,
and this is how a stroke walks through it::

    _handle_msg     the page's message, on the kernel's shell thread or on a subshell's
    _receive        protocol.parse: from here on it is a checked dataclass
    _in_turn        its number: again, missing, or next
    _apply          session.paint, journal first; `accepted`, if no frame is going to say so
    _on_changed     within that: which revision the message has made
    _on_event       on the worker's thread, a moment later: the session has rendered
    FrameStream     the newest picture, when the pages are ready for it
    _rest           when nobody has painted for a moment: pictures and edits at rest, as widget state

Threads. Messages come on one or several threads of the kernel, pictures and progress on the session's
worker, Python's own verbs on whatever thread calls them. Each lock has one purpose, and they are taken in
this order only: `_lane` (the order of messages), `_resting` (the order of states at rest), the stream's
own, `_books` (small counts), `_wire` (one message at a time to the kernel). While one is held, nobody waits
for the worker.

What comes after the kernel's event loop is not used: it does not turn while a cell runs, and a blocking
`adapt()` in a cell would wait for itself. So everything is sent from the thread on which it happens. See
`_send` for the one trick that this needs.
"""

from __future__ import annotations

import base64
import contextvars
import hashlib
import io
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from .. import session as events
from ..errors import GANPaintError
from ..images import files
from ..method.edits import Edit, Reference
from ..session import EditingSession
from ..session.document import SPEAKER, Edits
from . import protocol
from .kernel import hush, keep_awake
from .protocol import (
    Ack,
    Beat,
    Cancel,
    Command,
    Hello,
    Hidden,
    ProtocolError,
    Question,
    Refer,
    Referring,
    Samples,
    Scenes,
    Stroke,
    Variants,
)
from .stream import FrameStream, Picture, encode_jpeg

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator
    from ..models.model import Model

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent.parent / "static"
"""Where the built front end lies: a part of the wheel, made from js/ by `make setup` in a checkout."""

STROKE_PATIENCE = 5.0
"""Seconds after its last message that a stroke counts as open: a page may vanish in the middle of one."""

REST_PAUSE = 0.3
"""Seconds after a stroke until its state at rest is written: the next one may begin at once, and the pictures
of a stroke come before the PNG files of the last."""

READ_PATIENCE = 2.0
"""Most seconds that a read from Python waits for an open stroke or a picture that is being opened."""

PROGRESS_PAUSE = 0.05
"""Seconds between two progress messages: more than a page can show helps nobody."""

HISTORY = 4096
"""How many (sequence, revision) pairs a page's history keeps: more than a minute of painting."""

STRIP = 8
"""How many samples a page is offered as references."""

VARIANTS = 6
"""How many versions of an edit a page is shown, the plain one among them."""

TILE = 128
"""Largest side of a picture in a sheet, in pixels."""

SLOW = frozenset({"open", "scene", "save"})
"""The commands that wait for the model."""

Turn = Stroke | Command | ProtocolError
"""What takes a number: strokes, commands, and refused ones of both."""


@dataclass
class _Page:
    """What the kernel knows of a page."""

    received: int = 0
    """Its last sequence that came, and is applied or waits to be."""
    accepted: int = 0
    """Its last sequence that is applied, or was refused."""
    told: int = 0
    """Its last sequence that it has been told of, by `accepted` or by a frame that covers it."""
    applied: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """(sequence, revision once it was applied), both growing; of one revision only the last sequence."""
    stroke_since: float | None = None
    """When the last message of a stroke that is not over came."""


class GANPaint(anywidget.AnyWidget):
    """The painting editor, as the last expression of a cell.

    Args:
        photo: a path, the bytes of an image file, a PIL image or a uint8 array H x W x 3; its centered
            square is resized to the generator's size. None: a scene of the generator's gallery.
        generator: the name of a generator, or one of your own (a StagedGenerator or a Model).
        session: an EditingSession to show, instead of making one from `photo` and `generator`.

    `paint.session` is where everything can be done from Python; what it does shows in the editor.

    Raises:
        GANPaintError: an unknown argument, a picture that cannot be read, a generator that cannot be
            loaded, or a checkout whose front end has not been built.
    """

    _photo = traitlets.Bytes(b"").tag(sync=True)
    """PNG of x, the picture as it was opened."""
    _reconstruction = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G(z), what the generator makes of it."""
    _preview = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G(z_e), with the edits, as it was when painting last rested."""
    _result = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G'(z_e), the last finished blend of this picture; empty before there is one."""
    _masks = traitlets.Dict().tag(sync=True)
    """Edit id to PNG (8-bit gray, the picture's size)."""
    _segments = traitlets.Bytes(b"").tag(sync=True)
    """PNG (8-bit gray) of the photo's labels, indices into the state's `classes`; may be empty."""
    _state = traitlets.Dict().tag(sync=True)
    """Everything else at rest: see docs/protocol.md."""

    # Ends the session's calls. Here, because ipywidgets closes also what was never finished.
    _leave: Callable[[], None] | None = None

    def __init__(
        self,
        photo: object = None,
        generator: str | Path | StagedGenerator | Model = "demo",
        *,
        session: EditingSession | None = None,
        **unknown: object,
    ) -> None:
        if unknown:
            raise GANPaintError(
                f"GANPaint has no argument {', '.join(map(repr, unknown))}.",
                "Its arguments are photo, generator and session.",
            )
        if session is not None and (photo is not None or generator != "demo"):
            raise GANPaintError(
                "A session already has its photo and its generator.",
                "Pass the session alone, or the other two.",
            )
        # anywidget makes synchronized text of these two. Read here and not in the class, so that a checkout
        # without the built files can be imported, and says what it lacks.
        self._esm = static_file("widget.js").read_text(encoding="utf-8")
        self._css = static_file("widget.css").read_text(encoding="utf-8")

        if session is None:
            session = EditingSession(photo, generator, progressive=True)
        self._session = session
        self._lane = threading.RLock()
        self._resting = threading.RLock()
        self._books = threading.RLock()
        self._calm = threading.Condition(self._books)
        self._wire = threading.RLock()
        self._context: contextvars.Context | None = None
        self._handler: int | None = None
        self._failures = 0
        # After a recovery a page may say again what the last kernel has written down and not confirmed.
        self._pages = {name: _Page(count, count, count) for name, count in self._session.acknowledged.items()}
        self._backlog: deque[Turn] = deque()
        self._painted: str | None = None
        self._painted_at = -math.inf
        self._later: threading.Timer | None = None
        self._progressed = -math.inf
        self._mask_files: dict[str, tuple[NDArray[np.uint8], bytes]] = {}
        self._questions: dict[tuple[str, type], Question] = {}
        # A user's own pictures that restyles refer to, by their keys; those in edits are found there.
        self._own: dict[str, Reference] = {}
        self._stream = FrameStream(self.send)

        # Listen first and look then: what happens in between is heard.
        self._shown: events.Rendered | None = None
        self._encoded: dict[str, tuple[NDArray[np.uint8], bytes]] = {}
        self._leave = self._session.observe(self._on_event)
        try:
            rendered = self._session.rendered
            with self._books:
                if self._shown is None:
                    self._shown = rendered
            # Held, so that no newer state falls between the one that opens the comm and the first that can
            # be sent.
            with self._resting:
                self._rest()
                super().__init__()
        except BaseException:
            self._leave()
            raise
        self._forget_route()
        hush(self.comm)
        keep_awake(self.comm)
        self.on_msg(self._receive)

    @classmethod
    def recover(
        cls, path: str | Path | None = None, *, generator: str | Path | StagedGenerator | Model | None = None
    ) -> GANPaint:
        """The editor with what was painted when the last kernel ended; see `EditingSession.recover`."""
        return cls(session=EditingSession.recover(path, generator=generator))

    # --- for Python -------------------------------------------------------------------------------

    @property
    def session(self) -> EditingSession:
        """The session that is shown: all verbs and pictures."""
        return self._session

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The current edit's mask, uint8 R x R, 0 to 255, in picture pixels; zeros without an edit. A copy.

        The current edit is the one that was painted last, if it is still there, else the last in the list.
        Setting it is a stroke like any other: undo takes it back.

        Raises:
            GANPaintError: there is no edit yet, or the mask is not as above (or boolean); nothing has
                changed then.
        """
        self._settle()
        edit = self._current_edit()
        if edit is None:
            return np.zeros((self._session.size, self._session.size), np.uint8)
        return np.array(edit.mask, np.uint8)

    @mask.setter
    def mask(self, values: object) -> None:
        self._settle()
        edit = self._current_edit()
        if edit is None:
            raise GANPaintError(
                "There is no edit whose mask could be set.",
                "Paint one, or make one: paint.session.add(concept, mask).",
            )
        size = self._session.size
        self._session.paint(edit.id, (0, 0, size, size), values, verb=edit.verb, concept=edit.concept)

    def _current_edit(self) -> Edit | None:
        edits = self._session.edits
        with self._books:
            painted = self._painted
        return next((edit for edit in edits if edit.id == painted), edits[-1] if edits else None)

    @property
    def shown(self) -> NDArray[np.uint8]:
        """G(z_e) as it was rendered last, uint8 R x R x 3, read-only; waits for nothing."""
        shown = self._shown
        assert shown is not None
        return shown.array

    @property
    def painting(self) -> bool:
        """Whether somebody is in the middle of a stroke."""
        return self._stroke_open()

    def snapshot(self) -> Image.Image:
        """The picture as it is now: G'(z_e) if it was blended since the last edit, else G(z_e).

        As the last expression of a cell it puts the picture into the notebook, where it stays without a
        kernel.
        """
        self._settle()
        blend = self._session.blend
        if blend is not None and blend.revision == self._session.revision:
            return Image.fromarray(blend.array.copy())
        return self._session.preview

    def stats(self) -> dict[str, Any]:
        """What the stream has done, for the curious and for benchmarks: see `FrameStream.stats`.

        Further: `accepted`, page to its last applied sequence; `waiting`, messages that wait for a slow
        command; `failures`, messages to the page that could not be sent.
        """
        stats = self._stream.stats()
        with self._books:
            stats["accepted"] = {name: page.accepted for name, page in self._pages.items()}
        return stats | {"waiting": len(self._backlog), "failures": self._failures}

    def close(self) -> None:
        """Take the editor off the page. The session goes on."""
        if self._leave is not None:
            self._leave()
            self._leave = None
            with self._books:
                if self._later is not None:
                    self._later.cancel()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live editor, and a PNG for places without one (GitHub, nbviewer, a printed notebook)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        if self._later is not None:
            self._rest()
        blend = self._session.blend
        blended = blend is not None and blend.revision == self._session.revision and self._result
        data["image/png"] = base64.b64encode(self._result if blended else self._preview).decode("ascii")
        return data, metadata

    def _settle(self) -> None:
        """Wait a moment for strokes that are on their way, so that Python sees what the user sees."""
        if threading.get_ident() == self._handler:
            return  # messages are handled on this very thread: waiting would only keep them out
        end = time.monotonic() + READ_PATIENCE
        with self._books:
            while (self._backlog or self._stroke_open()) and (left := end - time.monotonic()) > 0:
                self._calm.wait(left)

    # --- messages in ------------------------------------------------------------------------------

    def _handle_msg(self, msg: Mapping[str, Any]) -> None:
        """Everything that a page sends. Nothing in it may raise: ipywidgets would print that into a cell."""
        # Kept for `_send`; see there.
        self._context = contextvars.copy_context()
        self._handler = threading.get_ident()
        try:
            data = msg["content"]["data"]
            method = data["method"]
            if method == "custom":
                self._handle_custom_msg(data["content"], msg["buffers"])
            elif method == "update":
                self.set_state(data["state"])
            elif method == "request_state":
                self.send_state()
            else:
                raise LookupError(method)
        except Exception:
            log.exception("A message of the page could not be handled.")
            self._say(protocol.error(None, None, "The page sent something that is no message.", _RELOAD))

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """A page's write of widget state, which is always refused: a page speaks in messages.

        Without this a page could write every synchronized trait, `_esm` included, which is code that other
        pages run.
        """
        ours = [name for name in sync_data if name in self.keys]
        self._say(
            protocol.error(
                None,
                None,
                f"The page wrote the widget's state ({', '.join(ours) or 'unknown names'}), "
                "which only the kernel writes.",
                _RELOAD,
            )
        )
        if ours:
            self.send_state(ours)

    def _receive(self, _widget: object, content: object, buffers: list[Any]) -> None:
        """A custom message."""
        try:
            message = protocol.parse(content, buffers)
        except ProtocolError as refusal:
            if refusal.page is not None and refusal.sequence is not None:
                self._in_turn(refusal.page, refusal.sequence, refusal)
            else:
                self._say(protocol.error(refusal.page, None, refusal.message, refusal.hint))
            return
        _ON_MESSAGE[type(message)](self, message)

    def _on_hello(self, message: Hello) -> None:
        with self._books:
            accepted = self._page(message.page).accepted
        self._say(protocol.welcome(message.page, accepted, self._session.revision))
        self._stream.hello(message.page)
        self._offer_again()
        self._rest()

    def _on_ack(self, message: Ack) -> None:
        self._stream.ack(message.page, message.frame)

    def _on_cancel(self, message: Cancel) -> None:
        self._stream.touch(message.page)
        self._session.cancel()
        if self._session.job is not None:
            self._say(protocol.notice("info", "Stopping; the best so far is kept."))

    def _on_beat(self, message: Beat) -> None:
        with self._books:
            accepted = self._page(message.page).accepted
        self._say(protocol.alive(message.page, accepted, self._session.revision))

    def _on_hidden(self, message: Hidden) -> None:
        self._stream.hide(message.page)

    def _on_turn(self, message: Stroke | Command) -> None:
        if isinstance(message, Stroke) and message.drawn is not None:
            self._stream.ack(message.page, message.drawn)
        self._in_turn(message.page, message.sequence, message)

    def _in_turn(self, name: str, sequence: int, turn: Turn) -> None:
        """Apply each message of a page once and in order.

        Strokes and most commands are done here and now, in well under a millisecond plus the journal's
        write: so they are in before the next cell runs. A command that waits for the model is done on a
        thread of its own, and everything that comes meanwhile queues behind it; the kernel's thread stays
        free for acknowledgements and Cancel.
        """
        self._stream.touch(name)
        with self._lane:
            with self._books:
                page = self._page(name)
                received, accepted = page.received, page.accepted
            if sequence <= received:
                self._say(protocol.accepted(name, accepted, self._session.revision))
                return
            if sequence > received + 1:
                self._say(protocol.welcome(name, accepted, self._session.revision))
                return
            page.received = sequence
            slow = isinstance(turn, Command) and turn.name in SLOW
            if slow or self._backlog:
                self._backlog.append(turn)
                if len(self._backlog) == 1:
                    threading.Thread(target=self._work_off, name="ganpaint-widget", daemon=True).start()
                return
            try:
                self._apply(name, sequence, turn)
            except BaseException:
                page.received = accepted  # Ctrl-C in the middle: the page will be asked to say it again
                raise

    def _work_off(self) -> None:
        """Do what has queued up, in order; a message leaves the queue when it is done."""
        while True:
            turn = self._backlog[0]
            assert turn.page is not None and turn.sequence is not None
            try:
                self._apply(turn.page, turn.sequence, turn)
            finally:
                with self._lane:
                    self._backlog.popleft()
                    done = not self._backlog
                with self._books:
                    self._calm.notify_all()
            if done:
                return

    def _apply(self, name: str, sequence: int, turn: Turn) -> None:
        """Do it, book it, say so. What fails has changed nothing, and counts as accepted."""
        refused: GANPaintError | None = None
        speaker = SPEAKER.set((name, sequence))
        try:
            if isinstance(turn, Stroke):
                self._paint(turn)
            elif isinstance(turn, Command):
                _ON_COMMAND[turn.name](self, turn)
            else:
                refused = turn
        except GANPaintError as error:
            refused = error
        except Exception as error:
            log.exception("A message of the page failed.")
            refused = GANPaintError(
                f"That could not be done ({type(error).__name__}: {error}).",
                "Undo the last step and try again; the kernel's log says more.",
            )
        finally:
            SPEAKER.reset(speaker)
        # Read after the verb: it may be higher than the verb's own when other threads edit as well, never
        # lower, so that no frame claims to cover what it does not.
        revision = self._session.revision
        with self._books:
            page = self._page(name)
            booked = bool(page.applied) and page.applied[-1][0] == sequence
            if not booked:
                self._book(page, sequence, revision)
            page.accepted = sequence
            # In the middle of a stroke its frame says that a message is accepted, and halves what the page
            # has to read. Where frames do not keep up, every second message is answered; the last one always.
            answered = not isinstance(turn, Stroke) or turn.last or page.told < sequence - 1
            if refused is not None or answered:
                page.told = sequence
            self._calm.notify_all()
            rendered = self._shown is not None and self._shown.revision >= revision
        if refused is not None:
            self._say(protocol.error(name, sequence, refused.message, refused.hint))
        elif answered:
            self._say(protocol.accepted(name, sequence, revision))
        if rendered:
            # The worker was faster than this, or nothing had to be rendered.
            if not booked:
                self._offer_again()
            self._rest_soon()

    def _book(self, page: _Page, sequence: int, revision: int) -> None:
        if page.applied and page.applied[-1][1] == revision:
            page.applied.pop()
        page.applied.append((sequence, revision))

    def _paint(self, stroke: Stroke) -> None:
        with self._books:
            self._page(stroke.page).stroke_since = None if stroke.last else time.monotonic()
            self._painted, self._painted_at = stroke.edit, time.monotonic()
        _, _, width, height = stroke.rect
        reference = None if stroke.reference is None else self._referred(stroke.reference)
        self._session.paint(
            stroke.edit,
            stroke.rect,
            np.frombuffer(stroke.values, np.uint8).reshape(height, width),
            verb=stroke.verb,
            concept=stroke.concept,
            strength=stroke.strength,
            stroke=(stroke.page, stroke.stroke),
            reference=reference,
        )

    def _update_edit(self, command: Command) -> None:
        changes = dict(command.arguments)
        if "reference" in changes:
            changes["reference"] = self._referred(changes["reference"])
        self._session.update(changes.pop("edit"), **changes)

    def _open(self, command: Command) -> None:
        name, file = command.arguments["name"], command.file
        assert file is not None
        if name.lower().endswith(".ganpaint"):
            self._session.open_project(file)
        else:
            self._session.open(file, title=name, fit=command.arguments["fit"])

    def _open_scene(self, command: Command) -> None:
        if "index" in command.arguments:
            self._session.open_scene(command.arguments["index"])
        else:
            self._session.next_scene()

    def _set_faithful(self, command: Command) -> None:
        self._session.faithful = command.arguments["on"]

    def _save(self, command: Command) -> None:
        stem = PurePath(self._session.title.replace("\\", "/")).stem or "picture"
        if command.arguments["what"] == "project":
            name, kind, data = f"{stem}.ganpaint", "application/zip", self._session.project_file()
        else:
            name, kind, data = f"{stem}-ganpaint.png", "image/png", self._session.png()
        if command.arguments["where"] == "page":
            self._say(protocol.file(command.page, name, kind, data))
            return
        path = _unused(Path.cwd() / name)
        try:
            path.write_bytes(data)
        except OSError as error:
            raise GANPaintError(f"{path} cannot be written: {error}.", "Download it instead.") from error
        self._say(protocol.notice("info", f"Saved beside the notebook's kernel as {path}."))

    # --- references, variants and scenes ----------------------------------------------------------

    def _on_question(self, message: Question) -> None:
        """Answered on a thread of its own, one by one; of a page's questions of a kind, the newest."""
        self._stream.touch(message.page)
        with self._books:
            begin = not self._questions
            self._questions[message.page, type(message)] = message
        if begin:
            threading.Thread(target=self._answer, name="ganpaint-answers", daemon=True).start()

    def _answer(self) -> None:
        while True:
            with self._books:
                key, message = next(iter(self._questions.items()))
            try:
                self._say(_ON_QUESTION[type(message)](self, message))
            except GANPaintError as error:
                self._say(protocol.error(message.page, None, error.message, error.hint))
            except Exception as error:
                log.exception("A question of the page failed.")
                told = f"That could not be looked up ({type(error).__name__}: {error})."
                self._say(protocol.error(message.page, None, told, "The kernel's log says more."))
            with self._books:
                if self._questions[key] is message:
                    del self._questions[key]
                if not self._questions:
                    return

    def _samples(self, message: Samples) -> protocol.Outgoing:
        """The user's own pictures first, then the generator's."""
        with self._books:
            own = dict(self._own)
        own |= {_key(edit.reference): edit.reference for edit in self._session.edits if edit.reference}
        referred = [self._session.refer(one) for one in own.values() if one.seed is None]
        samples = self._session.samples(message.concept, STRIP)
        return self._sheet(message, message.concept, [*referred, *samples])

    def _refer(self, message: Refer) -> protocol.Outgoing:
        referred = self._session.refer(message.file)
        with self._books:
            self._own[_key(referred.reference)] = referred.reference
            while len(self._own) > STRIP:
                del self._own[next(iter(self._own))]
        return self._sheet(message, "", [referred])

    def _sheet(
        self, message: Samples | Refer, concept: str, referred: Sequence[events.Referred]
    ) -> protocol.Outgoing:
        entries = [
            {"key": _key(one.reference), "own": one.reference.seed is None, "decibel": one.psnr}
            for one in referred
        ]
        sheet = _sheet([[one.photo for one in referred], [one.reconstruction for one in referred]])
        return protocol.references(message.page, concept, entries, sheet)

    def _variants(self, message: Variants) -> protocol.Outgoing:
        versions = self._session.variants(message.edit, VARIANTS)
        return protocol.variants(message.page, message.edit, range(len(versions)), _sheet([versions]))

    def _scenes(self, message: Scenes) -> protocol.Outgoing:
        """On the thread of the questions: it asks nothing of the model, and strokes go on meanwhile."""
        shown = self._session.scenes(message.first, message.count)
        _, sheet = encode_jpeg(_tiles([[picture for _, picture in shown]]))
        titles = [title for title, _ in shown]
        return protocol.scenes(message.page, message.first, self._session.scene_count, titles, sheet)

    def _referred(self, referring: Referring) -> Reference:
        """The reference that a page means."""
        key, size = referring.key, self._session.size
        with self._books:
            found = self._own.get(key)
        if key[0] == "s":
            found = Reference(seed=int(key[1:]))
        elif found is None:
            known = (edit.reference for edit in self._session.edits)
            found = next((one for one in known if one is not None and _key(one) == key), None)
        if found is None:
            raise GANPaintError("The kernel does not have that reference any more.", "Choose it again.")
        if referring.region is None:
            return replace(found, region=None)
        x, y, width, height = referring.region
        region = np.zeros((size, size), np.uint8)
        region[y : y + height, x : x + width] = 255
        return replace(found, region=region)

    # --- what the session says --------------------------------------------------------------------

    def _on_event(self, event: events.Event) -> None:
        """On the thread where it happens; the session logs what is raised."""
        handler = _ON_EVENT.get(type(event))
        if handler is not None:
            handler(self, event)

    def _on_changed(self, event: events.Changed) -> None:
        """On the thread of the message that has changed something, before its picture is asked for."""
        speaker = SPEAKER.get()
        if speaker is not None:
            with self._books:
                self._book(self._page(speaker[0]), speaker[1], event.revision)

    def _on_rendered(self, event: events.Rendered) -> None:
        with self._books:
            if self._shown is not None and event.revision < self._shown.revision:
                return
            self._shown = event
        self._offer("preview", event.array, event.revision)
        # Not for every picture of a stroke: at rest is what a reload, a second view or a saved notebook
        # shows.
        if event.revision == self._session.revision:
            self._rest_soon()

    def _on_blended(self, event: events.Blended) -> None:
        self._offer("result", event.array, event.revision)

    def _on_progress(self, event: events.Progress) -> None:
        now = time.monotonic()
        if now - self._progressed >= PROGRESS_PAUSE or event.fraction in (0, 1):
            self._progressed = now
            self._say(protocol.progress(event.job, event.fraction, event.seconds_left, event.psnr))
        if event.job == "blend" and self._state.get("job") is None:
            self._rest()

    def _on_finished(self, event: events.Finished) -> None:
        self._rest()

    def _on_palette_changed(self, event: events.PaletteChanged) -> None:
        self._rest()

    def _on_noticed(self, event: events.Noticed) -> None:
        self._say(protocol.notice(event.level, event.text))

    def _on_failed(self, event: events.Failed) -> None:
        self._say(protocol.error(None, None, event.message, event.hint))
        self._rest()

    # --- pictures in motion -----------------------------------------------------------------------

    def _offer(self, kind: str, array: NDArray[np.uint8], revision: int) -> None:
        self._stream.offer(Picture(kind, array, revision, lambda: self._covers(revision)))

    def _offer_again(self) -> None:
        with self._books:
            shown = self._shown
        if shown is not None:
            self._offer("preview", shown.array, shown.revision)

    def _covers(self, revision: int) -> dict[str, int]:
        """Page to its last message that was applied before this revision was complete."""
        pages = self._stream.pages
        with self._books:
            covers = {}
            for name in pages:
                applied = self._pages[name].applied if name in self._pages else ()
                sequence = next((s for s, r in reversed(applied) if r <= revision), None)
                if sequence is not None:
                    covers[name] = sequence
                    self._pages[name].told = max(sequence, self._pages[name].told)
            return covers

    def _page(self, name: str) -> _Page:
        # Never forgotten while the kernel lives: a page that was would be asked for messages that it no
        # longer has.
        return self._pages.setdefault(name, _Page())

    def _stroke_open(self) -> bool:
        """Is somebody in the middle of a stroke?"""
        latest = time.monotonic() - STROKE_PATIENCE
        with self._books:
            return any(
                page.stroke_since is not None and page.stroke_since > latest for page in self._pages.values()
            )

    # --- at rest ----------------------------------------------------------------------------------

    def _rest_soon(self) -> None:
        """At rest as soon as nobody paints, and nobody has for a moment."""
        with self._books:
            if self._stroke_open():
                return
            left = self._painted_at + REST_PAUSE - time.monotonic()
            if left > 0:
                if self._later is None and self._leave is not None:
                    self._later = threading.Timer(left, self._rest_later)
                    self._later.daemon = True
                    self._later.start()
                return
        self._rest()

    def _rest_later(self) -> None:
        with self._books:
            self._later = None
        self._rest_soon()

    def _rest(self) -> None:
        """Write the state at rest. What has not changed is neither encoded nor sent."""
        with self._resting:
            # In this order: a message applied in between is in the edits but not yet in covers, and its
            # page waits for the next state. The other way round the page would take over a state without
            # it.
            covers = self._covers_now()
            session = self._session
            with self._books:
                shown = self._shown
            edits, blend, notice, job = session.edits, session.blend, session.notice, session.job
            metrics, labels = session.metrics, session.labels
            traits: dict[str, Any] = {
                "_photo": self._png("photo", np.asarray(session.photo)),
                "_reconstruction": self._png("reconstruction", np.asarray(session.reconstruction)),
                "_preview": b"" if shown is None else self._png("preview", shown.array),
                "_result": b"" if blend is None else self._png("result", blend.array),
                "_segments": b"" if labels is None else self._png("segments", labels),
                "_masks": self._mask_pngs(edits),
                "_state": {
                    "revision": session.revision,
                    "covers": covers,
                    "title": session.title,
                    "width": session.size,
                    "height": session.size,
                    "cells": list(session.cells),
                    "classes": [] if labels is None else list(session.classes),
                    "journal": list(session.journals),
                    "generator": session.generator_name,
                    "concepts": [
                        {"name": concept.name, "color": concept.color, "quality": concept.quality}
                        for concept in session.palette
                    ],
                    "verbs": ["add", "remove", "restyle"],
                    "edits": [_described(edit) for edit in edits],
                    "can_undo": session.can_undo,
                    "can_redo": session.can_redo,
                    "has_gallery": session.has_gallery,
                    "scene": session.scene,
                    "job": None if job is None else {"name": job.job, "fraction": job.fraction},
                    "faithful": {"on": session.faithful, "ready": session.is_faithful},
                    "blended": None if blend is None else blend.revision,
                    "measures": _without_nan(
                        {"reconstruction_decibel": metrics["reconstruction_psnr"], "blend": metrics["blend"]}
                    ),
                    "notice": None if notice is None else {"level": notice.level, "text": notice.text},
                },
            }
            try:
                # One message with all that differs, so that a page never sees half of a state.
                with self.hold_sync():
                    for name, value in traits.items():
                        setattr(self, name, value)
            except Exception:
                self._failures += 1
                log.debug("The state could not be sent.", exc_info=True)

    def _covers_now(self) -> dict[str, int]:
        pages = self._stream.pages
        with self._books:
            return {name: self._pages[name].accepted for name in pages if name in self._pages}

    def _png(self, kind: str, array: NDArray[np.uint8]) -> bytes:
        """PNG of a picture, encoded once."""
        known = self._encoded.get(kind)
        if known is not None and (known[0] is array or np.array_equal(known[0], array)):
            return known[1]
        self._encoded[kind] = (array, files.encode_png(array))
        return self._encoded[kind][1]

    def _mask_pngs(self, edits: Edits) -> dict[str, bytes]:
        # Edits never change their mask in place: the same array is the same mask.
        known, self._mask_files = self._mask_files, {}
        for edit in edits:
            old = known.get(edit.id)
            fresh = old is None or old[0] is not edit.mask
            self._mask_files[edit.id] = (edit.mask, _gray_png(edit.mask)) if fresh or old is None else old
        return {name: data for name, (_, data) in self._mask_files.items()}

    # --- messages out -----------------------------------------------------------------------------

    def _say(self, outgoing: protocol.Outgoing) -> None:
        """Send a message; a line that is down is counted and is no reason to stop."""
        try:
            self.send(*outgoing)
        except Exception:
            self._failures += 1
            log.debug("A message could not be sent.", exc_info=True)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        """Everything that leaves for the page, states and messages alike, goes through here.

        From whatever thread it is sent, it is sent in the context of the last message that came in.
        ipykernel 7 has the page's messages handled on a subshell's thread and takes the shell from a
        context variable; 7.4 then delivers the page's next messages to the shell of whoever *sent* last.
        Sent from the worker's bare thread, or from a cell, acknowledgements and Cancel would wait until the
        cell ends.
        """
        send = super()._send
        with self._wire:
            if self._context is None:
                send(msg, buffers)
            else:
                # A copy, because a context cannot be entered twice at once.
                self._context.copy().run(send, msg, buffers)
            self._forget_route()

    def _forget_route(self) -> None:
        """Have ipykernel 7.4 deliver the page's messages where the page addresses them.

        It remembers the shell from which a comm was opened or last written to, over what the message says.
        That shell is the running cell's own when the widget is made there, and may be one that ended with
        the page that is gone.
        """
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)


_RELOAD = "Reload the page, so that it and the kernel are of the same version."

_ON_MESSAGE: Mapping[type, Callable[[GANPaint, Any], None]] = {
    Hello: GANPaint._on_hello,
    Stroke: GANPaint._on_turn,
    Command: GANPaint._on_turn,
    Ack: GANPaint._on_ack,
    Cancel: GANPaint._on_cancel,
    Beat: GANPaint._on_beat,
    Hidden: GANPaint._on_hidden,
    Samples: GANPaint._on_question,
    Refer: GANPaint._on_question,
    Variants: GANPaint._on_question,
    Scenes: GANPaint._on_question,
}

_ON_QUESTION: Mapping[type, Callable[[GANPaint, Any], protocol.Outgoing]] = {
    Samples: GANPaint._samples,
    Refer: GANPaint._refer,
    Variants: GANPaint._variants,
    Scenes: GANPaint._scenes,
}

_ON_COMMAND: Mapping[str, Callable[[GANPaint, Command], object]] = {
    "undo": lambda paint, command: paint.session.undo(),
    "redo": lambda paint, command: paint.session.redo(),
    "retune": GANPaint._update_edit,
    "toggle": lambda paint, command: paint.session.toggle(
        command.arguments["edit"], command.arguments["enabled"]
    ),
    "delete": lambda paint, command: paint.session.delete(command.arguments["edit"]),
    "move": lambda paint, command: paint.session.move(command.arguments["edit"], command.arguments["index"]),
    "scene": GANPaint._open_scene,
    "open": GANPaint._open,
    "blend": lambda paint, command: paint.session.start_adapt(),
    "faithful": GANPaint._set_faithful,
    "save": GANPaint._save,
}

_ON_EVENT: Mapping[type, Callable[[GANPaint, Any], None]] = {
    events.Changed: GANPaint._on_changed,
    events.Rendered: GANPaint._on_rendered,
    events.Blended: GANPaint._on_blended,
    events.Progress: GANPaint._on_progress,
    events.Finished: GANPaint._on_finished,
    events.PaletteChanged: GANPaint._on_palette_changed,
    events.Noticed: GANPaint._on_noticed,
    events.Failed: GANPaint._on_failed,
}


def static_file(name: str) -> Path:
    """Where a built file of the front end lies. GANPaintError if it has not been built."""
    path = STATIC / name
    if not path.is_file():
        raise GANPaintError(
            f"The front end has not been built: ganpaint_widget/static/{name} is missing.",
            "Run `make setup` in the checkout, or install the wheel.",
        )
    return path


def _described(edit: Edit) -> dict[str, Any]:
    """An edit without its mask, for the page. Unit numbers are many and mean nothing there."""
    reference = edit.reference
    return {
        "id": edit.id,
        "verb": edit.verb,
        "concept": edit.concept,
        "strength": edit.strength,
        "enabled": edit.enabled,
        "units": edit.units if isinstance(edit.units, str) or edit.units is None else "own",
        "target": edit.target,
        "variant": edit.variant,
        "reference": None
        if reference is None
        else {"key": _key(reference), "region": None if reference.region is None else _box(reference.region)},
    }


def _key(reference: Reference) -> str:
    """By this the page names a reference: the seed of a sample, or what is in the picture."""
    if reference.picture is None:
        return f"s{reference.seed}"
    return f"p{hashlib.sha1(reference.picture.tobytes(), usedforsecurity=False).hexdigest()}"


def _box(mask: NDArray[np.uint8]) -> list[int]:
    """x, y, width and height of what is painted."""
    (rows, columns) = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def _sheet(rows: Sequence[Sequence[Image.Image]]) -> bytes:
    """Pictures of one size in rows, as a PNG; an empty PNG of one pixel for none."""
    if not rows[0]:
        return files.encode_png(np.zeros((1, 1, 3), np.uint8))
    return files.encode_png(_tiles(rows))


def _tiles(rows: Sequence[Sequence[Image.Image]]) -> NDArray[np.uint8]:
    side = min(rows[0][0].width, TILE)
    return np.vstack([np.hstack([np.asarray(one.resize((side, side))) for one in row]) for row in rows])


def _unused(path: Path) -> Path:
    """The path, or the same with a number if there is such a file."""
    stem, suffix, number = path.stem, path.suffix, 2
    while path.exists():
        path = path.with_name(f"{stem}-{number}{suffix}")
        number += 1
    return path


def _gray_png(mask: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def _without_nan(value: Any) -> Any:
    """JSON has no word for NaN and infinity: null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
