"""The frame scheduler, stepped by hand: fake pages, fake clock, no threads."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpaint_widget.widget.stream import (
    IN_FLIGHT,
    MOST_PAGES,
    SILENCE,
    Array,
    FrameStream,
    Picture,
    encode_jpeg,
)

A, B = "page-aaaa", "page-bbbb"


class Bench:
    """A stream on a bench: what it sent, a clock to turn, and a switch that breaks the line."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[dict[str, Any]] = []
        self.encoded = 0
        self.broken = False
        self.stream = FrameStream(self.send, self.encode, lambda: self.now)

    def send(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if self.broken:
            raise ConnectionError("the comm is closed")
        assert len(buffers) == 1
        self.sent.append(content)

    def encode(self, array: Array) -> tuple[str, bytes]:
        self.encoded += 1
        return "image/jpeg", b"jpeg"

    def offer(self, revision: int, kind: str = "preview", covers: Mapping[str, int] | None = None) -> None:
        self.stream.offer(Picture(kind, np.zeros((4, 6, 3), np.uint8), revision, lambda: covers or {}))

    @property
    def revisions(self) -> list[int]:
        return [content["revision"] for content in self.sent]

    @property
    def frames(self) -> list[int]:
        return [content["frame"] for content in self.sent]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_encoded_without_a_page_and_the_newest_waits_for_the_first(bench: Bench) -> None:
    for revision in range(5):
        bench.offer(revision)
    assert (bench.sent, bench.encoded) == ([], 0)
    bench.stream.hello(A)
    assert (bench.revisions, bench.encoded) == ([4], 1)
    assert bench.stream.stats()["dropped"] == 4


def test_a_frame_says_what_it_is(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.offer(3, "result", {A: 17})
    assert bench.sent == [
        {
            "type": "frame",
            "frame": 1,
            "picture": "result",
            "revision": 3,
            "covers": {A: 17},
            "width": 6,
            "height": 4,
            "format": "image/jpeg",
        }
    ]


def test_at_most_two_in_flight_and_the_newest_wins(bench: Bench) -> None:
    bench.stream.hello(A)
    for revision in range(1, 11):
        bench.offer(revision)
    assert bench.revisions == [1, 2] and bench.encoded == 2
    bench.stream.ack(A, 1)
    assert bench.revisions == [1, 2, 10]
    bench.stream.ack(A, 2)  # nothing is pending any more
    assert bench.revisions == [1, 2, 10]
    assert bench.stream.stats()["pages"] == {A: {"in_flight": 1, "silent": False, "hidden": False}}


def test_kinds_take_turns(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.offer(1)
    bench.offer(2)
    bench.offer(3)
    bench.offer(3, "result")
    bench.offer(4)
    bench.stream.ack(A, 2)
    assert [(c["picture"], c["revision"]) for c in bench.sent[2:]] == [("preview", 4), ("result", 3)]


def test_the_slowest_live_page_sets_the_pace(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.stream.hello(B)
    for revision in range(1, 6):
        bench.offer(revision)
        bench.stream.ack(A, revision)
    assert bench.revisions == [1, 2]
    bench.stream.ack(B, 1)
    assert bench.revisions == [1, 2, 5]


def test_acknowledgements_are_cumulative_and_odd_ones_are_ignored(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.offer(1)
    bench.offer(2)
    bench.offer(3)
    bench.stream.ack(A, 99)  # a frame that was never sent
    bench.stream.ack("page-unknown", 1)
    assert bench.revisions == [1, 2] and bench.stream.pages == (A,)
    bench.stream.ack(A, 2)  # covers 1, whose own acknowledgment was lost
    bench.stream.ack(A, 1)  # late
    bench.stream.ack(A, 2)  # doubled
    assert bench.revisions == [1, 2, 3]
    assert bench.stream.stats()["pages"][A]["in_flight"] == 1


def test_a_silent_page_holds_the_others_up_for_five_seconds_only(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.stream.hello(B)
    bench.offer(1)
    bench.offer(2)
    bench.stream.ack(A, 2)
    bench.now += SILENCE - 0.01
    bench.offer(3)
    assert bench.revisions == [1, 2]
    bench.now += 0.02
    bench.stream.tick()
    assert bench.revisions == [1, 2, 3]
    assert bench.stream.stats()["pages"][B]["silent"]
    for revision in range(4, 30):  # from here on only A counts
        bench.stream.ack(A, bench.frames[-1])
        bench.offer(revision)
    assert bench.revisions[-1] == 29


def test_a_silent_page_counts_again_when_it_speaks(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.offer(1)
    bench.offer(2)
    bench.now += SILENCE
    bench.stream.tick()
    bench.stream.touch(A)
    assert bench.stream.stats()["pages"][A] == {"in_flight": 0, "silent": False, "hidden": False}
    bench.offer(3)
    bench.offer(4)
    bench.offer(5)
    assert bench.revisions == [1, 2, 3, 4]


def test_for_hidden_pages_nothing_is_sent_and_their_hello_brings_the_newest(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.stream.hello(B)
    bench.stream.hide(B)
    for revision in range(1, 5):  # B holds nobody up
        bench.offer(revision)
        bench.stream.ack(A, bench.frames[-1])
    assert bench.revisions == [1, 2, 3, 4]
    bench.stream.hide(A)
    for revision in range(5, 20):
        bench.offer(revision)
        bench.stream.touch(A)  # to be heard is not to be seen
        bench.now += SILENCE
        bench.stream.tick()
    assert bench.revisions == [1, 2, 3, 4]
    bench.stream.hello(B)
    assert bench.revisions == [1, 2, 3, 4, 19]
    assert bench.stream.stats()["pages"][B] == {"in_flight": 1, "silent": False, "hidden": False}


def test_lost_acknowledgements_of_the_only_page_do_not_end_the_stream(bench: Bench) -> None:
    bench.stream.hello(A)
    for revision in range(1, 100):
        bench.offer(revision)
        bench.now += 0.1
    # Nobody acknowledges: IN_FLIGHT frames per SILENCE, so that a page that is there can pick it up again.
    assert 4 <= len(bench.sent) <= IN_FLIGHT * (1 + int(9.9 / SILENCE))
    bench.stream.ack(A, bench.frames[-1])
    bench.offer(100)
    assert bench.revisions[-1] == 100


def test_a_page_that_works_slowly_but_steadily_is_not_silent(bench: Bench) -> None:
    bench.stream.hello(A)
    for revision in range(1, 10):
        bench.offer(revision)
        bench.now += SILENCE * 0.6
        bench.stream.ack(A, bench.frames[0] + revision - 1)
        assert not bench.stream.stats()["pages"][A]["silent"]


def test_an_idle_page_is_not_silent(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.now += 1000
    bench.offer(1)
    bench.offer(2)
    bench.offer(3)
    assert bench.revisions == [1, 2] and not bench.stream.stats()["pages"][A]["silent"]


def test_hello_gives_fresh_credit(bench: Bench) -> None:
    bench.stream.hello(A)
    for revision in (1, 2, 3):
        bench.offer(revision)
    bench.stream.hello(A)
    assert bench.revisions == [1, 2, 3]


def test_a_send_that_throws_costs_no_credit_and_no_picture(bench: Bench) -> None:
    bench.stream.hello(A)
    bench.broken = True
    for revision in range(1, 5):
        bench.offer(revision)
    stats = bench.stream.stats()
    assert stats["failed"] == 4 and stats["last_failure"] == "ConnectionError: the comm is closed"
    assert stats["pages"][A]["in_flight"] == 0 and stats["pending"] == ("preview",)
    bench.broken = False
    bench.stream.tick()
    assert bench.revisions == [4]


def test_a_page_may_answer_before_send_returns() -> None:
    sent: list[int] = []

    def send(content: dict[str, Any], buffers: list[bytes]) -> None:
        sent.append(content["frame"])
        stream.ack(A, content["frame"])

    stream = FrameStream(send, lambda array: ("image/jpeg", b""), lambda: 0.0)
    stream.hello(A)
    for revision in range(10):
        stream.offer(Picture("preview", np.zeros((1, 1, 3), np.uint8), revision, dict))
    assert sent == list(range(1, 11))
    assert stream.stats()["pages"][A]["in_flight"] == 0


def test_pages_that_never_come_back_are_forgotten(bench: Bench) -> None:
    for number in range(MOST_PAGES * 3):
        bench.stream.hello(f"page-{number:04}")
    assert len(bench.stream.pages) == MOST_PAGES and bench.stream.pages[-1] == f"page-{MOST_PAGES * 3 - 1:04}"


def test_jpeg_keeps_the_color_of_single_pixels() -> None:
    array = np.zeros((32, 32, 3), np.uint8)
    array[:, ::2, 0] = 255  # red columns of one pixel, which chroma subsampling would smear
    kind, data = encode_jpeg(array)
    back = np.asarray(Image.open(io.BytesIO(data)), np.int16)
    assert kind == "image/jpeg" and np.abs(back - array).mean() < 25


def test_two_threads_share_a_stream() -> None:
    frames: list[int] = []
    stream = FrameStream(
        lambda content, buffers: frames.append(content["frame"]), lambda array: ("image/jpeg", b"")
    )
    stream.hello(A)
    picture = np.zeros((1, 1, 3), np.uint8)

    def offers() -> None:
        for revision in range(500):
            stream.offer(Picture("preview", picture, revision, dict))

    def acks() -> None:
        while producer.is_alive():
            if frames:
                stream.ack(A, frames[-1])

    producer = threading.Thread(target=offers)
    consumer = threading.Thread(target=acks)
    producer.start()
    consumer.start()
    producer.join(30)
    consumer.join(30)
    assert not producer.is_alive() and frames == sorted(set(frames))


# --- any order of events --------------------------------------------------------------------------

events = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from(["preview", "result"])),
        st.tuples(st.just("ack"), st.sampled_from([A, B]), st.integers(-3, 3)),
        st.tuples(st.just("hello"), st.sampled_from([A, B])),
        st.tuples(st.just("heard"), st.sampled_from([A, B])),
        st.tuples(st.just("hide"), st.sampled_from([A, B])),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 1.0, SILENCE])),
        st.tuples(st.just("line"), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(events)
def test_in_any_order_credit_holds_and_the_newest_picture_arrives(history: list[tuple[Any, ...]]) -> None:
    bench = Bench()
    stream = bench.stream
    revision = 0
    newest: dict[str, int] = {}
    for what, *details in history:
        if what == "offer":
            revision += 1
            newest[details[0]] = revision
            bench.offer(revision, details[0])
        elif what == "ack":
            stream.ack(details[0], max(0, (bench.frames or [0])[-1] + details[1]))
        elif what == "hello":
            stream.hello(details[0])
        elif what == "heard":
            stream.touch(details[0])
        elif what == "hide":
            stream.hide(details[0])
        elif what == "wait":
            bench.now += details[0]
            stream.tick()
        else:
            bench.broken = not details[0]
        assert all(page["in_flight"] <= IN_FLIGHT for page in stream.stats()["pages"].values())
        assert bench.frames == sorted(set(bench.frames))
        # Of each kind, a picture is never followed by an older one.
        for kind in newest:
            shown = [c["revision"] for c in bench.sent if c["picture"] == kind]
            assert shown == sorted(shown)

    # However it went: once the line works and a page acknowledges, the newest of each kind is shown.
    bench.broken = False
    stream.hello(A)
    bench.now += SILENCE  # other pages that are mute do not matter
    for _ in range(4):
        stream.tick()
        stream.ack(A, (bench.frames or [0])[-1])
    for kind, last in newest.items():
        assert [c["revision"] for c in bench.sent if c["picture"] == kind][-1] == last
    assert stream.stats()["pending"] == ()
