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
from aistack.errors import Code, Fault
from aistack.jobs import events as ev
from aistack.jobs import plan
from aistack.jobs.busy import busy_fault
from aistack.jobs.draft import Draft
from aistack.jobs.effects import AbortStream, Cancel, CloseStream, Emit, OpenStream, Respond, SetTimer
from aistack.jobs.loads import note_failed_load, note_loaded, note_lost
from aistack.jobs.model import SELECTED, Job, Kept, Outcome, evolve
from aistack.jobs.states import HOUSEKEEPING, Mode, Op, OutcomeKind, Phase, State, Step
from aistack.wire.base import refusal

W, P, R, S, C, D = Phase


@frozen
class Row:
    """What to do; `to` are the columns the job may be in afterwards."""

    do: Callable[[Draft, Job, Any], None]
    to: tuple[Phase, ...]

    @property
    def says(self) -> str:
        return (self.do.__doc__ or "").strip().splitlines()[0]


@frozen
class Refusal:
    """Why this cannot happen. Meeting it is a bug of the runner or the scheduler."""

    because: str


# --- what rows share --------------------------------------------------------------------------------


def tell(d: Draft, job: Job, fault: Fault) -> None:
    """Say the fault to whoever waits: a status before the first byte, in-band after it."""
    if job.detached:
        return
    if not job.opened:
        d.say(Respond(job.id, refusal(fault)))
        return
    try:
        frame, clean = job.wire.fault(fault)
    except Exception:  # noqa: BLE001 - a wire that cannot even say so must not hold the slot
        frame, clean = None, False
    if frame is not None:
        d.say(Emit(job.id, frame))
    d.say(CloseStream(job.id) if clean else AbortStream(job.id))


def give_up(d: Draft, job: Job, fault: Fault) -> None:
    """Tell the client and stop the work; the slot stays held until the step reports."""
    tell(d, job, fault)
    d.say(Cancel(job.id))
    d.move(job, job.phase, state=State.CANCELLED, outcome=Outcome(OutcomeKind.REVOKED, fault))


def advance(d: Draft, job: Job, source: Phase | None, evicted: bool = False) -> None:
    """Issue the holder's next step, or finish it if it needs none."""
    slot = d.slot_of(job)
    following = plan.next_step(job, slot, evicted)
    if following is None:
        complete(d, job, source)
        return
    step, effect = following
    if step is Step.RUN:
        state = State.STREAMING if job.opened else State.RUNNING
        d.move(job, source, state=state, step=step, ran=d.at, progress=None)
    else:
        d.move(job, source, step=step, progress=None)
    d.say(effect)


def complete(d: Draft, job: Job, source: Phase | None) -> None:
    """A job that is done without a run. A SWAP goes on to the next slot with old weights."""
    if job.op is not Op.SWAP:
        d.end(job, source, Outcome(OutcomeKind.OK))
        return
    if job.slot is not None:
        d.release(job)
        job = d.change(job, reached=(*job.reached, job.slot), slot=None, step=None)
    if not plan.unreached(d, job):
        d.set(selected=job.route.resident, selected_ok=True)
        d.end(job, source, Outcome(OutcomeKind.OK))
        return
    if d.mode is Mode.DRAINING:
        d.end(job, source, Outcome(OutcomeKind.REVOKED, errors.shutting_down()))
        return
    job = d.move(job, source, turn=job.turn + 1)
    d.set(line=(job.id, *d.line))
    d.say(SetTimer(job.id, ev.WaitExpired(job.id, job.turn), d.base.limits.swap_drain))


def grant(d: Draft, job: Job, source: Phase | None, device: str) -> None:
    """The job becomes the holder of a slot, and its first step is issued."""
    d.set_slot(device, holder=job.id)
    job = evolve(plan.resolve(job, d.selected), slot=device, since=d.at)
    if job.granted is None:
        job = evolve(job, granted=d.at)
    if job.streams and job.route.vram is Vram.OWN:
        # A relayed answer's status and headers are its upstream's: they cannot go out before it.
        d.say(SetTimer(job.id, ev.OpenDue(job.id), d.base.limits.open_after))
    advance(d, job, source)


def reject(d: Draft, job: Job, fault: Fault, ended: OutcomeKind = OutcomeKind.REJECTED) -> None:
    """A job that never got a slot."""
    source = job.phase if job.id in d.jobs else None
    tell(d, job, fault)
    d.end(job, source, Outcome(ended, fault))


# --- Submitted: the first that fits wins --------------------------------------------------------------


def submitted(d: Draft, job: Job) -> None:
    """Admit the job: give it a slot, put it into the line, or refuse it at once."""
    job = evolve(job, submitted=d.at, since=d.at)
    fault = inadmissible(d, job)
    if fault is not None:
        reject(d, job, fault)
        return
    if job.op is Op.SWAP:
        current = d.selected.model if d.selected is not None else job.route.model
        settled = job.route.resident == d.selected and d.selected_ok
        word = "ok" if settled else "accepted"
        d.say(Respond(job.id, job.wire.body((), Accepted(word, current))))
        job = evolve(job, answered=True)
        if settled:
            d.end(job, None, Outcome(OutcomeKind.OK))
            return
    if not job.detached:
        job = evolve(job, streams=job.wire.streams)
    slot = plan.choose(d, job)
    if slot is not None:
        grant(d, job, None, slot.device)
        return
    stand_in_line(d, job)


