"""The access log: one JSON line per capability request, in a file per UTC day.

A thread writes; whoever logs only puts a record into a bounded queue. A disk that is full, slow or
gone costs lines, never a request: what does not fit is counted, and told once in the process log
when it begins and once when writing works again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from aistack.observe.exchange import Exchange
from aistack.observe.trouble import Trouble

log = structlog.get_logger("aistack.access_log")

ROOM = 10_000
"""Records that may wait to be written."""
BATCH = 100
FLUSH_S = 1.0
CLOSE_S = 2.0
_NAME = re.compile(r"access-(\d{4}-\d{2}-\d{2})\.jsonl")


def line(exchange: Exchange) -> dict[str, Any]:
    """The twelve fields."""
    return {
        "ts": _iso(exchange.at),
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path,
        "query": exchange.query,
        "status": exchange.status,
        "category": exchange.category,
        "model": exchange.model,
        "latency_ms": round(exchange.latency_ms, 2),
        "slot_wait_ms": exchange.slot_wait_ms,
        "client": exchange.client,
        "extra": exchange.extra,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


class AccessLog:
    """The records that wait, and the thread that writes them; it starts with the first record.

    `max_days`: files of earlier days are removed with the first line of each day; 0 keeps them. The
    thread is woken twice a batch, not once a record: a wake-up costs the loop more than all the
    rest of a record does.
    """

    def __init__(
        self,
        folder: Path,
        max_days: int,
        room: int = ROOM,
        flush_s: float = FLUSH_S,
        today: Callable[[], str] = _today,
    ) -> None:
        self.folder = folder
        self.written = 0
        self.dropped = 0
        self._max_days = max_days
        self._room = room
        self._flush_s = flush_s
        self._today = today
        self._waiting: deque[Exchange | threading.Event] = deque()
        self._some = threading.Event()
        self._now = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._swept = ""
        self._trouble = Trouble(log.warning)

    def put(self, exchange: Exchange) -> None:
        """Hand a record over. Never waits; an overflow is dropped and told once."""
        waiting = len(self._waiting)
        if waiting >= self._room:
            self.dropped += 1
            self._trouble.met("the access log cannot keep up; records are dropped")
            return
        self._waiting.append(exchange)
        # The thread clears the flag before it takes records: who finds it set after appending is seen.
        if not self._some.is_set():
            self._begin()
        if waiting >= BATCH - 1:
            self._now.set()

    def _begin(self) -> None:
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="aistack-access-log", daemon=True)
            self._thread.start()
        self._some.set()

    def flush(self, limit_s: float = CLOSE_S) -> bool:
        """Wait until what was put so far is written or dropped; whether it was within the limit."""
        if self._thread is None:
            return True
        reached = threading.Event()
        self._waiting.append(reached)
        self._now.set()
        self._some.set()
        return reached.wait(limit_s)

    def close(self) -> None:
        """Write what is left, `CLOSE_S` at most, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing = True
            self._now.set()
            self._some.set()
            thread.join(CLOSE_S)

    # --- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._now.wait(self._flush_s)
            # Cleared before the records are taken: what comes after them sets them again.
            self._now.clear()
            self._some.clear()
            last = self._closing
            self._drain()
            if last:
                return

    def _drain(self) -> None:
        """Write all that waits, a batch at a time."""
        while self._waiting:
            records: list[Exchange] = []
            reached: threading.Event | None = None
            while self._waiting and reached is None and len(records) < BATCH:
                item = self._waiting.popleft()
                if isinstance(item, threading.Event):
                    reached = item
                else:
                    records.append(item)
            try:
                self._write(records)
            except Exception as exc:  # noqa: BLE001 - a line that cannot be made must not end the thread
                self._failed(len(records), type(exc).__name__)
            if reached is not None:
                reached.set()

    def _write(self, records: list[Exchange]) -> None:
        if not records:
            return
        days: dict[str, list[str]] = {}
        for record in records:
            text = json.dumps(line(record), ensure_ascii=False, allow_nan=False)
            days.setdefault(_iso(record.at)[:10], []).append(text)
        done = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            for day, lines in days.items():
                data = "".join(f"{text}\n" for text in lines).encode("utf-8", "backslashreplace")
                self._append(self.folder / f"access-{day}.jsonl", data)
                done += len(lines)
        except OSError as exc:
            self.written += done
            self._failed(len(records) - done, exc.strerror or type(exc).__name__)
            return
        self.written += done
        self._trouble.over("the access log is written again", dropped=self.dropped)
        self._sweep()

    def _append(self, path: Path, data: bytes) -> None:
        """All of it or none: a torn line would spoil the file for its readers."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            before = os.fstat(descriptor).st_size
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def _failed(self, count: int, reason: str) -> None:
        self.dropped += count
        self._trouble.met("the access log cannot be written", folder=str(self.folder), reason=reason)

    def _sweep(self) -> None:
        """Once a day: remove files that are too old. Only files of our own name are looked at."""
        today = self._today()
        if not self._max_days or today == self._swept:
            return
        self._swept = today
        oldest = (datetime.fromisoformat(today) - timedelta(days=self._max_days)).date().isoformat()
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match is not None and match[1] < oldest:
                    with contextlib.suppress(OSError):
                        path.unlink()
