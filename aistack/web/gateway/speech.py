"""Everything below /v1/audio/ that is not ours: the speech container's, relayed as it is.

What makes the card work is a job and takes the slot (every POST but those about voices, and the
WebSocket); the rest is passed on beside it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from aiohttp import hdrs, web

from aistack.chunks import Head, Piece, Tail
from aistack.contract.relay_request import RelayRequest, relay_request
from aistack.errors import BackendFault, Code, ErrorKind, Fault
from aistack.ids import job_id
from aistack.jobs.effects import Respond
from aistack.jobs.events import ClientGone
from aistack.jobs.model import Job
from aistack.jobs.states import Op
from aistack.relays.upstreams import SocketRequest, relay_websocket
from aistack.web import instrumentation as observed
from aistack.web.answers import json_answer
from aistack.web.delivery import deliver
from aistack.web.faults import cut
from aistack.web.gateway import voice
from aistack.web.keys import CONFIG, SCHEDULER, UPSTREAMS
from aistack.web.queueing import queue_wish, refuse_unread
from aistack.web.request_id import request_id
from aistack.web.upload.raw import body_of
from aistack.wire.relay import Relayed, RelayWire, content_type_of, end_to_end, length_of

OURS = ("/v1/audio/transcriptions", "/v1/audio/translations")
SOCKET = "/v1/audio/speech/stream"


async def audio(request: web.Request) -> web.StreamResponse:
    """Speech, voices, and whatever else the container offers below /v1/audio/."""
    if request.path.rstrip("/") in OURS:
        # Ours with a slash is nothing; relayed, an upload would end up with the container.
        raise web.HTTPNotFound
    if request.path == SOCKET and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        return await _socket(request)
    settings, scheduler = request.app[CONFIG], request.app[SCHEDULER]
    # HEAD answers like GET without a body; the container itself refuses it with 405.
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    plain = relay_request(method, request.raw_path)
    waits = queue_wish(request.headers.getall("Prefer", []), settings.slots)
    if plain.takes_slot:
        now = asyncio.get_running_loop().time()
        refuse_unread(request, scheduler.snapshot, Op.SPEAK, waits.seconds > 0, now)
    if await voice.lists_voices(request):
        return json_answer(voice.voices())
    async with body_of(request, settings.server) as body:
        content = body.content
        ours = plain.takes_slot and request.path == voice.SPEECH
        if ours and isinstance(content, bytes) and await voice.answers(request, content):
            job = voice.job(request, content, waits.seconds)
            return await deliver(request, scheduler, job, extra_headers=waits.headers)
        asked = relay_request(
            method,
            request.raw_path,
            content,
            request.headers.get(hdrs.CONTENT_TYPE, ""),
            request.headers.get(hdrs.ACCEPT, ""),
        )
        if not asked.takes_slot:
            return await _pass_on(request, asked)
        job = _job(request, asked, waits.seconds, body.size)
        return await deliver(request, scheduler, job, body.hand_over(), waits.headers)


def _job(request: web.Request, asked: Any, seconds: float, size: int) -> Job:
    return Job(
        job_id(),
        request_id(request),
        Op.SPEAK,
        request.app[UPSTREAMS].speech_route(),
        asked,
        RelayWire(Relayed.SPEECH),
        max_wait_s=seconds,
        context={"client": request.remote or "", "bytes_in": size, "format": "relay"},
    )


async def _pass_on(request: web.Request, asked: RelayRequest) -> web.StreamResponse:
    """Relay a call that takes no slot."""
    response: web.StreamResponse | None = None
    limit_s = request.app[CONFIG].server.send_timeout_s
    async with aclosing(request.app[UPSTREAMS].pass_on(asked)) as answer:
        try:
            async for item in answer:
                if isinstance(item, Head):
                    response = web.StreamResponse(status=item.status)
                    response.headers.extend(end_to_end(item.headers))
                    response.headers[hdrs.CONTENT_TYPE] = content_type_of(item.headers)
                    response.content_length = length_of(item.headers)
                    await response.prepare(request)
                    if request.method == hdrs.METH_HEAD:
                        break
                elif response is not None and isinstance(item, Piece | Tail) and item.data:
                    async with asyncio.timeout(limit_s):
                        await response.write(item.data)
        except (BackendFault, TimeoutError):
            if response is None:
                raise
            cut(request, limit_s)
            return response
    if response is None:
        raise BackendFault(
            Fault(ErrorKind.UNKNOWN, Code.UPSTREAM_ERROR, "The speech server gave no answer.")
        )
    if request.method != hdrs.METH_HEAD:
        await response.write_eof()
    return response


async def _socket(request: web.Request) -> web.StreamResponse:
    """The speech WebSocket: refused before the upgrade, or relayed while its job holds the slot."""
    scheduler = request.app[SCHEDULER]
    asked = SocketRequest(request.raw_path)
    job = _job(request, asked, 0.0, 0)
    observed.joined(request, job)
    try:
        said = await scheduler.submit(job).get()
        if isinstance(said, Respond):
            answer = said.answer
            response = web.Response(status=answer.status, body=answer.body)
            response.headers.extend(answer.headers)
            response.headers[hdrs.CONTENT_TYPE] = answer.content_type
            return response
        client = web.WebSocketResponse(max_msg_size=0)
        await client.prepare(request)
        try:
            await relay_websocket(client, asked, request.app[CONFIG].server.send_timeout_s)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        return client
    finally:
        if not asked.over.is_set():
            scheduler.post(ClientGone(job.id))
