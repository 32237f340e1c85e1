"""The memory of the last jobs: phases in order, refused calls apart, and never more than it may hold."""

from __future__ import annotations

from typing import Any

from aistack.chunks import Transcript, Vram
from aistack.errors import busy
from aistack.jobs.changes import evolve
from aistack.jobs.model import Job, Outcome, Route, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase, State, Step
from aistack.observe.history import CAPABILITY, History

EPOCH = 1_000_000.0


def history(**limits: int) -> History:
    return History(lambda moment: moment + EPOCH, **limits)


def a_job(name: str = "j", op: Op = Op.TRANSCRIBE, **more: Any) -> Job:
    route = Route("whisper", "small", Vram.OWN)
    return Job(id=name, request_id="r-" + name, op=op, route=route, request=None, wire=None, **more)


def moved(job: Job, target: Phase, at: float, **changes: Any) -> Transition:
    return Transition(evolve(job, **changes), None, "Any", target, at)


def ended(job: Job, at: float, how: OutcomeKind = OutcomeKind.OK, **changes: Any) -> Transition:
    outcome = Outcome(how, changes.pop("fault", None))
    return moved(job, Phase.DONE, at, state=State.DONE, outcome=outcome, **changes)


def walked(past: History, name: str = "j", begin: float = 0.0) -> None:
    """One job through every phase."""
    job = a_job(name, submitted=begin)
    past.observe(moved(job, Phase.WAITING, begin))
    past.observe(moved(job, Phase.PREPARING, begin + 1, slot="cpu", step=Step.EVICT))
    past.observe(moved(job, Phase.PREPARING, begin + 2, slot="cpu", step=Step.LOAD))
    past.observe(moved(job, Phase.RUNNING, begin + 4, slot="cpu", step=Step.RUN))
    past.observe(moved(job, Phase.STREAMING, begin + 5, slot="cpu", step=Step.RUN))
    past.observe(ended(job, begin + 9, slot="cpu", result=Transcript("en", 60.0)))


def test_the_phases_follow_each_other_without_a_gap() -> None:
    past = history()
    walked(past)
    (record,) = past.timeline().jobs
    assert [(each.phase, each.step, each.start - EPOCH, each.end) for each in record.phases] == [
        ("waiting", None, 0, EPOCH + 1),
        ("preparing", "evict", 1, EPOCH + 2),
        ("preparing", "load", 2, EPOCH + 4),
        ("running", None, 4, EPOCH + 5),
        ("streaming", None, 5, EPOCH + 9),
    ]
    assert (record.submitted, record.ended) == (EPOCH, EPOCH + 9)
    assert (record.outcome, record.code, record.audio_s, record.device) == ("ok", None, 60, "cpu")
    assert past.freed("cpu") == EPOCH + 9
    assert past.freed("cuda:0") is None


def test_a_job_under_way_is_shown_with_an_open_end() -> None:
    past = history()
    past.observe(moved(a_job(submitted=3.0), Phase.RUNNING, 3.0, slot="cpu", step=Step.RUN))
    (record,) = past.timeline().jobs
    assert (record.ended, record.outcome, record.phases[0].end) == (None, None, None)


def test_progress_makes_no_phase() -> None:
    past = history()
    job = a_job()
    for at in (1.0, 2.0, 3.0):
        past.observe(moved(job, Phase.RUNNING, at, slot="cpu", step=Step.RUN))
    assert len(past.timeline().jobs[0].phases) == 1


def test_callers_who_knock_do_not_push_jobs_out() -> None:
    past = history(jobs=3, refused=5)
    walked(past)
    for number in range(50):
        refused = ended(a_job(f"x{number}"), 20.0 + number, OutcomeKind.REJECTED, fault=busy("Busy."))
        past.observe(refused)
    told = past.timeline()
    assert [job.job_id for job in told.jobs] == ["j"]
    assert [call.request_id for call in told.refused] == [f"r-x{number}" for number in range(45, 50)]
    assert {call.code for call in told.refused} == {"slot_busy"}


def test_who_waited_in_vain_is_a_job_with_a_phase() -> None:
    past = history()
    job = a_job()
    past.observe(moved(job, Phase.WAITING, 0.0))
    past.observe(ended(job, 30.0, OutcomeKind.REJECTED, fault=busy("Busy.")))
    (record,) = past.timeline().jobs
    assert (record.outcome, record.code) == ("rejected", "slot_busy")
    assert [each.phase for each in record.phases] == ["waiting"]
    assert past.timeline().refused == ()


def test_it_holds_no_more_than_it_may() -> None:
    past = history(jobs=3)
    for number in range(10):
        walked(past, f"j{number}", 10.0 * number)
    assert [job.job_id for job in past.timeline().jobs] == ["j7", "j8", "j9"]
    assert [job.job_id for job in past.timeline(1).jobs] == ["j9"]
    assert past._open == {}


def test_minutes_are_counted_whatever_is_forgotten() -> None:
    past = History(lambda moment: moment, jobs=1, refused=1)
    for number in range(7):
        past.observe(ended(a_job(f"a{number}"), 61.0))
    past.observe(ended(a_job("c", Op.CHAT), 119.9, OutcomeKind.REJECTED))
    past.observe(ended(a_job("l", Op.LOAD), 119.9))
    past.observe(ended(a_job("s", Op.SPEAK), 180.0))
    told = past.timeline().minutes
    assert [(each.at, each.asr, each.tts, each.llm) for each in told] == [(60, 7, 0, 1), (180, 0, 1, 0)]
    for minute in range(100):
        past.observe(ended(a_job(), 240.0 + 60 * minute))
    assert len(past.timeline().minutes) == 60


def test_every_kind_of_job_has_a_row() -> None:
    assert set(CAPABILITY) == set(Op)
