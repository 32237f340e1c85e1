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
from aistack.run.lanes import Post, Ready, child_load, child_run, found_dead, load_failed, loop_run
from aistack.run.memory import measured
from aistack.run.process import EngineProcess, EngineSettings

log = structlog.get_logger("aistack.runner")

Spec = Callable[[Resident, str], ModelSpec]
"""What to load for a resident on a device; raises BackendFault."""

Beside = Callable[[ModelSpec], Awaitable[bool]]
"""Whether there is room for a model beside the one that is there."""

Ids = Callable[[str], Mapping[str, str]]
"""The ids that every log line about a job carries, by its job id."""


def nothing_more(job_id: str) -> Mapping[str, str]:
    """For who knows no more than the job's id."""
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
        ids: Ids = nothing_more,
        beside: Beside | None = None,
    ) -> None:
        """`bound` says which device's memory a relay's upstream lives in; `spare` keeps the evicted
        engine's next process warm; `ids` are those of a job, for the log; `beside` says whether the
        new weights of a swap may be loaded beside the old (none: never).

        `started` counts engine processes by engine; `lost` those that ended otherwise than by being
        evicted, by engine and when: "idle", "load" or "run".
        """
        self._post = post
        self._ready = ready
        self._spec = spec
        self._engines = dict(engines)
        self._relays = dict(relays or {})
        self._bound = dict(bound or {})
        self._keep_spare = spare
        self._ids = ids
        self._steps: dict[str, _Step] = {}
        self._processes: dict[str, EngineProcess] = {}
        self._beside = beside
        self._loading: dict[str, EngineProcess] = {}
        self._spare: EngineProcess | None = None
        self._spare_due: EngineSettings | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._reaping: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self.started: Counter[str] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()

    @property
    def alive(self) -> tuple[tuple[str, str, int], ...]:
        """Engine, device (`spare` for the warm one) and process id of every engine process."""
        # One copy: another thread may ask.
        processes = list(self._processes.items())
        if (spare := self._spare) is not None:
            processes.append(("spare", spare))
        return tuple((process.backend, device, process.pid) for device, process in processes)

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
        # The step has a task, and so a context, of its own: whatever it logs bears the job's ids.
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
        self._post(report)

    async def _carry_out(self, step: _Step) -> ev.Event:
        match step.effect:
            case Evict():
                return await self._evict(step.effect)
            case Load():
                return await self._load(step, step.effect)
            case Run():
                return await self._run(step, step.effect)

    def processes(self) -> list[tuple[str | None, EngineProcess]]:
        """The engine processes that live, each with its device; the spare has none."""
        here: list[tuple[str | None, EngineProcess]] = [*self._processes.items()]
        if self._spare is not None:
            here.append((None, self._spare))
        return [(device, process) for device, process in here if not process.died.is_set()]

    # --- steps --------------------------------------------------------------------------------------

    async def _evict(self, evict: Evict) -> ev.Event:
        before = await measured(evict.device)
        await self._burial(evict.device)
        if evict.everything:
            sharing = [
                relay for name, relay in self._relays.items() if self._bound.get(name) == evict.device
            ]
            await asyncio.gather(*(_give_back(relay) for relay in sharing))
        process = self._processes.get(evict.device)
        if process is not None and evict.everything:
            # A load follows: it may want the spare there is, which a new one would replace.
            self._spare_due = process.settings
        if await self._spares(evict):
            return ev.Evicted(evict.job_id, spared=True)
        process = self._processes.pop(evict.device, None)
        if process is not None:
            await process.reap(evict.device)
            if not evict.everything:
                self._chore(self._renew_spare(process.settings))
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

    async def _spares(self, evict: Evict) -> bool:
        """Whether our engine may stay while the model of the step that follows is loaded beside it."""
        process = self._processes.get(evict.device)
        if self._beside is None or evict.beside is None or process is None:
            return False
        try:
            room = await self._beside(self._spec(evict.beside, evict.device))
        except errors.BackendFault:
            return False
        log.info("room beside" if room else "no room beside", device=evict.device, job_id=evict.job_id)
        # It may have died while we looked: then its Vanished has to come before our report.
        await self._burial(evict.device)
        return room and self._processes.get(evict.device) is process

    async def _load(self, step: _Step, load: Load) -> ev.Event:
        settings = self._engines.get(load.resident.backend)
        if settings is None:
            fault = load_failed(errors.GATEWAY, load.resident.model, "its engine is not configured")
            return ev.Failed(load.job_id, fault, lost=not load.beside)
        await self._burial(load.device)
        ghosts = [self._loading.pop(load.device, None)]
        if not load.beside:
            ghosts.append(self._processes.pop(load.device, None))
        for ghost in ghosts:
            if ghost is not None:
                await ghost.reap(load.device)
        try:
            spec = self._spec(load.resident, load.device)
            process = await self._take(settings)
        except errors.BackendFault as exc:
            return ev.Failed(load.job_id, exc.fault, lost=not load.beside)
        except OSError:
            log.exception("engine process could not be started", engine=settings.name)
            fault = load_failed(
                settings.provider, load.resident.model, "its process could not be started"
            )
            return ev.Failed(load.job_id, fault, lost=not load.beside)
        step.process = process
        self._loading[load.device] = process
        report = await child_load(process, load, spec, self._post)
        if isinstance(report, ev.Loaded):
            await self._arrived(process, load)
        else:
            self.lost[settings.name, "load"] += 1
            # What was spared is still there, or its death is told before this.
            await self._burial(load.device)
            if load.beside and isinstance(report, ev.Failed):
                report = attrs.evolve(report, lost=False)
        del self._loading[load.device]
        owed, self._spare_due = self._spare_due, None
        if owed is not None:
            self._chore(self._renew_spare(owed))
        return report

    async def _arrived(self, process: EngineProcess, load: Load) -> None:
        """The new engine takes its place; what was spared for so long goes now."""
        await self._burial(load.device)
        old = self._processes.pop(load.device, None)
        if old is not None:
            await old.reap(load.device)
        self._processes[load.device] = process
        process.on_idle_death = lambda dead: self._idle_death(dead, load.device, load.resident)
        if process.died.is_set():  # while the old one was buried
            self._idle_death(process, load.device, load.resident)

    async def _run(self, step: _Step, run: Run) -> ev.Event:
        if step.cancel_requested.is_set():
            return ev.Stopped(run.job_id)
        relay = self._relays.get(run.route.backend)
        if relay is not None:
            return await loop_run(relay, run, self._post, self._ready)
        await self._burial(run.device)
        process = self._processes.get(run.device)
        if process is None or process.died.is_set():
            settings = self._engines[run.route.backend]
            if process is not None:
                self.lost[process.backend, "idle"] += 1
                del self._processes[run.device]
                await process.reap(run.device)
            return ev.Failed(run.job_id, found_dead(settings.provider), lost=True)
        step.process = process
        report = await child_run(process, run, self._post, step.cancel_requested)
        if getattr(report, "lost", False):
            self.lost[process.backend, "run"] += 1
            if self._processes.get(run.device) is process:
                del self._processes[run.device]
        return report

    # --- processes ----------------------------------------------------------------------------------

    async def _take(self, settings: EngineSettings) -> EngineProcess:
        """The warm spare if it is of this engine, else a new process."""
        spare = self._spare
        if spare is not None and spare.backend == settings.name and not spare.died.is_set():
            self._spare = None
            return spare
        return await self._spawn(settings)

    async def _spawn(self, settings: EngineSettings) -> EngineProcess:
        process = await EngineProcess.spawn(settings)
        self.started[settings.name] += 1
        return process

    def _wants_spare(self) -> bool:
        return self._keep_spare and not self._closing and self._spare is None

    async def _renew_spare(self, settings: EngineSettings) -> None:
        """Start the evicted engine's next process, import only; drop the spare of another engine."""
        old = self._spare
        if old is not None:
            if old.backend == settings.name and not old.died.is_set():
                return
            self._spare = None
            await old.reap("cpu")
        if not self._wants_spare():
            return
        try:
            spare = await self._spawn(settings)
        except OSError:
            log.exception("spare process could not be started", engine=settings.name)
            return
        if not self._wants_spare():
            await spare.reap("cpu")
            return
        spare.send("warm")
        self._spare = spare

    def _idle_death(self, process: EngineProcess, device: str, resident: Resident) -> None:
        """An idle engine died: bury it, then say so."""
        if self._closing or self._processes.get(device) is not process:
            return
        self.lost[process.backend, "idle"] += 1
        del self._processes[device]

        async def tell() -> None:
            await process.reap(device)
            self._post(ev.Vanished(device, resident))
            # Told last: a request that comes after this line is served by a new process.
            log.warning(
                "idle engine process ended", engine=process.backend, returncode=process.returncode
            )

        self._reaping[device] = self._chore(tell())

    async def _burial(self, device: str) -> None:
        """Wait for the burial of an engine that died idle: its memory is not back before, and its
        Vanished must come before the report of the step that found it gone."""
        task = self._reaping.pop(device, None)
        if task is not None:
            await asyncio.wait([task])

    def _chore(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def close(self) -> None:
        """End every step and every process; nothing is left behind."""
        self._closing = True
        tasks = [step.task for step in self._steps.values() if step.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)
        processes = [*self._processes.values(), *self._loading.values()]
        processes += [self._spare] if self._spare else []
        for process in processes:
            process.busy = True
        await asyncio.gather(*(process.reap("cpu") for process in processes))
        self._processes.clear()
        self._loading.clear()
        self._spare = None


async def _give_back(relay: Relay[Any]) -> None:
    """Ask an upstream for its memory. Whatever goes wrong: the load that follows says so honestly."""
    try:
        await relay.evict()
    except Exception:
        log.exception("an upstream could not be asked for its memory", upstream=relay.name)
