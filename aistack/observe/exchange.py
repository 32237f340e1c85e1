"""One finished capability request, for the access log, the figures and a capture's meta.

Pure: what a request was, and what its job came to, in; plain fields out. Field names and classes
are those that tools of earlier gateways with this contract read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from aistack.chunks import SynthesisRequest, Transcript, TranscriptionRequest
from aistack.contract.relay_request import RelayedChat, RelayRequest
from aistack.errors import Code, ErrorKind, Fault
from aistack.jobs.model import SELECTED, Job
from aistack.wire.base import StreamWire

CLASSES = ("2xx", "4xx", "5xx", "503-busy", "client-disconnect")
ERRORS = frozenset({"4xx", "5xx"})
_PARSED_MAX = 16 * 1024
"""Bodies up to this size are parsed for a voice's name."""
_NAME_MAX = 128


def category_of(path: str) -> str | None:
    """`asr`, `llm` or `tts`; None for other traffic."""
    if not path.startswith("/v1/"):
        return None
    if path.startswith(("/v1/audio/transcriptions", "/v1/audio/translations")):
        return "asr"
    if path.startswith("/v1/chat/"):
        return "llm"
    return "tts" if path.startswith("/v1/audio/") else None


@frozen
class Exchange:
    """A request and its answer. `at` is Unix seconds at its end; times are milliseconds."""

    at: float
    request_id: str
    method: str
    path: str
    query: str | None
    status: int
    category: str
    status_class: str
    model: str | None
    latency_ms: float
    slot_wait_ms: float
    client: str | None
    extra: Mapping[str, Any] | None


def class_of(status: int, lost: bool, fault: Fault | None) -> str:
    """One of CLASSES.

    A failure after the headers were out counts as what it was, though its status was 200. A client
    that left and a busy card are not errors.
    """
    if lost or status == ErrorKind.CANCELLED.status:
        return "client-disconnect"
    if fault is not None and fault.code is Code.SLOT_BUSY:
        return "503-busy"
    if fault is not None and status < 400:
        status = fault.status
    return "2xx" if status < 400 else "4xx" if status < 500 else "5xx"


def model_of(job: Job | None) -> str | None:
    """The model that was chosen, not the one that was asked for."""
    if job is None or job.route.model == SELECTED:
        return None
    return job.route.model[:_NAME_MAX]


def wait_ms(job: Job | None, at: float) -> float:
    """How long the job was queued, up to the scheduler's time `at` if it still is."""
    if job is None or not job.submitted:
        return 0.0
    return round(max(0.0, (at if job.granted is None else job.granted) - job.submitted) * 1000, 1)


def extra_of(
    category: str, job: Job | None, latency_s: float, provider: str | None, fault: Fault | None
) -> dict[str, Any] | None:
    """What is particular to a capability; of a request that never became a job, its code at most."""
    if job is None:
        return {"code": fault.code.value} if fault is not None else None
    extra = _EXTRA[category](job)
    if category == "asr":
        extra |= {"provider": provider} | _transcript(job, latency_s)
    if fault is not None:
        extra["code"] = fault.code.value
    return extra


def _asr(job: Job) -> dict[str, Any]:
    request, shape = job.request, job.context.format
    transcription = request if isinstance(request, TranscriptionRequest) else None
    return {
        "request_audio_bytes": job.context.bytes_in,
        "language": transcription.language if transcription is not None else None,
        "stream": shape == "stream",
        "response_format": None if shape == "stream" else shape,
        "segment_granularity": transcription.granularity if transcription is not None else None,
    }


def _transcript(job: Job, latency_s: float) -> dict[str, Any]:
    """`rtf` is the whole time, upload included, by the length of the audio."""
    result = job.result
    if not isinstance(result, Transcript):
        return {"audio_sec": None, "detected_language": None, "rtf": None}
    rtf = round(latency_s / result.duration, 4) if result.duration > 0 else None
    return {
        "audio_sec": round(result.duration, 3),
        "detected_language": result.language,
        "rtf": rtf,
    }


def _llm(job: Job) -> dict[str, Any]:
    request = job.request
    stream = request.stream if isinstance(request, RelayedChat) else isinstance(job.wire, StreamWire)
    count = request.messages if isinstance(request, RelayedChat) else job.context.messages
    return {"stream": stream, "message_count": count}


def _tts(job: Job) -> dict[str, Any]:
    request = job.request
    path = request.path if isinstance(request, RelayRequest) else None
    return {
        "upstream_path": path,
        "request_bytes": job.context.bytes_in,
        "voice": _voice(request),
    }


def _voice(request: object) -> str | None:
    if isinstance(request, SynthesisRequest):
        return request.voice[:_NAME_MAX]
    body = request.body if isinstance(request, RelayRequest) else None
    if not isinstance(body, bytes) or len(body) > _PARSED_MAX:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    voice = value.get("voice") if isinstance(value, dict) else None
    return voice[:_NAME_MAX] if isinstance(voice, str) else None


_EXTRA = {"asr": _asr, "llm": _llm, "tts": _tts}
