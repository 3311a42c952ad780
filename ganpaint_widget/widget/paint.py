"""`GANPaint`: the editing session as a widget.

The widget repeats none of the session's verbs. It carries messages in (docs/protocol.md) and pictures out.
These are the stations of a stroke::

    _handle_msg     takes the page's message, on the kernel's shell thread or on a subshell's
    _receive        parses it (protocol.parse) into a checked dataclass
    Turns.take      checks its number: repeated, missing, or next
    _carry_out      calls session.paint, which writes the journal first; confirms it if no frame will
    _on_changed     within that, notes the revision that the message has made
    _on_event       hears a moment later, on the worker's thread, that the session has rendered
    FrameStream     sends the newest picture when the pages are ready for it
    _rest           when the user pauses, writes pictures and edits at rest as widget state

Threads. Messages come on one or several threads of the kernel, pictures and progress on the session's worker,
and Python's own verbs on the caller's thread. Each lock has one purpose, and they are taken in this order
only: the lane of `Turns` (the order of messages), `_resting` (the order of states at rest), the stream's own,
`_books` here and in `Turns` (small counts), and that of `Way` (one message at a time to the kernel). A thread
that holds one does not wait for the worker.

The widget does not use the kernel's event loop, which stands still while a cell runs: a blocking `adapt()` in
a cell would wait for itself. Therefore, each thread sends its own messages, through `kernel.Way`.
"""

from __future__ import annotations

import base64
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from .. import session as events
from .. import storage
from ..errors import GANPaintError, refuse_unknown
from ..method.edits import Edit
from ..session import EditingSession, View
from ..session.processes.inverting import Source
from ..session.processes.waiting import explained
from . import protocol
from .kernel import Way
from .opening import after_cell, first_view, worth_showing_first
from .protocol import (
    Ack,
    Beat,
    Cancel,
    Command,
    Hello,
    Hidden,
    ProtocolError,
    Refer,
    Samples,
    Scenes,
    Stroke,
    Variants,
)
from .questions import Questions
from .rest import AtRest
from .stream import FrameStream, Picture
from .turns import Turns

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator
    from ..models.model import Model


log = logging.getLogger(__name__)

STATIC = Path(__file__).parent.parent / "static"
"""The folder of the built front end. The wheel has it, and in a checkout `make setup` builds it from js/."""

REST_PAUSE = 0.3
"""Seconds after a stroke before its state at rest is written. The next stroke may begin at once, and its
pictures are more urgent than the PNG files of the last one."""

READ_PATIENCE = 2.0
"""The longest time that a read from Python waits for an open stroke or an opening picture, in seconds."""

PROGRESS_PAUSE = 0.05
"""Seconds between two progress messages. A page cannot show more."""


