"""/admin/api: what the console reads, and the three things that an operator can do to models.

Every change goes through the machine as a housekeeping job, never around it: a slot that is held stays
as it is. The middleware has checked origin and key before a handler here runs.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web
from attrs import evolve, frozen

from aistack import __version__, errors
from aistack.contract.admin import (
    AdminModels,
    CacheView,
    LineView,
    LockView,
    LogTail,
    MemoryView,
    ModelAsked,
    ModelTicket,
    ResetResult,
    SlotsView,
    SlotView,
    StateView,
    TimelineView,
)
from aistack.contract.converters import dumps, structure, to_plain
from aistack.errors import BackendFault, Code, malformed
from aistack.jobs.model import Job, Resident
from aistack.jobs.states import Op, OutcomeKind
from aistack.observe.history import JOBS, History
from aistack.observe.log_ring import LINES, Ring
from aistack.web.admin import views
from aistack.web.answers import json_answer
from aistack.web.gateway.models import listed
from aistack.web.keys import CONFIG, INVENTORY, SCHEDULER, UPSTREAMS
from aistack.web.upload.bodies import read_json
from aistack.wire.base import JSON

LINES_DEFAULT = 200
JOBS_DEFAULT = 60


class Housekeeper(Protocol):
    """Loads and unloads models."""

    async def begin(self, op: Op, resident: Resident, device: str | None = None) -> Job:
        """Submit; return the job after its first transition. Raises TimeoutError."""
        ...

    async def unload(self, resident: Resident, device: str) -> bool:
        """Unload; return whether it happened. Raises TimeoutError."""
        ...


@frozen
class AdminContext:
    """What only the operator's endpoints need. `memory` is bounded and runs off the loop; `started` is
    in Unix seconds; `unix` converts the scheduler's seconds to Unix seconds."""

    history: History
    keeper: Housekeeper
    memory: Callable[[], Any]
    ring: Ring
    unix: Callable[[float], float]
    started: float


ADMIN_CONTEXT: web.AppKey[AdminContext] = web.AppKey("office")


def unix_clock() -> Callable[[float], float]:
    """Convert seconds of the running loop's clock to Unix seconds, to the millisecond."""

    @functools.cache
    def offset() -> float:
        return time.time() - asyncio.get_running_loop().time()

    return lambda moment: round(moment + offset(), 3)


# --- reading -----------------------------------------------------------------------------------------


async def lock(request: web.Request) -> web.StreamResponse:
    """`IDLE`, or `BUSY` with the capability of the running job."""
    return json_answer(to_plain(views.lock(request.app[SCHEDULER].snapshot)))


async def slots(request: web.Request) -> web.StreamResponse:
    """Every slot: the job that holds it, its model, state, progress and start."""
    snapshot = request.app[SCHEDULER].snapshot
    return json_answer(to_plain(SlotsView(mode=snapshot.mode.value, slots=await _slots(request))))


async def line(request: web.Request) -> web.StreamResponse:
    """The jobs that wait for a slot, in order of service."""
    return json_answer(
        to_plain(views.line(request.app[SCHEDULER].snapshot, request.app[ADMIN_CONTEXT].unix))
    )


async def cache(request: web.Request) -> web.StreamResponse:
    """The models in memory."""
    return json_answer(to_plain(await _cache(request)))


async def gpu(request: web.Request) -> web.StreamResponse:
    """GPU memory, and the memory of aistack's processes; works without a GPU."""
    return json_answer(to_plain(await request.app[ADMIN_CONTEXT].memory()))


async def models(request: web.Request) -> web.StreamResponse:
    """The models in `/v1/models`, whether they are on the disk, and whether they can be loaded."""
    entries = (await listed(request)).data
    return json_answer(to_plain(views.models(entries, await request.app[INVENTORY].facts())))


async def timeline(request: web.Request) -> web.StreamResponse:
    """The last `n` jobs (1 to 200, default 60) with their phases."""
    n = _number(request, "n", JOBS_DEFAULT, JOBS)
    return json_answer(to_plain(request.app[ADMIN_CONTEXT].history.timeline(n)))


async def logs(request: web.Request) -> web.StreamResponse:
    """The last `n` log lines (1 to 500, default 200) after line number `after`."""
    n = _number(request, "n", LINES_DEFAULT, LINES)
    after = _number(request, "after", 0, 2**53, least=0)
    lines, newest = request.app[ADMIN_CONTEXT].ring.last(n, after)
    body = f'{{"newest":{newest},"lines":[{",".join(lines)}]}}'
    return web.Response(body=body.encode("utf-8", "replace"), headers={"Content-Type": JSON})


async def state(request: web.Request) -> web.StreamResponse:
    """Slots, queue, memory and timeline in one; 304 if nothing has changed since the ETag sent."""
    office, snapshot = request.app[ADMIN_CONTEXT], request.app[SCHEDULER].snapshot
    told = StateView(
        version=__version__,
        started=office.started,
        parts=_parts(request.app),
        mode=snapshot.mode.value,
        slots=await _slots(request),
        line=views.line(snapshot, office.unix),
        idle_unload_s=request.app[CONFIG].slots.idle_unload_s,
        memory=await office.memory(),
        timeline=office.history.timeline(_number(request, "n", JOBS_DEFAULT, JOBS)),
    )
    body = dumps(to_plain(told))
    response = web.Response(body=body, headers={"Content-Type": JSON, "Cache-Control": "no-cache"})
    response.enable_compression()
    response.etag = tag = hashlib.blake2b(body, digest_size=8).hexdigest()
    seen = request.if_none_match or ()
    if any(each.value in (tag, "*") for each in seen):
        raise web.HTTPNotModified(headers={"ETag": f'"{tag}"', "Cache-Control": "no-cache"})
    return response


