"""The course's checks with right and wrong answers, its hand-ins, and the grading of a class."""

from __future__ import annotations

import base64
import json
import os
import threading
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ganpaint_widget import GANPaintError, course, cpus
from ganpaint_widget.cli import app
from ganpaint_widget.course import handins, questions
from ganpaint_widget.course.questions import QUESTIONS, Task, near
from ganpaint_widget.images import files
from ganpaint_widget.method.edits import Edit
from ganpaint_widget.session import EditingSession

pytestmark = [pytest.mark.usefixtures("real_methods"), pytest.mark.slow]

SOLUTIONS = sorted((Path(__file__).parent.parent / "notebooks" / "solutions").glob("*.ipynb"))
NAME = "Ada Lovelace"
ALL = [(number, name) for number, asked in QUESTIONS.items() for name in asked]

_solved: dict[int, dict[str, Any]] = {}


def solved(number: int) -> dict[str, Any]:
    """The names that a lesson's solutions define, run once: the instructor's right answers among them."""
    if number not in _solved:
        (path,) = [one for one in SOLUTIONS if one.stem.startswith(f"lesson{number}_")]
        names: dict[str, Any] = {"__name__": "solution"}
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{path.name}:{cell.id}", "exec"), names)
        _solved[number] = names
    return _solved[number]


ANSWERS = {
    "cell": "cell", "strengths": "changes", "tree": "mine", "psnr": "psnr", "gain": "gain", "worst": "worst",
    "interpretable": "units", "iou": "iou", "position": "no_better", "ablated": "ablated", "enough": "enough",
    "harder": "harder", "kept": "kept", "survival": "survival", "shape": "shape", "stage": "stage",
    "lost": "lost", "error": "error", "agree": "agree", "remove": "mine",
}  # fmt: skip
"""In which variable of the solutions a question's answer is."""


def answer_to(number: int, name: str) -> Any:
    return solved(number)[ANSWERS[name]]


def verdict(number: int, name: str, answer: object) -> course.Verdict:
    return questions.verdict(number, name, Task(course.seed_of(NAME)), handins.packed(answer))


# --- right and wrong answers ---


def test_every_lesson_has_solutions() -> None:
    assert len(SOLUTIONS) == len(QUESTIONS) == 7
    assert {name for _, name in ALL} == set(ANSWERS)


@pytest.mark.parametrize(("number", "name"), ALL)
def test_the_right_answer_is_right(number: int, name: str) -> None:
    said = verdict(number, name, answer_to(number, name))
    assert said.right is True, said
    assert str(said).startswith("✓")


@pytest.mark.parametrize(("number", "name"), ALL)
def test_no_answer_is_none(number: int, name: str) -> None:
    said = verdict(number, name, None)
    assert said.right is None and "run this cell again" in said.text


@pytest.mark.parametrize(("number", "name"), ALL)
@pytest.mark.parametrize(
    "wrong",
    [-123456.0, "nothing", ["a", 1.0], [True], True, {"edits": []}],
    ids=["number", "word", "list", "bools", "bool", "edits"],
)
def test_nonsense_is_wrong_and_gets_a_hint(number: int, name: str, wrong: object) -> None:
    said = questions.verdict(number, name, Task(course.seed_of(NAME)), wrong)
    assert said.right is False
    assert len(said.text) > 20 and said.text[-1] in ".?", said.text


NUMBERS = [
    (number, name)
    for number, name in ALL
    if name
    not in (
        "strengths",
        "tree",
        "worst",
        "interpretable",
        "position",
        "enough",
        "harder",
        "shape",
        "stage",
        "remove",
    )
]


@pytest.mark.parametrize(("number", "name"), NUMBERS)
def test_numbers_within_a_tolerance_are_right(number: int, name: str) -> None:
    right = float(answer_to(number, name))
    assert verdict(number, name, right * 1.001).right is True
    assert verdict(number, name, torch.tensor(right)).right is True
    for wrong in (right * 1.6 + 2, right * 0.4 - 2):
        said = verdict(number, name, wrong)
        assert said.right is False and len(said.text) > 20, said


