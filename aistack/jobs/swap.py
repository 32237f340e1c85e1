"""A change of the selected weights (Op.SWAP): all that is particular to it, in one room.

A swap is answered at once (`accept`) and goes on in the background. It visits, one after another, every
slot that holds the old weights or is about to (`unreached`), queued at the head between two of them
(`wait`). Slots not yet reached go on serving the old weights; `selected` flips with the last (`go_on`),
so after it no job meets old weights. When no slot holds them, it changes one.

At most one swap is in the book. If a load fails, or a slot is not given back in time (`expire`), or the
service stops, the old weights stay selected, and a slot already changed is loaded again when it is next
wanted. In its slot a swap is a holder like any other: the rows of the table apply.
"""

from __future__ import annotations

from aistack import errors
from aistack.chunks import Accepted
from aistack.errors import Fault
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import Respond, SetTimer
from aistack.jobs.events import WaitExpired
from aistack.jobs.model import Job, Outcome, Resident, Slot
from aistack.jobs.states import Mode, Op, OutcomeKind, Phase


def is_swap(job: Job) -> bool:
    """Whether the job is one."""
    return job.op is Op.SWAP


def under_way(draft: Draft) -> Job | None:
    """The one swap in the book, if any."""
    for job in draft.jobs.values():
        if is_swap(job):
            return job
    return None


# --- being admitted -----------------------------------------------------------------------------------


def refusal_of(draft: Draft, job: Job) -> Fault | None:
    """Why the job, a swap or one that a swap may keep out, cannot be admitted for now."""
    if under_way(draft) is None:
        return None
    if is_swap(job):
        return errors.draining("Another weight swap is in progress. Retry in a few seconds.")
    if job.route.selects and draft.selected is None:
        return errors.draining("The weights are being loaded. Retry in a few seconds.")
    return None


def accept(draft: Draft, job: Job) -> Job | None:
    """The 202, if anybody waits for it; the job as it goes on, None if there is nothing to change."""
    current = draft.selected.model if draft.selected is not None else job.route.model
    settled = job.route.resident == draft.selected and draft.selected_ok
    if job.wire is not None:
        accepted = Accepted("ok" if settled else "accepted", current)
        draft.emit(Respond(job.id, job.whole.body((), accepted)))
    job = evolve(job, answered=True)
    if settled:
        draft.end(job, None, Outcome(OutcomeKind.OK))
        return None
    return job


# --- the slots ----------------------------------------------------------------------------------------


def stale(draft: Draft, slot: Slot) -> bool:
    """Whether `slot` holds, or is about to hold, the weights that a swap replaces."""
    if draft.selected is None:
        return False
    holder = draft.jobs[slot.holder] if slot.holder is not None else None
    wanted = holder.route.resident if holder is not None else None
    return draft.selected in (slot.resident, wanted)


def unreached(draft: Draft, swap: Job) -> list[Slot]:
    """The slots that a swap has still to change, in order.

    Those with old weights (one that was changed may hold them again: someone asked for them by
    name); if there are none, one slot of its choice, unless it has changed one.
    """
    fitting = [slot for slot in draft.slots if slot.fits(swap.route.device)]
    if swap.route.resident != draft.selected:
        old = [slot for slot in fitting if stale(draft, slot)]
        if old:
            return old
    return [] if swap.reached else fitting


def allows(draft: Draft, job: Job, slot: Slot) -> bool:
    """What a swap adds to the rule who may take a slot: it takes those with old weights, and while it is
    under way a job for the selected weights takes only those."""
    if is_swap(job):
        return slot in unreached(draft, job)
    if job.route.selects and under_way(draft) is not None:
        return slot.resident == draft.selected
    return True


def side_by_side(job: Job, slot: Slot) -> Resident | None:
    """The new weights, if the slot's old ones are worth keeping until those are there; another engine
    is not."""
    wanted = job.route.resident
    held = slot.resident
    worth = is_swap(job) and held is not None and held.backend == wanted.backend
    return wanted if worth else None


# --- waiting and going on -----------------------------------------------------------------------------


def wait(draft: Draft, job: Job, source: Phase | None) -> None:
    """Queue the swap at the head, until a slot that it has to change is given back."""
    job = draft.move(job, source, wait_no=job.wait_no + 1)
    draft.set(queue=(job.id, *draft.queue))
    timer = WaitExpired(job.id, job.wait_no)
    draft.emit(SetTimer(job.id, timer, draft.base.limits.swap_drain))


def expire(draft: Draft, job: Job) -> None:
    """Fail the swap: its slot was not given back in time."""
    late = errors.draining("The running work did not end in time; the weights were not changed.")
    draft.end(job, Phase.WAITING, Outcome(OutcomeKind.FAILED, late))


def go_on(draft: Draft, job: Job, source: Phase | None) -> None:
    """The swap's slot, if it has one, is changed: flip `selected` if it was the last, else wait for the
    next."""
    if job.slot is not None:
        draft.release(job)
        job = draft.change(job, reached=(*job.reached, job.slot), slot=None, step=None)
    if not unreached(draft, job):
        draft.set(selected=job.route.resident, selected_ok=True)
        draft.end(job, source, Outcome(OutcomeKind.OK))
    elif draft.mode is Mode.DRAINING:
        draft.end(job, source, Outcome(OutcomeKind.REVOKED, errors.shutting_down()))
    else:
        wait(draft, job, source)


def has_none_left(draft: Draft, job: Job) -> bool:
    """Whether a queued job is a swap that changed a slot and has no other to change any more."""
    return bool(job.reached) and not unreached(draft, job)
