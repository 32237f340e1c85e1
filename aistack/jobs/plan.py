"""Which slot a job may take, and the next step it needs given what sits there.

No plan is stored: it is computed when a slot is taken and again after every report, so it can
never be older than the world. Pure; the rules are those of docs/internals/machine.md.
"""

from __future__ import annotations

from aistack.chunks import Vram
from aistack.jobs import swap
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import Evict, Load, Run
from aistack.jobs.model import Job, Resident, Slot
from aistack.jobs.states import HOUSEKEEPING, WITHOUT_RUN, Op, Step


def may_take(draft: Draft, job: Job, slot: Slot) -> bool:
    """Whether the job may become the holder of this slot now."""
    if slot.holder is not None or not slot.fits(job.route.device):
        return False
    return swap.allows(draft, job, slot)


def choose(draft: Draft, job: Job) -> Slot | None:
    """The slot the job should take: where its model sits, else an empty one, else any it may."""
    free = [slot for slot in draft.slots if may_take(draft, job, slot)]
    if not free:
        return None
    wanted = draft.selected if job.route.selects else job.route.resident
    for slot in free:
        if slot.resident == wanted:
            return slot
    for slot in free:
        if slot.resident is None:
            return slot
    return free[0]


def only_housekeeping_holds(draft: Draft, job: Job) -> bool:
    """Whether no caller holds any slot the job fits: then it waits a moment instead of a 503."""
    holders = [
        draft.jobs[slot.holder]
        for slot in draft.slots
        if slot.holder is not None and slot.fits(job.route.device)
    ]
    return all(holder.op in HOUSEKEEPING for holder in holders)


def next_step(job: Job, slot: Slot, evicted: bool) -> tuple[Step, Evict | Load | Run] | None:
    """What the holder needs next; None: it is done. `evicted`: the step before was an eviction."""
    wanted = job.route.resident
    evict_ours = (Step.EVICT, Evict(job.id, slot.device, everything=False))
    if job.route.vram is Vram.RESERVED:
        return _run(job, slot)
    if job.route.vram is Vram.EXTERNAL:
        return evict_ours if slot.resident is not None else _run(job, slot)
    if job.op is Op.UNLOAD:
        return evict_ours if slot.resident == wanted else None
    if slot.resident == wanted:
        return None if job.op in WITHOUT_RUN else _run(job, slot)
    if evicted:
        return Step.LOAD, Load(job.id, slot.device, wanted, side_by_side=slot.resident is not None)
    kept_for = swap.side_by_side(job, slot)
    return Step.EVICT, Evict(job.id, slot.device, everything=True, side_by_side=kept_for)


def _run(job: Job, slot: Slot) -> tuple[Step, Run]:
    if job.request is None:
        raise TypeError(f"{job} has nothing to run")
    return Step.RUN, Run(job.id, slot.device, job.route, job.request)


def resolve(job: Job, selected: Resident | None) -> Job:
    """The job with its SELECTED route filled in."""
    if not job.route.selects or selected is None:
        return job
    return evolve(job, route=evolve(job.route, backend=selected.backend, model=selected.model))
