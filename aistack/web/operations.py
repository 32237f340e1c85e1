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
        about="Answered from memory, whatever state the backends are in.",
    ),
    Operation(
        "GET",
        "/v1/models",
        models.models,
        "Models that would serve now",
        ("models",),
        gives=(ModelsList,),
        about="What could be asked for at this moment; a backend that is down takes its models away.",
    ),
    Operation(
        "GET",
        "/v1/models/{id:.+}",
        models.model,
        "One of them",
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
        about="In the language that is spoken, or in English with translate=true. With stream=true "
        "one event per segment, as soon as it is known; closing the connection cancels.",
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
        about="OpenAPI 3.1, made from the code that answers.",
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
        about="By a model of the local Ollama, or by local weights where that door is open. Relayed as "
        "it is; keep_alive is '30s' unless given. Closing the connection cancels.",
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
        about="Relayed to the speech server as it is, or spoken by the embedded voice. The type of the "
        "answer says what came.",
    ),
    Operation(
        "GET",
        "/v1/audio/speech/stream",
        speech.audio,
        "Speech by WebSocket",
        ("audio",),
        status=101,
        refuses=refusals.SPEAKING,
        about="A WebSocket (send Upgrade: websocket), relayed to the speech server as it is: "
        "session.config, input.text and input.done go up; audio.start, binary frames of audio, "
        "audio.done, session.done and error come down. It holds the slot from the upgrade on; a busy "
        "slot is a 503 instead of the upgrade.",
    ),
    Operation(
        "GET",
        "/v1/audio/voices",
        speech.audio,
        "Voices",
        ("audio",),
        gives=(relayed.VoicesList,),
        refuses=refusals.RELAYING,
        about="The speech server's, or the embedded voice's while that is down.",
    ),
    *(
        Operation(
            method,
            NOT_OURS,
            speech.audio,
            "Anything else of the speech server",
            ("audio",),
            takes="*/*" if method == "POST" else None,
            gives=("*/*",),
            refuses=refusals.SPEAKING if method == "POST" else refusals.RELAYING,
            about="Relayed as it is: voices to add and delete, batches, and whatever it learns.",
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
        "Tokens from local weights",
        ("internal",),
        takes=inner.GenerateRequest,
        gives=(Events(inner.GenerationEvent, "GenerationEvent"),),
        guard="internal",
        refuses=refusals.GENERATING,
        about="Always streamed. Waits in line for a busy slot, 30 s unless Prefer says otherwise; "
        "closing the connection cancels.",
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
        "Change weights",
        ("internal",),
        takes=inner.SwapRequest,
        gives=(SwapAccepted,),
        guard="internal",
        status=202,
        refuses=refusals.SWAPPING,
        about="Answered at once, before it is done: running streams end on the old weights, new calls "
        "are told 503 draining. What became of it is in /stats and /health.",
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
