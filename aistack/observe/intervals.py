"""When what a job is at began and ended, from its transitions. Pure: no clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import frozen

from aistack.jobs.model import Transition
from aistack.jobs.states import Phase, Step

K = TypeVar("K")


@frozen
class Interval(Generic[K]):
    """Something that is over. `report` is the event that ended it; times are the scheduler's."""

    of: K
    start: float
    end: float
    report: str


class Intervals(Generic[K]):
    """Follows the jobs in the book; forgets a job when it is done.

    `of` says what the job is at after a transition (its step, its phase); None if that has no name. An
    interval lasts until the next transition with another answer.
    """

    def __init__(self, of: Callable[[Transition], K | None]) -> None:
        self._of = of
        self._open: dict[str, tuple[K, float]] = {}

    def observe(self, transition: Transition) -> Interval[K] | None:
        """The interval that this transition ended, if it ended one."""
        job_id = transition.job.id
        now = None if transition.target is Phase.DONE else self._of(transition)
        before = self._open.get(job_id)
        if before is not None and before[0] == now:
            return None
        if now is not None:
            self._open[job_id] = (now, transition.at)
        elif before is not None:
            del self._open[job_id]
        if before is None:
            return None
        return Interval(before[0], before[1], transition.at, transition.event)

    def open(self, job_id: str) -> tuple[K, float] | None:
        """What the job is at and since when; None if that has no name, or the job is not in the book."""
        return self._open.get(job_id)


def step_of(transition: Transition) -> Step | None:
    """The step that the job waits for."""
    return transition.job.step
