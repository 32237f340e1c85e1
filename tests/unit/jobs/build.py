"""Builders: jobs, wires and snapshots in as few words as a test can bear."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen

from aistack.chunks import Accepted, Chunk, Generated, Result, Token, TranscriptionRequest, Vram
from aistack.errors import Fault, internal, out_of_memory
from aistack.jobs import SELECTED, Job, Limits, Op, Resident, Route, Slot, Snapshot
from aistack.jobs.changes import evolve
from aistack.wire.base import Answer, StreamHead, StreamWire, WholeWire

WHISPER = Resident("whisper", "whisper-small")
PARAKEET = Resident("parakeet", "parakeet")
OLD = Resident("nanochat", "d20")
NEW = Resident("nanochat", "d26")

CHUNK = Token("a")
RESULT = Generated(1, "stop")
BROKEN = internal("whisper")
TOO_LARGE = out_of_memory("whisper", "load the model")


Nothing = Callable[[str], None]


@frozen
class FakeWhole(WholeWire):
    """A whole answer that says how many parts it has. `guard` is called first and may raise."""

    guard: Nothing = field(default=lambda method: None)

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        self.guard("body")
        if isinstance(result, Accepted):
            return Answer(202, f"{result.status} {result.current_model}".encode())
        return Answer(200, f"body {len(parts)}".encode())


@frozen
class FakeStream(StreamWire):
    """A stream whose bytes say which method made them. `guard` is called first and may raise.

    `shows`: whether it has any frames; `clean`: whether it ends cleanly after a failure.
    """

    clean: bool = True
    shows: bool = True
    guard: Nothing = field(default=lambda method: None)

    def head(self, chunk: Chunk | None) -> StreamHead:
        self.guard("head")
        return StreamHead(headers=(("first", "none" if chunk is None else type(chunk).__name__),))

    def frame(self, chunk: Chunk) -> bytes | None:
        self.guard("frame")
        return f"frame {chunk}".encode() if self.shows else None

    def tail(self, result: Result) -> bytes | None:
        self.guard("tail")
        return f"tail {result}".encode() if self.shows else None

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        self.guard("fault")
        return (f"fault {fault.code.value}".encode() if self.shows else None), self.clean


FakeWire = FakeWhole | FakeStream
WHOLE = FakeWhole()
STREAM = FakeStream()
RELAYED = FakeStream(clean=False, shows=False)


def job(job_id: str, op: Op, route: Route, wire: FakeWire = WHOLE, max_wait_s: float = 0.0) -> Job:
    """A job as a handler submits it."""
    return Job(
        id=job_id,
        request_id=f"request-{job_id}",
        op=op,
        route=route,
        request=None if op in (Op.SWAP, Op.LOAD, Op.UNLOAD) else TranscriptionRequest(job_id),
        wire=None if op in (Op.LOAD, Op.UNLOAD) else wire,
        max_wait_s=max_wait_s,
    )


def listen(
    job_id: str,
    model: Resident = WHISPER,
    wire: FakeWire = WHOLE,
    max_wait_s: float = 0.0,
    device: str | None = None,
) -> Job:
    """A transcription by one of our engines."""
    return job(
        job_id, Op.TRANSCRIBE, Route(model.backend, model.model, Vram.OWN, device), wire, max_wait_s
    )


def chat(job_id: str, wire: FakeWire = STREAM, max_wait_s: float = 0.0, device: str = "gpu0") -> Job:
    """A chat by someone else's server that loads into our card."""
    return job(job_id, Op.CHAT, Route("ollama", "llama", Vram.EXTERNAL, device), wire, max_wait_s)


def speak(job_id: str, wire: FakeWire = STREAM, max_wait_s: float = 0.0, device: str = "gpu0") -> Job:
    """Speech by a container with a fixed share of the card."""
    return job(job_id, Op.SPEAK, Route("qwen_tts", "qwen", Vram.RESERVED, device), wire, max_wait_s)


def generate(job_id: str, wire: FakeWire = STREAM, max_wait_s: float = 0.0) -> Job:
    """A generation by the selected weights."""
    return job(job_id, Op.GENERATE, Route("nanochat", SELECTED, Vram.OWN), wire, max_wait_s)


def _own(job_id: str, op: Op, model: Resident, device: str | None) -> Job:
    return job(job_id, op, Route(model.backend, model.model, Vram.OWN, device))


def swap(job_id: str, model: Resident = NEW, device: str | None = None) -> Job:
    """A change of the selected weights."""
    return _own(job_id, Op.SWAP, model, device)


def load(job_id: str, model: Resident = WHISPER, device: str | None = None) -> Job:
    """Housekeeping: make a model resident."""
    return _own(job_id, Op.LOAD, model, device)


def unload(job_id: str, model: Resident = WHISPER, device: str | None = None) -> Job:
    """Housekeeping: give an idle model's memory back."""
    return _own(job_id, Op.UNLOAD, model, device)


def service(
    *residents: Resident | None, selected: Resident | None = None, limits: Limits | None = None
) -> Snapshot:
    """An idle service with a slot per resident given (one empty slot if none is)."""
    slots = tuple(Slot(f"gpu{n}", resident=held) for n, held in enumerate(residents or (None,)))
    return Snapshot(
        slots, selected=selected, selected_ok=selected is not None, limits=limits or Limits()
    )


def with_job(snapshot: Snapshot, held: Job) -> Snapshot:
    """The snapshot with `held` in the book: in its slot if it has one, else in the queue."""
    jobs = {**snapshot.jobs, held.id: held}
    if held.slot is None:
        return evolve(snapshot, jobs=jobs, queue=(*snapshot.queue, held.id))
    slots = tuple(
        evolve(slot, holder=held.id) if slot.device == held.slot else slot for slot in snapshot.slots
    )
    return evolve(snapshot, jobs=jobs, slots=slots)
