"""Builds the parts of a service from its configuration; the only place that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog
from aiohttp import web

from aistack.config import Config
from aistack.config.sections import engine_section
from aistack.config.units import GiB
from aistack.contract.devices import FIRST_CARD, Device
from aistack.engines.base import EngineInfo
from aistack.engines.nanochat.weights import ModelRoot
from aistack.errors import BackendFault
from aistack.jobs.model import Limits, Slot, Snapshot
from aistack.observe.job_line import ids_in
from aistack.observe.wiring import exposition, observability
from aistack.relays.upstreams import Upstreams
from aistack.routing.discovery import real_engines
from aistack.routing.inventory import ROUTED, Inventory
from aistack.run import headroom as room
from aistack.run.housekeeping import Housekeeping
from aistack.run.memory import free_bytes
from aistack.run.process import EngineSettings
from aistack.run.runner import Runner
from aistack.run.scheduler import Observer, Scheduler
from aistack.service.admin_context import admin_context
from aistack.service.app import BROKEN, build_app
from aistack.web.admin.handlers import ADMIN_CONTEXT
from aistack.web.admin.observability import EXPOSITION
from aistack.web.admin.operations import ADMIN, CONSOLE, OBSERVED
from aistack.web.instrumentation import OBSERVABILITY
from aistack.web.internal import trace
from aistack.web.internal.handlers import FIGURES, selection
from aistack.web.internal.stats import GenerationFigures
from aistack.web.keys import MODEL_ROOT, UPSTREAMS
from aistack.web.operations import INTERNAL, OPERATIONS, RELAYED
from aistack.web.upload.spool import sweep

log = structlog.get_logger("aistack.app")
SPARE_FROM = 16 * GiB


def assemble(
    config: Config,
    observers: Sequence[Observer] = (),
    engines: Mapping[str, str] | None = None,
    relays: bool = False,
) -> web.Application:
    """The whole service. `engines` are dotted names by name, all real ones if not given; `relays`
    adds chat and speech by other people's servers."""
    targets = real_engines() if engines is None else dict(engines)
    # the route to a voice is among those of the relays
    routed = ROUTED if relays else ("asr",)
    inventory = Inventory(config, engines=targets, capabilities=routed)
    limits = Limits(
        max_queued=config.slots.line_max,
        open_after=config.slots.open_after_s,
        swap_drain=config.inference.swap_drain_s,
    )
    slots = tuple(Slot(slot_device(name)) for name in config.slots.devices)
    scheduler = Scheduler(Snapshot(slots, limits=limits), observers, config.slots.slow_client_s)
    settings = {}
    for name, target in targets.items():
        # An engine that is switched off, or whose module cannot be imported, is not offered.
        with contextlib.suppress(KeyError):
            settings[name] = settings_of(config, inventory.engine(name), target)
    devices = {"": slots[0].device} | dict(
        zip(config.slots.devices, (slot.device for slot in slots), strict=True)
    )
    upstreams = Upstreams(config, devices) if relays else None
    runner = Runner(
        scheduler.post,
        scheduler.ready,
        inventory.spec,
        settings,
        upstreams.relays if upstreams is not None else {},
        upstreams.bound if upstreams is not None else {},
        spare=spare(config),
        beside=room.beside if config.inference.swap_beside == "auto" else None,
        ids=lambda job_id: ids_in(scheduler.snapshot, job_id),
    )
    scheduler.steps = runner
    providers = {name: engine.provider for name, engine in settings.items()}
    if upstreams is not None:
        providers |= {name: relay.provider for name, relay in upstreams.relays.items()}
    observing = observability(config.observability, providers, frozenset(settings))
    scheduler.observers.append(observing.observe)
    housekeeping = Housekeeping(scheduler, config.slots.idle_unload_s)
    root = ModelRoot(config.inference.root)

    async def running(app: web.Application) -> AsyncIterator[None]:
        await asyncio.to_thread(sweep, config.server.spool_dir)
        observing.start()
        task = asyncio.create_task(scheduler.run(), name="scheduler")
        task.add_done_callback(lambda ended: _scheduler_ended(ended, app))
        if config.slots.preload:
            await _preload_model(config.slots.preload, inventory, housekeeping)
        if config.inference.model:
            await _select(config.inference.model, root, scheduler, app[FIGURES])
        yield
        housekeeping.close()
        await runner.close()
        task.cancel()
        await asyncio.wait([task])  # how it ended is in the log by then
        if upstreams is not None:
            await upstreams.close()
        await asyncio.to_thread(observing.close)

    relayed = RELAYED if upstreams is not None else ()
    operations = (*OPERATIONS, *INTERNAL, *ADMIN, *OBSERVED, *CONSOLE, *relayed)
    app = build_app(config, scheduler, inventory, (running,), operations)
    app.on_response_prepare.append(trace.echo)
    app[ADMIN_CONTEXT] = admin_context(scheduler, housekeeping, runner)
    app[FIGURES] = figures = GenerationFigures()
    scheduler.observers.append(figures.observe)
    app[MODEL_ROOT] = root
    app[OBSERVABILITY] = observing
    app[EXPOSITION] = exposition(observing, scheduler, runner, figures.answer)
    if upstreams is not None:
        app[UPSTREAMS] = upstreams
    return app


def _scheduler_ended(task: asyncio.Task[None], app: web.Application) -> None:
    """The scheduler ends only by being cancelled; any other end must end the process."""
    if not task.cancelled():
        log.critical("the scheduler has ended", exc_info=task.exception())
        app[BROKEN].set()


async def _preload_model(name: str, inventory: Inventory, housekeeping: Housekeeping) -> None:
    """A model that cannot be preloaded does not prevent the start."""
    try:
        chosen = await inventory.route(name, None, False)
    except BackendFault as exc:
        log.warning("preload is not possible", model=name, reason=exc.fault.message)
        return
    housekeeping.preload(chosen.route.resident)


async def _select(tag: str, root: ModelRoot, scheduler: Scheduler, figures: GenerationFigures) -> None:
    """The weights to begin with. Without them the service starts all the same, not ready, and a
    swap to others works."""
    try:
        await asyncio.to_thread(root.find, tag)
    except BackendFault as exc:
        log.error("inference.model cannot be selected", model=tag, reason=exc.fault.message)
        figures.refused(tag, exc.fault.message)
        return
    scheduler.submit(selection(tag))


def settings_of(config: Config, engine: EngineInfo, target: str) -> EngineSettings:
    """How the engine's processes are started."""
    section = engine_section(config, engine.name)
    return EngineSettings(
        engine.name,
        target,
        engine.provider,
        section.python or sys.executable,
        section.kill_after_s or config.engines.kill_after_s or engine.kill_after_s,
        config.engines.stall_s,
        config.engines.start_s,
        config.engines.nice,
    )


def slot_device(name: str) -> str:
    """The device of a configured slot: `auto` is the first GPU if there is one, else the CPU."""
    return str(Device.parse(name).resolved(lambda: free_bytes(str(FIRST_CARD)) is not None))


def spare(config: Config) -> bool:
    """Whether an evicted engine's next process is kept warm."""
    if config.engines.spare != "auto":
        return config.engines.spare == "on"
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >= SPARE_FROM
    except (AttributeError, ValueError, OSError):  # not POSIX
        return False
