"""The protocol every answer format fulfils, and the two values it hands to the delivery.

Pure. A wire belongs to one job, holds nothing that changes, and may be called from the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from aistack.chunks import Chunk, Result
from aistack.errors import Fault, envelope, fault_headers

JSON = "application/json; charset=utf-8"


@frozen
class Answer:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@frozen
class StreamHead:
    """Status and headers of a streamed response.

    `sse`: our own events, kept alive with comments. Otherwise bytes are relayed untouched;
    `length` is the upstream's Content-Length if it gave one.
    """

    status: int = 200
    content_type: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()
    sse: bool = True
    length: int | None = None


class Wire(Protocol):
    """One answer format."""

    @property
    def streams(self) -> bool:
        """Whether chunks are sent as they come."""
        ...

    def head(self, chunk: Chunk | None) -> StreamHead:
        """Headers of the stream; `chunk` is the first one, none if headers go out before it."""
        ...

    def frame(self, chunk: Chunk) -> bytes | None:
        """The bytes of one chunk; none if it does not show."""
        ...

    def tail(self, result: Result) -> bytes | None:
        """The last bytes of a finished stream."""
        ...

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        """The whole answer."""
        ...

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """An in-band failure: its frame, if the format has one, and whether the stream may then end
        cleanly (otherwise the connection is cut)."""
        ...


def refusal(fault: Fault) -> Answer:
    """The envelope as a whole response: what every format answers before the first byte."""
    return Answer(fault.status, envelope(fault), JSON, fault_headers(fault))
