"""Puts what watches together with what it watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from aistack.config.observability import ObservabilitySection
from aistack.contract.internal import PoolStats
from aistack.jobs.model import Snapshot
from aistack.observe import sources
from aistack.observe.observability import Observability
from aistack.observe.prometheus import Exposition, MetricFamily
from aistack.observe.tracing import tracing
from aistack.run.runner import Runner
from aistack.run.scheduler import Scheduler

Stats = Callable[[Snapshot, float], PoolStats]


def observability(
    settings: ObservabilitySection, providers: Mapping[str, str], engines: frozenset[str]
) -> Observability:
    """As configured; traces only if there is an endpoint and the extra is installed."""
    return Observability(settings, providers, engines, tracing(settings.otel_endpoint, _now))


def _now() -> float:
    """The scheduler's time."""
    return asyncio.get_running_loop().time()


def exposition(
    observing: Observability, scheduler: Scheduler, runner: Runner, stats: Stats
) -> Exposition:
    """What /metrics shows. `stats` makes the body of /stats."""
    devices = tuple(slot.device for slot in scheduler.snapshot.slots)
    jobs = observing.jobs

    def slots() -> list[MetricFamily]:
        return list(sources.slot_families(scheduler.snapshot, _now(), jobs.names))

    def generations() -> list[MetricFamily]:
        body = stats(scheduler.snapshot, _now())
        return list(sources.generation_families(body, jobs.inference))

    def requests() -> list[MetricFamily]:
        return list(sources.request_families(observing.requests, observing.seconds))

    def memory() -> list[MetricFamily]:
        cards = partial(sources.card_memory, devices)
        return list(sources.memory_families(runner.processes(), cards))

    def own() -> list[MetricFamily]:
        return list(sources.own_families(observing.toggles, observing.access_log, observing.store))

    return Exposition(
        quick={
            "jobs": lambda: sources.job_families(jobs),
            "requests": requests,
            "slots": slots,
            "generations": generations,
            "engines": lambda: sources.engine_families(runner.started, runner.lost),
            "observability": own,
        },
        slow={"memory": memory},
    )
