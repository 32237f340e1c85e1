"""For operators: /metrics, the same as JSON, the switches, and the captures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from aistack.config import ServerSection
from aistack.contract.converters import to_plain
from aistack.contract.observability import ObservabilityState, PayloadUsage
from aistack.contract.relay_request import media_type
from aistack.errors import BackendFault, Code, internal, malformed, missing_field
from aistack.observe.observability import Observability
from aistack.observe.prometheus import Exposition
from aistack.observe.toggles import KEYS, truthy
from aistack.web.answers import json_answer
from aistack.web.faults import beyond_limit
from aistack.web.instrumentation import OBSERVABILITY
from aistack.web.keys import CONFIG
from aistack.web.queueing import begin_body
from aistack.web.upload.bodies import read_body, read_json
from aistack.web.upload.multipart import FIELDS_MAX, Form

EXPOSITION: web.AppKey[Exposition] = web.AppKey("exposition")
CLEAR_S = 30.0
FORM_MAX = 64 * 1024
"""Bytes of a form with two short fields."""


async def metrics_text(request: web.Request) -> web.StreamResponse:
    """Metrics in the text format of Prometheus."""
    body, content_type = await request.app[EXPOSITION].scrape()
    return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


async def metrics_json(request: web.Request) -> web.StreamResponse:
    """Counts, latencies and recent requests of each capability."""
    window = request.app[OBSERVABILITY].window.copy()
    return json_answer(await asyncio.to_thread(window.report, time.time()))


async def state(request: web.Request) -> web.StreamResponse:
    """The switches, and the disk usage of captures."""
    return _told(request.app[OBSERVABILITY])


async def toggle(request: web.Request) -> web.StreamResponse:
    """Takes `key` and `value`, as a form or as JSON."""
    sent = await _fields(request)
    for name in ("key", "value"):
        if name not in sent:
            raise BackendFault(missing_field(name))
    observability = request.app[OBSERVABILITY]
    try:
        observability.toggles.turn(str(sent["key"]), truthy(sent["value"]))
    except KeyError:
        fault = malformed(f"The key must be one of {', '.join(KEYS)}.", Code.INVALID_FIELD, "key")
        raise BackendFault(fault) from None
    return _told(observability)


async def clear_payload(request: web.Request) -> web.StreamResponse:
    """Delete every capture; responds when they are gone."""
    observability = request.app[OBSERVABILITY]
    done = asyncio.wrap_future(observability.store.clear())
    try:
        await asyncio.wait_for(asyncio.shield(done), CLEAR_S)
    except TimeoutError:
        # The disk does not respond; the captures are deleted as soon as it does.
        raise BackendFault(internal()) from None
    return _told(observability)


async def _fields(request: web.Request) -> Mapping[str, Any]:
    server = request.app[CONFIG].server
    match media_type(request.headers.get(hdrs.CONTENT_TYPE, "")):
        case "application/x-www-form-urlencoded":
            return await _urlencoded(request, server)
        case "multipart/form-data":
            return await _multipart(request, server)
        case _:
            return await read_json(request, server)


async def _urlencoded(request: web.Request, server: ServerSection) -> Mapping[str, str]:
    """Such a form is UTF-8, whatever it says (WHATWG URL, 5.1)."""
    body = await read_body(request, FORM_MAX, server.upload_idle_s)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as exc:
        fault = malformed("The form could not be read.", Code.INVALID_BODY)
        raise BackendFault(fault) from exc


async def _multipart(request: web.Request, server: ServerSection) -> Mapping[str, str]:
    if (request.content_length or 0) > FORM_MAX:
        raise BackendFault(beyond_limit("body", FORM_MAX))
    await begin_body(request)
    form = Form(request, server.upload_idle_s)
    await form.read()
    return {name: values[-1] for name, values in form.fields.items()}


def _told(observability: Observability) -> web.Response:
    toggles, store = observability.toggles, observability.store
    usage = store.usage
    shown = ObservabilityState(
        metrics=toggles.metrics,
        access_log=toggles.access_log,
        payload=toggles.payload,
        payload_usage=PayloadUsage(
            bytes=usage.bytes,
            cap_bytes=store.max_bytes,
            count=usage.count,
            earliest=usage.earliest,
            max_age_days=store.max_days,
        ),
        log_dir=str(observability.log_dir),
    )
    return json_answer(to_plain(shown))
