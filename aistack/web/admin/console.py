"""/admin: the console's page and files, open to all; the page's calls for data carry the key."""

from __future__ import annotations

from aiohttp import web

from aistack.web import pages

FOLDER = "console"
HOME = "/admin"

page = pages.page(FOLDER)
static = pages.static(FOLDER)


async def home(request: web.Request) -> web.StreamResponse:
    """Redirect `/` to the console."""
    raise web.HTTPFound(HOME)
