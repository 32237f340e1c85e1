"""The last log lines in memory, as JSON objects, for the console's log tail. Lost on restart.

Each line has a number, so that a reader asks only for what is new. One ring for the process, as
there is one logging configuration for the process. The console's own requests are not kept: a tail
that fills itself shows nothing.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

LINES = 500
LINE_MAX = 16 * 1024
"""Characters of one line; a longer one (a traceback of a deep recursion) is cut to its first fields."""
CONSOLE = "/admin"


class Ring:
    """Keeps the last `room` lines. Any thread may write and read."""

    def __init__(self, room: int = LINES) -> None:
        self._lines: deque[str] = deque(maxlen=room)
        self._lock = threading.RLock()
        self.count = 0
        """How many lines there were since the start: the number of the newest."""

    def keep(self, line: str) -> None:
        """Keep a line of JSON."""
        with self._lock:
            self._lines.append(line if len(line) <= LINE_MAX else _cut(line))
            self.count += 1

    def last(self, n: int, after: int = 0) -> tuple[list[str], int]:
        """The last `n` lines that came after line number `after`, oldest first; the newest's number."""
        with self._lock:
            count = self.count
            there = min(n, len(self._lines), max(count - after, 0))
            return list(islice(self._lines, len(self._lines) - there, None)), count


def of_console(level: str, event: Mapping[str, Any]) -> bool:
    """Whether the line only records a request of the console itself."""
    return level.lower() == "debug" and str(event.get("path", "")).startswith(CONSOLE)


def _cut(line: str) -> str:
    """The fields of a line that fit, each shortened."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = {"message": line}
    short = {key: str(value)[:1000] for key, value in list(fields.items())[:12]}
    return json.dumps({**short, "cut": True}, ensure_ascii=False)


RING = Ring()
"""Filled once `log.configure` has attached it."""
