"""Types of the operators' endpoints: switches, captures, metrics. Pure. See `contract.public`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_doc import Doc
from attrs import frozen

from aistack.contract.fields import KEEP_NULL


@frozen(kw_only=True)
class PayloadUsage:
    """Disk space that captures take."""

    bytes: Annotated[int, Doc("Size of all captures together.")]
    cap_bytes: Annotated[int, Doc("Beyond this size the oldest captures are removed.")]
    count: Annotated[int, Doc("Number of captures.")]
    earliest: Annotated[
        float | None,
        Doc("Unix time of the oldest capture, in seconds; null if there is none."),
        KEEP_NULL,
    ] = None
    max_age_days: Annotated[int, Doc("Captures older than this many days are removed; 0: never.")]


@frozen(kw_only=True)
class ObservabilityState:
    """The three switches and where their data goes. A restart restores the configured values."""

    metrics: Annotated[bool, Doc("Whether requests and jobs are counted.")]
    access_log: Annotated[bool, Doc("Whether each capability request is written to the access log.")]
    payload: Annotated[bool, Doc("Whether request and response bodies are captured.")]
    payload_usage: Annotated[PayloadUsage, Doc("Disk space that the captures take.")]
    log_dir: Annotated[str, Doc("Folder of the access log.")]


@frozen(kw_only=True)
class ObservabilityToggle:
    """One switch to change. A form with the same two fields is accepted as well."""

    key: Annotated[Literal["metrics", "access_log", "payload"], Doc("Which switch.")]
    value: Annotated[Any, Doc("1, on, true, yes or y in any case: on. Anything else: off.")]


@frozen(kw_only=True)
class LatencyFigures:
    """Latency over the window, in milliseconds. Null if there were no requests."""

    p50: Annotated[float | None, Doc("Median."), KEEP_NULL]
    p95: Annotated[float | None, Doc("95th percentile."), KEEP_NULL]
    p99: Annotated[float | None, Doc("99th percentile."), KEEP_NULL]
    max: Annotated[float | None, Doc("Maximum."), KEEP_NULL]
    samples: Annotated[int, Doc("Requests in the window.")]
    histogram: Annotated[
        Mapping[str, int], Doc("Requests by bin: <=10, <=25, ... <=60000, >60000 milliseconds.")
    ]


@frozen(kw_only=True)
class WaitFigures:
    """Time in the queue over the window, in milliseconds."""

    p50: Annotated[float | None, Doc("Median."), KEEP_NULL]
    p95: Annotated[float | None, Doc("95th percentile."), KEEP_NULL]
    p99: Annotated[float | None, Doc("99th percentile."), KEEP_NULL]
    samples: Annotated[int, Doc("Requests in the window.")]


@frozen(kw_only=True)
class CategoryFigures:
    """One capability: totals since the start, percentiles over the window."""

    total: Annotated[int, Doc("Requests since the start.")]
    by_class: Annotated[Mapping[str, int], Doc("Requests by the five classes.")]
    error_count: Annotated[
        int, Doc("4xx and 5xx responses; busy refusals and disconnects are not counted.")
    ]
    error_rate: Annotated[float, Doc("error_count / total.")]
    slot_503: Annotated[int, Doc("Requests refused because the GPU was busy.")]
    disconnected: Annotated[int, Doc("Requests whose client disconnected before the end.")]
    throughput_per_min: Annotated[
        float, Doc("Requests per minute over the window, or since the start if that is shorter.")
    ]
    latency_ms: Annotated[LatencyFigures, Doc("Latency.")]
    slot_wait_ms: Annotated[WaitFigures, Doc("Time in the queue.")]
    recent: Annotated[
        tuple[Mapping[str, Any], ...],
        Doc(
            "The last 50 requests, newest last: ts (Unix seconds), request_id, status, class, "
            "latency_ms, slot_wait_ms, extra (as in the access log)."
        ),
    ]


@frozen(kw_only=True)
class MetricsReport:
    """Metrics of capability requests, by capability; those without traffic are absent."""

    uptime_sec: Annotated[float, Doc("Seconds since the start.")]
    window_sec: Annotated[int, Doc("Length of the window, in seconds.")]
    categories: Annotated[Mapping[str, CategoryFigures], Doc("By `asr`, `llm`, `tts`.")]
