"""What the rows of the table share: grant a slot, issue the next step, complete, reject, stop."""

from __future__ import annotations

from aistack.chunks import Vram
from aistack.errors import Fault
from aistack.jobs import plan, swap
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import AbortStream, Cancel, CloseStream, Emit, Respond, SetTimer
from aistack.jobs.events import OpenDue
from aistack.jobs.model import Job, Outcome
from aistack.jobs.states import OutcomeKind, Phase, State, Step
from aistack.wire.base import StreamWire, refusal


def grant(draft: Draft, job: Job, source: Phase | None, device: str) -> None:
    """The job becomes the holder of a slot, and its first step is issued."""
    draft.set_slot(device, holder=job.id)
    job = evolve(plan.resolve(job, draft.selected), slot=device, since=draft.at)
    if job.granted is None:
        job = evolve(job, granted=draft.at)
    if isinstance(job.wire, StreamWire) and job.route.vram is Vram.OWN:
        # A relayed answer's status and headers are its upstream's: they cannot go out before it.
        draft.emit(SetTimer(job.id, OpenDue(job.id), draft.base.limits.open_after))
    advance(draft, job, source)


def advance(draft: Draft, job: Job, source: Phase | None, evicted: bool = False) -> None:
    """Issue the holder's next step, or finish it if it needs none."""
    slot = draft.slot_of(job)
    following = plan.next_step(job, slot, evicted)
    if following is None:
        complete(draft, job, source)
        return
    step, effect = following
    if step is Step.RUN:
        state = State.STREAMING if job.opened else State.RUNNING
        draft.move(job, source, state=state, step=step, ran=draft.at, progress=None)
    else:
        draft.move(job, source, step=step, progress=None)
    draft.emit(effect)


def complete(draft: Draft, job: Job, source: Phase | None) -> None:
    """A job that is done without a run. A SWAP goes on to the next slot with old weights."""
    if swap.is_swap(job):
        swap.go_on(draft, job, source)
    else:
        draft.end(job, source, Outcome(OutcomeKind.OK))


def reject(draft: Draft, job: Job, fault: Fault, kind: OutcomeKind = OutcomeKind.REJECTED) -> None:
    """A job that never got a slot."""
    source = job.phase if job.id in draft.jobs else None
    send_fault(draft, job, fault)
    draft.end(job, source, Outcome(kind, fault))


def stop(draft: Draft, job: Job, fault: Fault, kind: OutcomeKind) -> None:
    """Send the fault and stop the work; the slot stays held until the step reports."""
    send_fault(draft, job, fault)
    draft.emit(Cancel(job.id))
    draft.move(job, job.phase, state=State.CANCELLED, outcome=Outcome(kind, fault))


def send_fault(draft: Draft, job: Job, fault: Fault) -> None:
    """Send the fault to the client: a status before the first byte, in-band after it."""
    if job.detached:
        return
    if not job.opened:
        draft.emit(Respond(job.id, refusal(fault)))
        return
    try:
        frame, clean = job.stream.fault(fault)
    except Exception:  # noqa: BLE001 - a format that cannot even say so must not hold the slot
        frame, clean = None, False
    if frame is not None:
        draft.emit(Emit(job.id, frame))
    draft.emit(CloseStream(job.id) if clean else AbortStream(job.id))
