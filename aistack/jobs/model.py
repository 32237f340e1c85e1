"""The values the machine works on: Job, Slot, Snapshot and what they are made of.

All are immutable, and ordinary (not slotted) frozen attrs classes: see `changes.evolve`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from aistack.chunks import Chunk, EngineRequest, Progress, Result, Vram
from aistack.contract.relay_request import UpstreamRequest
from aistack.errors import Fault
from aistack.jobs.states import HOUSEKEEPING, Mode, Op, OutcomeKind, Phase, State, Step
from aistack.wire.base import StreamWire, WholeWire, Wire

SELECTED = "(selected)"
"""The model of a GENERATE route: whichever weights are selected when the slot is taken."""

Request = EngineRequest | UpstreamRequest
"""What a job asks a backend for."""


@frozen(slots=False)
class Resident:
    """A model that one of our processes holds on a card."""

    backend: str
    model: str


@frozen(slots=False)
class Route:
    """Where a job is to run. `device` binds it to one slot; None means any."""

    backend: str
    model: str
    vram: Vram
    device: str | None = None

    @property
    def resident(self) -> Resident:
        return Resident(self.backend, self.model)

    @property
    def selects(self) -> bool:
        """Whether it is for whichever weights are selected."""
        return self.model == SELECTED


@frozen(slots=False, eq=False)
class Kept:
    """Chunks kept for a whole answer, the last one first: to add one copies nothing, however many
    there are."""

    chunk: Chunk
    before: Kept | None = field(default=None, repr=False)

    def in_order(self) -> tuple[Chunk, ...]:
        """All of them as they came."""
        found: list[Chunk] = []
        kept: Kept | None = self
        while kept is not None:
            found.append(kept.chunk)
            kept = kept.before
        return tuple(reversed(found))


@frozen(slots=False)
class Outcome:
    """How a job ended, and the fault if there was one."""

    kind: OutcomeKind
    fault: Fault | None = None


@frozen(slots=False, kw_only=True)
class JobContext:
    """What a handler knows of a request that only logs and metrics want; None: not known.

    Nothing here can hold what users said.
    """

    client: str | None = None
    """The caller's address."""
    bytes_in: int | None = None
    """The length of the body."""
    format: str | None = None
    """The format of the answer, "stream" if it is streamed."""
    messages: int | None = None
    """How many messages a conversation has."""
    trace_id: str | None = None
    """The caller's id of this call."""
    session_trace_id: str | None = None
    """The caller's id of the conversation that it belongs to."""
    user_id: str | None = None
    """The person for whom the caller calls."""


@frozen(slots=False, kw_only=True, repr=False)
class Job:
    """One request on its way. Times are seconds on the scheduler's clock.

    Up to `context` the handler says what is asked for; the machine writes the rest.
    """

    id: str
    """Names the job in events, effects and logs."""
    request_id: str
    """Names the HTTP request behind it (`X-Request-ID`); without one, the job's own id."""
    op: Op
    route: Route
    """A SELECTED model is filled in when the slot is taken."""
    request: Request | None
    """What its backend is asked for; None for a job that never runs (SWAP, LOAD, UNLOAD)."""
    wire: Wire | None
    """How its answer looks; None where nobody waits for one (LOAD, UNLOAD)."""
    max_wait_s: float = 0.0
    """How long its caller is willing to be queued."""
    context: JobContext = JobContext()
    """For logs and metrics: the machine never looks into it."""

    state: State = State.ADMITTED
    since: float = 0.0
    """When `state` was reached, or the slot taken."""
    submitted: float = 0.0
    granted: float | None = None
    """When it first got a slot."""
    ran: float | None = None
    """When its backend began to run."""
    first: float | None = None
    """When its client saw the first byte."""
    wait_no: int = 0
    """How often it was queued: the number of the wait whose timer counts."""
    slot: str | None = None
    """The device it holds."""
    step: Step | None = None
    """The one step outstanding."""
    opened: bool = False
    """Whether the headers of a streamed answer are out."""
    answered: bool = False
    """Whether a SWAP has had its 202."""
    reached: tuple[str, ...] = ()
    """The devices a SWAP has already changed."""
    parts: Kept | None = None
    """What a whole answer is made of, so far."""
    progress: Progress | None = None
    """How far the outstanding step is, for others to read."""
    result: Result | None = None
    """For logs and metrics: the machine never looks into it."""
    outcome: Outcome | None = None

    @property
    def detached(self) -> bool:
        """Whether nobody waits for a reply."""
        return self.op in HOUSEKEEPING or self.answered

    @property
    def stream(self) -> StreamWire:
        """The format of an answer that is sent as it is made. Raises TypeError for any other."""
        if isinstance(self.wire, StreamWire):
            return self.wire
        raise TypeError(f"{self} has no stream")

    @property
    def whole(self) -> WholeWire:
        """The format of an answer that is sent at once. Raises TypeError for any other."""
        if isinstance(self.wire, WholeWire):
            return self.wire
        raise TypeError(f"{self} has no whole answer")

    @property
    def phase(self) -> Phase:
        if self.state is State.ADMITTED:
            return Phase.WAITING if self.slot is None else Phase.PREPARING
        return _PHASE[self.state]

    def __repr__(self) -> str:
        where = f" on {self.slot}" if self.slot is not None else ""
        return f"<Job {self.id} {self.op.value} {self.phase.value}{where}>"


_PHASE = {
    State.RUNNING: Phase.RUNNING,
    State.STREAMING: Phase.STREAMING,
    State.CANCELLED: Phase.CANCELLED,
    State.DONE: Phase.DONE,
}


@frozen(slots=False)
class Slot:
    """One card (or one share of the CPU): who holds it and which model our process has there."""

    device: str
    holder: str | None = None
    resident: Resident | None = None

    def fits(self, device: str | None) -> bool:
        """Whether a job bound to `device` (None: to no device) may run here at all."""
        return device is None or device == self.device


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
    """One log record. `job` is the job after it; `source` is None for a submission."""

    job: Job
    source: Phase | None
    event: str
    target: Phase
    at: float
