"""The course: what the lessons in ``notebooks/`` check answers with, and what a teacher grades them with.

>>> from ganpaint_widget import course
>>> lesson = course.Lesson(2, "Ada Lovelace")     # her scene, her tasks
>>> lesson.scene
>>> lesson.check("psnr", 31.4)                    # right, or a hint
>>> lesson.hand_in()                              # writes lesson2_ada-lovelace_....json

Every student gets a scene and tasks that follow from the name. A check computes what is right from the
generator as it is installed, and the same check is made again by ``ganpaint grade FOLDER``, which takes no
file's word for anything but its answers.
"""

from __future__ import annotations

from .grading import Graded, grade, grade_folder
from .handins import HandIn, seed_of
from .lesson import Lesson
from .questions import Task, Verdict

__all__ = ["Graded", "HandIn", "Lesson", "Task", "Verdict", "grade", "grade_folder", "seed_of"]
