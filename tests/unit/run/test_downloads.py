"""A first download in the log: not too much, not too little, and its end."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from aistack.chunks import DOWNLOAD, Progress
from aistack.run.downloads import DownloadLog

pytestmark = pytest.mark.both_loops

MB = 1_000_000


class Told:
    """A download at a clock of its own, and the lines it made."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log = DownloadLog("whisper-small", "whisper", "j1", lambda: self.now)

    def __call__(
        self, done: float, total: float | None, after: float = 0.0, unit: str = DOWNLOAD
    ) -> list[dict[str, Any]]:
        self.now += after
        with capture_logs() as lines:
            self.log.note(Progress(done, total, unit))
        return [dict(line) for line in lines]


@pytest.fixture
def told() -> Told:
    return Told()


def test_every_ten_percent_or_five_seconds(told: Told) -> None:
    (first,) = told(0, 500 * MB)
    assert first["event"] == "model.download"
    assert (first["model"], first["engine"], first["job_id"]) == ("whisper-small", "whisper", "j1")
    assert (first["bytes"], first["total"], first["percent"]) == (0, 500 * MB, 0)
    assert told(40 * MB, 500 * MB, after=1) == []
    (tenth,) = told(50 * MB, 500 * MB)
    assert tenth["percent"] == 10
    assert told(51 * MB, 500 * MB, after=4.9) == []
    (slow,) = told(52 * MB, 500 * MB, after=0.2)
    assert (slow["bytes"], slow["percent"]) == (52 * MB, 10)


def test_a_length_that_is_not_known(told: Told) -> None:
    (first,) = told(7, None)
    assert (first["bytes"], first["total"], "percent" in first) == (7, None, False)
    assert told(8, None, after=4) == []
    (later,) = told(9, None, after=1)
    assert later["bytes"] == 9


def test_its_end_is_the_first_sign_of_something_else(told: Told) -> None:
    told(0, 100)
    told(100, 100, after=3)
    (end,) = told(0, None, after=1.5, unit="bytes")
    assert (end["event"], end["bytes"], end["seconds"]) == ("model.downloaded", 100, 4.5)
    assert told(5, None, unit="bytes") == [], "told once"


def test_a_load_without_a_download_says_nothing(told: Told) -> None:
    assert told(0, None, unit="bytes") == []
