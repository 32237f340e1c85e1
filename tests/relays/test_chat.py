"""Chat through the real machine: bytes, keep_alive, the end of a stream, cancel, hand-over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import attrs
import pytest
from structlog.testing import capture_logs

from aistack.backends.ollama import means_unload, native
from aistack.chunks import Piece, Vram
from aistack.errors import BackendFault
from aistack.jobs.effects import CloseStream, Emit, OpenStream, Respond
from aistack.relaying import chat_request, with_member
from aistack.run.memory import Card
from aistack.run.outlet import WINDOW
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.relays.conftest import BOUND_S, MODEL, World

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


@pytest.mark.parametrize("body", [b"{}", b"  { } ", b'{"a":1}', b'\n{\n"a" : {}\n}'])
def test_a176_a_member_is_spliced_in(body: bytes) -> None:
    assert json.loads(with_member(body, "keep_alive", "30s")) == {
        **json.loads(body),
        "keep_alive": "30s",
    }


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
        chat_request(body)
    assert (caught.value.fault.status, caught.value.fault.code.value) == (400, "invalid_body")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_a187_json_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(BackendFault) as caught:
        chat_request(body)
    assert caught.value.fault.status == 400


async def test_a_missing_model_is_the_upstreams_business(world: World, ollama: OllamaDouble) -> None:
    reply = await world.ask(world.chat(body=b'{"messages": [{"role": "user"}]}'))
    assert reply.status == 400 and not ollama.called(TOUCH)


# --- keep_alive -----


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
    [(0, True), ("0", True), ("0h0m", True), (".0s", True), (False, False), ("", False), ("10", False)],
)
def test_spellings_of_zero(value: Any, zero: bool) -> None:
    assert means_unload(value) is zero


# --- the end of a stream -----


async def test_a180_the_first_token_comes_before_the_last_exists(
    world: World, ollama: OllamaDouble
) -> None:
    ollama.gate.clear()
    ollama.gate_at = 1
    outlet = world.scheduler.submit(world.chat(stream=True))
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), OpenStream)
    first = await asyncio.wait_for(outlet.get(), BOUND_S)
    assert isinstance(first, Emit) and b"Hello" in first.frame
    assert ollama.called(CHAT)[0].ended == ""
    ollama.gate.set()
    assert isinstance((await asyncio.wait_for(outlet.collect(), BOUND_S))[-1], CloseStream)


@pytest.mark.parametrize("die_after", [0, 1, 4])
async def test_silent_truncation_is_an_error_in_band(
    world: World, ollama: OllamaDouble, die_after: int
) -> None:
    ollama.die_after = die_after
    reply = await world.ask(world.chat(stream=True))
    assert reply.cut and DONE not in reply.body
    last = reply.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert json.loads(last[6:])["error"]["code"] == "upstream_error"
    assert world.outcome == "failed"
    ollama.die_after = None
    assert (await world.ask(world.chat(stream=True))).status == 200


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("usage", [False, True])
async def test_old_and_new_ends_of_a_stream(
    world: World, ollama: OllamaDouble, old: bool, usage: bool
) -> None:
    ollama.finish_in_content = old
    members = {"stream_options": {"include_usage": True}} if usage else {}
    reply = await world.ask(world.chat(stream=True, **members))
    assert reply.body.endswith(DONE) and not reply.cut
    assert (b'"usage"' in reply.body) == usage


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_finish_reason_is_as_good_as_done(world: World, ollama: OllamaDouble, how: str) -> None:
    ollama.break_off = how
    reply = await world.ask(world.chat(stream=True))
    assert not reply.cut and world.outcome == "ok"
    assert b'"finish_reason":"stop"' in reply.body and b"error" not in reply.body


async def test_a_late_done_is_not_lost(world: World, ollama: OllamaDouble) -> None:
    """Held for a moment, then what is there goes out, and the formal end follows."""
    ollama.pause_before_done.clear()
    outlet = world.scheduler.submit(world.chat(stream=True))
    frames = b""
    while b'"finish_reason":"stop"' not in frames:
        said = await asyncio.wait_for(outlet.get(), BOUND_S)
        frames += said.frame if isinstance(said, Emit) else b""
    assert not world.free
    ollama.pause_before_done.set()
    rest = await asyncio.wait_for(outlet.collect(), BOUND_S)
    assert isinstance(rest[0], Emit) and rest[0].frame == DONE
    assert isinstance(rest[1], CloseStream) and world.free


@pytest.mark.parametrize(
    ("stream", "done_after_s", "times"), [(True, 0, 100), (False, 0, 100), (True, 0.01, 10)]
)
async def test_tail_rule_nobody_sees_the_end_before_the_slot_is_free(
    world: World, ollama: OllamaDouble, stream: bool, done_after_s: float, times: int
) -> None:
    """Clients that leave with the last byte: none is recorded as cancelled, and the call made at
    that very moment is never refused."""
    ollama.done_after_s = done_after_s
    for _ in range(times):
        job = world.chat(stream=stream)
        outlet = world.scheduler.submit(job)
        body, length = b"", None
        while not body.endswith(DONE) and len(body) != length:
            said = await outlet.get()  # at once: wait_for would look a moment later
            assert not isinstance(said, Respond), said
            if isinstance(said, OpenStream):
                length = said.head.length
            else:
                assert isinstance(said, Emit)
                body += said.frame
        assert world.free, "the end was seen before the slot was free"
        world.leave(job)
    await world.quiet()
    assert [one.job.outcome.ended.value for one in world.done if one.job.outcome] == ["ok"] * times


# --- cancel, window -----


@pytest.mark.parametrize("stream", [True, False])
async def test_a188_a189_leaving_closes_the_upstream_and_frees_the_slot(
    world: World, ollama: OllamaDouble, stream: bool
) -> None:
    ollama.gate.clear()
    ollama.gate_at = 2
    job = world.chat(stream=stream)
    outlet = world.scheduler.submit(job)
    await ollama.until(lambda: bool(ollama.called(CHAT)))
    if stream:
        await asyncio.wait_for(outlet.get(), BOUND_S)
    world.leave(job)
    await world.quiet()
    assert world.free and world.outcome == "cancelled"
    await ollama.until(lambda: ollama.called(CHAT)[0].ended == "cut")
    ollama.gate.set()
    assert (await world.ask(world.chat(stream=stream))).status == 200


async def test_leaving_while_the_model_loads(world: World, ollama: OllamaDouble) -> None:
    ollama.fail(TOUCH, "hang")
    job = world.chat()
    world.scheduler.submit(job)
    await ollama.until(lambda: bool(ollama.called(TOUCH)))
    world.leave(job)
    await world.quiet()
    assert world.free and not ollama.called(CHAT)
    await ollama.until(lambda: ollama.called(TOUCH)[0].ended == "cut")


async def test_a_slow_reader_slows_the_upstream(world: World, ollama: OllamaDouble) -> None:
    """A client that takes nothing: what is kept for it stays bounded."""
    word = "x" * 60_000
    ollama.words = (word,) * 600
    job = world.chat(stream=True)
    outlet = world.scheduler.submit(job)
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), OpenStream)
    peak, last, calm = 0, -1, 0
    loop = asyncio.get_running_loop()
    end = loop.time() + BOUND_S
    while calm < 5 and loop.time() < end:
        await world.sessions_breathe()
        calm = calm + 1 if outlet._pending == last else 0
        last = outlet._pending
        peak = max(peak, last)
    assert WINDOW <= peak < 3 * WINDOW
    assert ollama.called(CHAT)[0].ended == "", "the upstream waits"
    body = b"".join(
        said.frame
        for said in await asyncio.wait_for(outlet.collect(), BOUND_S)
        if isinstance(said, Emit)
    )
    assert body.count(word.encode()) == 600 and body.endswith(DONE)


# --- hand-over -----


async def test_a181_a190_ours_is_gone_before_theirs_runs_and_the_other_way_round(
    world: World, ollama: OllamaDouble
) -> None:
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner._processes
    assert (await world.ask(world.chat())).status == 200
    assert not world.runner._processes and MODEL in ollama.runners
    assert (await world.ask(world.transcribe())).status == 200
    assert world.runner._processes and not ollama.runners


async def test_others_who_use_ollama_are_noticed(world: World, ollama: OllamaDouble) -> None:
    ollama.install("other")
    ollama.install("on-cpu")
    for name in ("other", "on-cpu"):
        ollama.release(await ollama.acquire(name, float("inf")))
    ollama.runners["on-cpu"].size_vram = 0
    assert (await world.ask(world.transcribe())).status == 200
    assert list(ollama.runners) == ["on-cpu"], "what holds no memory of the card is left alone"


async def test_an_unload_is_verified_and_not_assumed(world: World, ollama: OllamaDouble) -> None:
    ollama.release(await ollama.acquire(MODEL, float("inf")))
    ollama.linger = 4
    await world.ollama.evict()
    assert not ollama.runners
    assert len(ollama.called("/api/ps")) == 4 and len(ollama.called(TOUCH)) == 1


async def test_a_model_that_will_not_go_does_not_hold_the_job_for_ever(
    world: World, ollama: OllamaDouble
) -> None:
    world.ollama.settings = attrs.evolve(world.ollama.settings, evict_s=0.3)
    ollama.stubborn = True
    ollama.release(await ollama.acquire(MODEL, float("inf")))
    assert (await world.ask(world.transcribe())).status == 200
    assert MODEL in ollama.runners


async def test_another_machines_ollama_is_left_alone(world: World, ollama: OllamaDouble) -> None:
    far = attrs.evolve(world.ollama.settings, url="http://192.0.2.1:11434")
    world.ollama.settings = far
    assert not world.ollama.on_our_card
    await world.ollama.evict()
    assert not ollama.calls
    world.ollama.settings = attrs.evolve(far, shares_gpu=True)
    assert world.ollama.on_our_card


async def test_evict_never_raises(world: World, ollama: OllamaDouble) -> None:
    for how in ({"do": "status", "status": 500}, {"do": "garbage"}, {"do": "reset"}):
        ollama.fail("/api/ps", **how)
        await world.ollama.evict()
        ollama.heal()
    ollama.fail("/api/ps", "status", status=200, body='{"models": [{"name": 5}, 7, {"size_vram": 3}]}')
    await world.ollama.evict()
    await ollama.stop()
    await world.ollama.evict()


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
    import aistack.backends.ollama

    ollama.fail("/api/tags", "hang")
    with monkeypatch.context() as patch:
        patch.setattr(aistack.backends.ollama, "LOOK_S", 0.2)
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


async def test_the_hand_over_of_a_card_is_measured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [Card(1_000, 8_000), Card(7_500, 8_000)]

    async def measured(device: str) -> Card:
        return cards.pop(0)

    monkeypatch.setattr("aistack.run.runner.measured", measured)
    with capture_logs() as lines:
        assert (await world.ask(world.transcribe())).status == 200
    (line,) = [line for line in lines if line["event"] == "card handed over"]
    assert (line["free_before"], line["free_after"], line["residue"]) == (1_000, 7_500, 500)
