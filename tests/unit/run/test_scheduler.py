"""The central task: drain, timers, housekeeping, spares, and no exception that could hold a slot."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from aistack.jobs import Limits, Op, Phase, Transition
from aistack.jobs import events as ev
from aistack.jobs.effects import AbortStream, Emit, OpenStream
from aistack.jobs.model import evolve
from aistack.run.housekeeping import Housekeeping, housekeeping_job
from aistack.run.outlet import Outlet
from aistack.run.process import EngineProcess
from tests.unit.run.conftest import BOUND_S, Gates, PlainWire, Rig, resident, said

pytestmark = pytest.mark.both_loops

HELLO = {"say": "hello world", "end": 1}


async def shown(outlet: Outlet) -> None:
    """Wait for the first frame: gates and frames are two channels, and either may be first."""
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), OpenStream)
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), Emit)


async def test_busy_names_the_holder_and_its_progress(rig: Rig) -> None:
    job = rig.job({"progress": [1.0, 4.0]}, HELLO, {"gate": "g"}, stream=True)
    outlet = rig.submit(job)
    await shown(outlet)
    standing = await rig.gates.entered("g")
    refused = await rig.submit(rig.job(HELLO)).collect()
    error = json.loads(refused[0].answer.body)["error"]
    assert error["holder"]["op"] == "transcribe"
    assert error["holder"]["model"] == "fake-small"
    assert error["holder"]["progress"] == 0.25
    assert error["holder"]["eta_s"] >= 0
    assert ("Retry-After", "5") in refused[0].answer.headers
    rig.gates.let_pass(standing)
    await outlet.collect()


async def test_patience_stands_in_line(rig: Rig) -> None:
    first = rig.submit(rig.job({"gate": "g"}, HELLO))
    standing = await rig.gates.entered("g")
    second = rig.submit(rig.job({"say": "second"}, patience=20))
    rig.gates.let_pass(standing)
    assert said(await first.collect()) == "200 hello world"
    assert said(await asyncio.wait_for(second.collect(), BOUND_S)) == "200 second"


async def test_patience_ends(rig: Rig) -> None:
    first = rig.submit(rig.job({"gate": "g"}, HELLO))
    standing = await rig.gates.entered("g")
    assert await rig.ask(HELLO, patience=0.2) == "503 slot_busy"
    rig.gates.let_pass(standing)
    await first.collect()


@pytest.mark.parametrize("method", ["head", "frame", "tail", "body", "fault"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_wire_that_raises_cannot_hold_the_slot(rig: Rig, method: str, stream: bool) -> None:
    wire = PlainWire(stream)

    def raises(*_: Any) -> Any:
        raise ValueError("made up")

    setattr(wire, method, raises)
    for acts in ([HELLO, HELLO], [HELLO, {"fail": "bug"}], [{"fail": "bug"}], []):
        job = evolve(rig.job(*acts, stream=stream), wire=wire)
        answer = await asyncio.wait_for(rig.submit(job).collect(), BOUND_S)
        assert said(answer)
        await rig.quiet()
        assert rig.discarded.count(job.id) == 1
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_spawn_that_raises_cannot_hold_the_slot(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (OSError("no more processes"), RuntimeError("made up")):

        async def refuse(settings: Any, error: Exception = error) -> EngineProcess:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(EngineProcess, "spawn", refuse)
            assert await rig.ask(HELLO) in ("503 model_load_failed", "500 internal_error")
        await rig.quiet()
        assert rig.scheduler.snapshot.slots[0].holder is None
    assert await rig.ask(HELLO, model="fake-large") == "200 hello world"


async def test_an_observer_that_raises_stops_nothing(rig: Rig) -> None:
    def raises(_: Any) -> None:
        raise ValueError("made up")

    rig.scheduler.observers.insert(0, raises)
    assert await rig.ask(HELLO) == "200 hello world"
    assert len(rig.done) == 1


async def test_open_due_sends_headers_while_the_model_loads(tmp_path: Path, gates: Gates) -> None:
    rig = Rig(tmp_path, gates, ("cpu",), Limits(open_after=0.05))
    await rig.start()
    (tmp_path / "loads.json").write_text(json.dumps({"fake-small": [{"gate": "load"}]}))
    outlet = rig.submit(rig.job(HELLO, stream=True))
    standing = await gates.entered("load")
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), OpenStream)
    gates.let_pass(standing)
    assert isinstance(await asyncio.wait_for(outlet.get(), BOUND_S), Emit)
    await outlet.collect()
    await rig.stop()


async def test_drain_lets_the_running_finish_and_refuses_the_rest(rig: Rig) -> None:
    running = rig.submit(rig.job(HELLO, {"gate": "g"}, HELLO, stream=True))
    standing = await rig.gates.entered("g")
    waiting = rig.submit(rig.job(HELLO, patience=20))
    draining = asyncio.create_task(rig.scheduler.drain(BOUND_S))
    assert said(await waiting.collect()) == "503 shutting_down"
    assert await rig.ask(HELLO) == "503 shutting_down"
    rig.gates.let_pass(standing)
    assert said(await running.collect()).endswith("|hello world hello world.")
    await asyncio.wait_for(draining, BOUND_S)


async def test_drain_ends_what_does_not_finish(rig: Rig) -> None:
    stream = rig.submit(rig.job(HELLO, {"gate": "g"}, HELLO, stream=True))
    await shown(stream)
    standing = await rig.gates.entered("g")
    await asyncio.wait_for(rig.scheduler.drain(0.05), BOUND_S)
    assert [type(effect).__name__ for effect in await stream.collect()] == ["Emit", "CloseStream"]
    assert not rig.scheduler.snapshot.jobs
    standing.close()


async def test_a_stopped_scheduler_answers_at_once(rig: Rig) -> None:
    await rig.stop()
    job = rig.job(HELLO)
    assert said(await rig.submit(job).collect()) == "503 shutting_down"
    assert rig.discarded == [job.id]
    await asyncio.wait_for(rig.scheduler.drain(BOUND_S * 2), BOUND_S)
    await rig.start()


async def test_a_dead_scheduler_leaves_nobody_waiting(rig: Rig) -> None:
    outlet = rig.submit(rig.job(HELLO, {"gate": "g"}, stream=True))
    await shown(outlet)
    standing = await rig.gates.entered("g")
    assert rig.task is not None
    rig.task.cancel()
    assert isinstance((await asyncio.wait_for(outlet.collect(), BOUND_S))[-1], AbortStream)
    standing.close()
    await rig.start()


async def test_idle_models_are_unloaded_and_a_request_in_between_counts(rig: Rig) -> None:
    unloaded = asyncio.Event()

    def note(transition: Transition) -> None:
        if transition.job.op is Op.UNLOAD and transition.target is Phase.DONE:
            unloaded.set()

    rig.scheduler.observers.append(note)
    keeper = Housekeeping(rig.scheduler, 0.3)
    await rig.ask(HELLO)
    await asyncio.wait_for(unloaded.wait(), BOUND_S)
    await rig.quiet()
    assert rig.scheduler.snapshot.slots[0].resident is None
    assert not rig.runner._processes
    keeper.close()


async def test_preload_makes_the_first_request_warm(rig: Rig) -> None:
    keeper = Housekeeping(rig.scheduler, 0)
    keeper.preload(resident())
    await rig.quiet()
    assert rig.scheduler.snapshot.slots[0].resident == resident()
    pid = rig.runner._processes["cpu"].pid
    await rig.ask(HELLO)
    assert rig.runner._processes["cpu"].pid == pid


async def test_a_request_during_housekeeping_waits_a_moment(rig: Rig) -> None:
    (rig.tmp / "loads.json").write_text(json.dumps({"fake-small": [{"gate": "load"}]}))
    rig.submit(housekeeping_job(Op.LOAD, resident(), None))
    standing = await rig.gates.entered("load")
    outlet = rig.submit(rig.job(HELLO))
    rig.gates.let_pass(standing)
    assert said(await asyncio.wait_for(outlet.collect(), BOUND_S)) == "200 hello world"


async def test_every_change_of_model_finds_a_spare_not_only_every_second(rig: Rig) -> None:
    rig.make_runner(spare=True)
    await rig.ask(HELLO)
    await rig.ask(HELLO, model="fake-large")
    for model in ("fake-small", "fake-large", "fake-small"):
        await rig.quiet()
        await asyncio.wait_for(asyncio.gather(*rig.runner._background), BOUND_S)
        spare = rig.runner._spare
        assert spare is not None
        await rig.ask(HELLO, model=model)
        assert rig.runner._processes["cpu"] is spare


async def test_engines_that_take_turns_each_find_their_spare(rig: Rig) -> None:
    """The spare of one must not be dropped for the other's just before it is wanted."""
    other = attrs.evolve(rig.settings, name="other")
    runner = rig.make_runner(spare=True)
    runner._engines["other"] = other

    async def ask(backend: str) -> None:
        job = rig.job(HELLO)
        route = evolve(job.route, backend=backend)
        await asyncio.wait_for(rig.submit(evolve(job, route=route)).collect(), BOUND_S)
        while runner._background:
            await asyncio.wait_for(asyncio.gather(*runner._background), BOUND_S)

    await ask("fake")
    await ask("other")
    for backend in ("fake", "other", "fake"):
        spare = runner._spare
        assert spare is not None and spare.backend == backend
        await ask(backend)
        assert runner._processes["cpu"] is spare


