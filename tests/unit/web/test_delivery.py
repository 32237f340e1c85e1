"""Answers on their way out: whole, streamed, cut, to clients that leave, stall or speak HTTP/1.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

from aistack.config import Config, ServerSection, SlotsSection
from aistack.jobs.effects import noop
from aistack.web.delivery import deliver
from aistack.web.keys import SCHEDULER
from aistack.web.openapi.operation import Operation
from aistack.wire.base import StreamHead
from tests.doubles.web import Raw, Served, Submitted, a_job, get, post, serving, soon

pytestmark = pytest.mark.both_loops

EVENT = b'data: {"n":1}\n\n'
LEAVE = ["close", "reset", "half_close"]


async def job(request: web.Request) -> web.StreamResponse:
    await request.read()
    extra = [("Preference-Applied", "wait=3")]
    return await deliver(request, request.app[SCHEDULER], a_job(), noop, extra)


ROUTES = (Operation("POST", "/job", job, "", ()), Operation("GET", "/job", job, "", ()))
ASK = post("/job", b"")


@asynccontextmanager
async def asked(
    request: bytes = ASK, config: Config | None = None, receive_buffer: int | None = None
) -> AsyncIterator[tuple[Served, Raw, Submitted]]:
    """A request under way whose job has reached the scheduler."""
    async with serving(config, operations=ROUTES) as served:
        raw = await served.connect(receive_buffer)
        try:
            await raw.send(request)
            yield served, raw, await served.scheduler.next()
        finally:
            raw.close()


def quick(heartbeat_s: float = 10.0, send_timeout_s: float = 120.0) -> Config:
    return Config(
        server=ServerSection(send_timeout_s=send_timeout_s), slots=SlotsSection(heartbeat_s=heartbeat_s)
    )


# --- whole answers ---


async def test_a_whole_answer() -> None:
    async with asked() as (_, raw, submitted):
        submitted.respond(b"text", 201, X_One="1")
        answered = await raw.reply()
        await raw.send(get("/health"))
        assert (await raw.reply()).status == 200
    assert (answered.status, answered.body) == (201, b"text")
    assert answered.headers["content-type"] == "text/plain"
    assert (answered.headers["x_one"], answered.headers["preference-applied"]) == ("1", "wait=3")
    assert "x-request-id" in answered.headers
    assert not submitted.gone.is_set()


async def test_a_large_whole_answer() -> None:
    body = b"0123456789abcdef" * 500_000
    async with asked() as (_, raw, submitted):
        submitted.respond(body)
        assert (await raw.reply()).body == body
    assert not submitted.gone.is_set()


async def test_an_empty_answer() -> None:
    async with asked() as (_, raw, submitted):
        submitted.respond(b"")
        answered = await raw.reply()
    assert (answered.status, answered.headers["content-length"], answered.complete) == (200, "0", True)


async def test_head_of_a_whole_answer() -> None:
    async with asked(get("/job", "HEAD")) as (_, raw, submitted):
        submitted.respond(b"text")
        answered = await raw.reply("HEAD")
        await raw.send(get("/health"))
        assert (await raw.reply()).status == 200
    assert answered.headers["content-length"] == "4"
    assert not submitted.gone.is_set()


async def test_http_1_0_gets_a_whole_answer() -> None:
    async with asked(get("/job", version="1.0")) as (_, raw, submitted):
        submitted.respond(b"text")
        assert (await raw.reply()).body == b"text"


# --- streams ---


async def test_a119_a140_a_stream_is_exactly_its_frames() -> None:
    async with asked() as (_, raw, submitted):
        submitted.open()
        status, headers = await raw.head()
        for _ in range(3):
            submitted.emit(EVENT)
            size = int((await soon(raw.reader.readuntil(b"\r\n")))[:-2], 16)
            assert (await soon(raw.reader.readexactly(size + 2)))[:-2] == EVENT
        submitted.close()
        assert await soon(raw.reader.readexactly(5)) == b"0\r\n\r\n"
    assert (status, headers["content-type"], headers["cache-control"]) == (
        200,
        "text/event-stream",
        "no-cache",
    )
    assert headers["preference-applied"] == "wait=3"
    assert "x-request-id" in headers
    assert not submitted.gone.is_set()


async def test_a_silent_stream_is_kept_alive_with_comments_only() -> None:
    async with asked(config=quick(heartbeat_s=0.05)) as (_, raw, submitted):
        submitted.open()
        await raw.head()
        beats = await soon(raw.reader.readuntil(b": ping\n\n\r\n8\r\n: ping\n\n\r\n"))
        submitted.emit(EVENT)
        submitted.close()
        rest = await soon(raw.reader.readuntil(b"0\r\n\r\n"))
    lines = (beats + rest).replace(b"\r\n", b"\n").split(b"\n")
    assert {line.split(b":")[0] for line in lines if b":" in line} == {b"", b"data"}


async def test_a_relayed_stream_keeps_status_headers_and_length() -> None:
    head = StreamHead(206, "audio/wav", (("X-Up", "1"),), sse=False, length=6)
    async with asked() as (_, raw, submitted):
        submitted.open(head)
        submitted.emit(b"abc")
        submitted.emit(b"def")
        submitted.close()
        answered = await raw.reply()
    assert (answered.status, answered.body, answered.complete) == (206, b"abcdef", True)
    assert (answered.headers["content-type"], answered.headers["x-up"]) == ("audio/wav", "1")
    assert "transfer-encoding" not in answered.headers


async def test_a_relayed_stream_without_a_length_is_chunked_and_has_no_comments() -> None:
    async with asked(config=quick(heartbeat_s=0.01)) as (_, raw, submitted):
        submitted.open(StreamHead(content_type="audio/pcm", sse=False))
        submitted.emit(b"abc")
        submitted.close()
        answered = await raw.reply()
    assert (answered.body, answered.headers["transfer-encoding"]) == (b"abc", "chunked")


async def test_a_relayed_stream_shorter_than_its_length_is_cut() -> None:
    async with asked() as (_, raw, submitted):
        submitted.open(StreamHead(content_type="audio/pcm", sse=False, length=10))
        submitted.emit(b"abc")
        submitted.close()
        answered = await raw.reply()
    assert not answered.complete


async def test_an_aborted_stream_has_no_terminating_chunk() -> None:
    async with asked() as (_, raw, submitted):
        submitted.open()
        submitted.emit(EVENT)
        submitted.abort()
        answered = await raw.reply()
    assert (answered.body, answered.complete) == (EVENT, False)


async def test_what_was_said_before_an_abort_arrives() -> None:
    frames = b"data: " + b"x" * 300_000 + b"\n\n"
    async with asked() as (_, raw, submitted):
        submitted.open()
        submitted.emit(frames)
        submitted.emit(EVENT)
        submitted.abort()
        answered = await raw.reply()
    assert (answered.body, answered.complete) == (frames + EVENT, False)


async def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    async with asked(get("/job", version="1.0")) as (_, raw, submitted):
        submitted.open()
        submitted.emit(EVENT)
        submitted.close()
        answered = await raw.reply()
    assert (answered.body, answered.complete) == (EVENT, True)
    assert answered.headers.get("connection") != "keep-alive"
    assert "transfer-encoding" not in answered.headers


async def test_an_aborted_stream_to_http_1_0_is_reset() -> None:
    async with asked(get("/job", version="1.0")) as (_, raw, submitted):
        submitted.open()
        await raw.head()
        submitted.abort()
        with pytest.raises(ConnectionResetError):
            await soon(raw.reader.read())


async def test_head_of_a_stream_has_no_body_and_ends_the_job() -> None:
    async with asked(get("/job", "HEAD")) as (_, raw, submitted):
        submitted.open()
        status, _ = await raw.head()
        await soon(submitted.gone.wait())
        await raw.send(get("/health"))
        assert (await raw.reply()).status == 200
    assert status == 200


# --- clients that leave ---


@pytest.mark.parametrize("way", LEAVE)
async def test_a113_a154_who_leaves_while_waiting_is_noticed(way: str) -> None:
    async with asked() as (served, raw, submitted):
        getattr(raw, way)()
        await soon(submitted.gone.wait())
        assert (await served.say(get("/health"))).status == 200


@pytest.mark.parametrize("way", LEAVE)
@pytest.mark.parametrize("sse", [True, False])
async def test_a135_a153_who_leaves_mid_stream_is_noticed(way: str, sse: bool) -> None:
    async with asked() as (_, raw, submitted):
        submitted.open(StreamHead(sse=sse))
        submitted.emit(EVENT)
        await raw.head()
        getattr(raw, way)()
        await soon(submitted.gone.wait())


async def test_a17_who_left_is_logged_with_499() -> None:
    with structlog.testing.capture_logs() as lines:
        async with asked() as (_, raw, submitted):
            submitted.open()
            await raw.head()
            raw.close()
            await soon(submitted.gone.wait())
    assert [line["status"] for line in lines if line["event"] == "http.access"] == [499]


async def test_a_whole_answer_to_who_left_in_the_same_moment_is_no_failure() -> None:
    with structlog.testing.capture_logs() as lines:
        async with asked() as (_, raw, submitted):
            raw.reset()
            submitted.respond(b"x" * 10_000_000)
            await soon(submitted.gone.wait())
    assert {line["event"] for line in lines} == {"http.access"}


# --- clients that stall ---


def endless(submitted: Submitted) -> None:
    for _ in range(400):
        submitted.emit(b"data: " + b"x" * 50_000 + b"\n\n")


def stream(submitted: Submitted) -> None:
    submitted.open()
    endless(submitted)


def relay(submitted: Submitted) -> None:
    submitted.open(StreamHead(content_type="audio/pcm", sse=False))
    endless(submitted)


def whole(submitted: Submitted) -> None:
    submitted.respond(b"x" * 20_000_000)


@pytest.mark.parametrize("answer", [stream, relay, whole])
async def test_a_client_that_takes_nothing_is_cut_off(answer: Callable[[Submitted], None]) -> None:
    async with asked(config=quick(send_timeout_s=0.3), receive_buffer=4096) as (_, raw, submitted):
        answer(submitted)
        await soon(submitted.gone.wait())
        taken = submitted.replies.qsize()
        answered = await raw.reply()
    assert not answered.complete
    assert len(answered.body) < 2_000_000
    if answer is not whole:
        assert taken > 380, "the slow reader's stream was not held back"


async def test_a_client_that_takes_it_slowly_gets_it_all() -> None:
    async with asked(config=quick(send_timeout_s=5.0), receive_buffer=4096) as (_, raw, submitted):
        submitted.open()
        for _ in range(40):
            submitted.emit(b"x" * 50_000)
        submitted.close()
        answered = await raw.reply()
    assert (len(answered.body), answered.complete) == (2_000_000, True)


async def test_a_stalled_client_after_an_abort_is_dropped() -> None:
    async with asked(config=quick(send_timeout_s=0.3), receive_buffer=4096) as (served, _, submitted):
        submitted.open()
        for _ in range(4):
            submitted.emit(b"x" * 50_000)
        submitted.abort()
        async with asyncio.timeout(5):
            await served.runner.cleanup()


# --- when the scheduler fails ---


async def test_what_a_job_would_have_owned_is_discarded_if_it_cannot_be_submitted() -> None:
    discarded: list[int] = []

    async def owning(request: web.Request) -> web.StreamResponse:
        return await deliver(request, request.app[SCHEDULER], a_job(), lambda: discarded.append(1))

    async with serving(operations=(Operation("GET", "/own", owning, "", ()),)) as served:
        served.scheduler.fails = RuntimeError("the scheduler is gone")
        answered = await served.say(get("/own"))
    assert (answered.status, answered.error["code"]) == (500, "internal_error")
    assert discarded == [1]


async def test_an_answer_out_of_order_is_a_500_before_and_a_cut_after_the_headers() -> None:
    async with asked() as (_, raw, submitted):
        submitted.emit(EVENT)
        assert (await raw.reply()).status == 500
        await soon(submitted.gone.wait())
    async with asked() as (_, raw, submitted):
        submitted.open()
        submitted.open()
        assert not (await raw.reply()).complete
        await soon(submitted.gone.wait())
