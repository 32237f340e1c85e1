"""Everything below /v1/audio/ that is not ours: the speech container's, relayed as it is.

What makes the card work is a job and takes the slot (every POST but those about voices, and the
WebSocket); the rest is passed on beside it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from aiohttp import hdrs, web

from aistack.chunks import Head
from aistack.contract.relay_request import RelayRequest, relay_request
from aistack.errors import BackendFault, Code, Fault
from aistack.jobs.effects import Respond
from aistack.jobs.events import ClientGone
from aistack.jobs.model import Job
from aistack.jobs.states import Op
from aistack.relays.upstreams import SocketRequest, relay_websocket
from aistack.web import instrumentation
from aistack.web.answers import json_answer
from aistack.web.delivery import deliver
from aistack.web.faults import cut
from aistack.web.gateway import voice
from aistack.web.keys import CONFIG, SCHEDULER, UPSTREAMS
from aistack.web.queueing import NOW, QueueWish
from aistack.web.submission import begin, job_of
from aistack.web.upload.raw import Body, body_of
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
    # HEAD answers like GET without a body; the container itself refuses it with 405.
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    if relay_request(method, request.raw_path).takes_slot:
        return await _speak(request)
    if await voice.lists_voices(request):
        return json_answer(voice.voices())
    async with body_of(request, request.app[CONFIG].server) as body:
        return await _pass_on(request, _relayed(request, method, body))


async def _speak(request: web.Request) -> web.StreamResponse:
    """A call that takes the slot: the embedded voice's, or the container's."""
    scheduler = request.app[SCHEDULER]
    wish = begin(request, Op.SPEAK)
    async with body_of(request, request.app[CONFIG].server) as body:
        content = body.content
        ours = request.path == voice.SPEECH
        if ours and isinstance(content, bytes) and await voice.answers(request, content):
            job = voice.job(request, content, wish)
            return await deliver(request, scheduler, job, extra_headers=wish.headers)
        job = _job(request, _relayed(request, request.method, body), wish, body.size)
        return await deliver(request, scheduler, job, body.hand_over(), wish.headers)


def _relayed(request: web.Request, method: str, body: Body) -> RelayRequest:
    """The call as the container is to get it."""
    return relay_request(
        method,
        request.raw_path,
        body.content,
        request.headers.get(hdrs.CONTENT_TYPE, ""),
        request.headers.get(hdrs.ACCEPT, ""),
    )


def _job(request: web.Request, asked: RelayRequest | SocketRequest, wish: QueueWish, size: int) -> Job:
    route = request.app[UPSTREAMS].speech_route()
    wire = RelayWire(Relayed.SPEECH)
    return job_of(request, Op.SPEAK, route, asked, wire, wish, bytes_in=size, format="relay")


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
                elif response is not None and item.data:
                    async with asyncio.timeout(limit_s):
                        await response.write(item.data)
        except (BackendFault, TimeoutError):
            if response is None:
                raise
            cut(request, limit_s)
            return response
    if response is None:
        raise BackendFault(Fault(Code.UPSTREAM_ERROR, "The speech server did not respond."))
    if request.method != hdrs.METH_HEAD:
        await response.write_eof()
    return response


async def _socket(request: web.Request) -> web.StreamResponse:
    """The speech WebSocket: refused before the upgrade, or relayed while its job holds the slot."""
    scheduler = request.app[SCHEDULER]
    asked = SocketRequest(request.raw_path)
    job = _job(request, asked, NOW, 0)
    instrumentation.joined(request, job)
    try:
        reply = await scheduler.submit(job).get()
        if isinstance(reply, Respond):
            answer = reply.answer
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
