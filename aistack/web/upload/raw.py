"""A body that is only passed on: small ones in memory, larger ones in a spool file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from aistack.config import ServerSection
from aistack.config.units import MiB
from aistack.errors import BackendFault
from aistack.jobs.effects import noop
from aistack.web import instrumentation as observed
from aistack.web.faults import beyond_limit
from aistack.web.queueing import begin_body
from aistack.web.upload.bodies import pull
from aistack.web.upload.spool import Spool

IN_MEMORY = 4 * MiB


class Body:
    """What came: bytes, the path of a spool file, or none. The file goes when the job is over."""

    def __init__(self) -> None:
        self.memory = bytearray()
        self.spool: Spool | None = None
        self.size = 0
        self._handed_over = False

    @property
    def content(self) -> bytes | str | None:
        if self.spool is not None:
            return self.spool.path
        return bytes(self.memory) if self.size else None

    def hand_over(self) -> Callable[[], None]:
        """From here on the caller discards the file."""
        self._handed_over = True
        return self.spool.discard if self.spool is not None else noop

    def drop(self) -> None:
        """Discard the file unless it was handed over."""
        if self.spool is not None and not self._handed_over:
            self.spool.discard()


@asynccontextmanager
async def body_of(request: web.Request, server: ServerSection) -> AsyncIterator[Body]:
    """Read the whole body. Raises BackendFault: 413 beyond the upload limit, 400 if it breaks off."""
    limit = server.max_upload_bytes
    if (request.content_length or 0) > limit:
        raise BackendFault(beyond_limit("body", limit))
    await begin_body(request)
    body = Body()
    try:
        while piece := await pull(
            request.content.readany(), server.upload_idle_s, "The body could not be read."
        ):
            body.size += len(piece)
            if body.size > limit:
                raise BackendFault(beyond_limit("body", limit))
            body.memory += piece
            if len(body.memory) > IN_MEMORY or (body.spool is not None and len(body.memory) >= MiB):
                await _to_spool(body, server)
        if body.spool is not None:
            await _to_spool(body, server)
            body.spool.close()
        observed.body_read(request, body.content)
        yield body
    finally:
        body.drop()


async def _to_spool(body: Body, server: ServerSection) -> None:
    """Move what is in memory to the file."""
    if body.spool is None:
        body.spool = Spool(server.spool_dir)
    if body.memory:
        await body.spool.write(bytes(body.memory))
        body.memory.clear()
