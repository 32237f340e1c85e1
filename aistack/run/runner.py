"""Carries out Evict, Load and Run, and cancels a Run. Owns the engine processes and the step tasks.

A step reports exactly once: its task ends by posting one event, whatever happens inside. Token,
grace timer and frames carry the job id, and the timer dies with the step, so that a late kill
cannot hit the next job.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import attrs
import structlog
from attrs import define, field

from aistack import errors
from aistack.chunks import ModelSpec
from aistack.engines.base import Relay
from aistack.jobs import events as ev
from aistack.jobs.effects import Evict, Load, Run
from aistack.jobs.model import Resident
from aistack.run.device_processes import DeviceProcesses
from aistack.run.lanes import Post, Ready, child_load, child_run, loop_run
from aistack.run.memory import measured
from aistack.run.process import EngineProcess, EngineSettings, OurProcess
from aistack.run.spares import Spares

log = structlog.get_logger("aistack.runner")

Spec = Callable[[Resident, str], ModelSpec]
"""What to load for a resident on a device; raises BackendFault."""

Beside = Callable[[ModelSpec], Awaitable[bool]]
"""Whether there is room for a model beside the one that is there."""

Ids = Callable[[str], Mapping[str, str]]
"""The ids that every log line about a job carries, by its job id."""


def job_id_only(job_id: str) -> Mapping[str, str]:
    """Fallback when only the job's id is known."""
    return {"job_id": job_id}


@define
class _Step:
    """The outstanding step of one job."""

    effect: Evict | Load | Run
    task: asyncio.Task[None] | None = None
    begun: bool = False
    process: EngineProcess | None = None
    cancel_requested: asyncio.Event = field(factory=asyncio.Event)
    grace: asyncio.TimerHandle | None = None


