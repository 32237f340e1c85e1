"""The LOOP lane: a relay's pieces, its failures, its cancel, its window, and who gives memory back."""

from __future__ import annotations

import asyncio

import pytest

from aistack.chunks import Tail
from aistack.jobs import events as ev
from aistack.jobs.effects import Emit
from aistack.run.outlet import WINDOW
from tests.support.engine_processes import pid_on
from tests.unit.run.conftest import BOUND_S, Rig, said

pytestmark = pytest.mark.both_loops


async def relayed(rig: Rig, *acts: object) -> str:
    outlet = rig.submit(rig.chat(*acts))
    return said(await asyncio.wait_for(outlet.collect(), BOUND_S))


async def test_pieces_and_tail(rig: Rig) -> None:
    assert await relayed(rig, b"a", b"b", Tail(b"c")) == "~a~b~c."
    assert await relayed(rig, b"a") == "~a~."


async def test_failure_after_the_head_is_in_band(rig: Rig) -> None:
    assert await relayed(rig, b"a", RuntimeError("x")) == "~a~!internal_error."
    assert await relayed(rig, b"a", ConnectionResetError()) == "~a~!model_load_failed."


async def test_cancel_closes_the_upstream(rig: Rig) -> None:
    never = asyncio.Event()
    job = rig.chat(b"a", never)
    outlet = rig.submit(job)
    await outlet.get()
    await outlet.get()
    rig.scheduler.post(ev.ClientGone(job.id))
    await rig.quiet()
    assert rig.relay.closed == 1


async def test_a_slow_reader_stops_the_upstream(rig: Rig) -> None:
    block = b"x" * (WINDOW // 4)
    job = rig.chat(*([block] * 40))
    outlet = rig.submit(job)
    await outlet.get()
    first = await asyncio.wait_for(outlet.get(), BOUND_S)
    assert isinstance(first, Emit)
    for _ in range(100):
        await asyncio.sleep(0)
    assert outlet._pending <= WINDOW + len(block)
    rest = await asyncio.wait_for(outlet.collect(), BOUND_S)
    assert sum(isinstance(effect, Emit) for effect in rest) + 1 >= 40


async def test_ours_is_gone_before_theirs_runs_and_the_other_way_round(rig: Rig) -> None:
    await rig.ask({"say": "hello"})
    pid = pid_on(rig.runner, "cpu")
    assert pid > 0
    assert await relayed(rig, b"a") == "~a~."
    assert not rig.runner.processes()
    loaded = [rig.relay.loaded]
    await rig.ask({"say": "hello"})
    loaded.append(rig.relay.loaded)
    assert loaded == [True, False]
    assert rig.relay.evictions >= 1
