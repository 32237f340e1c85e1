"""The client of `relay`: raw protocols, so that it is not what is measured. Loopback only."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any, cast

from attrs import define, field

from contrib.dev.bench.harness import median, percentile

STAMP = re.compile(rb"t=(\d{6,});")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n")
END = b"\r\n0\r\n\r\n"
REQUEST_S = 300.0
SOME = 5
HOST = "127.0.0.1"


class Refused(Exception):
    """503: a gateway with one slot answers so on purpose."""


@define
class Answer:
    """Times in nanoseconds. `tokens`: how old each token was when it came; `size`: bytes of the body."""

    sent: int
    first: int
    last: int
    size: int
    tokens: list[int]

    @property
    def first_ms(self) -> float:
        return (self.first - self.sent) / 1e6

    @property
    def ms(self) -> float:
        return (self.last - self.sent) / 1e6


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; bodies are counted, not kept."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.over: asyncio.Future[None] | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.some = asyncio.Event()
        """Set once a few tokens have come."""
        self._reset(stamped=False)

    def _reset(self, stamped: bool) -> None:
        self.head = b""
        self.kept = b""
        self.end = b""
        self.status = 0
        self.first = 0
        self.first_token = 0
        self.last = 0
        self.size = 0
        self.need: int | None = None
        self.stamped = stamped
        self.tokens: list[int] = []

    @classmethod
    async def to(cls, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(cls, HOST, port))[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.set()
        if self.over is not None and not self.over.done():
            self.over.set_exception(ConnectionError(f"connection lost: {exc}"))

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self.status == 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.head[: end + 2].lower()
            self.status = int(head[9:12])
            found = LENGTH.search(head)
            self.need = int(found[1]) if found else None
            data = self.head[end + 4 :]
        if data:
            self._body(data, now)
        if self._complete() and self.over is not None and not self.over.done():
            self.last = now
            self.over.set_result(None)

    def _body(self, data: bytes, now: int) -> None:
        self.first = self.first or now
        self.size += len(data)
        self.end = (self.end + data[-64:])[-64:]
        if self.stamped:
            self.kept += data
            seen = 0
            for found in STAMP.finditer(self.kept):
                self.first_token = self.first_token or now
                self.tokens.append(now - int(found[1]))
                seen = found.end()
            self.kept = self.kept[seen:]
            if len(self.tokens) >= SOME:
                self.some.set()

    def _complete(self) -> bool:
        if self.status == 0:
            return False
        return self.size >= self.need if self.need is not None else self.end.endswith(END)

    def begin(self, stamped: bool) -> None:
        self._reset(stamped)
        self.over = asyncio.get_running_loop().create_future()

    async def ask(
        self, head: bytes, body: bytes = b"", blocks: int = 1, stamped: bool = False
    ) -> Answer:
        """`body` is sent `blocks` times. Raises Refused, ConnectionError, RuntimeError."""
        self.begin(stamped)
        assert self.over is not None
        sent = time.monotonic_ns()
        if blocks == 1:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            for _ in range(blocks):
                await self.room.wait()
                if self.transport.is_closing():
                    break  # refused, or broken: `over` says so
                self.transport.write(body)
        await asyncio.wait_for(self.over, REQUEST_S)
        if self.status == 503:
            raise Refused
        if self.status != 200:
            raise RuntimeError(f"status {self.status}: {self.end!r}")
        return Answer(sent, self.first_token or self.first, self.last, self.size, self.tokens)


def head(path: str, length: int, key: str, kind: str = "application/json") -> bytes:
    """The head of a POST."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def chat(model: str, stream: bool, key: str) -> bytes:
    """A whole chat request."""
    messages = [{"role": "user", "content": "Say hello in Chinese, please."}]
    body = json.dumps({"model": model, "stream": stream, "messages": messages}).encode()
    return head("/v1/chat/completions", len(body), key) + body


@define
class Load:
    """Workers that ask again and again until `seconds` are over; a refused one waits `back_s`."""

    port: int
    key: str
    workers: int
    seconds: float
    stream: bool = False
    model: str = "fake-0"
    back_s: float = 0.001
    answers: list[Answer] = field(factory=list)
    refusals: list[float] = field(factory=list)
    until: float = field(default=0.0, init=False)

    async def run(self) -> dict[str, float]:
        """The figures; `n` counts requests, or tokens of a stream."""
        begin = time.monotonic()
        self.until = begin + self.seconds
        await asyncio.gather(*[self._worker() for _ in range(self.workers)])
        took = time.monotonic() - begin
        answers = self.answers
        figures = {
            "n": float(sum(len(a.tokens) for a in answers) if self.stream else len(answers)),
            "per_s": len(answers) / took,
            "p50_ms": median([a.ms for a in answers]),
            "p99_ms": percentile([a.ms for a in answers], 0.99),
            "first_ms": median([a.first_ms for a in answers]),
            "refused": float(len(self.refusals)),
        }
        if self.refusals:
            figures["refused_p50_ms"] = median(self.refusals)
        if self.stream:
            figures["token_ms"] = median([t / 1e6 for a in answers for t in a.tokens])
        return figures

    async def _worker(self) -> None:
        connection = await Connection.to(self.port)
        request = chat(self.model, self.stream, self.key)
        try:
            while time.monotonic() < self.until:
                begin = time.monotonic_ns()
                try:
                    self.answers.append(await connection.ask(request, stamped=self.stream))
                except Refused:
                    self.refusals.append((time.monotonic_ns() - begin) / 1e6)
                    await asyncio.sleep(self.back_s)
        finally:
            connection.transport.abort()


async def cancels(port: int, upstream: int, key: str, times: int, before: int) -> dict[str, float]:
    """Leave in mid-stream; milliseconds until the upstream's is cut. `before`: cuts so far."""
    took = []
    for number in range(1, times + 1):
        connection = await Connection.to(port)
        asking = asyncio.ensure_future(connection.ask(chat("fake-20", True, key), stamped=True))
        await asyncio.wait_for(connection.some.wait(), REQUEST_S)
        left = time.monotonic_ns()
        connection.transport.abort()
        await asyncio.wait([asking])
        asking.exception()
        cut = await get(upstream, f"/cut?n={before + number}")
        took.append((cut - left) / 1e6 if cut is not None else float("inf"))
        await asyncio.sleep(0.02)  # the gateway's slot: what is measured is the cut, not the next call
    return {"n": float(times), "p50_ms": median(took), "max_ms": max(took)}


async def large(port: int, key: str, size: int, way: str) -> dict[str, float]:
    """One large body: `way` is "response", "chunked" (a response without its length) or "request"."""
    connection = await Connection.to(port)
    try:
        if way == "request":
            block = bytes(1_000_000)
            blocks = size // len(block)
            kind = "application/octet-stream"
            asked = head("/v1/audio/speech", blocks * len(block), key, kind)
            answer = await connection.ask(asked, block, blocks)
        else:
            body = b'{"input": "hello", "voice": "vivian"}'
            path = f"/v1/audio/speech?bytes={size}" + ("&chunked=1" if way == "chunked" else "")
            answer = await connection.ask(head(path, len(body), key) + body)
            assert answer.size >= size, answer.size
        return {"n": 1.0, "mb_per_s": size / answer.ms / 1e3}
    finally:
        connection.transport.abort()


async def get(port: int, path: str) -> Any:
    """A small JSON answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), REQUEST_S)
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])
