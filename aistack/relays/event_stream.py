"""An upstream's event stream on its way through, with its end held until it is certain.

Rule of the house: the last piece of an answer travels with the report that the slot is free, so a
client that leaves at `[DONE]` has its whole answer and the next call is never refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from aistack.chunks import Piece, Tail
from aistack.contract.relay_request import media_type
from aistack.errors import BackendFault, Code, Fault
from aistack.relays.sse_end import StreamEnd
from aistack.relays.upstream import Sessions, Upstream

HOLD_S = 0.25
"""How long to wait for the formal end once the answer is complete, seconds."""


def is_events(response: aiohttp.ClientResponse) -> bool:
    """Whether the body is an event stream that can be looked at (not a compressed one)."""
    plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return plain and media_type(response.headers.get("Content-Type", "")) == "text/event-stream"


async def relay_events(
    upstream: Upstream, response: aiohttp.ClientResponse, end: StreamEnd, late_is_over: bool
) -> AsyncGenerator[Piece | Tail, None]:
    """Pieces, then the Tail. Raises BackendFault if the stream ends before its answer is complete.

    `late_is_over`: a formal end that does not come in time is not waited for any longer; otherwise
    what was held goes out and the stream goes on.
    """
    loop = asyncio.get_running_loop()
    until: float | None = None
    while True:
        try:
            if until is None:
                data = await upstream.read(response)
            else:
                async with asyncio.timeout_at(until):
                    data = await upstream.read(response)
        except TimeoutError:
            if late_is_over:
                yield Tail(end.rest())
                return
            until = None
            if held := end.let_go():
                yield Piece(held)
            continue
        except BackendFault:
            if not end.finished:
                raise
            yield Tail(end.held)  # complete but for its formal end
            return
        if data:
            out = end.feed(data)
            if out:
                yield Piece(out)
            if end.holding and until is None:
                until = loop.time() + HOLD_S
        if end.done or (not data and end.finished):
            yield Tail(end.rest())
            return
        if not data:
            raise BackendFault(truncated(upstream.settings.provider))


def truncated(provider: str) -> Fault:
    """The upstream closed its stream as if it were complete, and it is not."""
    return Fault(
        Code.UPSTREAM_ERROR,
        f"{provider} ended the stream in the middle of its answer.",
        provider,
    )


def leave(sessions: Sessions, upstream: Upstream, response: aiohttp.ClientResponse, whole: bool) -> None:
    """Give the connection back after a whole answer; cut it otherwise: that is the cancel."""
    if not whole:
        response.close()
    elif response.content.at_eof():
        response.release()
    else:
        sessions.aside(upstream.drain(response))
