"""THE TABLE: what every event does to a job in every phase. Everything that decides a transition
is in this file; `plan.py` decides only the slot and the next step.

Every cell is filled: a Row, or a Refusal with the sentence why it cannot happen. A row names the
columns it may lead to, so that the picture in docs/internals is drawn from this very table; the
machine asserts them. SUBMITTED stands apart because its job is not in the book yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from aistack import errors
from aistack.chunks import Accepted, Vram
from aistack.errors import Code, ErrorKind, Fault
from aistack.jobs import events as ev
from aistack.jobs import plan
from aistack.jobs.busy import busy_fault
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import AbortStream, Cancel, CloseStream, Emit, OpenStream, Respond, SetTimer
from aistack.jobs.loads import note_failed_load, note_loaded, note_lost
from aistack.jobs.model import SELECTED, Job, Outcome
from aistack.jobs.states import HOUSEKEEPING, Mode, Op, OutcomeKind, Phase, State, Step
from aistack.wire.base import StreamWire, refusal

W, P, R, S, C, D = Phase


@frozen
class Row:
    """What to do; `to` are the columns the job may be in afterwards."""

    do: Callable[[Draft, Job, Any], None]
    to: tuple[Phase, ...]

    @property
    def summary(self) -> str:
        return (self.do.__doc__ or "").strip().splitlines()[0]


@frozen
class Refusal:
    """Why this cannot happen. Meeting it is a bug of the runner or the scheduler."""

    because: str


# --- what rows share --------------------------------------------------------------------------------


def send_fault(draft: Draft, job: Job, fault: Fault) -> None:
    """Say the fault to whoever waits: a status before the first byte, in-band after it."""
    if job.detached:
        return
    if not job.opened:
        draft.emit(Respond(job.id, refusal(fault)))
        return
    try:
        frame, clean = job.stream.fault(fault)
    except Exception:  # noqa: BLE001 - a wire that cannot even say so must not hold the slot
        frame, clean = None, False
    if frame is not None:
        draft.emit(Emit(job.id, frame))
    draft.emit(CloseStream(job.id) if clean else AbortStream(job.id))


def give_up(draft: Draft, job: Job, fault: Fault) -> None:
    """Tell the client and stop the work; the slot stays held until the step reports."""
    send_fault(draft, job, fault)
    draft.emit(Cancel(job.id))
    draft.move(job, job.phase, state=State.CANCELLED, outcome=Outcome(OutcomeKind.REVOKED, fault))


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
    if job.op is not Op.SWAP:
        draft.end(job, source, Outcome(OutcomeKind.OK))
        return
    if job.slot is not None:
        draft.release(job)
        job = draft.change(job, reached=(*job.reached, job.slot), slot=None, step=None)
    if not plan.unreached(draft, job):
        draft.set(selected=job.route.resident, selected_ok=True)
        draft.end(job, source, Outcome(OutcomeKind.OK))
        return
    if draft.mode is Mode.DRAINING:
        draft.end(job, source, Outcome(OutcomeKind.REVOKED, errors.shutting_down()))
        return
    job = draft.move(job, source, wait_no=job.wait_no + 1)
    draft.set(queue=(job.id, *draft.queue))
    draft.emit(SetTimer(job.id, ev.WaitExpired(job.id, job.wait_no), draft.base.limits.swap_drain))


def grant(draft: Draft, job: Job, source: Phase | None, device: str) -> None:
    """The job becomes the holder of a slot, and its first step is issued."""
    draft.set_slot(device, holder=job.id)
    job = evolve(plan.resolve(job, draft.selected), slot=device, since=draft.at)
    if job.granted is None:
        job = evolve(job, granted=draft.at)
    if isinstance(job.wire, StreamWire) and job.route.vram is Vram.OWN:
        # A relayed answer's status and headers are its upstream's: they cannot go out before it.
        draft.emit(SetTimer(job.id, ev.OpenDue(job.id), draft.base.limits.open_after))
    advance(draft, job, source)


def reject(draft: Draft, job: Job, fault: Fault, ended: OutcomeKind = OutcomeKind.REJECTED) -> None:
    """A job that never got a slot."""
    source = job.phase if job.id in draft.jobs else None
    send_fault(draft, job, fault)
    draft.end(job, source, Outcome(ended, fault))


# --- Submitted: the first that fits wins --------------------------------------------------------------


def submitted(draft: Draft, job: Job) -> None:
    """Admit the job: give it a slot, put it into the queue, or refuse it at once."""
    job = evolve(job, submitted=draft.at, since=draft.at)
    fault = inadmissible(draft, job)
    if fault is not None:
        reject(draft, job, fault)
        return
    if job.op is Op.SWAP:
        current = draft.selected.model if draft.selected is not None else job.route.model
        settled = job.route.resident == draft.selected and draft.selected_ok
        word = "ok" if settled else "accepted"
        if job.wire is not None:
            draft.emit(Respond(job.id, job.whole.body((), Accepted(word, current))))
        job = evolve(job, answered=True)
        if settled:
            draft.end(job, None, Outcome(OutcomeKind.OK))
            return
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
        return Fault(
            ErrorKind.NETWORK,
            Code.NOT_CONFIGURED,
            f"No slot is configured for {job.route.backend}.",
        )
    selects = job.route.model == SELECTED
    if selects and draft.selected is None:
        if plan.swap_in_book(draft) is not None:
            return errors.draining("The weights are being loaded. Try again in a few seconds.")
        return Fault(
            ErrorKind.NETWORK,
            Code.MODEL_LOAD_FAILED,
            "No weights are selected. Choose some with POST /models/swap.",
        )
    wanted = draft.selected if selects else job.route.resident
    broken = draft.base.cooling.get(wanted) if wanted is not None else None
    if broken is not None and broken.until > draft.at and job.op is not Op.UNLOAD:
        wait = max(1, round(broken.until - draft.at))
        return Fault(
            ErrorKind.NETWORK,
            Code.LOAD_COOLING_DOWN,
            f"{wanted.model if wanted else job.route.model} failed to load {broken.failures} times "
            f"in a row; the next try is allowed in {wait} seconds.",
            retry_after=wait,
        )
    if job.op is Op.SWAP and plan.swap_in_book(draft) is not None:
        return errors.draining("Another change of weights is under way. Try again in a few seconds.")
    return None


def enqueue(draft: Draft, job: Job) -> None:
    """No slot now: wait if the caller asked for it or the wait is short by nature, else refuse."""
    limits = draft.base.limits
    if job.op in HOUSEKEEPING:
        draft.end(job, None, Outcome(OutcomeKind.REJECTED))
        return
    if job.op is Op.SWAP:
        job = draft.move(job, None, wait_no=job.wait_no + 1)
        draft.set(queue=(job.id, *draft.queue))
        draft.emit(SetTimer(job.id, ev.WaitExpired(job.id, job.wait_no), limits.swap_drain))
        return
    if job.route.model == SELECTED and plan.swap_in_book(draft) is not None:
        reject(draft, job, errors.draining("The weights are being changed. Try again in a few seconds."))
        return
    brief = plan.only_housekeeping_holds(draft, job)
    room = plan.callers(draft.jobs[job_id] for job_id in draft.queue) < limits.max_queued
    if not room or not (job.max_wait_s > 0 or brief):
        reject(draft, job, busy_fault(draft.base, job.op, job.route.device, draft.at))
        return
    wait = max(job.max_wait_s, limits.housekeeping_wait if brief else 0.0)
    job = draft.move(job, None, wait_no=job.wait_no + 1)
    draft.set(queue=(*draft.queue, job.id))
    draft.emit(SetTimer(job.id, ev.WaitExpired(job.id, job.wait_no), wait))


# --- rows ---------------------------------------------------------------------------------------------


def nothing(draft: Draft, job: Job, event: Any) -> None:
    """Nothing: it no longer matters."""


def evicted(draft: Draft, job: Job, event: ev.Evicted) -> None:
    """The slot is empty, or its model kept; next step."""
    if not event.kept:
        draft.set_slot(draft.slot_of(job).device, resident=None)
    advance(draft, job, Phase.PREPARING, evicted=True)


def evicted_for_nobody(draft: Draft, job: Job, event: ev.Evicted) -> None:
    """The slot is empty, or its model kept; the job that wanted it has gone."""
    if not event.kept:
        draft.set_slot(draft.slot_of(job).device, resident=None)
    draft.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def loaded(draft: Draft, job: Job, event: ev.Loaded) -> None:
    """The model is resident; next step."""
    note_loaded(draft, job)
    advance(draft, job, Phase.PREPARING)


def loaded_for_nobody(draft: Draft, job: Job, event: ev.Loaded) -> None:
    """The model is resident and stays, for it is paid for; the job has gone."""
    note_loaded(draft, job)
    draft.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def progressed(draft: Draft, job: Job, event: ev.Progressed) -> None:
    """Remember how far it is."""
    draft.change(job, progress=event.progress)


def produced_first(draft: Draft, job: Job, event: ev.Produced) -> None:
    """Keep the chunk for the whole answer, or open the stream with it."""
    wire = job.wire
    if not isinstance(wire, StreamWire):
        draft.change(job, parts=(*job.parts, event.chunk))
        return
    head = wire.head(event.chunk)
    frame = wire.frame(event.chunk)
    draft.emit(OpenStream(job.id, head))
    if frame is not None:
        draft.emit(Emit(job.id, frame))
    draft.move(job, Phase.RUNNING, state=State.STREAMING, opened=True, first=draft.at)


def produced_next(draft: Draft, job: Job, event: ev.Produced) -> None:
    """Send the chunk."""
    frame = job.stream.frame(event.chunk)
    if frame is not None:
        draft.emit(Emit(job.id, frame))


def finished_running(draft: Draft, job: Job, event: ev.Finished) -> None:
    """Send the whole answer, or the whole of a stream that had nothing to show before."""
    wire = job.wire
    if isinstance(wire, StreamWire):
        head, tail = wire.head(None), wire.tail(event.result)
        draft.emit(OpenStream(job.id, head))
        if tail is not None:
            draft.emit(Emit(job.id, tail))
        draft.emit(CloseStream(job.id))
    else:
        draft.emit(Respond(job.id, job.whole.body(job.parts, event.result)))
    draft.end(evolve(job, first=draft.at, result=event.result), Phase.RUNNING, Outcome(OutcomeKind.OK))


def finished_streaming(draft: Draft, job: Job, event: ev.Finished) -> None:
    """Send the last piece and close."""
    tail = job.stream.tail(event.result)
    if tail is not None:
        draft.emit(Emit(job.id, tail))
    draft.emit(CloseStream(job.id))
    draft.end(evolve(job, result=event.result), Phase.STREAMING, Outcome(OutcomeKind.OK))


def finished_for_nobody(draft: Draft, job: Job, event: ev.Finished) -> None:
    """The answer came too late."""
    draft.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def failed(draft: Draft, job: Job, event: ev.Failed) -> None:
    """Tell the client; the slot is free."""
    source = job.phase
    note_lost(draft, job, event.lost)
    note_failed_load(draft, job, event.fault)
    send_fault(draft, job, event.fault)
    draft.end(job, source, Outcome(OutcomeKind.FAILED, event.fault))


def failed_for_nobody(draft: Draft, job: Job, event: ev.Failed) -> None:
    """Logged; the slot is free."""
    note_lost(draft, job, event.lost)
    note_failed_load(draft, job, event.fault)
    draft.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED, event.fault))


def stopped(draft: Draft, job: Job, event: ev.Stopped) -> None:
    """The work has really ended; the slot is free."""
    note_lost(draft, job, event.lost)
    draft.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def render_failed(draft: Draft, job: Job, event: ev.RenderFailed) -> None:
    """Tell the client, stop the work, hold the slot until it has stopped."""
    send_fault(draft, job, event.fault)
    draft.emit(Cancel(job.id))
    draft.move(job, job.phase, state=State.CANCELLED, outcome=Outcome(OutcomeKind.FAILED, event.fault))


def gone_waiting(draft: Draft, job: Job, event: ev.ClientGone) -> None:
    """Leave the queue (a detached job stays: nobody listens to it anyway)."""
    if not job.detached:
        draft.end(job, Phase.WAITING, Outcome(OutcomeKind.CANCELLED))


def gone(draft: Draft, job: Job, event: ev.ClientGone) -> None:
    """Stop the work, hold the slot until it has stopped (a detached job stays)."""
    if not job.detached:
        draft.emit(Cancel(job.id))
        draft.move(job, job.phase, state=State.CANCELLED)


def wait_expired(draft: Draft, job: Job, event: ev.WaitExpired) -> None:
    """Refuse the caller, or fail the swap: its drain took too long."""
    if event.wait_no != job.wait_no:
        return
    if job.op is Op.SWAP:
        late = errors.draining("The running work did not end in time; the weights were not changed.")
        reject(draft, job, late, OutcomeKind.FAILED)
        return
    reject(draft, job, busy_fault(draft.base, job.op, job.route.device, draft.at))


def open_preparing(draft: Draft, job: Job, event: ev.OpenDue) -> None:
    """Send the headers now; the run will start as STREAMING."""
    draft.emit(OpenStream(job.id, job.stream.head(None)))
    draft.change(job, opened=True, first=draft.at)


def open_running(draft: Draft, job: Job, event: ev.OpenDue) -> None:
    """Send the headers now."""
    draft.emit(OpenStream(job.id, job.stream.head(None)))
    draft.move(job, Phase.RUNNING, state=State.STREAMING, opened=True, first=draft.at)


def drain_waiting(draft: Draft, job: Job, event: ev.DrainBegan) -> None:
    """Revoked: the service is stopping."""
    reject(draft, job, errors.shutting_down(), OutcomeKind.REVOKED)


def drain_expired(draft: Draft, job: Job, event: ev.DrainExpired) -> None:
    """Tell the client, stop the work."""
    give_up(draft, job, errors.shutting_down())


_QUEUED_STEP = Refusal("a queued job has no step")
_PREPARED = Refusal("preparation is over before a job runs")
_NOT_READY = Refusal("nothing runs before its model is ready")
_NOT_CANCELLED = Refusal("a step is told to stop only after its job was cancelled")
_REPORTED = Refusal("its one step had already reported")
_EMPTIED = Refusal("the queue was emptied when the drain began")
_NOTHING_SENT = Refusal("a queued job has nothing that could fail to render")

Cell = Row | Refusal

SUBMITTED_TO = (W, P, R, D)
"""Where a submission may lead."""

TABLE: Mapping[Phase, Mapping[type, Cell]] = {
    W: {
        ev.Evicted: _QUEUED_STEP,
        ev.Loaded: _QUEUED_STEP,
        ev.Progressed: _QUEUED_STEP,
        ev.Produced: _QUEUED_STEP,
        ev.Finished: _QUEUED_STEP,
        ev.Failed: _QUEUED_STEP,
        ev.Stopped: _QUEUED_STEP,
        ev.RenderFailed: _NOTHING_SENT,
        ev.ClientGone: Row(gone_waiting, (W, D)),
        ev.WaitExpired: Row(wait_expired, (W, D)),
        ev.OpenDue: Row(nothing, (W,)),
        ev.DrainBegan: Row(drain_waiting, (D,)),
        ev.DrainExpired: _EMPTIED,
    },
    P: {
        ev.Evicted: Row(evicted, (P, R, D)),
        ev.Loaded: Row(loaded, (R, S, W, D)),
        ev.Progressed: Row(progressed, (P,)),
        ev.Produced: _NOT_READY,
        ev.Finished: _NOT_READY,
        ev.Failed: Row(failed, (D,)),
        ev.Stopped: _NOT_CANCELLED,
        ev.RenderFailed: Row(render_failed, (C,)),
        ev.ClientGone: Row(gone, (P, C)),
        ev.WaitExpired: Row(nothing, (P,)),
        ev.OpenDue: Row(open_preparing, (P,)),
        ev.DrainBegan: Row(nothing, (P,)),
        ev.DrainExpired: Row(drain_expired, (C,)),
    },
    R: {
        ev.Evicted: _PREPARED,
        ev.Loaded: _PREPARED,
        ev.Progressed: Row(progressed, (R,)),
        ev.Produced: Row(produced_first, (R, S)),
        ev.Finished: Row(finished_running, (D,)),
        ev.Failed: Row(failed, (D,)),
        ev.Stopped: _NOT_CANCELLED,
        ev.RenderFailed: Row(render_failed, (C,)),
        ev.ClientGone: Row(gone, (C,)),
        ev.WaitExpired: Row(nothing, (R,)),
        ev.OpenDue: Row(open_running, (S,)),
        ev.DrainBegan: Row(nothing, (R,)),
        ev.DrainExpired: Row(drain_expired, (C,)),
    },
    S: {
        ev.Evicted: _PREPARED,
        ev.Loaded: _PREPARED,
        ev.Progressed: Row(progressed, (S,)),
        ev.Produced: Row(produced_next, (S,)),
        ev.Finished: Row(finished_streaming, (D,)),
        ev.Failed: Row(failed, (D,)),
        ev.Stopped: _NOT_CANCELLED,
        ev.RenderFailed: Row(render_failed, (C,)),
        ev.ClientGone: Row(gone, (C,)),
        ev.WaitExpired: Row(nothing, (S,)),
        ev.OpenDue: Row(nothing, (S,)),
        ev.DrainBegan: Row(nothing, (S,)),
        ev.DrainExpired: Row(drain_expired, (C,)),
    },
    C: {
        ev.Evicted: Row(evicted_for_nobody, (D,)),
        ev.Loaded: Row(loaded_for_nobody, (D,)),
        ev.Progressed: Row(nothing, (C,)),
        ev.Produced: Row(nothing, (C,)),
        ev.Finished: Row(finished_for_nobody, (D,)),
        ev.Failed: Row(failed_for_nobody, (D,)),
        ev.Stopped: Row(stopped, (D,)),
        ev.RenderFailed: Row(nothing, (C,)),
        ev.ClientGone: Row(nothing, (C,)),
        ev.WaitExpired: Row(nothing, (C,)),
        ev.OpenDue: Row(nothing, (C,)),
        ev.DrainBegan: Row(nothing, (C,)),
        ev.DrainExpired: Row(nothing, (C,)),
    },
    D: {
        ev.Evicted: _REPORTED,
        ev.Loaded: _REPORTED,
        ev.Progressed: _REPORTED,
        ev.Produced: _REPORTED,
        ev.Finished: _REPORTED,
        ev.Failed: _REPORTED,
        ev.Stopped: _REPORTED,
        ev.RenderFailed: _REPORTED,
        ev.ClientGone: Row(nothing, (D,)),
        ev.WaitExpired: Row(nothing, (D,)),
        ev.OpenDue: Row(nothing, (D,)),
        ev.DrainBegan: Row(nothing, (D,)),
        ev.DrainExpired: Row(nothing, (D,)),
    },
}
