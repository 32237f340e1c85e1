"""When the steps of a job began and ended, from its transitions. Pure: no clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from aistack.jobs.model import Transition
from aistack.jobs.states import Phase, Step


@frozen
class Timed:
    """A step that is over. `report` is the event that ended it; times are the scheduler's."""

    step: Step
    start: float
    end: float
    report: str


NOTHING: Sequence[Timed] = ()


class Phases:
    """Follows the jobs in the book; forgets a job when it is done."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[Step, float]] = {}

    def observe(self, transition: Transition) -> Sequence[Timed]:
        """The step that this transition ended, if it ended one."""
        job = transition.job
        step = job.step if transition.target is not Phase.DONE else None
        begun = self._begun.get(job.id)
        if begun is None:
            if step is not None:
                self._begun[job.id] = (step, transition.at)
            return NOTHING
        if begun[0] is step:
            return NOTHING
        if step is None:
            del self._begun[job.id]
        else:
            self._begun[job.id] = (step, transition.at)
        return (Timed(begun[0], begun[1], transition.at, transition.event),)
