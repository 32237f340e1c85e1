"""The figures of /admin/api/metrics: ranks, bins, and a window that is never longer than the uptime."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack.errors import Code, Fault, internal
from aistack.observe.exchange import category_of, class_of
from aistack.observe.window import SAMPLES, RollingWindow, histogram, nearest_rank
from tests.unit.observe.story import exchange

START = 1_000_000.0
BUSY = Fault(Code.SLOT_BUSY, "busy")
DRAINING = Fault(Code.DRAINING, "draining")


def window(*ends: float, window_s: float = 3600.0) -> RollingWindow:
    made = RollingWindow(window_s, START)
    for at in ends:
        made.add(exchange(at=START + at, latency_ms=at))
    return made


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a208_nearest_rank(values: Sequence[float], share: float) -> None:
    ordered = sorted(values)
    found = nearest_rank(ordered, share)
    rank = math.ceil(share * len(ordered))
    assert found == round(ordered[rank - 1], 1)


def test_a208_bins_hold_their_bounds() -> None:
    counts = histogram([0, 10, 10.1, 25, 60_000, 60_000.1])
    assert (counts["<=10"], counts["<=25"], counts["<=60000"], counts[">60000"]) == (2, 2, 1, 1)
    assert sum(counts.values()) == 6


def test_throughput_just_after_the_start_is_over_the_time_since_it() -> None:
    figures = window(1, 2, 3, 4, 5, 6).report(START + 6)["categories"]["asr"]
    assert figures["throughput_per_min"] == 60


def test_what_is_older_than_the_window_counts_for_totals_only() -> None:
    made = window(10, 5000, 5010)
    figures = made.report(START + 5020)["categories"]["asr"]
    assert (figures["total"], figures["latency_ms"]["samples"]) == (3, 2)
    assert figures["throughput_per_min"] == round(2 / 60, 1)
    quiet = made.report(START + 50_000)["categories"]["asr"]
    assert quiet["latency_ms"]["p50"] is quiet["latency_ms"]["max"] is None
    assert quiet["slot_wait_ms"] == {"p50": None, "p95": None, "p99": None, "samples": 0}


def test_memory_is_bounded_and_the_rate_stays_right() -> None:
    made = RollingWindow(3600.0, START)
    for number in range(SAMPLES + 5000):
        made.add(exchange(at=START + number / 100))
    now = START + (SAMPLES + 5000 - 1) / 100
    category = made.categories["asr"]
    assert (len(category.samples), len(category.recent)) == (SAMPLES, 50)
    assert category.total == SAMPLES + 5000
    told = made.report(now)["categories"]["asr"]
    assert told["throughput_per_min"] == pytest.approx(6000, rel=0.001)


def test_a_copy_stands_still() -> None:
    made = window(1)
    twin = made.copy()
    made.add(exchange(at=START + 2))
    assert twin.report(START + 3)["categories"]["asr"]["total"] == 1


@pytest.mark.parametrize(
    ("status", "lost", "fault", "word"),
    [
        (200, False, None, "2xx"),
        (304, False, None, "2xx"),
        (404, False, None, "4xx"),
        (500, False, internal(), "5xx"),
        (200, False, internal(), "5xx"),
        (503, False, DRAINING, "5xx"),
        (503, False, BUSY, "503-busy"),
        (200, True, None, "client-disconnect"),
        (499, False, None, "client-disconnect"),
        (503, True, BUSY, "client-disconnect"),
    ],
)
def test_a205_a206_a207_classes(status: int, lost: bool, fault: Fault | None, word: str) -> None:
    assert class_of(status, lost, fault) == word


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("/v1/audio/transcriptions", "asr"),
        ("/v1/audio/translations", "asr"),
        ("/v1/audio/speech", "tts"),
        ("/v1/audio/voices", "tts"),
        ("/v1/chat/completions", "llm"),
        ("/v1/models", None),
        ("/health", None),
        ("/generate", None),
        ("/admin/api/metrics", None),
    ],
)
def test_a212_what_is_capability_traffic(path: str, category: str | None) -> None:
    assert category_of(path) == category
