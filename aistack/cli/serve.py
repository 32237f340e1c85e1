"""`aistack serve`, and the same service inside a command that found no server.

`aistack.service.serve` is imported when it is to run: a command that finds a server does without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog
from attrs import evolve

from aistack.cli.exits import FAILED, OK, STOPPED, USAGE, say
from aistack.cli.loop import run
from aistack.cli.screen import start_screen
from aistack.config import Config
from aistack.config.addresses import is_nowhere, url_of
from aistack.config.load import LoadedConfig
from aistack.observe import log
from aistack.routing.notes import EngineNote

Ready = Callable[[Sequence[str], Sequence[EngineNote]], None]
"""Called once, with the addresses in use (`host:port`) and the engines found."""

ABORT_S = 1.0
"""After the second Ctrl-C: how long clean-up may take before the process just ends."""
START_S = 30.0
"""How long the service may take to listen."""

_log = structlog.get_logger("aistack.cli")


async def _service(config: Config, fake: bool, ready: Ready, stop: asyncio.Event) -> None:
    """The service, imported now."""
    from aistack.service.serve import run_service

    await run_service(config, fake=fake, ready=ready, stop=stop)


def serve(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Serve until a signal comes; the exit code. `demo`: chat and speech by scripted upstreams."""
    if args.fake and args.demo:
        say("Use either --demo or --fake, not both.")
        return USAGE
    config = loaded.config
    log.configure(config.log)
    for note in loaded.notes:
        getattr(_log, note.level)(note.message, **note.fields)
    try:
        return run(_serve(config, args.fake, args.demo))
    except asyncio.CancelledError:
        return STOPPED
    finally:
        log.close()


async def _serve(config: Config, fake: bool, demo: bool) -> int:
    if not demo:
        return await _serve_until_told(config, fake)
    # Imported now: who serves in earnest does without.
    from aistack import demo as scripted

    async with scripted.upstreams(config) as leading_there:

        def below(addresses: Sequence[str]) -> str:
            return scripted.screen(url_of(addresses[0]), bool(config.server.api_keys))

        return await _serve_until_told(leading_there, fake, scripted.NOTES, below)


async def _serve_until_told(
    config: Config,
    fake: bool,
    more: Sequence[EngineNote] = (),
    below: Callable[[Sequence[str]], str] | None = None,
) -> int:
    """The service, its screen and its end; the exit code. `more` and `below` are told on the screen."""
    listening = False

    def ready(addresses: Sequence[str], engines: Sequence[EngineNote]) -> None:
        nonlocal listening
        listening = True
        _log.info("listening", addresses=list(addresses))
        with contextlib.suppress(OSError, ValueError):  # a closed stderr must not end the service
            screen = start_screen(addresses, (*engines, *more), bool(config.server.api_keys))
            print(
                screen if below is None else f"{screen}\n{below(addresses)}", file=sys.stderr, flush=True
            )

    stop = asyncio.Event()
    _watch_signals(stop, config.server.drain_grace_s)
    try:
        await _service(config, fake, ready, stop)
    except Exception as exc:  # noqa: BLE001 - the service is over: the log says why, the exit code that
        if isinstance(exc, OSError) and not listening:
            say(_cannot_listen(exc, config.server.listen))
        else:
            _log.exception("the service ended by an error")
        return FAILED
    return OK


def _watch_signals(stop: asyncio.Event, grace_s: float) -> None:
    """The first SIGTERM or SIGINT drains; a SIGINT after that ends it at once.

    A SIGINT that was ignored at the start stays ignored: in the background of a script, Ctrl-C is meant
    for the program in the foreground.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on(number: int) -> None:
        if not stop.is_set():
            _log.info("stopping", signal=signal.Signals(number).name)
            stop.set()
            if number == signal.SIGINT:
                with contextlib.suppress(OSError, ValueError):
                    say(f"Stopping: running jobs have {grace_s:g} s. Ctrl-C again stops at once.")
        elif number == signal.SIGINT and task is not None:
            loop.call_later(ABORT_S, _end_now)
            task.cancel()

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    for number in (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, on, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda got, _frame: loop.call_soon_threadsafe(on, got))


def _end_now() -> None:
    """Engine processes end with us: they read the end of their input."""
    log.close()
    os._exit(STOPPED)


def _cannot_listen(exc: OSError, addresses: Sequence[str]) -> str:
    where = " or ".join(addresses) if len(addresses) > 1 else addresses[0]
    if exc.errno == errno.EADDRINUSE:
        return f"Cannot listen on {where}: the port is in use. Try another one with --port N."
    if exc.errno == errno.EACCES:
        return f"Cannot listen on {where}: permission denied. Ports above 1023 need no special rights."
    if is_nowhere(exc):
        return f"Cannot listen on {where}: this machine does not have that address."
    return f"Cannot start on {where}: {exc.strerror or type(exc).__name__}."


@contextlib.asynccontextmanager
async def alone(config: Config, fake: bool) -> AsyncIterator[str]:
    """The service inside this process, on a free port that only this machine reaches; its URL."""
    private = evolve(
        config,
        server=evolve(config.server, listen=("127.0.0.1:0",), drain_grace_s=0.0),
        slots=evolve(config.slots, preload=""),
        observability=evolve(config.observability, access_log=False, payload=False, otel_endpoint=""),
    )
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ready(addresses: Sequence[str], engines: Sequence[EngineNote]) -> None:
        address.set_result(addresses[0])

    service = asyncio.ensure_future(_service(private, fake, ready, stop))
    try:
        either: set[asyncio.Future[Any]] = {service, address}
        await asyncio.wait(either, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        if not address.done():
            if service.done():
                service.result()
            raise TimeoutError("the service did not start in time")
        yield url_of(address.result())
    finally:
        stop.set()
        await asyncio.wait({service}, timeout=START_S)
        if not service.done():
            service.cancel()
