"""The laws of the machine, stated over the modelled world and not over the machine's own rules.

Each is one plain assertion; what a job may take is worded here a second time, from the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aistack.chunks import Vram
from aistack.jobs import Job, Mode, Op, OutcomeKind, Phase, Reaction, Slot, Snapshot
from aistack.jobs import effects as do
from aistack.jobs import events as ev
from aistack.jobs.states import HOLDING, Step
from aistack.wire.base import StreamWire
from tests.unit.jobs.build import FakeStream

if TYPE_CHECKING:
    from tests.unit.jobs.world import World

_STEP = {do.Evict: Step.EVICT, do.Load: Step.LOAD, do.Run: Step.RUN}
FINAL = ("whole", "closed", "aborted")


# --- after every event -----------------------------------------------------------------------------


def check(world: World) -> None:
    """The laws that hold in every state."""
    snapshot = world.snapshot
    jobs = snapshot.jobs
    holders = {slot.holder: slot for slot in snapshot.slots if slot.holder is not None}
    assert len(holders) == sum(slot.holder is not None for slot in snapshot.slots), "one job, two slots"
    assert len(set(snapshot.queue)) == len(snapshot.queue), "twice in the queue"
    assert set(holders).isdisjoint(snapshot.queue), "holds a slot and is queued"
    assert {*holders, *snapshot.queue} == set(jobs), "neither holds a slot nor is queued"
    assert set(world.steps) == set(holders), "exactly one step is outstanding per holder"
    swaps = [job for job in jobs.values() if job.op is Op.SWAP]
    assert len(swaps) <= 1, "two swaps in the book"
    callers = sum(jobs[job_id].op is not Op.SWAP for job_id in snapshot.queue)
    assert callers <= snapshot.limits.max_queued, "the queue is longer than its bound"
    if snapshot.mode is Mode.DRAINING:
        assert not snapshot.queue, "a job is queued in a service that is stopping"
    for job in jobs.values():
        check_job(world, job, holders.get(job.id))
    for slot in snapshot.slots:
        check_memory(world, slot)
    for job_id in snapshot.queue:
        for slot in snapshot.slots:
            assert not may_take(snapshot, jobs[job_id], slot), f"{job_id} waits beside {slot.device}"
    if world.idle:
        assert not jobs, "deadlock: nothing will ever happen, and the book is not empty"


def check_job(world: World, job: Job, slot: Slot | None) -> None:
    """One job of the book."""
    if slot is None:
        assert job.phase is Phase.WAITING and job.step is None, "queued, with a step"
        assert ("WaitExpired", job.id, job.wait_no) in world.timers, "waits without end"
        return
    assert job.slot == slot.device and job.phase in HOLDING, "its slot does not know it"
    step = world.steps[job.id]
    assert job.step is _STEP[type(step)] and step.device == slot.device, "another step than it thinks"
    assert (job.phase in (Phase.RUNNING, Phase.STREAMING)) <= (job.step is Step.RUN)
    assert (job.phase is Phase.PREPARING) <= (job.step in (Step.EVICT, Step.LOAD))
    if job.phase is Phase.CANCELLED:
        assert job.id in world.cancels, "cancelled, but its step was not told"
        return
    assert job.id not in world.cancels, "told to stop, but goes on"
    assert job.detached or job.id not in world.left, "works for a client that has gone"
    if job.step is Step.RUN:
        if job.route.vram is Vram.OWN:
            assert slot.resident == job.route.resident, "runs without its model"
        if job.route.vram is Vram.EXTERNAL:
            assert slot.resident is None, "runs beside a model of ours"
    if world.selects(job.id):
        assert job.route.resident == world.snapshot.selected, "old weights after a finished swap"
    seen = world.clients[job.id]
    assert job.opened == (seen == "open"), "opened is not what the client sees"
    assert (job.phase is Phase.STREAMING) <= job.opened
    early = isinstance(job.wire, StreamWire) and job.route.vram is Vram.OWN and not job.detached
    if early and not job.opened:
        assert ("OpenDue", job.id, 0) in world.timers, "a stream that may never open"


def check_memory(world: World, slot: Slot) -> None:
    """`resident` is what our processes hold, or its engine's death is about to be told."""
    truth = world.ours[slot.device]
    if slot.resident == truth:
        return
    step = next((step for step in world.steps.values() if step.device == slot.device), None)
    told_by_step = isinstance(step, do.Evict) or (
        isinstance(step, do.Run) and slot.resident == step.route.resident
    )
    assert truth is None and (slot.device in world.vanished or told_by_step), (
        f"{slot.device}: {slot.resident} in the book, {truth} in memory"
    )


