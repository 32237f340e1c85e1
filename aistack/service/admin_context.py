"""Gathers what the operator's endpoints need from the parts of a service."""

from __future__ import annotations

import asyncio
import time

from aistack.contract.admin import MemoryView
from aistack.observe.history import History
from aistack.observe.log_ring import RING
from aistack.routing.remembered import Remembered
from aistack.run.housekeeping import Housekeeping
from aistack.run.memory_report import memory
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler
from aistack.web.admin.handlers import AdminContext, unix_clock

MEMORY_TTL_S = 1.0
"""How long a look at the memory is believed, seconds: however many consoles are open."""


def admin_context(scheduler: Scheduler, keeper: Housekeeping, runner: Runner) -> AdminContext:
    """The operator's view of this service. Its history begins now."""
    unix = unix_clock()
    history = History(unix)
    scheduler.observers.append(history.observe)

    async def look() -> MemoryView:
        devices = [slot.device for slot in scheduler.snapshot.slots]
        return await asyncio.to_thread(memory, devices, runner.processes())

    return AdminContext(
        history=history,
        keeper=keeper,
        memory=Remembered(look, MEMORY_TTL_S, time.monotonic).get,
        ring=RING,
        unix=unix,
        started=round(time.time(), 3),
    )
