"""/admin: the console's page and its files, open to all; its data calls carry the key."""

from __future__ import annotations

from aiohttp import web

from aistack.web import pages

FOLDER = "console"
HOME = "/admin"

page = pages.page(FOLDER)
static = pages.static(FOLDER)


async def home(request: web.Request) -> web.StreamResponse:
    """Whoever asks for nothing in particular is shown the console."""
    raise web.HTTPFound(HOME)