async def test_the_spare_is_the_next_process_and_nothing_is_left_behind(rig: Rig) -> None:
    rig.make_runner(spare=True)
    await rig.ask(HELLO)
    rig.submit(housekeeping_job(Op.UNLOAD, resident(), "cpu"))
    await rig.quiet()
    await asyncio.wait_for(asyncio.gather(*rig.runner._background), BOUND_S)
    spare = rig.runner._spare
    assert await rig.ask(HELLO, model="fake-large") == "200 hello world"
    assert spare is not None
    assert rig.runner._processes["cpu"] is spare
    while rig.runner._background:
        await asyncio.wait_for(asyncio.gather(*rig.runner._background), BOUND_S)
    await rig.runner.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(spare.pid, 0)


async def test_an_interpreter_with_another_version_is_refused_in_a_sentence(
    rig: Rig, tmp_path: Path
) -> None:
    """The engine's own interpreter must have our version of aistack."""
    other = tmp_path / "other.py"
    other.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "sys.argv = ['child', sys.argv[3], sys.argv[4]]\n"
        "sys.path.insert(0, os.getcwd())\n"
        "import aistack; aistack.__version__ = '0.0.0-other'\n"
        "import runpy; runpy.run_module('aistack.run.child', run_name='__main__')\n"
    )
    other.chmod(0o755)
    rig.make_runner(python=str(other))
    outlet = rig.submit(rig.job(HELLO))
    answer = await asyncio.wait_for(outlet.collect(), BOUND_S)
    assert answer[0].answer.status == 503
    assert "0.0.0-other" in json.loads(answer[0].answer.body)["error"]["message"]


