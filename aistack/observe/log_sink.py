"""Where log lines go: a thread writes them, so that a request never waits for a log.

The reader of our stdout may stop reading (a full pipe), be gone (a broken pipe) or have no room (a
full disk). Then lines are dropped and counted, and the count is logged once writing works again. A
logging call never blocks on the file and never raises.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys

from aistack.observe.background_writer import BackgroundWriter

ROOM = 10_000
"""Lines that may wait to be written."""
BATCH = 256
LINGER_S = 0.05
"""How long a line that is not a warning may wait for others."""
CLOSE_S = 2.0
"""How long an exit may wait for the reader of our stdout."""


class Sink:
    """Takes lines from any thread and writes them to `fd` in its own."""

    def __init__(self, fd: int, room: int = ROOM, linger_s: float = LINGER_S) -> None:
        self._fd = fd
        self._writer = BackgroundWriter("aistack-log", self._write_lines, room, BATCH, linger_s)
        self._reported = 0
        """How many of the lost lines the log itself has counted."""
        self._torn = False
        self._complained = False

    @property
    def lost(self) -> int:
        """Lines dropped since the start."""
        return self._writer.lost

    def write(self, line: str, hurry: bool = False) -> None:
        """Put the line into the queue, or count it as lost; `hurry` writes it at once."""
        self._writer.put(line.encode("utf-8", "backslashreplace") + b"\n", hurry)

    def flush(self) -> None:
        """Wait until what was logged so far is written, `CLOSE_S` at most."""
        self._writer.flush(CLOSE_S)

    def close(self) -> None:
        """Write what is left and end the thread, `CLOSE_S` at most."""
        self._writer.close(CLOSE_S)

    # --- the thread ----------------------------------------------------------------------------------

    def _write_lines(self, lines: list[bytes]) -> None:
        lost, data = self._writer.lost - self._reported, b"".join(lines)
        if lost:
            data = own_line("log lines were lost", lost=lost).encode() + b"\n" + data
        if self._torn:
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._take(rest) :]
        except OSError as exc:
            self._writer.lose(len(lines))
            self._torn = 0 < len(rest) < len(data) or self._torn
            self._complain(exc)
        else:
            self._reported += lost
            self._torn = False

    def _take(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            # Someone who shares the terminal has made it non-blocking.
            select.select([], [self._fd], [], 1.0)
            return os.write(self._fd, data)

    def _complain(self, exc: OSError) -> None:
        """Once, on stderr, if that still works."""
        if self._complained:
            return
        self._complained = True
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(f"aistack: log lines cannot be written ({exc.strerror})", file=sys.stderr, flush=True)  # noqa: T201 - the log itself cannot say it


def own_line(message: str, **fields: object) -> str:
    """A line that does not go through the formatter."""
    line = {"level": "warning", "service": "aistack", "message": message, **fields}
    return json.dumps(line)


def unformatted(logger: str) -> str:
    """What stands in for a line that cannot be formatted: without its values."""
    return own_line("a log line could not be formatted", logger=logger)