# --- changing ----------------------------------------------------------------------------------------


async def reset_asr_state(request: web.Request) -> web.StreamResponse:
    """Unload the speech-to-text models of free slots. A model in use is never unloaded."""
    keeper, snapshot = request.app[ADMIN_CONTEXT].keeper, request.app[SCHEDULER].snapshot
    facts = await request.app[INVENTORY].facts()
    wanted = [
        (slot.resident, slot.device)
        for slot in snapshot.slots
        if slot.holder is None
        and slot.resident is not None
        and views.category(slot.resident, facts) == "asr"
    ]
    try:
        gone = await asyncio.gather(*(keeper.unload(*each) for each in wanted))
    except TimeoutError:
        raise BackendFault(errors.shutting_down()) from None
    told = ResetResult(evicted=sum(gone), remaining=await _cache(request))
    return json_answer(to_plain(told))


async def load(request: web.Request) -> web.StreamResponse:
    """Load a model into memory. Responds once the load has begun; 503 if every slot is in use."""
    asked = await _asked(request)
    inventory = request.app[INVENTORY]
    resident = views.voice_called(asked.model, await inventory.facts())
    if resident is None:
        try:
            resident = (await inventory.route(asked.model, None, False)).route.resident
        except BackendFault as exc:
            if exc.fault.code is not Code.MODEL_NOT_FOUND:
                raise
            # The name is the resource to act on, not a field of a request to a model.
            raise BackendFault(evolve(exc.fault, status=404)) from exc
    return _ticket(await _begin(request, Op.LOAD, resident))


async def unload(request: web.Request) -> web.StreamResponse:
    """Unload a model. Responds once the unload has begun; 503 if the model is in use."""
    asked = await _asked(request)
    for slot in request.app[SCHEDULER].snapshot.slots:
        if slot.resident is not None and slot.resident.model == asked.model:
            return _ticket(await _begin(request, Op.UNLOAD, slot.resident, slot.device))
    told = ModelTicket(job_id="", model=asked.model, status="ok")
    return json_answer(to_plain(told), 202)


async def _asked(request: web.Request) -> ModelAsked:
    asked: ModelAsked = structure(await read_json(request, request.app[CONFIG].server), ModelAsked)
    return asked


async def _begin(request: web.Request, op: Op, resident: Resident, device: str | None = None) -> Job:
    """The housekeeping job, running or done. Raises BackendFault if it was refused."""
    try:
        job = await request.app[ADMIN_CONTEXT].keeper.begin(op, resident, device)
    except TimeoutError:
        raise BackendFault(errors.shutting_down()) from None
    outcome = job.outcome
    if outcome is None or outcome.kind is OutcomeKind.OK:
        return job
    if outcome.fault is not None:
        raise BackendFault(outcome.fault)
    raise BackendFault(
        errors.busy(f"Busy: every slot is in use. The {op.value} of {resident.model} was not started.")
    )


def _ticket(job: Job) -> web.Response:
    over = job.outcome is not None
    told = ModelTicket(job_id=job.id, model=job.route.model, status="ok" if over else "accepted")
    return json_answer(to_plain(told), 202)


# --- shared ------------------------------------------------------------------------------------------


def _parts(app: web.Application) -> tuple[str, ...]:
    """Optional parts, so that the console requests only what exists."""
    paths = {resource.canonical for resource in app.router.resources()}
    found = [name for name in ("metrics", "observability") if f"/admin/api/{name}" in paths]
    return (*found, *(("relays",) if UPSTREAMS in app else ()))


async def _slots(request: web.Request) -> tuple[SlotView, ...]:
    office = request.app[ADMIN_CONTEXT]
    facts = await request.app[INVENTORY].facts()
    now = asyncio.get_running_loop().time()
    return views.slots(request.app[SCHEDULER].snapshot, facts, office.unix, now, _freed(office))


def _freed(office: AdminContext) -> Callable[[str], float]:
    """Since when a slot is free, Unix seconds; for a slot that was never held, since the start."""

    def since(device: str) -> float:
        freed = office.history.freed(device)
        return office.started if freed is None else freed

    return since


async def _cache(request: web.Request) -> CacheView:
    office = request.app[ADMIN_CONTEXT]
    facts = await request.app[INVENTORY].facts()
    freed, now = _freed(office), office.unix(asyncio.get_running_loop().time())
    return views.cache(
        request.app[SCHEDULER].snapshot,
        facts,
        lambda device: max(now - freed(device), 0.0),
        request.app[CONFIG].slots.idle_unload_s,
    )


def _number(request: web.Request, name: str, default: int, most: int, least: int = 1) -> int:
    """A whole number from the query, clamped. Raises BackendFault for anything else."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BackendFault(
            malformed(f"{name} must be a whole number.", Code.INVALID_FIELD, name)
        ) from None
    return min(max(value, least), most)


READS = (
    ("lock", lock, LockView, "Whether a slot is in use"),
    ("slots", slots, SlotsView, "Slots and the jobs that hold them"),
    ("line", line, LineView, "The queue"),
    ("cache", cache, CacheView, "Models in memory"),
    ("gpu", gpu, MemoryView, "Memory of GPUs and processes"),
    ("models", models, AdminModels, "Models, with details for the operator"),
    ("timeline", timeline, TimelineView, "Recent jobs and their phases"),
    ("logs", logs, LogTail, "Recent log lines"),
    ("state", state, StateView, "Everything that the console shows"),
)
"""Name below /admin/api, handler, type, summary: `operations` turns them into routes."""
