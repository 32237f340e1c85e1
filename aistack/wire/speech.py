"""How speech of our own engines looks: encoded blocks as they are made, then the last one.

Pure. The length is not known before the end, so the answer is sent in chunks.
"""

from __future__ import annotations

from attrs import frozen

from aistack.chunks import Chunk, Piece, Result, Tail
from aistack.contract.speech import FORMATS
from aistack.errors import Fault
from aistack.wire.base import StreamHead, StreamWire


@frozen
class SpeechWire(StreamWire):
    """Audio in one of OpenAI's formats."""

    format: str

    def head(self, chunk: Chunk | None) -> StreamHead:
        """Known from the start: a good answer is 200 in the requested format."""
        return StreamHead(200, FORMATS[self.format], sse=False)

    def frame(self, chunk: Chunk) -> bytes | None:
        """One block."""
        return chunk.data if isinstance(chunk, Piece) else None

    def tail(self, result: Result) -> bytes | None:
        """The last bytes."""
        return result.data or None if isinstance(result, Tail) else None

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """Audio has no place for words: the connection is cut."""
        return None, False
