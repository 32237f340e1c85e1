"""Exit codes of every command, and how a command speaks to the person at the terminal."""

from __future__ import annotations

import sys

from aistack.observe.terminal import plain, plain_json

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
    """A sentence for the person at the terminal. It may quote what a server or a file said."""
    print(f"aistack: {plain(message)}", file=sys.stderr, flush=True)


def show(text: str, as_json: bool = False) -> None:
    """A command's result on stdout. On a terminal nothing in it steers that; a pipe gets what came.

    JSON keeps its value either way.
    """
    if as_json:
        text = plain_json(text)
    elif sys.stdout.isatty():
        text = plain(text, keep="\n\t")
    print(text, end="" if text.endswith("\n") else "\n", flush=True)
