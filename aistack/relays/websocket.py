"""A relayed WebSocket: the relay opens the upstream's side and holds the slot, the handler pumps.

The handler submits a SocketRequest like any other; the first chunk says that the upstream took it,
so that a busy slot or an absent upstream is still an ordinary answer instead of an upgrade. The
job ends when the handler sets `over`, and a cancelled job closes the upstream's side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from attrs import Factory, define
from yarl import URL

from aistack.chunks import Head, Tail
from aistack.contract.relay_request import SocketCall
from aistack.engines.base import RelayItem
from aistack.errors import BackendFault
from aistack.relays.upstream import Upstream

CLOSE_S = 2.0

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


@define(eq=False)
class SocketRequest(SocketCall):
    """A WebSocket to open. `upstream` is there once the first chunk was produced."""

    upstream: aiohttp.ClientWebSocketResponse | None = None
    over: asyncio.Event = Factory(asyncio.Event)


async def hold_socket(upstream: Upstream, request: SocketRequest) -> AsyncGenerator[RelayItem, None]:
    """Open the upstream's side, say so, and wait until the session is over. Raises BackendFault."""
    url = URL(f"{upstream.settings.url_object}{request.path_qs}", encoded=True)
    try:
        async with asyncio.timeout(upstream.settings.connect_s + CLOSE_S):
            socket = await upstream.sessions.get().ws_connect(
                url, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S)
            )
    except aiohttp.WSServerHandshakeError as exc:
        raise BackendFault(upstream.error_fault(exc.status, b"")) from exc
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise BackendFault(upstream.fault_of(exc, begun=False)) from exc
    request.upstream = socket
    try:
        yield Head(101, ())
        await request.over.wait()
        yield Tail()
    finally:
        await socket.close()


async def relay_websocket(client: web.WebSocketResponse, request: SocketRequest, send_s: float) -> None:
    """Pass messages both ways until either side closes, then close the other with the same code.

    Raises TimeoutError, with the session over, if a side does not take a message within `send_s` s.
    """
    upstream = request.upstream
    assert upstream is not None, "the relay has not opened its side yet"
    try:
        up = asyncio.create_task(_pump(client, upstream, send_s))
        down = asyncio.create_task(_pump(upstream, client, send_s))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            ended = await asyncio.gather(up, down, return_exceptions=True)
        if any(isinstance(one, TimeoutError) for one in ended):
            raise TimeoutError  # no farewell: it would not be taken either
        code = upstream.close_code if down.done() and not down.cancelled() else client.close_code
        code = code if code is not None and (code in _MAY_BE_SENT or 3000 <= code < 5000) else 1000
        await client.close(code=code)
        await upstream.close(code=code)
    finally:
        request.over.set()


_MAY_BE_SENT = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Close codes that may stand in a close frame (RFC 6455, 7.4.1)."""


async def _pump(source: Socket, sink: Socket, send_s: float) -> None:
    """Messages from one side to the other until the first closes or the second takes none."""
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await _sent_in_time(sink.send_str(message.data), send_s)
        elif message.type is WSMsgType.BINARY:
            await _sent_in_time(sink.send_bytes(message.data), send_s)


async def _sent_in_time(sending: Coroutine[Any, Any, None], send_s: float) -> None:
    async with asyncio.timeout(send_s):
        await sending
