"""What the busy answer says about the holder, and how long a broken model is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.chunks import Progress, Vram
from aistack.errors import Code
from aistack.jobs import Job, Limits, OutcomeKind, Route, State, handle
from aistack.jobs import effects as do
from aistack.jobs import events as ev
from aistack.jobs.busy import refused
from aistack.jobs.changes import evolve
from aistack.jobs.model import SELECTED, Broken
from aistack.jobs.states import Op, Step
from tests.unit.jobs import build as b
from tests.unit.jobs.build import OLD, PARAKEET, WHISPER
from tests.unit.jobs.conftest import Walk

Start = Callable[..., Walk]


def holder(w: Walk, job: Job | None = None) -> dict[str, Any]:
    """What a caller who meets the busy slot now reads in `error.holder`."""
    job = job or b.listen(f"asks-{w.now}-{len(w.over)}")
    assert w.new(job) == f"Respond({job.id}) Discard({job.id})"
    assert w.fault(job.id).code is Code.SLOT_BUSY
    said: dict[str, Any] = w.fault(job.id).extra["holder"]
    return said


# --- the holder -------------------------------------------------------------------------------------


def test_the_holder_while_it_prepares_and_runs(walk: Start) -> None:
    w = walk(WHISPER)
    w.now = 100.0
    w.new(b.listen("a", PARAKEET))
    w.now = 101.2345
    assert holder(w) == {"op": "transcribe", "model": "parakeet", "since_s": 1.234}
    w("evicted", "a")
    w.do(("progress", "a", 2.5))
    assert holder(w)["progress"] == 0.25
    assert "eta_s" not in holder(w), "nothing is known yet about the run"
    w.now = 104.0
    w("loaded", "a")
    assert "progress" not in holder(w), "the load's progress says nothing about the run"
    w.now = 108.0
    w.do(("progress", "a", 4.0))
    assert holder(w) == {
        "op": "transcribe",
        "model": "parakeet",
        "since_s": 8.0,
        "progress": 0.4,
        "eta_s": 6.0,
    }
    w("produce", "a")
    w.now = 110.0
    w.do(("progress", "a", 8.0))
    assert (holder(w)["progress"], holder(w)["eta_s"]) == (0.8, 1.5)


def test_progress_while_streaming(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a", wire=b.STREAM))
    w("produce", "a")
    w.now = 2.0
    w.do(("progress", "a", 5.0))
    assert holder(w) == {
        "op": "transcribe",
        "model": WHISPER.model,
        "since_s": 2.0,
        "progress": 0.5,
        "eta_s": 2.0,
    }


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress(0.0, 10.0, "s"), {"progress": 0.0}),
        (Progress(12.0, 10.0, "s"), {"progress": 1.0, "eta_s": 0.0}),
        (Progress(-1.0, 10.0, "s"), {"progress": 0.0}),
        (Progress(3.0, None, "tokens"), {}),
        (Progress(3.0, 0.0, "bytes"), {}),
        (Progress(1.0, 3.0, "s"), {"progress": 0.3333, "eta_s": 16.0}),
        (Progress(3.0, 7.0, "s"), {"progress": 0.4286, "eta_s": 10.7}),
    ],
)
def test_progress_is_a_share(progress: Progress, said: dict[str, float]) -> None:
    running = evolve(
        b.listen("a"),
        state=State.RUNNING,
        step=Step.RUN,
        slot="gpu0",
        granted=1.0,
        ran=2.0,
        progress=progress,
    )
    busy = handle(b.with_job(b.service(WHISPER), running), ev.Submitted(b.chat("c"), at=10.0))
    assert isinstance(busy.effects[0], do.Respond)
    outcome = busy.transitions[0].job.outcome
    assert outcome is not None and outcome.fault is not None
    holder = outcome.fault.extra["holder"]
    assert holder == {"op": "transcribe", "model": WHISPER.model, "since_s": 9.0, **said}


def test_the_holder_is_that_of_a_slot_one_could_have_had(walk: Start) -> None:
    w = walk(WHISPER, PARAKEET)
    w.new(b.listen("a", PARAKEET, device="gpu1"))
    w.new(b.chat("c"))
    assert holder(w, b.listen("x", device="gpu1"))["model"] == "parakeet"
    assert holder(w, b.chat("y"))["op"] == "chat"


def test_selected_weights_are_named_by_their_tag(walk: Start) -> None:
    w = walk(OLD, selected=OLD)
    w.new(b.generate("g"))
    assert holder(w)["model"] == "d20"


def test_a_wait_that_expires_tells_who_holds_the_slot_now(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w.new(b.chat("p", max_wait_s=30))
    w.now = 30.0
    assert w("timer", "WaitExpired", "p", 1) == "Respond(p) Discard(p)"
    assert w.fault("p").extra["holder"]["since_s"] == 30.0
    assert w.ended["p"].kind is OutcomeKind.REJECTED
    assert ("Retry-After", "5") in w.latest("p", do.Respond).answer.headers


def test_a_wait_that_expires_beside_a_free_slot_names_nobody(walk: Start) -> None:
    """A bound generation may not take its free card while a swap changes another one."""
    w = walk(WHISPER, OLD, selected=OLD)
    w.new(b.listen("a", device="gpu0"))
    bound = Route("nanochat", SELECTED, Vram.OWN, "gpu0")
    w.new(evolve(b.generate("g", max_wait_s=9), route=bound))
    w.new(b.swap("s"))
    assert w("finish", "a") == "Respond(a) Discard(a)"
    assert w("timer", "WaitExpired", "g", 1) == "Respond(g) Discard(g)"
    assert w.fault("g").extra == {} and "reserved for other work" in w.fault("g").message


def test_leaving_the_line(walk: Start) -> None:
    w = walk(WHISPER)
    w.new(b.listen("a"))
    w.new(b.listen("p", max_wait_s=9))
    w.new(b.listen("q", max_wait_s=9))
    assert w("gone", "p") == "Discard(p)"
    assert w.ended["p"].kind is OutcomeKind.CANCELLED and w.snapshot.queue == ("q",)
    assert w("finish", "a") == "Respond(a) Discard(a) Run(q)"


# --- cooling ----------------------------------------------------------------------------------------


def fail(w: Walk, job_id: str, why: str = "broken") -> None:
    """A load of Parakeet that fails."""
    w.new(b.listen(job_id, PARAKEET))
    w("evicted", job_id)
    w("load fails", job_id, why)


def test_cooling_starts_with_the_second_failure_and_doubles(walk: Start) -> None:
    w = walk(None)
    w.now = 50.0
    fail(w, "f1")
    assert w.snapshot.cooling[PARAKEET] == Broken(1, 50.0), "one failure refuses nothing"
    pauses = []
    for attempt in range(2, 10):
        fail(w, f"f{attempt}")
        broken = w.snapshot.cooling[PARAKEET]
        assert broken.failures == attempt
        pauses.append(broken.until - w.now)
        w.new(b.listen(f"early{attempt}", PARAKEET))
        assert w.fault(f"early{attempt}").code is Code.LOAD_COOLING_DOWN
        w.now = broken.until
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]


def test_cooling_follows_the_settings(walk: Start) -> None:
    w = walk(None, limits=Limits(cooldown_first=1.0, cooldown_max=3.0))
    pauses = []
    for attempt in range(5):
        fail(w, f"f{attempt}")
        pauses.append(w.snapshot.cooling[PARAKEET].until - w.now)
        w.now += 10
    assert pauses == [0, 1, 2, 3, 3]


def test_cooling_never_for_overflow(walk: Start) -> None:
    w = walk(None)
    for attempt in range(4):
        fail(w, f"f{attempt}", "too large")
    assert not w.snapshot.cooling
    fail(w, "g")
    fail(w, "h", "too large")
    assert w.snapshot.cooling[PARAKEET].failures == 1


def test_cooling_is_reset_by_success(walk: Start) -> None:
    w = walk(None)
    fail(w, "f1")
    w.new(b.listen("a", PARAKEET))
    w("evicted", "a")
    w("loaded", "a")
    assert not w.snapshot.cooling
    w("lose", "a")
    assert not w.snapshot.cooling, "a run that fails is not a load that fails"
    fail(w, "f2")
    assert w.snapshot.cooling[PARAKEET].failures == 1


def test_one_models_success_says_nothing_about_another(walk: Start) -> None:
    w = walk(None)
    fail(w, "f1")
    w.new(b.listen("a", WHISPER))
    w("evicted", "a")
    w("loaded", "a")
    assert w.snapshot.cooling[PARAKEET].failures == 1
    assert w("finish", "a") == "Respond(a) Discard(a)"


def test_a_load_nobody_waits_for_counts_too(walk: Start) -> None:
    w = walk(None)
    for attempt in ("f1", "f2"):
        w.new(b.listen(attempt, PARAKEET))
        w("evicted", attempt)
        w("gone", attempt)
        assert w("load fails", attempt) == f"Discard({attempt})"
        assert w.ended[attempt].kind is OutcomeKind.CANCELLED and w.fault(attempt) is b.BROKEN
    assert w.snapshot.cooling[PARAKEET].failures == 2


@given(failures=st.integers(1, 10**6))
def test_a_model_that_fails_for_weeks_frees_its_slot_every_time(failures: int) -> None:
    """2**1025 seconds is no float: the report of the failed load must still be handled."""
    loading = evolve(b.listen("a", PARAKEET), step=Step.LOAD, slot="gpu0", granted=1.0)
    cooling = {PARAKEET: Broken(failures, 0.0)}
    before = evolve(b.with_job(b.service(None), loading), cooling=cooling)
    after = handle(before, ev.Failed("a", b.BROKEN, lost=True, at=7.0)).snapshot
    assert after.slots[0].holder is None
    assert after.cooling[PARAKEET].until == 7.0 + min(300.0, 10.0 * 2 ** min(failures - 1, 9))


@pytest.mark.parametrize("op", Op)
def test_a_refusal_says_what_runs_how_long_it_takes_and_how_to_queue(op: Op) -> None:
    known = {"op": op.value, "model": "m", "since_s": 6.2}
    assert "(m) has been running for 6 s. This " in refused(op, known).message
    message = refused(op, {**known, "eta_s": 40.4}).message
    assert "(m) has been running for 6 s (about 40 s left). This " in message
    assert "retry in 5 s, or send `Prefer: wait=30` to queue" in message
    assert refused(op, known).extra == {"holder": known}
