"""What `aistack status` and `aistack logs` share: reaching one server, and what to say if that fails."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

import aiohttp

from aistack.cli.client import Client, NotOurs, Refused
from aistack.cli.exits import FAILED, UNREACHABLE, say
from aistack.cli.loop import run
from aistack.config.addresses import url_of
from aistack.config.load import LoadedConfig

Work = Callable[[Client, str], Awaitable[int]]


def query(work: Work, args: argparse.Namespace, loaded: LoadedConfig) -> int:
    """Run `work` with the named server, else the configured one; return the exit code."""
    server = loaded.config.server
    url: str = args.server or url_of(server.listen[0])
    key = server.api_keys[0] if server.api_keys else None

    async def main() -> int:
        async with aiohttp.ClientSession(trust_env=args.server is not None) as session:
            return await work(Client(session, url, key), url)

    try:
        return run(main())
    except Refused as exc:
        hint = ""
        if exc.status == 401:
            hint = " The key sent is the first in server.api_keys (AISTACK_SERVER__API_KEYS)."
        say(f"{exc}{hint}")
        return FAILED
    except NotOurs:
        say(f"The server at {url} is not aistack, or is an older version.")
        return UNREACHABLE
    except aiohttp.ClientConnectorError:
        say(f"No server answers at {url}. `aistack serve` starts one; --server URL names another.")
        return UNREACHABLE
    except (aiohttp.ClientError, OSError) as exc:  # a timeout is an OSError
        say(f"The connection to {url} failed ({type(exc).__name__}).")
        return UNREACHABLE
