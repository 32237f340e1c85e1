"""Examples of the reference, made by the code that makes the real answers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aistack import errors
from aistack.chunks import Generated, Notice, Segment, Token, Transcript, Word
from aistack.contract import internal as inner
from aistack.contract import public as c
from aistack.contract import relayed
from aistack.contract.converters import to_plain
from aistack.errors import Code, ErrorKind, Fault, envelope
from aistack.wire.subtitles import srt, vtt
from aistack.wire.tokens import ChatAnswer, StreamedChat, TokenEvents, WholeChat
from aistack.wire.transcript import PLAIN, VTT, StreamedTranscript, WholeTranscript

Example = Mapping[str, Any]
Examples = Mapping[str, Example]

# --- refusals ----------------------------------------------------------------------------------------

_KINDS = {400: "MALFORMED", 401: "MALFORMED", 403: "MALFORMED", 404: "MALFORMED", 405: "MALFORMED"}
_KINDS |= {413: "OVERFLOW", 500: "UNKNOWN", 503: "NETWORK"}

_SAID: Mapping[Code, tuple[str, str, str | None]] = {
    Code.LOAD_COOLING_DOWN: (
        "whisper-small failed to load 2 times in a row; the next try is allowed in 10 seconds.",
        errors.GATEWAY,
        None,
    ),
    Code.MODEL_NOT_FOUND: (
        "There is no model whisper-huge. GET /v1/models lists them.",
        "aistack",
        "model",
    ),
    Code.NOT_FOUND: ("There is nothing at /v1/audio/.", errors.GATEWAY, None),
    Code.UNSUPPORTED_AUDIO: ("The file could not be read as audio.", "Faster-Whisper", "file"),
    Code.MISSING_FIELD: ("The field 'model_tag' is missing.", errors.GATEWAY, "model_tag"),
    Code.INVALID_FIELD: ("The field 'temperature' must be from 0 to 1.", errors.GATEWAY, "temperature"),
    Code.INVALID_BODY: ("The body is not valid JSON.", errors.GATEWAY, None),
    Code.TOO_LARGE: ("The file is larger than the limit of 1073741824 bytes.", errors.GATEWAY, "file"),
    Code.CONTEXT_OVERFLOW: (
        "The prompt has 1900 tokens; with max_tokens 512 that is more than 2048.",
        "nanochat",
        None,
    ),
    Code.BACKEND_MISSING: (
        'Parakeet is not installed. Install it with: pip install "aistack[parakeet]"',
        "Parakeet",
        None,
    ),
    Code.BACKEND_UNREACHABLE: ("Ollama does not answer. Is it running?", "ollama", None),
    Code.MODEL_LOAD_FAILED: ("The weights could not be fetched.", "Faster-Whisper", None),
    Code.ENGINE_CRASHED: ("The Parakeet process had ended. Send the request again.", "Parakeet", None),
    Code.ENGINE_STALLED: (
        "Parakeet showed no sign of life for 120 seconds and was stopped.",
        "Parakeet",
        None,
    ),
    Code.UPSTREAM_BUSY: ("Ollama is busy. Try again in a few seconds.", "ollama", None),
    Code.UPSTREAM_TIMEOUT: ("Ollama did not answer in time.", "ollama", None),
    Code.UPSTREAM_REJECTED: ("'voice' is not known.", "Qwen3-TTS", None),
    Code.UPSTREAM_ERROR: ("Ollama gave no answer that makes sense.", "ollama", None),
    Code.UNAUTHORIZED: (
        "This server asks for a key: send it as Authorization: Bearer <key>.",
        errors.GATEWAY,
        None,
    ),
    Code.FORBIDDEN_ORIGIN: ("Pages of this origin may not call this server.", errors.GATEWAY, None),
    Code.NOT_CONFIGURED: (
        "The internal API has no key: set inference.api_key to open it.",
        errors.GATEWAY,
        None,
    ),
}
_WHOLE: Mapping[Code, Fault] = {
    Code.SLOT_BUSY: errors.busy(
        "The GPU is busy with a transcription.",
        op="transcribe",
        model="whisper-small",
        since_s=12.3,
        progress=0.4,
    ),
    Code.DRAINING: errors.draining("Weights are being changed. Try again in a few seconds."),
    Code.SHUTTING_DOWN: errors.shutting_down(),
    Code.OUT_OF_MEMORY: errors.out_of_memory("Faster-Whisper", "finish this request"),
    Code.INTERNAL_ERROR: errors.internal(),
}
_TWICE = {Code.MODEL_NOT_FOUND: 404, Code.ENGINE_CRASHED: 500}
"""Codes that come with two statuses, and the rarer of the two."""


def name_of(status: int, code: Code) -> str:
    """The name of an example."""
    return f"{code.value}_{status}" if _TWICE.get(code) == status else code.value


def example_fault(status: int, code: Code) -> Fault:
    """A fault as it could be."""
    if code in _WHOLE:
        return _WHOLE[code]
    message, provider, param = _SAID[code]
    if (status, code) == (500, Code.ENGINE_CRASHED):
        message = "The Parakeet process crashed while it worked on this request."
    return Fault(ErrorKind[_KINDS[status]], code, message, provider, param, status_override=status)


def _error(status: int, code: Code) -> Example:
    return {"value": json.loads(envelope(example_fault(status, code)))}


_STATUSES: Mapping[Code, int] = {
    Code.MODEL_NOT_FOUND: 400,
    Code.NOT_FOUND: 404,
    Code.TOO_LARGE: 413,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN_ORIGIN: 403,
    Code.UNSUPPORTED_AUDIO: 400,
    Code.MISSING_FIELD: 400,
    Code.INVALID_FIELD: 400,
    Code.INVALID_BODY: 400,
    Code.CONTEXT_OVERFLOW: 400,
    Code.UPSTREAM_REJECTED: 400,
    Code.UPSTREAM_ERROR: 500,
    Code.ENGINE_STALLED: 500,
}
ERRORS: dict[str, Example] = {
    name_of(status, code): _error(status, code)
    for code in (*_SAID, *_WHOLE)
    for status in (_STATUSES.get(code, 503), *((_TWICE[code],) if code in _TWICE else ()))
}

# --- transcripts -------------------------------------------------------------------------------------

_HEARD = (
    Segment(
        0.31,
        1.62,
        "One two three.",
        (Word(0.31, 0.7, "One"), Word(0.7, 1.1, "two"), Word(1.1, 1.62, "three.")),
    ),
    Segment(2.05, 2.9, "Four five.", (Word(2.05, 2.4, "Four"), Word(2.4, 2.9, "five.")), lead=" "),
)
_ONE = Segment(
    0.31,
    2.9,
    "One two three. Four five.",
    tuple(word for segment in _HEARD for word in segment.words or ()),
)
_TRANSCRIPT = Transcript("en", 3.2, "One two three. Four five.", len(_HEARD))
_MODEL = "whisper-small"


def _whole(form: Any) -> Any:
    return WholeTranscript(form, _MODEL).body(_HEARD, _TRANSCRIPT).body.decode()


def _stream(*chunks: Any) -> str:
    wire = StreamedTranscript(_MODEL)
    frames = [wire.frame(chunk) for chunk in chunks]
    return b"".join([*filter(None, frames), wire.tail(_TRANSCRIPT) or b""]).decode()


def _failed() -> str:
    wire = StreamedTranscript(_MODEL)
    frame, _ = wire.fault(example_fault(500, Code.ENGINE_CRASHED))
    return ((wire.frame(_HEARD[0]) or b"") + (frame or b"")).decode()


_WARNING = Notice(
    "streaming_not_supported",
    "nvidia/parakeet-tdt-0.6b-v3",
    "This model cannot stream; the whole transcript comes as one delta.",
)

# --- generation --------------------------------------------------------------------------------------

_TOKENS = (Token("Hel"), Token("lo 👋"))
_GENERATED = Generated(2, "stop", prompt_tokens=9)


def _generated() -> str:
    wire = TokenEvents()
    return b"".join(
        [*(wire.frame(each) or b"" for each in _TOKENS), wire.tail(_GENERATED) or b""]
    ).decode()


def _chat(stream: bool) -> Any:
    answer = ChatAnswer("chatcmpl-407", 1787299872, "qwen3:4b")
    if not stream:
        return json.loads(WholeChat(answer).body(_TOKENS, _GENERATED).body)
    wire = StreamedChat(answer)
    return b"".join(
        [*(wire.frame(each) or b"" for each in _TOKENS), wire.tail(_GENERATED) or b""]
    ).decode()


# --- by type -----------------------------------------------------------------------------------------

ASKED: Mapping[Any, Examples] = {
    relayed.ChatRequest: {
        "chat": {"value": {"model": "qwen3:4b", "messages": [{"role": "user", "content": "Hello"}]}}
    },
    relayed.SpeechRequest: {
        "speech": {
            "value": {"model": "tts-1", "input": "Hello.", "voice": "alloy", "response_format": "wav"}
        }
    },
    inner.GenerateRequest: {
        "generate": {
            "value": {
                "messages": [{"role": "user", "content": "Hello"}],
                "temperature": 0,
                "max_tokens": 16,
            }
        }
    },
    inner.SwapRequest: {"swap": {"value": {"model_tag": "d20"}}},
}
"""Of bodies, by the type they are read as."""

ANSWERED: Mapping[Any, Examples] = {
    c.HealthResponse: {
        "health": {"value": to_plain(c.HealthResponse(version="0.1.0", ready=True, current_model="d20"))}
    },
    c.ModelsList: {
        "models": {
            "value": to_plain(
                c.ModelsList(
                    data=(
                        c.ModelEntry(
                            id="auto",
                            created=1746403200,
                            owned_by="aistack",
                            capabilities=("asr",),
                            supports_streaming=True,
                            is_routing_alias=True,
                        ),
                        c.ModelEntry(
                            id=_MODEL,
                            created=1663718400,
                            owned_by="openai",
                            capabilities=("asr",),
                            supports_streaming=True,
                            languages=("en", "de", "zh"),
                            loaded=True,
                            word_timestamps=True,
                            translate=True,
                        ),
                    )
                )
            )
        }
    },
    c.TranscriptionJson: {"json": {"value": json.loads(_whole("json"))}},
    c.TranscriptionVerbose: {"verbose_json": {"value": json.loads(_whole("verbose_json"))}},
    PLAIN: {
        "text": {"value": _whole("text")},
        "srt": {"value": srt(_HEARD)},
    },
    VTT: {"vtt": {"value": vtt(_HEARD)}},
    relayed.ChatAnswer: {"chat": {"value": _chat(stream=False)}},
    relayed.VoicesList: {"voices": {"value": {"voices": ["aiden", "vivian"], "uploaded_voices": []}}},
    inner.ModelRegistry: {
        "registry": {
            "value": to_plain(
                inner.ModelRegistry(
                    current_model="d20",
                    models=(
                        inner.ModelInfo(
                            model_tag="d20", source="nanochat", path="/weights/d20", loaded=True
                        ),
                    ),
                )
            )
        }
    },
    c.SwapAccepted: {
        "swap": {"value": to_plain(c.SwapAccepted(status="accepted", current_model="d20"))}
    },
}
"""Of whole answers, by their type or media type."""

STREAMED: Mapping[str, Examples] = {
    "TranscriptionEvent": {
        "stream": {"value": _stream(*_HEARD)},
        "downgraded": {"summary": "A model that cannot stream", "value": _stream(_WARNING, _ONE)},
        "failed": {"summary": "A failure after the first event", "value": _failed()},
    },
    "ChatEvent": {"stream": {"value": _chat(stream=True)}},
    "GenerationEvent": {"stream": {"value": _generated()}},
}
"""Of streams, by the name of their events."""
