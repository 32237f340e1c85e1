"""`aistack transcribe` and `aistack models`: with a running server, or on their own without one."""

from __future__ import annotations

import argparse
import contextlib
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from aistack.cli.client import Client, Refused, TranscribeOptions
from aistack.cli.exits import BUSY, FAILED, OK, UNREACHABLE, USAGE, say, show
from aistack.cli.loop import run
from aistack.cli.output import StatusLine, columns, quiet_logs
from aistack.cli.serve import alone
from aistack.config import Config
from aistack.config.addresses import url_of
from aistack.config.load import LoadedConfig
from aistack.observe import log
from aistack.observe.terminal import plain
from aistack.observe.units import clock, percent


def transcribe(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Print the transcript of one file; the exit code."""
    path = Path(args.file)
    try:
        path.open("rb").close()
    except OSError as exc:
        say(f"{path}: {exc.strerror}.")
        return USAGE
    wanted = TranscribeOptions(path, args.model, args.language, args.format, args.translate)

    async def work(client: Client) -> str:
        with ProgressLine(seconds_of(path)) as progress:
            return await client.transcribe(wanted, args.wait, progress.reached)

    return _carry_out(work, args, loaded, "json" in args.format)


def models(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Print the models; the exit code."""

    async def work(client: Client) -> str:
        listed = await client.models()
        return json.dumps(listed, indent=2, ensure_ascii=False) if args.json else table(listed["data"])

    return _carry_out(work, args, loaded, args.json)


def _carry_out(
    work: Callable[[Client], Awaitable[str]],
    args: argparse.Namespace,
    loaded: LoadedConfig,
    as_json: bool,
) -> int:
    """Find or start a server, do the work, print the result; return the exit code."""
    config = loaded.config
    quiet_logs(config.log)

    async def main() -> str:
        async with _server(args.server, config, args.fake) as client:
            return await work(client)

    try:
        text = run(main())
    except Refused as exc:
        say(str(exc))
        return BUSY if exc.busy else FAILED
    except aiohttp.ClientConnectorError:
        say("Cannot reach the server.")
        return UNREACHABLE
    except (aiohttp.ClientError, TimeoutError) as exc:
        say(f"The connection to the server failed ({type(exc).__name__}).")
        return UNREACHABLE
    except OSError as exc:
        say(f"{exc.strerror or type(exc).__name__}.")
        return FAILED
    finally:
        log.close()
    show(text, as_json)
    return OK


@contextlib.asynccontextmanager
async def _server(named: str | None, config: Config, fake: bool) -> AsyncIterator[Client]:
    """A client of the named server, of the one on the configured address, or of one in this process."""
    keys = config.server.api_keys
    key = keys[0] if keys else None
    async with aiohttp.ClientSession(trust_env=named is not None) as session:
        client = Client(session, named or url_of(config.server.listen[0]), key)
        if named is not None or (not fake and await client.answers()):
            yield client
            return
        async with alone(config, fake) as url:
            yield Client(session, url, key)


class ProgressLine:
    """How far long audio is, on a line that is rewritten; nothing unless a terminal reads it."""

    def __init__(self, total_s: float | None) -> None:
        self._total = total_s
        self._line = StatusLine()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exc: object) -> None:
        self._line.clear()

    def reached(self, done_s: float) -> None:
        """The audio is done up to here, seconds."""
        of = f" of {clock(self._total)} ({percent(done_s / self._total)})" if self._total else ""
        self._line.draw(f"{clock(done_s)}{of}")


def seconds_of(path: Path) -> float | None:
    """The length of a WAV file; None for other formats, whose length only a decoder knows."""
    try:
        with wave.open(str(path)) as audio:
            return float(audio.getnframes() / audio.getframerate())
    except (wave.Error, EOFError, OSError, ZeroDivisionError):
        return None


COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "ID": lambda model: str(model["id"]),
    "DOES": lambda model: ",".join(model.get("capabilities", ())),
    "LANGUAGES": lambda model: _languages(model.get("languages")),
    "STREAMS": lambda model: _yes(model.get("supports_streaming")),
    "LOADED": lambda model: _coming(model.get("download")) or _yes(model.get("loaded")),
    "ON DISK": lambda model: _yes(model.get("on_disk")),
}


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """The models in columns; a column without any value is left out."""
    rows = {title: [cell(entry) for entry in entries] for title, cell in COLUMNS.items()}
    rows = {title: cells for title, cells in rows.items() if title == "ID" or any(cells)}
    cells = [[title, *(plain(cell) or "-" for cell in cells)] for title, cells in rows.items()]
    return "\n".join(columns(list(zip(*cells, strict=True))))


def _languages(codes: Sequence[str] | None) -> str:
    if not codes:
        return ""
    return " ".join(codes) if len(codes) <= 6 else f"{' '.join(codes[:5])} +{len(codes) - 5}"


def _coming(download: Mapping[str, Any] | None) -> str:
    """How far a download is."""
    if not download:
        return ""
    total = download.get("total")
    share = percent(download["bytes"] / total) if total else ""
    return f"downloading {share}".rstrip()


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[value]