async def test_two_slots_run_side_by_side(tmp_path: Path, gates: Gates) -> None:
    rig = Rig(tmp_path, gates, ("cpu", "cpu:1"), Limits())
    await rig.start()
    first = rig.submit(rig.job({"gate": "a"}, HELLO))
    one = await gates.entered("a")
    second = rig.submit(rig.job({"gate": "b"}, HELLO))
    two = await gates.entered("b")
    assert await rig.ask(HELLO) == "503 slot_busy"
    rig.gates.let_pass(one)
    rig.gates.let_pass(two)
    assert said(await first.collect()) == said(await second.collect()) == "200 hello world"
    await rig.stop()


async def test_many_jobs_many_cancels_leave_nothing(rig: Rig) -> None:
    """Three hundred jobs, a third of them left by their clients at any moment."""
    for number in range(300):
        job = rig.job(HELLO, HELLO, stream=bool(number % 2))
        outlet = rig.submit(job)
        if number % 3 == 0:
            for _ in range(number % 7):
                await asyncio.sleep(0)
            rig.scheduler.post(ev.ClientGone(job.id))
        else:
            await asyncio.wait_for(outlet.collect(), BOUND_S)
        await rig.quiet()
    assert len(rig.done) == len(rig.discarded) == 300
    assert not rig.scheduler._outlets
    assert not rig.scheduler._timers
    assert not rig.runner._steps