def inadmissible(d: Draft, job: Job) -> Fault | None:
    """Why the job can be refused without looking at who holds what."""
    if d.mode is Mode.DRAINING:
        return errors.shutting_down()
    if not any(plan.fits(job, slot) for slot in d.slots):
        return Fault(
            Code.NOT_CONFIGURED,
            f"No slot is configured for {job.route.backend}.",
        )
    selects = job.route.model == SELECTED
    if selects and d.selected is None:
        if plan.swap_in_book(d) is not None:
            return errors.draining("The weights are being loaded. Retry in a few seconds.")
        return Fault(
            Code.MODEL_LOAD_FAILED,
            "No weights are selected. Select them with POST /models/swap.",
        )
    wanted = d.selected if selects else job.route.resident
    broken = d.base.cooling.get(wanted) if wanted is not None else None
    if broken is not None and broken.until > d.at and job.op is not Op.UNLOAD:
        wait = max(1, round(broken.until - d.at))
        model = wanted.model if wanted else job.route.model
        return errors.cooling_down(model, broken.failures, wait)
    if job.op is Op.SWAP and plan.swap_in_book(d) is not None:
        return errors.draining("Another weight swap is in progress. Retry in a few seconds.")
    return None


def stand_in_line(d: Draft, job: Job) -> None:
    """No slot now: wait if the caller asked for it or the wait is short by nature, else refuse."""
    limits = d.base.limits
    if job.op in HOUSEKEEPING:
        d.end(job, None, Outcome(OutcomeKind.REJECTED))
        return
    if job.op is Op.SWAP:
        job = d.move(job, None, turn=job.turn + 1)
        d.set(line=(job.id, *d.line))
        d.say(SetTimer(job.id, ev.WaitExpired(job.id, job.turn), limits.swap_drain))
        return
    if job.route.model == SELECTED and plan.swap_in_book(d) is not None:
        reject(d, job, errors.draining())
        return
    brief = plan.only_housekeeping_holds(d, job)
    room = plan.callers(d.jobs[job_id] for job_id in d.line) < limits.line_max
    if not room or not (job.patience > 0 or brief):
        reject(d, job, busy_fault(d, job))
        return
    wait = max(job.patience, limits.housekeeping_wait if brief else 0.0)
    job = d.move(job, None, turn=job.turn + 1)
    d.set(line=(*d.line, job.id))
    d.say(SetTimer(job.id, ev.WaitExpired(job.id, job.turn), wait))


# --- rows ---------------------------------------------------------------------------------------------


def nothing(d: Draft, job: Job, e: Any) -> None:
    """Nothing: it no longer matters."""


def evicted(d: Draft, job: Job, e: ev.Evicted) -> None:
    """The slot is empty, or its model spared; next step."""
    if not e.spared:
        d.set_slot(d.slot_of(job).device, resident=None)
    advance(d, job, Phase.PREPARING, evicted=True)


def evicted_for_nobody(d: Draft, job: Job, e: ev.Evicted) -> None:
    """The slot is empty, or its model spared; the job that wanted it has gone."""
    if not e.spared:
        d.set_slot(d.slot_of(job).device, resident=None)
    d.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def loaded(d: Draft, job: Job, e: ev.Loaded) -> None:
    """The model is resident; next step."""
    note_loaded(d, job)
    advance(d, job, Phase.PREPARING)


def loaded_for_nobody(d: Draft, job: Job, e: ev.Loaded) -> None:
    """The model is resident and stays, for it is paid for; the job has gone."""
    note_loaded(d, job)
    d.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def progressed(d: Draft, job: Job, e: ev.Progressed) -> None:
    """Remember how far it is."""
    d.change(job, progress=e.progress)


def produced_first(d: Draft, job: Job, e: ev.Produced) -> None:
    """Keep the chunk for the whole answer, or open the stream with it."""
    if not job.streams:
        d.change(job, parts=Kept(e.chunk, job.parts))
        return
    head = job.wire.head(e.chunk)
    frame = job.wire.frame(e.chunk)
    d.say(OpenStream(job.id, head))
    if frame is not None:
        d.say(Emit(job.id, frame))
    d.move(job, Phase.RUNNING, state=State.STREAMING, opened=True, first=d.at)


def produced_next(d: Draft, job: Job, e: ev.Produced) -> None:
    """Send the chunk."""
    frame = job.wire.frame(e.chunk)
    if frame is not None:
        d.say(Emit(job.id, frame))


