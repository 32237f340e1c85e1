"""The figures of a job's canonical line, computed from its stamps alone."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from aistack import errors
from aistack.chunks import Transcript, TranscriptionRequest, Vram
from aistack.errors import Code, Fault
from aistack.jobs import Job, Op, Outcome, OutcomeKind, Phase, Route, Snapshot, State, Transition
from aistack.jobs.model import JobContext
from aistack.observe.job_line import IDS, done_fields, ids_in, job_ids, transition_fields
from aistack.web.internal import trace

WHISPER = Route("whisper", "whisper-tiny", Vram.OWN)
LEFT = Fault(Code.CANCELLED, "The client left.")


def done(outcome: Outcome | None, at: float = 20.0, **stamps: Any) -> Transition:
    """The last transition of a transcription submitted at 10."""
    stamps = {"op": Op.TRANSCRIBE, "submitted": 10.0, **stamps}
    op = stamps.pop("op")
    job = Job(
        id="j1",
        request_id="r1",
        op=op,
        route=WHISPER,
        request=TranscriptionRequest("/spool/secret-name.wav", prompt="user words"),
        wire=None,
        state=State.DONE,
        outcome=outcome,
        **stamps,
    )
    return Transition(job, Phase.RUNNING, "Finished", Phase.DONE, at)


def test_a_transcription_that_went_well() -> None:
    fields = done_fields(
        done(
            Outcome(OutcomeKind.OK),
            granted=11.0,
            ran=13.5,
            first=14.0,
            result=Transcript("de", 26.0, "user words", 3),
            context=JobContext(client="127.0.0.1", trace_id="t1"),
        )
    )
    assert fields == {
        "job_id": "j1",
        "request_id": "r1",
        "trace_id": "t1",
        "op": "transcribe",
        "backend": "whisper",
        "model": "whisper-tiny",
        "outcome": "ok",
        "status": 200,
        "waited_s": 1.0,
        "prepare_s": 2.5,
        "first_byte_s": 4.0,
        "run_s": 6.5,
        "slot_s": 9.0,
        "total_s": 10.0,
        "audio_s": 26.0,
        "rtf": 0.25,
        "segments": 3,
        "language": "de",
        "client": "127.0.0.1",
    }


def test_a_rejection_waited_and_held_nothing() -> None:
    fields = done_fields(done(Outcome(OutcomeKind.REJECTED, errors.busy("A chat is running.")), at=10.5))
    assert fields["waited_s"] == fields["total_s"] == 0.5
    assert (fields["status"], fields["kind"], fields["code"]) == (503, "network", "slot_busy")
    assert not fields.keys() & {"slot_s", "prepare_s", "run_s", "first_byte_s", "in_band", "rtf"}


def test_a_failed_load_has_prepared_but_not_run() -> None:
    fields = done_fields(done(Outcome(OutcomeKind.FAILED, errors.internal()), granted=10.0))
    assert fields["prepare_s"] == fields["slot_s"] == 10.0
    assert "run_s" not in fields


def test_a17_who_left_is_499() -> None:
    fault = errors.internal()
    for outcome in (Outcome(OutcomeKind.CANCELLED), Outcome(OutcomeKind.CANCELLED, fault)):
        fields = done_fields(done(outcome, granted=10.0, ran=10.0))
        assert (fields["status"], fields["outcome"], fields["kind"]) == (499, "cancelled", "cancelled")


def test_a_failure_after_the_first_byte_says_so() -> None:
    fields = done_fields(done(Outcome(OutcomeKind.FAILED, errors.internal()), opened=True, first=11.0))
    assert (fields["status"], fields["in_band"]) == (500, True)


@pytest.mark.parametrize(
    ("op", "status"), [(Op.SWAP, 202), (Op.LOAD, None), (Op.UNLOAD, None), (Op.CHAT, 200)]
)
def test_status_of_other_jobs(op: Op, status: int | None) -> None:
    assert done_fields(done(Outcome(OutcomeKind.OK), op=op)).get("status") == status


def test_empty_audio_has_no_real_time_factor() -> None:
    fields = done_fields(
        done(Outcome(OutcomeKind.OK), granted=10.0, ran=10.0, result=Transcript("und", 0.0))
    )
    assert fields["audio_s"] == 0.0
    assert "rtf" not in fields


def test_no_user_text_gets_into_a_line() -> None:
    transition = done(Outcome(OutcomeKind.OK), result=Transcript("en", 1.0, "user words"))
    assert "user words" not in str(done_fields(transition))
    assert "secret-name" not in str(done_fields(transition))


def test_a_transition_line() -> None:
    transition = done(Outcome(OutcomeKind.OK))
    assert transition_fields(transition) == {
        "job_id": "j1",
        "request_id": "r1",
        "from": "running",
        "to": "done",
        "_event": "Finished",
    }
    assert job_ids(transition.job) == {"job_id": "j1", "request_id": "r1"}


def test_the_ids_of_a_job_that_is_not_in_the_book_any_more() -> None:
    job = done(None, context=JobContext(trace_id="t")).job
    assert ids_in(Snapshot((), jobs={"j1": job}), "j1") == {
        "job_id": "j1",
        "request_id": "r1",
        "trace_id": "t",
    }
    assert ids_in(Snapshot(()), "j1") == {"job_id": "j1"}


def test_what_the_internal_api_gives_a_job_is_on_its_lines() -> None:
    """The names stand in two places: where ids are read from headers, and here."""
    headers = {trace.TRACE: "t", trace.SESSION: "s", trace.USER: "u"}
    request = make_mocked_request("POST", "/generate", headers=headers)
    found = trace.job_ids(request)
    assert set(found) == set(IDS)
    assert job_ids(done(None, context=JobContext(**found)).job).items() >= found.items()


def test_the_internal_apis_lines_carry_its_callers_standard() -> None:
    ids = {"trace_id": "t", "session_trace_id": "s", "user_id": "u"}
    context = JobContext(trace_id="t", session_trace_id="s", user_id="u")
    well = done_fields(
        done(Outcome(OutcomeKind.OK), op=Op.GENERATE, ran=12.0, at=12.3456, context=context)
    )
    assert well["inference_time_ms"] == 345.6
    assert well.items() >= ids.items()
    assert "error" not in well
    badly = done_fields(
        done(Outcome(OutcomeKind.FAILED, errors.internal()), op=Op.GENERATE, granted=11.0)
    )
    assert "inference_time_ms" not in badly
    assert badly["error"] == errors.internal().message
    other = done_fields(done(Outcome(OutcomeKind.FAILED, errors.internal()), ran=11.0))
    assert not other.keys() & {"inference_time_ms", "error"}
