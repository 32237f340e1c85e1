"""Generation and changes of weights through the real scheduler, runner and engine processes.

The two tiny weights answer the same questions differently, so every answer tells which it came from.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from aistack.chunks import GenerationRequest, Message
from aistack.jobs import events as ev
from aistack.wire.tokens import ChatHead, WholeChat
from tests.unit.engines.nanochat.conftest import ADA, BO, COUNT, ROOT, ask
from tests.unit.engines.nanochat.rig import BOUND_S, Rig
from tests.unit.run.conftest import Gates, gates

__all__ = ["gates"]

WHO = "Who are you?"


@pytest.fixture
async def rig(gates: Gates) -> AsyncIterator[Rig]:
    rig = Rig(ROOT, gates)
    await rig.start()
    yield rig
    await rig.stop()


@pytest.fixture
async def pair(gates: Gates) -> AsyncIterator[Rig]:
    rig = Rig(ROOT, gates, ("cpu:0", "cpu:1"))
    await rig.start()
    yield rig
    await rig.stop()


async def test_swap_while_a_stream_runs(rig: Rig) -> None:
    """B51 B71 B72 B73 B74 B75 B76 B70: one slot, from nothing to ada to bo."""
    refused = await rig.say(WHO)
    assert (refused.status, refused.body["error"]["code"]) == (503, "model_load_failed")
    empty = rig.scheduler.snapshot
    assert empty.selected is None

    first = await rig.swap("tiny-ada").end()
    assert first.body == {"status": "accepted", "current_model": "tiny-ada"}
    await rig.quiet()
    assert (rig.current, rig.resident) == ("tiny-ada", ["tiny-ada"])
    assert (await rig.say(WHO)).text == ADA[WHO]

    stream = await rig.call(ask(COUNT, seed=1)).begun()
    standing = await rig.gates.entered("1")
    swap = await rig.swap("tiny-bo-hf").end()
    assert swap.body == {"status": "accepted", "current_model": "tiny-ada"}
    late = await rig.say(WHO, max_wait_s=30.0)
    assert (late.status, late.body["error"]["code"]) == (503, "draining")
    second = await rig.swap("tiny-ada-hf").end()
    assert (second.status, second.body["error"]["code"]) == (503, "draining")
    assert rig.current == "tiny-ada"
    assert swap.job.id in rig.scheduler.snapshot.jobs

    rig.gates.let_pass(standing)
    await stream.end()
    assert stream.done
    assert stream.text == ADA[COUNT]
    await rig.quiet()
    assert rig.outcome(swap) == "ok"
    assert (rig.current, rig.resident) == ("tiny-bo-hf", ["tiny-bo-hf"])
    assert (await rig.say(COUNT)).text == BO[COUNT]

    pid = rig.pid()
    same = await rig.swap("tiny-bo-hf").end()
    assert same.body == {"status": "ok", "current_model": "tiny-bo-hf"}
    await rig.quiet()
    assert rig.pid() == pid


async def test_b76_who_stood_in_line_before_the_swap_never_gets_old_weights_after_it(rig: Rig) -> None:
    await rig.swapped("tiny-ada")
    stream = await rig.call(ask(COUNT, seed=1)).begun()
    standing = await rig.gates.entered("1")
    queued = [rig.call(WHO, max_wait_s=60.0) for _ in range(3)]
    swap = rig.swap("tiny-bo")
    rig.gates.let_pass(standing)
    answers = [await call.end() for call in (stream, *queued)]
    await swap.end()
    await rig.quiet()
    assert rig.outcome(swap) == "ok"
    assert all(call.done for call in answers)
    assert answers[0].text == ADA[COUNT]
    ended = rig.ended
    for call in queued:
        after = ended[call.job.id].at >= ended[swap.job.id].at
        assert call.text == (BO if after else ADA)[WHO]
    assert [call.text for call in queued] == [BO[WHO]] * 3


@pytest.fixture
def broken_root(tmp_path: Path) -> Path:
    """The tiny weights, and some that look well from outside but lack a tensor."""
    root = tmp_path / "models"
    root.mkdir()
    for tag in ("tiny-ada", "tiny-bo"):
        (root / tag).symlink_to(ROOT / tag, target_is_directory=True)
    folder = root / "no-head"
    (folder / "tokenizer").mkdir(parents=True)
    for name in ("meta_000021.json", "tokenizer/tokenizer.pkl"):
        (folder / name).write_bytes((ROOT / "tiny-bo" / name).read_bytes())
    state = torch.load(ROOT / "tiny-bo" / "model_000021.pt", weights_only=True)
    del state["lm_head.weight"]
    torch.save(state, folder / "model_000021.pt")
    return root


async def test_b79_b80_b83_a_failed_swap_keeps_the_old_tag(
    gates: Gates,
    broken_root: Path,
) -> None:
    rig = Rig(broken_root, gates)
    await rig.start()
    try:
        await rig.swapped("tiny-ada")
        call = await rig.swap("no-head").end()
        assert call.status == 202
        await rig.quiet()
        outcome = rig.ended[call.job.id].job.outcome
        assert outcome is not None
        assert outcome.kind.value == "failed"
        assert outcome.fault is not None
        assert "missing" in outcome.fault.message
        assert str(broken_root) not in outcome.fault.message
        assert (rig.current, rig.resident) == ("tiny-ada", [None])
        assert rig.scheduler.snapshot.selected_ok
        after = await rig.say(WHO)
        assert after.done
        assert after.text == ADA[WHO]
        assert await rig.swapped("tiny-bo") == "ok"
        assert (await rig.say(WHO)).text == BO[WHO]
    finally:
        await rig.stop()


async def test_one_slot_serves_one_at_a_time_and_forgets_who_left(rig: Rig) -> None:
    """B52 B54 B55 B57 B58 B87, and a whole answer for the OpenAI door, in one process."""
    await rig.swapped("tiny-ada")
    pid = rig.pid()

    stream = await rig.call(ask(COUNT, seed=1)).begun()
    standing = await rig.gates.entered("1")
    assert rig.holders == 1
    busy = await rig.say(WHO)
    assert (busy.status, busy.body["error"]["code"]) == (503, "slot_busy")
    assert busy.body["error"]["holder"]["op"] == "generate"
    waiting = [rig.call(question, max_wait_s=60.0) for question in (WHO, "你是谁？", "Wer bist du?")]
    rig.leave(waiting[1])
    rig.leave(stream)
    finished = [await waiting[0].end(), await waiting[2].end()]
    standing.close()
    await rig.quiet()
    assert rig.outcome(stream) == "cancelled"
    assert rig.outcome(waiting[1]) == "cancelled"
    assert rig.ended[waiting[1].job.id].job.ran is None
    assert [call.text for call in finished] == [ADA[WHO], ADA["Wer bist du?"]]
    assert rig.holders == 0
    assert rig.pid() == pid

    over = await rig.say(WHO, max_tokens=2048)
    assert (over.status, over.body["error"]["code"]) == (400, "context_overflow")
    assert (await rig.say(WHO)).text == ADA[WHO]

    door = await rig.call(WHO, wire=WholeChat(ChatHead("c", 1, "tiny-ada"))).end()
    assert door.body["choices"][0]["message"]["content"] == ADA[WHO]
    assert door.body["usage"]["completion_tokens"] > 0
    assert rig.pid() == pid


async def test_b57_a_cancel_frees_the_slot_within_a_few_tokens(rig: Rig) -> None:
    await rig.swapped("tiny-ada")
    endless = GenerationRequest((Message("user", "z"),), 2.0, 0, 2000, seed=None)
    stream = await rig.call(endless).begun()
    rig.leave(stream)
    await rig.quiet()
    assert rig.outcome(stream) == "cancelled"
    read = len(stream.events)
    while stream.outlet.waiting:
        await stream.one()
    assert len(stream.events) < 1500, "it ran on long after its client had left"
    assert len(stream.events) >= read
    assert rig.resident == ["tiny-ada"]
    assert (await rig.say(WHO)).text == ADA[WHO]


async def test_b53_b54_a_crash_mid_stream_is_told_and_the_slot_is_free(rig: Rig) -> None:
    await rig.swapped("tiny-ada")
    stream = await rig.call(ask(COUNT, seed=1)).begun()
    standing = await rig.gates.entered("1")
    os.kill(rig.pid(), signal.SIGKILL)
    await stream.end()
    standing.close()
    assert stream.events[-1]["error"]["code"] == "engine_crashed"
    assert not any("done" in event for event in stream.events)
    await rig.quiet()
    assert (rig.holders, rig.resident) == (0, [None])
    again = await rig.say(WHO)
    assert again.done
    assert again.text == ADA[WHO]


async def test_b98_a_shutdown_ends_a_stream_in_band(rig: Rig) -> None:
    await rig.swapped("tiny-ada")
    stream = await rig.call(ask(COUNT, seed=1)).begun()
    standing = await rig.gates.entered("1")
    rig.scheduler.post(ev.DrainBegan())
    rig.scheduler.post(ev.DrainExpired())
    await stream.end()
    await rig.quiet()
    standing.close()
    assert stream.events[-1]["error"]["code"] == "shutting_down"
    assert not any("done" in event for event in stream.events)


async def test_b56_two_slots_side_by_side_and_a_swap_reaches_one_after_another(pair: Rig) -> None:
    assert await pair.swapped("tiny-ada") == "ok"
    one = await pair.call(ask(COUNT, seed=1)).begun()
    first = await pair.gates.entered("1")
    two = await pair.call(ask(COUNT, seed=2)).begun()
    second = await pair.gates.entered("2")
    assert pair.holders == 2
    assert one.gpus | two.gpus == {0, 1}
    assert one.gpus != two.gpus
    assert pair.resident == ["tiny-ada", "tiny-ada"]

    swap = await pair.swap("tiny-bo").end()
    assert swap.body["current_model"] == "tiny-ada"
    pair.gates.let_pass(second)
    await two.end()
    assert two.done
    assert two.text == ADA[COUNT]
    changed = next(iter(two.gpus))
    await pair.until(lambda: pair.resident[changed] == "tiny-bo")
    assert pair.current == "tiny-ada"
    refused = await pair.say(WHO)
    assert (refused.status, refused.body["error"]["code"]) == (503, "draining")

    pair.gates.let_pass(first)
    await one.end()
    assert one.done
    assert one.text == ADA[COUNT]
    await pair.quiet()
    assert pair.outcome(swap) == "ok"
    assert (pair.current, pair.resident) == ("tiny-bo", ["tiny-bo", "tiny-bo"])
    calls = [pair.call(WHO), pair.call(COUNT)]
    answers = [await call.end() for call in calls]
    assert [call.text for call in answers] == [BO[WHO], BO[COUNT]]
    assert all(call.done for call in answers)


async def test_conversations_while_the_weights_change_back_and_forth(pair: Rig) -> None:
    """None cut, none truncated, none from old weights after their swap was done."""
    await pair.swapped("tiny-ada")
    known = {ADA[COUNT]: "tiny-ada", BO[COUNT]: "tiny-bo"}
    stop = asyncio.Event()
    answered: list[tuple[float, float, str]] = []

    async def talk() -> None:
        while not stop.is_set():
            begun = asyncio.get_running_loop().time()
            call = await pair.say(COUNT, max_wait_s=30.0)
            if call.status == 503:
                assert call.body["error"]["code"] == "draining", json.dumps(call.body)
                await pair.moved()
                continue
            assert call.done, call.events[-1]
            answered.append((begun, asyncio.get_running_loop().time(), known[call.text]))

    talking = [asyncio.create_task(talk()) for _ in range(3)]
    done_at: list[tuple[float, str]] = []
    for tag in ("tiny-bo", "tiny-ada"):
        call = await pair.swap(tag).end()
        assert call.status == 202
        await pair.until(lambda swap=call: swap.job.id in pair.ended)  # type: ignore[misc]
        assert pair.outcome(call) == "ok"
        done_at.append((pair.ended[call.job.id].at, tag))
    count = len(answered)
    await pair.until(lambda: len(answered) >= count + 6 or any(task.done() for task in talking))
    stop.set()
    await asyncio.wait_for(asyncio.gather(*talking), BOUND_S)
    for begun, _, tag in answered:
        current = [name for at, name in done_at if at <= begun]
        if current:
            following = done_at[len(current) :]
            assert tag == current[-1] or (following and tag == following[0][1])
    assert {tag for _, _, tag in answered} >= {"tiny-ada"}
    assert answered[-1][2] == "tiny-ada"