def slips() -> list[tuple[int, str, Any, str]]:
    """Wrong answers as students give them, from the right one, and what the hint must be about."""
    return [
        (1, "cell", lambda right: 1 / right, "Upside down"),
        (1, "strengths", lambda right: [one / 255 for one in right], "scale"),
        (1, "strengths", lambda right: right[:2], "list of 4"),
        (2, "psnr", lambda right: -right, "Peak over error"),
        (2, "psnr", lambda right: right - 20 * np.log10(255), "peak"),
        (2, "psnr", lambda right: right * np.log(10), "base of 10"),
        (2, "gain", lambda right: -right, "gain"),
        (2, "worst", lambda _: "castle", "Choose one of"),
        (3, "interpretable", lambda right: right + 1, "from 0"),
        (3, "interpretable", lambda right: [*right, 99_999], "1 of these do not belong"),
        (3, "iou", lambda right: 2 * right / (1 + right), "That is"),
        (3, "position", lambda _: ["castle"], "castle"),
        (4, "enough", lambda _: 3, "curve's numbers"),
        (4, "harder", lambda _: "both", "insert, ablate"),
        (6, "shape", lambda right: (1, *right), "batch"),
        (6, "shape", lambda right: right[::-1], "channels first"),
        (6, "stage", lambda right: "block32" if right != "block32" else "head", "side of"),
        (6, "lost", lambda right: -right, "upright"),
        (7, "remove", lambda _: 1.0, "session"),
    ]


@pytest.mark.parametrize(("number", "name", "wrong", "about"), slips(), ids=lambda one: str(one)[:20])
def test_a_usual_slip_gets_its_hint(number: int, name: str, wrong: Any, about: str) -> None:
    said = verdict(number, name, wrong(answer_to(number, name)))
    assert said.right is False
    assert about in said.text, said


def test_the_hint_of_a_slip_does_not_swallow_right_answers() -> None:
    close = [questions.Slip(1.05, "a slip")]
    assert near(1.04, 1.0, 0.05, "Look again.", close).right is True
    assert near(1.2, 1.0, 0.05, "Look again.", close).text == "Your number is too large. Look again."


# --- edits as answers ---


def test_edits_are_judged_by_what_they_do(tmp_path: Path) -> None:
    lesson = course.Lesson(1, NAME)
    session = EditingSession(scene=lesson.scene, journal=False)
    assert "no added tree" in lesson.check("tree", session).text
    everywhere = np.ones((session.size, session.size), bool)
    edit = session.add("tree", everywhere)
    assert "less than 25 %" in lesson.check("tree", session).text
    session.toggle(edit.id, False)  # what is switched off is not handed in
    sky = np.zeros_like(everywhere)
    sky[: session.size // 5, session.size // 3 : -session.size // 3] = True
    session.add("tree", sky, strength=0)
    said = lesson.check("tree", session)
    assert said.right is False and said.score < 1 / 3 and "ground" in said.text


def test_a_session_on_another_picture_is_refused() -> None:
    lesson = course.Lesson(7, NAME)
    said = lesson.check("remove", EditingSession(scene=lesson.scene + 1, journal=False))
    assert said.right is False and f"scene {lesson.scene}" in said.text


def test_spoiling_the_rest_of_the_picture_costs() -> None:
    """Otherwise the best removal would be one of everything."""
    lesson = course.Lesson(7, NAME)
    session = EditingSession(scene=lesson.scene, journal=False)
    concept, _ = questions.removal(lesson.scene)
    session.remove(concept, np.ones((session.size, session.size), bool))
    said = lesson.check("remove", session)
    assert said.right is False and said.score == 0, said


def test_every_scene_of_the_course_has_something_to_remove() -> None:
    assert {questions.removal(scene)[0] for scene in range(questions.SCENES)} <= set(questions.REMOVABLE)


# --- students and their files ---


def test_a_name_makes_the_seed() -> None:
    assert course.seed_of("Ada Lovelace") == course.seed_of("  ada   LOVELACE ")
    names = [f"Student {number}" for number in range(100)]
    assert len({course.seed_of(name) for name in names}) == 100
    tasks = [Task(course.seed_of(name)) for name in names]
    assert {task.scene for task in tasks} == set(range(questions.SCENES))
    assert {task.choose("abcd") for task in tasks} == set("abcd")


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "\u202eadA", 3, None])
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(GANPaintError):
        course.Lesson(1, name)


def test_there_is_no_lesson_8_and_no_question_why() -> None:
    with pytest.raises(GANPaintError, match="Lesson 8 does not exist"):
        course.Lesson(8, NAME)
    with pytest.raises(GANPaintError, match="no question"):
        course.Lesson(1, NAME).check("why", 1)


