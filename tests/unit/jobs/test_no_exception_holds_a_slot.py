"""A format that raises at any of its methods, at any call, never holds a slot or spoils another job.

Every script runs with a wire that breaks down at a chosen call of each chosen method. Whatever
happens: the slot is free once the step has reported, the client got at most one well-formed answer,
Discard came exactly once and last, and the next in the queue was served in full.
"""

from __future__ import annotations

import re
from itertools import chain, combinations, product
from typing import Any

import attrs
import pytest

from aistack.chunks import Progress
from aistack.errors import Code
from aistack.jobs import Mode, OutcomeKind, Phase, Snapshot, State, handle, recovery
from aistack.jobs import effects as do
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.jobs.states import HOLDING, Step
from tests.unit.jobs import build as b
from tests.unit.jobs.driver import Driver

METHODS = ("head", "frame", "tail", "body", "fault")
WELL_FORMED = re.compile(r"(R|OE*[CA]|O?E*)D")
"""One whole answer, a stream opened and ended once, or what had come when it left; then Discard."""
COMPLETE = re.compile(r"(R|OE*[CA])D")

SCRIPTS = {
    "whole run": "evicted loaded produced progressed produced finished",
    "headers before the load": "open evicted loaded produced produced finished",
    "headers during the load": "evicted open loaded produced finished",
    "headers during the run": "evicted loaded open produced finished",
    "nothing to show": "evicted loaded finished",
    "the load fails": "evicted failed",
    "the load fails with headers out": "open evicted failed",
    "the run fails": "evicted loaded produced failed",
    "the engine dies": "evicted loaded produced produced lost",
    "the engine dies early": "evicted loaded lost",
    "the client leaves": "evicted loaded produced gone produced stopped",
    "the client leaves early": "evicted gone loaded",
    "stopped before it runs": "drain drain-expired evicted",
    "stopped while it runs": "evicted loaded drain drain-expired stopped",
    "stopped while it streams": "evicted loaded produced drain drain-expired produced stopped",
}
EVENTS: dict[str, ev.Event] = {
    "evicted": ev.Evicted("j"),
    "loaded": ev.Loaded("j"),
    "produced": ev.Produced("j", b.CHUNK),
    "progressed": ev.Progressed("j", Progress(1, 2, "s")),
    "finished": ev.Finished("j", b.RESULT),
    "failed": ev.Failed("j", b.BROKEN),
    "lost": ev.Failed("j", b.BROKEN, lost=True),
    "stopped": ev.Stopped("j"),
    "gone": ev.ClientGone("j"),
    "open": ev.OpenDue("j"),
    "drain": ev.DrainBegan(),
    "drain-expired": ev.DrainExpired(),
}
REPORTED_BY = {
    "evicted": do.Evict,
    "loaded": do.Load,
    "produced": do.Run,
    "progressed": do.Run,
    "finished": do.Run,
    "stopped": do.Run,
}


class Breakdown(Exception):
    """What the format raises."""


class Breaks:
    """The guard of a format that raises at call number `plan[method]` (from 0), and ever after."""

    def __init__(self, plan: dict[str, int]) -> None:
        self._plan = plan
        self._calls = dict.fromkeys(METHODS, 0)

    def __call__(self, method: str) -> None:
        calls, self._calls[method] = self._calls[method], self._calls[method] + 1
        if calls >= self._plan.get(method, 10**9):
            raise Breakdown(method)


def bad(good: b.FakeWire, plan: dict[str, int]) -> b.FakeWire:
    """The format, breaking down as planned."""
    return attrs.evolve(good, guard=Breaks(plan))


def plans() -> list[dict[str, int]]:
    """Every choice of one, two or all methods, breaking down at the first or the second call."""
    chosen = chain(combinations(METHODS, 1), combinations(METHODS, 2), (METHODS,))
    return [
        dict(zip(methods, calls, strict=True))
        for methods in chosen
        for calls in (product((0, 1), repeat=len(methods)) if len(methods) < 3 else ((0,) * 5, (1,) * 5))
    ]


