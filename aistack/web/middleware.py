"""What every request passes, from the outside in: the access line, faults, the guard and the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from aistack.errors import BackendFault, internal
from aistack.web import guard
from aistack.web import instrumentation as observed
from aistack.web.faults import answer, cut, from_http, gone
from aistack.web.internal import trace
from aistack.web.keys import BEGUN, CONFIG, LOST

log = structlog.get_logger("aistack.web")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OWN_NAMES: web.AppKey[frozenset[str]] = web.AppKey("own_names")
QUIET = frozenset({"/health"})
_PATH_MAX = 256
_LEFT = 499


def _quiet(request: web.Request) -> bool:
    """Whether this is asked every second by a machine or by the console: said at debug only."""
    looks = request.method in ("GET", "HEAD") and request.path.startswith("/admin")
    return looks or request.path in QUIET


@web.middleware
async def access_line(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One log line per request. aiohttp's own writes none for a request whose client left."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    status = _LEFT
    response: web.StreamResponse | None = None
    observed.begin(request)
    with structlog.contextvars.bound_contextvars(**trace.log_ids(request)):
        try:
            response = await handler(request)
            if not request.get(LOST, False):
                status = response.status
            return response
        except web.HTTPException as exc:
            status = exc.status
            raise
        finally:
            observed.end(request, status, response)
            say = log.debug if _quiet(request) else log.info
            say(
                "http.access",
                method=request.method,
                path=request.rel_url.raw_path[:_PATH_MAX],
                status=status,
                ms=round((loop.time() - started) * 1000, 1),
            )
            trace.over()


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every exception becomes the envelope, or a cut connection once headers are out."""
    try:
        return await handler(request)
    except Exception as exc:
        begun: web.StreamResponse | None = request.get(BEGUN)
        if begun is not None:
            log.exception("http.broken_off")
            request[LOST] = True
            cut(request, request.app[CONFIG].server.send_timeout_s)
            return begun
        if isinstance(exc, BackendFault):
            observed.refused(request, exc.fault)
            return answer(exc.fault)
        if isinstance(exc, web.HTTPException):
            if exc.status < 400:
                raise
            response = answer(from_http(exc, request.method, request.rel_url.raw_path[:_PATH_MAX]))
            if "Allow" in exc.headers:
                response.headers["Allow"] = exc.headers["Allow"]
            return response
        if isinstance(exc, ConnectionError) and (
            request.transport is None or request.transport.is_closing()
        ):
            request[LOST] = True
            return answer(gone())
        log.exception("http.failed")
        return answer(internal())


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The browser guard and the API keys; runs before any of the body is read."""
    server = request.app[CONFIG].server
    host = request.headers.get("Host")
    origin = request.headers.get("Origin")
    own_names = request.app[OWN_NAMES]
    if not guard.host_allowed(host, own_names):
        raise BackendFault(guard.foreign_host())
    if not guard.origin_allowed(origin, host, server.allowed_origins):
        raise BackendFault(guard.foreign_origin())
    if (
        origin is not None
        and request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and guard.listed(origin, server.allowed_origins)
    ):
        asked = request.headers.get("Access-Control-Request-Headers", "")
        return web.Response(status=204, headers=guard.preflight_headers(origin, asked))
    if (
        server.api_keys
        and guard.needs_key(request.path)
        and not guard.key_accepted(request.headers.get("Authorization"), server.api_keys)
    ):
        raise BackendFault(guard.unauthorized())
    return await handler(request)


async def remember(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Note that headers go out now, and let allowed pages read them."""
    request[BEGUN] = response
    origin = request.headers.get("Origin")
    if (
        origin is not None
        and isinstance(request, web.Request)
        and guard.listed(origin, request.app[CONFIG].server.allowed_origins)
    ):
        response.headers.update(guard.cors_headers(origin))


MIDDLEWARES = (access_line, faults, gate)
"""Outermost first."""
