"""A relay without a server behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from attrs import frozen

from aistack.chunks import Head, Piece, Tail, Vram
from aistack.contract.relay_request import RelayRequest
from aistack.engines.fake import GATE_S
from aistack.errors import ErrorKind


@frozen
class ScriptedCall(RelayRequest):
    """A call and what a FakeRelay is to do for it."""

    acts: tuple[object, ...] = ()
    """Bytes to send, events to wait for, a Tail, exceptions to raise."""


class FakeRelay:
    """A relay that plays the script of its call.

    `entered` is set when a run begins, `closed` counts runs that were cancelled, `loaded` is the
    foreign memory that `evict` gives back.
    """

    def __init__(self, name: str = "fake-relay", vram: Vram = Vram.EXTERNAL) -> None:
        self.name = name
        self.provider = "FakeRelay"
        self.vram = vram
        self.entered = asyncio.Event()
        self.closed = 0
        self.loaded = False
        self.evictions = 0

    async def run(self, request: ScriptedCall) -> AsyncGenerator[Any, None]:
        self.entered.set()
        self.loaded = True
        try:
            yield Head(200, (("Content-Type", "application/octet-stream"),))
            for act in request.acts:
                match act:
                    case bytes():
                        yield Piece(act)
                    case asyncio.Event():
                        await asyncio.wait_for(act.wait(), GATE_S)
                    case Tail():
                        yield act
                    case Exception():
                        raise act
                    case _:
                        raise ValueError(f"no such act: {act}")
        except (asyncio.CancelledError, GeneratorExit):
            self.closed += 1
            raise

    async def evict(self) -> None:
        self.evictions += 1
        self.loaded = False

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        return ErrorKind.NETWORK if isinstance(exc, ConnectionError) else None
