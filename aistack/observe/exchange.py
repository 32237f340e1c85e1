"""One finished capability request, as the access log, the figures and a capture's meta tell it.

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
from aistack.errors import Code, Fault
from aistack.jobs.model import SELECTED, Job
from aistack.wire.base import StreamWire

CLASSES = ("2xx", "4xx", "5xx", "503-busy", "client-disconnect")
ERRORS = frozenset({"4xx", "5xx"})
LEFT = 499
_LOOKED_AT = 16 * 1024
"""Bodies up to this size are looked at for a voice's name."""
_NAME_MAX = 128


def category_of(path: str) -> str | None:
    """`asr`, `llm` or `tts`; none for what is not capability traffic."""
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
    word: str
    model: str | None
    latency_ms: float
    slot_wait_ms: float
    client: str | None
    extra: Mapping[str, Any] | None


def class_of(status: int, lost: bool, fault: Fault | None) -> str:
    """One of CLASSES.

    A failure after the headers were out counts as what it was, though its status was 200. Who left
    and who found the card busy are no errors.
    """
    if lost or status == LEFT:
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
    """How long the job stood in line, up to the scheduler's time `at` if it stands there still."""
    if job is None or not job.submitted:
        return 0.0
    return round(max(0.0, (at if job.granted is None else job.granted) - job.submitted) * 1000, 1)


def extra_of(
    category: str, job: Job | None, latency_s: float, provider: str | None, fault: Fault | None
) -> dict[str, Any] | None:
    """What is particular to a capability; none for a request that never became a job."""
    if job is None:
        return {"code": fault.code.value} if fault is not None else None
    told = _ASKED[category](job)
    if category == "asr":
        told |= {"provider": provider} | _heard(job, latency_s)
    if fault is not None:
        told["code"] = fault.code.value
    return told


def _asr(job: Job) -> dict[str, Any]:
    asked, shape = job.request, job.context.format
    listen = asked if isinstance(asked, TranscriptionRequest) else None
    return {
        "request_audio_bytes": job.context.bytes_in,
        "language": listen.language if listen is not None else None,
        "stream": shape == "stream",
        "response_format": None if shape == "stream" else shape,
        "segment_granularity": listen.granularity if listen is not None else None,
    }


def _heard(job: Job, latency_s: float) -> dict[str, Any]:
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
    asked = job.request
    stream = asked.stream if isinstance(asked, RelayedChat) else isinstance(job.wire, StreamWire)
    count = asked.messages if isinstance(asked, RelayedChat) else job.context.messages
    return {"stream": stream, "message_count": count}


def _tts(job: Job) -> dict[str, Any]:
    asked = job.request
    path = asked.path if isinstance(asked, RelayRequest) else None
    return {
        "upstream_path": path,
        "request_bytes": job.context.bytes_in,
        "voice": _voice(asked),
    }


def _voice(asked: object) -> str | None:
    if isinstance(asked, SynthesisRequest):
        return asked.voice[:_NAME_MAX]
    body = asked.body if isinstance(asked, RelayRequest) else None
    if not isinstance(body, bytes) or len(body) > _LOOKED_AT:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    voice = value.get("voice") if isinstance(value, dict) else None
    return voice[:_NAME_MAX] if isinstance(voice, str) else None


_ASKED = {"asr": _asr, "llm": _llm, "tts": _tts}
