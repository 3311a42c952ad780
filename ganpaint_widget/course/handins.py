"""What a student hands in: one JSON file for each lesson, small enough to mail, read as if from a stranger.

::

    {"format": 1, "lesson": 2, "student": "Ada Lovelace", "seed": 1234567, "weights": "sha256 ...",
     "answers": {"psnr": 31.2, "worst": "window", "tree": {"edits": [...]}}}

An answer is a number, a word, a list of either, or the edits of a session. These are described as in a
``.ganpaint`` project (see ``session/project.py``), their masks as PNG in base64; photo and inversion are not
handed in, for the student's scene follows from the seed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import numpy as np

from ..errors import GANPaintError, kind_of
from ..images import files
from ..method.edits import Activations, Edit, Mask
from ..validation import checked_edit, checked_student

if TYPE_CHECKING:
    from ..models.model import Model
    from ..models.units import Dissection
    from ..session import EditingSession

FORMAT: Final = 1

MAX_FILE_BYTES: Final = 2**20
MAX_ANSWERS: Final = 20
MAX_LIST: Final = 2048
MAX_WORD: Final = 200
MAX_EDITS: Final = 20
MAX_MASK_BYTES: Final = 2**17

VERBS: Final = ("add", "remove", "suppress")
"""The verbs that can be handed in; a restyle needs its reference, and a brush its activations."""

_WORD = re.compile(r"[a-z_]{1,40}")

Answer = Any
"""``None``, a bool, a float, a str, a list of these, or ``{"edits": [...]}``."""


@dataclass(frozen=True)
class HandIn:
    """One file, its types and sizes checked; whether the answers are right, ``questions.py`` says."""

    student: str
    lesson: int
    seed: int
    weights: str
    answers: Mapping[str, Answer]


def seed_of(student: str) -> int:
    """Return the number from which a student's scenes and tasks follow, 0 to 2^31 - 1.

    Upper and lower case, and the number of spaces, make no difference. All numbers are about equally likely.

    Raises:
        GANPaintError: the name is empty, too long, or has characters that cannot be shown.
    """
    name = unicodedata.normalize("NFKC", checked_student(student)).casefold()
    digest = hashlib.sha256(" ".join(name.split()).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


def file_name(lesson: int, student: str) -> str:
    """Return a name such as "lesson2_ada-lovelace_0012d687.json". The seed keeps like names apart."""
    words = re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKD", student).casefold())
    return f"lesson{lesson}_{'-'.join(words)[:40] or 'student'}_{seed_of(student):08x}.json"


# --- writing ---


def packed(answer: object) -> Answer:
    """Convert an answer to the form of a hand-in: arrays and tensors to lists, sessions to their edits.

    Raises:
        GANPaintError: the answer cannot be handed in.
    """
    session: Any = getattr(answer, "session", answer)  # a GANPaint shows one
    if hasattr(session, "edits"):
        return _checked_answer({"edits": _packed_edits(session)})
    if hasattr(answer, "tolist"):  # arrays and tensors, of no dimension or several
        answer = answer.tolist()
    if isinstance(answer, (set, frozenset, range)):
        answer = sorted(answer)
    if isinstance(answer, (list, tuple)):
        answer = [packed(one) for one in answer]
    return _checked_answer(answer)


def _packed_edits(session: EditingSession) -> list[dict[str, Any]]:
    found = []
    for edit in session.edits:
        if edit.enabled:
            exemplar = _exemplar_of(edit, session)
            if edit.verb not in VERBS or (edit.activations is not None and exemplar is None):
                raise GANPaintError(
                    "The session holds an edit that cannot be handed in: a restyle, a variant of "
                    "samples or a brush of your own.",
                    "Delete it with session.delete(edit.id), or begin a new session.",
                )
            mask = base64.b64encode(files.encode_png(edit.mask)).decode("ascii")
            units = list(edit.units) if isinstance(edit.units, tuple) else edit.units
            found.append(
                {
                    "verb": edit.verb, "concept": edit.concept, "strength": edit.strength,
                    "units": units, "target": edit.target, "exemplar": exemplar, "mask": mask,
                }
            )  # fmt: skip
    return found


def _exemplar_of(edit: Edit, session: EditingSession) -> int | None:
    """Return the number, in the dissection, of the exemplar that an addition aims at."""
    if edit.target != "exemplar" or edit.activations is None:
        return None
    dissection = session.model.dissection
    if dissection is None:
        return None
    known = _exemplars(dissection, edit.concept)
    same = [number for number, one in enumerate(known) if np.array_equal(one, edit.activations)]
    return same[0] if same else None


def _exemplars(dissection: Dissection, concept: str) -> Activations:
    """Return the activations of all exemplars of a concept, K x C."""
    found = dissection.exemplars
    if found is None or concept not in dissection.concepts:
        return np.zeros((0, dissection.iou.shape[1]), np.float32)
    row = dissection.index(concept)
    return np.asarray(found.activations[row, : int(found.counts[row])].numpy(), np.float32)


def encode(handed: HandIn) -> bytes:
    """Return the bytes of the file. GANPaintError if :func:`read` would refuse them."""
    told = {
        "format": FORMAT, "lesson": handed.lesson, "student": handed.student, "seed": handed.seed,
        "weights": handed.weights, "answers": dict(handed.answers),
    }  # fmt: skip
    for answer in handed.answers.values():
        _checked_answer(answer)
    data = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False).encode()
    if len(data) > MAX_FILE_BYTES:
        raise GANPaintError(
            f"The answers have more than {MAX_FILE_BYTES // 2**20} MB.", "Paint fewer or plainer areas."
        )
    decode(data)
    return data


# --- reading ---


def read(path: Path) -> HandIn:
    """Read a hand-in; nothing in it is executed or written anywhere.

    Raises:
        GANPaintError: the file does not exist, is not a hand-in, is damaged or is too large.
    """
    if path.is_symlink() or not path.is_file():  # a link may lead anywhere, a device may never end
        raise GANPaintError("It is not a plain file.", "Hand in the file that lesson.hand_in() writes.")
    with path.open("rb") as file:
        return decode(file.read(MAX_FILE_BYTES + 1))


def decode(data: bytes) -> HandIn:
    """Return the same from the bytes of the file."""
    if len(data) > MAX_FILE_BYTES:
        raise _refusal(f"It has more than {MAX_FILE_BYTES // 2**20} MB")
    if not data.strip():
        raise _refusal("It is empty")
    try:
        told = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # ValueError: bad UTF-8, too, and numbers without end
        raise _refusal("It is not JSON") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise _refusal("It is not a hand-in of this course")
    lesson, seed, weights, answers = (told.get(name) for name in ("lesson", "seed", "weights", "answers"))
    student = checked_student(told.get("student"))
    if (
        type(lesson) is not int
        or type(seed) is not int
        or not (isinstance(weights, str) and len(weights) <= 64)
    ):
        raise _refusal("It does not say which lesson and seed it is for")
    if not isinstance(answers, dict) or len(answers) > MAX_ANSWERS:
        raise _refusal("It holds no answers, or too many")
    for name, answer in answers.items():
        if not _WORD.fullmatch(name):
            raise _refusal("It answers questions that the lesson does not ask")
        _checked_answer(answer)
    if not (0 <= lesson <= 99 and 0 <= seed < 2**31):
        raise _refusal("Its lesson or its seed is out of range")
    return HandIn(student, lesson, seed, weights, answers)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number.")


def _refusal(why: str) -> GANPaintError:
    return GANPaintError(f"{why}.", "Hand in the file that lesson.hand_in() writes.")


def _checked_answer(answer: object) -> Answer:
    if isinstance(answer, str) and any("\ud800" <= sign <= "\udfff" for sign in answer):
        raise GANPaintError(
            "The answer holds an incomplete character.", "Type it again."
        )  # UTF-8 has none for it
    if answer is None or isinstance(answer, bool) or (isinstance(answer, str) and len(answer) <= MAX_WORD):
        return answer
    if isinstance(answer, (int, float)):
        value = float(answer) if abs(answer) < 1e300 else math.inf  # an int may be larger than any float
        if not math.isfinite(value):
            raise GANPaintError("The answer is not finite.", "Look for a division by 0, or the log of 0.")
        return value
    if _is_flat(answer) and len(answer) <= MAX_LIST:
        return [_checked_answer(one) for one in answer]
    if isinstance(answer, dict) and set(answer) == {"edits"} and isinstance(answer["edits"], list):
        if len(answer["edits"]) > MAX_EDITS:
            raise GANPaintError(f"There are more than {MAX_EDITS} edits.", "Use fewer edits.")
        masks = [one.get("mask") for one in answer["edits"] if isinstance(one, dict)]
        if any(isinstance(mask, str) and len(mask) > MAX_MASK_BYTES for mask in masks):
            raise GANPaintError("The mask of an edit is too detailed.", "Paint larger, plainer areas.")
        return answer
    raise GANPaintError(
        f"{kind_of(answer)} like this cannot be an answer.",
        "Pass a number, a word, a list of these, or a session.",
    )


def _is_flat(answer: object) -> TypeGuard[list[Any]]:
    return isinstance(answer, list) and not any(isinstance(one, (dict, list)) for one in answer)


def edits_of(answer: Answer, model: Model) -> tuple[Edit, ...]:
    """Return the edits in an answer, checked for this model.

    Raises:
        GANPaintError: there are none, or one of them does not fit the model.
    """
    if not isinstance(answer, dict):
        raise GANPaintError(
            "This is not a session.", "Pass the EditingSession, or the GANPaint, that holds your edits."
        )
    assert model.dissection is not None
    size, channels = model.generator.resolution, model.dissection.iou.shape[1]
    edits = []
    for number, one in enumerate(answer["edits"]):
        if not isinstance(one, dict) or one.get("verb") not in VERBS:
            raise GANPaintError(
                "One of the edits lacks a known verb.", f"Hand in edits of {', '.join(VERBS)}."
            )
        edit = Edit(
            id=f"e-{number}",
            verb=one["verb"],
            concept=one.get("concept", ""),
            mask=_mask(one.get("mask"), size),
            strength=one.get("strength", 1.0),
            units=_tuple(one.get("units")),
            target=one.get("target", "tuned"),
            activations=_chosen(one, model.dissection),
        )
        edits.append(checked_edit(edit, model.dissection.concepts, model.name, size, channels))
    return tuple(edits)


def _chosen(one: Mapping[str, Any], dissection: Dissection) -> Activations | None:
    """Return the activations that the number of an exemplar stands for."""
    number = one.get("exemplar")
    if number is None:
        return None
    known = _exemplars(dissection, str(one.get("concept", "")))
    if type(number) is not int or not 0 <= number < len(known):
        raise GANPaintError(
            "One of the edits aims at an exemplar that the generator does not have.",
            "Run the lesson again with this generator.",
        )
    chosen: Activations = known[number]
    return chosen


def _tuple(units: Any) -> Any:
    return tuple(units) if isinstance(units, Sequence) and not isinstance(units, str) else units


def _mask(text: object, size: int) -> Mask:
    """Return a PNG of the generator's own size, whose header is looked at before anything is decoded."""
    if not isinstance(text, str) or len(text) > MAX_MASK_BYTES:
        raise GANPaintError(
            "A mask is missing or too large.", "Hand in the file that lesson.hand_in() writes."
        )
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise GANPaintError(
            "A mask is not base64.", "Hand in the file that lesson.hand_in() writes."
        ) from error
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[16:24] != np.array([size, size], ">u4").tobytes():
        raise GANPaintError(
            f"A mask is not a PNG of {size} x {size} pixels.", "Run the lesson again with this generator."
        )
    return files.read_mask(data, size)