def play(script: str, wire: b.FakeWire) -> Driver:
    """Run the script for `j`; `k` is queued. Reports come only from steps that are out."""
    driver = Driver(b.service(b.PARAKEET))
    driver.submit(b.listen("j", wire=wire))
    driver.submit(b.listen("k", max_wait_s=9.0))
    for word in script.split():
        wanted = REPORTED_BY.get(word)
        step = driver.steps.get("j")
        if wanted is not None and not isinstance(step, wanted):
            continue
        if word in ("failed", "lost") and step is None:
            continue
        driver.hand_in(EVENTS[word])
    for _ in range(3):
        report = driver.report("j")
        if report is None and "j" in driver.steps:
            report = ev.Finished("j", b.RESULT)
        if report is not None:
            driver.hand_in(report)
    return driver


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_slot_is_free_once_the_step_has_reported(script: str, streams: bool) -> None:
    good = b.STREAM if streams else b.WHOLE
    for plan in plans():
        driver = play(without_open(SCRIPTS[script], streams), bad(good, plan))
        context = (plan, driver.raised, driver.effects)
        assert "j" not in driver.snapshot.jobs and "j" not in driver.steps, context
        assert driver.snapshot.slots[0].holder != "j", context
        answer = driver.answer("j")
        assert WELL_FORMED.fullmatch(answer), (answer, context)
        if "leaves" not in script:
            assert COMPLETE.fullmatch(answer), (answer, context)
        if driver.snapshot.mode is Mode.SERVING:
            serve_next(driver, context)


def without_open(script: str, streams: bool) -> str:
    """OpenDue is armed for streams only."""
    return script if streams else script.replace("open", "").strip()


def serve_next(driver: Driver, context: Any) -> None:
    """`k` holds the slot now (or has been served) and gets its whole answer."""
    for _ in range(4):
        report = driver.report("k")
        if report is not None:
            driver.hand_in(report)
    if "k" in driver.steps:
        driver.hand_in(ev.Finished("k", b.RESULT))
    assert driver.answer("k") == "RD", context
    assert driver.effects["k"][-2].answer.status == 200, context  # type: ignore[union-attr]
    assert not driver.snapshot.jobs, context


@pytest.mark.parametrize("script", SCRIPTS)
def test_with_a_good_format_nothing_is_raised(script: str) -> None:
    for streams in (False, True):
        driver = play(without_open(SCRIPTS[script], streams), b.STREAM if streams else b.WHOLE)
        assert not driver.raised


@pytest.mark.parametrize("plan", plans(), ids=str)
def test_a_queued_bad_format_does_not_touch_the_holder(plan: dict[str, int]) -> None:
    """Granting runs no code of the next job's format in the holder's reaction."""
    driver = Driver(b.service(b.WHISPER))
    driver.submit(b.listen("k"))
    driver.submit(b.listen("j", wire=bad(b.STREAM, plan), max_wait_s=9.0))
    before = list(driver.raised)
    driver.hand_in(ev.Finished("k", b.RESULT))
    assert driver.answer("k") == "RD"
    assert driver.effects["k"][-2].answer.status == 200  # type: ignore[union-attr]
    assert driver.raised == before


def test_trace_the_only_report_while_the_body_raises() -> None:
    """Submitted, Loaded, Finished while `wire.body` raises: the slot was held for ever."""
    driver = play("evicted loaded finished", bad(b.WHOLE, {"body": 0}))
    assert driver.raised == ["Finished: body"]
    answer = driver.effects["j"][-2]
    assert isinstance(answer, do.Respond) and answer.answer.status == 500
    assert b'"internal_error"' in answer.answer.body


def test_a_chunk_that_cannot_be_formatted_stops_the_work_and_holds_the_slot() -> None:
    driver = Driver(b.service(b.WHISPER))
    driver.submit(b.listen("j", wire=bad(b.STREAM, {"frame": 1})))
    driver.hand_in(EVENTS["produced"])
    driver.hand_in(EVENTS["produced"])
    assert [type(effect).__name__ for effect in driver.effects["j"]][-3:] == [
        "Emit",
        "CloseStream",
        "Cancel",
    ]
    assert driver.snapshot.jobs["j"].phase is Phase.CANCELLED
    assert driver.snapshot.slots[0].holder == "j", "its step still runs"
    driver.hand_in(EVENTS["produced"])
    driver.hand_in(EVENTS["stopped"])
    assert driver.answer("j") == "OEECD" and driver.snapshot.slots[0].holder is None


def test_a_format_that_cannot_even_say_the_failure_is_cut() -> None:
    """Never a clean end on a failure, even if the format would have closed cleanly."""
    driver = play("evicted loaded produced lost", bad(b.STREAM, {"fault": 0}))
    assert driver.answer("j") == "OEAD"


def test_a_submission_whose_format_breaks_down_leaves_the_world_as_it_was() -> None:
    before = b.service(b.OLD, selected=b.OLD)
    driver = Driver(before)
    driver.submit(attrs.evolve(b.swap("j"), wire=bad(b.WHOLE, {"body": 0})))
    assert driver.raised == ["Submitted: body"]
    assert driver.snapshot is before and driver.answer("j") == "RD"