def stale(snapshot: Snapshot, slot: Slot) -> bool:
    """Whether a swap still has to visit the slot: old weights sit there, or are on their way."""
    if snapshot.selected is None:
        return False
    holder = snapshot.jobs[slot.holder] if slot.holder is not None else None
    on_their_way = (
        holder is not None
        and holder.op is not Op.SWAP
        and holder.phase in (Phase.PREPARING, Phase.CANCELLED)
        and holder.route.vram is Vram.OWN
        and holder.route.resident == snapshot.selected
    )
    return slot.resident == snapshot.selected or on_their_way


def may_take(snapshot: Snapshot, job: Job, slot: Slot) -> bool:
    """Section 5.2: free, fits the route, and what a swap in the book adds to that."""
    if slot.holder is not None or job.route.device not in (None, slot.device):
        return False
    if job.op is Op.SWAP:
        if job.route.resident == snapshot.selected:
            return True
        fitting = [s for s in snapshot.slots if job.route.device in (None, s.device)]
        old = any(stale(snapshot, s) for s in fitting)
        return stale(snapshot, slot) if old else True
    swapping = any(other.op is Op.SWAP for other in snapshot.jobs.values())
    if job.op is Op.GENERATE and swapping:
        return slot.resident == snapshot.selected
    return True


# --- about single effects --------------------------------------------------------------------------


def check_step(world: World, effect: do.Evict | do.Load | do.Run) -> None:
    """A step may be asked for: of a holder, on its card, one at a time, in memory that allows it."""
    snapshot = world.snapshot
    job = snapshot.jobs[effect.job_id]
    event, reported = world.after
    assert job.slot == effect.device, "a step on a card it does not hold"
    assert all(step.device != effect.device for step in world.steps.values()), "two steps on one card"
    assert job.detached or job.id not in world.left, "a grant to a client that has gone"
    submitted = isinstance(event, ev.Submitted) and event.job.id == job.id
    assert not (submitted and world.draining), "a new job starts while draining"
    truth = world.ours[effect.device]
    match effect:
        case do.Evict(everything=everything, side_by_side=side_by_side):
            assert side_by_side is None or (job.op is Op.SWAP and side_by_side == job.route.resident)
            alone = job.route.vram is Vram.EXTERNAL or job.op is Op.UNLOAD
            assert everything == (not alone), "evicts too much or too little"
            if job.op is Op.UNLOAD:
                assert truth in (None, job.route.resident), "unloads what it does not name"
        case do.Load(resident=resident):
            assert resident == job.route.resident, "loads another model"
            kept = isinstance(event, ev.Evicted) and event.kept
            assert truth is None or kept, "loads on top of a model of ours"
            assert effect.side_by_side == (snapshot.slot(effect.device).resident is not None)
            assert isinstance(reported, do.Evict) and reported.everything, "loads beside foreign memory"
            assert effect.device not in world.foreign, "loads beside foreign memory"
        case do.Run(route=route, request=request):
            assert job.op not in (Op.SWAP, Op.LOAD, Op.UNLOAD), "housekeeping does not run"
            assert route == job.route and request == world.originals[job.id].request
            if route.vram is Vram.EXTERNAL:
                assert truth is None, "runs beside a model of ours"


def check_timer(world: World, event: Any, seconds: float) -> None:
    """A timer belongs to a job of the book and is as long as the settings say."""
    limits = world.snapshot.limits
    job = world.snapshot.jobs[event.job_id]
    if isinstance(event, ev.OpenDue):
        assert seconds == limits.open_after
        return
    if job.op is Op.SWAP:
        assert seconds == limits.swap_drain
    else:
        assert seconds in (job.max_wait_s, max(job.max_wait_s, limits.housekeeping_wait)), (
            "waits too long"
        )
        assert seconds > 0


