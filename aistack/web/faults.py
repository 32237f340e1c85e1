"""Failures of requests that never became jobs: an exception in, the envelope out; or a connection cut.

Once the headers are sent the status cannot change: then the connection is cut, so that no client takes
the answer for complete.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web
from aiohttp.http import HttpVersion11

from aistack.errors import Code, Fault, envelope, fault_headers, internal, unknown_path
from aistack.wire.base import JSON

_RESET = struct.pack("ii", 1, 0)


def answer(fault: Fault) -> web.Response:
    """The envelope as a response."""
    response = web.Response(status=fault.status, body=envelope(fault), headers={"Content-Type": JSON})
    for name, value in fault_headers(fault):
        response.headers[name] = value
    return response


def gone() -> Fault:
    """The client left before its request was complete; seen in logs only."""
    return Fault(Code.CANCELLED, "The client closed the connection.")


def too_large(message: str, param: str | None = None) -> Fault:
    """The body is beyond a limit: 413."""
    return Fault(Code.TOO_LARGE, message, param=param)


def beyond_limit(what: str, limit: int, param: str | None = None) -> Fault:
    """`what` (the body, the file) has more than `limit` bytes: 413."""
    return too_large(f"The {what} is larger than the limit of {limit} bytes.", param)


def wrong_method(method: str, path: str) -> Fault:
    """The path is served, but not with this method: 405."""
    return Fault(Code.METHOD_NOT_ALLOWED, f"{path} does not accept {method}.")


def from_http(exc: web.HTTPException, method: str, path: str) -> Fault:
    """What aiohttp says in plain text, as a fault."""
    match exc.status:
        case 404:
            return unknown_path(path)
        case 405:
            return wrong_method(method, path)
        case 413:
            return too_large("The request body is too large.")
        case status if 400 <= status < 500:
            return Fault(Code.INVALID_BODY, "The request could not be read.")
        case _:
            return internal()


def cut(request: web.BaseRequest, after_s: float) -> None:
    """Close the connection so that the client sees a broken answer, after what was already written.

    A chunked or counted body is visibly cut by its missing end. An HTTP/1.0 body that ends with the
    connection is not, so there the connection is reset. A client that does not read what is buffered
    has `after_s` seconds.
    """
    transport = request.transport
    if transport is None:
        return
    if request.version < HttpVersion11:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
        return
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(after_s, transport.abort)
