"""The worker, stepped by hand where order matters and threaded where survival does."""

from __future__ import annotations

import threading
import time

import pytest

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.session.worker import Worker, default_worker
from ganpaint_widget.tickets import Cancelled, Report, Ticket, share_of, watched


def test_jobs_are_done_in_order_and_hand_back_values_and_errors():
    worker, done = Worker(start=False), []
    first = worker.submit(done.append, 1)
    second = worker.submit(lambda: 1 / 0)
    third = worker.submit(lambda a, b: a + b, 2, 3)
    worker.run_pending()
    assert done == [1]
    assert first.result(0) is None
    assert isinstance(second.exception(0), ZeroDivisionError)
    assert third.result(0) == 5


def test_only_the_newest_request_of_a_key_is_done_and_before_jobs():
    worker, done = Worker(start=False), []
    worker.submit(done.append, "job")
    for number in range(5):
        worker.request("preview", lambda number=number: done.append(number))
    worker.request("other", lambda: done.append("other"))
    worker.run_pending()
    assert done == [4, "other", "job"]


def test_checkpoints_let_requests_in_between():
    worker, done = Worker(start=False), []
    ticket = worker.ticket()

    def job():
        for step in range(3):
            done.append(step)
            worker.request("preview", lambda step=step: done.append(f"preview {step}"))
            ticket.checkpoint(step / 3)

    worker.submit(job)
    worker.run_pending()
    assert done == [0, "preview 0", 1, "preview 1", 2, "preview 2"]


def test_idle_work_makes_way_and_comes_back():
    worker, done = Worker(start=False), []

    def idle(ticket: Ticket) -> bool:
        done.append("idle")
        if done.count("idle") == 1:
            worker.submit(done.append, "job")
            worker.request("preview", lambda: done.append("preview"))
        ticket.checkpoint(0.5)
        done.append("idle is done")
        return True

    worker.idle("fit", lambda ticket: done.append("never") or True)
    worker.idle("fit", idle)
    worker.submit(done.append, "first")
    worker.run_pending()
    assert done == ["first", "idle", "preview", "job", "idle", "idle is done"]


def test_idle_work_that_fails_is_told_once_and_the_worker_goes_on():
    worker, told, ran = Worker(), [], []
    failed = threading.Event()

    def idle(ticket: Ticket) -> bool:
        ran.append(ticket)
        raise ValueError("no")

    worker.idle("fit", idle, lambda error: (told.append(error), failed.set()))
    assert failed.wait(20)
    assert worker.call(lambda: 5) == 5
    assert len(ran) == 1 and isinstance(told[0], ValueError)
    worker.close(timeout=5)


