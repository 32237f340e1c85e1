"""`aistack logs`: the log of a running server, a file or a pipe, in readable form."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from aistack.cli import log_lines
from aistack.cli.client import Client
from aistack.cli.exits import OK, USAGE, say
from aistack.cli.remote import query
from aistack.config.load import LoadedConfig
from aistack.observe.terminal import plain

EVERY_S = 1.0
KEPT = 500
"""Lines a server keeps in memory."""
LINES = 200
"""Of a server, without --lines."""


class Printer:
    """Writes lines to stdout; colours, and escapes in lines that are no JSON, on a terminal only."""

    def __init__(self, least: str, request: str | None) -> None:
        self._least = least
        self._request = request
        self._terminal = sys.stdout.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR")

    def line(self, raw: bytes) -> str | None:
        """What to show of a line of a file; none if it is not wanted."""
        text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        entry = log_lines.parsed(text)
        if entry is not None:
            return self.entry(entry)
        if self._request is not None:
            return None  # nobody can say whose it is
        return plain(text, keep="\t") if self._terminal else text

    def entry(self, entry: Mapping[str, Any]) -> str | None:
        """What to show of a log line; none if it is not wanted."""
        if not log_lines.wanted(entry, self._least, self._request):
            return None
        return log_lines.shown(entry, self._colour)

    def write(self, text: str) -> None:
        """One line, as the bytes that it came from."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()


def logs(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Print them; the exit code."""
    printer = Printer(args.level, args.request)
    if args.file is None:
        return query(lambda client, _url: _of_server(client, args, printer), args, loaded)
    if args.file == "-":
        _of_stream(sys.stdin.buffer, args.lines, printer)
        return OK
    try:
        with open(args.file, "rb") as file:
            _of_stream(file, args.lines, printer)
            if args.follow:
                for raw in _appended(file, args.file):
                    _show(printer, printer.line(raw))
    except OSError as exc:
        say(f"{args.file}: {exc.strerror or type(exc).__name__}.")
        return USAGE
    return OK


async def _of_server(client: Client, args: argparse.Namespace, printer: Printer) -> int:
    after, most = 0, args.lines or LINES
    while True:
        tail = await client.operators("logs", {"n": str(KEPT), "after": str(after)})
        if tail["newest"] < after:  # another server answers there now: its lines are all new
            after = 0
            continue
        after = tail["newest"]
        texts = [text for entry in tail["lines"] if (text := printer.entry(entry)) is not None]
        for text in texts[-most:]:
            printer.write(text)
        if not args.follow:
            return OK
        most = KEPT
        await asyncio.sleep(EVERY_S)


def _of_stream(stream: BinaryIO, most: int | None, printer: Printer) -> None:
    """Every line as it comes; or the last `most` once it has ended."""
    texts: Iterable[str] = (text for raw in stream if (text := printer.line(raw)) is not None)
    for text in texts if most is None else deque(texts, maxlen=most):
        printer.write(text)


def _appended(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Whole lines as they are appended, for ever; begins again in a file that was cut."""
    part = b""
    while True:
        part += file.readline()
        if part.endswith(b"\n"):
            yield part
            part = b""
            continue
        if os.stat(path).st_size < file.tell():
            file.seek(0)
            part = b""
            continue
        time.sleep(EVERY_S)


def _show(printer: Printer, text: str | None) -> None:
    if text is not None:
        printer.write(text)