class GANPaint(anywidget.AnyWidget):
    """The painting editor, as the last expression of a cell.

    In a new kernel, the demo's editor shows at once. PyTorch is imported and the session opened when the cell
    has ended, or before if Python asks for :attr:`session`. What is painted until then is drawn after it.

    Args:
        photo: as for an EditingSession, for example a path, a PIL image, an array or the value of a
            FileUpload. None opens a scene of the generator's gallery.
        generator: a name, the path of a checkpoint or of a trained folder, a StagedGenerator or a Model.
        session: an EditingSession to show, in place of `photo` and `generator`.
        device: a device of torch, such as "cuda"; by default the environment's GANPAINT_DEVICE.

    `paint.session` offers every verb to Python, and the editor shows its effects.

    Raises:
        GANPaintError: an unknown argument, a picture that cannot be read, a generator that cannot be
            loaded, or a checkout whose front end has not been built.
    """

    _photo = traitlets.Bytes(b"").tag(sync=True)
    """PNG of x, the opened picture."""
    _reconstruction = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G(z), the reconstruction."""
    _preview = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G(z_e), with the edits, at the last pause in painting."""
    _result = traitlets.Bytes(b"").tag(sync=True)
    """PNG of G'(z_e), the last finished blend of this picture; empty before there is one."""
    _masks = traitlets.Dict().tag(sync=True)
    """The mask of each edit by its id, as PNG (8-bit gray, the picture's size)."""
    _segments = traitlets.Bytes(b"").tag(sync=True)
    """PNG (8-bit gray) of the photo's labels, indices into the state's `classes`; may be empty."""
    _state = traitlets.Dict().tag(sync=True)
    """The rest of the state at rest; see docs/protocol.md."""

    # Ends the session's calls. A class attribute, because ipywidgets may close a widget before __init__ ends.
    _leave: Callable[[], None] | None = None
    _closed = False

    def __init__(
        self,
        photo: object = None,
        generator: str | Path | StagedGenerator | Model = "demo",
        *,
        session: EditingSession | None = None,
        device: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown("GANPaint", unknown, "photo, generator, session and device")
        if session is not None and (photo is not None or generator != "demo" or device is not None):
            raise GANPaintError(
                "A session already has its photo, its generator and its device.",
                "Pass the session alone, or the others.",
            )
        # anywidget turns these two into synchronized text. They are read here, not in the class body, so that
        # a checkout without the built files can be imported and raises a clear error.
        self._esm = static_file("widget.js").read_text(encoding="utf-8")
        self._css = static_file("widget.css").read_text(encoding="utf-8")

        self._resting = threading.RLock()
        self._books = threading.RLock()
        self._way = Way()
        self._failures = 0
        self._inexact = 0
        self._at_rest = AtRest()
        self._painted: str | None = None
        self._painted_at = -math.inf
        self._later: threading.Timer | None = None
        self._progressed = -math.inf
        self._stream = FrameStream(self.send)
        self._shown: events.Rendered | None = None
        self._opened: Future[EditingSession] = Future()
        self._opening = threading.Lock()
        self._first: tuple[Source, View] | None = None

        if session is None and worth_showing_first(generator, device):
            self._first = first_view(photo)
            self._write(self._at_rest.traits(self._first[1], {}))
            super().__init__()
            self._listen()
            after_cell(self._open_session)
            return
        if session is None:
            session = EditingSession(photo, generator, progressive=True, device=device)
        # Under the lock, so that no newer state falls between the one that opens the comm and the first one
        # that can be sent.
        with self._resting:
            self._connect(session)
            try:
                super().__init__()
            except BaseException:
                self._stop_following()
                raise
        self._listen()

    def _open_session(self) -> None:
        """Open the demo's session after its first view, once."""
        with self._opening:
            if self._opened.done():
                return
            assert self._first is not None
            source, view = self._first
            try:
                self._connect(EditingSession(source, progressive=True))
            except BaseException as error:
                failure = explained("The editor could not be opened", error)
                self._opened.set_exception(failure)
                notice = events.Noticed("warning", str(failure))
                self._write(self._at_rest.traits(replace(view, loading=False, notice=notice), {}))

    def _connect(self, session: EditingSession) -> None:
        """Begin to follow a session, and write its state."""
        self._turns = Turns(session, self._carry_out, self._say, self._done)
        self._questions = Questions(session, self._say)
        # Observe before reading, so that no event in between is missed.
        self._leave = session.observe(self._on_event)
        rendered = session.rendered
        with self._books:
            if self._shown is None:
                self._shown = rendered
        self._opened.set_result(session)
        self._rest()
        if self._closed:
            self._stop_following()

    def _listen(self) -> None:
        """Listen to the pages, once the comm is open."""
        self._way.opened(self.comm)
        self.on_msg(self._receive)

    @property
    def _is_open(self) -> bool:
        return self._opened.done() and self._opened.exception() is None

    @classmethod
    def recover(
        cls, path: str | Path | None = None, *, generator: str | Path | StagedGenerator | Model | None = None
    ) -> GANPaint:
        """Return the editor with the edits of the kernel that ended last; see `EditingSession.recover`.

        Args:
            path: the journal's directory; by default that of the newest ended session with edits.
            generator: needed if that session's generator was given as an object.
        """
        return cls(session=EditingSession.recover(path, generator=generator))

    # --- for Python -------------------------------------------------------------------------------

    @property
    def session(self) -> EditingSession:
        """The session behind the editor, with all verbs and pictures.

        It is opened now if it has not been opened. GANPaintError if that fails.
        """
        if not self._opened.done():
            self._open_session()
        return self._opened.result()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The current edit's mask, uint8 R x R, 0 to 255, in picture pixels; zeros without an edit. A copy.

        The current edit is the one that was painted last, if it still exists, else the last in the list.
        Setting the mask is a stroke, which undo takes back.

        Raises:
            GANPaintError: the picture has no edit yet, or the mask is not as above (or boolean); nothing has
                changed then.
        """
        self._settle()
        edit = self._current_edit()
        if edit is None:
            return np.zeros((self.session.size, self.session.size), np.uint8)
        return np.array(edit.mask, np.uint8)

    @mask.setter
    def mask(self, values: object) -> None:
        self._settle()
        edit = self._current_edit()
        if edit is None:
            raise GANPaintError(
                "The picture has no edit whose mask could be set.",
                "Paint an edit, or add one: paint.session.add(concept, mask).",
            )
        size = self.session.size
        self.session.paint(edit.id, (0, 0, size, size), values, verb=edit.verb, concept=edit.concept)

    def _current_edit(self) -> Edit | None:
        edits = self.session.edits
        with self._books:
            painted = self._painted
        return next((edit for edit in edits if edit.id == painted), edits[-1] if edits else None)

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The last rendered G(z_e), uint8 R x R x 3, read-only. With an open session, this does not wait."""
        _ = self.session
        shown = self._shown
        assert shown is not None
        return shown.array

    @property
    def painting(self) -> bool:
        """Whether a page is in the middle of a stroke."""
        return self._is_open and self._turns.painting

    def snapshot(self) -> Image.Image:
        """Return the present picture: G'(z_e) if it was blended since the last edit, else G(z_e).

        As the last expression of a cell, it stores the picture in the notebook, which shows it without a
        kernel.
        """
        self._settle()
        blend = self.session.blend
        if blend is not None and blend.revision == self.session.revision:
            return Image.fromarray(blend.array.copy())
        return self.session.preview

    def stats(self) -> dict[str, Any]:
        """Return statistics of the stream, for benchmarks: see `FrameStream.stats`.

        There are four more: `accepted`, the last applied sequence of each page; `waiting`, the number of
        messages that wait for a slow command; `failures`, the number of messages that could not be sent;
        `inexact`, the number of previews that were drawn while the hand moved, each with objects in the shape
        of a moment before. Exact ones followed.
        """
        _ = self.session
        stats = self._stream.stats()
        turns = self._turns
        return stats | {
            "accepted": turns.all_accepted(),
            "waiting": turns.waiting,
            "failures": self._failures,
            "inexact": self._inexact,
        }

    def close(self) -> None:
        """Remove the editor from the page. The session continues."""
        self._closed = True
        self._stop_following()
        super().close()

    def _stop_following(self) -> None:
        if self._leave is not None:
            self._leave()
            self._leave = None
            with self._books:
                if self._later is not None:
                    self._later.cancel()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live editor, and a PNG for places without one (GitHub, nbviewer, a printed notebook)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        if self._later is not None:
            self._rest()
        blend = self.session.blend if self._is_open else None
        blended = blend is not None and blend.revision == self.session.revision and self._result
        data["image/png"] = base64.b64encode(self._result if blended else self._preview).decode("ascii")
        return data, metadata

    def _settle(self) -> None:
        """Wait a moment for strokes on their way, so that Python reads the state that the user sees."""
        _ = self.session
        if not self._way.handling:
            self._turns.settle(READ_PATIENCE)

    # --- messages in ------------------------------------------------------------------------------

    def _handle_msg(self, msg: Mapping[str, Any]) -> None:
        """Handle a page's message. This never raises, since ipywidgets would print errors into a cell."""
        self._way.arrived()
        try:
            data = msg["content"]["data"]
            method = data["method"]
            if method == "custom":
                if threading.current_thread() is threading.main_thread():
                    self._open_session()
                self._opened.result()  # on the page's own thread, wait for the cell that opens it
                self._handle_custom_msg(data["content"], msg["buffers"])
            elif method == "update":
                self.set_state(data["state"])
            elif method == "request_state":
                self.send_state()
            else:
                raise LookupError(method)
        except GANPaintError as error:
            self._answer_without_session(msg["content"]["data"]["content"], error)
        except Exception:
            log.exception("A message of the page could not be handled.")
            self._say(protocol.error(None, None, "The page sent something that is not a message.", _RELOAD))

    def _answer_without_session(self, content: object, failure: GANPaintError) -> None:
        """Answer a page after the session could not be opened: the kernel lives, but accepts nothing."""
        page = content.get("page") if isinstance(content, Mapping) else None
        if (
            isinstance(content, Mapping)
            and content.get("type") in ("hello", "beat")
            and isinstance(page, str)
        ):
            self._say(protocol.alive(page, 0, 0))
        else:
            self._say(protocol.error(None, None, failure.message, failure.hint))

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Refuse a page's write of widget state, since a page sends messages instead.

        Otherwise a page could write every synchronized trait, including `_esm`, which is code that other
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
        """Receive a custom message."""
        try:
            message = protocol.parse(content, buffers)
        except ProtocolError as refusal:
            if refusal.page is not None and refusal.sequence is not None:
                self._stream.touch(refusal.page)
                self._turns.take(refusal.page, refusal.sequence, refusal)
            else:
                self._say(protocol.error(refusal.page, None, refusal.message, refusal.hint))
            return
        _ON_MESSAGE[type(message)](self, message)

    def _on_hello(self, message: Hello) -> None:
        accepted = self._turns.accepted(message.page)
        self._say(protocol.welcome(message.page, accepted, self.session.revision))
        self._stream.hello(message.page)
        self._offer_again()
        self._rest()

    def _on_ack(self, message: Ack) -> None:
        self._stream.ack(message.page, message.frame)

    def _on_cancel(self, message: Cancel) -> None:
        self._stream.touch(message.page)
        self.session.cancel()
        if self.session.job is not None:
            self._say(protocol.notice("info", "Stopping; the best result so far is kept."))

    def _on_beat(self, message: Beat) -> None:
        accepted = self._turns.accepted(message.page)
        self._say(protocol.alive(message.page, accepted, self.session.revision))

    def _on_hidden(self, message: Hidden) -> None:
        self._stream.hide(message.page)

    def _on_turn(self, message: Stroke | Command) -> None:
        if isinstance(message, Stroke) and message.drawn is not None:
            self._stream.ack(message.page, message.drawn)
        self._stream.touch(message.page)
        self._turns.take(message.page, message.sequence, message)

    def _on_question(self, message: Samples | Refer | Variants | Scenes) -> None:
        self._stream.touch(message.page)
        self._questions.ask(message)

    # --- strokes and commands ---------------------------------------------------------------------

    def _carry_out(self, turn: Stroke | Command) -> None:
        if isinstance(turn, Stroke):
            self._paint(turn)
        else:
            _ON_COMMAND[turn.name](self, turn)

    def _done(self, revision: int, booked: bool) -> None:
        """Note that a message was carried out or refused."""
        with self._books:
            rendered = self._shown is not None and self._shown.revision >= revision
        if rendered:
            # The worker was faster than this thread, or nothing had to be rendered.
            if not booked:
                self._offer_again()
            self._rest_soon()

    def _paint(self, stroke: Stroke) -> None:
        with self._books:
            self._painted, self._painted_at = stroke.edit, time.monotonic()
        _, _, width, height = stroke.rect
        reference = None if stroke.reference is None else self._questions.reference(stroke.reference)
        self.session.paint(
            stroke.edit,
            stroke.rect,
            np.frombuffer(stroke.values, np.uint8).reshape(height, width),
            verb=stroke.verb,
            concept=stroke.concept,
            strength=stroke.strength,
            stroke=(stroke.page, stroke.stroke),
            reference=reference,
            last=stroke.last,
        )

    def _update_edit(self, command: Command) -> None:
        changes = dict(command.arguments)
        if "reference" in changes:
            changes["reference"] = self._questions.reference(changes["reference"])
        self.session.update(changes.pop("edit"), **changes)

    def _open(self, command: Command) -> None:
        name, file = command.arguments["name"], command.file
        assert file is not None
        if name.lower().endswith(".ganpaint"):
            self.session.open_project(file)
        else:
            self.session.open(file, title=name, fit=command.arguments["fit"])

    def _open_scene(self, command: Command) -> None:
        if "index" in command.arguments:
            self.session.open_scene(command.arguments["index"])
        else:
            self.session.next_scene()

    def _set_faithful(self, command: Command) -> None:
        if command.arguments["on"]:
            self.session.start_faithful()
        else:
            self.session.stop_faithful()

    def _save(self, command: Command) -> None:
        stem = PurePath(self.session.title.replace("\\", "/")).stem or "picture"
        if command.arguments["what"] == "project":
            name, kind, data = f"{stem}.ganpaint", "application/zip", self.session.project_file()
        else:
            name, kind, data = f"{stem}-ganpaint.png", "image/png", self.session.png()
        if command.arguments["where"] == "page":
            self._say(protocol.file(command.page, name, kind, data))
            return
        path = _unused(Path.cwd() / name)
        storage.write(path, data, "The file", "Download it instead.")
        self._say(protocol.notice("info", f"Saved beside the notebook's kernel as {path}."))

    # --- events of the session --------------------------------------------------------------------

    def _on_event(self, event: events.Event) -> None:
        """Handle an event, on the event's own thread. The session logs exceptions."""
        handler = _ON_EVENT.get(type(event))
        if handler is not None:
            handler(self, event)

    def _on_changed(self, event: events.Changed) -> None:
        """Note a change on the thread of the message that made it, before its picture is requested."""
        self._turns.changed(event.revision)

    def _on_rendered(self, event: events.Rendered) -> None:
        self._inexact += not event.exact
        with self._books:
            if self._shown is not None and event.revision < self._shown.revision:
                return
            self._shown = event
        self._offer("preview", event.array, event.revision)
        # Not for every picture of a stroke, since only a reload, a second view or a saved notebook shows the
        # state at rest.
        if event.revision == self.session.revision:
            self._rest_soon()

    def _on_blended(self, event: events.Blended) -> None:
        self._offer("result", event.array, event.revision)

    def _on_progress(self, event: events.Progress) -> None:
        if event.job == "fit":
            return  # a Python caller waits for it, and the editor does not show it
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
        turns, stream = self._turns, self._stream
        stream.offer(Picture(kind, array, revision, lambda: turns.covers(stream.pages, revision)))

    def _offer_again(self) -> None:
        with self._books:
            shown = self._shown
        if shown is not None:
            self._offer("preview", shown.array, shown.revision)

    # --- at rest ----------------------------------------------------------------------------------

    def _rest_soon(self) -> None:
        """Write the state at rest once the user has paused for a moment."""
        with self._books:
            if self._turns.painting:
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
        """Write the state at rest. Unchanged parts are neither encoded nor sent."""
        with self._resting:
            covers = self._turns.all_accepted(self._stream.pages)
            self._write(self._at_rest.traits(self.session.view, covers))

    def _write(self, traits: Mapping[str, object]) -> None:
        try:
            # One message with all differences, so that a page never sees half of a state.
            with self.hold_sync():
                for name, value in traits.items():
                    setattr(self, name, value)
        except Exception:
            self._failures += 1
            log.debug("The state could not be sent.", exc_info=True)

    # --- messages out -----------------------------------------------------------------------------

    def _say(self, outgoing: protocol.Outgoing) -> None:
        """Send a message. A failure is counted and ignored."""
        try:
            self.send(*outgoing)
        except Exception:
            self._failures += 1
            log.debug("A message could not be sent.", exc_info=True)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        """Send a state or a message to the pages. All traffic takes this way."""
        self._way.send(self.comm, super()._send, msg, buffers)


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
    "discover": lambda paint, command: paint.session.find_concepts(),
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
    """Return the path of a built file of the front end. GANPaintError if it has not been built."""
    path = STATIC / name
    if not path.is_file():
        raise GANPaintError(
            f"The front end has not been built: ganpaint_widget/static/{name} is missing.",
            "Run `make setup` in the checkout, or install the wheel.",
        )
    return path


def _unused(path: Path) -> Path:
    """Return the path, with a number added if the file exists."""
    stem, suffix, number = path.stem, path.suffix, 2
    while path.exists():
        path = path.with_name(f"{stem}-{number}{suffix}")
        number += 1
    return path
