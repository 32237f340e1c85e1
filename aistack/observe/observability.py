"""Everything that watches, put together: one object per service, and one Watch per request.

Every hook here is guarded: whatever goes wrong in watching is logged once a kind and costs the
record, not the request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

import structlog

from aistack.config.observability import ObservabilitySection, log_folder, payload_folder
from aistack.errors import Fault
from aistack.jobs.model import Job, Transition
from aistack.jobs.states import Phase
from aistack.observe import redact
from aistack.observe.access_log import AccessLog
from aistack.observe.capture import Capture, Store
from aistack.observe.counts import Counter, Histogram
from aistack.observe.exchange import Exchange, category_of, class_of, extra_of, model_of, wait_ms
from aistack.observe.job_metrics import JobFigures
from aistack.observe.toggles import Toggles
from aistack.observe.tracing import Tracing
from aistack.observe.window import RollingWindow

log = structlog.get_logger("aistack.observe")
P = ParamSpec("P")
Pairs = Iterable[tuple[str, str]]


class RequestWatch:
    """One capability request being watched. All on the loop.

    Its own length is taken from the process's finest clock: uvloop's counts whole milliseconds only.
    """

    def __init__(
        self,
        category: str,
        method: str,
        path: str,
        query: str,
        request_id: str,
        client: str | None,
        capture: Capture | None,
    ) -> None:
        self.category = category
        self.method = method
        self.path = path
        self.query = query
        self.request_id = request_id
        self.client = client
        self.started = time.perf_counter()
        self.capture = capture
        self.job: Job | None = None
        self.fault: Fault | None = None
        """Of a request that never became a job."""


class Observability:
    """Hooks for the web layer (`begin`, `job`, `end`) and for the scheduler (`observe`)."""

    def __init__(
        self,
        settings: ObservabilitySection,
        providers: Mapping[str, str] | None = None,
        engines: frozenset[str] = frozenset(),
        tracing: Tracing | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`providers` name each backend as a consumer reads it; `engines` are our own."""
        self.settings = settings
        self.toggles = Toggles.of(settings)
        self.log_dir = log_folder(settings)
        self.access_log = AccessLog(self.log_dir, settings.log_max_days)
        self.store = Store(
            payload_folder(settings),
            settings.payload_max_bytes,
            settings.payload_max_days,
            settings.payload_response_max_bytes,
        )
        self.jobs = JobFigures(self.toggles, engines)
        self.window = RollingWindow(settings.metrics_window_s, wall())
        self.requests = Counter()
        self.seconds = Histogram()
        self.tracing = tracing
        self._providers = dict(providers or {})
        self._wall = wall
        self._watched: dict[str, RequestWatch] = {}
        self._reported: set[str] = set()

    def start(self) -> None:
        """Begin to write; logs once what is on and where it goes."""
        self.store.start()
        log.info(
            "observability",
            metrics=self.toggles.metrics,
            access_log=self.toggles.access_log,
            payload=self.toggles.payload,
            log_dir=str(self.log_dir),
            payload_dir=str(self.store.root),
            traces=self.tracing is not None,
        )

    def close(self) -> None:
        """Write what waits; bounded. Blocks."""
        self.access_log.close()
        self.store.close()
        if self.tracing is not None:
            self.tracing.close()

    # --- of jobs --------------------------------------------------------------------------------------

    def observe(self, transition: Transition) -> None:
        """The scheduler's observer."""
        if transition.target is Phase.DONE:
            watch = self._watched.pop(transition.job.id, None)
            if watch is not None:
                watch.job = transition.job
        self.guarded("jobs", self.jobs.observe, transition)
        if self.tracing is not None:
            self.guarded("traces", self.tracing.observe, transition)

    def became_job(
        self, watch: RequestWatch | None, job: Job, headers: Callable[[str], str | None]
    ) -> None:
        """A request has become a job; `headers` returns one of its headers."""
        if watch is not None:
            watch.job = job
            self._watched[job.id] = watch
        if self.tracing is not None and (parent := headers("traceparent")) is not None:
            state = headers("tracestate")
            carried = {"traceparent": parent} | ({"tracestate": state} if state else {})
            self.tracing.carry(job.id, carried)

    # --- of requests ----------------------------------------------------------------------------------

    def begin(
        self,
        method: str,
        path: str,
        query: str,
        request_id: str,
        client: str | None,
    ) -> RequestWatch | None:
        """Watch a request, if it is capability traffic and anything is on."""
        category = category_of(path)
        if category is None or method == "OPTIONS" or not self.toggles.any:
            return None
        capture = self.store.begin(request_id) if self.toggles.payload else None
        return RequestWatch(category, method, path, query, request_id, client, capture)

    def end(
        self,
        watch: RequestWatch,
        status: int,
        lost: bool,
        job: Job | None,
        sent: Pairs,
        answered: Pairs,
        now: float,
    ) -> None:
        """The request is over. `job` is its job if that has not ended yet; headers are for a capture.
        `now` is the scheduler's time."""
        self.guarded("requests", self._end, watch, status, lost, job, sent, answered, now)

    def _end(
        self,
        watch: RequestWatch,
        status: int,
        lost: bool,
        job: Job | None,
        sent: Pairs,
        answered: Pairs,
        now: float,
    ) -> None:
        known = watch.job
        if known is not None and self._watched.pop(known.id, None) is not None and job is not None:
            known = job
        fault = watch.fault
        if known is not None and known.outcome is not None:
            fault = known.outcome.fault
        elapsed = time.perf_counter() - watch.started
        provider = self._providers.get(known.route.backend) if known is not None else None
        exchange = Exchange(
            at=self._wall(),
            request_id=watch.request_id,
            method=watch.method,
            path=watch.path,
            query=watch.query or None,
            status=status,
            category=watch.category,
            status_class=class_of(status, lost, fault),
            model=model_of(known),
            latency_ms=elapsed * 1000,
            slot_wait_ms=wait_ms(known, now),
            client=watch.client,
            extra=extra_of(watch.category, known, elapsed, provider, fault),
        )
        if self.toggles.metrics:
            self.window.add(exchange)
            self.requests.add((exchange.category, exchange.status_class))
            self.seconds.add((exchange.category,), elapsed)
        if self.toggles.access_log:
            self.access_log.put(exchange)
        if watch.capture is not None:
            watch.capture.finish(meta(exchange, sent, answered))

    def guarded(self, what: str, do: Callable[P, object], *args: P.args, **named: P.kwargs) -> None:
        """Do it; a failure costs the record and is logged once."""
        try:
            do(*args, **named)
        except Exception:
            if what not in self._reported:
                self._reported.add(what)
                log.exception("watching failed", what=what)


def meta(exchange: Exchange, sent: Pairs, answered: Pairs) -> dict[str, Any]:
    """What `meta.json` holds of the exchange, secrets masked."""
    return {
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "category": exchange.category,
        "model": exchange.model,
        "latency_ms": round(exchange.latency_ms, 2),
        "slot_wait_ms": exchange.slot_wait_ms,
        "request_headers": redact.headers(sent),
        "response_headers": redact.headers(answered),
        "extra": exchange.extra,
    }
