"""A real scheduler and runner with real engine processes and the tiny weights; no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field

from aistack.chunks import GenerationRequest, ModelSpec, Vram
from aistack.engines.nanochat import weights as nano_weights
from aistack.ids import job_id
from aistack.jobs import SELECTED, Job, Limits, Op, Resident, Route, Slot, Snapshot, Transition
from aistack.jobs import events as ev
from aistack.jobs.effects import AbortStream, CloseStream, Emit, OpenStream, Respond
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.wire.accepted import SwapAnswer
from aistack.wire.base import Wire
from aistack.wire.tokens import TokenEvents
from tests.support.engine_processes import pid_on
from tests.unit.engines.nanochat.conftest import ask
from tests.unit.run.conftest import Gates

BOUND_S = 90.0


@define
class Call:
    """One request under way, read as it comes."""

    job: Job
    outlet: Any
    events: list[dict[str, Any]] = field(factory=list)
    status: int = 0
    body: Any = None
    closed: bool = False

    @property
    def text(self) -> str:
        return "".join(event.get("token", "") for event in self.events)

    @property
    def done(self) -> bool:
        """Whether the stream ended as a good one ends: exactly one done, last, and a clean close."""
        dones = [event for event in self.events if "done" in event]
        return self.closed and dones == [{"done": True}] and self.events[-1] == {"done": True}

    @property
    def gpus(self) -> set[int]:
        return {event["gpu"] for event in self.events if "token" in event}

    async def one(self) -> None:
        """Read one part of the answer."""
        match await asyncio.wait_for(self.outlet.get(), BOUND_S):
            case Respond(answer=answer):
                self.status, self.body = answer.status, json.loads(answer.body)
                self.closed = True
            case OpenStream(head=head):
                self.status = head.status
            case Emit(frame=frame):
                self.events.append(json.loads(frame.decode("ascii").removeprefix("data: ")))
            case CloseStream():
                self.closed = True
            case AbortStream():
                raise AssertionError("the connection was cut")
            case other:
                raise AssertionError(other)

    async def begun(self) -> Call:
        """Read up to the first event."""
        while not self.events and not self.closed:
            await self.one()
        return self

    async def end(self) -> Call:
        """Read the rest."""
        while not self.closed:
            await self.one()
        return self


class Rig:
    """Submit, swap, and look at what comes of it."""

    def __init__(self, root: Path, gates: Gates, devices: tuple[str, ...] = ("cpu",)) -> None:
        self.root = root
        self.gates = gates
        self.devices = devices
        self.ended: dict[str, Transition] = {}
        self._moved = asyncio.Event()
        snapshot = Snapshot(tuple(Slot(device) for device in devices), limits=Limits())
        self.scheduler = Scheduler(snapshot, [self._note])
        settings = EngineSettings(
            "nanochat",
            "tests.doubles.gated_nanochat:Gated",
            "nanochat",
            sys.executable,
            3.0,
            60.0,
            60.0,
            0,
        )
        self.runner = Runner(
            self.scheduler.post, self.scheduler.ready, self.spec, {"nanochat": settings}
        )
        self.scheduler.steps = self.runner
        self.task: asyncio.Task[None] | None = None

    def spec(self, resident: Resident, device: str) -> ModelSpec:
        found = nano_weights.find(self.root, resident.model)
        return ModelSpec(found.tag, found.path, device, {"threads": 1}, self.devices.index(device))

    def _note(self, transition: Transition) -> None:
        self._moved.set()
        if transition.target.value == "done":
            self.ended[transition.job.id] = transition

    def call(
        self,
        request: GenerationRequest | str,
        max_wait_s: float = 0.0,
        wire: Wire | None = None,
        **how: Any,
    ) -> Call:
        """A `/generate` for the selected weights."""
        asked = ask(request, **how) if isinstance(request, str) else request
        route = Route("nanochat", SELECTED, Vram.OWN)
        name = job_id()
        job = Job(
            id=name,
            request_id=name,
            op=Op.GENERATE,
            route=route,
            request=asked,
            wire=wire or TokenEvents(),
            max_wait_s=max_wait_s,
        )
        return Call(job, self.scheduler.submit(job))

    async def say(self, request: GenerationRequest | str, **how: Any) -> Call:
        """The whole answer."""
        return await self.call(request, **how).end()

    def swap(self, tag: str) -> Call:
        name = job_id()
        route = Route("nanochat", tag, Vram.OWN)
        job = Job(id=name, request_id=name, op=Op.SWAP, route=route, request=None, wire=SwapAnswer())
        return Call(job, self.scheduler.submit(job))

    async def swapped(self, tag: str) -> str:
        """Swap and wait for its end; how it ended."""
        call = await self.swap(tag).end()
        assert call.status == 202, call.body
        await self.quiet()
        return self.outcome(call)

    def outcome(self, call: Call) -> str:
        outcome = self.ended[call.job.id].job.outcome
        assert outcome is not None
        return outcome.kind.value

    def leave(self, call: Call) -> None:
        """The client closes its connection."""
        self.scheduler.post(ev.ClientGone(call.job.id))

    @property
    def current(self) -> str | None:
        selected = self.scheduler.snapshot.selected
        return selected.model if selected is not None else None

    @property
    def resident(self) -> list[str | None]:
        slots = self.scheduler.snapshot.slots
        return [slot.resident.model if slot.resident is not None else None for slot in slots]

    @property
    def holders(self) -> int:
        return sum(slot.holder is not None for slot in self.scheduler.snapshot.slots)

    def pid(self, device: str = "cpu") -> int:
        return pid_on(self.runner, device)

    async def moved(self) -> None:
        """Wait for the next transition of any job."""
        self._moved.clear()
        await asyncio.wait_for(self._moved.wait(), BOUND_S)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so, looking after every transition."""
        async with asyncio.timeout(BOUND_S):
            while not holds():
                await self.moved()

    async def quiet(self) -> None:
        await asyncio.wait_for(self.scheduler.quiet(), BOUND_S)

    async def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.scheduler.run())

    async def stop(self) -> None:
        await asyncio.wait_for(self.runner.close(), BOUND_S)
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
