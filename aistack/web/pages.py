"""Pages and what belongs to them, out of the package: read once, answered from memory.

A page may load and call nothing but this server, and nobody may put it into a frame: a strict content
security policy without inline scripts or styles goes with every asset. Browsers ask again each time
and get a 304 while nothing changed, so that after an upgrade nobody sees an old page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from aiohttp import web
from attrs import frozen

_POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain; charset=utf-8",
}
"""By the end of the name; not asked of the system, whose table may know no JavaScript (Windows)."""


def security_headers(**directives: str) -> dict[str, str]:
    """What goes with every page and its files. `directives` replace those of the policy, `_` for `-`:
    `security_headers(style_src="'self' 'unsafe-inline'")`."""
    policy = {**_POLICY, **{name.replace("_", "-"): value for name, value in directives.items()}}
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


HEADERS: Mapping[str, str] = MappingProxyType(security_headers())


@frozen
class Asset:
    """One file in memory. `etag` is a digest of its bytes."""

    body: bytes
    content_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Asset:
        return cls(body, content_type, hashlib.sha256(body).hexdigest()[:32])


def answer(request: web.Request, asset: Asset, headers: Mapping[str, str] = HEADERS) -> web.Response:
    """The asset, or 304 if the browser has it. HEAD gets the same headers."""
    known = any(tag.value in (asset.etag, "*") for tag in request.if_none_match or ())
    if known:
        response = web.Response(status=304)
    else:
        response = web.Response(body=asset.body, headers={"Content-Type": asset.content_type})
    response.headers.update(headers)
    response.headers["Cache-Control"] = "no-cache"
    response.etag = asset.etag
    return response


@cache
def folder(name: str) -> Mapping[str, Asset]:
    """The assets of `aistack/web/static/<name>/`, by their path below it (`a/b.js`).

    Only the names that were there when it was first read are ever answered, so no path can lead out.
    Files of a type not in `TYPES` (licences without an ending) are left out.
    """
    top = files("aistack.web").joinpath("static", *name.split("/"))
    return MappingProxyType(dict(_below(top, "")))


def _below(top: Traversable, before: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for each in sorted(top.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            found += _below(each, f"{before}{each.name}/")
        elif (kind := TYPES.get(each.name.rpartition(".")[2])) is not None:
            found.append((before + each.name, Asset.of(each.read_bytes(), kind)))
    return found


def page(
    name: str, file: str = "index.html", headers: Mapping[str, str] = HEADERS
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler for one page: the file of that name in the folder `name`."""

    async def show(request: web.Request) -> web.StreamResponse:
        return answer(request, folder(name)[file], headers)

    return show


def static(
    name: str, headers: Mapping[str, str] = HEADERS
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler for the files of the folder `name`; the route names the file: `{file:.+}`. 404 for
    what is not there."""

    async def send(request: web.Request) -> web.StreamResponse:
        asset = folder(name).get(request.match_info["file"])
        if asset is None:
            raise web.HTTPNotFound
        return answer(request, asset, headers)

    return send
