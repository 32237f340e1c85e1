"""One job's answer on its way out: the scheduler puts, one reader gets.

Bytes in flight are counted so that a relay can wait for room (`ready`) before it reads more from
its upstream; engines need no window, their output is small and bounded by the audio.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aistack.jobs.effects import AbortStream, CloseStream, Emit, OpenStream, Respond

Said = Respond | OpenStream | Emit | CloseStream | AbortStream

WINDOW = 1024 * 1024
"""Bytes that may wait for a slow client before its upstream is no longer read."""


class Outlet:
    """A queue of answers with a single reader."""

    def __init__(self, window: int = WINDOW) -> None:
        self._said: deque[Said] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pending = 0
        self._window = window

    def put(self, effect: Said) -> None:
        """Hand over the next part of the answer; never waits."""
        self._said.append(effect)
        if isinstance(effect, Emit):
            self._pending += len(effect.frame)
            if self._pending >= self._window:
                self._room.clear()
        self._some.set()

    @property
    def waiting(self) -> bool:
        """Whether the next part is there already."""
        return bool(self._said)

    async def get(self) -> Said:
        """The next part of the answer."""
        while not self._said:
            self._some.clear()
            await self._some.wait()
        effect = self._said.popleft()
        if isinstance(effect, Emit):
            self._pending -= len(effect.frame)
            if self._pending < self._window:
                self._room.set()
        return effect

    async def ready(self) -> None:
        """Wait until the reader has caught up."""
        await self._room.wait()

    async def collect(self) -> list[Said]:
        """The whole answer, for tests and for callers without a socket."""
        answer = [await self.get()]
        while not isinstance(answer[-1], Respond | CloseStream | AbortStream):
            answer.append(await self.get())
        return answer
