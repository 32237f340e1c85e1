"""Which slot a job may take, and the next step it needs given what sits there.

No plan is stored: it is computed when a slot is taken and again after every report, so it can
never be older than the world. Pure; the rules are those of docs/internals/machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from aistack.chunks import Vram
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import Evict, Load, Run
from aistack.jobs.model import SELECTED, Job, Resident, Slot
from aistack.jobs.states import HOUSEKEEPING, Op, Step


def swap_in_book(draft: Draft) -> Job | None:
    """The one SWAP under way, if any."""
    for job in draft.jobs.values():
        if job.op is Op.SWAP:
            return job
    return None


def stale(draft: Draft, slot: Slot) -> bool:
    """Whether `slot` holds, or is about to hold, the weights that a swap replaces."""
    if draft.selected is None:
        return False
    holder = draft.jobs[slot.holder] if slot.holder is not None else None
    wanted = holder.route.resident if holder is not None else None
    return draft.selected in (slot.resident, wanted)


def unreached(draft: Draft, swap: Job) -> list[Slot]:
    """The slots a SWAP has still to change, in order.

    Those with old weights (one that was changed may hold them again: someone asked for them by
    name); if there are none, one slot of its choice, unless it has changed one.
    """
    wanted = swap.route.resident
    fitting = [slot for slot in draft.slots if slot.fits(swap.route.device)]
    if wanted != draft.selected:
        old = [slot for slot in fitting if stale(draft, slot)]
        if old:
            return old
    return [] if swap.reached else fitting


def may_take(draft: Draft, job: Job, slot: Slot) -> bool:
    """Whether the job may become the holder of this slot now."""
    if slot.holder is not None or not slot.fits(job.route.device):
        return False
    if job.op is Op.SWAP:
        return slot in unreached(draft, job)
    if job.route.model == SELECTED and swap_in_book(draft):
        return slot.resident == draft.selected
    return True


def choose(draft: Draft, job: Job) -> Slot | None:
    """The slot the job should take: where its model sits, else an empty one, else any it may."""
    free = [slot for slot in draft.slots if may_take(draft, job, slot)]
    if not free:
        return None
    wanted = draft.selected if job.route.model == SELECTED else job.route.resident
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
    """What the holder needs next; none: it is done. `evicted`: the step before was an eviction."""
    wanted = job.route.resident
    evict_ours = (Step.EVICT, Evict(job.id, slot.device, everything=False))
    if job.route.vram is Vram.RESERVED:
        return _run(job, slot)
    if job.route.vram is Vram.EXTERNAL:
        return evict_ours if slot.resident is not None else _run(job, slot)
    if job.op is Op.UNLOAD:
        return evict_ours if slot.resident == wanted else None
    if slot.resident == wanted:
        return None if job.op in (Op.SWAP, Op.LOAD) else _run(job, slot)
    if evicted:
        return Step.LOAD, Load(job.id, slot.device, wanted, side_by_side=slot.resident is not None)
    # The old weights of a swap are worth keeping until the new ones are there; another engine is not.
    swaps = job.op is Op.SWAP and slot.resident is not None and slot.resident.backend == wanted.backend
    side_by_side = wanted if swaps else None
    return Step.EVICT, Evict(job.id, slot.device, everything=True, side_by_side=side_by_side)


def _run(job: Job, slot: Slot) -> tuple[Step, Run]:
    if job.request is None:
        raise TypeError(f"{job} has nothing to run")
    return Step.RUN, Run(job.id, slot.device, job.route, job.request)


def callers(jobs: Iterable[Job]) -> int:
    """How many of these jobs are callers (a SWAP takes no place in the queue)."""
    return sum(job.op is not Op.SWAP for job in jobs)


def resolve(job: Job, selected: Resident | None) -> Job:
    """The job with its SELECTED route filled in."""
    if job.route.model != SELECTED or selected is None:
        return job
    return evolve(job, route=evolve(job.route, backend=selected.backend, model=selected.model))
