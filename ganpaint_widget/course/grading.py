"""Grading a folder of hand-ins: every answer is checked again, every edit drawn again, with no widget.

Files come from a whole class and are read as if from strangers: see ``handins.py``. One that cannot be read
is a row of the table, like the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import GANPaintError
from . import questions
from .handins import read, seed_of
from .questions import QUESTIONS, Task, Verdict

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator

log = logging.getLogger(__name__)

MAX_FILES: Final = 5000


@dataclass(frozen=True)
class Graded:
    """What became of one file.

    Attributes:
        file: its path inside the folder.
        student, lesson: as it says; ``None`` where it cannot be read.
        verdicts: by question, all questions of the lesson.
        remarks: what a teacher should look at.
    """

    file: str
    student: str | None = None
    lesson: int | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def right(self) -> int:
        """How many answers are right."""
        return sum(one.right is True for one in self.verdicts.values())

    @property
    def score(self) -> float | None:
        """The mean score of the edits, 0 to 1; ``None`` where there is none."""
        scores = [one.score for one in self.verdicts.values() if one.score is not None]
        return sum(scores) / len(scores) if scores else None


def grade(path: Path, name: str | None = None) -> Graded:
    """Grade one file; what is wrong with it is said in its remarks, nothing is raised.

    Args:
        path: of the file.
        name: what to call it; by default its name.
    """
    name = path.name if name is None else name
    try:
        handed = read(path)
        if handed.lesson not in QUESTIONS:
            raise GANPaintError(
                f"Lesson {handed.lesson} does not exist.", f"Pass a lesson from 1 to {max(QUESTIONS)}."
            )
    except (GANPaintError, OSError) as error:
        return Graded(name, remarks=(str(error),))
    remarks = []
    if handed.seed != seed_of(handed.student):
        remarks.append("The seed does not belong to this name; it was graded with the name's own seed.")
    if handed.weights != _fingerprint(questions.model().generator):
        remarks.append("It was made with other weights, whose numbers may differ.")
    task = Task(seed_of(handed.student))
    verdicts = {}
    for question in QUESTIONS[handed.lesson]:
        try:
            verdicts[question] = questions.verdict(
                handed.lesson, question, task, handed.answers.get(question)
            )
        except Exception:  # one file must never end the table
            log.exception("%s: the answer to %r could not be checked", name, question)
            verdicts[question] = Verdict(False, "The answer could not be checked.")
            remarks.append(f"The answer to {question!r} could not be checked.")
    return Graded(name, handed.student, handed.lesson, verdicts, tuple(remarks))


def grade_folder(folder: Path) -> Iterator[Graded]:
    """Grade all files in a folder and its folders, in the order of their names; hidden ones are passed over.

    Raises:
        GANPaintError: the folder does not exist, is empty, or holds far too many files.
    """
    if not folder.is_dir():
        raise GANPaintError(
            f"The folder {str(folder)!r} does not exist.", "Pass the folder with the hand-ins."
        )
    files = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") for part in inside.parts) and (
            path.is_symlink() or not path.is_dir()
        ):
            files.append(path)
        if len(files) > MAX_FILES:
            raise GANPaintError(
                f"The folder holds more than {MAX_FILES} files.", "Grade them in several folders."
            )
    if not files:
        raise GANPaintError(f"The folder {str(folder)!r} is empty.", "Put the hand-ins there: lesson*.json.")
    seen: dict[tuple[str, int], str] = {}
    for path in sorted(files):
        found = grade(path, str(path.relative_to(folder)))
        if found.student is not None and found.lesson is not None:
            first = seen.setdefault((found.student.casefold(), found.lesson), found.file)
            if first != found.file:
                found = replace(found, remarks=(*found.remarks, f"The same student and lesson as {first}."))
        yield found


@lru_cache(maxsize=1)
def _fingerprint(generator: StagedGenerator) -> str:
    from ..storage import fingerprint

    return fingerprint(generator)
