"""What one entry of the list of routes says; see `operations`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from attrs import frozen

from aistack.web.openapi.refusals import Refusals

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@frozen
class Events:
    """An answer of server-sent events: the union of what their data can be, and the union's name.

    `last` is the data of a last event that is no JSON.
    """

    kind: Any
    name: str
    last: str = ""


@frozen
class Operation:
    """One method on one path.

    `takes` is the structured request type (or a media type), none if there is no body; `gives` the
    types (or media types, or Events) of good answers, which come with `status`. `guard` names the key
    it asks for: "" (open), "api" or "internal". `refuses` are the errors it can give beyond those of
    every operation; `about` is its description, the handler's docstring if empty. `headers` name
    response headers of good answers (see `openapi.HEADERS`). Not `shown`: pages, which are no API.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tags: tuple[str, ...]
    takes: Any = None
    gives: tuple[Any, ...] = ()
    guard: str = "api"
    status: int = 200
    refuses: Refusals = frozenset()
    about: str = ""
    headers: tuple[str, ...] = ()
    shown: bool = True
