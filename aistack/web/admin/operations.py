"""The operator's routes: console, switches, metrics. See `operations`."""

from __future__ import annotations

from aistack.contract.admin import ModelAsked, ModelTicket, ResetResult
from aistack.contract.observability import MetricsReport, ObservabilityState, ObservabilityToggle
from aistack.web.admin import console, observability
from aistack.web.admin import handlers as admin
from aistack.web.openapi import refusals
from aistack.web.openapi.operation import Operation

ADMIN: tuple[Operation, ...] = (
    *(
        Operation(
            "GET",
            f"/admin/api/{name}",
            handler,
            summary,
            ("admin",),
            gives=(gives,),
            refuses=refusals.QUERY if name in ("logs", "state", "timeline") else frozenset(),
            headers=("ETag",) if name == "state" else (),
        )
        for name, handler, gives, summary in admin.READS
    ),
    Operation(
        "POST",
        "/admin/api/reset-asr-state",
        admin.reset_asr_state,
        "Unload idle speech-to-text models",
        ("admin",),
        gives=(ResetResult,),
        refuses=refusals.RESETTING,
    ),
    *(
        Operation(
            "POST",
            f"/admin/api/models/{word}",
            handler,
            f"{word.capitalize()} a model",
            ("admin",),
            takes=ModelAsked,
            gives=(ModelTicket,),
            status=202,
            refuses=refusals.HOUSEKEEPING,
        )
        for word, handler in (("load", admin.load), ("unload", admin.unload))
    ),
)
"""What the console reads, and what an operator can do."""

CONSOLE: tuple[Operation, ...] = tuple(
    Operation("GET", path, handler, "The console", ("pages",), guard="", shown=False)
    for path, handler in (
        ("/", console.home),
        ("/admin", console.page),
        ("/admin/", console.page),
        ("/admin/static/{file:.+}", console.static),
    )
)
"""Pages; open even if keys are configured."""

METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
OBSERVED: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/metrics",
        observability.metrics_text,
        "Metrics for Prometheus",
        ("admin",),
        gives=(METRICS_TEXT,),
    ),
    Operation(
        "GET",
        "/admin/api/metrics",
        observability.metrics_json,
        "Request metrics",
        ("admin",),
        gives=(MetricsReport,),
    ),
    Operation(
        "GET",
        "/admin/api/observability",
        observability.state,
        "State of the observability switches",
        ("admin",),
        gives=(ObservabilityState,),
    ),
    Operation(
        "POST",
        "/admin/api/observability/toggle",
        observability.toggle,
        "Turn a switch on or off until the restart",
        ("admin",),
        takes=ObservabilityToggle,
        gives=(ObservabilityState,),
        refuses=refusals.JSON_BODY | refusals.FIELDS,
    ),
    Operation(
        "POST",
        "/admin/api/observability/clear-payload",
        observability.clear_payload,
        "Delete all captures",
        ("admin",),
        gives=(ObservabilityState,),
    ),
)
"""Metrics, switches and captures."""
