"""Generated tokens on their way out: the internal API's events, and OpenAI's chat completions. Pure.

All JSON is escaped to ASCII: a client that splits lines at U+0085 or U+2028, as some do, would lose
a token that contains one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from attrs import frozen

from aistack.chunks import Chunk, Generated, Result, Token
from aistack.errors import Fault, error_object
from aistack.wire.base import Answer, StreamHead


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(data)}\n\n".encode("ascii")


@frozen
class TokenEvents:
    """`/generate`: `{"token", "gpu"}` each, one `{"done": true}` last; a failure is
    `{"error": {...}}`, and the stream ends without done."""

    @property
    def streams(self) -> bool:
        return True

    def head(self, chunk: Chunk | None) -> StreamHead:
        return StreamHead()

    def frame(self, chunk: Chunk) -> bytes | None:
        if not isinstance(chunk, Token) or not chunk.text:
            return None
        return event({"token": chunk.text, "gpu": chunk.slot})

    def tail(self, result: Result) -> bytes | None:
        return event({"done": True})

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        raise TypeError("generated tokens are always streamed")

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return event({"error": error_object(fault)}), True


@frozen
class ChatCompletion:
    """One answer of `/v1/chat/completions` from local weights: streamed, or whole.

    `id` and `created` (unix seconds) are the answer's own; `model` is the tag; `usage` asks for a
    last event with the token counts (a whole answer always has them).
    """

    id: str
    created: int
    model: str
    stream: bool
    usage: bool = False

    @property
    def streams(self) -> bool:
        return self.stream

    def head(self, chunk: Chunk | None) -> StreamHead:
        return StreamHead()

    def frame(self, chunk: Chunk) -> bytes | None:
        if not isinstance(chunk, Token) or not chunk.text:
            return None
        return self._event([_choice({"role": "assistant", "content": chunk.text}, None)])

    def tail(self, result: Result) -> bytes | None:
        generated = cast(Generated, result)
        last = self._event([_choice({}, generated.finish_reason)])
        counts = self._event([], usage=counted(generated)) if self.usage else b""
        return last + counts + b"data: [DONE]\n\n"

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        generated = cast(Generated, result)
        text = "".join(part.text for part in parts if isinstance(part, Token))
        answer = self._named("chat.completion") | {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": None,
                    "finish_reason": generated.finish_reason,
                }
            ],
            "usage": counted(generated),
        }
        return Answer(200, json.dumps(answer).encode("ascii"))

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """In-band, then the connection is cut: an OpenAI client takes a clean end for success."""
        return event({"error": error_object(fault)}), False

    def _named(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        if self.usage and not more:
            more = {"usage": None}
        return event(self._named("chat.completion.chunk") | {"choices": choices} | more)


def _choice(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def counted(generated: Generated) -> dict[str, int]:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": generated.prompt_tokens,
        "completion_tokens": generated.tokens,
        "total_tokens": generated.prompt_tokens + generated.tokens,
    }
