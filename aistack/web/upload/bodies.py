"""Reading a request's body within limits of size and silence. Everything that can be wrong with it
is 400 or 413 here, so that no handler meets an exception of the HTTP library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    StreamReader,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from aistack.config import ServerSection
from aistack.config.units import MiB
from aistack.errors import BackendFault, Code, body_not_json, body_not_object, malformed
from aistack.web import instrumentation as observed
from aistack.web.faults import beyond_limit
from aistack.web.queueing import begin_body

T = TypeVar("T")
PARSED_IN_THREAD = 1 * MiB

BROKEN = (
    ValueError,  # aiohttp's multipart reader: no boundary, bad boundary, end too early, bad base64
    LookupError,  # an unknown charset
    RuntimeError,  # its unknown transfer encoding, and its bad default charset
    AssertionError,  # its way of saying "not multipart"
    HttpProcessingError,  # bad chunked framing, bad content encoding, overlong lines
    web.RequestPayloadError,
    asyncio.IncompleteReadError,
    BadContentDispositionHeader,  # warnings, where those are errors; else the part is nameless
    BadContentDispositionParam,
)
"""What reading a bad body raises. Used around single reads only."""


async def pull(reading: Awaitable[T], idle_s: float, broken: str) -> T:
    """One read of the body. Raises BackendFault 400: too long without a byte, or `broken`."""
    try:
        async with asyncio.timeout(idle_s):
            return await reading
    except TimeoutError:
        raise BackendFault(
            malformed("The upload stopped before it was complete.", Code.INVALID_BODY)
        ) from None
    except BROKEN as exc:
        raise BackendFault(malformed(broken, Code.INVALID_BODY)) from exc


async def read_body(request: web.Request, limit: int, idle_s: float) -> bytes:
    """The whole body in memory; 413 beyond `limit` bytes, unread where its length was declared."""
    if (request.content_length or 0) > limit:
        raise BackendFault(beyond_limit("body", limit))
    await begin_body(request)
    body = bytearray()
    content = request.content
    while True:
        if content.is_eof():  # all of it is here, as small bodies are at once: nothing to wait for
            piece = _at_hand(content)
        else:
            piece = await pull(content.readany(), idle_s, "The body could not be read.")
        if not piece:
            read = bytes(body)
            observed.body_read(request, read)
            return read
        body += piece
        if len(body) > limit:
            raise BackendFault(beyond_limit("body", limit))


def _at_hand(content: StreamReader) -> bytes:
    """More of a body that is all here; empty at its end. Raises BackendFault as `pull`."""
    try:
        return content.read_nowait()
    except BROKEN as exc:
        raise BackendFault(malformed("The body could not be read.", Code.INVALID_BODY)) from exc


async def read_json(request: web.Request, server: ServerSection) -> dict[str, Any]:
    """The body as a JSON object, whatever its content type says. 400 for anything else."""
    body = await read_body(request, server.max_json_bytes, server.upload_idle_s)
    try:
        if len(body) > PARSED_IN_THREAD:
            value = await asyncio.to_thread(json.loads, body)
        else:
            value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BackendFault(body_not_json()) from exc
    if not isinstance(value, dict):
        raise BackendFault(body_not_object())
    return value
