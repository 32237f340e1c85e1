"""The engine processes of one device: which one serves, which one loads, which one is being reaped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aistack.jobs.model import Resident
from aistack.run.process import EngineProcess, EngineSettings

Reap = Callable[[str, EngineProcess, Resident], asyncio.Task[None]]
"""Starts to reap a process that died idle on a device; the task ends once its death is reported."""


class DeviceProcesses:
    """At most one process serves; during a swap a second one may load beside it.

    All on the loop. `reap` is called when the serving process dies idle.
    """

    def __init__(self, device: str, reap: Reap) -> None:
        self.device = device
        self.serving: EngineProcess | None = None
        """The process that holds the device's model."""
        self.loading: EngineProcess | None = None
        """The process in which a load is under way."""
        self.spare_due: EngineSettings | None = None
        """The engine that was evicted here for a load that follows. Its next process is started only
        when that load has ended: the load may want the spare there is, which a new one would replace."""
        self._reap = reap
        self._reaping: asyncio.Task[None] | None = None
        self._closed = False

    async def reaped(self) -> None:
        """Wait until an engine that died idle is reaped and reported: its memory is not back before,
        and its Vanished must come before the report of the step that found it gone."""
        task, self._reaping = self._reaping, None
        if task is not None:
            await asyncio.wait([task])

    async def evict(self) -> EngineProcess | None:
        """End the process that serves; returns it, or None if there was none."""
        process, self.serving = self.serving, None
        if process is not None:
            await process.reap(self.device)
        return process

    async def clear(self, beside: bool) -> None:
        """Make way for a load. What a cancelled load left behind goes, and so does the process that
        serves unless the load is to happen beside it."""
        await self.reaped()
        left, self.loading = self.loading, None
        if left is not None:
            await left.reap(self.device)
        if not beside:
            await self.evict()

    def take(self, process: EngineProcess) -> None:
        """The load begins in this process."""
        self.loading = process

    async def arrive(self, process: EngineProcess, resident: Resident) -> None:
        """The loaded process serves from now on; the one it was loaded beside goes."""
        await self.reaped()
        await self.evict()
        self.serving, self.loading = process, None
        process.on_idle_death = lambda dead: self.died(dead, resident)
        if process.died.is_set():  # while the old one was reaped
            self.died(process, resident)

    async def failed(self) -> None:
        """The load failed and its process is gone. What it was loaded beside is still there, or its
        death is reported when this returns."""
        await self.reaped()
        self.loading = None

    def died(self, process: EngineProcess, resident: Resident) -> None:
        """The process that serves died idle: it is reaped, then reported."""
        if self.serving is process and not self._closed:
            self.serving = None
            self._reaping = self._reap(self.device, process, resident)

    def close(self) -> None:
        """Report no more deaths."""
        self._closed = True

    @property
    def left(self) -> list[EngineProcess]:
        """The processes that have to be ended when all is over."""
        return [process for process in (self.serving, self.loading) if process is not None]
