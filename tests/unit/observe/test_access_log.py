"""The access log's thread: what it writes, what it drops, and that it never makes anyone wait."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from aistack.observe.access_log import BATCH, AccessLog
from aistack.observe.trouble import Trouble
from tests.unit.observe.story import exchange

BOUND_S = 30.0
DAY = 86_400.0
MIDNIGHT = 1_789_430_400.0
"""The first second of a UTC day, 2026-09-15."""


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[AccessLog]:
    log = AccessLog(tmp_path / "logs", 0, flush_s=3600)
    yield log
    log.close()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines()]


def test_a211_each_utc_day_has_its_file(logged: AccessLog) -> None:
    for name, at in (("before", MIDNIGHT - 0.001), ("after", MIDNIGHT), ("later", MIDNIGHT + 1)):
        logged.put(exchange(name, at))
    assert logged.flush(BOUND_S)
    assert ids(logged.folder / "access-2026-09-14.jsonl") == ["before"]
    assert ids(logged.folder / "access-2026-09-15.jsonl") == ["after", "later"]
    line = json.loads((logged.folder / "access-2026-09-14.jsonl").read_text())
    assert (line["ts"], line["latency_ms"]) == ("2026-09-14T23:59:59.999Z", 12.35)


def test_a_full_batch_is_written_without_waiting(tmp_path: Path) -> None:
    written = threading.Event()

    class Told(AccessLog):
        def _append(self, path: Path, data: bytes) -> None:
            super()._append(path, data)
            written.set()

    log = Told(tmp_path, 0, flush_s=3600)
    for number in range(BATCH):
        log.put(exchange(str(number)))
    assert written.wait(BOUND_S)
    log.close()
    (path,) = tmp_path.iterdir()
    assert len(ids(path)) == BATCH


def test_a_few_are_written_after_the_flush_time(tmp_path: Path) -> None:
    written = threading.Event()

    class Told(AccessLog):
        def _append(self, path: Path, data: bytes) -> None:
            super()._append(path, data)
            written.set()

    log = Told(tmp_path, 0, flush_s=0.01)
    log.put(exchange())
    assert written.wait(BOUND_S)
    log.close()


def test_close_writes_what_is_left(logged: AccessLog) -> None:
    logged.put(exchange("last"))
    logged.close()
    (path,) = logged.folder.iterdir()
    assert ids(path) == ["last"]


class Stuck(AccessLog):
    """A disk that takes nothing until the gate opens."""

    gate: threading.Event
    entered: threading.Event

    def _append(self, path: Path, data: bytes) -> None:
        self.entered.set()
        assert self.gate.wait(BOUND_S)
        super()._append(path, data)


def test_an_overflow_is_dropped_counted_and_told_once(tmp_path: Path) -> None:
    with capture_logs() as told:
        log = Stuck(tmp_path, 0, room=11, flush_s=0)
        log.gate, log.entered = threading.Event(), threading.Event()
        log.put(exchange("first"))
        assert log.entered.wait(BOUND_S)
        for number in range(15):
            log.put(exchange(str(number)))
        assert log.dropped == 5
        log.gate.set()
        assert log.flush(BOUND_S)
        log.close()
    assert [entry["event"] for entry in told] == [
        "the access log cannot keep up; records are dropped",
        "the access log is written again",
    ]
    (path,) = tmp_path.iterdir()
    assert ids(path) == ["first", *map(str, range(10))]


def test_a223_a_full_disk_drops_lines_and_says_so_once(tmp_path: Path) -> None:
    full = tmp_path / "access-2026-09-15.jsonl"
    full.symlink_to("/dev/full")
    log = AccessLog(tmp_path, 0, flush_s=0)
    with capture_logs() as told:
        for _ in range(2):
            log.put(exchange(at=MIDNIGHT))
            assert log.flush(BOUND_S)
        assert (log.dropped, log.written) == (2, 0)
        full.unlink()
        log.put(exchange("fits again", at=MIDNIGHT))
        log.close()
    assert [(entry["event"], entry.get("reason")) for entry in told] == [
        ("the access log cannot be written", "No space left on device"),
        ("the access log is written again", None),
    ]
    assert ids(full) == ["fits again"]


def test_a_disk_on_the_edge_is_not_told_every_time() -> None:
    told: list[str] = []
    now = [0.0]
    trouble = Trouble(told.append, clock=lambda: now[0])
    for second in range(150):
        now[0] = second
        trouble.met("began")
        trouble.over("over")
    assert told == ["began", "over"] * 3
    trouble.met("began")
    assert len(told) == 6, "not before a minute has passed"
    now[0] += 60
    trouble.met("began")
    assert told[6:] == ["began"], "but then it is told, for it lasts"


def test_a_torn_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog(tmp_path, 0, flush_s=0)
    log.put(exchange("whole", at=MIDNIGHT))
    assert log.flush(BOUND_S)
    write = os.write
    pieces = iter((20, None))

    def half(descriptor: int, data: memoryview) -> int:
        piece = next(pieces)
        if piece is None:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:piece])

    with monkeypatch.context() as patch:
        patch.setattr("aistack.observe.access_log.os.write", half)
        log.put(exchange("torn", at=MIDNIGHT))
        assert log.flush(BOUND_S)
    log.close()
    (path,) = tmp_path.iterdir()
    assert ids(path) == ["whole"]


def test_a_record_that_cannot_be_written_costs_itself_only(logged: AccessLog) -> None:
    logged.put(exchange("before"))
    logged.put(exchange("odd", extra={"value": object()}))
    logged.put(exchange("after"))
    assert logged.flush(BOUND_S)
    (path,) = logged.folder.iterdir()
    assert (ids(path), logged.dropped) == (["before", "after"], 1)


def test_old_files_of_ours_go_and_nothing_else(tmp_path: Path) -> None:
    names = [
        "access-2026-09-01.jsonl",
        "access-2026-09-08.jsonl",
        "access-2026-09-07.jsonl",
        "notes.txt",
    ]
    for name in (*names, "access-2020-01-01.jsonl.bak"):
        (tmp_path / name).touch()
    log = AccessLog(tmp_path, 7, today=lambda: "2026-09-15")
    log.put(exchange(at=MIDNIGHT))
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "access-2020-01-01.jsonl.bak",
        "access-2026-09-08.jsonl",
        "access-2026-09-15.jsonl",
        "notes.txt",
    ]
