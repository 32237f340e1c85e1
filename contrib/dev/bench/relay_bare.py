"""The floor for a gateway in Python: a bare aiohttp reverse proxy on uvloop. No jobs, logs or limits.

    python -m contrib.dev.bench.relay_bare PORT UPSTREAM [parse] [touch]

`parse`: chat bodies are decoded and encoded again, as by a proxy that looks at them. `touch`: one more
round trip to the upstream before the call, as the effective `keep_alive` costs.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

DROPPED = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "host",
        "keep-alive",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
LARGE = 1024 * 1024
JSON = {"Content-Type": "application/json"}


class Proxy:
    """One upstream. Answers pass piece by piece; requests are read first, as by a gateway that admits
    whole ones only."""

    def __init__(self, upstream: str, parse: bool, touch: bool) -> None:
        self.upstream = upstream
        self.parse = parse
        self.touch = touch
        self.session: ClientSession

    async def life(self, app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            timeout=ClientTimeout(total=None, sock_connect=5),
        ) as self.session:
            yield

    async def relay(self, request: web.Request) -> web.StreamResponse:
        headers = {name: v for name, v in request.headers.items() if name.lower() not in DROPPED}
        async with self.session.request(
            request.method,
            self.upstream + request.path_qs,
            data=await self._body(request),
            headers=headers,
            allow_redirects=False,
        ) as up:
            out = {name: v for name, v in up.headers.items() if name.lower() not in DROPPED}
            if up.content_length is not None and up.content_length < 64 * 1024:
                return web.Response(status=up.status, headers=out, body=await up.read())
            response = web.StreamResponse(status=up.status, headers=out)
            response.content_length = up.content_length
            await response.prepare(request)
            async for piece in up.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def _body(self, request: web.Request) -> object:
        if not request.can_read_body:
            return None
        body = await request.read()
        if len(body) > LARGE:
            return io.BytesIO(body)  # in one piece it would stop the loop
        if not self.parse or request.content_type != "application/json":
            return body
        asked = json.loads(body)
        if self.touch:
            data = json.dumps({"model": asked.get("model"), "keep_alive": "30s"}).encode()
            async with self.session.post(
                self.upstream + "/api/generate", data=data, headers=JSON
            ) as touched:
                await touched.read()
        asked.setdefault("keep_alive", "30s")
        return json.dumps(asked).encode()


def main() -> None:
    proxy = Proxy(sys.argv[2].rstrip("/"), "parse" in sys.argv[3:], "touch" in sys.argv[3:])
    app = web.Application(client_max_size=1024**3)
    app.cleanup_ctx.append(proxy.life)
    app.router.add_route("*", "/{path:.*}", proxy.relay)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        handler_cancellation=True,
        loop=loop,
    )


if __name__ == "__main__":
    main()
