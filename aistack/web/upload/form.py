"""A multipart upload: the form's texts in memory, the audio in a spool file.

Parts may come in any order; the file is known by its name `file`, not by a file name. aiohttp's own
form reader would keep to 1 MiB and answer 413 or 500 in plain text; its part reader has no limit at
all, so the limits are here: of the file, of each text, of all texts together, of their number, and
of the time without a byte. The body is read to its very end: an unread rest hides a disconnect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from attrs import define, field

from aistack.config import MiB, Server
from aistack.errors import BackendFault, Code, Fault, malformed
from aistack.web import instrumentation as observed
from aistack.web.faults import beyond_limit, too_large
from aistack.web.queueing import begin_body
from aistack.web.upload.bodies import pull
from aistack.web.upload.spool import Spool

T = TypeVar("T")
READ = 256 * 1024
BLOCK = 1 * MiB
"""Read in pieces of READ, written in blocks of BLOCK: measured fastest, and kindest to others."""
TEXT_MAX = 1 * MiB
TEXTS_MAX = 4 * MiB
FIELDS_MAX = 256
OVERHEAD = TEXTS_MAX + 1 * MiB
"""What a body may hold besides the file: the texts, the boundaries, the parts' headers."""
_BROKEN = "The body could not be read as multipart/form-data."
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
async def receive_audio(request: web.Request, server: Server) -> AsyncIterator[Received]:
    """The upload; its file is removed at the end of the context unless it was handed over.

    Raises BackendFault: 400 for a body that is no form or has no proper `file`, 413 beyond a limit.
    """
    limit = server.max_upload_bytes
    if (request.content_length or 0) > limit + OVERHEAD:
        raise BackendFault(_file_too_large(limit))
    # aiohttp's attribute is lower case and without parameters.
    if request.content_type != "multipart/form-data":
        raise BackendFault(
            malformed("Send the audio as multipart/form-data, in a part named file.", Code.INVALID_BODY)
        )
    upload = Received()
    try:
        await begin_body(request)
        await _Form(request, server, upload).read()
        observed.body_read(request, upload.spool.path)
        yield upload
    finally:
        if upload._spool is not None and not upload._kept:
            upload._spool.discard()


def _file_too_large(limit: int) -> Fault:
    return beyond_limit("file", limit, "file")


def _bad(message: str, param: str | None = None) -> BackendFault:
    return BackendFault(malformed(message, Code.INVALID_FIELD if param else Code.INVALID_BODY, param))


class _Form:
    """One form being read into a Received."""

    def __init__(self, request: web.Request, server: Server, upload: Received) -> None:
        self.request = request
        self.server = server
        self.upload = upload
        self.count = 0
        self.text_bytes = 0
        self.other_bytes = 0

    async def read(self) -> None:
        reader = await self._pull(self.request.multipart())
        while True:
            part = await self._pull(reader.next())
            if part is None:
                break
            if isinstance(part, MultipartReader):
                raise _bad("A part of the form is itself multipart, which is not supported.")
            self.count += 1
            if self.count > FIELDS_MAX:
                raise _bad(f"The form has more than {FIELDS_MAX} fields.")
            if part.name == "file":
                await self._file(part)
            elif part.name and part.filename is None:
                await self._text(part, part.name)
            else:
                await self._skip(part)
        await self._rest()
        if self.upload._spool is None:
            raise BackendFault(malformed("The form has no part named file.", Code.MISSING_FIELD, "file"))
        if self.upload.spool.bytes == 0:
            raise BackendFault(malformed("The file is empty.", Code.UNSUPPORTED_AUDIO, "file"))

    async def _file(self, part: BodyPartReader) -> None:
        """Into the spool, block by block."""
        kind = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if part.filename is None and kind in ("", "text/plain"):
            raise _bad("The field file must be a file upload, not text.", "file")
        if self.upload._spool is not None:
            raise _bad("The form has more than one part named file.", "file")
        encoding = part.headers.get("Content-Transfer-Encoding", "").strip().lower()
        if encoding not in _PLAIN_ENCODINGS and encoding != "base64":
            raise _bad("The transfer encoding of the part named file is not supported.", "file")
        self.upload.file_name = part.filename or ""
        spool = self.upload._spool = Spool(self.server.spool_dir)
        limit = self.server.max_upload_bytes
        held: list[bytes] = []
        size = total = 0
        while not part.at_eof():
            piece = await self._pull(part.read_chunk(READ))
            if encoding == "base64":
                piece = await self._pull(_decoded(part, piece))
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

    async def _text(self, part: BodyPartReader, name: str) -> None:
        body = bytearray()
        while not part.at_eof():
            piece = await self._pull(part.read_chunk(READ))
            body += piece
            self.text_bytes += len(piece)
            if len(body) > TEXT_MAX or self.text_bytes > TEXTS_MAX:
                raise BackendFault(too_large("The text fields of the form are too long.", name[:64]))
        text = await self._pull(_text_of(part, bytes(body)))
        self.upload.fields.setdefault(name, []).append(text)

    async def _skip(self, part: BodyPartReader) -> None:
        """A file under another name, or a part without a name: read past, within the overhead."""
        while not part.at_eof():
            self._count_other(await self._pull(part.read_chunk(READ)))

    async def _rest(self) -> None:
        """Whatever follows the last boundary."""
        while piece := await self._pull(self.request.content.readany()):
            self._count_other(piece)

    def _count_other(self, piece: bytes) -> None:
        self.other_bytes += len(piece)
        if self.other_bytes > OVERHEAD:
            raise BackendFault(too_large("The form is too large apart from the part named file."))

    async def _pull(self, reading: Awaitable[T]) -> T:
        return await pull(reading, self.server.upload_idle_s, _BROKEN)


async def _decoded(part: BodyPartReader, piece: bytes) -> bytes:
    return bytes(part.decode(piece))


async def _text_of(part: BodyPartReader, body: bytes) -> str:
    return bytes(part.decode(body)).decode(part.get_charset("utf-8"))
