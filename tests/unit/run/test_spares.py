"""The warm process kept for an engine that was evicted: whose it is, and when it is started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest

from aistack.chunks import ModelSpec
from aistack.errors import BackendFault, internal
from aistack.jobs import Resident
from aistack.jobs import events as ev
from aistack.jobs.effects import Evict, Load
from aistack.run.process import EngineProcess, EngineSettings
from aistack.run.runner import Runner
from tests.unit.run.conftest import BOUND_S, Rig

pytestmark = pytest.mark.both_loops

BROKEN = "broken"
"""A model that nobody can say where to find."""


class Steps:
    """A runner by itself, with two engines, and the reports of its steps."""

    def __init__(self, rig: Rig) -> None:
        self.reports: asyncio.Queue[ev.Event] = asyncio.Queue()
        self.number = 0
        other = attrs.evolve(rig.settings, name="other")
        self.runner = Runner(
            self.note, self.ready, self.spec, {"fake": rig.settings, "other": other}, spare=True
        )

    def note(self, event: ev.Event) -> None:
        if not isinstance(event, ev.Progressed):
            self.reports.put_nowait(event)

    async def ready(self, job_id: str) -> None:
        raise AssertionError("there is no relay")

    def spec(self, resident: Resident, device: str) -> ModelSpec:
        if resident.model == BROKEN:
            raise BackendFault(internal())
        return ModelSpec(resident.model, resident.model, device)

    async def reported(self) -> ev.Event:
        return await asyncio.wait_for(self.reports.get(), BOUND_S)

    async def load(self, device: str, engine: str, model: str = "fake-small") -> ev.Event:
        self.number += 1
        self.runner.start(Load(str(self.number), device, Resident(engine, model)))
        return await self.reported()

    async def evict(self, *devices: str) -> None:
        """All of them at the same time, each for a load that is to follow."""
        for device in devices:
            self.number += 1
            self.runner.start(Evict(str(self.number), device, everything=True))
        for _ in devices:
            assert isinstance(await self.reported(), ev.Evicted)

    async def spare(self) -> str | None:
        """The engine of the warm process, once nothing is under way in the background."""
        while self.runner._background:
            await asyncio.wait_for(asyncio.gather(*self.runner._background), BOUND_S)
        spare = self.runner._spares.warm
        return None if spare is None else spare.backend


@pytest.fixture
async def steps(rig: Rig) -> AsyncIterator[Steps]:
    steps = Steps(rig)
    yield steps
    await asyncio.wait_for(steps.runner.close(), BOUND_S)


async def test_two_slots_evicted_at_once_do_not_share_what_is_due(steps: Steps) -> None:
    await steps.load("cpu", "fake")
    await steps.load("cpu:1", "other")
    await steps.evict("cpu", "cpu:1")
    assert isinstance(await steps.load("cpu", "fake", "fake-large"), ev.Loaded)
    assert await steps.spare() == "fake"
    assert isinstance(await steps.load("cpu:1", "other", "fake-large"), ev.Loaded)
    assert await steps.spare() == "other"


@pytest.mark.parametrize("why", ["no such engine", "no such model", "no more processes"])
async def test_a_load_that_fails_at_once_leaves_nothing_due(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    await steps.load("cpu", "fake")
    await steps.evict("cpu")

    spawn = EngineProcess.spawn

    async def refuse_once(settings: EngineSettings) -> EngineProcess:
        monkeypatch.setattr(EngineProcess, "spawn", spawn)
        raise OSError(why)

    match why:
        case "no such engine":
            failed = await steps.load("cpu", "absent")
        case "no such model":
            failed = await steps.load("cpu", "fake", BROKEN)
        case _:
            monkeypatch.setattr(EngineProcess, "spawn", refuse_once)
            failed = await steps.load("cpu", "fake")
    assert isinstance(failed, ev.Failed)
    assert await steps.spare() == "fake"
