"""What commands share in how they print: aligned columns, a line that is rewritten, quiet logs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from aistack.config import LogSection
from aistack.observe import log
from aistack.observe.terminal import plain

CLEAR_LINE = "\r\x1b[K"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their cells aligned, two blanks between them; a column without any text is left out."""
    count = max(map(len, rows), default=0)
    padded = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*padded, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
        for row in padded
    ]


class StatusLine:
    """A line on stderr that is rewritten in place; writes nothing where no terminal reads it."""

    def __init__(self) -> None:
        self._drawn = False

    def draw(self, text: str) -> None:
        """Replace the line."""
        if sys.stderr.isatty():
            self._drawn = True
            print(f"{CLEAR_LINE}{plain(text)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


def quiet_logs(settings: LogSection) -> None:
    """Send log lines to stderr, errors only unless the configuration says debug."""
    log.configure(settings.quiet(), log.STDERR)
