"""The machine with observers and a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aistack.jobs import Job, Snapshot, Transition, handle
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.observe.exchange import Exchange


class Story:
    """Hands events in at given times and shows every transition to the observers."""

    def __init__(self, snapshot: Snapshot, observers: Sequence[Callable[[Transition], None]]) -> None:
        self.snapshot = snapshot
        self.observers = observers

    def at(self, time: float, event: ev.Event) -> None:
        reaction = handle(self.snapshot, evolve(event, at=time))
        self.snapshot = reaction.snapshot
        for transition in reaction.transitions:
            for observer in self.observers:
                observer(transition)

    def submit(self, time: float, job: Job) -> None:
        self.at(time, ev.Submitted(job))


def exchange(request_id: str = "r1", at: float = 1_000_000.0, **changes: object) -> Exchange:
    """A transcription that went well."""
    known: dict[str, object] = {
        "at": at,
        "request_id": request_id,
        "method": "POST",
        "path": "/v1/audio/transcriptions",
        "query": None,
        "status": 200,
        "category": "asr",
        "status_class": "2xx",
        "model": "whisper-small",
        "latency_ms": 12.345678,
        "slot_wait_ms": 0.0,
        "client": "127.0.0.1:5000",
        "extra": {"audio_sec": 1.5},
    }
    return Exchange(**(known | changes))  # type: ignore[arg-type]
