"""A lesson, as its notebook uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import GANPaintError
from ..session.worker import default_worker
from ..validation import checked_student
from . import questions
from .handins import Answer, HandIn, encode, file_name, packed, seed_of
from .questions import QUESTIONS, Task, Verdict

T = TypeVar("T")


class Lesson:
    """One student's lesson.

    Args:
        number: 1 to 7.
        student: a name; capitals and spaces make no difference.

    Raises:
        GANPaintError: the lesson does not exist, or the name is not one.
    """

    def __init__(self, number: int, student: str) -> None:
        if number not in QUESTIONS:
            raise GANPaintError(
                f"Lesson {number!r} does not exist.", f"Pass a lesson from 1 to {max(QUESTIONS)}."
            )
        self.number = number
        self.student = checked_student(student)
        self.seed = seed_of(student)
        self._task = Task(self.seed)
        self._answers: dict[str, Answer] = {}
        self._verdicts: dict[str, Verdict] = {}

    @property
    def scene(self) -> int:
        """The number of the student's scene: ``EditingSession(scene=lesson.scene)``."""
        return self._task.scene

    @property
    def questions(self) -> tuple[str, ...]:
        """The names of the lesson's questions."""
        return tuple(QUESTIONS[self.number])

    def choose(self, options: Sequence[T]) -> T:
        """Return one of several options, always the same for the same student."""
        return self._task.choose(options)

    def check(self, question: str, answer: object) -> Verdict:
        """Say whether an answer is right, or what to try, and keep it for :meth:`hand_in` either way.

        Args:
            question: one of ``questions``.
            answer: a number, a word, a list or an array of either, or a session (or its widget) with the
                edits. ``None`` stands for no answer yet.

        Raises:
            GANPaintError: the lesson has no such question.
        """
        if question not in self.questions:
            raise GANPaintError(
                f"Lesson {self.number} has no question {question!r}.",
                f"Choose one of: {', '.join(self.questions)}.",
            )
        try:
            given = packed(answer)
            session = getattr(answer, "session", answer)
            if hasattr(session, "photo"):
                photo = default_worker().call(questions.opened, self.scene).photo
                if not np.array_equal(np.asarray(session.photo), photo):
                    raise GANPaintError(
                        "This session does not show your picture.",
                        f"Begin with EditingSession(scene=lesson.scene), which is scene {self.scene}.",
                    )
        except GANPaintError as error:
            found, given = Verdict(False, str(error)), None
        else:
            # On the thread that owns the model: a session may be drawing a preview.
            found = default_worker().call(questions.verdict, self.number, question, self._task, given)
        if found.right or not (question in self._verdicts and self._verdicts[question].right):
            self._answers[question], self._verdicts[question] = given, found
        return found

    def hand_in(self, folder: str | Path = ".") -> Path:
        """Write all answers into one file, to be sent to the teacher, and return its path.

        Of several answers to a question the last one that was right counts, else the last one.

        Raises:
            GANPaintError: it cannot be written there.
        """
        from ..storage import fingerprint, write

        weights = default_worker().call(fingerprint, questions.model().generator)
        data = encode(HandIn(self.student, self.number, self.seed, weights, self._answers))
        path = Path(folder) / file_name(self.number, self.student)
        write(path, data, "The hand-in", "Choose another folder.")
        return path

    def __repr__(self) -> str:
        lines = [f"Lesson {self.number} of {self.student}: seed {self.seed}, scene {self.scene}"]
        lines += [f"  {name}: {self._verdicts.get(name, Verdict(None, ''))}" for name in self.questions]
        return "\n".join(lines)
