"""A reaction being written: the book-keeping the table's rows work on. It decides nothing.

Committed whole or not at all, so an exception in a row leaves the world as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from aistack.jobs.changes import JobChanges, SlotChanges, SnapshotChanges, evolve
from aistack.jobs.effects import Discard, Effect
from aistack.jobs.model import Broken, Job, Outcome, Resident, Slot, Snapshot, Transition
from aistack.jobs.reaction import Reaction
from aistack.jobs.states import Mode, Phase, State


class Draft:
    """The next snapshot, copied only where it is written, and what follows from it."""

    __slots__ = ("_copy", "at", "base", "changes", "effects", "event", "jobs", "transitions")

    def __init__(self, base: Snapshot, event: str, at: float) -> None:
        self.base = base
        self.event = event
        self.at = at
        self.changes: SnapshotChanges = {}
        self.effects: list[Effect] = []
        self.transitions: list[Transition] = []
        self.jobs: Mapping[str, Job] = base.jobs
        self._copy: dict[str, Job] | None = None

    # --- reading -----------------------------------------------------------------------------------

    @property
    def slots(self) -> tuple[Slot, ...]:
        return self.changes.get("slots", self.base.slots)

    @property
    def queue(self) -> tuple[str, ...]:
        return self.changes.get("queue", self.base.queue)

    @property
    def selected(self) -> Resident | None:
        return self.changes.get("selected", self.base.selected)

    @property
    def selected_ok(self) -> bool:
        return self.changes.get("selected_ok", self.base.selected_ok)

    @property
    def cooling(self) -> dict[Resident, Broken]:
        return dict(self.changes.get("cooling", self.base.cooling))

    @property
    def mode(self) -> Mode:
        return self.changes.get("mode", self.base.mode)

    def slot_of(self, job: Job) -> Slot:
        """The slot the job holds."""
        for slot in self.slots:
            if slot.holder == job.id:
                return slot
        raise LookupError(f"job {job.id} holds no slot")

    # --- writing -----------------------------------------------------------------------------------

    def emit(self, *effects: Effect) -> None:
        self.effects.extend(effects)

    def set(self, **changes: Unpack[SnapshotChanges]) -> None:
        """Change fields of the snapshot other than `jobs`."""
        self.changes.update(changes)

    def set_slot(self, device: str, **changes: Unpack[SlotChanges]) -> None:
        self.changes["slots"] = tuple(
            evolve(slot, **changes) if slot.device == device else slot for slot in self.slots
        )

    def write(self, job: Job) -> None:
        """Put the job into the book as it is now."""
        self._writable()[job.id] = job

    def change(self, job: Job, **changes: Unpack[JobChanges]) -> Job:
        """The job with `changes`, written."""
        changed = evolve(job, **changes)
        self.write(changed)
        return changed

    def move(self, job: Job, source: Phase | None, **changes: Unpack[JobChanges]) -> Job:
        """As `change`, and a transition for the log; `source` is the phase it came from."""
        if "state" in changes:
            changes["since"] = self.at
        changed = self.change(job, **changes)
        self.transitions.append(Transition(changed, source, self.event, changed.phase, self.at))
        return changed

    def leave_queue(self, job: Job) -> None:
        self.changes["queue"] = tuple(job_id for job_id in self.queue if job_id != job.id)

    def release(self, job: Job) -> None:
        """Give the job's slot back."""
        self.set_slot(self.slot_of(job).device, holder=None)

    def end(self, job: Job, source: Phase | None, outcome: Outcome) -> None:
        """The job is DONE: out of queue, slot and book; Discard is its last effect."""
        if job.slot is not None:
            self.release(job)
        if job.id in self.queue:
            self.leave_queue(job)
        done = evolve(job, state=State.DONE, step=None, since=self.at, outcome=outcome)
        self.transitions.append(Transition(done, source, self.event, Phase.DONE, self.at))
        self.emit(Discard(job.id))
        if job.id in self.jobs:
            del self._writable()[job.id]

    def commit(self) -> Reaction:
        """The reaction; the base snapshot itself if nothing changed."""
        if self._copy is not None:
            self.changes["jobs"] = self._copy
        snapshot = evolve(self.base, **self.changes) if self.changes else self.base
        return Reaction(snapshot, tuple(self.transitions), tuple(self.effects))

    def _writable(self) -> dict[str, Job]:
        """The jobs, copied now if they were not."""
        if self._copy is None:
            self.jobs = self._copy = dict(self.base.jobs)
        return self._copy
