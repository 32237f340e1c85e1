"""Generated tokens on their way out: the internal API's events, and OpenAI's chat completions. Pure.

All JSON is escaped to ASCII: a client that splits lines at U+0085 or U+2028, as some do, would lose
a token that contains one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from attrs import frozen

from aistack.chunks import Chunk, Generated, Result, Token
from aistack.errors import Fault, error_object
from aistack.wire.base import Answer, StreamHead, StreamWire, WholeWire
from aistack.wire.sse import CHAT_DONE, event


def json_event(data: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return event(json.dumps(data).encode("ascii"))


@frozen
class TokenEvents(StreamWire):
    """`/generate`: `{"token", "gpu"}` each, one `{"done": true}` last; a failure is
    `{"error": {...}}`, and the stream ends without done."""

    def head(self, chunk: Chunk | None) -> StreamHead:
        return StreamHead()

    def frame(self, chunk: Chunk) -> bytes | None:
        if not isinstance(chunk, Token) or not chunk.text:
            return None
        return json_event({"token": chunk.text, "gpu": chunk.slot})

    def tail(self, result: Result) -> bytes | None:
        return json_event({"done": True})

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return json_event({"error": error_object(fault)}), True


@frozen
class ChatHead:
    """What all parts of one answer of `/v1/chat/completions` from local weights have in common.

    `id` and `created` (unix seconds) are the answer's own; `model` is the tag.
    """

    id: str
    created: int
    model: str

    def named(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@frozen
class WholeChat(WholeWire):
    """A chat completion at once."""

    answer: ChatHead

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        generated = cast(Generated, result)
        text = "".join(part.text for part in parts if isinstance(part, Token))
        body = self.answer.named("chat.completion") | {
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
        return Answer(200, json.dumps(body).encode("ascii"))


@frozen
class StreamedChat(StreamWire):
    """A chat completion in chunks; `usage` asks for a last event with the token counts."""

    answer: ChatHead
    usage: bool = False

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
        return last + counts + CHAT_DONE

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        """In-band, then the connection is cut: an OpenAI client takes a clean end for success."""
        return json_event({"error": error_object(fault)}), False

    def _event(self, choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
        counts = {"usage": usage} if self.usage else {}
        return json_event(self.answer.named("chat.completion.chunk") | {"choices": choices} | counts)


def _choice(delta: dict[str, str], reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def counted(generated: Generated) -> dict[str, int]:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": generated.prompt_tokens,
        "completion_tokens": generated.tokens,
        "total_tokens": generated.prompt_tokens + generated.tokens,
    }
