"""`keep_alive` of a chat: injected, made effective by a touch, and 0 as an unload after the call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aistack.contract.relay_request import with_member
from aistack.relays.ollama import means_unload, native
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.unit.relays.conftest import MODEL, World

pytestmark = pytest.mark.both_loops

CHAT = "/v1/chat/completions"
TOUCH = "/api/generate"


def sent(ollama: OllamaDouble) -> Any:
    return ollama.called(CHAT)[-1].json


@pytest.mark.parametrize("body", [b"{}", b"  { } ", b'{"a":1}', b'\n{\n"a" : {}\n}'])
def test_a176_a_member_is_spliced_in(body: bytes) -> None:
    assert json.loads(with_member(body, "keep_alive", "30s")) == {
        **json.loads(body),
        "keep_alive": "30s",
    }


async def test_a176_a193_absent_keep_alive_is_30s_and_takes_effect(
    world: World, ollama: OllamaDouble
) -> None:
    await world.ask(world.chat())
    assert sent(ollama)["keep_alive"] == "30s"
    ollama.clock.advance(29)
    ollama.expire()
    assert MODEL in ollama.runners
    ollama.clock.advance(2)
    ollama.expire()
    assert not ollama.runners


@pytest.mark.parametrize(
    ("value", "kept_s"),
    [("5m", 300.0), ("45", 45.0), (60, 60.0), ("-1", float("inf")), (-1, float("inf")), ("1.5h", 5400)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a177_present_keep_alive_is_kept_and_takes_effect(
    world: World, ollama: OllamaDouble, value: Any, kept_s: float, stream: bool
) -> None:
    reply = await world.ask(world.chat(stream=stream, keep_alive=value))
    assert reply.status == 200
    assert sent(ollama)["keep_alive"] == value
    assert ollama.runners[MODEL].keep_s == kept_s


@pytest.mark.parametrize("value", [0, "0", "0s", 0.0, "-0", "0m0s"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a177_zero_unloads_after_the_call(
    world: World, ollama: OllamaDouble, value: Any, stream: bool
) -> None:
    reply = await world.ask(world.chat(stream=stream, keep_alive=value))
    assert reply.status == 200 and not reply.cut
    assert not ollama.runners, "unloaded before the client sees the end of its answer"
    assert [call.path for call in ollama.calls] == [CHAT, TOUCH]


async def test_a177_null_leaves_it_to_ollama(world: World, ollama: OllamaDouble) -> None:
    await world.ask(world.chat(keep_alive=None))
    assert [call.path for call in ollama.calls] == [CHAT]
    assert sent(ollama)["keep_alive"] is None
    assert ollama.runners[MODEL].keep_s == 300


async def test_zero_unloads_even_if_the_client_leaves(world: World, ollama: OllamaDouble) -> None:
    ollama.gate.clear()
    job = world.chat(stream=True, keep_alive=0)
    world.scheduler.submit(job)
    await ollama.until(lambda: bool(ollama.called(CHAT)))
    world.leave(job)
    await world.quiet()
    assert not ollama.runners and world.free


async def test_what_the_touch_says_comes_before_any_byte(world: World, ollama: OllamaDouble) -> None:
    reply = await world.ask(world.chat(stream=True, model="nobody"))
    assert (reply.status, reply.error["code"]) == (400, "model_not_found")
    reply = await world.ask(world.chat(stream=True, keep_alive="soon"))
    assert (reply.status, reply.error["code"]) == (400, "upstream_rejected")
    ollama.fail(TOUCH, "status", status=500, body='{"error": "llama runner process has terminated"}')
    reply = await world.ask(world.chat(stream=True))
    assert (reply.status, reply.error["code"]) == (500, "upstream_error")
    assert not ollama.called(CHAT)


async def test_an_upstream_without_a_native_api_still_chats(world: World, ollama: OllamaDouble) -> None:
    path = world.ollama.upstream
    real_open = path.open

    async def open_(method: str, path_qs: str, *rest: Any, **named: Any) -> Any:
        there = "/nothing/here" if path_qs == TOUCH else path_qs
        return await real_open(method, there, *rest, **named)

    path.open = open_  # type: ignore[method-assign]
    assert (await world.ask(world.chat())).status == 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [("300", 300), ("-1", -1), ("1.5", 1.5), ("30s", "30s"), (7, 7), ("", ""), ("1e3", "1e3")],
)
def test_numeric_strings_become_numbers(value: Any, expected: Any) -> None:
    assert native(value) == expected and type(native(value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "zero"),
    [
        *((0, True), ("0", True), ("000", True), ("0h0m", True), (".0s", True), ("0.", True)),
        *(("-0.00ms", True), ("00.0m.0s0ns", True), (False, False), ("", False), ("10", False)),
        *(("0x", False), ("0.0.5s", False), ("0" * 100_000 + "x", False)),
    ],
    ids=lambda value: str(value)[:12],
)
def test_spellings_of_zero(value: Any, zero: bool) -> None:
    assert means_unload(value) is zero
