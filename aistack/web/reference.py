"""GET /openapi.json: the document, made at start-up, answered from memory."""

from __future__ import annotations

import json

from aiohttp import web

from aistack.web.pages import Asset, answer

DOCUMENT: web.AppKey[Asset] = web.AppKey("document", Asset)


async def openapi_json(request: web.Request) -> web.StreamResponse:
    """This document."""
    return answer(request, request.app[DOCUMENT])


def printed() -> str:
    """The document of a service with all its parts, for people and for comparing."""
    from aistack.web.openapi.document import build
    from aistack.web.operations import EVERY

    return json.dumps(build(EVERY), indent=2, ensure_ascii=False) + "\n"
