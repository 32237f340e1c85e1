"""The envelope for requests that are not HTTP, which aiohttp answers below every middleware."""

from __future__ import annotations

import structlog
from aiohttp import web

from aistack.errors import Code, internal, malformed
from aistack.web.faults import answer
from aistack.web.request_id import HEADER, request_id

log = structlog.get_logger("aistack.web")


class Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that aiohttp could not read, or a failure outside the middlewares."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        if 400 <= status < 500:
            fault = malformed("The request is not valid HTTP.", Code.INVALID_BODY)
            log.debug("http.unreadable", request_id=request_id(request), remote=request.remote)
        else:
            fault = internal()
            log.error("http.failed", request_id=request_id(request), exc_info=exc)
        response = answer(fault)
        response.headers[HEADER] = request_id(request)
        response.force_close()
        return response


class EnvelopeServer(web.Server):
    """Connections speak `Protocol`."""

    def __call__(self) -> web.RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)


class EnvelopeRunner(web.AppRunner):
    """An AppRunner whose connections speak `Protocol`.

    `_make_server` is private to aiohttp; if a version stops calling it, only the envelope is lost.
    """

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return EnvelopeServer(made.request_handler, request_factory=made.request_factory, **self._kwargs)
