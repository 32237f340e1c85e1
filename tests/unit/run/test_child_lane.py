"""The CHILD lane: engine processes that answer, crash, hang, run out of memory and are told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from aistack.jobs import Limits
from aistack.jobs import events as ev
from aistack.jobs.effects import Emit, OpenStream
from tests.support.engine_processes import pid_on, serving
from tests.unit.run.conftest import BOUND_S, Gates, Rig, resident, said

pytestmark = pytest.mark.both_loops

HELLO = {"say": "hello world", "end": 1}


async def test_whole_answer_and_the_model_stays(rig: Rig) -> None:
    assert await rig.ask(HELLO, {"say": "again", "start": 1, "end": 2}) == "200 hello world again"
    await rig.quiet()
    assert rig.scheduler.snapshot.slots[0].resident == resident()
    assert len(rig.discarded) == 1


async def test_stream_shows_each_segment_and_its_lead(rig: Rig) -> None:
    answer = await rig.ask(HELLO, {"say": "again"}, stream=True)
    assert answer == "~hello world~ again~|hello world again."


async def test_the_same_process_serves_the_next_request(rig: Rig) -> None:
    await rig.ask(HELLO)
    first = pid_on(rig.runner, "cpu")
    await rig.ask(HELLO)
    assert pid_on(rig.runner, "cpu") == first


async def test_another_model_gets_another_process(rig: Rig) -> None:
    await rig.ask(HELLO)
    first = pid_on(rig.runner, "cpu")
    assert await rig.ask(HELLO, model="fake-large") == "200 hello world"
    assert pid_on(rig.runner, "cpu") != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.parametrize("how", ["kill", "segv", "exit"])
async def test_crash_before_the_first_chunk(rig: Rig, how: str) -> None:
    assert await rig.ask({"crash": how}) == "500 engine_crashed"
    assert await rig.ask(HELLO) == "200 hello world"


@pytest.mark.parametrize("how", ["kill", "segv", "exit"])
async def test_crash_mid_stream_is_told_in_band(rig: Rig, how: str) -> None:
    answer = await rig.ask(HELLO, {"crash": how}, stream=True)
    assert answer == "~hello world~!engine_crashed."
    assert await rig.ask(HELLO) == "200 hello world"


ABORTED = [
    ("terminate called after throwing an instance of 'std::bad_alloc'", "413 out_of_memory"),
    (
        "memory allocation of 2097152 bytes failed\nstack backtrace:\n" + "  frame\n" * 9,
        "413 out_of_memory",
    ),
    ("calloc(99042,2) failed from /project/src/util/logmath.c(119)", "413 out_of_memory"),
    ("Segmentation fault", "500 engine_crashed"),
]
"""Last words of libraries that end the process themselves when memory runs out."""


@pytest.mark.parametrize(("words", "answer"), ABORTED)
async def test_a114_an_abort_for_want_of_memory_in_a_run(rig: Rig, words: str, answer: str) -> None:
    assert await rig.ask({"print": words}, {"crash": "kill"}) == answer
    assert await rig.ask({"crash": "kill"}) == "500 engine_crashed", "the words were another process's"
    assert await rig.ask(HELLO) == "200 hello world"


async def test_words_of_an_earlier_run_are_not_the_last(rig: Rig) -> None:
    assert await rig.ask({"print": ABORTED[0][0]}, HELLO) == "200 hello world"
    assert await rig.ask({"crash": "kill"}) == "500 engine_crashed"


@pytest.mark.parametrize(("words", "answer"), ABORTED)
async def test_a114_an_abort_for_want_of_memory_in_a_load(rig: Rig, words: str, answer: str) -> None:
    loads = rig.tmp / "loads.json"
    loads.write_text(json.dumps({"fake-small": [{"print": words}, {"crash": "kill"}]}))
    assert await rig.ask(HELLO) == answer.replace("500 engine_crashed", "503 model_load_failed")
    loads.unlink()
    assert await rig.ask(HELLO) == "200 hello world"


async def test_out_of_memory_in_a_run_ends_the_process(rig: Rig) -> None:
    await rig.ask(HELLO)
    first = pid_on(rig.runner, "cpu")
    assert await rig.ask({"fail": "oom"}) == "413 out_of_memory"
    assert not rig.runner.processes()
    assert await rig.ask(HELLO) == "200 hello world"
    assert pid_on(rig.runner, "cpu") != first


async def test_an_ordinary_failure_keeps_the_process(rig: Rig) -> None:
    await rig.ask(HELLO)
    first = pid_on(rig.runner, "cpu")
    assert await rig.ask({"fail": "malformed"}) == "400 unsupported_audio"
    assert await rig.ask({"fail": "bug"}) == "500 internal_error"
    assert await rig.ask(HELLO) == "200 hello world"
    assert pid_on(rig.runner, "cpu") == first


async def test_an_unknown_failure_on_a_card_ends_the_process(tmp_path: Path, gates: Gates) -> None:
    """A CUDA context may be dead after it; a process on the CPU goes on (the test above)."""
    rig = Rig(tmp_path, gates, ("cuda:0",), Limits())
    await rig.start()
    assert await rig.ask({"fail": "malformed"}) == "400 unsupported_audio"
    assert rig.runner.processes()
    assert await rig.ask({"fail": "bug"}) == "500 internal_error"
    assert not rig.runner.processes()
    await rig.stop()


async def test_idle_death_is_noticed_and_the_next_request_loads_afresh(rig: Rig) -> None:
    await rig.ask(HELLO)
    await rig.quiet()
    vanished = asyncio.Event()
    post = rig.runner._post

    def spy(event: ev.Event) -> None:
        post(event)
        if isinstance(event, ev.Vanished):
            vanished.set()

    rig.runner._post = spy
    os.kill(pid_on(rig.runner, "cpu"), signal.SIGKILL)
    await asyncio.wait_for(vanished.wait(), BOUND_S)
    await rig.quiet()
    assert rig.scheduler.snapshot.slots[0].resident is None
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_step_waits_for_the_burial_of_an_engine_that_died_idle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is not back before; and its Vanished must not come after the step's report."""
    await rig.ask(HELLO)
    await rig.quiet()
    process = serving(rig.runner, "cpu")
    buried = asyncio.Event()
    reap = process.reap

    async def slowly(device: str) -> None:
        await asyncio.wait_for(buried.wait(), BOUND_S)
        await reap(device)

    monkeypatch.setattr(process, "reap", slowly)
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(process.died.wait(), BOUND_S)
    outlet = rig.submit(rig.chat(b"a"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not rig.relay.entered.is_set(), "the chat ran on memory that was not back"
    buried.set()
    assert said(await asyncio.wait_for(outlet.collect(), BOUND_S)) == "~a~."
    assert await rig.ask(HELLO) == "200 hello world"


async def test_run_that_finds_its_process_dead_is_a_503(rig: Rig) -> None:
    await rig.ask(HELLO)
    await rig.quiet()
    process = serving(rig.runner, "cpu")
    process.on_idle_death = None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(process.died.wait(), BOUND_S)
    assert await rig.ask(HELLO) == "503 engine_crashed"
    assert await rig.ask(HELLO) == "200 hello world"


async def test_cancel_at_a_gate_frees_the_slot_and_keeps_the_process(rig: Rig) -> None:
    job = rig.job(HELLO, {"gate": "g"}, HELLO, stream=True)
    outlet = rig.submit(job)
    assert isinstance(await outlet.get(), OpenStream)
    assert isinstance(await outlet.get(), Emit)
    standing = await rig.gates.entered("g")
    rig.scheduler.post(ev.ClientGone(job.id))
    await rig.quiet()
    standing.close()
    assert rig.discarded == [job.id]
    assert rig.runner.processes()
    assert rig.done[-1].job.outcome is not None
    assert rig.done[-1].job.outcome.kind.value == "cancelled"
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_deaf_engine_is_killed_after_its_grace(rig: Rig) -> None:
    job = rig.job(HELLO, {"hang": "deaf"}, stream=True)
    rig.submit(job)
    standing = await rig.gates.entered("deaf")
    rig.gates.let_pass(standing)
    rig.scheduler.post(ev.ClientGone(job.id))
    await rig.quiet()
    assert not rig.runner.processes()
    assert rig.scheduler.snapshot.slots[0].resident is None
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_late_kill_cannot_hit_the_next_job(rig: Rig) -> None:
    job = rig.job(HELLO, {"gate": "g"}, stream=True)
    outlet = rig.submit(job)
    await outlet.get()
    standing = await rig.gates.entered("g")
    rig.scheduler.post(ev.ClientGone(job.id))
    await rig.quiet()
    standing.close()
    after = rig.submit(rig.job({"gate": "h"}, HELLO))
    passing = await rig.gates.entered("h")
    grace = asyncio.Event()
    asyncio.get_running_loop().call_later(rig.settings.kill_after_s * 2, grace.set)
    await asyncio.wait_for(grace.wait(), BOUND_S)
    rig.gates.let_pass(passing)
    assert said(await asyncio.wait_for(after.collect(), BOUND_S)) == "200 hello world"


async def test_a_silent_engine_is_a_stall(rig: Rig) -> None:
    rig.make_runner(stall_s=1.5)
    assert await rig.ask({"hang": True}) == "500 engine_stalled"
    assert await rig.ask(HELLO) == "200 hello world"


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        ({"fail": "oom"}, "413 out_of_memory"),
        ({"fail": "network"}, "503 model_load_failed"),
        ({"fail": "bug"}, "503 model_load_failed"),
        ({"crash": "kill"}, "503 model_load_failed"),
        ({"crash": "segv"}, "503 model_load_failed"),
    ],
)
async def test_a_failed_load_always_ends_the_process(rig: Rig, act: dict[str, str], answer: str) -> None:
    loads = rig.tmp / "loads.json"
    loads.write_text(json.dumps({"fake-small": [act]}))
    assert await rig.ask(HELLO) == answer
    assert not rig.runner.processes()
    loads.unlink()
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_load_that_fails_twice_cools_down(rig: Rig) -> None:
    loads = rig.tmp / "loads.json"
    loads.write_text(json.dumps({"fake-small": [{"fail": "network"}]}))
    assert await rig.ask(HELLO) == "503 model_load_failed"
    assert await rig.ask(HELLO) == "503 model_load_failed"
    assert await rig.ask(HELLO) == "503 load_cooling_down"
    assert await rig.ask(HELLO, model="fake-large") == "200 hello world"


