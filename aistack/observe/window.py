"""The JSON of /admin/api/metrics: classes since the start, percentiles over a rolling window. Pure.

Memory is bounded whatever the rate: of each capability the last `SAMPLES` requests are kept. Where
they do not reach back over the whole window, the figures are over the time they do reach, and so is
the throughput; just after the start it is over the time since the start.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from aistack.observe.exchange import CLASSES, ERRORS, Exchange

SAMPLES = 10_000
RECENT = 50
BOUNDS_MS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)

Sample = tuple[float, float, float]
"""When it ended (Unix seconds), latency and wait in milliseconds."""


class Category:
    """One capability's requests."""

    def __init__(self) -> None:
        self.total = 0
        self.by_class = dict.fromkeys(CLASSES, 0)
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.recent: deque[Exchange] = deque(maxlen=RECENT)

    def add(self, exchange: Exchange) -> None:
        """Count one; O(1)."""
        self.total += 1
        self.by_class[exchange.status_class] += 1
        self.samples.append((exchange.at, exchange.latency_ms, exchange.slot_wait_ms))
        self.recent.append(exchange)

    def copy(self) -> Category:
        """As it is now, for another thread to read."""
        twin = Category()
        twin.total, twin.by_class = self.total, dict(self.by_class)
        twin.samples, twin.recent = self.samples.copy(), self.recent.copy()
        return twin


class RollingWindow:
    """All capabilities. Times are Unix seconds; `window_s` is the length of the window."""

    def __init__(self, window_s: float, now: float) -> None:
        self.window_s = window_s
        self.started = now
        self.categories: dict[str, Category] = {}

    def add(self, exchange: Exchange) -> None:
        """Count one finished request; O(1)."""
        category = self.categories.get(exchange.category)
        if category is None:
            category = self.categories[exchange.category] = Category()
        category.add(exchange)

    def copy(self) -> RollingWindow:
        """As it is now, for another thread to read."""
        twin = RollingWindow(self.window_s, self.started)
        twin.categories = {name: category.copy() for name, category in self.categories.items()}
        return twin

    def report(self, now: float) -> dict[str, Any]:
        """The body of /admin/api/metrics."""
        uptime = max(0.0, now - self.started)
        return {
            "uptime_sec": round(uptime, 1),
            "window_sec": int(self.window_s),
            "categories": {
                name: _report(category, now, min(self.window_s, uptime))
                for name, category in self.categories.items()
            },
        }


def _report(category: Category, now: float, reach_s: float) -> dict[str, Any]:
    within = [sample for sample in category.samples if sample[0] >= now - reach_s]
    if len(within) == SAMPLES:
        reach_s = now - within[0][0]
    errors = sum(category.by_class[word] for word in ERRORS)
    latencies = sorted(latency for _, latency, _ in within)
    waits = sorted(wait for _, _, wait in within)
    return {
        "total": category.total,
        "by_class": category.by_class,
        "error_count": errors,
        "error_rate": round(errors / category.total, 4) if category.total else 0.0,
        "slot_503": category.by_class["503-busy"],
        "disconnected": category.by_class["client-disconnect"],
        "throughput_per_min": round(len(within) * 60 / max(reach_s, 1.0), 1),
        "latency_ms": {
            **_percentiles(latencies),
            "max": round(latencies[-1], 1) if latencies else None,
            "samples": len(latencies),
            "histogram": histogram(latencies),
        },
        "slot_wait_ms": {**_percentiles(waits), "samples": len(waits)},
        "recent": [_recent(exchange) for exchange in category.recent],
    }


def _percentiles(ordered: Sequence[float]) -> dict[str, float | None]:
    return {f"p{share}": nearest_rank(ordered, share / 100) for share in (50, 95, 99)}


def nearest_rank(ordered: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the ordered values lie; None if there are none."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)


def histogram(values: Sequence[float]) -> Mapping[str, int]:
    """How many values fall into each of the thirteen bins; a value on a bound is below it."""
    counts = [0] * (len(BOUNDS_MS) + 1)
    for value in values:
        counts[bisect_left(BOUNDS_MS, value)] += 1
    return dict(zip([*(f"<={bound}" for bound in BOUNDS_MS), f">{BOUNDS_MS[-1]}"], counts, strict=True))


def _recent(exchange: Exchange) -> dict[str, Any]:
    return {
        "ts": round(exchange.at, 3),
        "request_id": exchange.request_id,
        "status": exchange.status,
        "class": exchange.status_class,
        "latency_ms": round(exchange.latency_ms, 1),
        "slot_wait_ms": exchange.slot_wait_ms,
        "extra": exchange.extra,
    }
