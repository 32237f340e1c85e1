"""Examples of the reference, made by the code that makes the real answers. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from aistack import errors
from aistack.chunks import Generated, Notice, Segment, Token, Transcript, Word
from aistack.contract import internal as inner
from aistack.contract import public as c
from aistack.contract import relayed
from aistack.contract.converters import to_plain
from aistack.errors import BackendFault, Code, Fault, error_object
from aistack.jobs import busy
from aistack.jobs.states import Op
from aistack.relays.ollama import OllamaSettings
from aistack.relays.qwen_tts import QwenTtsSettings
from aistack.relays.upstream import Sessions, Upstream
from aistack.web import faults, guard
from aistack.web.internal.body import Defaults, generate_request, swap_tag
from aistack.web.openapi.objects import Example, Json
from aistack.wire.subtitles import srt, vtt
from aistack.wire.tokens import ChatHead, StreamedChat, TokenEvents, WholeChat
from aistack.wire.transcript import PLAIN, VTT, StreamedTranscript, WholeTranscript

Examples = Mapping[str, Example]

# --- refusals ----------------------------------------------------------------------------------------

_MODEL = "whisper-small"
_PARAKEET = "Parakeet"
_HOLDER: Mapping[str, str | float] = {
    "op": "transcribe",
    "model": _MODEL,
    "since_s": 12.3,
    "progress": 0.4,
    "eta_s": 17.2,
}
_OLLAMA = Upstream(OllamaSettings().upstream, Sessions())
_SPEECH = Upstream(QwenTtsSettings().upstream, Sessions())

_TOO_WARM = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 3}


def _raised(call: Callable[[], object]) -> Fault:
    try:
        call()
    except BackendFault as refusal:
        return refusal.fault
    raise AssertionError("the example of a refusal is not refused")


_FAULTS: tuple[Fault, ...] = (
    busy.refused(Op.TRANSCRIBE, _HOLDER),
    errors.draining(),
    errors.shutting_down(),
    errors.cooling_down(_MODEL, 2, 10),
    errors.unknown_model("whisper-huge", "Accepted are auto and the ids of GET /v1/models."),
    errors.not_listed("whisper-huge"),
    errors.unknown_path("/v1/embeddings"),
    faults.wrong_method("GET", "/v1/audio/transcriptions"),
    errors.unreadable_audio("Faster-Whisper"),
    _raised(lambda: swap_tag({})),
    _raised(lambda: generate_request(_TOO_WARM, Defaults())),
    errors.body_not_json(),
    faults.beyond_limit("file", 1024**3, "file"),
    errors.context_overflow("nanochat", 1900, 512, 2048),
    errors.out_of_memory("Faster-Whisper", "finish this request"),
    errors.not_installed(_PARAKEET, "pip install 'nemo_toolkit[asr]'"),
    _OLLAMA.fault_of(ConnectionRefusedError(), begun=False),
    errors.load_failed(_PARAKEET, "parakeet", "the engine process exited while loading"),
    errors.found_dead(_PARAKEET),
    errors.crashed(_PARAKEET),
    errors.stalled(_PARAKEET, 120),
    _OLLAMA.error_fault(503, b""),
    _OLLAMA.fault_of(TimeoutError(), begun=False),
    _SPEECH.error_fault(400, b'{"error": {"message": "Invalid speaker: nobody", "param": "voice"}}'),
    _OLLAMA.error_fault(500, b""),
    guard.unauthorized(),
    guard.foreign_origin(),
    guard.no_internal_key(),
    faults.gone(),
    errors.internal(),
)
_BY_CODE = {(fault.status, fault.code): fault for fault in _FAULTS}


def example_fault(status: int, code: Code) -> Fault:
    """A fault as it could be."""
    return _BY_CODE[status, code]


def name_of(status: int, code: Code) -> str:
    """The name of an example."""
    return code.value if status == code.status else f"{code.value}_{status}"


_UNSEEN = (Code.METHOD_NOT_ALLOWED, Code.CANCELLED)
"""Codes of no operation: a method that is not one, and a client that has gone."""

ERRORS: Examples = {
    name_of(fault.status, fault.code): {
        "summary": fault.code.meaning,
        "value": {"error": error_object(fault)},
    }
    for fault in _FAULTS
    if fault.code not in _UNSEEN
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


def _whole(form: c.ResponseFormat) -> str:
    return WholeTranscript(form, _MODEL).body(_HEARD, _TRANSCRIPT).body.decode()


def _stream(*chunks: Segment | Notice) -> str:
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


def _chat(stream: bool) -> Json:
    answer = ChatHead("chatcmpl-407", 1787299872, "qwen3:4b")
    if not stream:
        whole: Json = json.loads(WholeChat(answer).body(_TOKENS, _GENERATED).body)
        return whole
    wire = StreamedChat(answer)
    return b"".join(
        [*(wire.frame(each) or b"" for each in _TOKENS), wire.tail(_GENERATED) or b""]
    ).decode()


# --- by type -----------------------------------------------------------------------------------------

ASKED: Mapping[object, Examples] = {
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

ANSWERED: Mapping[object, Examples] = {
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
