"""How a relayed answer looks: status, end-to-end headers and bytes exactly as the upstream gave them.

Pure. Until the upstream's head is known there is nothing to open a stream with, and the machine
does not ask for it: a failure before the first byte stays a status, however long that takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum

from attrs import frozen

from aistack.chunks import Chunk, Head, Piece, Result, Tail
from aistack.errors import Fault, error_object
from aistack.wire.base import StreamHead, StreamWire
from aistack.wire.sse import event

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection only (RFC 9110, 7.6.1)."""

OURS = frozenset({"content-type", "content-length", "x-request-id"})
"""Headers that we set ourselves: the caller's request id wins over an upstream's."""


class Relayed(Enum):
    """What is relayed; it decides how a failure after the first byte shows."""

    CHAT_STREAM = "chat stream"
    CHAT_WHOLE = "chat whole"
    SPEECH = "speech"


def end_to_end(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that are meant for the client.

    An upstream's CORS headers are left out too: who may read us from a browser is for our own
    guard to say.
    """
    headers = tuple(headers)
    named = {
        word.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
    }
    dropped = HOP_BY_HOP | OURS | named
    return tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in dropped and not name.lower().startswith("access-control-")
    )


def length_of(headers: Iterable[tuple[str, str]]) -> int | None:
    """The Content-Length the upstream gave, if it gave one that can be meant."""
    for name, value in headers:
        if name.lower() == "content-length" and value.isascii() and value.isdigit():
            return int(value)
    return None


def content_type_of(headers: Iterable[tuple[str, str]]) -> str:
    """The upstream's Content-Type; bytes without one are just bytes."""
    for name, value in headers:
        if name.lower() == "content-type":
            return value
    return "application/octet-stream"


@frozen
class RelayWire(StreamWire):
    """A transparent answer; `what` says how it can fail once it has begun."""

    what: Relayed

    def head(self, chunk: Chunk | None) -> StreamHead:
        """The upstream's own head. Raises TypeError for anything else: nothing can go out before it."""
        if not isinstance(chunk, Head):
            raise TypeError("a relayed answer begins with its upstream's head")
        return StreamHead(
            status=chunk.status,
            content_type=content_type_of(chunk.headers),
            headers=end_to_end(chunk.headers),
            sse=False,
            length=length_of(chunk.headers),
        )

    def frame(self, chunk: Chunk) -> bytes | None:
        """The bytes of a piece, untouched."""
        return chunk.data if isinstance(chunk, Piece) else None

    def tail(self, result: Result) -> bytes | None:
        """The bytes that were held back until the end was certain."""
        return result.data or None if isinstance(result, Tail) else None

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """A chat stream carries its error as an event; every other answer is cut off."""
        if self.what is not Relayed.CHAT_STREAM:
            return None, False
        error = json.dumps({"error": error_object(fault)}, ensure_ascii=False)
        return event(error.encode()), False