def test_a_hand_in_is_read_as_it_was_written(tmp_path: Path) -> None:
    lesson = course.Lesson(1, NAME)
    assert lesson.check("cell", answer_to(1, "cell")).right
    assert lesson.check("tree", answer_to(1, "tree")).right
    path = lesson.hand_in(tmp_path)
    assert path.name.startswith("lesson1_ada-lovelace_") and path.stat().st_size < 100_000
    handed = handins.read(path)
    assert (handed.student, handed.lesson, handed.seed) == (NAME, 1, course.seed_of(NAME))
    assert set(handed.answers) == {"cell", "tree"}
    (edit,) = handins.edits_of(handed.answers["tree"], questions.model())
    (before,) = answer_to(1, "tree").edits
    assert np.array_equal(edit.mask, before.mask) and edit.strength == before.strength
    graded = course.grade(path)
    assert graded.right == 2 and graded.remarks == () and graded.verdicts["strengths"].right is None
    assert graded.score == pytest.approx(graded.verdicts["tree"].score)


def test_an_exemplar_is_handed_in_by_its_number() -> None:
    model = questions.model()
    assert model.dissection is not None and model.dissection.exemplars is not None
    own = model.dissection.exemplars.activations[model.dissection.index("tree"), 3].numpy()
    edit = Edit("e", "add", "tree", np.full((128, 128), 255, np.uint8), target="exemplar", activations=own)
    session = SimpleNamespace(edits=(edit,), model=model)
    answer = handins.packed(session)
    assert answer["edits"][0]["exemplar"] == 3
    (back,) = handins.edits_of(answer, model)
    assert back.activations is not None and np.array_equal(back.activations, own)
    for number in (-1, 10_000, "3", True):
        answer["edits"][0]["exemplar"] = number
        with pytest.raises(GANPaintError, match="an exemplar that the generator does not have"):
            handins.edits_of(answer, model)
    edit = replace(edit, activations=own + 1)  # of no exemplar: a brush's, or another generator's
    with pytest.raises(GANPaintError, match="cannot be handed in"):
        handins.packed(SimpleNamespace(edits=(edit,), model=model))


def test_a_right_answer_is_not_lost_to_a_later_wrong_one(tmp_path: Path) -> None:
    lesson = course.Lesson(1, NAME)
    lesson.check("cell", answer_to(1, "cell"))
    assert lesson.check("cell", 1).right is False
    assert course.grade(lesson.hand_in(tmp_path)).verdicts["cell"].right is True


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(GANPaintError, match="cannot be written"):
        course.Lesson(1, NAME).hand_in(tmp_path / "none")


@pytest.mark.parametrize(
    "answer",
    [float("nan"), float("inf"), 10**400, object(), [[1]], {"a": 1}, "x" * 300],
    ids=["nan", "infinite", "huge", "object", "nested", "dict", "long"],
)
def test_what_cannot_be_an_answer(answer: object) -> None:
    said = course.Lesson(1, NAME).check("cell", answer)
    assert said.right is False and said.text


# --- grading ---


def told(**changes: Any) -> bytes:
    """A hand-in with something in it that is not as it should be."""
    whole = {
        "format": 1, "lesson": 1, "student": NAME, "seed": course.seed_of(NAME), "weights": "", "answers": {},
    }  # fmt: skip
    return json.dumps({**whole, **changes}).encode()


def mask_of(size: int, value: int = 255) -> str:
    return base64.b64encode(files.encode_png(np.full((size, size), value, np.uint8))).decode()


def tree_with(**changes: Any) -> bytes:
    edit = {
        "verb": "add", "concept": "tree", "strength": 1.0, "units": None, "target": "tuned",
        "mask": mask_of(questions.model().generator.resolution),
    }  # fmt: skip
    return told(answers={"tree": {"edits": [{**edit, **changes}]}})


BROKEN = {
    "empty": b"",
    "blank": b" \n ",
    "noise": bytes(range(256)),
    "cut": told()[:-20],
    "no-object": b"[1, 2]",
    "notebook": b'{"cells": [], "nbformat": 4}',
    "deep": b"[" * 100_000,
    "pickle": b"\x80\x04\x95cos\nsystem\n(S'touch pwned'\ntR.",
    "large": b" " * (handins.MAX_FILE_BYTES + 1),
    "endless-number": b'{"format": ' + b"9" * 10_000 + b"}",
    "nan": told().replace(b'"answers": {}', b'"answers": {"cell": NaN}'),
    "huge": told().replace(b'"answers": {}', b'"answers": {"cell": 1' + b"0" * 400 + b"}"),
    "no-name": told(student=""),
    "lesson-99": told(lesson=99),
    "lesson-text": told(lesson="1; import os"),
    "answers-list": told(answers=[1]),
    "many-answers": told(answers={f"q{'a' * k}": 1 for k in range(21)}),
    "path-question": told(answers={"../../etc/passwd": 1}),
    "nested": told(answers={"cell": [[[1]]]}),
    "long-list": told(answers={"strengths": [0] * 5000}),
    "many-edits": told(answers={"tree": {"edits": [{}] * 21}}),
    "mask-long": told(answers={"tree": {"edits": [{"mask": "A" * 300_000}]}}),
}
"""Files that cannot be read: a row with a remark and no verdicts."""


