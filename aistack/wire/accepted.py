"""The 202 of a change of weights: sent when the job is submitted, before anything is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from attrs import frozen

from aistack.chunks import Accepted, Chunk, Result
from aistack.contract.converters import to_json
from aistack.contract.public import SwapAccepted
from aistack.errors import Fault
from aistack.wire.base import Answer, StreamHead


@frozen
class SwapAnswer:
    """`{"status", "current_model"}`; what happens afterwards is told by /stats."""

    @property
    def streams(self) -> bool:
        return False

    def head(self, chunk: Chunk | None) -> StreamHead:
        raise TypeError("a change of weights has no stream")

    def frame(self, chunk: Chunk) -> bytes | None:
        return None

    def tail(self, result: Result) -> bytes | None:
        return None

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        accepted = cast(Accepted, result)
        status = cast(Literal["accepted", "ok"], accepted.status)
        said = SwapAccepted(status=status, current_model=accepted.current_model)
        return Answer(202, to_json(said))

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return None, False
