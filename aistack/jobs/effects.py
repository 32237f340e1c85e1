"""What the machine orders. Imperative, frozen; each carries all that its executor needs.

Steps (the runner): Evict, Load, Run, Cancel. Answers (the outlet): Respond, OpenStream, Emit,
CloseStream, AbortStream. Others (the scheduler): SetTimer, Discard.
"""

from __future__ import annotations

from attrs import frozen

from aistack.jobs.events import OpenDue, WaitExpired
from aistack.jobs.model import Request, Resident, Route
from aistack.wire.base import Answer, StreamHead


@frozen(slots=False)
class Evict:
    """End our engine on `device`; `everything`: also unload what others hold on that card.

    `side_by_side`: the model that is to come. If there is room for both, our engine may be kept until
    that one is ready.
    """

    job_id: str
    device: str
    everything: bool
    side_by_side: Resident | None = None


@frozen(slots=False)
class Load:
    """Make `resident` resident on `device`, which is empty.

    `side_by_side`: our engine was kept there. It is ended once the new model is ready, before
    that is reported; if the load fails, it stays.
    """

    job_id: str
    device: str
    resident: Resident
    side_by_side: bool = False


@frozen(slots=False)
class Run:
    """Run the request on `device`."""

    job_id: str
    device: str
    route: Route
    request: Request


@frozen(slots=False)
class Cancel:
    """Stop the outstanding Run; Evict and Load end by themselves."""

    job_id: str


@frozen(slots=False)
class Respond:
    """The whole answer at once."""

    job_id: str
    answer: Answer


@frozen(slots=False)
class OpenStream:
    """Send status and headers of a streamed answer."""

    job_id: str
    head: StreamHead


@frozen(slots=False)
class Emit:
    """Send one frame of a streamed answer."""

    job_id: str
    frame: bytes


@frozen(slots=False)
class CloseStream:
    """End a streamed answer cleanly."""

    job_id: str


@frozen(slots=False)
class AbortStream:
    """Cut the connection: the client must not take this for a clean end."""

    job_id: str


@frozen(slots=False)
class SetTimer:
    """Hand in `event` after `seconds`, unless the job is discarded first."""

    job_id: str
    event: WaitExpired | OpenDue
    seconds: float


@frozen(slots=False)
class Discard:
    """The job is over: drop what it owned. Always its last effect."""

    job_id: str


Reply = Respond | OpenStream | Emit | CloseStream | AbortStream
"""What the client of a job gets: Respond, or OpenStream, Emit*, and CloseStream or AbortStream."""


def noop() -> None:
    """What `Discard` calls for a job that owns nothing."""


Effect = (
    Evict
    | Load
    | Run
    | Cancel
    | Respond
    | OpenStream
    | Emit
    | CloseStream
    | AbortStream
    | SetTimer
    | Discard
)
