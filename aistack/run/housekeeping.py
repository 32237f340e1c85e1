"""Housekeeping as jobs: unload what has been idle for a while, load what is configured for the start,
and both when an operator asks for it.

An observer of transitions: no polling. A timer is armed when a slot with a model becomes free, and
dies when the slot is taken again.
"""

from __future__ import annotations

import asyncio

from aistack.chunks import Vram
from aistack.ids import job_id
from aistack.jobs.model import Job, Resident, Route, Transition
from aistack.jobs.states import Op, OutcomeKind, Phase
from aistack.run.scheduler import Scheduler

BEGIN_S = 5.0
UNLOAD_S = 30.0
"""How long a load or an unload may take to begin, and an unload to end."""


def housekeeping_job(op: Op, resident: Resident, device: str | None) -> Job:
    """A LOAD or UNLOAD job."""
    name = job_id()
    route = Route(resident.backend, resident.model, Vram.OWN, device)
    return Job(id=name, request_id=name, op=op, route=route, request=None, wire=None)


class Housekeeping:
    """Arms one timer per idle slot. `idle_s` of 0 keeps models forever."""

    def __init__(self, scheduler: Scheduler, idle_s: float) -> None:
        self._scheduler = scheduler
        self._idle_s = idle_s
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._arming = False
        self._watched: dict[str, tuple[Phase | None, asyncio.Future[Job]]] = {}
        scheduler.observers.append(self.observe)

    def observe(self, transition: Transition) -> None:
        """Adapt the timer of the slot that the job took or gave back; wake those who wait for it."""
        awaited = self._watched.get(transition.job.id)
        if awaited is not None and not awaited[1].done() and awaited[0] in (None, transition.target):
            awaited[1].set_result(transition.job)
        if self._idle_s <= 0:
            return
        slot = transition.job.slot
        if transition.target is Phase.DONE and slot in self._timers:
            self._timers.pop(slot).cancel()
        if not self._arming:
            self._arming = True
            asyncio.get_running_loop().call_soon(self._arm)

    def _arm(self) -> None:
        """Arm timers of idle slots, disarm those of busy ones."""
        self._arming = False
        for slot in self._scheduler.snapshot.slots:
            idle = slot.holder is None and slot.resident is not None
            if idle and slot.device not in self._timers:
                self._timers[slot.device] = asyncio.get_running_loop().call_later(
                    self._idle_s, self._unload, slot.device
                )
            elif not idle and slot.device in self._timers:
                self._timers.pop(slot.device).cancel()

    def _unload(self, device: str) -> None:
        """The timer's callback. The job is handled within `submit`, and `observe` is called there."""
        self._timers.pop(device, None)
        slot = self._scheduler.snapshot.slot(device)
        if slot.holder is None and slot.resident is not None:
            self._scheduler.submit(housekeeping_job(Op.UNLOAD, slot.resident, device))

    def preload(self, resident: Resident) -> None:
        """Ask for a model before anyone needs it."""
        self._scheduler.submit(housekeeping_job(Op.LOAD, resident, None))

    async def begin(self, op: Op, resident: Resident, device: str | None = None) -> Job:
        """Submit a LOAD or UNLOAD; the job after its first transition (DONE: refused or not needed).

        Raises TimeoutError if the scheduler takes no more jobs.
        """
        return await self._reach(housekeeping_job(op, resident, device), None, BEGIN_S)

    async def unload(self, resident: Resident, device: str) -> bool:
        """Unload the model if its slot is free; whether it was. Raises TimeoutError."""
        ended = await self._reach(housekeeping_job(Op.UNLOAD, resident, device), Phase.DONE, UNLOAD_S)
        return ended.outcome is not None and ended.outcome.kind is OutcomeKind.OK

    async def _reach(self, job: Job, phase: Phase | None, bound_s: float) -> Job:
        """The submitted job once it is in `phase`; None: in whichever it is first."""
        reached: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._watched[job.id] = phase, reached  # before it is submitted: it may be over by then
        try:
            self._scheduler.submit(job)
            return await asyncio.wait_for(reached, bound_s)
        finally:
            del self._watched[job.id]

    def close(self) -> None:
        """Disarm all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
