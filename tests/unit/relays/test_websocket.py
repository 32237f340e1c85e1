"""The speech WebSocket: refused before the upgrade, relayed both ways, its slot given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from aistack.ids import job_id
from aistack.jobs import Job, Op, Route
from aistack.jobs.effects import Respond
from aistack.relays.websocket import SocketRequest, relay_websocket
from aistack.wire.relay import Relayed, RelayWire
from tests.doubles import vllm_omni
from tests.doubles.vllm_omni import VllmOmni, tone
from tests.unit.relays.conftest import BOUND_S, TTS_ID, World

pytestmark = pytest.mark.both_loops

PATH = "/v1/audio/speech/stream"


@pytest.fixture
def send_s() -> float:
    """So long may a side of a session take nothing."""
    return BOUND_S


@pytest.fixture
async def front(world: World, send_s: float) -> AsyncIterator[str]:
    """The few lines that the handler of the real front has."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = SocketRequest(request.path_qs)
        route = Route("qwen_tts", TTS_ID, world.tts.vram, "cpu")
        job = Job(
            id=job_id(),
            request_id="r",
            op=Op.SPEAK,
            route=route,
            request=asked,
            wire=RelayWire(Relayed.SPEECH),
        )
        try:
            said = await world.scheduler.submit(job).get()
            if isinstance(said, Respond):
                answer = said.answer
                return web.Response(status=answer.status, body=answer.body)
            client = web.WebSocketResponse(max_msg_size=0)
            await client.prepare(request)
            try:
                await relay_websocket(client, asked, send_s)
            except TimeoutError:
                assert request.transport is not None
                request.transport.abort()
            return client
        finally:
            if not asked.over.is_set():
                world.leave(job)

    app = web.Application()
    app.router.add_get(PATH, handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a164_a_session_goes_both_ways_and_ends(
    world: World, omni: VllmOmni, front: str, client: aiohttp.ClientSession
) -> None:
    async with client.ws_connect(front + "?a=b%20c") as socket:
        assert (await world.ask(world.chat())).error["code"] == "slot_busy"
        await socket.send_json({"type": "session.config", "voice": "vivian"})
        await socket.send_json({"type": "input.text", "text": "one two"})
        await socket.send_json({"type": "input.done"})
        kinds: list[Any] = []
        audio = b""
        async with asyncio.timeout(BOUND_S):
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    audio += message.data
                else:
                    kinds.append(json.loads(message.data)["type"])
        assert kinds == ["audio.start", "audio.done", "session.done"]
        assert audio == b"".join(tone("one two"))
        assert socket.close_code == 1000
    await world.quiet()
    assert world.outcome == "ok" and world.free
    assert omni.called(PATH)[0].path == PATH + "?a=b%20c"
    assert (await world.ask(world.chat())).status == 200


async def test_a_busy_slot_refuses_before_the_upgrade(
    world: World, omni: VllmOmni, front: str, client: aiohttp.ClientSession
) -> None:
    omni.gate.clear()
    world.scheduler.submit(world.speech())
    await omni.until(lambda: bool(omni.called("/v1/audio/speech")))
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(front)
    assert caught.value.status == 503 and not omni.called(PATH)
    omni.gate.set()
    await world.quiet()


async def test_an_absent_or_unwilling_upstream_refuses_before_the_upgrade(
    world: World, omni: VllmOmni, front: str, client: aiohttp.ClientSession
) -> None:
    omni.fail(PATH, "status", status=403)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(front)
    assert caught.value.status == 400
    await omni.stop()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(front)
    assert caught.value.status == 503
    await world.quiet()
    assert world.free


@pytest.mark.parametrize("politely", [True, False])
async def test_leaving_closes_the_upstream_and_frees_the_slot(
    world: World, omni: VllmOmni, front: str, client: aiohttp.ClientSession, politely: bool
) -> None:
    socket = await client.ws_connect(front)
    await socket.send_json({"type": "input.text", "text": "one"})
    assert (await asyncio.wait_for(socket.receive(), BOUND_S)).type is WSMsgType.TEXT
    if politely:
        await socket.close()
    else:
        assert socket._response.connection is not None
        transport = socket._response.connection.transport
        assert transport is not None
        transport.abort()
    await world.quiet()
    assert world.free
    await omni.until(lambda: omni.called(PATH)[0].ended != "")
    assert (await world.ask(world.speech())).status == 200


@pytest.mark.parametrize("send_s", [0.5])
async def test_who_never_reads_frees_the_slot(
    world: World,
    omni: VllmOmni,
    front: str,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_omni, "tone", lambda text: [bytes(60_000)] * 600)
    socket = await client.ws_connect(front, max_msg_size=0)
    await socket.send_json({"type": "input.text", "text": "much more than all buffers hold"})
    await world.quiet()
    assert world.free
    await omni.until(lambda: omni.called(PATH)[0].ended != "")
    monkeypatch.undo()
    assert (await world.ask(world.speech())).status == 200
    await socket.close()


async def test_an_upstream_that_dies_ends_the_session(
    world: World, omni: VllmOmni, front: str, client: aiohttp.ClientSession
) -> None:
    async with client.ws_connect(front) as socket:
        await omni.stop()
        message = await asyncio.wait_for(socket.receive(), BOUND_S)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
    await world.quiet()
    assert world.free
