"""A client that accepts no data for too long: one timer for a whole answer, not one for each write.

What counts is whether bytes leave, so a slow client may take its time over a large piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
LOOKS = 4
"""How often within the limit the connection is looked at: a cut comes at most this much later."""


class StallTimer:
    """Cuts the connection if a write is pending and nothing left it for `limit_s`.

    The pending write then ends as for any client that left.
    """

    def __init__(self, transport: asyncio.Transport | None, limit_s: float) -> None:
        self._transport = transport
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._pending = False
        self._left = -1
        self._moved = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> StallTimer:
        self._again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def write(self, writing: Awaitable[T]) -> T:
        """Await one write."""
        self._pending, self._left = True, -1
        try:
            return await writing
        finally:
            self._pending = False

    def _again(self) -> None:
        self._timer = self._loop.call_later(self._limit_s / LOOKS, self._look)

    def _look(self) -> None:
        if self._pending and self._transport is not None:
            now, left = self._loop.time(), self._transport.get_write_buffer_size()
            if left != self._left:
                self._left, self._moved = left, now
            elif now - self._moved >= self._limit_s:
                self._transport.abort()
                return
        self._again()
