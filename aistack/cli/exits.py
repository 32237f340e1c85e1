"""Exit codes of every command, and how a command speaks to the person at the terminal."""

from __future__ import annotations

import sys

OK, FAILED, USAGE, BUSY, UNREACHABLE, STOPPED = 0, 1, 2, 3, 4, 130
EXITS = {
    OK: "done",
    FAILED: "failed; the reason is on stderr or in the report of `doctor`",
    USAGE: "wrong usage, unreadable file, unknown model to pull, or invalid configuration",
    BUSY: "the server was still busy after `--wait` seconds",
    UNREACHABLE: "no server answers, or the connection broke",
    STOPPED: "stopped with Ctrl-C (`serve`: by the second Ctrl-C; the first ends it with 0)",
}
"""The meaning of each exit code; it is the same for every command."""


def say(message: str) -> None:
    """Print a sentence for the person at the terminal."""
    print(f"aistack: {message}", file=sys.stderr, flush=True)
