"""Transitions of real walks through the machine -> counts and times; and spans of the same walks."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from aistack.chunks import Generated, Transcript
from aistack.errors import internal
from aistack.jobs import Job, Snapshot
from aistack.jobs import events as ev
from aistack.jobs.model import JobContext
from aistack.observe import tracing as module
from aistack.observe.counts import MODELS_MAX, OTHER, Counter, Histogram, ModelNames
from aistack.observe.job_metrics import JobFigures
from aistack.observe.toggles import Toggles
from aistack.observe.tracing import Tracing, tracing
from tests.unit.jobs import build as b
from tests.unit.jobs.build import NEW, OLD, PARAKEET, WHISPER
from tests.unit.observe.story import Story

HEARD = Transcript("en", 8.0, "user words", 2)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

CONTEXT = JobContext(bytes_in=1000)


def figures(on: bool = True) -> JobFigures:
    return JobFigures(Toggles(on, on, on), frozenset({"whisper", "parakeet", "nanochat"}))


def transcription(story: Story, job: Job | None = None) -> None:
    """Evict for 1 s, load for 2 s, run for 4 s with the first byte after 1 s."""
    story.submit(10.0, job or attrs.evolve(b.listen("t", PARAKEET, b.STREAM), context=CONTEXT))
    story.at(11.0, ev.Evicted("t"))
    story.at(13.0, ev.Loaded("t"))
    story.at(14.0, ev.Produced("t", b.CHUNK))
    story.at(17.0, ev.Finished("t", HEARD))


def total(histogram: Histogram, *labels: str) -> tuple[int, float]:
    """How many observations, and their sum."""
    counts, seconds = histogram.values[labels]
    return sum(counts), seconds


def test_a_transcription() -> None:
    seen = figures()
    transcription(Story(b.service(WHISPER), [seen.observe]))
    assert seen.jobs.values == {("transcribe", "parakeet", "ok", ""): 1}
    assert total(seen.wait, "transcribe") == (1, 0.0)
    assert total(seen.prepare, "transcribe") == (1, 3.0)
    assert total(seen.first_byte, "transcribe") == (1, 4.0)
    assert total(seen.run, "transcribe", "parakeet") == (1, 4.0)
    assert total(seen.slot, "transcribe") == (1, 7.0)
    assert total(seen.evict) == (1, 1.0)
    assert total(seen.load, "parakeet") == (1, 2.0)
    assert seen.loads.values == {("parakeet", "ok"): 1}
    assert total(seen.rtf, "parakeet") == (1, 0.5)
    assert seen.audio.values == {("parakeet",): 8.0}
    assert seen.upload.values == {("transcribe",): 1000}


def test_a209_switched_off_nothing_is_counted_and_nothing_is_kept() -> None:
    seen = figures(on=False)
    transcription(Story(b.service(WHISPER), [seen.observe]))
    assert (seen.jobs.values, seen.load.values, seen._steps._open) == ({}, {}, {})


def test_a_refusal_and_a_failure_say_their_code() -> None:
    seen = figures()
    story = Story(b.service(WHISPER), [seen.observe])
    story.submit(0.0, b.listen("t"))
    story.submit(1.0, b.chat("c"))
    story.at(2.0, ev.Failed("t", internal("whisper")))
    assert seen.jobs.values == {
        ("chat", OTHER, "rejected", "slot_busy"): 1,
        ("transcribe", "whisper-small", "failed", "internal_error"): 1,
    }
    assert ("chat",) not in seen.slot.values


def test_waiting_is_told_of_those_who_gave_up_too() -> None:
    seen = figures()
    story = Story(b.service(WHISPER), [seen.observe])
    story.submit(0.0, b.listen("t"))
    story.submit(0.0, b.listen("w", max_wait_s=5))
    story.at(5.0, ev.WaitExpired("w", story.snapshot.jobs["w"].wait_no))
    assert total(seen.wait, "transcribe") == (1, 5.0)


def test_a_swap_and_a_failed_load() -> None:
    seen = figures()
    story = Story(b.service(OLD, selected=OLD), [seen.observe])
    story.submit(0.0, b.swap("s", NEW))
    story.at(1.0, ev.Evicted("s"))
    story.at(4.0, ev.Failed("s", b.TOO_LARGE, lost=True))
    assert seen.loads.values == {("d26", "failed"): 1}
    assert seen.swaps.values == {("failed",): 1}
    assert total(seen.swap) == (1, 4.0)


def test_a_generation() -> None:
    seen = figures()
    story = Story(b.service(OLD, selected=OLD), [seen.observe])
    story.submit(0.0, b.generate("g"))
    story.at(3.0, ev.Finished("g", Generated(5, "stop")))
    assert total(seen.inference) == (1, 3.0)
    assert seen.jobs.values == {("generate", "d20", "ok", ""): 1}


def test_no_caller_can_make_series() -> None:
    names = ModelNames()
    assert [names.label(f"invented-{n}", False) for n in range(1000)] == [OTHER] * 1000
    served = {names.label(f"real-{n}", True) for n in range(1000)}
    assert len(served) == MODELS_MAX + 1
    assert names.label("real-0", False) == "real-0"


def test_bins_hold_their_bounds() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 3):
        histogram.add((), value)
    assert histogram.values[()] == ([2, 2, 1], 8.0)
    counter = Counter()
    counter.add(("a",), 2)
    counter.add(("a",))
    assert counter.values == {("a",): 3}


# --- traces -------------------------------------------------------------------------------------------


class Traced:
    """Tracing into memory, on a clock that stands at 17."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider, lambda: 17.0)

    def story(self, snapshot: Snapshot) -> Story:
        return Story(snapshot, [self.tracing.observe])

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.tracing.close()


