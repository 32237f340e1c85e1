"""`X-Request-ID`: the caller's id if it is a harmless word, else one of ours, on every response.

An id becomes a folder name and a log field, so only ASCII letters, digits and `- _ : .` pass, and
`.` and `..` never do.
"""

from __future__ import annotations

import re
import secrets

from aiohttp import web

from aistack.web.keys import REQUEST_ID

HEADER = "X-Request-ID"
_WORD = re.compile(r"[A-Za-z0-9_:.\-]{1,128}")


def choose(sent: str | None) -> str:
    """The id of a request whose header says `sent`: that, or 16 lowercase hex digits."""
    if sent is not None:
        sent = sent.strip(" \t")
        if _WORD.fullmatch(sent) and sent not in (".", ".."):
            return sent
    return secrets.token_hex(8)


def request_id(request: web.BaseRequest) -> str:
    """The id of this request; the same at every call."""
    known = request.get(REQUEST_ID)
    if known is None:
        known = request[REQUEST_ID] = choose(request.headers.get(HEADER))
    return known


async def stamp(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the id on a response about to be sent; it replaces an id that an upstream sent."""
    response.headers[HEADER] = request_id(request)
