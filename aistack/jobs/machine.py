"""`handle`: one event in, one reaction out. Pure: no clock, no loop, no log.

It commits a new snapshot whole or not at all: whatever a row raises, the caller still holds the
old world (and `recovery` says which event to hand in instead).
"""

from __future__ import annotations

from typing import assert_never

from aistack import errors
from aistack.jobs import events as ev
from aistack.jobs import plan, swap
from aistack.jobs.admission import submitted
from aistack.jobs.draft import Draft
from aistack.jobs.model import Job, Snapshot
from aistack.jobs.moves import grant
from aistack.jobs.reaction import Reaction
from aistack.jobs.states import HOLDING, Mode, Phase
from aistack.jobs.table import TABLE, Refusal


class IllegalTransition(Exception):
    """An event met a cell that refuses it: a bug; the message has the job's story."""

    def __init__(self, event: ev.Event, phase: Phase, because: str, job: Job | None) -> None:
        job_id = event.job_id if isinstance(event, ev.EventOfJob) else job.id if job else None
        story = f"; step {job.step.value if job.step else None}, op {job.op.value}" if job else ""
        super().__init__(f"{type(event).__name__} for job {job_id} in {phase.value}: {because}{story}")
        self.event = event
        self.phase = phase
        self.because = because


def handle(snapshot: Snapshot, event: ev.Event) -> Reaction:
    """What follows from `event` in the world `snapshot`.

    Raises IllegalTransition for a refused cell, and whatever a wire raises; the snapshot given is
    never changed.
    """
    draft = Draft(snapshot, type(event).__name__, event.at)
    match event:
        case ev.EventOfJob():
            _apply(draft, snapshot.jobs.get(event.job_id), event)
        case ev.Submitted(job=job):
            submitted(draft, job)
        case ev.Vanished():
            _vanished(draft, event)
        case ev.DrainBegan():
            draft.set(mode=Mode.DRAINING)
            for job in snapshot.jobs.values():
                _apply(draft, job, event)
        case ev.DrainExpired():
            for job in snapshot.jobs.values():
                _apply(draft, job, event)
        case _:
            assert_never(event)
    if draft.changes and draft.queue:
        _release(draft)
    return draft.commit()


def _apply(draft: Draft, job: Job | None, event: ev.Event) -> None:
    """Look the cell up, check it, carry it out."""
    phase = Phase.DONE if job is None else job.phase
    cell = TABLE[phase][type(event)]
    if isinstance(cell, Refusal):
        raise IllegalTransition(event, phase, cell.because, job)
    if job is None:
        return
    cell.do(draft, job, event)
    after = draft.jobs.get(job.id)
    target = Phase.DONE if after is None else after.phase
    if target not in cell.to:
        raise IllegalTransition(event, phase, f"the row led to {target.value}", job)


def _vanished(draft: Draft, event: ev.Vanished) -> None:
    """An idle engine died: its slot is empty. If the holder uses that model, its step reports it."""
    slot = draft.base.slot(event.device)
    holder = draft.jobs[slot.holder] if slot.holder is not None else None
    used = holder is not None and holder.route.resident == event.resident
    if slot.resident == event.resident and not used:
        draft.set_slot(event.device, resident=None)


def _release(draft: Draft) -> None:
    """While a queued job may take a free slot, the first who may becomes its holder."""
    while any(_served(draft, draft.jobs[job_id]) for job_id in draft.queue):
        pass


def _served(draft: Draft, job: Job) -> bool:
    """Dequeue the job if it may have a slot now, or is a swap with nothing left to change."""
    if swap.has_none_left(draft, job):
        swap.go_on(draft, job, Phase.WAITING)
        return True
    slot = plan.choose(draft, job)
    if slot is None:
        return False
    draft.leave_queue(job)
    grant(draft, job, Phase.WAITING, slot.device)
    return True


def recovery(snapshot: Snapshot, event: ev.Event) -> ev.Event | None:
    """What to hand in after `handle` raised on `event`, so that no exception can hold a slot.

    A final report is lost: Failed stands in for it, and every holder's cell accepts that. After
    anything else the step still runs: RenderFailed answers the client, stops it, and waits. None: there
    is no holder to save (a submission is then answered by the scheduler itself).
    """
    job = snapshot.jobs.get(event.job_id) if isinstance(event, ev.EventOfJob) else None
    if job is None or job.phase not in HOLDING:
        return None
    match event:
        case ev.Failed() | ev.Stopped():
            return ev.Failed(job.id, errors.internal(), event.lost, at=event.at)
        case ev.Evicted():
            return ev.Failed(job.id, errors.internal(), not event.kept, at=event.at)
        case ev.Loaded():
            # What was kept is gone by now; what took its place must not be taken for it.
            kept = job.slot is not None and snapshot.slot(job.slot).resident is not None
            return ev.Failed(job.id, errors.internal(), kept, at=event.at)
        case ev.Finished():
            return ev.Failed(job.id, errors.internal(), at=event.at)
        case ev.Produced() | ev.OpenDue() | ev.Progressed() | ev.ClientGone() | ev.WaitExpired():
            return ev.RenderFailed(job.id, errors.internal(), at=event.at)
        case ev.RenderFailed():
            return None
        case ev.Submitted() | ev.Vanished() | ev.DrainBegan() | ev.DrainExpired():
            return None
        case _:
            assert_never(event)
