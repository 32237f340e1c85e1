"""Where log lines go: a thread that writes them, so that a request never waits for a log.

The thread is woken once for all lines of a moment, not for each: waking it costs several times what
the line does. So a process that is killed may take its last moment of lines with it; a warning and
worse are written at once, and an ordinary end writes everything.

Whoever reads our stdout may stop reading (a full pipe), be gone (a broken pipe) or have no room (a
full disk). Then lines are dropped and counted, and the count is told once writing works again. A
logging call never blocks on the file and never raises.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable

ROOM = 10_000
"""Lines that may wait to be written."""
BATCH = 256
LINGER_S = 0.05
"""How long a line that is no warning may wait for others."""
CLOSE_S = 2.0
"""How long an exit may wait for the reader of our stdout."""


class Sink(logging.Handler):
    """A handler that formats in the caller's thread and writes to `fd` in its own."""

    def __init__(self, fd: int, room: int = ROOM, linger_s: float = LINGER_S) -> None:
        super().__init__()
        self._fd = fd
        self._room = room
        self._linger_s = linger_s
        self._lines: deque[bytes | Callable[[], None] | None] = deque()
        self._some = threading.Event()
        self._hurry = threading.Event()
        self._writing = 0
        self._lost = 0
        self._torn = False
        self._told = False
        self._thread = threading.Thread(target=self._write_all, name="aistack-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put the line into the queue, or count it as lost."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - any argument of any library's line may fail to format
            line = unformatted(record.name) + b"\n"
        self._offer(line, record.levelno >= logging.WARNING)

    def say(self, line: str, hurry: bool = False) -> None:
        """The same for a line that is formatted already; `hurry` writes it at once."""
        self._offer(line.encode("utf-8", "backslashreplace") + b"\n", hurry)

    def _offer(self, line: bytes, hurry: bool) -> None:
        if len(self._lines) + self._writing >= self._room:
            self._lost += 1
        else:
            self._put(line, hurry)

    def _put(self, line: bytes | Callable[[], None] | None, hurry: bool) -> None:
        # The thread clears the event before it looks, so a line put before that is seen.
        self._lines.append(line)
        if hurry:
            self._hurry.set()
        if not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Wait until what was logged so far is written, `CLOSE_S` at most."""
        if not self._thread.is_alive():
            return
        reached = threading.Event()
        self._put(reached.set, True)
        reached.wait(CLOSE_S)

    def close(self) -> None:
        """Write what is left and end the thread, `CLOSE_S` at most."""
        if self._thread.is_alive():
            self._put(None, True)
            self._thread.join(CLOSE_S)
        super().close()

    # --- the thread ----------------------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            self._some.wait()
            self._hurry.wait(self._linger_s)
            self._some.clear()
            self._hurry.clear()
            while self._lines:
                lines: list[bytes] = []
                then = None
                while self._lines and len(lines) < BATCH:
                    self._writing += 1
                    then = self._lines.popleft()
                    if not isinstance(then, bytes):
                        break
                    lines.append(then)
                self._write(lines)
                self._writing = 0
                if then is None:
                    return
                if not isinstance(then, bytes):
                    then()

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        lost, data = self._lost, b"".join(lines)
        if lost:
            data = _own_line("log lines were lost", lost=lost) + b"\n" + data
        if self._torn:
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._take(rest) :]
        except OSError as exc:
            self._lost += len(lines)
            self._torn = 0 < len(rest) < len(data) or self._torn
            self._tell(exc)
        else:
            self._lost -= lost
            self._torn = False

    def _take(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            # Someone who shares the terminal has made it non-blocking.
            select.select([], [self._fd], [], 1.0)
            return os.write(self._fd, data)

    def _tell(self, exc: OSError) -> None:
        """Once, on stderr, if that still works."""
        if self._told:
            return
        self._told = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(f"aistack: log lines cannot be written ({exc.strerror})", file=sys.stderr, flush=True)  # noqa: T201 - the log itself cannot say it


def _own_line(message: str, **fields: object) -> bytes:
    """A line that does not go through the formatter."""
    line = {"level": "warning", "service": "aistack", "message": message, **fields}
    return json.dumps(line).encode()


def unformatted(logger: str) -> bytes:
    """What stands in for a line that cannot be formatted: without its values."""
    return _own_line("a log line could not be formatted", logger=logger)
