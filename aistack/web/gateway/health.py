"""GET /health: answered from memory, whatever state the backends are in."""

from __future__ import annotations

from aiohttp import web

from aistack import __version__
from aistack.contract.converters import to_plain
from aistack.contract.public import HealthResponse
from aistack.jobs.model import Snapshot
from aistack.jobs.states import Op, Step
from aistack.web.answers import json_answer
from aistack.web.keys import SCHEDULER


def ready(snapshot: Snapshot) -> bool:
    """Whether `/generate` would be served: a tag is selected and its last load did not fail.

    It stays true while the weights are out for another job. While a swap loads, it is true only if a
    slot still holds the old weights: else neither they nor the new ones could answer.
    """
    loading = any(job.op is Op.SWAP and job.step is Step.LOAD for job in snapshot.jobs.values())
    here = any(slot.resident == snapshot.selected for slot in snapshot.slots)
    return snapshot.selected is not None and snapshot.selected_ok and (here or not loading)


async def health(request: web.Request) -> web.StreamResponse:
    """`status`, `version`, `ready`, `current_model`."""
    snapshot = request.app[SCHEDULER].snapshot
    selected = snapshot.selected
    answer = HealthResponse(
        version=__version__,
        ready=ready(snapshot),
        current_model=selected.model if selected is not None else None,
    )
    return json_answer(to_plain(answer))
