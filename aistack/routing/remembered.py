"""A value that is asked for only now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Remembered(Generic[T]):
    """The value of a coroutine, kept for `ttl` seconds; callers who come together share one call."""

    def __init__(self, ask: Callable[[], Awaitable[T]], ttl: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._ttl = ttl
        self._clock = clock
        self._until = float("-inf")
        self._value: T | None = None
        self._asking: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """The value, at most `ttl` seconds old. Raises what the coroutine raises, which is not kept."""
        if self._asking is None:
            if self._clock() < self._until:
                return cast(T, self._value)
            self._asking = asyncio.ensure_future(self._fresh())
            self._asking.add_done_callback(self._done)
        return await asyncio.shield(self._asking)

    async def _fresh(self) -> T:
        self._value = await self._ask()
        self._until = self._clock() + self._ttl
        return self._value

    def _done(self, future: asyncio.Future[T]) -> None:
        self._asking = None
        if not future.cancelled():
            future.exception()
