"""/metrics: what is in it, that a source that fails costs its own figures only, and its size."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from aistack.jobs import events as ev
from aistack.observe import sources
from aistack.observe.counts import Counter, Histogram
from aistack.observe.prometheus import Exposition, MetricFamily, counted, gauge, timed
from aistack.run.nvml import GpuMemory
from aistack.run.process import OurProcess
from tests.http.gateway.watched import samples
from tests.unit.jobs import build as b
from tests.unit.jobs.build import WHISPER
from tests.unit.observe.story import Story
from tests.unit.observe.test_job_metrics import HEARD, figures

UP = "aistack_scrape_source_up"


def fine() -> Iterable[MetricFamily]:
    yield gauge("fine", "It is.", (), [((), 1.0)])


def broken() -> Iterable[MetricFamily]:
    yield gauge("half", "Not to be seen.", (), [((), 1.0)])
    raise OSError("made up")


async def text(exposition: Exposition) -> str:
    body, content_type = await exposition.scrape()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


async def test_values_as_the_format_wants_them() -> None:
    counter, histogram = Counter(), Histogram((0.1, 1))
    counter.add(('we"ird\n',), 3)
    for value in (0.05, 0.5, 0.5, 7):
        histogram.add(("a",), value)

    def source() -> Iterable[MetricFamily]:
        yield counted("things", "Things.", ("name",), counter)
        yield timed("took_seconds", "Times.", ("op",), histogram)

    found = samples(await text(Exposition({"all": source})))
    assert found["things_total"] == {(("name", 'we"ird\n'),): 3}
    bins = {labels[0][1]: value for labels, value in found["took_seconds_bucket"].items()}
    assert bins == {"0.1": 1, "1.0": 3, "+Inf": 4}
    assert found["took_seconds_sum"][("op", "a"),] == pytest.approx(8.05)
    assert found["took_seconds_count"][("op", "a"),] == 4


async def test_a_source_that_fails_costs_its_own_figures_only() -> None:
    exposition = Exposition({"fine": fine, "broken": broken}, {"slow": broken})
    with capture_logs() as told:
        found = samples(await text(exposition))
        await exposition.scrape()
    assert found["fine"] == {(): 1.0}
    assert "half" not in found
    assert {key[0][1]: up for key, up in found[UP].items()} == {"fine": 1, "broken": 0, "slow": 0}
    warned = [(entry["source"], entry["reason"]) for entry in told if entry["log_level"] == "warning"]
    assert [source for source, _ in warned] == ["broken", "slow"], "once each, not at every scrape"
    assert all(reason.endswith("Error") for _, reason in warned)


async def test_a_source_that_hangs_is_waited_for_once() -> None:
    gate, asked = threading.Event(), []

    def hangs() -> Iterable[MetricFamily]:
        asked.append(1)
        gate.wait(30)
        return fine()

    exposition = Exposition({"fine": fine}, {"driver": hangs}, slow_s=0.01)
    try:
        for _ in range(3):
            found = samples(await text(exposition))
            assert found[UP][("source", "driver"),] == 0
        assert asked == [1], "no thread for every scrape of a driver that hangs"
    finally:
        gate.set()


def exposition_of(jobs: int) -> Exposition:
    """A service that has done so many jobs, for as many models as there may be."""
    seen = figures()
    story = Story(b.service(WHISPER), [seen.observe])
    for number in range(jobs):
        name = str(number)
        story.submit(number, b.listen(name))
        story.at(number + 0.5, ev.Finished(name, HEARD))
    return Exposition(
        {
            "jobs": lambda: sources.job_families(seen),
            "slots": lambda: sources.slot_families(story.snapshot, jobs, seen.names),
        }
    )


async def test_its_size_does_not_grow_with_the_jobs() -> None:
    few, many = len(await text(exposition_of(10))), len(await text(exposition_of(10_000)))
    assert many < few * 1.2
    found = samples(await text(exposition_of(10_000)))
    ok = (("code", ""), ("model", "whisper-small"), ("op", "transcribe"), ("outcome", "ok"))
    assert found["aistack_jobs_total"][ok] == 10_000


async def test_who_holds_the_slot_and_how_long_the_line_is() -> None:
    seen = figures()
    story = Story(b.service(WHISPER), [seen.observe])
    story.submit(5.0, b.listen("t"))
    story.submit(6.0, b.chat("c", max_wait_s=60))

    def source() -> Iterable[MetricFamily]:
        return sources.slot_families(story.snapshot, 9.0, seen.names)

    found = samples(await text(Exposition({"slots": source})))
    assert found["aistack_slot_busy"] == {(("device", "gpu0"),): 1}
    (holder,) = found["aistack_slot_holder"]
    assert dict(holder)["op"] == "transcribe" and dict(holder)["state"] == "running"
    assert found["aistack_slot_held_seconds"] == {(("device", "gpu0"),): 4.0}
    assert found["aistack_line_length"] == {(): 1}
    (resident,) = found["aistack_resident_model"]
    assert dict(resident) == {"device": "gpu0", "engine": "whisper", "model": "whisper-small"}


async def test_memory_of_engines_and_cards() -> None:
    ours = [
        OurProcess(os.getpid(), "whisper", "cuda:0"),
        OurProcess(2**22 + 1, "gone", "cpu"),
        OurProcess(os.getppid(), "whisper", None),
    ]

    def source() -> Iterable[MetricFamily]:
        return sources.memory_families(ours, lambda: {"cuda:0": GpuMemory(free=2, total=10)})

    found = samples(await text(Exposition({}, {"memory": source})))
    card = {dict(key)["kind"]: value for key, value in found["aistack_card_memory_bytes"].items()}
    assert card == {"used": 8, "total": 10}
    sizes = {
        (label["engine"], label["device"], label["kind"]): size
        for key, size in found["aistack_engine_memory_bytes"].items()
        if (label := dict(key))
    }
    assert sizes["whisper", "cuda:0", "rss"] > 10_000_000
    assert ("whisper", "spare", "rss") in sizes and ("gone", "cpu", "rss") not in sizes
    assert sizes["whisper", "cuda:0", "pss"] > 0


async def test_a_driver_that_fails_does_not_cost_the_queue() -> None:
    def driver() -> NoReturn:
        raise RuntimeError("no driver")

    def slots() -> Iterable[MetricFamily]:
        return sources.slot_families(b.service(WHISPER), 0.0, figures().names)

    memory = Exposition({"slots": slots}, {"memory": lambda: sources.memory_families([], driver)})
    found = samples(await text(memory))
    assert found["aistack_line_length"] == {(): 0}
    assert found[UP][("source", "memory"),] == 0
