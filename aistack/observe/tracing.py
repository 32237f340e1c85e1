"""OpenTelemetry: one span per job, with a span for each thing it did. Off unless configured.

A job's spans are made when it is done, from the machine's own stamps, so nothing is carried around
while it runs and an abandoned span cannot be. The SDK sends them from a thread of its own, through a
bounded queue; a collector that is down costs spans, never a request. The SDK is imported when
tracing is switched on, and not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from aistack import __version__
from aistack.jobs.model import Job, Transition
from aistack.jobs.states import OutcomeKind, Phase
from aistack.observe.job_line import done_fields
from aistack.observe.phases import Phases, Timed

log = structlog.get_logger("aistack.tracing")

CLOSE_MS = 2000
PARENTS_MAX = 10_000
"""Contexts of jobs that have not ended; more than can be in the book."""


class Tracing:
    """An observer of transitions that makes spans.

    `provider` is an opentelemetry TracerProvider; `clock` the scheduler's time in seconds, which is
    translated to wall time when a job ends.
    """

    def __init__(self, provider: Any, clock: Callable[[], float] = time.monotonic) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._provider = provider
        self._tracer = provider.get_tracer("aistack", __version__)
        self._clock = clock
        self._phases = Phases()
        self._steps: dict[str, list[Timed]] = {}
        self._parents: dict[str, dict[str, str]] = {}

    def carry(self, job_id: str, headers: dict[str, str]) -> None:
        """Remember the caller's trace context (`traceparent`, `tracestate`) for a job."""
        if len(self._parents) < PARENTS_MAX:
            self._parents[job_id] = headers

    def observe(self, transition: Transition) -> None:
        """The scheduler's observer."""
        job = transition.job
        ended = self._phases.observe(transition)
        if transition.target is not Phase.DONE:
            if ended:
                self._steps.setdefault(job.id, []).extend(ended)
            return
        steps = [*self._steps.pop(job.id, ()), *ended]
        headers = self._parents.pop(job.id, {})
        self._spans(job, transition, steps, headers)

    def _spans(
        self, job: Job, transition: Transition, steps: list[Timed], headers: dict[str, str]
    ) -> None:
        offset = time.time_ns() - int(self._clock() * 1e9)

        def wall(at: float) -> int:
            return offset + int(at * 1e9)

        trace = self._trace
        span = self._tracer.start_span(
            f"aistack.{job.op.value}",
            context=self._propagator.extract(headers),
            kind=trace.SpanKind.SERVER,
            start_time=wall(job.submitted),
            attributes=_attributes(transition),
        )
        within = trace.set_span_in_context(span)
        waited = transition.at if job.granted is None else job.granted
        if waited > job.submitted:
            self._child("wait", wall(job.submitted), wall(waited), within)
        for step in steps:
            self._child(step.step.value, wall(step.start), wall(step.end), within)
        if job.first is not None:
            span.add_event("first byte", timestamp=wall(job.first))
        outcome = job.outcome
        if outcome is not None and outcome.ended is OutcomeKind.FAILED:
            code = outcome.fault.code.value if outcome.fault is not None else ""
            span.set_status(trace.Status(trace.StatusCode.ERROR, code))
        span.end(end_time=wall(transition.at))

    def _child(self, name: str, start: int, end: int, within: Any) -> None:
        self._tracer.start_span(name, context=within, start_time=start).end(end_time=end)

    def close(self) -> None:
        """Send what waits, `CLOSE_MS` at most. Blocks."""
        self._provider.force_flush(CLOSE_MS)
        self._provider.shutdown()


def _attributes(transition: Transition) -> dict[str, Any]:
    """The canonical line's fields: they hold no user text and no key."""
    fields = done_fields(transition)
    return {
        f"aistack.{name}": value
        for name, value in fields.items()
        if isinstance(value, str | bool | int | float)
    }


def tracing(endpoint: str, clock: Callable[[], float] = time.monotonic) -> Tracing | None:
    """Tracing to an OTLP endpoint; none if there is no endpoint or the extra is not installed."""
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("traces are not sent: pip install aistack[otel]", endpoint=endpoint)
        return None
    resource = Resource.create({"service.name": "aistack", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    return Tracing(provider, clock)
