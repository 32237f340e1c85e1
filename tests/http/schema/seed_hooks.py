"""Seed 004 calls the body of a stream a string: so it is one here, and not a list of events."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.deserializer("text/event-stream")
def whole(context: Any, response: Any) -> list[str]:
    """One string: the whole stream."""
    return [response.content.decode()]
