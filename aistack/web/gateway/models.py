"""GET /v1/models and /v1/models/{id}: what would serve right now. Never touches the slot."""

from __future__ import annotations

from aiohttp import web

from aistack.chunks import DOWNLOAD
from aistack.contract.converters import to_plain
from aistack.contract.public import Download, ModelEntry, ModelsList
from aistack.jobs.model import Resident, Snapshot
from aistack.jobs.states import Step
from aistack.web.answers import json_answer
from aistack.web.keys import CONFIG, INVENTORY, SCHEDULER, UPSTREAMS


def residents(snapshot: Snapshot) -> frozenset[Resident]:
    """What sits on any card."""
    return frozenset(slot.resident for slot in snapshot.slots if slot.resident is not None)


def downloads(snapshot: Snapshot) -> dict[Resident, Download]:
    """What is being fetched for a load."""
    return {
        job.route.resident: Download(
            bytes=int(job.progress.done),
            total=None if job.progress.total is None else int(job.progress.total),
        )
        for job in snapshot.jobs.values()
        if job.step is Step.LOAD and job.progress is not None and job.progress.unit == DOWNLOAD
    }


async def models(request: web.Request) -> web.StreamResponse:
    """The list."""
    return json_answer(to_plain(await listed(request)))


async def listed(request: web.Request) -> ModelsList:
    """The list as a value."""
    here = residents(request.app[SCHEDULER].snapshot)
    coming = downloads(request.app[SCHEDULER].snapshot)
    others = await _others(request)
    return await request.app[INVENTORY].models(here, others, coming)


async def model(request: web.Request) -> web.StreamResponse:
    """One entry. The id may contain slashes, escaped or not."""
    here = residents(request.app[SCHEDULER].snapshot)
    coming = downloads(request.app[SCHEDULER].snapshot)
    others = await _others(request)
    found = await request.app[INVENTORY].entry(request.match_info["id"], here, others, coming)
    return json_answer(to_plain(found))


async def _others(request: web.Request) -> tuple[ModelEntry, ...]:
    """Entries of other people's servers, where there are any, and of weights behind the open door."""
    theirs = await request.app[UPSTREAMS].entries() if UPSTREAMS in request.app else ()
    selected = request.app[SCHEDULER].snapshot.selected
    if selected is None or not request.app[CONFIG].inference.openai_door:
        return theirs
    return (*(entry for entry in theirs if entry.id != selected.model), _local(selected))


def _local(selected: Resident) -> ModelEntry:
    """The current weights of the internal API."""
    return ModelEntry(
        id=selected.model,
        created=0,
        owned_by="local",
        capabilities=("llm",),
        supports_streaming=True,
        is_routing_alias=False,
    )
