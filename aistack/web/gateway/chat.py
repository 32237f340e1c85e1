"""POST /v1/chat/completions: read, look, hand to the machine; the bytes that come back are Ollama's."""

from __future__ import annotations

import json

from aiohttp import web

from aistack.contract.relay_request import relayed_chat
from aistack.jobs.states import Op
from aistack.web.delivery import deliver
from aistack.web.internal import handlers as internal
from aistack.web.keys import CONFIG, SCHEDULER, UPSTREAMS
from aistack.web.submission import begin, job_of
from aistack.web.upload.bodies import read_body
from aistack.wire.relay import Relayed, RelayWire


async def completions(request: web.Request) -> web.StreamResponse:
    """A chat completion, whole or streamed, by a model of the local Ollama."""
    server = request.app[CONFIG].server
    wish = begin(request, Op.CHAT)
    body = await read_body(request, server.max_json_bytes, server.upload_idle_s)
    asked = relayed_chat(body, request.headers.get("Accept", ""))
    if internal.serves(request, asked.model):
        return await internal.chat(request, json.loads(body))
    route = request.app[UPSTREAMS].chat_route(asked.model)
    wire = RelayWire(Relayed.CHAT_STREAM if asked.stream else Relayed.CHAT_WHOLE)
    shape = "stream" if asked.stream else "json"
    job = job_of(request, Op.CHAT, route, asked, wire, wish, bytes_in=len(body), format=shape)
    return await deliver(request, request.app[SCHEDULER], job, extra_headers=wish.headers)
