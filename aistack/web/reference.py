"""GET /openapi.json: the document, made at start-up, answered from memory."""

from __future__ import annotations

from aiohttp import web

from aistack.web.pages import Asset, answer

DOCUMENT: web.AppKey[Asset] = web.AppKey("document", Asset)


async def openapi_json(request: web.Request) -> web.StreamResponse:
    """This document."""
    return answer(request, request.app[DOCUMENT])