async def test_a_client_that_leaves_while_loading_does_not_interrupt_the_load(rig: Rig) -> None:
    (rig.tmp / "loads.json").write_text(json.dumps({"fake-small": [{"gate": "load"}]}))
    job = rig.job(HELLO)
    rig.submit(job)
    passing = await rig.gates.entered("load")
    rig.scheduler.post(ev.ClientGone(job.id))
    assert await rig.ask(HELLO) == "503 slot_busy"
    rig.gates.let_pass(passing)
    await rig.quiet()
    assert rig.scheduler.snapshot.slots[0].resident == resident()


async def test_submitted_and_gone_in_one_breath(rig: Rig) -> None:
    """The step's task has not begun when it is cancelled: it must report all the same."""
    await rig.ask(HELLO)
    job = rig.job(HELLO)
    rig.submit(job)
    rig.scheduler.post(ev.ClientGone(job.id))
    await rig.quiet()
    chat = rig.chat(b"x")
    rig.submit(chat)
    rig.scheduler.post(ev.ClientGone(chat.id))
    await rig.quiet()
    assert await rig.ask(HELLO) == "200 hello world"


async def test_library_output_becomes_log_lines(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    from structlog.testing import capture_logs

    with capture_logs() as logs:
        await rig.ask({"print": "loading\rweights"}, {"spam": 20_000}, {"print": ""}, HELLO)
        await rig.stop()
        await rig.start()
    lines = [entry["line"] for entry in logs if entry["event"] == "engine output"]
    assert "loading" in lines
    assert "weights" in lines
    assert max(map(len, lines)) <= 8 * 1024
    assert "loading" not in capsys.readouterr().out
