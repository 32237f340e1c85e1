"""The access log: one JSON line per capability request, in a file per UTC day.

A disk that is full, slow or gone costs lines, never a request: what does not fit is counted, and
logged once in the process log when that begins and once when writing works again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from aistack.observe.background_writer import BackgroundWriter
from aistack.observe.exchange import Exchange
from aistack.observe.trouble import Trouble

log = structlog.get_logger("aistack.access_log")

ROOM = 10_000
"""Records that may wait to be written."""
BATCH = 100
FLUSH_S = 1.0
CLOSE_S = 2.0
_NAME = re.compile(r"access-(\d{4}-\d{2}-\d{2})\.jsonl")


def fields(exchange: Exchange) -> dict[str, Any]:
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
    """The records on their way to the disk. Nothing is started before the first one.

    `max_days`: files of earlier days are removed with the first line of each day; 0 keeps them. `room`
    is how many records may wait, `flush_s` how long one may wait for others.
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
        self._max_days = max_days
        self._today = today
        self._writer = BackgroundWriter("aistack-access-log", self._write, room, BATCH, flush_s)
        self._swept = ""
        self._trouble = Trouble(log.warning)

    @property
    def dropped(self) -> int:
        """Records lost since the start."""
        return self._writer.lost

    def put(self, exchange: Exchange) -> None:
        """Hand a record over. Never waits; an overflow is dropped and logged once."""
        if not self._writer.put(exchange):
            self._trouble.met("the access log cannot keep up; records are dropped")

    def flush(self, limit_s: float = CLOSE_S) -> bool:
        """Wait until what was put so far is written or dropped; whether it was within the limit."""
        return self._writer.flush(limit_s)

    def close(self) -> None:
        """Write what is left, `CLOSE_S` at most, and end the thread."""
        self._writer.close(CLOSE_S)

    # --- the thread ----------------------------------------------------------------------------------

    def _write(self, records: list[Exchange]) -> None:
        days: dict[str, list[str]] = {}
        for record in records:
            try:
                text = json.dumps(fields(record), ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError) as exc:  # it costs itself, and not its batch
                self._failed(1, type(exc).__name__)
            else:
                days.setdefault(_iso(record.at)[:10], []).append(text)
        left = sum(map(len, days.values()))
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            for day, lines in days.items():
                data = "".join(f"{text}\n" for text in lines).encode("utf-8", "backslashreplace")
                self._append(self.folder / f"access-{day}.jsonl", data)
                self.written += len(lines)
                left -= len(lines)
        except OSError as exc:
            self._failed(left, exc.strerror or type(exc).__name__)
            return
        if days:
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
        self._writer.lose(count)
        self._trouble.met("the access log cannot be written", folder=str(self.folder), reason=reason)

    def _sweep(self) -> None:
        """Once a day: remove files that are too old. Only files named by this module are touched."""
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
