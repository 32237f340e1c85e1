"""GET /v1/models and /v1/models/{id}: what would serve right now. Never touches the slot."""

from __future__ import annotations

from aiohttp import web

from aistack.errors import BackendFault, Code, ErrorKind, Fault
from aistack.jobs.model import Resident, Snapshot
from aistack.web.answers import json_answer
from aistack.web.keys import INVENTORY, SCHEDULER


def residents(snapshot: Snapshot) -> frozenset[Resident]:
    """What sits on any card."""
    return frozenset(slot.resident for slot in snapshot.slots if slot.resident is not None)


async def models(request: web.Request) -> web.StreamResponse:
    """The list."""
    entries = await request.app[INVENTORY].models(residents(request.app[SCHEDULER].snapshot))
    return json_answer({"object": "list", "data": list(entries)})


async def model(request: web.Request) -> web.StreamResponse:
    """One entry. The id may contain slashes, escaped or not."""
    wanted = request.match_info["id"]
    entry = await request.app[INVENTORY].entry(wanted)
    if entry is None:
        raise BackendFault(
            Fault(
                ErrorKind.MALFORMED,
                Code.MODEL_NOT_FOUND,
                f"There is no model {wanted[:200]!r}. GET /v1/models lists what there is.",
                param="model",
                status_override=404,
            )
        )
    return json_answer(entry)
