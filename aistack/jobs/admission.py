"""What a submission leads to, the first that fits: a refusal, a slot at once, a place in the queue."""

from __future__ import annotations

from aistack import errors
from aistack.errors import Code, Fault
from aistack.jobs import plan, swap
from aistack.jobs.busy import busy_fault
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import SetTimer
from aistack.jobs.events import WaitExpired
from aistack.jobs.model import Job, Outcome
from aistack.jobs.moves import grant, reject
from aistack.jobs.states import HOUSEKEEPING, Mode, Op, OutcomeKind


def submitted(draft: Draft, job: Job) -> None:
    """Admit the job: give it a slot, put it into the queue, or refuse it at once."""
    job = evolve(job, submitted=draft.at, since=draft.at)
    fault = inadmissible(draft, job)
    if fault is not None:
        reject(draft, job, fault)
        return
    if swap.is_swap(job):
        accepted = swap.accept(draft, job)
        if accepted is None:
            return
        job = accepted
    slot = plan.choose(draft, job)
    if slot is not None:
        grant(draft, job, None, slot.device)
        return
    enqueue(draft, job)


def inadmissible(draft: Draft, job: Job) -> Fault | None:
    """Why the job can be refused without looking at who holds what."""
    if draft.mode is Mode.DRAINING:
        return errors.shutting_down()
    if not any(slot.fits(job.route.device) for slot in draft.slots):
        return Fault(Code.NOT_CONFIGURED, f"No slot is configured for {job.route.backend}.")
    return cooling_down(draft, job) or swap.refusal_of(draft, job) or nothing_selected(draft, job)


def cooling_down(draft: Draft, job: Job) -> Fault | None:
    """The refusal of a model that failed to load several times in a row, for a while."""
    wanted = draft.selected if job.route.selects else job.route.resident
    if wanted is None or job.op is Op.UNLOAD:
        return None
    broken = draft.base.cooling.get(wanted)
    if broken is None or broken.until <= draft.at:
        return None
    wait = max(1, round(broken.until - draft.at))
    return errors.cooling_down(wanted.model, broken.failures, wait)


def nothing_selected(draft: Draft, job: Job) -> Fault | None:
    """The refusal of a job for the selected weights where there are none."""
    if not job.route.selects or draft.selected is not None:
        return None
    return Fault(Code.MODEL_LOAD_FAILED, "No weights are selected. Select them with POST /models/swap.")


def enqueue(draft: Draft, job: Job) -> None:
    """No slot now: wait if the caller asked for it or the wait is short by nature, else refuse."""
    limits = draft.base.limits
    if job.op in HOUSEKEEPING:
        draft.end(job, None, Outcome(OutcomeKind.REJECTED))
        return
    if swap.is_swap(job):
        swap.wait(draft, job, None)
        return
    if job.route.selects and swap.under_way(draft) is not None:
        reject(draft, job, errors.draining())
        return
    brief = plan.only_housekeeping_holds(draft, job)
    # A swap takes no place: it is queued once, at the head.
    callers = sum(not swap.is_swap(draft.jobs[job_id]) for job_id in draft.queue)
    if callers >= limits.max_queued or not (job.max_wait_s > 0 or brief):
        reject(draft, job, busy_fault(draft.base, job.op, job.route.device, draft.at))
        return
    wait = max(job.max_wait_s, limits.housekeeping_wait if brief else 0.0)
    job = draft.move(job, None, wait_no=job.wait_no + 1)
    draft.set(queue=(*draft.queue, job.id))
    draft.emit(SetTimer(job.id, WaitExpired(job.id, job.wait_no), wait))
