"""What the log is told: the transitions of a job, their times, and deaths of idle engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aistack.errors import Code
from aistack.jobs import OutcomeKind, Phase, Resident, Slot, State, handle
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from tests.unit.jobs import build as b
from tests.unit.jobs.build import PARAKEET, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]


def test_the_transitions_of_a_stream() -> None:
    """Every change of column with its event and its time; `since` is when the state began."""
    snapshot = b.service(None)
    told = []
    events: list[ev.Event] = [
        ev.Submitted(b.listen("a", wire=b.STREAM)),
        ev.Evicted("a"),
        ev.Loaded("a"),
        ev.Produced("a", b.CHUNK),
        ev.Produced("a", b.CHUNK),
        ev.Finished("a", b.RESULT),
    ]
    for at, event in enumerate(events, start=10):
        reaction = handle(snapshot, evolve(event, at=float(at)))
        snapshot = reaction.snapshot
        told += [(t.source, t.event, t.target, t.at, t.job.since) for t in reaction.transitions]
    assert told == [
        (None, "Submitted", Phase.PREPARING, 10.0, 10.0),
        (Phase.PREPARING, "Evicted", Phase.PREPARING, 11.0, 10.0),
        (Phase.PREPARING, "Loaded", Phase.RUNNING, 12.0, 12.0),
        (Phase.RUNNING, "Produced", Phase.STREAMING, 13.0, 13.0),
        (Phase.STREAMING, "Finished", Phase.DONE, 15.0, 15.0),
    ]
    done = reaction.transitions[-1].job
    assert (done.submitted, done.granted, done.ran, done.first) == (10.0, 10.0, 12.0, 13.0)
    assert done.step is None and done.state is State.DONE
    assert done.outcome is not None and done.outcome.kind is OutcomeKind.OK


@pytest.mark.parametrize(
    ("wire", "moves", "first"),
    [
        (b.WHOLE, [("finish", "a")], 8.0),
        (b.STREAM, [("finish", "a")], 8.0),
        (b.STREAM, [("timer", "OpenDue", "a", 0), ("finish", "a")], 7.0),
        (b.STREAM, [("produce", "a"), ("finish", "a")], 7.0),
    ],
)
def test_the_time_of_the_first_byte_and_the_result_are_kept_for_the_log(
    walk: Start, wire: b.FakeWire, moves: list[tuple[object, ...]], first: float
) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a", wire=wire))
    w.now = 8.0 - len(moves)
    for move in moves:
        w.now += 1
        w(*move)
    assert w.over == {"a"}
    assert w.done["a"].first == first
    assert w.done["a"].result == b.RESULT


def test_headers_before_the_load_are_the_first_byte(walk: Start) -> None:
    w = walk(None)
    w.new(b.listen("a", wire=b.STREAM))
    w.now = 15.0
    w("timer", "OpenDue", "a", 0)
    assert w.snapshot.jobs["a"].first == 15.0 and w.snapshot.jobs["a"].opened
    w.now = 20.0
    w("evicted", "a")
    w("loaded", "a")
    assert w.where("a") == "streaming" and w.snapshot.jobs["a"].ran == 20.0


def test_waiting_is_told_apart_from_holding(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w.now = 3.0
    w.new(b.listen("p", max_wait_s=30))
    job = w.snapshot.jobs["p"]
    assert (job.submitted, job.since, job.granted, job.wait_no) == (3.0, 3.0, None, 1)
    w.now = 5.0
    w("finish", "a")
    job = w.snapshot.jobs["p"]
    assert (job.submitted, job.since, job.granted) == (3.0, 5.0, 5.0)


def test_a_swap_keeps_the_time_of_its_first_card(walk: Start) -> None:
    w = walk(b.OLD, b.OLD, selected=b.OLD)
    w.new(b.swap("s"))
    w.now = 9.0
    w("evicted", "s")
    w("loaded", "s")
    assert w.snapshot.jobs["s"].granted == 0.0 and w.snapshot.jobs["s"].since == 9.0
    assert w.snapshot.jobs["s"].reached == ("gpu0",)


def test_a_step_starts_with_no_progress(walk: Start) -> None:
    w = walk(None)
    w.new(b.listen("a"))
    for move in (("evicted", "a"), ("loaded", "a")):
        w.do(("progress", "a", 5.0))
        assert w.snapshot.jobs["a"].progress is not None
        w(*move)
        assert w.snapshot.jobs["a"].progress is None


def test_an_event_that_changes_nothing_gives_the_same_world() -> None:
    busy = handle(b.service(WHISPER), ev.Submitted(b.listen("a"))).snapshot
    for event in (ev.WaitExpired("a", 1), ev.ClientGone("nobody"), ev.DrainExpired()):
        base = busy if not isinstance(event, ev.DrainExpired) else b.service(WHISPER)
        reaction = handle(base, event)
        assert reaction.snapshot is base and not reaction.effects and not reaction.transitions


# --- deaths of idle engines ---------------------------------------------------------------------------


def test_an_idle_engine_dies(walk: Start) -> None:
    w = walk(WHISPER, PARAKEET)
    w("dies", "gpu1")
    assert w("vanished", "gpu1") == ""
    assert w.snapshot.slots == (Slot("gpu0", None, WHISPER), Slot("gpu1", None, None))


def test_a_death_told_of_another_model_is_old_news() -> None:
    before = b.service(WHISPER)
    assert handle(before, ev.Vanished("gpu0", PARAKEET)).snapshot is before


def test_an_idle_engine_dies_beside_a_container(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.speak("t"))
    w("dies", "gpu0")
    w("vanished", "gpu0")
    assert w.resident() is None and w.where("t") == "running"


def test_a_card_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        handle(b.service(WHISPER), ev.Vanished("gpu7", WHISPER))


# --- how a job ends that nobody listens to any more ---------------------------------------------------

WHY = {
    "gone": (["gone"], OutcomeKind.CANCELLED, None),
    "drained": (["drain", "drain expired"], OutcomeKind.REVOKED, Code.SHUTTING_DOWN),
    "spoilt": (["spoil"], OutcomeKind.FAILED, Code.INTERNAL_ERROR),
}


@pytest.mark.parametrize("why", WHY)
@pytest.mark.parametrize(
    ("before", "last", "resident"),
    [
        ([], "evicted", None),
        (["evicted"], "loaded", PARAKEET),
        (["evicted"], "load fails", None),
        (["evicted", "loaded"], "finish", PARAKEET),
        (["evicted", "loaded"], "fail", PARAKEET),
        (["evicted", "loaded"], "lose", None),
        (["evicted", "loaded"], "stopped", PARAKEET),
        (["evicted", "loaded"], "killed", None),
    ],
)
def test_the_outcome_is_why_it_was_given_up(
    walk: Start, why: str, before: list[str], last: str, resident: Resident | None
) -> None:
    """Whatever the step reports afterwards; and the memory is what the report says."""
    moves, ended, code = WHY[why]
    w = walk(WHISPER)
    w.new(b.listen("a", PARAKEET))
    for word in before:
        w(word, "a")
    for word in moves:
        w(*((word,) if "drain" in word else (word, "a")))
    assert w.where("a") == "cancelled"
    assert w(last, "a") == "Discard(a)"
    assert w.ended["a"].kind is ended
    reported = b.BROKEN.code if why == "gone" and last in ("load fails", "fail", "lose") else code
    assert (w.fault("a").code if w.fault("a") else None) is reported
    assert w.resident() == resident


def test_a_queued_swap_stays_when_its_client_has_gone(walk: Start) -> None:
    w = walk(b.OLD, selected=b.OLD)
    w.new(b.generate("g", b.WHOLE))
    w.new(b.swap("s"))
    assert w("gone", "s") == "" and w.where("s") == "waiting"
    assert w("finish", "g") == "Respond(g) Discard(g) Evict(s)"
