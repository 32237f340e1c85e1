"""`aistack status`: the running job, the queue and the models in memory of a running server."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from aistack.cli import status_page
from aistack.cli.client import Client
from aistack.cli.exits import OK, show
from aistack.cli.remote import query
from aistack.config.load import LoadedConfig

EVERY_S = 1.0
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def status(args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Print what the server is doing, once or every second; return the exit code."""

    async def work(client: Client, url: str) -> int:
        while True:
            state = await client.operators("state", {"n": "40"})
            shown(state, url, args.json, args.watch)
            if not args.watch:
                return OK
            await asyncio.sleep(EVERY_S)

    return query(work, args, loaded)


def shown(state: Mapping[str, Any], url: str, as_json: bool, watch: bool) -> None:
    """Print it: one object per line while it is watched as JSON, a page in place on a terminal."""
    if as_json:
        show(json.dumps(state, indent=None if watch else 2, ensure_ascii=False), as_json=True)
        return
    text = status_page.page(state, url, time.time())
    if watch:
        text = f"{CLEAR}{text}" if sys.stdout.isatty() else f"{text}\n"
    print(text, flush=True)