def hostile() -> dict[str, bytes]:
    """Files that can be read, whose edits cannot be carried out."""
    bomb = base64.b64encode(
        files.encode_png(np.zeros((4, 4), np.uint8)).replace(b"\0\0\0\4\0\0\0\4", b"\0\1\0\0\0\1\0\0", 1)
    ).decode()
    return {
        "verb": tree_with(verb="__import__('os').system('touch pwned')"),
        "restyle": tree_with(verb="restyle"),
        "concept": tree_with(concept=["tree"]),
        "strength": tree_with(strength=1e9),
        "strength-text": tree_with(strength="1"),
        "units": tree_with(units=[10**9]),
        "units-deep": tree_with(units=[[1]]),
        "target": tree_with(target={}),
        "mask-none": tree_with(mask=None),
        "mask-text": tree_with(mask="AAAA"),
        "mask-not-base64": tree_with(mask="é"),
        "mask-size": tree_with(mask=mask_of(7)),
        "mask-bomb": tree_with(mask=bomb),
        "mask-cut": tree_with(mask=mask_of(questions.model().generator.resolution)[:60]),
        "edit-text": told(answers={"tree": {"edits": ["x"]}}),
    }


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_a_row(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(BROKEN[name])
    graded = course.grade(tmp_path / "x.json")
    assert graded.verdicts == {} and graded.right == 0 and graded.score is None
    assert len(graded.remarks) == 1 and graded.remarks[0].endswith("."), graded.remarks


def test_hostile_edits_are_wrong_answers(tmp_path: Path) -> None:
    for name, data in hostile().items():
        (tmp_path / f"{name}.json").write_bytes(data)
        graded = course.grade(tmp_path / f"{name}.json")
        assert graded.verdicts["tree"].right is False, name
        assert "could not be checked" not in " ".join(graded.remarks), name  # foreseen, not stumbled over


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(told())
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link.json").symlink_to(secret)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.json")
    rows = list(course.grade_folder(folder))
    assert [row.file for row in rows] == ["link.json", "loop", "pipe.json"]
    assert all(row.verdicts == {} and "plain file" in row.remarks[0] for row in rows)


def test_a_copied_file_is_graded_by_its_name(tmp_path: Path) -> None:
    lesson = course.Lesson(1, NAME)
    lesson.check("strengths", answer_to(1, "strengths"))
    other = next(
        name
        for name in (f"Student {k}" for k in range(99))
        if Task(course.seed_of(name)).scene == lesson.scene + 1 - 2
    )
    data = json.loads(lesson.hand_in(tmp_path).read_bytes())
    (tmp_path / "copy.json").write_text(json.dumps({**data, "student": other}))
    graded = course.grade(tmp_path / "copy.json")
    assert any("seed" in remark for remark in graded.remarks)
    assert graded.verdicts["strengths"].right is False


