"""The journal: everything painted comes back, bit for bit, and nothing of anybody's is left lying about."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.session import EditingSession, Noticed, journal
from ganpaint_widget.session.worker import Worker

SIZE = 32


def begin(model: Any, photo: Any = None, **more: Any) -> EditingSession:
    return EditingSession(photo, model, worker=Worker(start=False), **more)


def recover(model: Any, path: Path | None = None, **more: Any) -> EditingSession:
    return EditingSession.recover(path, generator=model, worker=Worker(start=False), **more)


def only(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


def paint(
    session: EditingSession, edit: str, rect: tuple[int, int, int, int], seed: int, stroke: Any
) -> None:
    x, y, width, height = rect
    values = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    session.paint(
        edit, (x, y, width, height), values, verb="add", concept="dome", strength=2.5, stroke=stroke
    )


rects = st.tuples(st.integers(0, 31), st.integers(0, 31), st.integers(1, 32), st.integers(1, 32)).map(
    lambda r: (r[0], r[1], min(r[2], SIZE - r[0]), min(r[3], SIZE - r[1]))
)
operations = st.one_of(
    st.tuples(
        st.just("paint"),
        st.sampled_from("abc"),
        rects,
        st.integers(0, 9),
        st.sampled_from([None, "s", ("t", 1)]),
    ),
    st.tuples(st.just("update"), st.sampled_from("abc"), st.floats(0, 4)),
    st.tuples(st.just("toggle"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
    st.tuples(st.just("move"), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("restyle"), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(
        st.just("settle"),
        st.sampled_from("abc"),
        st.fixed_dictionaries(
            {},
            optional={
                "strength": st.floats(0, 4),
                "units": st.sampled_from([None, "low", (3, 4)]),
                "variant": st.integers(0, 2),
                "target": st.sampled_from(["tuned", "mean"]),
            },
        ),
    ),
    st.sampled_from([("undo",), ("undo",), ("redo",)]),
)


def carry_out(session: EditingSession, operation: tuple[Any, ...]) -> None:
    name, *rest = operation
    if name == "paint":
        paint(session, *rest)
    elif name in ("undo", "redo"):
        getattr(session, name)()
    elif name == "restyle":
        picture = np.random.default_rng(rest[1]).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
        session.paint(
            rest[0], (2, 2, 9, 9), np.full((9, 9), 200, np.uint8), verb="restyle", concept="dome",
            reference=rest[1] if rest[1] else picture, region=None if rest[1] else picture[..., 0],
        )  # fmt: skip
    elif any(edit.id == rest[0] for edit in session.edits):
        # Not everything suits every edit: a restyle has no variants. That is refused, and changes nothing.
        with contextlib.suppress(GANPaintError):
            if name == "settle":
                session.update(rest[0], **rest[1])
            else:
                getattr(session, name)(*rest)


def undoings(session: EditingSession) -> list[Any]:
    """The edits, and what they were after each undo."""
    states = [session.edits]
    while session.undo():
        states.append(session.edits)
    return states


@pytest.mark.parametrize(
    "limit", [journal.MAX_OPERATIONS_BYTES, 0], ids=["as written", "rewritten all the time"]
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=st.lists(operations, min_size=1, max_size=15))
def test_a_recovered_session_has_the_same_edits_and_the_same_undo(model_with_segmenter, limit, done):
    model = model_with_segmenter
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "MAX_OPERATIONS_BYTES", limit)
        session = begin(model, journal=root)
        if limit == 0:
            patch.setattr(journal.Journal, "too_long", property(lambda self: self._file is not None))
        for operation in done:
            carry_out(session, operation)
        if not list(Path(root).iterdir()):
            return  # nothing was painted, so nothing was kept
        again = recover(model, only(Path(root)), journal=False)
        assert again.notice is None
        assert again.edits == session.edits
        redone, expected = 0, 0
        while again.redo():
            redone += 1
        while session.redo():
            expected += 1
        assert redone == expected
        assert undoings(again) == undoings(session)
        session.close()


def test_steps_that_a_rewritten_journal_could_miscount(model: Any, journals: Path, monkeypatch):
    monkeypatch.setattr(journal.Journal, "too_long", property(lambda self: self._file is not None))
    session = begin(model)
    paint(session, "a", (0, 0, 4, 4), 1, "one stroke")
    paint(session, "b", (0, 0, 4, 4), 1, "one stroke")  # across two edits
    paint(session, "a", (0, 0, 4, 4), 1, "another")  # the same as before, and yet a step
    session.update("a", 1)
    session.undo()
    session.toggle("b", False)
    again = recover(model, only(journals), journal=False)
    assert undoings(again) == undoings(session)
    assert len(session._state.history._redo) == 3


def test_the_photo_comes_back_too_and_the_result_of_it_all_is_the_same_picture(model: Any, mask: np.ndarray):
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    session = begin(model, photo)
    session.add("tree", mask, 2)
    session.remove("window", mask.T)
    preview = np.asarray(session.preview)
    session.close()
    again = recover(model)
    assert np.array_equal(np.asarray(again.photo), photo)
    assert np.array_equal(np.asarray(again.preview), preview)
    assert (again.title, again.notice) == (session.title, session.notice)


def test_a_scene_comes_back_as_a_scene(model_with_gallery: Any, mask: np.ndarray):
    session = begin(model_with_gallery, scene=1)
    session.add("tree", mask)
    session.close()
    again = recover(model_with_gallery)
    assert (again.title, again.notice) == ("scene 1", None)
    again.next_scene()
    assert again.title == "scene 2"


def test_only_the_last_picture_is_kept(model: Any, mask: np.ndarray, journals: Path):
    session = begin(model, np.zeros((8, 8, 3), np.uint8))
    session.add("tree", mask)
    session.open(np.full((8, 8, 3), 99, np.uint8), title="second")
    edit = session.add("dome", mask)
    assert [path.name for path in sorted(only(journals).glob("photo*"))] == ["photo-2.png"]
    session.close()
    again = recover(model)
    assert (again.title, again.edits) == ("second", (edit,))
    assert (np.asarray(again.photo) == 99).all()


def test_who_only_looks_leaves_nothing(model: Any, journals: Path):
    session = begin(model, np.zeros((8, 8, 3), np.uint8))
    session.next_scene()
    _ = session.preview
    assert not journals.exists()


def test_the_journal_is_private_and_written_before_the_verb_returns(
    model: Any, mask: np.ndarray, journals: Path
):
    session = begin(model)
    session.add("tree", mask)
    path = only(journals)
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    lines = [json.loads(line) for line in (path / "ops.jsonl").read_text().splitlines()]
    assert [line["op"] for line in lines] == ["open", "paint"]


def test_a_torn_last_line_costs_only_itself(model: Any, mask: np.ndarray, journals: Path):
    session = begin(model)
    first = session.add("tree", mask)
    session.add("dome", mask)
    session.close()
    log = only(journals) / "ops.jsonl"
    whole = log.read_bytes()
    for torn in (whole[:-1], whole[:-20]):
        log.write_bytes(torn)
        again = recover(model, log.parent, journal=False)
        assert again.edits == (first,)
        assert again.notice is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_journal_gives_what_it_can_or_one_clear_error(model, data):
    with tempfile.TemporaryDirectory() as root:
        session = begin(model, journal=root)
        for seed in range(3):
            paint(session, f"e{seed}", (4 * seed, 0, 8, 8), seed, None)
        session.update("e0", 1)
        session.close()
        log = only(Path(root)) / "ops.jsonl"
        damaged = bytearray(log.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        log.write_bytes(damaged)
        try:
            again = recover(model, log.parent, journal=False)
        except GANPaintError:
            return
        assert len(again.edits) <= 3


def test_a_journal_of_the_first_format_is_read(model: Any, mask: np.ndarray, journals: Path):
    session = begin(model)
    edit = session.add("tree", mask, 2)
    session.update(edit.id, 3)
    session.close()
    log = only(journals) / "ops.jsonl"
    lines = log.read_text().replace('"format":2', '"format":1')
    assert '"format":1' in lines
    assert not any(word in lines for word in ("units", "target", "variant", "reference"))
    log.write_text(lines)
    assert recover(model, journal=False).edits == session.edits
    log.write_text(lines.replace('"format":1', '"format":3'))
    with pytest.raises(GANPaintError, match="another version"):
        recover(model, log.parent)


def test_a_restyle_comes_back_without_measuring_its_reference_again(
    model_with_segmenter: Any, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    session = begin(model_with_segmenter)
    photo = np.random.default_rng(1).integers(0, 256, (50, 40, 3)).astype(np.uint8)
    edit = session.restyle("dome", mask, photo, 0.7)
    session.close()
    monkeypatch.setattr("ganpaint_widget.session.processes.references.reference_activations", None)
    again = recover(model_with_segmenter)
    assert again.edits == (edit,)
    assert np.array_equal(np.asarray(again.preview), np.asarray(session.preview))


def test_operations_that_make_no_sense_end_the_recovery_with_a_warning(model, mask, journals):
    session = begin(model)
    edit = session.add("tree", mask)
    session.close()
    with (only(journals) / "ops.jsonl").open("a") as log:
        log.write('{"op":"retune","edit":"nobody","strength":1}\n')
        log.write(json.dumps({"op": "delete", "edit": edit.id}) + "\n")
    again = recover(model)
    assert again.edits == (edit,)
    assert isinstance(again.notice, Noticed)
    assert "1 of 3" in again.notice.text


# --- which journal ---


def test_the_newest_session_that_has_ended_is_recovered(model: Any, mask: np.ndarray, journals: Path):
    edits = []
    for number, concept in enumerate(["tree", "dome", "window"]):
        session = begin(model)
        edits.append(session.add(concept, mask))
        log = session._state.history._journal.path / "ops.jsonl"
        os.utime(log, (1000 + number, 1000 + number))
        if number < 2:
            session.close()
    assert recover(model, journal=False).edits == (edits[1],)  # the third is still at work
    session.close()
    assert recover(model, journal=False).edits == (edits[2],)


def test_a_session_of_another_process_is_in_use_until_that_ends(journals: Path):
    code = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from ganpaint_widget.session.journal import Journal
        journal = Journal(Path(sys.argv[1]))
        journal.open({"op": "open"}, np.zeros((4, 4, 3), np.uint8))
        journal.write({"op": "paint"})
        print(journal.path, flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", code, str(journals)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        path = Path(process.stdout.readline().strip())
        assert journal._in_use(path)
        process.kill()
        process.wait(10)
    assert not journal._in_use(path)
    assert journal.newest(journals) == path


def test_a_recovered_session_keeps_a_journal_of_its_own(model: Any, mask: np.ndarray, journals: Path):
    begin(model).add("tree", mask)
    again = recover(model)
    edit = again.add("dome", mask)
    again.close()
    assert recover(model).edits[-1] == edit
    assert len(list(journals.iterdir())) == 3


def test_there_may_be_nothing_to_recover(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(GANPaintError, match="No journal was found"):
        recover(model)
    with pytest.raises(GANPaintError, match="does not hold a journal"):
        recover(model, tmp_path)
    monkeypatch.setenv("GANPAINT_JOURNAL", "off")
    with pytest.raises(GANPaintError, match="No journal was found"):
        recover(model)


def test_a_generator_that_was_an_object_is_asked_for(model: Any, mask: np.ndarray):
    begin(model).add("tree", mask)
    with pytest.raises(GANPaintError, match=r"generator=\.\.\."):
        EditingSession.recover(worker=Worker(start=False))


def test_a_generator_that_was_a_name_is_loaded_by_it(model, mask, monkeypatch):
    from ganpaint_widget.models import registry

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda name: model if name == "church" else load(name))
    begin("church").add("tree", mask)
    assert EditingSession.recover(worker=Worker(start=False)).generator_name == "tiny"


# --- where, how much, and when not ---


def test_off_is_off(model: Any, mask: np.ndarray, journals: Path, monkeypatch: pytest.MonkeyPatch):
    begin(model, journal=False).add("tree", mask)
    monkeypatch.setenv("GANPAINT_JOURNAL", "off")
    begin(model).add("tree", mask)
    assert not journals.exists()


def test_without_a_wish_it_lies_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch):
    import platformdirs

    monkeypatch.delenv("GANPAINT_JOURNAL")
    assert journal.journal_root() == Path(platformdirs.user_data_dir("ganpaint")) / "journal"


def test_a_journal_that_cannot_be_written_is_a_warning_and_painting_goes_on(model, mask, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")
    session = begin(model, journal=blocked)
    events: list[Any] = []
    session.observe(events.append)
    session.add("tree", mask)
    session.add("dome", mask)
    assert len(session.edits) == 2
    warnings = [event for event in events if isinstance(event, Noticed)]
    assert len(warnings) == 1
    assert warnings[0].level == "warning"
    assert session.notice == warnings[0]


def test_the_oldest_journals_that_nobody_uses_are_purged(model: Any, mask: np.ndarray, journals: Path):
    sessions = []
    for number in range(4):
        session = begin(model)
        session.add("tree", mask)
        os.utime(session._state.history._journal.path / "ops.jsonl", (1000 + number, 1000 + number))
        sessions.append(session)
    paths = [session._state.history._journal.path for session in sessions]
    for session in sessions[1:]:
        session.close()
    (paths[1] / "notes.txt").write_text("not ours")
    (journals / "another-users").mkdir()
    size = journal._size(paths[3])
    journal.purge(journals, 2 * size + size // 2)
    assert paths[0].exists(), "in use"
    assert [path.name for path in paths[1].iterdir()] == ["notes.txt"]
    assert not paths[2].exists()
    assert (journals / "another-users").exists()
    journal.purge(journals, 0)
    assert not paths[3].exists()


def test_a_long_journal_is_written_anew(model: Any, monkeypatch: pytest.MonkeyPatch, journals: Path):
    monkeypatch.setattr(journal, "MAX_OPERATIONS_BYTES", 50_000)
    session = begin(model)
    for seed in range(300):
        paint(session, "a", (0, 0, SIZE, SIZE), seed, seed // 100)
    log = only(journals) / "ops.jsonl"
    assert log.stat().st_size < 200_000  # 300 masks that do not compress are 400 kB
    session.close()
    again = recover(model)
    assert undoings(again) == undoings(session)


def test_undo_ends_where_it_ended_before_the_recovery(model: Any, mask: np.ndarray, journals: Path):
    first = begin(model, journal=False)
    for concept in ("tree", "dome", "window"):
        first.add(concept, mask)
    first.toggle(first.edits[0].id, False)
    session = EditingSession.load(first.project_file(), generator=model, worker=Worker(start=False))
    session.add("tree", mask)
    session.toggle(session.edits[1].id, False)
    session.close()
    log = only(journals) / "ops.jsonl"
    once = recover(model, log.parent)
    once.delete(once.edits[0].id)
    once.close()
    twice = recover(model, next(path for path in journals.iterdir() if path != log.parent))
    expected = undoings(session)
    assert len(expected) == 3 and len(expected[-1]) == 3
    assert undoings(twice)[1:] == undoings(once)[1:] == expected

    # Earlier versions did not mark the base.
    log.write_text(log.read_text().replace(',"base":true', ""))
    old = recover(model, log.parent, journal=False)
    assert old.edits == expected[0] and undoings(old)[:3] == expected


def test_a_base_that_is_damaged_gives_what_it_can(model: Any, mask: np.ndarray, journals: Path):
    first = begin(model, journal=False)
    first.add("tree", mask)
    first.add("dome", mask)
    session = EditingSession.load(first.project_file(), generator=model, worker=Worker(start=False))
    session.add("window", mask)
    session.close()
    log = only(journals) / "ops.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"concept":"dome"', '"concept":"dragon"')
    log.write_text("".join(lines))
    back = recover(model, log.parent)
    assert [edit.concept for edit in back.edits] == ["tree"] and not back.can_undo
    assert "Only 1 of 3 steps" in back.notice.text
