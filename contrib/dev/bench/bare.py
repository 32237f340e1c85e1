"""A bare aiohttp server: `/health`, and an upload reader that writes the same file. Nothing else.

The reference for (e) and (g): what aiohttp itself costs on this machine in this run.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile

from aiohttp import BodyPartReader, web


async def health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def upload(request: web.Request) -> web.Response:
    """Read the multipart body part by part and write the file."""
    reader = await request.multipart()
    size = 0
    with tempfile.TemporaryFile() as file:
        while (part := await reader.next()) is not None:
            assert isinstance(part, BodyPartReader)
            while chunk := await part.read_chunk(262144):
                await asyncio.to_thread(file.write, chunk)
                size += len(chunk)
    return web.json_response({"size": size}, status=400)


def main() -> None:
    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/v1/audio/transcriptions", upload)
    try:
        import uvloop

        loop: asyncio.AbstractEventLoop | None = uvloop.new_event_loop()
    except ImportError:
        loop = None
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
