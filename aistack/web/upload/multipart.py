"""A multipart form read within limits: its texts in memory; its files are the subclass's, or read past.

Parts may come in any order. aiohttp's own form reader would keep to 1 MiB and answer 413 or 500 in
plain text, and decode with any codec the client names; its part reader has no limit at all. So the
limits are here: of each text, of all texts together, of their number, of the lines before a part, and
of the time without a byte. The body is read to its very end: an unread rest hides a disconnect.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from aistack.config.units import MiB
from aistack.errors import BackendFault, Code, malformed
from aistack.web.faults import too_large
from aistack.web.upload.bodies import pull
from aistack.web.upload.charsets import DEFAULT, SUPPORTED, decoder
from aistack.web.upload.disposition import disposition

T = TypeVar("T")
READ = 64 * 1024
"""Bytes read at once. What is read beyond a part's end is copied back: a third less for many small
parts than with four times as much."""
TEXT_MAX = 1 * MiB
TEXTS_MAX = 4 * MiB
FIELDS_MAX = 256
OVERHEAD = TEXTS_MAX + 1 * MiB
"""What a body may hold besides a file: the texts, the boundaries, the parts' headers."""
LINES_MAX = 256
LINE_MAX = 8190
"""Lines before a part's content, and bytes of each: its headers (aiohttp takes 128), and before the
first part a preamble, which nobody sends. Each line costs far more than its bytes."""
CHARSET_FIELD = "_charset_"
"""As the first field it names the charset of all that do not name theirs (RFC 7578, 4.6)."""
PARAM_MAX = 64
_BROKEN = "The body could not be read as multipart/form-data."


def bad(message: str, param: str | None = None) -> BackendFault:
    """400: about a field if `param` names one, else about the body."""
    code = Code.INVALID_FIELD if param is not None else Code.INVALID_BODY
    return BackendFault(malformed(message, code, param))


class Part(BodyPartReader):
    """One part. `said` is what it is; aiohttp is not shown that header."""

    def __init__(
        self,
        boundary: bytes,
        headers: CIMultiDictProxy[str],
        content: StreamReader,
        **options: Any,
    ) -> None:
        self.said = disposition(headers.get(hdrs.CONTENT_DISPOSITION, ""))
        rest = CIMultiDict(headers)
        rest.popall(hdrs.CONTENT_DISPOSITION, None)
        super().__init__(boundary, CIMultiDictProxy(rest), content, **options)


class Reader(MultipartReader):
    """A form's parts."""

    part_reader_cls = Part


class Lines:
    """A body that gives its lines out one by one: `left` of them, then ValueError."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self.left = 0

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many lines before a part")
        return await self._content.readline(max_line_length=max_line_length or LINE_MAX)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


class Form:
    """One form being read. `fields` are its texts by field name, each in order of arrival."""

    def __init__(self, request: web.Request, idle_s: float) -> None:
        self.request = request
        self.idle_s = idle_s
        self.fields: dict[str, list[str]] = {}
        self.count = 0
        self.text_bytes = 0
        self.other_bytes = 0
        self.default_charset = DEFAULT
        self._lines = Lines(request.content)

    async def read(self) -> None:
        """Read all of it. Raises BackendFault: 400, or 413 beyond a limit."""
        reader = await self.pull(self._reader())
        while True:
            self._lines.left = LINES_MAX
            part = await self.pull(reader.next())
            if part is None:
                break
            if not isinstance(part, Part):
                raise bad("A part of the form is itself multipart, which is not supported.")
            self.count += 1
            if self.count > FIELDS_MAX:
                raise bad(f"The form has more than {FIELDS_MAX} fields.")
            if await self.taken(part):
                continue
            if part.said.name and part.said.filename is None:
                await self._text(part, part.said.name)
            else:
                await self._skip(part)
        await self._rest()

    async def taken(self, part: Part) -> bool:
        """Whether the part was read as something else than a text. For subclasses."""
        return False

    async def pull(self, reading: Awaitable[T]) -> T:
        """One read. Raises BackendFault 400."""
        return await pull(reading, self.idle_s, _BROKEN)

    async def _reader(self) -> MultipartReader:
        return Reader(self.request.headers, cast(StreamReader, self._lines))

    async def _text(self, part: Part, name: str) -> None:
        body = bytearray()
        while not part.at_eof():
            piece = await self.pull(part.read_chunk(READ))
            body += piece
            self.text_bytes += len(piece)
            if len(body) > TEXT_MAX or self.text_bytes > TEXTS_MAX:
                raise BackendFault(
                    too_large("The text fields of the form are too long.", name[:PARAM_MAX])
                )
        text = await self.pull(_text_of(part, bytes(body), name[:PARAM_MAX], self.default_charset))
        if self.count == 1 and name == CHARSET_FIELD:
            self.default_charset = _default_charset(text)
        else:
            self.fields.setdefault(name, []).append(text)

    async def _skip(self, part: Part) -> None:
        """A file under another name, or a part without a name: read past, within the overhead."""
        while not part.at_eof():
            self._count_other(await self.pull(part.read_chunk(READ)))

    async def _rest(self) -> None:
        """Whatever follows the last boundary."""
        while piece := await self.pull(self.request.content.readany()):
            self._count_other(piece)

    def _count_other(self, piece: bytes) -> None:
        self.other_bytes += len(piece)
        if self.other_bytes > OVERHEAD:
            raise BackendFault(too_large("The form holds too much besides the part named file."))


async def transferred(part: Part, piece: bytes) -> bytes:
    """`piece` without its transfer encoding. Raises what `bodies.BROKEN` lists."""
    return bytes(part.decode(piece))


async def _text_of(part: Part, body: bytes, param: str, default: str) -> str:
    """The text of a part. Raises BackendFault: 400 `invalid_field`, or as `transferred`."""
    decode = decoder(part.get_charset(default) or default)
    if decode is None:
        raise _unsupported(param)
    plain = await transferred(part, body)
    try:
        return decode(plain)
    except UnicodeDecodeError:
        message = f"The field is not text in its charset. Send {SUPPORTED}."
        raise bad(message, param) from None


def _default_charset(text: str) -> str:
    """What a first field `_charset_` asks for; empty, as some libraries send it, asks for nothing."""
    if text and decoder(text) is None:
        raise _unsupported(CHARSET_FIELD)
    return text or DEFAULT


def _unsupported(param: str) -> BackendFault:
    return bad(f"The charset of this field is not supported. Send {SUPPORTED}.", param)
