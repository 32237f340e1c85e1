"""Requests to upstream servers, inspected as little as possible.

Pure. A body is parsed only to inspect it; the bytes that came are sent on, with at most one member
spliced in (chat) or a few members replaced (speech, see `relays.rewrites`).
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

from attrs import define, frozen

from aistack.errors import BackendFault, Code, Fault, body_not_object

AUDIO = "/v1/audio/"


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()
"""A member that the body does not have; None is a member whose value is null."""


@frozen
class RelayedChat:
    """One chat call: the client's own bytes, and the few members the gateway acts on.

    `keep_alive` is ABSENT if the client sent none. `accept` is the client's Accept header.
    `messages`: how many there are, for the log; None if unknown.
    """

    body: bytes
    model: str | None
    stream: bool
    keep_alive: Any = ABSENT
    accept: str = ""
    messages: int | None = None


@frozen
class RelayRequest:
    """One call below /v1/audio/ that is passed on.

    `path_qs` is path and query as they came, still encoded. `body` is bytes, or the path of a
    spool file as a string, or None.
    """

    method: str
    path_qs: str
    body: bytes | str | None = None
    content_type: str = ""
    accept: str = ""

    @property
    def path(self) -> str:
        return self.path_qs.partition("?")[0]

    @property
    def takes_slot(self) -> bool:
        """Whether this call uses the GPU: every POST except those about voices."""
        return self.method == "POST" and not re.match(r"/v1/audio/voices(/|$)", self.path)


def media_type(content_type: str) -> str:
    """What a Content-Type header names, in lower case and without parameters; empty if nothing.

    aiohttp's own attribute reads the whole header as mail, in the square of its length.
    """
    return content_type.partition(";")[0].strip().lower()


@define(eq=False)
class SocketCall:
    """A WebSocket below /v1/audio/ to open at `path_qs`, path and query as they came.

    Two equal ones are two sessions; what the relay and the handler share of one is the relay's.
    """

    path_qs: str


UpstreamRequest = RelayedChat | RelayRequest | SocketCall
"""What someone else's server can be asked for."""


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body`, or None if it is anything else."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def relayed_chat(body: bytes, accept: str = "") -> RelayedChat:
    """The call in `body`. Raises BackendFault (400 `invalid_body`) if it is not a JSON object.

    No other field is checked: the upstream judges those.
    """
    value = json_object(body)
    if value is None:
        raise BackendFault(body_not_object())
    model = value.get("model")
    return RelayedChat(
        body=body,
        model=model if isinstance(model, str) and model else None,
        stream=value.get("stream") is True,
        keep_alive=value.get("keep_alive", ABSENT),
        accept=accept,
        messages=len(value["messages"]) if isinstance(value.get("messages"), list) else None,
    )


def with_member(body: bytes, name: str, value: Any) -> bytes:
    """The JSON object in `body` with one more member and every other byte unchanged."""
    start = body.index(b"{") + 1
    rest = body[start:]
    comma = b"" if rest.lstrip()[:1] == b"}" else b", "
    member = f"{json.dumps(name)}: {json.dumps(value)}".encode()
    return body[:start] + member + comma + rest


def relay_request(
    method: str,
    path_qs: str,
    body: bytes | str | None = None,
    content_type: str = "",
    accept: str = "",
) -> RelayRequest:
    """The call to pass on. Raises BackendFault (404) for a path that would leave /v1/audio/."""
    path = unquote(path_qs.partition("?")[0])
    segments = re.split(r"[/\\]", path)
    if not path.startswith(AUDIO) or "." in segments or ".." in segments or "\0" in path:
        raise BackendFault(Fault(Code.NOT_FOUND, "Unknown path. See /docs."))
    return RelayRequest(method, path_qs, body, content_type, accept)
