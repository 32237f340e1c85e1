"""A scheduler without a loop: what it owes the machine when `handle` raises, and nothing more."""

from __future__ import annotations

from collections.abc import Callable

from aistack import errors
from aistack.jobs import Job, Reaction, Snapshot, handle, recovery
from aistack.jobs import effects as do
from aistack.jobs import events as ev
from aistack.wire.base import refusal

Handle = Callable[[Snapshot, ev.Event], Reaction]

FINAL_REPORTS = (ev.Evicted, ev.Loaded, ev.Finished, ev.Failed, ev.Stopped)
"""What ends a step: exactly one of these comes for each."""


class Driver:
    """Keeps the snapshot, the outstanding steps and the effects, by job."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.steps: dict[str, do.Effect] = {}
        self.effects: dict[str, list[do.Effect]] = {}
        self.raised: list[str] = []

    def submit(self, job: Job) -> None:
        self.effects[job.id] = []
        self.hand_in(ev.Submitted(job))

    def hand_in(self, event: ev.Event) -> None:
        """One event: handle it; if that raises, log it and hand in what stands in for it."""
        if isinstance(event, FINAL_REPORTS):
            self.steps.pop(event.job_id, None)
        try:
            reaction = handle(self.snapshot, event)
        except Exception as exc:  # noqa: BLE001 - a format may raise anything; that is the point
            self.raised.append(f"{type(event).__name__}: {exc}")
            if isinstance(event, ev.Submitted):
                self.perform(do.Respond(event.job.id, refusal(errors.internal())))
                self.perform(do.Discard(event.job.id))
                return
            instead = recovery(self.snapshot, event)
            if instead is None:
                return
            reaction = handle(self.snapshot, instead)
        self.snapshot = reaction.snapshot
        for effect in reaction.effects:
            self.perform(effect)

    def perform(self, effect: do.Effect) -> None:
        if isinstance(effect, do.Evict | do.Load | do.Run):
            self.steps[effect.job_id] = effect
        self.effects[effect.job_id].append(effect)

    def report(self, job_id: str) -> ev.Event | None:
        """The good report of the job's outstanding step; for a step told to stop, that it stopped."""
        match self.steps.get(job_id):
            case do.Evict():
                return ev.Evicted(job_id)
            case do.Load():
                return ev.Loaded(job_id)
            case do.Run():
                told = any(isinstance(effect, do.Cancel) for effect in self.effects[job_id])
                return ev.Stopped(job_id) if told else None
            case _:
                return None

    def answer(self, job_id: str) -> str:
        """What the client got, a letter per effect: Respond, Open, Emit, Close, Abort; Discard."""
        letters = {
            do.Respond: "R",
            do.OpenStream: "O",
            do.Emit: "E",
            do.CloseStream: "C",
            do.AbortStream: "A",
            do.Discard: "D",
        }
        return "".join(letters.get(type(effect), "") for effect in self.effects[job_id])
