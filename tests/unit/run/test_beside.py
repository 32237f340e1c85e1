"""A swap that loads the new weights beside the old, where there is room for both."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from aistack.chunks import ModelSpec, Vram
from aistack.ids import job_id
from aistack.jobs import Job, Op, OutcomeKind, Route
from aistack.run.headroom import HEADROOM, available_bytes, enough
from aistack.wire.accepted import SwapAnswer
from tests.support.engine_processes import pid_on, serving
from tests.unit.run.conftest import BOUND_S, Rig, resident

pytestmark = pytest.mark.both_loops

HELLO = {"say": "hello world", "end": 1}
OLD, NEW = "fake-small", "fake-large"


async def old_pid(rig: Rig, room: bool = True) -> int:
    """The old model loaded, by a runner that sees room for another, or none."""

    async def beside(spec: ModelSpec) -> bool:
        assert spec.id == NEW
        return room

    rig.make_runner(beside=beside)
    await rig.ask(HELLO)
    return pid_on(rig.runner, "cpu")


def swap(rig: Rig) -> Job:
    name = job_id()
    route = Route("fake", NEW, Vram.OWN)
    job = Job(id=name, request_id=name, op=Op.SWAP, route=route, request=None, wire=SwapAnswer())
    rig.scheduler.submit(job)
    return job


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def outcome(rig: Rig, job: Job) -> OutcomeKind:
    ended = next(t.job.outcome for t in rig.done if t.job.id == job.id)
    assert ended is not None
    return ended.kind


def loads(rig: Rig, *acts: dict[str, str]) -> None:
    (rig.tmp / "loads.json").write_text(json.dumps({NEW: acts}))


async def test_the_old_engine_lives_until_the_new_one_is_ready(rig: Rig) -> None:
    pid = await old_pid(rig)
    loads(rig, {"gate": "loading"})
    job = swap(rig)
    standing = await rig.gates.entered("loading")
    assert alive(pid)
    assert rig.scheduler.snapshot.slots[0].resident == resident(OLD)
    rig.gates.let_pass(standing)
    await rig.quiet()
    assert outcome(rig, job) is OutcomeKind.OK
    assert not alive(pid)
    assert rig.scheduler.snapshot.slots[0].resident == resident(NEW)
    assert await rig.ask(HELLO, model=NEW) == "200 hello world"
    assert rig.runner._devices["cpu"].loading is None


async def test_without_room_the_old_engine_goes_first(rig: Rig) -> None:
    pid = await old_pid(rig, room=False)
    loads(rig, {"gate": "loading"})
    job = swap(rig)
    standing = await rig.gates.entered("loading")
    assert not alive(pid)
    assert rig.scheduler.snapshot.slots[0].resident is None
    rig.gates.let_pass(standing)
    await rig.quiet()
    assert outcome(rig, job) is OutcomeKind.OK


@pytest.mark.parametrize("how", [{"fail": "oom"}, {"fail": "network"}, {"crash": "kill"}])
async def test_a_load_that_fails_leaves_the_old_engine_where_it_is(
    how: dict[str, str], rig: Rig
) -> None:
    pid = await old_pid(rig)
    loads(rig, how)
    job = swap(rig)
    await rig.quiet()
    assert outcome(rig, job) is OutcomeKind.FAILED
    assert rig.scheduler.snapshot.slots[0].resident == resident(OLD)
    assert await rig.ask(HELLO) == "200 hello world"
    assert pid_on(rig.runner, "cpu") == pid, "never touched"


@pytest.mark.parametrize("fails", [False, True])
async def test_an_old_engine_that_dies_meanwhile(fails: bool, rig: Rig) -> None:
    pid = await old_pid(rig)
    loads(rig, {"gate": "loading"}, *([{"fail": "network"}] if fails else []))
    job = swap(rig)
    standing = await rig.gates.entered("loading")
    old = serving(rig.runner, "cpu")
    os.kill(pid, signal.SIGKILL)
    await asyncio.wait_for(old.died.wait(), BOUND_S)
    await asyncio.wait_for(rig.runner._devices["cpu"].reaped(), BOUND_S)
    await rig.scheduler.ready("nobody")
    assert rig.scheduler.snapshot.slots[0].resident is None
    rig.gates.let_pass(standing)
    await rig.quiet()
    assert outcome(rig, job) is (OutcomeKind.FAILED if fails else OutcomeKind.OK)
    here = rig.scheduler.snapshot.slots[0].resident
    assert here == (None if fails else resident(NEW))
    assert await rig.ask(HELLO) == "200 hello world"


async def test_a_stop_while_both_are_there_leaves_neither(rig: Rig) -> None:
    pid = await old_pid(rig)
    loads(rig, {"gate": "loading"})
    swap(rig)
    standing = await rig.gates.entered("loading")
    loading = rig.runner._devices["cpu"].loading
    assert loading is not None
    await asyncio.wait_for(rig.runner.close(), BOUND_S)
    standing.close()
    assert not alive(pid)
    assert not alive(loading.pid)


@pytest.mark.parametrize(
    ("size", "free", "device", "fits"),
    [
        (1000, HEADROOM + 2000, "cpu", True),
        (1000, HEADROOM + 1999, "cpu:1", False),
        (1000, HEADROOM + 1000, "cuda:0", True),
        (1000, HEADROOM + 999, "cuda:0", False),
        (1000, None, "mps", False),
        (0, 1 << 60, "cpu", False),
    ],
)
def test_what_is_enough(size: int, free: int | None, device: str, fits: bool) -> None:
    assert enough(size, free, device) is fits


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., int | None]:
    """A machine as /proc and /sys tell it."""

    def look(meminfo: str, most: str = "", used: str = "") -> int | None:
        (tmp_path / "meminfo").write_text(meminfo)
        if most:
            (tmp_path / "memory.max").write_text(most)
            (tmp_path / "memory.current").write_text(used)
        return available_bytes(tmp_path, tmp_path)

    return look


def test_what_is_available(machine: Callable[..., int | None]) -> None:
    told = "MemTotal: 100 kB\nMemAvailable:      50 kB\n"
    assert machine(told) == 50 * 1024
    assert machine(told, "max\n", "7\n") == 50 * 1024
    assert machine(told, "3000\n", "1000\n") == 2000
    assert machine(told, "3000\n", "9000\n") == 0
    assert machine("nothing") is None
