"""What the walks share: a service one can talk to in a line per event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aistack.jobs import Job, Outcome, Phase, Resident, Snapshot, Transition
from aistack.jobs import effects as do
from tests.unit.jobs.build import service
from tests.unit.jobs.world import World


class Walk(World):
    """A modelled world that remembers the effects, so that a test can read it as a trace.

    Each call makes one move and returns the names of the effects that followed, per job where
    there are several. The laws are checked after every move.
    """

    __slots__ = ("answers", "done", "ended", "last")

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot, (), deaths=99)
        self.last: list[str] = []
        self.answers: dict[str, list[Any]] = {}
        self.ended: dict[str, Outcome] = {}
        self.done: dict[str, Job] = {}

    def perform(self, effect: do.Effect, outcomes: dict[str, Any]) -> None:
        super().perform(effect, outcomes)
        self.last.append(f"{type(effect).__name__}({effect.job_id})")
        self.answers.setdefault(effect.job_id, []).append(effect)
        if isinstance(effect, do.Discard):
            self.ended[effect.job_id] = outcomes[effect.job_id]

    def observe(self, transition: Transition) -> None:
        if transition.target is Phase.DONE:
            self.done[transition.job.id] = transition.job

    def __call__(self, *move: Any) -> str:
        """Make the move; the effects that followed, in order, as words."""
        self.last = []
        self.do(move)
        return " ".join(self.last)

    def new(self, job: Job) -> str:
        """Submit a job."""
        self.last = []
        self.submit(job)
        return " ".join(self.last)

    def fault(self, job_id: str) -> Any:
        """The fault the job ended with."""
        return self.ended[job_id].fault

    def where(self, job_id: str) -> str:
        """The phase of a job of the book."""
        return self.snapshot.jobs[job_id].phase.value

    def latest(self, job_id: str, kind: type) -> Any:
        """The latest effect of this type about the job."""
        return [effect for effect in self.answers[job_id] if isinstance(effect, kind)][-1]

    def resident(self, device: str = "gpu0") -> Resident | None:
        return self.snapshot.slot(device).resident


@pytest.fixture
def walk() -> Callable[..., Walk]:
    """Start a walk: `walk(WHISPER, selected=…)` is a service with a card per resident given."""
    return lambda *residents, **more: Walk(service(*residents, **more))
