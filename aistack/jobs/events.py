"""What can happen. Past tense, frozen; `at` (seconds) is stamped by the scheduler when handled."""

from __future__ import annotations

from attrs import field, frozen

from aistack.chunks import Chunk, Progress, Result
from aistack.errors import Fault
from aistack.jobs.model import Job, Resident


@frozen(slots=False)
class Stamped:
    """What all events have: when the scheduler took them, seconds on its clock."""

    at: float = field(default=0.0, kw_only=True)


@frozen(slots=False)
class EventOfJob(Stamped):
    """Something happened to one job already submitted."""

    job_id: str


@frozen(slots=False)
class Submitted(Stamped):
    """A handler asks for a job to be done."""

    job: Job


@frozen(slots=False)
class ClientGone(EventOfJob):
    """The connection behind a job is lost, or its handler was cancelled."""


@frozen(slots=False)
class Evicted(EventOfJob):
    """The step EVICT is over: the memory is back.

    `kept`: our engine is still there, because there is room for the model that is to come side by
    side with it; only what others held was evicted.
    """

    kept: bool = False


@frozen(slots=False)
class Loaded(EventOfJob):
    """The step LOAD is over: the model is resident."""


@frozen(slots=False)
class Progressed(EventOfJob):
    """The outstanding step is alive and this far."""

    progress: Progress


@frozen(slots=False)
class Produced(EventOfJob):
    """The running backend yielded a chunk."""

    chunk: Chunk


@frozen(slots=False)
class Finished(EventOfJob):
    """The run is over; the last piece of the answer comes with it."""

    result: Result


@frozen(slots=False)
class Failed(EventOfJob):
    """The outstanding step failed. `lost`: its engine's process is gone and its memory back."""

    fault: Fault
    lost: bool = False


@frozen(slots=False)
class Stopped(EventOfJob):
    """The run obeyed Cancel, or was killed (`lost`)."""

    lost: bool = False


@frozen(slots=False)
class Vanished(Stamped):
    """An idle engine died; its memory is back."""

    device: str
    resident: Resident


@frozen(slots=False)
class RenderFailed(EventOfJob):
    """An answer of this job could not be put into its format: our bug, and its step still runs."""

    fault: Fault


@frozen(slots=False)
class WaitExpired(EventOfJob):
    """A queued job has waited as long as it may. `wait_no`: which wait the timer was set for."""

    wait_no: int = 0


@frozen(slots=False)
class OpenDue(EventOfJob):
    """A streaming client has waited long enough for a first byte: send the headers."""


@frozen(slots=False)
class DrainBegan(Stamped):
    """The service was asked to stop."""


@frozen(slots=False)
class DrainExpired(Stamped):
    """The grace for running jobs is over."""


JobEvent = (
    ClientGone
    | Evicted
    | Loaded
    | Progressed
    | Produced
    | Finished
    | Failed
    | Stopped
    | RenderFailed
    | WaitExpired
    | OpenDue
)
"""Events about one job already submitted, looked up by (phase, type)."""

Event = Submitted | JobEvent | Vanished | DrainBegan | DrainExpired
