"""Chat: how a stream ends, how a client leaves, and what a slow one does; through the real machine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aistack.jobs.effects import CloseStream, Emit, OpenStream, Respond
from aistack.run.outlet import WINDOW
from tests.doubles.ollama import Ollama as OllamaDouble
from tests.unit.relays.conftest import BOUND_S, World

pytestmark = pytest.mark.both_loops

CHAT = "/v1/chat/completions"
TOUCH = "/api/generate"
DONE = b"data: [DONE]\n\n"


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
    members: dict[str, Any] = {"stream_options": {"include_usage": True}} if usage else {}
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
    assert [one.job.outcome.kind.value for one in world.done if one.job.outcome] == ["ok"] * times


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