class Runner:
    """The two lanes behind one `start`."""

    def __init__(
        self,
        post: Post,
        ready: Ready,
        spec: Spec,
        engines: Mapping[str, EngineSettings],
        relays: Mapping[str, Relay[Any]] | None = None,
        bound: Mapping[str, str] | None = None,
        spare: bool = False,
        ids: Ids = job_id_only,
        beside: Beside | None = None,
    ) -> None:
        """`bound` says which device's memory a relay's upstream lives in; `spare` keeps the evicted
        engine's next process warm; `ids` are those of a job, for the log; `beside` says whether the
        new weights of a swap may be loaded beside the old (None: never).

        `lost` counts the engine processes that ended otherwise than by being evicted, by engine and
        when: "idle", "load" or "run".
        """
        self._post = post
        self._ready = ready
        self._spec = spec
        self._engines = dict(engines)
        self._relays = dict(relays or {})
        self._bound = dict(bound or {})
        self._spares = Spares(keep=spare)
        self._ids = ids
        self._steps: dict[str, _Step] = {}
        self._beside = beside
        self._devices: dict[str, DeviceProcesses] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._closing = False
        self.lost: Counter[tuple[str, str]] = Counter()

    @property
    def started(self) -> Mapping[str, int]:
        """Engine processes started, by engine."""
        return self._spares.started

    def processes(self) -> list[OurProcess]:
        """The engine processes that serve or are kept warm and are alive. Any thread may ask."""
        # One copy each: the loop may change them meanwhile.
        there: list[tuple[str | None, EngineProcess | None]] = [
            (each.device, each.serving) for each in list(self._devices.values())
        ]
        there.append((None, self._spares.warm))
        return [
            OurProcess(process.pid, process.backend, device)
            for device, process in there
            if process is not None and not process.died.is_set()
        ]

    # --- what the scheduler calls -------------------------------------------------------------------

    def start(self, effect: Evict | Load | Run) -> None:
        """Begin a step; its report is posted. Never raises."""
        step = _Step(effect)
        self._steps[effect.job_id] = step
        step.task = asyncio.get_running_loop().create_task(self._guard(step))

    def cancel(self, job_id: str) -> None:
        """Stop an outstanding Run; Evict and Load end by themselves within their limits.

        A task that has not begun must not be cancelled: it would end without its report.
        """
        step = self._steps.get(job_id)
        if step is None or not isinstance(step.effect, Run) or step.cancel_requested.is_set():
            return
        step.cancel_requested.set()
        if step.process is not None:
            step.process.send("cancel", job=job_id)
            kill_after = step.process.settings.kill_after_s
            loop = asyncio.get_running_loop()
            step.grace = loop.call_later(kill_after, self._grace_over, step)
        elif step.begun and step.effect.route.backend in self._relays and step.task is not None:
            step.task.cancel()

    def _grace_over(self, step: _Step) -> None:
        assert step.process is not None
        log.warning("engine did not stop in time; killed", engine=step.process.backend)
        step.process.kill()

    async def _guard(self, step: _Step) -> None:
        """One report per step, whatever happens: the slot of its job depends on it."""
        effect = step.effect
        step.begun = True
        # The step has a task, and so a context, of its own: all that it logs bears the job's ids.
        structlog.contextvars.bind_contextvars(**self._ids(effect.job_id))
        report: ev.Event
        try:
            report = await self._carry_out(step)
        except asyncio.CancelledError:
            report = (
                ev.Stopped(effect.job_id)
                if step.cancel_requested.is_set()
                else ev.Failed(effect.job_id, errors.shutting_down(), lost=step.process is not None)
            )
        except Exception as exc:
            log.exception("step failed", step=type(effect).__name__, job_id=effect.job_id)
            report = ev.Failed(effect.job_id, errors.fault_from(exc, errors.GATEWAY))
        finally:
            if step.grace is not None:
                step.grace.cancel()
            if self._steps.get(effect.job_id) is step:
                del self._steps[effect.job_id]
        # Last: the report is handled in this very stack, and may start the job's next step.
        self._post(report)

    async def _carry_out(self, step: _Step) -> ev.Event:
        match step.effect:
            case Evict():
                return await self._evict(step.effect)
            case Load():
                return await self._load(step, step.effect)
            case Run():
                return await self._run(step, step.effect)

    # --- steps --------------------------------------------------------------------------------------

    async def _evict(self, evict: Evict) -> ev.Event:
        before = await measured(evict.device)
        device = self._on(evict.device)
        await device.reaped()
        if evict.everything:
            sharing = [
                relay for name, relay in self._relays.items() if self._bound.get(name) == evict.device
            ]
            await asyncio.gather(*(_give_back(relay) for relay in sharing))
            if device.serving is not None:
                device.spare_due = device.serving.settings
        if await self._stays(evict, device):
            return ev.Evicted(evict.job_id, kept=True)
        process = await device.evict()
        if process is not None and not evict.everything:
            self._in_background(self._spares.renew(process.settings))
        after = await measured(evict.device)
        if before is not None and after is not None:
            log.info(
                "card handed over",
                device=evict.device,
                job_id=evict.job_id,
                free_before=before.free,
                free_after=after.free,
                residue=after.used,
            )
        return ev.Evicted(evict.job_id)

    async def _stays(self, evict: Evict, device: DeviceProcesses) -> bool:
        """Whether our engine may stay while the model of the step that follows is loaded beside it."""
        process = device.serving
        if self._beside is None or evict.side_by_side is None or process is None:
            return False
        try:
            room = await self._beside(self._spec(evict.side_by_side, evict.device))
        except errors.BackendFault:
            return False
        log.info("room beside" if room else "no room beside", device=evict.device, job_id=evict.job_id)
        # It may have died meanwhile: then its Vanished has to come before our report.
        await device.reaped()
        return room and device.serving is process

    async def _load(self, step: _Step, load: Load) -> ev.Event:
        device = self._on(load.device)
        try:
            report = await self._load_on(device, step, load)
        finally:
            due, device.spare_due = device.spare_due, None
            if due is not None and not self._closing:
                self._in_background(self._spares.renew(due))
        if isinstance(report, ev.Failed):
            report = attrs.evolve(report, lost=not load.side_by_side)
        return report

    async def _load_on(self, device: DeviceProcesses, step: _Step, load: Load) -> ev.Event:
        model = load.resident.model
        settings = self._engines.get(load.resident.backend)
        if settings is None:
            return ev.Failed(
                load.job_id, errors.load_failed(errors.GATEWAY, model, "its engine is not configured")
            )
        await device.clear(load.side_by_side)
        try:
            spec = self._spec(load.resident, load.device)
            process = await self._spares.take(settings)
        except errors.BackendFault as exc:
            return ev.Failed(load.job_id, exc.fault)
        except OSError:
            log.exception("engine process could not be started", engine=settings.name)
            fault = errors.load_failed(settings.provider, model, "its process could not be started")
            return ev.Failed(load.job_id, fault)
        step.process = process
        device.take(process)
        report = await child_load(process, load, spec, self._post)
        if isinstance(report, ev.Loaded):
            await device.arrive(process, load.resident)
        else:
            self.lost[settings.name, "load"] += 1
            await device.failed()
        return report

    async def _run(self, step: _Step, run: Run) -> ev.Event:
        if step.cancel_requested.is_set():
            return ev.Stopped(run.job_id)
        relay = self._relays.get(run.route.backend)
        if relay is not None:
            return await loop_run(relay, run, self._post, self._ready)
        device = self._on(run.device)
        await device.reaped()
        process = device.serving
        if process is None or process.died.is_set():
            if process is not None:
                self.lost[process.backend, "idle"] += 1
                await device.evict()
            provider = self._engines[run.route.backend].provider
            return ev.Failed(run.job_id, errors.found_dead(provider), lost=True)
        step.process = process
        report = await child_run(process, run, self._post, step.cancel_requested)
        if getattr(report, "lost", False):
            self.lost[process.backend, "run"] += 1
            if device.serving is process:
                device.serving = None
        return report

    # --- processes ----------------------------------------------------------------------------------

    def _on(self, device: str) -> DeviceProcesses:
        """Our processes on the device."""
        known = self._devices.get(device)
        if known is None:
            known = self._devices[device] = DeviceProcesses(device, self._reap_idle)
        return known

    def _reap_idle(self, device: str, process: EngineProcess, resident: Resident) -> asyncio.Task[None]:
        """An idle engine died: reap it, then report it."""
        self.lost[process.backend, "idle"] += 1

        async def report() -> None:
            await process.reap(device)
            self._post(ev.Vanished(device, resident))
            # Logged last: a request that comes after this line is served by a new process.
            log.warning(
                "idle engine process ended", engine=process.backend, returncode=process.returncode
            )

        return self._in_background(report())

    def _in_background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def close(self) -> None:
        """End every step and every process; nothing is left behind."""
        self._closing = True
        self._spares.close()
        for device in self._devices.values():
            device.close()
        tasks = [step.task for step in self._steps.values() if step.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)
        left = [process for device in self._devices.values() for process in device.left]
        if self._spares.warm is not None:
            left.append(self._spares.warm)
        for process in left:
            process.busy = True
        await asyncio.gather(*(process.reap("cpu") for process in left))
        self._devices.clear()
        self._spares.warm = None


async def _give_back(relay: Relay[Any]) -> None:
    """Ask an upstream for its memory. If that fails, the load that follows reports it."""
    try:
        await relay.evict()
    except Exception:
        log.exception("an upstream could not be asked for its memory", upstream=relay.name)
