"""Trace ids on the internal API's routes: taken from the caller, echoed, and on every log line.

`x-trace-id` names the call (made up when absent: the request's own id), `x-session-trace-id` the
conversation, `x-user-id` the person for whom the caller calls. Only harmless words pass: an id becomes
a log field and a header. The user's counts once the key was right: anyone can claim to be anyone.
"""

from __future__ import annotations

from typing import TypedDict

from aiohttp import web
from structlog.contextvars import bind_contextvars, unbind_contextvars

from aistack.web.request_id import choose, request_id

TRACE = "X-Trace-ID"
SESSION = "X-Session-Trace-ID"
USER = "X-User-ID"
PATHS = frozenset({"/generate", "/models", "/models/swap", "/stats"})


class JobIds(TypedDict, total=False):
    """The ids in a `JobContext`."""

    trace_id: str
    session_trace_id: str | None
    user_id: str | None


def word(request: web.BaseRequest, header: str) -> str | None:
    """What a header says if that is a harmless word, else None."""
    sent = request.headers.get(header, "").strip(" \t")
    return sent if choose(sent) == sent else None


def trace_id(request: web.BaseRequest) -> str:
    """The caller's trace id if it is a harmless word, else the request's id; the same at every call."""
    return word(request, TRACE) or request_id(request)


def log_ids(request: web.BaseRequest) -> dict[str, str]:
    """The ids of every log line written while this request is handled."""
    ids = {"request_id": request_id(request)}
    if request.path in PATHS:
        ids["trace_id"] = trace_id(request)
        session = word(request, SESSION)
        if session is not None:
            ids["session_trace_id"] = session
    return ids


def job_ids(request: web.BaseRequest) -> JobIds:
    """The ids for the context of a job: those of the request, and the user's. Call it after the key
    was accepted."""
    if request.path not in PATHS:
        return {}
    return {
        "trace_id": trace_id(request),
        "session_trace_id": word(request, SESSION),
        "user_id": word(request, USER),
    }


def accepted(request: web.BaseRequest) -> None:
    """The key was right: from now on the user's id is on the lines of this request too."""
    user = word(request, USER)
    if user is not None:
        bind_contextvars(user_id=user)


def over() -> None:
    """The request is over: the next one on its connection may be another user's."""
    unbind_contextvars("user_id")


async def echo(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the ids on every response of these routes, refusals included."""
    if request.path in PATHS:
        response.headers[TRACE] = trace_id(request)
        session = word(request, SESSION)
        if session is not None:
            response.headers[SESSION] = session
