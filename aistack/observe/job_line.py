"""Transitions -> the figures of the canonical line, one per job. Pure.

All times are seconds, computed from the stamps the machine put on the job. What is not known is left
out. Nothing here can hold user text or a key: what a job's context may hold is said by its type.
"""

from __future__ import annotations

from typing import Any

from aistack.chunks import Generated, Transcript
from aistack.errors import Code, ErrorKind
from aistack.jobs.model import Job, Snapshot, Transition
from aistack.jobs.states import HOUSEKEEPING, Op, OutcomeKind

INFERENCE = (Op.GENERATE, Op.SWAP)
"""Jobs of the internal API, whose lines also carry what its callers' logging standard requires."""


IDS = ("trace_id", "session_trace_id", "user_id")
"""Fields of a job's context that go onto every line about it, beside the job's own ids."""


def job_ids(job: Job) -> dict[str, str]:
    """The ids every line about a job carries."""
    ids: dict[str, str | None] = {
        "job_id": job.id,
        "request_id": job.request_id,
        **{name: getattr(job.context, name) for name in IDS},
    }
    return {name: value for name, value in ids.items() if value is not None}


def ids_in(snapshot: Snapshot, job_id: str) -> dict[str, str]:
    """The ids every line about a job carries; only the job's own once it is not in the book."""
    job = snapshot.jobs.get(job_id)
    return job_ids(job) if job is not None else {"job_id": job_id}


def transition_fields(transition: Transition) -> dict[str, Any]:
    """The fields of a `job.transition` line; `_event` is what happened."""
    source = transition.source
    return {
        **job_ids(transition.job),
        "from": source.value if source is not None else None,
        "to": transition.target.value,
        "_event": transition.event,
    }


def done_fields(transition: Transition) -> dict[str, Any]:
    """The fields of a `job.done` line.

    `transition` is the job's last one (its target is DONE). `status` is the one the outcome stands
    for: 499 for a client that left; with `in_band`, the client had already seen a 200 when the fault
    came. `first_byte_s` and `total_s` count from the submission, `run_s` from the engine's start;
    `slot_s` is how long the slot was held. `rtf` is `run_s` divided by the audio's length.
    """
    job, at = transition.job, transition.at
    outcome = job.outcome
    fault = outcome.fault if outcome is not None else None
    left = outcome is not None and outcome.kind is OutcomeKind.CANCELLED
    kind = ErrorKind.CANCELLED if left else fault.kind if fault is not None else None
    fields: dict[str, Any] = {
        **job_ids(job),
        "op": job.op.value,
        "backend": job.route.backend,
        "model": job.route.model,
        "outcome": outcome.kind.value if outcome is not None else None,
        "kind": kind.word if kind is not None else None,
        "code": fault.code.value if fault is not None else Code.CANCELLED.value if left else None,
        "status": status_of(job),
        "in_band": True if fault is not None and job.opened else None,
        "waited_s": (at if job.granted is None else job.granted) - job.submitted,
        "prepare_s": _between(job.granted, at if job.ran is None else job.ran),
        "first_byte_s": _between(job.submitted, job.first),
        "run_s": _between(job.ran, at),
        "slot_s": _between(job.granted, at),
        "total_s": at - job.submitted,
        **_work(job, at),
        **(_standard(job, at) if job.op in INFERENCE else {}),
        "client": job.context.client,
        "format": job.context.format,
        "bytes_in": job.context.bytes_in,
    }
    return {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in fields.items()
        if value is not None
    }


def status_of(job: Job) -> int | None:
    """The HTTP status the job's end stands for; None for housekeeping, which answers nobody."""
    outcome = job.outcome
    if job.op in HOUSEKEEPING or outcome is None:
        return None
    if outcome.kind is OutcomeKind.CANCELLED:
        return ErrorKind.CANCELLED.status
    if outcome.fault is not None:
        return outcome.fault.status
    return 202 if job.op is Op.SWAP else 200


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _standard(job: Job, at: float) -> dict[str, Any]:
    """`inference_time_ms` around the model's work, and `error`, a sentence without user text."""
    fault = job.outcome.fault if job.outcome is not None else None
    run_s = _between(job.ran, at)
    return {
        "inference_time_ms": None if run_s is None else round(run_s * 1000, 1),
        "error": None if fault is None else fault.message,
    }


def _work(job: Job, at: float) -> dict[str, Any]:
    """How much was done, in the unit of the result."""
    match job.result:
        case Transcript(duration=audio_s, segments=segments, language=language):
            run_s = _between(job.ran, at)
            rtf = run_s / audio_s if run_s is not None and audio_s > 0 else None
            return {"audio_s": audio_s, "rtf": rtf, "segments": segments, "language": language}
        case Generated(tokens=tokens):
            return {"tokens": tokens}
        case _:
            return {}
