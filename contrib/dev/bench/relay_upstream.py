"""The upstream behind every target of `relay`: Ollama's and the speech container's routes, no model.

    python -m contrib.dev.bench.relay_upstream PORT

`model` is "fake-N": N milliseconds between two of the 200 tokens of a stream, 0: as fast as the socket
takes them; the first comes at once. Each token says when it was written, in nanoseconds of the clock
that all processes of a machine share. Speech answers with `?bytes=N` zeros, with `&chunked=1` without
their length.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web

TOKENS = 200
MODELS = ("fake-0", "fake-5", "fake-20")
BLOCK = bytes(256 * 1024)
CUT_WAIT_S = 10.0
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "fake-0",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "This is a canned answer. " * 10},
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 64, "total_tokens": 73},
    }
).encode()
BEFORE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"fake-0","choices":[{"index":0,"delta":'
)
AFTER = b',"finish_reason":null}]}\n\n'
LAST = BEFORE + b'{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Upstream:
    """The routes, and when the last stream was cut by its reader."""

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.cut = asyncio.Condition()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        if not asked.get("stream"):
            return web.Response(body=WHOLE, content_type="application/json")
        pause = float(asked["model"].rsplit("-", 1)[1]) / 1000
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await self._tokens(response, pause)
        except (ConnectionError, asyncio.CancelledError):
            self.cuts.append(time.monotonic_ns())
            async with self.cut:
                self.cut.notify_all()
            raise
        return response

    async def _tokens(self, response: web.StreamResponse, pause: float) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(TOKENS):
            if number and pause:
                await asyncio.sleep(max(0.0, start + number * pause - loop.time()))
            content = b'{"content":"t=%d;"}' % time.monotonic_ns()
            await response.write(BEFORE + content + AFTER)
        await response.write(LAST)

    async def wait_cut(self, request: web.Request) -> web.Response:
        """When the `n`-th cut came (counted from 1), waited for; null if it does not come."""
        wanted = int(request.query["n"])
        try:
            async with asyncio.timeout(CUT_WAIT_S), self.cut:
                await self.cut.wait_for(lambda: len(self.cuts) >= wanted)
        except TimeoutError:
            return web.json_response(None)
        return web.json_response(self.cuts[wanted - 1])

    async def speech(self, request: web.Request) -> web.StreamResponse:
        taken = 0
        while piece := await request.content.readany():
            taken += len(piece)
        size = int(request.query.get("bytes", "0"))
        if not size:
            return web.json_response({"taken": taken})
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        if "chunked" not in request.query:
            response.content_length = size
        await response.prepare(request)
        left = size
        while left:
            block = BLOCK[: min(left, len(BLOCK))]
            await response.write(block)
            left -= len(block)
        return response

    async def generate(self, request: web.Request) -> web.Response:
        """The native call that sets how long a model stays."""
        model = json.loads(await request.read())["model"]
        return web.json_response({"model": model, "response": "", "done": True, "done_reason": "load"})

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1024**3)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/audio/speech", self.speech)
        app.router.add_post("/api/generate", self.generate)
        app.router.add_get("/cut", self.wait_cut)
        tags = [{"name": name, "model": name, "size": 1} for name in MODELS]
        app.router.add_get("/health", _says({"status": "ok"}))
        app.router.add_get("/api/tags", _says({"models": tags}))
        app.router.add_get("/api/ps", _says({"models": []}))
        listed = [{"id": name, "object": "model", "owned_by": "bench"} for name in MODELS]
        app.router.add_get("/v1/models", _says({"object": "list", "data": listed}))
        return app


def _says(value: object) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(value)

    return answer


def main() -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    web.run_app(
        Upstream().app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        handler_cancellation=True,
        loop=loop,
    )


if __name__ == "__main__":
    main()
