"""The text of /metrics: our numbers as prometheus_client's families, written by its encoder.

A scrape never fails for one source of figures: each is collected under a guard, and one that failed
is missing from the answer, which says so (`aistack_scrape_source_up 0`) and is still a 200: an
operator who has lost the driver must not lose the queue's length with it. What blocks (the driver,
/proc) runs in a thread, bounded; while one hangs, no second is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from attrs import define, field

from aistack.observe.counts import Counter, Histogram

log = structlog.get_logger("aistack.metrics")

SLOW_S = 5.0
"""How long a scrape waits for sources that block."""

Value = tuple[tuple[str, ...], float]


@define
class MetricFamily:
    """One metric: its name without `_total`, its sentence, and its values by label values."""

    kind: str
    name: str
    doc: str
    labels: tuple[str, ...] = ()
    values: Sequence[Value] = ()
    bins: Sequence[tuple[tuple[str, ...], Sequence[tuple[str, float]], float]] = ()


def gauge(name: str, doc: str, labels: tuple[str, ...], values: Iterable[Value]) -> MetricFamily:
    """A value that goes up and down."""
    return MetricFamily("gauge", name, doc, labels, tuple(values))


def counter(name: str, doc: str, labels: tuple[str, ...], values: Iterable[Value]) -> MetricFamily:
    """A sum that only grows."""
    return MetricFamily("counter", name, doc, labels, tuple(values))


def counted(name: str, doc: str, labels: tuple[str, ...], source: Counter) -> MetricFamily:
    """A Counter as it is now."""
    return counter(name, doc, labels, source.values.items())


def timed(name: str, doc: str, labels: tuple[str, ...], source: Histogram) -> MetricFamily:
    """A Histogram as it is now, its bins summed up from below as the format wants it."""
    bins = [(key, _cumulated(source.bounds, counts), total) for key, (counts, total) in _all(source)]
    return MetricFamily("histogram", name, doc, labels, bins=bins)


def _all(source: Histogram) -> Iterator[tuple[tuple[str, ...], tuple[list[int], float]]]:
    yield from source.values.items()


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    total, bins = 0, []
    for bound, count in zip((*map(_bound, bounds), "+Inf"), counts, strict=True):
        total += count
        bins.append((bound, float(total)))
    return bins


def _bound(bound: float) -> str:
    return repr(float(bound))


Source = Callable[[], Iterable[MetricFamily]]


@define
class Exposition:
    """What /metrics shows. `quick` sources are read on the loop, `slow` ones in a thread."""

    quick: Mapping[str, Source]
    slow: Mapping[str, Source] = field(factory=dict)
    slow_s: float = SLOW_S
    failures: dict[str, int] = field(factory=dict)
    _hanging: asyncio.Future[Any] | None = None
    _own: Any = None

    async def scrape(self) -> tuple[bytes, str]:
        """The answer and its content type."""
        families, missing = _collect(self.quick)
        more, slow_missing = await self._slowly()
        missing |= slow_missing
        self._note(missing)
        families += more
        families.append(
            gauge(
                "aistack_scrape_source_up",
                "Whether this source of figures could be read; 0: its metrics are missing.",
                ("source",),
                [((name,), float(not why)) for name, why in missing.items()],
            )
        )
        return await asyncio.to_thread(self._write, families)

    async def _slowly(self) -> tuple[list[MetricFamily], dict[str, str]]:
        if self._hanging is None or self._hanging.done():
            self._hanging = asyncio.ensure_future(asyncio.to_thread(_collect, self.slow))
            done, _ = await asyncio.wait({self._hanging}, timeout=self.slow_s)
            if done:
                families, missing = self._hanging.result()
                return families, missing
        return [], dict.fromkeys(self.slow, f"no answer within {self.slow_s:g} s")

    def _note(self, missing: Mapping[str, str]) -> None:
        """Log once when a source starts failing and once when it recovers."""
        for name, why in missing.items():
            before = self.failures.pop(name, 0)
            if why:
                self.failures[name] = before + 1
                if not before:
                    log.warning("figures for /metrics are missing", source=name, reason=why)
            elif before:
                log.warning("figures for /metrics are there again", source=name, scrapes=before)

    def _write(self, families: Sequence[MetricFamily]) -> tuple[bytes, str]:
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
        from prometheus_client.process_collector import ProcessCollector
        from prometheus_client.registry import CollectorRegistry

        if self._own is None:
            self._own = ProcessCollector(registry=None)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected([*map(_metric, families), *self._own.collect()]))
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _collect(sources: Mapping[str, Source]) -> tuple[list[MetricFamily], dict[str, str]]:
    """All families of all sources, and of each source why its own are missing; empty: they are not."""
    families: list[MetricFamily] = []
    missing = {}
    for name, source in sources.items():
        try:
            found = list(source())
        except Exception as exc:  # noqa: BLE001 - a source that fails may cost its own figures only
            missing[name] = type(exc).__name__
        else:
            families += found
            missing[name] = ""
    return families, missing


class _Collected:
    """prometheus_client's idea of a collector."""

    def __init__(self, metrics: Sequence[Any]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        return self._metrics


def _metric(family: MetricFamily) -> Any:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    if family.kind == "histogram":
        bins = HistogramMetricFamily(family.name, family.doc, labels=family.labels)
        for labels, buckets, total in family.bins:
            bins.add_metric(labels, buckets, total)
        return bins
    plain: Any = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = plain(family.name, family.doc, labels=family.labels)
    for labels, value in family.values:
        metric.add_metric(labels, value)
    return metric
