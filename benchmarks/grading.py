"""How long does it take to grade a class?

    python -m benchmarks.grading [--json FILE] [--check]

A hundred hand-ins: 63 students, nine for each of the seven lessons, each with a scene and tasks of their own
and an answer to every question, edits among them; and the broken and hostile files of the tests.
``ganpaint grade`` is run on them as a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Report, parser
from ganpaint_widget import course
from ganpaint_widget.course import questions
from ganpaint_widget.storage import fingerprint
from tests.test_course import BROKEN, hostile, mask_of

LONGEST = 300.0


def answers() -> dict[str, Any]:
    """Of each question's kind, so that each is compared with the truth, though few are right."""
    size = questions.model().generator.resolution
    edit = {"strength": 1.0, "units": None, "target": "tuned", "mask": mask_of(size)}
    words: dict[str, Any] = {
        "tree": {"edits": [{**edit, "verb": "add", "concept": "tree"}]},
        "remove": {"edits": [{**edit, "verb": "remove", "concept": "dome"}]},
        "strengths": [1, 2, 3, 4],
        "interpretable": [1, 2, 3],
        "position": ["sky"],
        "shape": [4, 8, 8],
        "worst": "sky",
        "harder": "insert",
        "stage": "head",
        "enough": 1,
    }
    return {name: words.get(name, 0.5) for asked in questions.QUESTIONS.values() for name in asked}


def hand_ins(folder: Path) -> None:
    """Write a hundred files of a class."""
    for name, data in {**BROKEN, **hostile()}.items():
        (folder / f"{name}.json").write_bytes(data)
    given, weights = answers(), fingerprint(questions.model().generator)
    for number in range(100 - len(list(folder.iterdir()))):
        lesson, student = number % 7 + 1, f"Student {number}"
        told = {
            "format": 1, "lesson": lesson, "student": student, "seed": course.seed_of(student),
            "weights": weights, "answers": {name: given[name] for name in questions.QUESTIONS[lesson]},
        }  # fmt: skip
        (folder / f"lesson{lesson}_{number}.json").write_text(json.dumps(told))


def main() -> int:
    options = parser(__doc__).parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hand_ins(folder)
        command = [str(Path(sys.executable).parent / "ganpaint"), "grade", str(folder), "--json"]
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = json.loads(result.stdout)["hand_ins"]
    checked = sum(len(row["verdicts"]) for row in rows)
    report.add(Figure("rows of the table", len(rows), low=100, high=100))
    report.add(Figure("answers checked", checked, low=100))
    report.add(Figure("time", seconds, high=LONGEST, note="s"))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report.add(Figure("processor time", used, note="s"))
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
