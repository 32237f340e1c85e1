"""One job's answer on its way out: the scheduler puts, one reader gets.

Bytes in flight are counted so that a relay can wait for room (`ready`) before it reads more from
its upstream; engines need no window, their output is small and bounded by the audio. How long an
upstream may wait so, in all, is bounded: it sits on the card meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aistack.jobs.effects import AbortStream, CloseStream, Emit, Reply, Respond

WINDOW = 1024 * 1024
"""Bytes that may wait for a slow client before its upstream is no longer read."""
SLOW_S = 300.0
"""Longest total time an upstream may be held back by a slow client."""


class Outlet:
    """A queue of replies with a single reader. `window` is in bytes, `slow_s` in seconds."""

    def __init__(self, window: int = WINDOW, slow_s: float = SLOW_S) -> None:
        self._replies: deque[Reply] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._pending = 0
        self._window = window
        self._slow_left = slow_s

    def put(self, effect: Reply) -> None:
        """Hand over the next part of the answer; never waits."""
        self._replies.append(effect)
        if isinstance(effect, Emit):
            self._pending += len(effect.frame)
            if self._pending >= self._window:
                self._room.clear()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @property
    def waiting(self) -> bool:
        """Whether the next part is there already."""
        return bool(self._replies)

    async def get(self) -> Reply:
        """The next part of the answer."""
        while not self._replies:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        effect = self._replies.popleft()
        if isinstance(effect, Emit):
            self._pending -= len(effect.frame)
            if self._pending < self._window:
                self._room.set()
        return effect

    async def ready(self) -> None:
        """Wait until the reader has caught up. Raises TimeoutError after `slow_s` of it in all."""
        if self._room.is_set():
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._slow_left):
                await self._room.wait()
        finally:
            self._slow_left = max(0.0, self._slow_left - (loop.time() - began))

    async def collect(self) -> list[Reply]:
        """The whole answer, for tests and for callers without a socket."""
        answer = [await self.get()]
        while not isinstance(answer[-1], Respond | CloseStream | AbortStream):
            answer.append(await self.get())
        return answer
