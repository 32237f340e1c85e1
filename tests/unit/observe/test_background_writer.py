"""The writing thread under the log, the access log and the captures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from aistack.observe.background_writer import BackgroundWriter

BOUND_S = 30.0


class Paper:
    """What was written, batch by batch; it can hold the thread up."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.written = threading.Event()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, items: list[Any]) -> None:
        self.entered.set()
        assert self.gate.wait(BOUND_S)
        if "bad" in items:
            raise ValueError("bad")
        self.batches.append(items)
        self.written.set()

    @property
    def items(self) -> list[Any]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def paper() -> Iterator[Paper]:
    paper = Paper()
    yield paper
    paper.gate.set()


def test_the_items_of_a_moment_are_one_batch(paper: Paper) -> None:
    writer = BackgroundWriter("w", paper.write, batch=100, linger_s=3600)
    for item in "abc":
        assert writer.put(item)
    assert writer.flush(BOUND_S)
    assert paper.batches == [["a", "b", "c"]]
    writer.close(BOUND_S)


def test_a_full_batch_and_a_put_in_a_hurry_do_not_wait(paper: Paper) -> None:
    writer = BackgroundWriter("w", paper.write, batch=3, linger_s=3600)
    for item in range(3):
        writer.put(item)
    assert paper.written.wait(BOUND_S)
    paper.written.clear()
    writer.put("now", hurry=True)
    assert paper.written.wait(BOUND_S)
    assert paper.batches == [[0, 1, 2], ["now"]]
    writer.close(BOUND_S)


def test_what_does_not_fit_is_lost_and_counted(paper: Paper) -> None:
    paper.gate.clear()
    writer = BackgroundWriter("w", paper.write, room=10, batch=4)
    writer.put("first", hurry=True)
    assert paper.entered.wait(BOUND_S)
    taken = [writer.put(item) for item in range(15)]
    assert taken == [True] * 9 + [False] * 6, "what is being written takes room too"
    assert writer.lost == 6
    paper.gate.set()
    assert writer.flush(BOUND_S)
    assert paper.items == ["first", *range(9)]
    writer.close(BOUND_S)


def test_a_flush_and_a_close_are_bounded(paper: Paper) -> None:
    paper.gate.clear()
    writer = BackgroundWriter("w", paper.write)
    assert writer.flush(0), "nothing was put: there is no thread to wait for"
    writer.put("stuck")
    assert not writer.flush(0.01)
    writer.close(0.01)
    assert not writer.put("late") and writer.lost == 1
    paper.gate.set()
    assert writer.flush(BOUND_S)
    assert paper.items == ["stuck"], "what waited is written even then"


def test_close_writes_what_is_left_and_ends_the_thread(paper: Paper) -> None:
    writer = BackgroundWriter("its name", paper.write, batch=100, linger_s=3600)
    writer.put("last")
    (thread,) = [each for each in threading.enumerate() if each.name == "its name"]
    writer.close(BOUND_S)
    writer.close(BOUND_S)
    assert paper.items == ["last"]
    assert not thread.is_alive()


def test_what_cannot_be_written_costs_its_batch_only(paper: Paper) -> None:
    writer = BackgroundWriter("w", paper.write)
    for item in ("bad", "good"):
        writer.put(item)
    assert writer.flush(BOUND_S)
    assert (paper.items, writer.lost) == (["good"], 1)
    writer.close(BOUND_S)


def test_the_chore_is_done_at_the_start_and_again_and_may_fail(paper: Paper) -> None:
    done = threading.Semaphore(0)

    def chore() -> None:
        done.release()
        raise OSError("no such disk")

    with capture_logs() as lines:
        writer = BackgroundWriter("w", paper.write, chore=chore, chore_s=0.01)
        assert not done.acquire(blocking=False)
        writer.start()
        for _ in range(3):
            assert done.acquire(timeout=BOUND_S)
        writer.put("work goes on")
        assert writer.flush(BOUND_S)
        writer.close(BOUND_S)
    assert paper.items == ["work goes on"]
    assert lines[0]["event"] == "background work failed"


def test_many_threads_put_and_every_item_is_written_or_lost(paper: Paper) -> None:
    writer = BackgroundWriter("w", paper.write, room=50, batch=8)
    taken: list[int] = []

    def put(first: int) -> None:
        for number in range(first, first + 500):
            if writer.put(number):
                taken.append(number)

    threads = [threading.Thread(target=put, args=(n * 500,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert writer.flush(BOUND_S)
    writer.close(BOUND_S)
    assert sorted(paper.items) == sorted(taken)
    assert len(taken) + writer.lost == 4000
