"""A page's questions, which change nothing: references, variants and scenes.

A thread of their own answers them one by one. Of each page and kind, only the newest question is answered.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import GANPaintError
from ..images import files
from ..method.edits import Reference
from ..session import EditingSession, Referred
from . import protocol
from .protocol import Question, Refer, Referring, Samples, Scenes, Variants
from .stream import encode_jpeg

log = logging.getLogger(__name__)

STRIP = 8
"""Samples to offer to a page as references."""

VARIANTS = 6
"""Versions of an edit to show to a page, including the plain one."""

TILE = 128
"""The largest side of a picture in a sheet, in pixels."""


class Questions:
    """Answers a page's questions. ``say`` sends a message to the pages."""

    def __init__(self, session: EditingSession, say: Callable[[protocol.Outgoing], None]) -> None:
        self._session, self._say = session, say
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, type], Question] = {}
        # The user's own pictures for restyles, by their keys. The edits have those that they use.
        self._own: dict[str, Reference] = {}

    def ask(self, question: Question) -> None:
        """Queue a question."""
        with self._lock:
            begin = not self._waiting
            self._waiting[question.page, type(question)] = question
        if begin:
            threading.Thread(target=self._answer_all, name="ganpaint-answers", daemon=True).start()

    def reference(self, referring: Referring) -> Reference:
        """Return the reference that a page names. GANPaintError if the kernel lacks it by now."""
        key, size = referring.key, self._session.size
        with self._lock:
            found = self._own.get(key)
        if key[0] == "s":
            found = Reference(seed=int(key[1:]))
        elif found is None:
            known = (edit.reference for edit in self._session.edits)
            found = next((one for one in known if one is not None and key_of(one) == key), None)
        if found is None:
            raise GANPaintError("The kernel no longer has that reference.", "Choose it again.")
        if referring.region is None:
            return replace(found, region=None)
        x, y, width, height = referring.region
        region = np.zeros((size, size), np.uint8)
        region[y : y + height, x : x + width] = 255
        return replace(found, region=region)

    def _answer_all(self) -> None:
        while True:
            with self._lock:
                key, question = next(iter(self._waiting.items()))
            try:
                self._say(self._answer(question))
            except GANPaintError as error:
                self._say(protocol.error(question.page, None, error.message, error.hint))
            except Exception as error:
                log.exception("A question of the page failed.")
                told = f"The page's question failed ({type(error).__name__}: {error})."
                self._say(protocol.error(question.page, None, told, "Check the kernel's log."))
            with self._lock:
                if self._waiting[key] is question:
                    del self._waiting[key]
                if not self._waiting:
                    return

    def _answer(self, question: Question) -> protocol.Outgoing:
        match question:
            case Samples():
                return self._samples(question)
            case Refer():
                return self._refer(question)
            case Variants():
                versions = self._session.variants(question.edit, VARIANTS)
                numbers = range(len(versions))
                return protocol.variants(question.page, question.edit, numbers, _sheet([versions]))
            case Scenes():
                return self._scenes(question)

    def _samples(self, question: Samples) -> protocol.Outgoing:
        """Return references: the user's own pictures first, then the generator's samples."""
        with self._lock:
            own = dict(self._own)
        own |= {key_of(edit.reference): edit.reference for edit in self._session.edits if edit.reference}
        referred = [self._session.refer(one) for one in own.values() if one.seed is None]
        samples = self._session.samples(question.concept, STRIP)
        return _references(question.page, question.concept, [*referred, *samples])

    def _refer(self, question: Refer) -> protocol.Outgoing:
        referred = self._session.refer(question.file)
        with self._lock:
            self._own[key_of(referred.reference)] = referred.reference
            while len(self._own) > STRIP:
                del self._own[next(iter(self._own))]
        return _references(question.page, "", [referred])

    def _scenes(self, question: Scenes) -> protocol.Outgoing:
        """Answer without the model, so that strokes can continue."""
        shown = self._session.scenes(question.first, question.count)
        _, sheet = encode_jpeg(_tiles([[picture for _, picture in shown]]))
        titles = [title for title, _ in shown]
        return protocol.scenes(question.page, question.first, self._session.scene_count, titles, sheet)


def key_of(reference: Reference) -> str:
    """Return the page's name for a reference: the seed of a sample, or a hash of the picture."""
    if reference.picture is None:
        return f"s{reference.seed}"
    return f"p{hashlib.sha1(reference.picture.tobytes(), usedforsecurity=False).hexdigest()}"


def _references(page: str, concept: str, referred: Sequence[Referred]) -> protocol.Outgoing:
    entries = [
        {"key": key_of(one.reference), "own": one.reference.seed is None, "decibel": one.psnr}
        for one in referred
    ]
    sheet = _sheet([[one.photo for one in referred], [one.reconstruction for one in referred]])
    return protocol.references(page, concept, entries, sheet)


def _sheet(rows: Sequence[Sequence[Image.Image]]) -> bytes:
    """Return rows of pictures as one PNG, or a PNG of one black pixel if there are none."""
    if not rows[0]:
        return files.encode_png(np.zeros((1, 1, 3), np.uint8))
    return files.encode_png(_tiles(rows))


def _tiles(rows: Sequence[Sequence[Image.Image]]) -> NDArray[np.uint8]:
    side = min(rows[0][0].width, TILE)
    return np.vstack([np.hstack([np.asarray(one.resize((side, side))) for one in row]) for row in rows])