def test_what_is_asked_is_answered_inside_a_long_job():
    worker = Worker()
    asked, answered = threading.Event(), threading.Event()
    ticket = worker.ticket()

    def job():
        asked.set()
        while not answered.is_set():
            ticket.checkpoint(0)

    done = worker.submit(job)
    assert asked.wait(20)
    assert worker.ask(lambda one: one + 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        worker.ask(lambda: 1 / 0)
    assert not done.done()
    answered.set()
    done.result(20)
    worker.close(timeout=5)
    with pytest.raises(GANPaintError, match="closed"):
        worker.ask(lambda: 1)


def test_a_courteous_job_rests_while_there_are_requests_and_no_other_job(worker: Worker, monkeypatch):
    monkeypatch.setattr("ganpaint_widget.session.worker.QUIET", 60.0)
    steps, served, begun = [0], [0], threading.Event()
    ticket = worker.ticket(courteous=True)

    def job() -> None:
        while True:
            begun.set()
            ticket.checkpoint(0.5)
            steps[0] += 1

    future = worker.submit(job)
    assert begun.wait(5)
    for expected in range(1, 4):
        worker.ask(lambda: served.__setitem__(0, served[0] + 1))
        rested = steps[0]
        worker.ask(int)
        assert (steps[0], served[0]) == (rested, expected)
    later = worker.submit(int)
    end = time.monotonic() + 5
    while steps[0] == rested:
        assert time.monotonic() < end
    ticket.cancel()
    with pytest.raises(Cancelled):
        worker.wait(future)
    assert worker.wait(later) == 0


def test_requests_that_breed_do_not_starve_jobs():
    worker, done = Worker(start=False), []

    def again():
        done.append("request")
        if done.count("request") < 10:
            worker.request("again", again)

    worker.request("again", again)
    worker.submit(done.append, "job")
    worker.run_pending()
    assert done.index("job") == 1
    assert done.count("request") == 10


def test_a_checkpoint_on_another_thread_serves_nothing():
    worker = Worker(start=False)
    worker.request("preview", lambda: pytest.fail("served on the wrong thread"))
    worker.ticket().checkpoint(0.5)


def test_a_cancelled_job_ends_at_its_next_checkpoint():
    worker, steps = Worker(start=False), []
    ticket = worker.ticket()

    def job():
        for step in range(10):
            steps.append(step)
            if step == 3:
                ticket.cancel()
            ticket.checkpoint(step / 10)

    future = worker.submit(job)
    worker.run_pending()
    assert steps == [0, 1, 2, 3]
    assert isinstance(future.exception(0), Cancelled)


def test_a_report_estimates_the_time_that_is_left():
    now, reports = [100.0], []
    ticket = Ticket(observer=reports.append, clock=lambda: now[0])
    ticket.checkpoint(0.0, psnr=20.0)
    now[0] = 103.0
    ticket.checkpoint(0.25, psnr=25.0)
    ticket.checkpoint(7.0)
    assert reports == [
        Report(0.0, None, {"psnr": 20.0}),
        Report(0.25, 9.0, {"psnr": 25.0}),
        Report(1.0, 0.0, {}),
    ]


@pytest.mark.parametrize("parts", range(1, 50))
def test_the_last_part_of_a_job_ends_at_exactly_one(parts: int):
    reports: list[Report] = []
    last = share_of(Ticket(observer=reports.append), 0.6, 1)
    for place in range(parts):
        part = share_of(last, place / parts, (place + 1) / parts)
        assert part is not None
        part.checkpoint(0)
        part.checkpoint(1)
    told = [one.fraction for one in reports]
    assert told == sorted(told) and told[0] == 0.6 and told[-1] == 1


def test_the_thread_survives_whatever_is_thrown(worker: Worker):
    errors: list[BaseException] = []
    seen = threading.Event()

    def on_error(error: BaseException) -> None:
        errors.append(error)
        seen.set()
        raise RuntimeError("and the handler fails, too")

    def leave() -> None:
        raise SystemExit

    worker.request("bad", leave, on_error)
    assert seen.wait(5)
    assert isinstance(worker.submit(leave).exception(5), SystemExit)
    assert worker.call(lambda: 42) == 42
    assert isinstance(errors[0], SystemExit)


def test_call_is_direct_on_the_workers_own_thread_and_waiting_there_is_refused(worker: Worker):
    assert worker.call(lambda: worker.call(lambda: worker.current)) is True
    assert not worker.current
    with pytest.raises(GANPaintError, match="thread"):
        worker.call(lambda: worker.wait(worker.submit(lambda: None)))


def test_a_jobs_own_timeout_error_is_handed_on(worker: Worker):
    def job() -> None:
        raise TimeoutError("of the job")

    with pytest.raises(TimeoutError, match="of the job"):
        worker.call(job)


def test_wait_gives_up_in_time(worker: Worker):
    release = threading.Event()
    future = worker.submit(release.wait, 5)
    with pytest.raises(TimeoutError):
        worker.wait(future, timeout=0.05)
    release.set()


def test_closing_stops_the_running_job_and_drops_the_waiting_ones():
    worker, began = Worker(), threading.Event()
    ticket = worker.ticket()

    def job() -> None:
        began.set()
        while True:
            ticket.checkpoint(0.5)

    running, waiting = worker.submit(job), worker.submit(lambda: None)
    assert began.wait(5)
    worker.close(timeout=5)
    assert isinstance(running.exception(5), Cancelled)
    assert waiting.cancelled()
    with pytest.raises(GANPaintError, match="closed"):
        worker.submit(lambda: None)


def test_one_worker_a_process():
    assert default_worker() is default_worker()
    assert default_worker().call(lambda: 1) == 1


@pytest.mark.parametrize("parts", [0, 1, 7])
def test_a_job_is_done_after_its_last_part_or_at_once_without_any(parts: int) -> None:
    reports: list[Report] = []
    assert list(watched(range(parts), Ticket(observer=reports.append))) == [*range(parts)]
    assert reports[-1].fraction == 1
    assert list(watched(range(parts), None)) == [*range(parts)]
