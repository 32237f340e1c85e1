"""Where a relayed event stream ends: what may go out now, and what is held until the end is certain.

No I/O. Bytes are never changed, only cut at the boundaries of events: an incomplete event is held
back, so that an error can be reported in a clean event of its own, and so that a marker split over two
reads is seen.
"""

from __future__ import annotations

import re

HELD_MAX = 256 * 1024
"""An "event" longer than this is not one: what was held goes out as it is."""

CHAT_DONE = re.compile(rb"(?:\A|\n)data: ?\[DONE\][ \t]*(?=\r?\n)")
DONE_WORD = b"[DONE]"
"""Looked for first: most of a stream has none, and a plain search is many times faster."""
CHAT_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
"""Cannot match inside a JSON string: there the quotes are escaped."""

SPEECH_DONE = re.compile(rb'"type"\s*:\s*"speech\.audio\.done"')


class StreamEnd:
    """Fed with the bytes of one stream. `done`: the last event was seen; `finished`: or as good as.

    `finish` begins the hold (the answer is complete, only its formal end is missing); `done` is the
    formal end. A stream that closes without either is broken.
    """

    def __init__(self, finish: re.Pattern[bytes], done: re.Pattern[bytes] | None) -> None:
        self._finish = finish
        self._done = done
        self._partial = bytearray()
        self._held = bytearray()
        self.holding = False
        self.finished = False
        self.done = False

    @property
    def held(self) -> bytes:
        """What waits for the formal end."""
        return bytes(self._held)

    def feed(self, data: bytes) -> bytes:
        """What of the stream may go out now; the rest is kept in `held` or as a partial event."""
        seen = len(self._partial)
        self._partial += data
        # A boundary has three bytes at most, and what was kept has none: only what came is searched.
        cut = _last_boundary(self._partial, max(seen - 2, 0))
        if cut == 0 and len(self._partial) > HELD_MAX:
            cut = len(self._partial)
        if cut == 0:
            return b""
        complete = bytes(self._partial[:cut])
        del self._partial[:cut]
        if self._done is not None and DONE_WORD in complete and self._done.search(complete):
            self.done = self.finished = True
        if self.finished or (match := self._finish.search(complete)) is None:
            if self.holding or self.done:
                self._held += complete
                return b""
            return complete
        self.finished = self.holding = True
        start = _last_boundary(complete[: match.start()])
        self._held += complete[start:]
        return complete[:start]

    def let_go(self) -> bytes:
        """The hold took too long: what was held goes out, and only `done` or the end is waited for."""
        self.holding = False
        return self._taken(self._held)

    def rest(self) -> bytes:
        """Everything that has not gone out, at the end of the stream."""
        return self._taken(self._held) + self._taken(self._partial)

    def _taken(self, kept: bytearray) -> bytes:
        taken = bytes(kept)
        kept.clear()
        return taken


def _last_boundary(data: bytes | bytearray, start: int = 0) -> int:
    """Where the last complete event of `data` ends; 0 if none ends after `start`."""
    end = max(data.rfind(b"\n\n", start), data.rfind(b"\n\r\n", start))
    if end < 0:
        return 0
    return end + (2 if data[end + 1 : end + 2] == b"\n" else 3)
