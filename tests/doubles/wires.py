"""A format for jobs of tests, and what a client of it reads, in a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aistack.errors import Fault
from aistack.jobs.effects import AbortStream, Emit, Respond
from aistack.wire.base import Answer, StreamHead


class PlainWire:
    """Chunks as JSON lines; readable in a failing test."""

    def __init__(self, streams: bool) -> None:
        self.streams = streams

    def head(self, chunk: Any) -> StreamHead:
        return StreamHead()

    def frame(self, chunk: Any) -> bytes | None:
        data = getattr(chunk, "data", None)
        if data is not None:
            return bytes(data)
        text = getattr(chunk, "text", None)
        return None if text is None else f"{chunk.lead}{text}".encode()

    def tail(self, result: Any) -> bytes | None:
        text = getattr(result, "text", None)
        return bytes(result.data) if text is None else f"|{text}".encode()

    def body(self, parts: Any, result: Any) -> Answer:
        return Answer(200, getattr(result, "text", "").encode())

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return f"!{fault.code.value}".encode(), True


def said(answer: Sequence[Any]) -> str:
    """An answer in one line: `200 text`, or `~frame~frame.` for streams (`/` if aborted)."""
    first = answer[0]
    if isinstance(first, Respond):
        body = first.answer.body.decode()
        code = json.loads(body)["error"]["code"] if first.answer.status >= 400 else body
        return f"{first.answer.status} {code}"
    frames = [effect.frame.decode() for effect in answer if isinstance(effect, Emit)]
    end = "/" if isinstance(answer[-1], AbortStream) else "."
    return "~" + "~".join(frames) + end
