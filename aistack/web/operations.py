"""OPERATIONS: the one list of routes. The router and the documentation are made from exactly this."""

from __future__ import annotations

from aiohttp import web

from aistack.contract import internal as inner
from aistack.contract import relayed
from aistack.contract.public import (
    HealthResponse,
    ModelEntry,
    ModelsList,
    StreamEvent,
    SwapAccepted,
    TranscriptionForm,
    TranscriptionJson,
    TranscriptionVerbose,
)
from aistack.contract.speech import FORMATS
from aistack.web import pages
from aistack.web.admin.operations import ADMIN, CONSOLE, OBSERVED
from aistack.web.gateway import chat, health, models, speech
from aistack.web.gateway import transcription as audio
from aistack.web.internal import handlers as internal
from aistack.web.openapi import refusals
from aistack.web.openapi.operation import Events, Operation
from aistack.web.queueing import hold_continue
from aistack.web.reference import openapi_json
from aistack.wire.transcript import PLAIN, VTT

_HEARD = (
    TranscriptionJson,
    TranscriptionVerbose,
    PLAIN,
    VTT,
    Events(StreamEvent, "TranscriptionEvent"),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/health",
        health.health,
        "Liveness",
        ("service",),
        gives=(HealthResponse,),
        guard="",
        about="Answered from memory, whatever the state of the backends.",
    ),
    Operation(
        "GET",
        "/v1/models",
        models.models,
        "Models that can be requested now",
        ("models",),
        gives=(ModelsList,),
        about="The models that can be requested now; those of a backend that is down are missing.",
    ),
    Operation(
        "GET",
        "/v1/models/{id:.+}",
        models.model,
        "One model",
        ("models",),
        gives=(ModelEntry,),
        refuses=refusals.NO_MODEL,
        about="The id may contain slashes, escaped or not.",
    ),
    Operation(
        "POST",
        "/v1/audio/transcriptions",
        audio.transcriptions,
        "Speech to text",
        ("audio",),
        takes=TranscriptionForm,
        gives=_HEARD,
        refuses=refusals.HEARING,
        headers=("X-Aistack-Model",),
        about="In the language of the speech, or in English with translate=true. With stream=true "
        "one event per segment, as soon as it is known. Closing the connection cancels.",
    ),
    Operation(
        "POST",
        "/v1/audio/translations",
        audio.translations,
        "Speech to English text",
        ("audio",),
        takes=TranscriptionForm,
        gives=_HEARD,
        refuses=refusals.HEARING,
        headers=("X-Aistack-Model",),
        about="As /v1/audio/transcriptions with translate=true.",
    ),
    Operation(
        "GET",
        "/openapi.json",
        openapi_json,
        "This document",
        ("service",),
        gives=("application/json",),
        guard="",
        headers=("ETag",),
        about="OpenAPI 3.1, made from the code that serves the operations.",
    ),
    Operation("GET", "/docs", pages.page("docs"), "Reference", ("pages",), guard="", shown=False),
    Operation(
        "GET",
        "/docs/swagger/{file:.+}",
        pages.static("swagger"),
        "Swagger UI",
        ("pages",),
        guard="",
        shown=False,
    ),
    Operation(
        "GET", "/docs/{file:.+}", pages.static("docs"), "Its files", ("pages",), guard="", shown=False
    ),
)

NOT_OURS = "/v1/audio/{path:(?!(?:transcriptions|translations)$).+}"
"""Below /v1/audio/, but for our own paths: their wrong methods are 405, not the container's."""

RELAYED: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/v1/chat/completions",
        chat.completions,
        "Chat",
        ("chat",),
        takes=relayed.ChatRequest,
        gives=(relayed.ChatAnswer, Events(relayed.ChatEvent, "ChatEvent", last="[DONE]")),
        refuses=refusals.CHATTING,
        about="By a model of the local Ollama, or by local weights where that is switched on. Relayed "
        "unchanged; keep_alive is '30s' unless given. Closing the connection cancels.",
    ),
    Operation(
        "POST",
        "/v1/audio/speech",
        speech.audio,
        "Text to speech",
        ("audio",),
        takes=relayed.SpeechRequest,
        gives=(*FORMATS.values(), Events(relayed.SpeechEvent, "SpeechEvent")),
        refuses=refusals.SPEAKING,
        about="Relayed unchanged to the speech server, or spoken by the embedded voice. Content-Type "
        "is the format of the response.",
    ),
    Operation(
        "GET",
        "/v1/audio/speech/stream",
        speech.audio,
        "Speech by WebSocket",
        ("audio",),
        status=101,
        refuses=refusals.SPEAKING,
        about="A WebSocket (send Upgrade: websocket), relayed unchanged to the speech server. The "
        "client sends session.config, input.text and input.done; the server sends audio.start, binary "
        "frames of audio, audio.done, session.done and error. It holds the slot from the upgrade on; "
        "while the slot is busy the response is a 503 instead of the upgrade.",
    ),
    Operation(
        "GET",
        "/v1/audio/voices",
        speech.audio,
        "Voices",
        ("audio",),
        gives=(relayed.VoicesList,),
        refuses=refusals.RELAYING,
        about="The voices of the speech server, or of the embedded voice while that server is down.",
    ),
    *(
        Operation(
            method,
            NOT_OURS,
            speech.audio,
            "Other operations of the speech server",
            ("audio",),
            takes="*/*" if method == "POST" else None,
            gives=("*/*",),
            refuses=refusals.SPEAKING if method == "POST" else refusals.RELAYING,
            about="Relayed unchanged: adding and deleting voices, batches, and whatever else it offers.",
        )
        for method in ("GET", "POST", "DELETE")
    ),
)
"""What is relayed to other people's servers; after ours, for its paths are wide."""


INTERNAL: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/generate",
        internal.generate,
        "Text generation from local weights",
        ("internal",),
        takes=inner.GenerateRequest,
        gives=(Events(inner.GenerationEvent, "GenerationEvent"),),
        guard="internal",
        refuses=refusals.GENERATING,
        about="Always streamed. Queues for a busy slot, for up to 30 s unless Prefer says otherwise. "
        "Closing the connection cancels.",
    ),
    Operation(
        "GET",
        "/models",
        internal.models,
        "Local weights",
        ("internal",),
        gives=(inner.ModelRegistry,),
        guard="internal",
        refuses=refusals.INNER,
    ),
    Operation(
        "POST",
        "/models/swap",
        internal.swap,
        "Change the weights",
        ("internal",),
        takes=inner.SwapRequest,
        gives=(SwapAccepted,),
        guard="internal",
        status=202,
        refuses=refusals.SWAPPING,
        about="Answered at once, before the change: running streams finish on the old weights, new "
        "requests get 503 draining. The outcome is in /stats and /health.",
    ),
    Operation(
        "GET",
        "/stats",
        internal.stats,
        "Pool and throughput",
        ("internal",),
        gives=(inner.PoolStats,),
        guard="internal",
        refuses=refusals.INNER,
    ),
)
"""The internal inference API (seed 004)."""

EVERY = (*OPERATIONS, *INTERNAL, *ADMIN, *OBSERVED, *CONSOLE, *RELAYED)
"""All there are."""


def register(app: web.Application, operations: tuple[Operation, ...]) -> None:
    """Put the operations into the router; a GET answers HEAD as well."""
    for operation in operations:
        methods = ("GET", "HEAD") if operation.method == "GET" else (operation.method,)
        for method in methods:
            app.router.add_route(method, operation.path, operation.handler, expect_handler=hold_continue)
