"""The 202 of a change of weights: sent when the job is submitted, before anything is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from attrs import frozen

from aistack.chunks import Accepted, Chunk, Result
from aistack.contract.converters import to_json
from aistack.contract.public import SwapAccepted
from aistack.wire.base import Answer, WholeWire


@frozen
class SwapAnswer(WholeWire):
    """`{"status", "current_model"}`; /stats shows what happens afterwards."""

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        accepted = cast(Accepted, result)
        status = cast(Literal["accepted", "ok"], accepted.status)
        body = SwapAccepted(status=status, current_model=accepted.current_model)
        return Answer(202, to_json(body))
