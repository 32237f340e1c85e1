"""What of a request's and an answer's headers may be kept on a disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
SECRET = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "sec-websocket-protocol",  # where browsers have to put a key
        "set-cookie",
        "x-api-key",
        "x-internal-api-key",
    }
)
"""Header names whose values are keys, in lower case."""


def headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers by name, secrets masked; values of a repeated name are joined with a comma."""
    kept: dict[str, str] = {}
    for name, value in pairs:
        value = MASK if name.lower() in SECRET else value
        kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept
