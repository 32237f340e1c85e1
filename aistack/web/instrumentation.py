"""The web layer's hooks into what watches requests. Each is a look into a dict when all is off, and
none can fail the request it looks at."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import structlog
from aiohttp import web

from aistack.errors import Fault
from aistack.jobs.model import Job
from aistack.observe.capture import Capture
from aistack.observe.observability import Observability, RequestWatch
from aistack.web.keys import BEGUN, LOST, SCHEDULER
from aistack.web.request_id import request_id

log = structlog.get_logger("aistack.observe")
P = ParamSpec("P")
OBSERVABILITY: web.AppKey[Observability] = web.AppKey("observability")
"""Absent in a service that nobody watches (tests of other parts)."""
WATCH: web.RequestKey[RequestWatch] = web.RequestKey("watch")
_PATH_MAX = 256
_QUERY_MAX = 1024


def harmless(hook: Callable[P, None]) -> Callable[P, None]:
    """The hook, whose failures are told once and go no further."""
    told = False

    @functools.wraps(hook)
    def guarded(*args: P.args, **named: P.kwargs) -> None:
        nonlocal told
        try:
            hook(*args, **named)
        except Exception:
            if not told:
                told = True
                log.exception("watching failed", what=hook.__name__)

    return guarded


@harmless
def begin(request: web.Request) -> None:
    """A request has come."""
    observability = request.app.get(OBSERVABILITY)
    if observability is None or not request.path.startswith("/v1/"):
        return
    watch = observability.begin(
        request.method,
        request.path[:_PATH_MAX],
        request.rel_url.raw_query_string[:_QUERY_MAX],
        request_id(request),
        _client(request),
    )
    if watch is None:
        return
    request[WATCH] = watch
    if watch.capture is not None:
        tap(request, watch.capture)


@harmless
def end(request: web.Request, status: int, answer: web.StreamResponse | None) -> None:
    """It is over, however it ended."""
    watch = request.get(WATCH)
    if watch is None:
        return
    job = watch.job
    if job is not None:
        job = request.app[SCHEDULER].snapshot.jobs.get(job.id)
    captured = watch.capture is not None
    response = request.get(BEGUN, answer)
    if watch.capture is not None and BEGUN not in request:
        # A plain response is written only after the last middleware has let go of it.
        body = answer.body if isinstance(answer, web.Response) else None
        watch.capture.answered(body if isinstance(body, bytes) else b"")
    request.app[OBSERVABILITY].end(
        watch,
        status,
        request.get(LOST, False),
        job,
        request.headers.items() if captured else (),
        response.headers.items() if captured and response is not None else (),
        asyncio.get_running_loop().time(),
    )


@harmless
def joined(request: web.Request, job: Job) -> None:
    """The request has become this job."""
    observability = request.app.get(OBSERVABILITY)
    if observability is not None:
        observability.became_job(request.get(WATCH), job, request.headers.get)


@harmless
def refused(request: web.Request, fault: Fault) -> None:
    """The request never became a job."""
    watch = request.get(WATCH)
    if watch is not None:
        watch.fault = fault


@harmless
def body_read(request: web.Request, body: bytes | str | None) -> None:
    """All of the request's body is here: bytes, or the path of a file."""
    watch = request.get(WATCH)
    if watch is None or watch.capture is None or body is None:
        return
    content_type = request.headers.get("Content-Type", "")
    if isinstance(body, str):
        watch.capture.upload(body, content_type)
    else:
        watch.capture.request(body, content_type)


def _client(request: web.Request) -> str | None:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) and len(peer) > 1 else request.remote


def tap(request: web.BaseRequest, capture: Capture) -> None:
    """Let the capture see every piece of the answer, whoever writes it and in whatever form.

    The connection's writer is where all answers pass, streams and heartbeats included; it is touched
    for requests that are captured only, so that nobody else pays.
    """
    writer: Any = request.writer
    answered = harmless(capture.answered)
    write: Callable[..., Any] = writer.write
    write_eof: Callable[..., Any] = writer.write_eof

    async def seen(chunk: Any, *args: Any, **named: Any) -> None:
        answered(chunk)
        await write(chunk, *args, **named)

    async def seen_eof(chunk: bytes = b"") -> None:
        if chunk:
            answered(chunk)
        await write_eof(chunk)

    writer.write, writer.write_eof = seen, seen_eof