def finished_running(d: Draft, job: Job, e: ev.Finished) -> None:
    """Send the whole answer, or the whole of a stream that had nothing to show before."""
    if job.streams:
        head, tail = job.wire.head(None), job.wire.tail(e.result)
        d.say(OpenStream(job.id, head))
        if tail is not None:
            d.say(Emit(job.id, tail))
        d.say(CloseStream(job.id))
    else:
        parts = job.parts.in_order() if job.parts is not None else ()
        d.say(Respond(job.id, job.wire.body(parts, e.result)))
    d.end(evolve(job, first=d.at, result=e.result), Phase.RUNNING, Outcome(OutcomeKind.OK))


def finished_streaming(d: Draft, job: Job, e: ev.Finished) -> None:
    """Send the last piece and close."""
    tail = job.wire.tail(e.result)
    if tail is not None:
        d.say(Emit(job.id, tail))
    d.say(CloseStream(job.id))
    d.end(evolve(job, result=e.result), Phase.STREAMING, Outcome(OutcomeKind.OK))


def finished_for_nobody(d: Draft, job: Job, e: ev.Finished) -> None:
    """The answer came too late."""
    d.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def failed(d: Draft, job: Job, e: ev.Failed) -> None:
    """Tell the client; the slot is free."""
    source = job.phase
    note_lost(d, job, e.lost)
    note_failed_load(d, job, e.fault)
    tell(d, job, e.fault)
    d.end(job, source, Outcome(OutcomeKind.FAILED, e.fault))


def failed_for_nobody(d: Draft, job: Job, e: ev.Failed) -> None:
    """Logged; the slot is free."""
    note_lost(d, job, e.lost)
    note_failed_load(d, job, e.fault)
    d.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED, e.fault))


def stopped(d: Draft, job: Job, e: ev.Stopped) -> None:
    """The work has really ended; the slot is free."""
    note_lost(d, job, e.lost)
    d.end(job, Phase.CANCELLED, job.outcome or Outcome(OutcomeKind.CANCELLED))


def render_failed(d: Draft, job: Job, e: ev.RenderFailed) -> None:
    """Tell the client, stop the work, hold the slot until it has stopped."""
    tell(d, job, e.fault)
    d.say(Cancel(job.id))
    d.move(job, job.phase, state=State.CANCELLED, outcome=Outcome(OutcomeKind.FAILED, e.fault))


def gone_waiting(d: Draft, job: Job, e: ev.ClientGone) -> None:
    """Leave the line (a detached job stays: nobody listens to it anyway)."""
    if not job.detached:
        d.end(job, Phase.WAITING, Outcome(OutcomeKind.CANCELLED))


def gone(d: Draft, job: Job, e: ev.ClientGone) -> None:
    """Stop the work, hold the slot until it has stopped (a detached job stays)."""
    if not job.detached:
        d.say(Cancel(job.id))
        d.move(job, job.phase, state=State.CANCELLED)


def wait_expired(d: Draft, job: Job, e: ev.WaitExpired) -> None:
    """Refuse the caller, or fail the swap: its drain took too long."""
    if e.turn != job.turn:
        return
    if job.op is Op.SWAP:
        late = errors.draining("The running requests did not end in time: no weights were changed.")
        reject(d, job, late, OutcomeKind.FAILED)
        return
    reject(d, job, busy_fault(d, job))


def open_preparing(d: Draft, job: Job, e: ev.OpenDue) -> None:
    """Send the headers now; the run will start as STREAMING."""
    d.say(OpenStream(job.id, job.wire.head(None)))
    d.change(job, opened=True, first=d.at)


def open_running(d: Draft, job: Job, e: ev.OpenDue) -> None:
    """Send the headers now."""
    d.say(OpenStream(job.id, job.wire.head(None)))
    d.move(job, Phase.RUNNING, state=State.STREAMING, opened=True, first=d.at)


def drain_waiting(d: Draft, job: Job, e: ev.DrainBegan) -> None:
    """Revoked: the service is stopping."""
    reject(d, job, errors.shutting_down(), OutcomeKind.REVOKED)


def drain_expired(d: Draft, job: Job, e: ev.DrainExpired) -> None:
    """Tell the client, stop the work."""
    give_up(d, job, errors.shutting_down())


_STEP_IN_LINE = Refusal("a job in line has no step")
_PREPARED = Refusal("preparation is over before a job runs")
_NOT_READY = Refusal("nothing runs before its model is ready")
_NOT_CANCELLED = Refusal("a step is told to stop only after its job was cancelled")
_REPORTED = Refusal("its one step had already reported")
_EMPTIED = Refusal("the line was emptied when the drain began")
_NOTHING_SENT = Refusal("a job in line has nothing that could spoil")

Cell = Row | Refusal

SUBMITTED_TO = (W, P, R, D)
"""Where a submission may lead."""

TABLE: Mapping[Phase, Mapping[type, Cell]] = {
    W: {
        ev.Evicted: _STEP_IN_LINE,
        ev.Loaded: _STEP_IN_LINE,
        ev.Progressed: _STEP_IN_LINE,
        ev.Produced: _STEP_IN_LINE,
        ev.Finished: _STEP_IN_LINE,
        ev.Failed: _STEP_IN_LINE,
        ev.Stopped: _STEP_IN_LINE,
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
