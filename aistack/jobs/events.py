"""What can happen. Past tense, frozen; `at` (seconds) is stamped by the scheduler when handled."""

from __future__ import annotations

from attrs import frozen

from aistack.chunks import Chunk, Progress, Result
from aistack.errors import Fault
from aistack.jobs.model import Job, Resident


@frozen(slots=False)
class Submitted:
    """A handler asks for a job to be done."""

    job: Job
    at: float = 0.0


@frozen(slots=False)
class ClientGone:
    """The connection behind a job is lost, or its handler was cancelled."""

    job_id: str
    at: float = 0.0


@frozen(slots=False)
class Evicted:
    """The step EVICT is over: the memory is back.

    `spared`: our engine is still there, because there is room beside it for the model that may be
    loaded beside it; only what others held was evicted.
    """

    job_id: str
    at: float = 0.0
    spared: bool = False


@frozen(slots=False)
class Loaded:
    """The step LOAD is over: the model is resident."""

    job_id: str
    at: float = 0.0


@frozen(slots=False)
class Progressed:
    """The outstanding step is alive and this far."""

    job_id: str
    progress: Progress
    at: float = 0.0


@frozen(slots=False)
class Produced:
    """The running backend yielded a chunk."""

    job_id: str
    chunk: Chunk
    at: float = 0.0


@frozen(slots=False)
class Finished:
    """The run is over; the last piece of the answer comes with it."""

    job_id: str
    result: Result
    at: float = 0.0


@frozen(slots=False)
class Failed:
    """The outstanding step failed. `lost`: its engine's process is gone and its memory back."""

    job_id: str
    fault: Fault
    lost: bool = False
    at: float = 0.0


@frozen(slots=False)
class Stopped:
    """The run obeyed Cancel, or was killed (`lost`)."""

    job_id: str
    lost: bool = False
    at: float = 0.0


@frozen(slots=False)
class Vanished:
    """An idle engine died; its memory is back."""

    device: str
    resident: Resident
    at: float = 0.0


@frozen(slots=False)
class RenderFailed:
    """An answer of this job could not be put into its format: our bug, and its step still runs."""

    job_id: str
    fault: Fault
    at: float = 0.0


@frozen(slots=False)
class WaitExpired:
    """A job in line has stood there as long as it may; `turn` tells a stale timer from a live one."""

    job_id: str
    turn: int = 0
    at: float = 0.0


@frozen(slots=False)
class OpenDue:
    """A streaming client has waited long enough for a first byte: send the headers."""

    job_id: str
    at: float = 0.0


@frozen(slots=False)
class DrainBegan:
    """The service was asked to stop."""

    at: float = 0.0


@frozen(slots=False)
class DrainExpired:
    """The grace for running jobs is over."""

    at: float = 0.0


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