def next_view(world: World, effect: do.Effect) -> str:
    """What the client has seen after an answer effect; asserts that it may still see anything."""
    job_id = effect.job_id
    seen = world.clients[job_id]
    original = world.originals[job_id]
    assert job_id not in world.left, f"{effect} to a client that has gone"
    assert job_id not in world.cancels, f"{effect} after Cancel"
    assert original.op not in (Op.LOAD, Op.UNLOAD), "housekeeping has no reader"
    match effect:
        case do.Respond(answer=answer):
            assert seen == "waiting", f"Respond to a client that has seen {seen}"
            if original.op is Op.SWAP:
                assert isinstance(world.after[0], ev.Submitted), "a second answer to a swap"
            return f"whole {answer.status}"
        case do.OpenStream():
            assert isinstance(original.wire, StreamWire), "a stream nobody asked for"
            assert seen == "waiting", f"OpenStream to a client that has seen {seen}"
            return "open"
        case do.Emit():
            assert seen == "open", f"Emit to a client that has seen {seen}"
            return seen
        case do.CloseStream():
            assert seen == "open", f"CloseStream to a client that has seen {seen}"
            return "closed"
        case do.AbortStream():
            assert seen == "open", f"AbortStream to a client that has seen {seen}"
            return "aborted"
        case _:
            raise AssertionError(effect)


def check_ending(world: World, job_id: str, outcome: Any) -> None:
    """At Discard: the outcome is what the client was told."""
    original = world.originals[job_id]
    seen = world.clients[job_id]
    assert outcome is not None, "over without an outcome"
    if original.op in (Op.LOAD, Op.UNLOAD):
        return
    if original.op is Op.SWAP:
        accepted = seen == "whole 202" or original.wire is None
        assert accepted or outcome.kind is OutcomeKind.REJECTED, "a swap that was not answered"
        return
    if job_id in world.left:
        return
    assert seen.split()[0] in FINAL, f"over, and the client has seen {seen}"
    assert outcome.kind is not OutcomeKind.CANCELLED, "cancelled, but nobody left"
    if outcome.kind is OutcomeKind.OK:
        assert seen in ("whole 200", "closed"), f"ok, but the client saw {seen}"
    else:
        assert outcome.fault is not None
        wire = original.wire
        in_band = isinstance(wire, FakeStream) and seen == ("closed" if wire.clean else "aborted")
        assert in_band or seen == f"whole {outcome.fault.status}", (
            f"{outcome}, but the client saw {seen}"
        )


def check_transitions(before: Snapshot, reaction: Reaction) -> None:
    """The log tells every change of column, without a gap."""
    phase = {job_id: job.phase for job_id, job in before.jobs.items()}
    for t in reaction.transitions:
        assert t.source is phase.get(t.job.id), "a transition from a phase the job was not in"
        assert t.target is t.job.phase
        phase[t.job.id] = t.target
        assert (t.job.outcome is not None) or t.target is not Phase.DONE
    after = {job_id: job.phase for job_id, job in reaction.snapshot.jobs.items()}
    over = {job_id for job_id, where in phase.items() if where is Phase.DONE}
    assert {job_id: where for job_id, where in phase.items() if job_id not in over} == after
    ends = [e.job_id for e in reaction.effects if isinstance(e, do.Discard)]
    assert sorted(ends) == sorted(over), "Discard comes exactly once, with DONE"


def arrows(before: Snapshot, event: ev.Event, reaction: Reaction) -> set[tuple[Any, str, Phase]]:
    """Where the event's own row led each job it was about: its first transition, or nowhere else."""
    name = type(event).__name__
    first: dict[str, tuple[Any, Phase]] = {}
    for t in reaction.transitions:
        first.setdefault(t.job.id, (t.source, t.target))
    match event:
        case ev.Submitted(job=job):
            about = [job.id]
        case ev.DrainBegan() | ev.DrainExpired():
            about = list(before.jobs)
        case ev.Vanished():
            about = []
        case _:
            about = [event.job_id]
    stay = {job_id: (before.jobs[job_id].phase,) * 2 for job_id in about if job_id in before.jobs}
    return {(source, name, target) for source, target in ({**stay, **_only(first, about)}).values()}


def _only(first: dict[str, Any], about: list[str]) -> dict[str, Any]:
    return {job_id: arrow for job_id, arrow in first.items() if job_id in about}