def test_a_failing_check_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(task: Task, answer: object) -> course.Verdict:
        raise RuntimeError("unforeseen")

    monkeypatch.setitem(QUESTIONS[1], "cell", fails)
    (tmp_path / "x.json").write_bytes(told(answers={"cell": 4}))
    graded = course.grade(tmp_path / "x.json")
    assert graded.verdicts["cell"].right is False and any("could not" in remark for remark in graded.remarks)


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a class of 100 hands in, broken and hostile files among them."""
    folder = tmp_path_factory.mktemp("class")
    near_by = [f"Student {k}" for k in range(2000)]
    same = [name for name in near_by if Task(course.seed_of(name)).scene == Task(course.seed_of(NAME)).scene]
    for name, data in {**BROKEN, **hostile()}.items():
        (folder / f"{name}.json").write_bytes(data)
    (folder / "not-json.txt").write_text("Dear teacher, the dog has eaten my notebook.")
    (folder / "markup.json").write_bytes(told(student="[bold red]Bobby[/]; DROP TABLE", answers={"cell": 1}))
    (folder / ".DS_Store").write_bytes(b"\0")
    count = len([path for path in folder.iterdir() if not path.name.startswith(".")])
    for name in same[: 100 - count]:
        lesson = course.Lesson(1, name)
        lesson.check("cell", questions.model().generator.resolution / 16)
        lesson.check("strengths", [1, 2, 3, 4])
        (folder / name).mkdir()
        lesson.hand_in(folder / name)
    return folder


def test_a_class_of_a_hundred_gets_one_table(class_folder: Path) -> None:
    before = sorted(class_folder.rglob("*"))
    result = CliRunner().invoke(app, ["grade", str(class_folder)])
    assert result.exit_code == 0, result.output
    assert "100 files" in result.stdout
    for shown in ("empty.json", "Student", "not-json.txt", "[bold red]Bobby[/]; DROP TABLE", "✓", "✗"):
        assert shown in result.stdout
    assert ".DS_Store" not in result.stdout and "\x1b" not in result.stdout
    assert sorted(class_folder.rglob("*")) == before and not Path("pwned").exists()


def test_the_table_as_json(class_folder: Path) -> None:
    result = CliRunner().invoke(app, ["grade", str(class_folder), "--json"])
    rows = json.loads(result.stdout)["hand_ins"]
    assert len(rows) == 100
    readable = [row for row in rows if row["verdicts"]]
    assert all(set(row["verdicts"]) == set(QUESTIONS[1]) for row in readable)
    assert sum(row["right"] for row in rows) > 30


@pytest.mark.parametrize("folder", ["missing", "bare"])
def test_a_folder_with_nothing_to_grade(tmp_path: Path, folder: str) -> None:
    (tmp_path / "bare").mkdir()
    result = CliRunner().invoke(app, ["grade", str(tmp_path / folder)])
    assert result.exit_code == 1 and len(result.stderr.strip().splitlines()) == 2


# --- processors ---


def control_groups(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("-", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu-max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu-max": "max 100000\n"}, 64),
        ("0::/user/pod\n", {"user__cpu-max": "300000 100000", "user__pod__cpu-max": "max 100000"}, 3),
        ("0::/user/pod\n", {"user__cpu-max": "800000 100000", "user__pod__cpu-max": "150000 100000"}, 1),
        ("0::/\n", {"cpu-max": "20000 100000\n"}, 1),
        (
            "4:cpu,cpuacct:/docker/7\n",
            {"cpu__cpu-cfs_quota_us": "250000", "cpu__cpu-cfs_period_us": "100000"},
            2,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu__cpu-cfs_quota_us": "-1", "cpu__cpu-cfs_period_us": "100000"}, 64),
        ("4:memory:/\n", {}, 64),
        ("", {}, 64),
    ],
)  # fmt: skip
def test_threads_follow_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cpus.cpu_count(control_groups(tmp_path, cgroup, **files)) == expected


def test_torch_is_held_to_it_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(cpus, "cpu_count", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    cpus.follow_quota.__wrapped__()
    assert asked == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    cpus.follow_quota.__wrapped__()
    assert asked == [2]


def test_threads_follow_what_is_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried once in a while, less often while more threads do not help."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus, "cpu_count", lambda: 8)
    monkeypatch.setattr(cpus, "_tried", threading.local())
    now, tried = [100.0], []
    monkeypatch.setattr(cpus, "time", SimpleNamespace(monotonic=lambda: now[0]))
    quickest = chain([8, 1, 1, 4], repeat(8))
    monkeypatch.setattr(cpus, "_quickest", lambda counts: tried.append((now[0], counts)) or next(quickest))
    before = torch.get_num_threads()
    try:
        for _ in range(60):
            cpus.follow_load()
            now[0] += 1
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)
    assert [at for at, _ in tried] == [100, 103, 109, 121, 145, 148, 151, 154, 157]
    assert all(counts == [1, 4, 8] for _, counts in tried)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    now[0] += 1000
    cpus.follow_load()
    assert len(tried) == 9


@pytest.mark.parametrize(("share", "chosen"), [(0.5, 2), (0.95, 1), (20.0, 1)])
def test_a_trial_takes_the_quickest_and_gives_up_early(
    monkeypatch: pytest.MonkeyPatch, share: float, chosen: int
) -> None:
    """With a clock on which a convolution takes so much of one thread's time with two."""
    clock, computed = [0.0], []

    def convolve(*_: object, **how: object) -> None:
        computed.append(torch.get_num_threads())
        clock[0] += share if torch.get_num_threads() == 2 else 1.0

    monkeypatch.setattr(torch.nn.functional, "conv2d", convolve)
    monkeypatch.setattr(cpus, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    before = torch.get_num_threads()
    assert cpus._quickest([1, 2]) == chosen
    assert torch.get_num_threads() == before
    assert computed.count(2) == {0.5: 9, 0.95: 9, 20.0: 2}[share]
