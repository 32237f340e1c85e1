"""Chat through the real machine: bytes, refusals, inventory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import pytest

from aistack.chunks import Piece, Vram
from aistack.contract.relay_request import relayed_chat
from aistack.errors import BackendFault
from aistack.jobs.effects import CloseStream
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.unit.relays.conftest import BOUND_S, MODEL, World

pytestmark = pytest.mark.both_loops

CHAT = "/v1/chat/completions"
TOUCH = "/api/generate"
DONE = b"data: [DONE]\n\n"


def sent(ollama: OllamaDouble) -> Any:
    return ollama.called(CHAT)[-1].json


# --- bytes -----


async def test_a175_a159_whole_answer_byte_by_byte(world: World, ollama: OllamaDouble) -> None:
    reply = await world.ask(world.chat())
    assert reply.status == 200 and not reply.cut
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.length == len(reply.body)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "Hello there, how are you?"


async def test_a179_stream_byte_by_byte_and_done_last(world: World, ollama: OllamaDouble) -> None:
    reply = await world.ask(world.chat(stream=True))
    expected = [ollama.chunk(MODEL, {"role": "assistant", "content": "Hello"})]
    expected += [ollama.chunk(MODEL, {"content": word}) for word in ollama.words[1:]]
    expected += [ollama.chunk(MODEL, {}, "stop"), DONE]
    assert reply.body == b"".join(expected)
    assert reply.headers["content-type"] == "text/event-stream"
    assert not reply.cut and world.outcome == "ok"


async def test_a178_every_other_byte_reaches_the_upstream_unaltered(
    world: World, ollama: OllamaDouble
) -> None:
    body = (
        b' {"model": "qwen3:4b", "messages":[{"role":"user","content":"\\u00e4 \xc3\xa4 \\/"}],'
        b'"temperature":1.50,"seed":12345678901234567890123, "x":{"y":[1e400]},  "seed":7} '
    )
    reply = await world.ask(world.chat(body=body))
    assert reply.status == 200
    up = ollama.called(CHAT)[-1].body
    assert up == body.replace(b' {"model"', b' {"keep_alive": "30s", "model"')
    given = body.replace(b'"x":', b'"keep_alive":"5m", "x":')
    await world.ask(world.chat(body=given))
    assert ollama.called(CHAT)[-1].body == given


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_pass(world: World, ollama: OllamaDouble, stream: bool) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    reply = await world.ask(world.chat(stream=stream, tools=tools))
    assert b'"tool_calls"' in reply.body and sent(ollama)["tools"] == tools
    assert not reply.cut


async def test_a161_only_content_type_and_accept_go_up(world: World, ollama: OllamaDouble) -> None:
    await world.ask(world.chat())
    headers = {name.lower() for name in ollama.called(CHAT)[-1].headers}
    assert headers == {"host", "content-type", "content-length", "accept", "accept-encoding"}
    assert ollama.called(CHAT)[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("body", [b"", b"nope", b'{"a":', b"\xff{}", b"[" * 100_000])
def test_a186_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(BackendFault) as caught:
        relayed_chat(body)
    assert (caught.value.fault.status, caught.value.fault.code.value) == (400, "invalid_body")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_a187_json_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(BackendFault) as caught:
        relayed_chat(body)
    assert caught.value.fault.status == 400


async def test_a_missing_model_is_the_upstreams_business(world: World, ollama: OllamaDouble) -> None:
    reply = await world.ask(world.chat(body=b'{"messages": [{"role": "user"}]}'))
    assert reply.status == 400 and not ollama.called(TOUCH)


async def test_a149_a143_a_refused_call_never_reaches_the_upstream(
    world: World, ollama: OllamaDouble
) -> None:
    ollama.gate.clear()
    outlet = world.scheduler.submit(world.chat())
    await ollama.until(lambda: bool(ollama.called(CHAT)))
    before = len(ollama.calls)
    for job in (world.chat(), world.speech(), world.transcribe()):
        reply = await world.ask(job)
        assert (reply.status, reply.error["code"]) == (503, "slot_busy")
        assert reply.headers["retry-after"] == "5"
        assert reply.error["holder"]["op"] == "chat"
    assert len(ollama.calls) == before
    ollama.gate.set()
    assert isinstance((await asyncio.wait_for(outlet.collect(), BOUND_S))[-1], CloseStream)


# --- inventory -----


async def test_a49_the_inventory_is_what_can_chat_here(world: World, ollama: OllamaDouble) -> None:
    ollama.install("nomic-embed-text", capabilities=["embedding"])
    ollama.install("gpt-oss:120b-cloud", remote_host="https://ollama.com:443", remote_model="x")
    ollama.install("old-version", capabilities=None, modified_at="yesterday")
    cards = await world.ollama.models()
    assert [card.id for card in cards] == [MODEL, "old-version"]
    assert cards[0].created == 1787299872 and cards[1].created == 0
    assert {(card.owned_by, card.capability) for card in cards} == {("ollama", "llm")}


@pytest.mark.parametrize("body", ["[]", "nope", '{"models": 5}', '{"models": [{"nome": 1}, 3]}', "null"])
async def test_a50_rubbish_is_no_entry(world: World, ollama: OllamaDouble, body: str) -> None:
    ollama.fail("/api/tags", "status", status=200, body=body)
    assert await world.ollama.models() == ()


async def test_a50_a51_a52_down_and_hanging_are_no_entry_for_a_bounded_time(
    world: World, ollama: OllamaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    import aistack.relays.ollama

    ollama.fail("/api/tags", "hang")
    with monkeypatch.context() as patch:
        patch.setattr(aistack.relays.ollama, "LOOK_S", 0.2)
        assert await asyncio.wait_for(world.ollama.models(), 5) == ()
    ollama.heal()
    port = ollama.port
    await ollama.stop()
    assert await world.ollama.models() == ()
    await ollama.start(port)
    assert [card.id for card in await world.ollama.models()] == [MODEL]


# --- what a relay may not do -----


async def test_a_wire_without_a_head_for_its_first_chunk_does_not_hold_the_slot(world: World) -> None:
    class Headless:
        name, provider, vram = "ollama", "ollama", Vram.EXTERNAL

        async def run(self, request: Any) -> AsyncGenerator[Any, None]:
            yield Piece(b"no head before me")

        async def evict(self) -> None: ...

        def kind_of(self, exc: BaseException) -> None: ...

    world.runner._relays["ollama"] = Headless()
    reply = await world.ask(world.chat(stream=True))
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    await world.quiet()
    assert world.free


async def test_a_password_in_an_address_is_not_shown(world: World, ollama: OllamaDouble) -> None:
    await ollama.stop()
    with_user = ollama.url.replace("http://", "http://me:secret@")
    world.ollama.upstream.settings = attrs.evolve(world.ollama.upstream.settings, url=with_user)
    reply = await world.ask(world.chat())
    assert reply.status == 503 and f":{ollama.port}" in reply.error["message"]
    assert "secret" not in reply.error["message"] and "me:" not in reply.error["message"]
