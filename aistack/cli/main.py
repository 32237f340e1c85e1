"""`aistack COMMAND`: parse, import the command that runs, run it, and return its exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aistack.cli.exits import FAILED, STOPPED, USAGE, say
from aistack.cli.parser import parser

if TYPE_CHECKING:
    from aistack.config.load import LoadedConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    args = parser().parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return code


def _run(args: argparse.Namespace) -> int:
    """Call the command's function: with the loaded configuration too if it asks for it."""
    module, _, name = args.run.partition(":")
    command = getattr(importlib.import_module(module), name)
    if not args.configured:
        return int(command(args))
    loaded = _load(args)
    return USAGE if loaded is None else int(command(args, loaded))


def _load(args: argparse.Namespace) -> LoadedConfig | None:
    from aistack.config.load import ConfigError, load_config

    try:
        loaded = load_config(args.config)
        if args.command == "serve" and (args.host is not None or args.port is not None):
            listen = _listen(loaded, args.host, args.port)
            loaded = load_config(args.config, flags={"server.listen": listen})
    except ConfigError as exc:
        for problem in exc.problems:
            say(problem)
        return None
    return loaded


def _listen(loaded: LoadedConfig, host: str | None, port: int | None) -> tuple[str, ...]:
    """One address: the first configured one with what the command line says put in."""
    from aistack.config.addresses import format_address, parse_address

    configured = parse_address(loaded.config.server.listen[0])
    return (
        format_address(configured[0] if host is None else host, configured[1] if port is None else port),
    )
