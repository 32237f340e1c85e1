"""OPERATIONS: the one list of routes. The router and the documentation are made from exactly this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from attrs import frozen

from aistack.contract import (
    HealthResponse,
    ModelEntry,
    ModelsList,
    StreamEvent,
    TranscriptionForm,
    TranscriptionJson,
    TranscriptionVerbose,
)
from aistack.contract_observability import MetricsReport, ObservabilityState
from aistack.web import audio, chat, health, internal, models, observability, speech
from aistack.web.patience import hold_continue
from aistack.wire.base import JSON
from aistack.wire.transcript import PLAIN, VTT

SSE = "text/event-stream"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@frozen
class Operation:
    """One method on one path.

    `takes` is the structured request type, none if there is no body; `gives` the types (or media
    types) of good answers. `guard` names the key it asks for: "" (open), "api" or "internal".
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tags: tuple[str, ...]
    takes: Any = None
    gives: tuple[Any, ...] = ()
    guard: str = "api"


_HEARD = (
    TranscriptionJson,
    TranscriptionVerbose,
    PLAIN,
    VTT,
    StreamEvent,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/health", health.health, "Liveness", ("service",), gives=(HealthResponse,), guard=""
    ),
    Operation(
        "GET",
        "/v1/models",
        models.models,
        "Models that would serve now",
        ("models",),
        gives=(ModelsList,),
    ),
    Operation(
        "GET", "/v1/models/{id:.+}", models.model, "One of them", ("models",), gives=(ModelEntry,)
    ),
    Operation(
        "POST",
        "/v1/audio/transcriptions",
        audio.transcriptions,
        "Speech to text",
        ("audio",),
        takes=TranscriptionForm,
        gives=_HEARD,
    ),
    Operation(
        "POST",
        "/v1/audio/translations",
        audio.translations,
        "Speech to English text",
        ("audio",),
        takes=TranscriptionForm,
        gives=_HEARD,
    ),
)

NOT_OURS = "/v1/audio/{tail:(?!(?:transcriptions|translations)$).+}"
"""Below /v1/audio/, but for our own paths: their wrong methods are 405, not the container's."""

RELAYED: tuple[Operation, ...] = (
    Operation(
        "POST", "/v1/chat/completions", chat.completions, "Chat, by Ollama", ("chat",), gives=(JSON, SSE)
    ),
    *(
        Operation(
            method,
            "/v1/audio/{tail:(?!(?:transcriptions|translations)$).+}",
            speech.audio,
            "Speech, by the container",
            ("audio",),
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
        gives=(SSE,),
        guard="internal",
    ),
    Operation("GET", "/models", internal.models, "Local weights", ("internal",), guard="internal"),
    Operation("POST", "/models/swap", internal.swap, "Change weights", ("internal",), guard="internal"),
    Operation("GET", "/stats", internal.stats, "Pool and throughput", ("internal",), guard="internal"),
)
"""The internal inference API (seed 004)."""


METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
OBSERVED: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/metrics",
        observability.metrics_text,
        "Figures for Prometheus",
        ("admin",),
        gives=(METRICS_TEXT,),
    ),
    Operation(
        "GET",
        "/admin/api/metrics",
        observability.metrics_json,
        "Figures of requests",
        ("admin",),
        gives=(MetricsReport,),
    ),
    Operation(
        "GET",
        "/admin/api/observability",
        observability.state,
        "The three switches",
        ("admin",),
        gives=(ObservabilityState,),
    ),
    Operation(
        "POST",
        "/admin/api/observability/toggle",
        observability.toggle,
        "Turn one of them until the restart",
        ("admin",),
        gives=(ObservabilityState,),
    ),
    Operation(
        "POST",
        "/admin/api/observability/clear-payload",
        observability.clear_payload,
        "Remove every capture",
        ("admin",),
        gives=(ObservabilityState,),
    ),
)
"""What operators read and turn."""


def register(app: web.Application, operations: tuple[Operation, ...]) -> None:
    """Put the operations into the router; a GET answers HEAD as well."""
    for operation in operations:
        methods = ("GET", "HEAD") if operation.method == "GET" else (operation.method,)
        for method in methods:
            app.router.add_route(method, operation.path, operation.handler, expect_handler=hold_continue)
