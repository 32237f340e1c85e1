"""THE TABLE: what every event does to a job in every phase.

Every cell is filled: a Row, or a Refusal with the sentence why it cannot happen. A row names the phases
that it may lead to, so that the picture in docs/internals/machine.md is drawn from this very table; the
machine asserts them. The theory is on that page. What rows share is in `moves.py`, what is particular
to a change of weights in `swap.py`; `plan.py` says which slot and which step. A submission stands apart
(`admission.py`), because its job is not in the book yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from aistack import errors
from aistack.jobs import events as ev
from aistack.jobs import swap
from aistack.jobs.busy import busy_fault
from aistack.jobs.changes import evolve
from aistack.jobs.draft import Draft
from aistack.jobs.effects import Cancel, CloseStream, Emit, OpenStream, Respond
from aistack.jobs.loads import note_failed_load, note_loaded, note_lost
from aistack.jobs.model import Job, Kept, Outcome
from aistack.jobs.moves import advance, reject, send_fault, stop
from aistack.jobs.states import OutcomeKind, Phase, State
from aistack.wire.base import StreamWire

W, P, R, S, C, D = Phase


@frozen
class Row:
    """What to do; `to` are the phases the job may be in afterwards."""

    do: Callable[[Draft, Job, Any], None]
    to: tuple[Phase, ...]

    @property
    def summary(self) -> str:
        return (self.do.__doc__ or "").strip().splitlines()[0]


@frozen
class Refusal:
    """Why this cannot happen. Meeting it is a bug of the runner or the scheduler."""

    because: str


# --- rows ---------------------------------------------------------------------------------------------


def nothing(draft: Draft, job: Job, event: object) -> None:
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
        draft.change(job, parts=Kept(event.chunk, job.parts))
        return
    head = wire.head(event.chunk)
    frame = wire.frame(event.chunk)
    draft.emit(OpenStream(job.id, head))
    if frame is not None:
        draft.emit(Emit(job.id, frame))
    draft.move(job, Phase.RUNNING, state=State.STREAMING, opened=True, first=draft.at)


def produced_next(draft: Draft, job: Job, event: ev.Produced) -> None:
    """Send the chunk."""
    wire = job.wire
    assert isinstance(wire, StreamWire)  # not `job.stream`: this is the row that runs most often
    frame = wire.frame(event.chunk)
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
        parts = job.parts.in_order() if job.parts is not None else ()
        draft.emit(Respond(job.id, job.whole.body(parts, event.result)))
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
    stop(draft, job, event.fault, OutcomeKind.FAILED)


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
    if swap.is_swap(job):
        swap.expire(draft, job)
    else:
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
    stop(draft, job, errors.shutting_down(), OutcomeKind.REVOKED)


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
