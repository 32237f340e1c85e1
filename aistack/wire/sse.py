"""One server-sent event as bytes: what all our streams of events are made of. Pure."""

from __future__ import annotations


def event(data: bytes) -> bytes:
    """The event that carries `data`, which must be a single line."""
    return b"data: " + data + b"\n\n"


CHAT_DONE = event(b"[DONE]")
"""How a stream of OpenAI's chat completions ends."""
