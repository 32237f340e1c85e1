"""Types of the operators' endpoints: switches, captures, figures as JSON. Pure. See `contract`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen


@frozen(kw_only=True)
class PayloadUsage:
    """What captures take on the disk."""

    bytes: int = field(metadata={"says": "All captures together."})
    cap_bytes: int = field(metadata={"says": "Beyond it the oldest are removed."})
    count: int = field(metadata={"says": "How many captures there are."})
    earliest: float | None = field(
        default=None,
        metadata={"says": "Unix time of the oldest, in seconds; null if none.", "keep_null": True},
    )
    max_age_days: int = field(metadata={"says": "Older ones are removed; 0 keeps them for ever."})


@frozen(kw_only=True)
class ObservabilityState:
    """The three switches and what they lead to. A restart returns to the configuration."""

    metrics: bool = field(metadata={"says": "Requests and jobs are counted."})
    access_log: bool = field(metadata={"says": "Each capability request is a line in the access log."})
    payload: bool = field(metadata={"says": "Bodies of requests and answers are captured."})
    payload_usage: PayloadUsage = field(metadata={"says": "The captures there are."})
    log_dir: str = field(metadata={"says": "Folder of the access log."})


@frozen(kw_only=True)
class ObservabilityToggle:
    """One switch to turn. A form with the same two fields is taken as well."""

    key: Literal["metrics", "access_log", "payload"] = field(metadata={"says": "Which one."})
    value: Any = field(metadata={"says": "1, on, true, yes or y in any case: on. All else: off."})


@frozen(kw_only=True)
class LatencyFigures:
    """Latency over the window, milliseconds. Null where there was no request."""

    p50: float | None = field(metadata={"says": "Half took no longer.", "keep_null": True})
    p95: float | None = field(metadata={"says": "95 of 100 took no longer.", "keep_null": True})
    p99: float | None = field(metadata={"says": "99 of 100 took no longer.", "keep_null": True})
    max: float | None = field(metadata={"says": "The longest.", "keep_null": True})
    samples: int = field(metadata={"says": "Requests in the window."})
    histogram: Mapping[str, int] = field(
        metadata={"says": "Requests by bin: <=10, <=25, ... <=60000, >60000 milliseconds."}
    )


@frozen(kw_only=True)
class WaitFigures:
    """Time in line over the window, milliseconds."""

    p50: float | None = field(metadata={"says": "Half waited no longer.", "keep_null": True})
    p95: float | None = field(metadata={"says": "95 of 100 waited no longer.", "keep_null": True})
    p99: float | None = field(metadata={"says": "99 of 100 waited no longer.", "keep_null": True})
    samples: int = field(metadata={"says": "Requests in the window."})


@frozen(kw_only=True)
class CategoryFigures:
    """One capability since the start, with percentiles over the window."""

    total: int = field(metadata={"says": "Requests since the start."})
    by_class: Mapping[str, int] = field(metadata={"says": "Requests by the five classes."})
    error_count: int = field(metadata={"says": "4xx and 5xx; busy and left are no errors."})
    error_rate: float = field(metadata={"says": "error_count / total."})
    slot_503: int = field(metadata={"says": "Refused because the card was busy."})
    disconnected: int = field(metadata={"says": "Their client left before the end."})
    throughput_per_min: float = field(
        metadata={"says": "Per minute of the window, or of the time since the start if that is less."}
    )
    latency_ms: LatencyFigures = field(metadata={"says": "Latency."})
    slot_wait_ms: WaitFigures = field(metadata={"says": "Time in line."})
    recent: tuple[Mapping[str, Any], ...] = field(
        metadata={
            "says": "The last 50, newest last: ts (Unix seconds), request_id, status, class, "
            "latency_ms, slot_wait_ms, extra (as in the access log)."
        }
    )


@frozen(kw_only=True)
class MetricsReport:
    """Figures of capability requests by capability; those without traffic are absent."""

    uptime_sec: float = field(metadata={"says": "Since the start."})
    window_sec: int = field(metadata={"says": "Length of the window."})
    categories: Mapping[str, CategoryFigures] = field(metadata={"says": "By `asr`, `llm`, `tts`."})
