"""The only reader of outlets: a job's answer, written to its client.

`ClientGone` is posted whenever the answer was not written to its end, whatever ended it: the client
closed, reset or half-closed (aiohttp cancels the handler), or took nothing for `send_timeout_s`.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import assert_never

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp_sse import EventSourceResponse

from aistack.jobs.effects import AbortStream, CloseStream, Emit, OpenStream, Reply, Respond, noop
from aistack.jobs.events import ClientGone
from aistack.jobs.model import Job
from aistack.web import instrumentation
from aistack.web.faults import cut
from aistack.web.keys import CONFIG, LOST, Outlet, Scheduler
from aistack.web.stall_timer import StallTimer
from aistack.wire.base import Answer, StreamHead

PIECE = 64 * 1024
"""A whole answer is written in such pieces, so that the time limit is one on silence, not on size."""
SEND_BUFFER = 64 * 1024
"""Without it the kernel takes 4 MB for a client that never reads (measured on loopback)."""

Headers = Iterable[tuple[str, str]]


async def deliver(
    request: web.Request,
    scheduler: Scheduler,
    job: Job,
    discard: Callable[[], None] = noop,
    extra_headers: Headers = (),
) -> web.StreamResponse:
    """Submit the job and write what comes of it. `discard` is called once when the job is over."""
    instrumentation.joined(request, job)
    try:
        outlet = scheduler.submit(job, discard)
    except BaseException:
        discard()
        raise
    writing = _Writing(request, tuple(extra_headers))
    try:
        return await writing.write(outlet)
    finally:
        if not writing.complete:
            request[LOST] = True
            scheduler.post(ClientGone(job.id))


class _Writing:
    """One answer being written."""

    def __init__(self, request: web.Request, extra: tuple[tuple[str, str], ...]) -> None:
        settings = request.app[CONFIG]
        self.request = request
        self.extra = extra
        self.timeout_s = settings.server.send_timeout_s
        self.heartbeat_s = settings.slots.heartbeat_s
        self.complete = False
        self.watch = StallTimer(request.transport, self.timeout_s)

    async def write(self, outlet: Outlet) -> web.StreamResponse:
        reply = await outlet.get()
        with self.watch:
            return await self._written(reply, outlet)

    async def _written(self, reply: Reply, outlet: Outlet) -> web.StreamResponse:
        match reply:
            case Respond(answer=answer):
                response = self._whole(answer)
                return await self._guarded(response, self._write_whole(response, answer))
            case OpenStream(head=head):
                response = self._stream(head, outlet.waiting)
                return await self._guarded(response, self._write_stream(response, head, outlet))
            case Emit() | CloseStream() | AbortStream():
                raise RuntimeError(f"an answer began with {type(reply).__name__}")
            case _:
                assert_never(reply)

    async def _guarded(
        self, response: web.StreamResponse, writing: Awaitable[None]
    ) -> web.StreamResponse:
        """The response, written or not: a client that left is not our failure."""
        try:
            await writing
        except ConnectionError:
            request_transport = self.request.transport
            if request_transport is not None:
                request_transport.abort()
        return response

    def _whole(self, answer: Answer) -> web.StreamResponse:
        # A Response sends its headers together with the first piece.
        response = web.Response(status=answer.status)
        response.headers.extend([*answer.headers, *self.extra])
        response.headers["Content-Type"] = answer.content_type
        response.headers["Content-Length"] = str(len(answer.body))
        return response

    def _stream(self, head: StreamHead, more: bool) -> web.StreamResponse:
        """`more`: what follows the head is there already, so that they can go out together."""
        headers = (*head.headers, *self.extra)
        if not head.sse:
            together = more and head.length is not None
            made = web.Response if together else web.StreamResponse
            response = made(status=head.status)
            response.headers.extend(headers)
            response.headers["Content-Type"] = head.content_type
            if head.length is not None:
                response.headers["Content-Length"] = str(head.length)
            return response
        events = EventSourceResponse(
            status=head.status,
            sep="\n",
            allow_all_methods=True,
            send_timeout=self.timeout_s,
            ping_interval=self.heartbeat_s,
        )
        for name, value in headers:
            events.headers[name] = value  # it has set some of them itself
        if self.request.version < HttpVersion11:
            # It always says keep-alive; an HTTP/1.0 stream ends with its connection.
            del events.headers["Connection"]
        return events

    async def _write_whole(self, response: web.StreamResponse, answer: Answer) -> None:
        await self.watch.write(response.prepare(self.request))
        if self.request.method != "HEAD":
            for start in range(0, len(answer.body), PIECE):
                await self.watch.write(response.write(answer.body[start : start + PIECE]))
        await self.watch.write(response.write_eof())
        self.complete = True

    async def _write_stream(
        self, response: web.StreamResponse, head: StreamHead, outlet: Outlet
    ) -> None:
        if not isinstance(response, web.Response):  # that one is all here already
            self._limit_send_buffer()
        await self.watch.write(response.prepare(self.request))
        if isinstance(response, EventSourceResponse):
            async with response:
                await self._write_frames(response, head, outlet)
        else:
            await self._write_frames(response, head, outlet)

    async def _write_frames(
        self, response: web.StreamResponse, head: StreamHead, outlet: Outlet
    ) -> None:
        if self.request.method == "HEAD":
            await self.watch.write(response.write_eof())
            return
        written = 0
        while True:
            reply = await outlet.get()
            match reply:
                case Emit(frame=frame):
                    written += len(frame)
                    await self.watch.write(response.write(frame))
                case CloseStream() if head.length in (None, written):
                    await self.watch.write(response.write_eof())
                    self.complete = True
                    return
                case CloseStream() | AbortStream():
                    # The client must not take what it has for the whole.
                    self.complete = True
                    cut(self.request, self.timeout_s)
                    return
                case Respond() | OpenStream():
                    raise RuntimeError(f"{type(reply).__name__} after the headers were out")
                case _:
                    assert_never(reply)

    def _limit_send_buffer(self) -> None:
        transport = self.request.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
