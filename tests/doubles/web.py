"""A scheduler that does what the test says, and raw HTTP, for tests of the web layer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web
from attrs import evolve

from aistack.chunks import Vram
from aistack.config import Config
from aistack.contract.public import Download, ModelEntry, ModelsList
from aistack.errors import BackendFault, Code, malformed
from aistack.jobs.effects import AbortStream, CloseStream, Emit, OpenStream, Reply, Respond, noop
from aistack.jobs.events import ClientGone
from aistack.jobs.model import Job, Resident, Route, Slot, Snapshot
from aistack.jobs.states import Op, State, Step
from aistack.routing.facts import Chosen, Facts
from aistack.service.app import build_app, listen, make_runner
from aistack.web.openapi.operation import Operation
from aistack.web.operations import OPERATIONS
from aistack.wire.base import Answer, StreamHead
from tests.support.checked import check

BOUND = 10.0
"""Seconds after which a test that waits has failed."""


T = TypeVar("T")


async def soon(waiting: Awaitable[T]) -> T:
    """The result of `waiting`, within the bound."""
    return await asyncio.wait_for(waiting, BOUND)


class Submitted:
    """One job that reached the scheduler, and the answers the test gives it."""

    def __init__(self, job: Job, discard: Callable[[], None]) -> None:
        self.job = job
        self.discard = discard
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.gone = asyncio.Event()

    @property
    def waiting(self) -> bool:
        return not self.replies.empty()

    async def get(self) -> Reply:
        return await self.replies.get()

    def respond(self, body: bytes, status: int = 200, **headers: str) -> None:
        answer = Answer(status, body, "text/plain", tuple(headers.items()))
        self.replies.put_nowait(Respond(self.job.id, answer))

    def open(self, head: StreamHead | None = None) -> None:
        self.replies.put_nowait(OpenStream(self.job.id, head or StreamHead()))

    def emit(self, frame: bytes) -> None:
        self.replies.put_nowait(Emit(self.job.id, frame))

    def close(self) -> None:
        self.replies.put_nowait(CloseStream(self.job.id))

    def abort(self) -> None:
        self.replies.put_nowait(AbortStream(self.job.id))


class Scripted:
    """A scheduler whose snapshot and answers the test chooses."""

    def __init__(self) -> None:
        self.snapshot = Snapshot((Slot("cpu"),))
        self.jobs: dict[str, Submitted] = {}
        self.came: asyncio.Queue[Submitted] = asyncio.Queue()
        self.fails: Exception | None = None
        self.drained: float | None = None
        self.on_drain: Callable[[], None] = noop

    def submit(self, job: Job, discard: Callable[[], None] = noop) -> Submitted:
        if self.fails is not None:
            raise self.fails
        submitted = self.jobs[job.id] = Submitted(job, discard)
        self.came.put_nowait(submitted)
        return submitted

    def post(self, event: ClientGone) -> None:
        self.jobs[event.job_id].gone.set()

    async def drain(self, grace_s: float) -> None:
        self.drained = grace_s
        self.on_drain()

    async def next(self) -> Submitted:
        return await soon(self.came.get())


class Listing:
    """An inventory of one model."""

    async def facts(self) -> Facts:
        return Facts()

    async def route(self, name: str | None, language: str | None, translate: bool) -> Chosen:
        streams = name != "fake-whole"
        return Chosen(Route("fake", name or "fake-small", Vram.OWN), language, streams)

    async def models(
        self,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelsList:
        entry = ModelEntry(
            id="some/model",
            created=1,
            owned_by="me",
            capabilities=("asr",),
            supports_streaming=True,
            loaded=Resident("fake", "some/model") in residents,
            download=downloads.get(Resident("fake", "some/model")),
        )
        return ModelsList(data=(entry,))

    async def entry(
        self,
        model: str,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelEntry:
        for entry in (await self.models(residents, others, downloads)).data:
            if entry.id == model:
                return entry
        not_there = malformed("no such model", Code.MODEL_NOT_FOUND)
        raise BackendFault(evolve(not_there, status=404))


def a_job(id: str = "j1", op: Op = Op.TRANSCRIBE, **more: Any) -> Job:
    route = Route("fake", "fake-1", Vram.OWN)
    return Job(id=id, request_id="r1", op=op, route=route, request=None, wire=None, **more)


def held(op: Op = Op.CHAT, **more: Any) -> Snapshot:
    """A service whose only slot is held."""
    holder = a_job("holder", op, slot="cpu", state=State.RUNNING, step=Step.RUN, granted=0.0, **more)
    return Snapshot((Slot("cpu", "holder"),), {"holder": holder})


class Served:
    """A running application."""

    def __init__(self, runner: web.AppRunner, scheduler: Scripted) -> None:
        self.runner = runner
        self.scheduler = scheduler
        self.port: int = runner.addresses[0][1]
        self.connections: list[Raw] = []

    async def connect(self, receive_buffer: int | None = None) -> Raw:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
        raw = Raw(reader, writer)
        self.connections.append(raw)
        return raw

    async def say(self, request: bytes) -> Answered:
        """One raw request on its own connection, and what came back until the server closed or the
        answer was complete. It is compared with the reference, unless the test made the answer."""
        raw = await self.connect()
        made = len(self.scheduler.jobs)
        method, target, *_ = (request.decode("latin-1").split("\r\n", 1)[0] + "  ").split(" ")
        try:
            await raw.send(request)
            answer = await raw.reply(method)
        finally:
            raw.close()
        if len(self.scheduler.jobs) == made:
            check(method, target, answer.status, answer.headers, answer.body, answer.complete)
        return answer


class Answered:
    """A parsed answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, complete: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.complete = complete

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Raw:
    """A connection spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await soon(self.writer.drain())

    def close(self) -> None:
        """FIN."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def end(self) -> None:
        """Gone, whatever state it is in."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await soon(self.writer.wait_closed())

    def half_close(self) -> None:
        """FIN, but still reading."""
        self.writer.write_eof()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers (names in lower case), past any 100 Continue."""
        text = (await soon(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
        status_line, *lines = text.strip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(status_line.split()[1]), headers

    async def reply(self, method: str = "GET") -> Answered:
        status, headers = await self.head()
        body = bytearray()
        try:
            if method == "HEAD" or status in (204, 304):
                pass
            elif "content-length" in headers:
                body += await soon(self.reader.readexactly(int(headers["content-length"])))
            elif headers.get("transfer-encoding") == "chunked":
                while size := int((await soon(self.reader.readuntil(b"\r\n")))[:-2], 16):
                    body += await soon(self.reader.readexactly(size + 2))
                    del body[-2:]
                await soon(self.reader.readexactly(2))
            else:
                while piece := await soon(self.reader.read(65536)):
                    body += piece
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return Answered(status, headers, bytes(body), complete=False)
        return Answered(status, headers, bytes(body), complete=True)


@asynccontextmanager
async def serving(
    config: Config | None = None,
    scheduler: Scripted | None = None,
    operations: tuple[Operation, ...] = (),
) -> AsyncIterator[Served]:
    """The real application and runner on a free port, with the test's operations beside ours."""
    scheduler = scheduler or Scripted()
    app = build_app(config or Config(), scheduler, Listing(), operations=OPERATIONS + operations)
    runner = make_runner(app)
    await runner.setup()
    try:
        await listen(runner, ["127.0.0.1:0"])
        served = Served(runner, scheduler)
        try:
            yield served
        finally:
            for raw in served.connections:
                await raw.end()
    finally:
        await soon(runner.cleanup())


def multipart(*parts: tuple[str, bytes], boundary: str = "xBOUNDx") -> bytes:
    """A form from (header block, body) pairs."""
    body = b""
    for headers, content in parts:
        body += f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


FORM = "multipart/form-data; boundary=xBOUNDx"


def named(name: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}'


def a_file(content: bytes = b"RIFFsound") -> tuple[str, bytes]:
    return named("file", '; filename="a.wav"\r\nContent-Type: audio/wav'), content


def post(path: str, body: bytes, content_type: str = FORM, **headers: str) -> bytes:
    """A POST with a declared length."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}"]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/{version}"]
    if "Host" not in headers:
        lines.append("Host: 127.0.0.1")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
