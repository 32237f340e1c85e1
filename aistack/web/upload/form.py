"""A multipart upload: the form's texts in memory, the audio in a spool file.

The file is known by its name `file`, not by a file name. Its limit is here; all else is `forms`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from attrs import define, field

from aistack.config import ServerSection
from aistack.config.units import MiB
from aistack.contract.relay_request import media_type
from aistack.errors import BackendFault, Code, Fault, malformed
from aistack.web import instrumentation as observed
from aistack.web.faults import beyond_limit
from aistack.web.queueing import begin_body
from aistack.web.upload.multipart import OVERHEAD, Form, Part, bad, transferred
from aistack.web.upload.spool import Spool

READ = 256 * 1024
BLOCK = 1 * MiB
"""Read in pieces of READ, written in blocks of BLOCK: measured fastest, and kindest to others."""
_PLAIN_ENCODINGS = frozenset({"", "binary", "8bit", "7bit"})


@define
class Received:
    """What came in: texts by field name, each in order of arrival, and the audio.

    `file_name` is what the client called the file, empty if it did not say.
    """

    fields: dict[str, list[str]] = field(factory=dict)
    file_name: str = ""
    _spool: Spool | None = None
    _kept: bool = False

    @property
    def spool(self) -> Spool:
        assert self._spool is not None, "an upload without a file does not leave intake"
        return self._spool

    def hand_over(self) -> Callable[[], None]:
        """Give the file to a job: what is returned removes it, and nobody else does from now on."""
        self._kept = True
        return self.spool.discard


@asynccontextmanager
async def receive_audio(request: web.Request, server: ServerSection) -> AsyncIterator[Received]:
    """The upload; its file is removed at the end of the context unless it was handed over.

    Raises BackendFault: 400 for a body that is no form or has no proper `file`, 413 beyond a limit.
    """
    limit = server.max_upload_bytes
    if (request.content_length or 0) > limit + OVERHEAD:
        raise BackendFault(_file_too_large(limit))
    if media_type(request.headers.get(hdrs.CONTENT_TYPE, "")) != "multipart/form-data":
        raise BackendFault(
            malformed("Send the audio as multipart/form-data, in a part named file.", Code.INVALID_BODY)
        )
    upload = Received()
    try:
        await begin_body(request)
        await _Upload(request, server, upload).read()
        observed.body_read(request, upload.spool.path)
        yield upload
    finally:
        if upload._spool is not None and not upload._kept:
            upload._spool.discard()


def _file_too_large(limit: int) -> Fault:
    return beyond_limit("file", limit, "file")


class _Upload(Form):
    """One form being read into a Received."""

    def __init__(self, request: web.Request, server: ServerSection, upload: Received) -> None:
        super().__init__(request, server.upload_idle_s)
        self.server = server
        self.upload = upload

    async def read(self) -> None:
        await super().read()
        self.upload.fields = self.fields
        if self.upload._spool is None:
            raise BackendFault(malformed("The form has no part named file.", Code.MISSING_FIELD, "file"))
        if self.upload.spool.bytes == 0:
            raise BackendFault(malformed("The file is empty.", Code.UNSUPPORTED_AUDIO, "file"))

    async def taken(self, part: Part) -> bool:
        if part.said.name != "file":
            return False
        await self._file(part)
        return True

    async def _file(self, part: Part) -> None:
        """Into the spool, block by block."""
        kind = media_type(part.headers.get(hdrs.CONTENT_TYPE, ""))
        if part.said.filename is None and kind in ("", "text/plain"):
            raise bad("The field file must be a file upload, not text.", "file")
        if self.upload._spool is not None:
            raise bad("The form has more than one part named file.", "file")
        encoding = part.headers.get("Content-Transfer-Encoding", "").strip().lower()
        if encoding not in _PLAIN_ENCODINGS and encoding != "base64":
            raise bad("The transfer encoding of the part named file is not supported.", "file")
        self.upload.file_name = part.said.filename or ""
        spool = self.upload._spool = Spool(self.server.spool_dir)
        limit = self.server.max_upload_bytes
        held: list[bytes] = []
        size = total = 0
        while not part.at_eof():
            piece = await self.pull(part.read_chunk(READ))
            if encoding == "base64":
                piece = await self.pull(transferred(part, piece))
            held.append(piece)
            size += len(piece)
            total += len(piece)
            if total > limit:
                raise BackendFault(_file_too_large(limit))
            if size >= BLOCK:
                await spool.write(b"".join(held))
                held.clear()
                size = 0
        if size:
            await spool.write(b"".join(held))
        spool.close()