def test_a_run_without_a_format_is_a_failure_and_not_a_silence() -> None:
    driver = Driver(b.service(b.WHISPER))
    driver.submit(attrs.evolve(b.listen("j"), wire=None))
    driver.hand_in(EVENTS["finished"])
    assert driver.raised == ["Finished: <Job j transcribe running on gpu0> has no whole answer"]
    assert driver.answer("j") == "RD" and driver.snapshot.slots[0].holder is None


def test_a_job_with_nothing_to_run_is_refused_at_once() -> None:
    before = b.service(b.WHISPER)
    driver = Driver(before)
    driver.submit(attrs.evolve(b.listen("j"), request=None))
    assert driver.raised == ["Submitted: <Job j transcribe preparing on gpu0> has nothing to run"]
    assert driver.answer("j") == "RD" and driver.snapshot is before


# --- which event stands in ---------------------------------------------------------------------------


IN_ORDER = sorted(HOLDING, key=lambda phase: phase.value)


def holding(phase: Phase) -> Snapshot:
    state = {Phase.PREPARING: State.ADMITTED}.get(phase) or State[phase.name]
    step = Step.LOAD if phase is Phase.PREPARING else Step.RUN
    job = evolve(b.listen("j"), state=state, step=step, slot="gpu0", opened=phase is Phase.STREAMING)
    return b.with_job(b.service(b.WHISPER), job)


@pytest.mark.parametrize("phase", IN_ORDER)
@pytest.mark.parametrize(
    ("event", "kind", "lost"),
    [
        (ev.Evicted("j", at=7.0), ev.Failed, True),
        (ev.Evicted("j", kept=True, at=7.0), ev.Failed, False),
        (ev.Loaded("j", at=7.0), ev.Failed, True),
        (ev.Finished("j", b.RESULT, at=7.0), ev.Failed, False),
        (ev.Failed("j", b.BROKEN, False, at=7.0), ev.Failed, False),
        (ev.Failed("j", b.BROKEN, True, at=7.0), ev.Failed, True),
        (ev.Stopped("j", False, at=7.0), ev.Failed, False),
        (ev.Stopped("j", True, at=7.0), ev.Failed, True),
        (ev.Produced("j", b.CHUNK, at=7.0), ev.RenderFailed, None),
        (ev.OpenDue("j", at=7.0), ev.RenderFailed, None),
        (ev.Progressed("j", Progress(1, 2, "s"), at=7.0), ev.RenderFailed, None),
        (ev.ClientGone("j", at=7.0), ev.RenderFailed, None),
        (ev.WaitExpired("j", 1, at=7.0), ev.RenderFailed, None),
    ],
)
def test_recovery_is_accepted_by_every_holder(
    phase: Phase, event: Any, kind: type, lost: bool | None
) -> None:
    snapshot = holding(phase)
    instead = recovery(snapshot, event)
    assert isinstance(instead, kind) and isinstance(instead, ev.Failed | ev.RenderFailed)
    assert (instead.job_id, instead.at, instead.fault.code) == ("j", 7.0, Code.INTERNAL_ERROR)
    if isinstance(instead, ev.Failed):
        assert instead.lost is lost
    after = handle(snapshot, instead)
    if kind is ev.Failed:
        assert after.snapshot.slots[0].holder is None
        assert after.snapshot.slots[0].resident == (None if lost else b.WHISPER)
        wanted = OutcomeKind.CANCELLED if phase is Phase.CANCELLED else OutcomeKind.FAILED
        assert after.transitions[-1].job.outcome.kind is wanted  # type: ignore[union-attr]
    else:
        assert after.snapshot.jobs["j"].phase is Phase.CANCELLED


def test_no_recovery_where_no_holder_could_be_hurt() -> None:
    running = holding(Phase.RUNNING)
    for event in (
        ev.RenderFailed("j", b.BROKEN),
        ev.Submitted(b.listen("x")),
        ev.Vanished("gpu0", b.WHISPER),
        ev.DrainBegan(),
        ev.DrainExpired(),
        ev.Finished("nobody", b.RESULT),
    ):
        assert recovery(running, event) is None
    waiting = b.with_job(running, b.listen("p", max_wait_s=1))
    assert recovery(waiting, ev.WaitExpired("p", 1)) is None


def test_a_lost_report_of_a_load_beside_leaves_nothing_in_the_book() -> None:
    """The old engine has gone and the new one is unknown: neither may be run as the other."""
    job = evolve(b.swap("j"), state=State.ADMITTED, step=Step.LOAD, slot="gpu0")
    for held, lost in ((b.OLD, True), (None, False)):
        instead = recovery(b.with_job(b.service(held, selected=b.OLD), job), ev.Loaded("j"))
        assert isinstance(instead, ev.Failed)
        assert instead.lost is lost
