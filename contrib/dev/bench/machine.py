"""CPU time of `handle`: the machine is asked about every chunk of every job, so it must cost nothing.

    python -m contrib.dev.bench.machine [--json FILE] [--repeat 5]

Prints events per CPU second (best of the repeats) beside the target. Times are of this process's CPU, so
a busy machine does not blur them. Each event is stamped by `evolve` first, as the scheduler does.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aistack.chunks import Chunk, Progress, Result, Segment, Transcript, TranscriptionRequest, Vram
from aistack.errors import Fault
from aistack.jobs import Job, Op, Resident, Route, Slot, Snapshot, handle
from aistack.jobs import events as ev
from aistack.jobs.changes import evolve
from aistack.wire.base import Answer, StreamHead, StreamWire, WholeWire
from contrib.dev.bench.harness import Row

CHUNKS = 200
MODEL = Resident("whisper", "whisper-small")
SEGMENT = Segment(0.0, 2.0, "a few words of speech", lead=" ")
RESULT = Transcript("en", 400.0, "the whole text")


class BareWhole(WholeWire):
    """A format that costs nothing, so that only the machine is measured."""

    def body(self, parts: Sequence[Chunk], result: Result) -> Answer:
        return _ANSWER


class BareStream(StreamWire):
    """The same for a stream."""

    def head(self, chunk: Chunk | None) -> StreamHead:
        return _HEAD

    def frame(self, chunk: Chunk) -> bytes | None:
        return b"data: {}\n\n"

    def tail(self, result: Result) -> bytes | None:
        return b"data: {}\n\n"

    def fault(self, fault: Fault) -> tuple[bytes | None, bool]:
        return None, False


_HEAD = StreamHead()
_ANSWER = Answer(200, b"{}")


def job(streams: bool) -> Job:
    route = Route(MODEL.backend, MODEL.model, Vram.OWN)
    return Job(
        id="a",
        request_id="request-a",
        op=Op.TRANSCRIBE,
        route=route,
        request=TranscriptionRequest("a.wav"),
        wire=BareStream() if streams else BareWhole(),
    )


def long_job(streams: bool, chunks: int = CHUNKS, progress: bool = False) -> list[ev.Event]:
    """A job whose model is resident; each chunk comes after a Progressed, if asked."""
    step: list[ev.Event] = [ev.Produced("a", SEGMENT)]
    if progress:
        step.insert(0, ev.Progressed("a", Progress(1.0, 2.0, "s")))
    return [ev.Submitted(job(streams)), *step * chunks, ev.Finished("a", RESULT)]


def rate(events: list[ev.Event], jobs: int) -> float:
    """Events per CPU second, the whole script repeated `jobs` times."""
    start = Snapshot((Slot("cuda:0", resident=MODEL),))
    snapshot = start
    began = time.process_time()
    for _ in range(jobs):
        for event in events:
            snapshot = handle(snapshot, evolve(event, at=1.0)).snapshot
    took = time.process_time() - began
    assert snapshot.slots[0].holder is None and not snapshot.jobs
    return jobs * len(events) / took


CASES: tuple[tuple[str, Callable[[], list[ev.Event]], int, int | None], ...] = (
    ("stream, 200 chunks", lambda: long_job(True), 100, 200_000),
    ("whole, 200 chunks", lambda: long_job(False), 100, 200_000),
    ("whole, 10 000 chunks", lambda: long_job(False, 10_000), 2, None),
    ("stream, progress too", lambda: long_job(True, progress=True), 50, None),
    ("submitted + finished", lambda: long_job(False, 0), 5_000, 40_000),
)


def run(quick: bool) -> list[Row]:
    """The cases that have a target, as rows of the common table."""
    rows = []
    for name, script, jobs, target in CASES:
        if target is not None:
            events = script()
            best = max(rate(events, jobs) for _ in range(2 if quick else 5))
            ours = f"{best:,.0f} events/s of CPU"
            rows.append(Row(f"(i) {name}", ours, "", None, f">= {target:,}", best >= target))
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--repeat", type=int, default=5, help="best of so many")
    options = parser.parse_args(arguments)
    figures: list[dict[str, Any]] = []
    print(f"{'case':24}{'events/s':>12}{'us/event':>10}{'target':>10}")
    for name, script, jobs, target in CASES:
        events = script()
        best = max(rate(events, jobs) for _ in range(options.repeat))
        verdict = "" if target is None else ("met" if best >= target else "MISSED")
        print(f"{name:24}{best:>12,.0f}{1e6 / best:>10.2f}{target or '-':>10} {verdict}")
        figures.append({"case": name, "events_per_s": round(best), "target": target})
    if options.json is not None:
        where = {"python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({**where, "cases": figures}, indent=2) + "\n")
    missed = any(f["target"] is not None and f["events_per_s"] < f["target"] for f in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