def length(span: ReadableSpan) -> float:
    assert span.start_time is not None and span.end_time is not None
    return round((span.end_time - span.start_time) / 1e9, 3)


def test_a_job_is_a_span_with_a_child_for_each_phase(traced: Traced) -> None:
    before = time.time_ns()
    transcription(traced.story(b.service(WHISPER)))
    spans = traced.spans
    assert {name: length(span) for name, span in spans.items()} == {
        "aistack.transcribe": 7.0,
        "evict": 1.0,
        "load": 2.0,
        "run": 4.0,
    }
    whole = spans["aistack.transcribe"]
    assert whole.parent is None
    assert all(
        span.parent is not None and span.parent.span_id == whole.context.span_id
        for name, span in spans.items()
        if span is not whole
    )
    assert whole.end_time is not None and before <= whole.end_time <= time.time_ns()
    attributes = whole.attributes or {}
    assert (attributes["aistack.model"], attributes["aistack.rtf"]) == ("parakeet", 0.5)
    assert attributes["aistack.request_id"] == "request-t"
    assert "user words" not in str(attributes)
    assert [event.name for event in whole.events] == ["first byte"]


def test_traceparent_is_honoured(traced: Traced) -> None:
    traced.tracing.carry("t", {"traceparent": PARENT, "tracestate": "vendor=1"})
    transcription(traced.story(b.service(WHISPER)))
    span = traced.spans["aistack.transcribe"]
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None and f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.context.trace_state.get("vendor") == "1"


def test_a_broken_traceparent_is_a_new_trace(traced: Traced) -> None:
    traced.tracing.carry("t", {"traceparent": "nonsense"})
    transcription(traced.story(b.service(WHISPER)))
    assert traced.spans["aistack.transcribe"].parent is None


def test_a_failure_is_a_failed_span(traced: Traced) -> None:
    story = traced.story(b.service(WHISPER))
    story.submit(0.0, b.listen("t"))
    story.submit(0.0, b.listen("w", max_wait_s=5))
    story.at(2.0, ev.Failed("t", internal("whisper")))
    story.at(3.0, ev.Finished("w", HEARD))
    failed, fine = (
        span for span in traced.exporter.get_finished_spans() if span.name == "aistack.transcribe"
    )
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "internal_error")
    assert fine.status.status_code is StatusCode.UNSET
    assert length(traced.spans["wait"]) == 2.0


def test_nothing_is_kept_of_jobs_that_are_done(traced: Traced) -> None:
    transcription(traced.story(b.service(WHISPER)))
    kept = (traced.tracing._steps, traced.tracing._parents, traced.tracing._intervals._open)
    assert kept == ({}, {}, {})


def test_off_unless_configured_and_a_sentence_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing("") is None
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as told:
        assert tracing("http://127.0.0.1:4318/v1/traces") is None
    (entry,) = told
    assert entry["event"] == "traces are not sent: a library is missing"
    assert entry["install"].startswith(
        f"{shlex.quote(sys.executable)} -m pip install 'opentelemetry-sdk<2,"
    )


async def test_spans_arrive_at_a_collector() -> None:
    """The real exporter, over HTTP, at a collector's door."""
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def traces(request: web.Request) -> web.Response:
        came.put_nowait(await request.read())
        return web.Response(headers={"Content-Type": "application/x-protobuf"})

    app = web.Application()
    app.router.add_post("/v1/traces", traces)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        made: Any = tracing(f"http://127.0.0.1:{port}/v1/traces", time.monotonic)
        transcription(Story(b.service(WHISPER), [made.observe]))
        await asyncio.to_thread(made.close)
        body = await asyncio.wait_for(came.get(), 30)
    finally:
        await runner.cleanup()
    assert b"aistack.transcribe" in body
    assert module.CLOSE_MS < 10_000
