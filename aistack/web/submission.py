"""From a request to its job: what every handler does before it reads a body, and when it has read it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from aistack.ids import job_id
from aistack.jobs.model import Job, JobContext, Request, Route
from aistack.jobs.states import Op
from aistack.web.internal import trace
from aistack.web.keys import CONFIG, SCHEDULER
from aistack.web.queueing import NOW, QueueWish, queue_wish, refuse_unread
from aistack.web.request_id import request_id
from aistack.wire.base import Wire


def wish_of(request: web.Request) -> QueueWish:
    """How long the caller is willing to be queued: its `Prefer` header, else the setting."""
    return queue_wish(request.headers.getall("Prefer", []), request.app[CONFIG].slots)


def begin(request: web.Request, op: Op) -> QueueWish:
    """`wish_of`, asked before the body is read. Raises BackendFault if a large body, or one that the
    client still holds back, would be sent only to be refused."""
    wish = wish_of(request)
    now = asyncio.get_running_loop().time()
    refuse_unread(request, request.app[SCHEDULER].snapshot, op, wish, now)
    return wish


def job_of(
    request: web.Request,
    op: Op,
    route: Route,
    asked: Request | None,
    wire: Wire,
    wish: QueueWish = NOW,
    *,
    bytes_in: int | None = None,
    format: str | None = None,
    messages: int | None = None,
) -> Job:
    """The job that does what this request asks for; the last three are for the log."""
    return Job(
        id=job_id(),
        request_id=request_id(request),
        op=op,
        route=route,
        request=asked,
        wire=wire,
        max_wait_s=wish.seconds,
        context=JobContext(
            client=request.remote,
            bytes_in=bytes_in,
            format=format,
            messages=messages,
            **trace.job_ids(request),
        ),
    )
