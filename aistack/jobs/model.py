"""The values the machine works on: Job, Slot, Snapshot and what they are made of.

All are immutable. They are kept as ordinary (not slotted) frozen attrs classes because `evolve`
copies their dict: ten times cheaper than `attrs.evolve`, and it runs for every chunk of every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import field, frozen

from aistack.chunks import Chunk, Progress, Result, Vram
from aistack.errors import Fault
from aistack.jobs.states import HOUSEKEEPING, Mode, Op, OutcomeKind, Phase, State, Step
from aistack.wire.base import Wire

T = TypeVar("T")

SELECTED = "(selected)"
"""The model of a GENERATE route: whichever weights are selected when the slot is taken."""


def evolve(value: T, **changes: Any) -> T:
    """A copy of an unslotted frozen value with `changes` applied; names are not checked here."""
    copy = object.__new__(type(value))
    attributes = copy.__dict__
    attributes.update(value.__dict__)
    attributes.update(changes)
    return copy


@frozen(slots=False)
class Resident:
    """A model that one of our processes holds on a card."""

    backend: str
    model: str


@frozen(slots=False)
class Route:
    """Where a job is to run. `device` binds it to one slot; none means any."""

    backend: str
    model: str
    vram: Vram
    device: str | None = None

    @property
    def resident(self) -> Resident:
        return Resident(self.backend, self.model)


@frozen(slots=False)
class Outcome:
    """How a job ended, and the fault if there was one."""

    kind: OutcomeKind
    fault: Fault | None = None


@frozen(slots=False)
class Job:
    """One request on its way. Times are seconds on the scheduler's clock.

    `streams`: its wire sends chunks as they come; asked once, at submission, so that being granted a
    slot runs no wire code in another job's reaction.

    `max_wait_s` is how long its caller is willing to be queued; `wait_no` counts how often it stood
    there; `opened`: response headers are out; `answered`: a SWAP has had its 202; `reached`: slots
    a SWAP has already changed; `parts`: chunks kept for a whole answer. `submitted`, `granted`,
    `ran` and `first` are when it came, got its slot, was told to run and showed its first byte.
    `result` and `context` are for logs only: the machine never looks into them.
    """

    id: str
    request_id: str
    op: Op
    route: Route
    request: Any
    wire: Wire
    max_wait_s: float = 0.0
    state: State = State.ADMITTED
    since: float = 0.0
    submitted: float = 0.0
    granted: float | None = None
    ran: float | None = None
    first: float | None = None
    wait_no: int = 0
    slot: str | None = None
    step: Step | None = None
    streams: bool = False
    opened: bool = False
    answered: bool = False
    reached: tuple[str, ...] = ()
    parts: tuple[Chunk, ...] = ()
    progress: Progress | None = None
    result: Result | None = None
    outcome: Outcome | None = None
    context: Mapping[str, Any] = field(factory=dict)

    @property
    def detached(self) -> bool:
        """Whether nobody waits for a reply."""
        return self.op in HOUSEKEEPING or self.answered

    @property
    def phase(self) -> Phase:
        if self.state is State.ADMITTED:
            return Phase.WAITING if self.slot is None else Phase.PREPARING
        return _COLUMN[self.state]


_COLUMN = {
    State.RUNNING: Phase.RUNNING,
    State.STREAMING: Phase.STREAMING,
    State.CANCELLED: Phase.CANCELLED,
    State.DONE: Phase.DONE,
}


@frozen(slots=False)
class Slot:
    """One card (or one share of the CPU): who holds it and what of ours sits in its memory."""

    device: str
    holder: str | None = None
    resident: Resident | None = None


@frozen(slots=False)
class Limits:
    """The machine's settings; all times in seconds."""

    max_queued: int = 16
    open_after: float = 15.0
    housekeeping_wait: float = 5.0
    swap_drain: float = 60.0
    cooldown_first: float = 10.0
    cooldown_max: float = 300.0


@frozen(slots=False)
class Broken:
    """How often in a row a model failed to load, and until when it is refused."""

    failures: int
    until: float


@frozen(slots=False)
class Snapshot:
    """The whole service at one moment.

    `queue` is in order of service. `selected` is what `/generate` uses; `cooling` remembers failed
    loads (an entry with one failure refuses nothing yet).
    """

    slots: tuple[Slot, ...]
    jobs: Mapping[str, Job] = field(factory=dict)
    queue: tuple[str, ...] = ()
    selected: Resident | None = None
    selected_ok: bool = False
    cooling: Mapping[Resident, Broken] = field(factory=dict)
    mode: Mode = Mode.SERVING
    limits: Limits = field(factory=Limits)

    def slot(self, device: str) -> Slot:
        """The slot on `device`. Raises KeyError."""
        for slot in self.slots:
            if slot.device == device:
                return slot
        raise KeyError(device)


@frozen(slots=False)
class Transition:
    """One log record. `job` is the job after it; `source` is none for a submission."""

    job: Job
    source: Phase | None
    event: str
    target: Phase
    at: float
