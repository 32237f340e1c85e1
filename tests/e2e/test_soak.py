"""The long run in small: every bar of the large one, over three hundred jobs."""

from __future__ import annotations

from contrib.dev.bench.soak import soak


def test_three_hundred_jobs_leave_nothing_behind() -> None:
    report = soak(jobs=300, real=10, clients=8, seed=2)
    assert report.failures == [], str(report)
    assert report.killed > 0
    assert report.outcomes["failed"] > 0
    assert set(report.clients) <= {"200", "200, then an error event", "400", "413", "500", "503", "left"}
