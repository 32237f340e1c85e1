"""What one entry of the list of routes says; see `operations`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web
from attrs import frozen

from aistack.web.openapi.refusals import Refusals

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@frozen
class Events:
    """An answer of server-sent events: the union of what their data can be, and the union's name.

    `last` is the data of a last event that is not JSON.
    """

    kind: object
    name: str
    last: str = ""


Body: TypeAlias = type | str
"""A contract type, or the media type of a body that has none."""


@frozen
class Operation:
    """One method on one path.

    `takes` is the body of a request, None if it has none; `gives` are the bodies that an answer can
    have, which come with `status`. `guard` names the key it asks for: "" (open), "api" or "internal".
    `refuses` are the errors it can give beyond those of every operation; `about` is its description,
    the handler's docstring if empty. `headers` name response headers of answers (see
    `components.HEADERS`). Not `shown`: pages, which are not part of the API.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tags: tuple[str, ...]
    takes: Body | None = None
    gives: tuple[Body | Events, ...] = ()
    guard: str = "api"
    status: int = 200
    refuses: Refusals = frozenset()
    about: str = ""
    headers: tuple[str, ...] = ()
    shown: bool = True
