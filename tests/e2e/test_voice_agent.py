"""The voice agent's day in small: every bar of the long one, over five rounds."""

from __future__ import annotations

import pytest

from contrib.dev.bench.soak import Vitals
from contrib.dev.bench.voice_agent import OPS, Report, run


@pytest.mark.parametrize("voice", ["espeak", "sleeping"])
def test_five_rounds_hand_the_card_over_and_leave_nothing_behind(voice: str) -> None:
    report = run(rounds=5, voice=voice)
    assert report.failures == [], str(report)
    medians = report.medians()
    assert set(medians) == set(OPS.values())
    assert all(0 <= each["prepare_s"] <= each["total_s"] for each in medians.values())


def test_what_is_left_behind_would_be_seen() -> None:
    """The bars of the run: more memory, a process, a descriptor, threads, jobs that are missing."""
    took = {op: {"total_s": [0.1] * 4, "prepare_s": [0.05] * 4} for op in OPS}
    report = Report(4, "espeak", 1.0, Vitals(9, 5, 2, 0), Vitals(9, 5, 2, 0), 11, [50, 51, 52], took)
    report.judge()
    assert report.failures == []
    report.after = Vitals(9, 5, 3, 0)
    report.judge()
    assert len(report.failures) == 1
    report.after, report.threads_max, report.rounds = Vitals(9, 12, 2, 0), 11, 5
    report.rss[2] += 6_000_000
    report.judge()
    assert len(report.failures) == 1 + 2 + len(OPS)
