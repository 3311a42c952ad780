"""What a user is told who paints where the generator can do little, with the demo's own generator."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ganpaint_widget.models.registry import load
from ganpaint_widget.session import EditingSession, Noticed
from ganpaint_widget.session.processes import reviewing
from ganpaint_widget.session.worker import Worker


@pytest.fixture
def session() -> EditingSession:
    return EditingSession(scene=0, worker=Worker(start=False), journal=False)


def heard(session: EditingSession) -> list[Noticed]:
    notices: list[Noticed] = []
    session.observe(lambda event: notices.append(event) if isinstance(event, Noticed) else None)
    return notices


def dab(session: EditingSession, edit: str, concept: str, x: float, y: float, verb: str = "add") -> None:
    """A round dab at x, y (0 to 1), as a stroke that has not ended. Its end would choose an exemplar."""
    size, radius = session.size, session.size // 12
    down, across = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    round_dab = np.where(down**2 + across**2 <= radius**2, 255, 0).astype(np.uint8)
    side = 2 * radius + 1
    place = (round(x * size) - radius, round(y * size) - radius, side, side)
    session.paint(edit, place, round_dab, verb=verb, concept=concept, last=False)
    session._state.worker.run_pending()  # the preview, and then what is done when the hand rests


def test_an_addition_out_of_place_is_explained_once(session: EditingSession) -> None:
    notices = heard(session)
    dab(session, "a", "door", 0.85, 0.12)
    (told,) = notices
    assert told.level == "info"
    seen = "|".join(name for name in session.classes if name != "door")
    text = rf"Hardly any door appears here; the generator draws ({seen})\. Undo, and paint where it fits\."
    assert re.fullmatch(text, told.text)
    assert session.notice == told
    dab(session, "a", "door", 0.7, 0.12)
    assert notices == [told] and session.notice is None  # it was said of an older picture
    session.undo()
    session.undo()
    dab(session, "b", "door", 0.85, 0.12)
    assert len(notices) == 2  # another edit


def test_an_addition_in_its_place_is_not_commented_on(session: EditingSession) -> None:
    notices = heard(session)
    dab(session, "a", "tree", 0.85, 0.62)
    dab(session, "b", "cloud", 0.8, 0.15)
    dab(session, "c", "door", 0.85, 0.12, verb="remove")
    session.update("a", strength=0.1)  # nothing was painted
    session._state.worker.run_pending()
    assert [notice for notice in notices if "Hardly" in notice.text] == []


class Counted:
    """The demo's segmenter, and how often it was asked."""

    def __init__(self, segmenter: Any, classes: tuple[str, ...]) -> None:
        self.segmenter, self.classes, self.asked = segmenter, classes, 0

    def segment(self, pictures: Any) -> Any:
        self.asked += 1
        return self.segmenter.segment(pictures)


def counted(*, without: str = "") -> tuple[EditingSession, Counted]:
    model = load("demo")
    classes = tuple("other" if name == without else name for name in model.segmenter.classes)
    segmenter = Counted(model.segmenter, classes)
    session = EditingSession(
        generator=replace(model, segmenter=segmenter), worker=Worker(start=False), journal=False
    )
    segmenter.asked = 0
    return session, segmenter


def test_nothing_is_measured_for_nobody_or_of_what_the_segmenter_does_not_know() -> None:
    session, segmenter = counted()
    dab(session, "a", "door", 0.85, 0.12)
    assert segmenter.asked == 0  # no observer
    session, segmenter = counted(without="door")
    notices = heard(session)
    dab(session, "a", "door", 0.85, 0.12)
    assert segmenter.asked == 0 and notices == []


def test_a_slow_segmenter_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewing, "LONGEST", 0.0)
    session, segmenter = counted()
    notices = heard(session)
    dab(session, "a", "door", 0.85, 0.12)
    dab(session, "b", "door", 0.15, 0.12)
    assert segmenter.asked == 1 and len(notices) == 1


def test_only_what_was_painted_last_is_looked_at_and_after_all_that_was_asked_for() -> None:
    session, segmenter = counted()
    notices = heard(session)
    size = session.size
    for place, concept in enumerate(("window", "door", "tree", "door")):
        values = np.full((20, size), 255, np.uint8)
        rect = (0, 0, size, 20)
        session.paint(f"e{place}", rect, values, verb="add", concept=concept, last=False)
    session._state.worker.run_pending()
    assert segmenter.asked == 1
    assert [notice.text.split()[2] for notice in notices] == ["door"]
