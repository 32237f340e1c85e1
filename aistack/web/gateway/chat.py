"""POST /v1/chat/completions: read, look, hand to the machine; the bytes that come back are Ollama's."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from aistack.contract.relay_request import chat_request
from aistack.ids import job_id
from aistack.jobs.model import Job
from aistack.jobs.states import Op
from aistack.web.delivery import deliver
from aistack.web.internal import handlers as internal
from aistack.web.keys import CONFIG, SCHEDULER, UPSTREAMS
from aistack.web.queueing import queue_wish, refuse_unread
from aistack.web.request_id import request_id
from aistack.web.upload.bodies import read_body
from aistack.wire.relay import Relayed, RelayWire


async def completions(request: web.Request) -> web.StreamResponse:
    """A chat completion, whole or streamed, by a model of the local Ollama."""
    settings, scheduler = request.app[CONFIG], request.app[SCHEDULER]
    waits = queue_wish(request.headers.getall("Prefer", []), settings.slots)
    now = asyncio.get_running_loop().time()
    refuse_unread(request, scheduler.snapshot, Op.CHAT, waits.seconds > 0, now)
    body = await read_body(request, settings.server.max_json_bytes, settings.server.upload_idle_s)
    asked = chat_request(body, request.headers.get("Accept", ""))
    if internal.serves(request, asked.model):
        return await internal.chat(request, json.loads(body))
    kind = Relayed.CHAT_STREAM if asked.stream else Relayed.CHAT_WHOLE
    job = Job(
        job_id(),
        request_id(request),
        Op.CHAT,
        request.app[UPSTREAMS].chat_route(asked.model),
        asked,
        RelayWire(kind),
        max_wait_s=waits.seconds,
        context={
            "client": request.remote or "",
            "bytes_in": len(body),
            "format": "stream" if asked.stream else "json",
        },
    )
    return await deliver(request, scheduler, job, extra_headers=waits.headers)
