"""Puts the parts together: the application, its runner, and the addresses it listens on.

`cli` and the tests share these functions. aiohttp's default is not to cancel a handler whose client
left, but its test server does cancel: a suite built on that can be green while the service never
notices a disconnect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web

from aistack.config import Config
from aistack.config.addresses import parse_address
from aistack.config.units import MiB
from aistack.contract.converters import dumps
from aistack.web import request_id
from aistack.web.guard import split_host
from aistack.web.keys import CONFIG, INVENTORY, SCHEDULER, Inventory, Scheduler
from aistack.web.middleware import MIDDLEWARES, OWN_NAMES, remember
from aistack.web.openapi.document import build
from aistack.web.openapi.operation import Operation
from aistack.web.operations import OPERATIONS, register
from aistack.web.pages import Asset
from aistack.web.protocol import EnvelopeRunner
from aistack.web.reference import DOCUMENT
from aistack.wire.base import JSON

KEEPALIVE_S = 75.0
SHUTDOWN_S = 3.0
"""After the drain, when every job is over: how long the last bytes of answers may take."""
BROKEN: web.AppKey[asyncio.Event] = web.AppKey("broken")
"""Set when the service cannot go on: the process must stop, and exit with an error."""
Part = Callable[[web.Application], AsyncIterator[None]]


def build_app(
    config: Config,
    scheduler: Scheduler,
    inventory: Inventory,
    parts: Sequence[Part] = (),
    operations: tuple[Operation, ...] = OPERATIONS,
) -> web.Application:
    """The application. `parts` are started in order and stopped in reverse, after the drain."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=MiB)
    app[CONFIG] = config
    app[SCHEDULER] = scheduler
    app[INVENTORY] = inventory
    app[BROKEN] = asyncio.Event()
    app[OWN_NAMES] = own_names(config)
    app[DOCUMENT] = Asset.of(dumps(build(operations)), JSON)
    app.on_response_prepare.append(request_id.stamp)
    app.on_response_prepare.append(remember)
    app.cleanup_ctx.extend(parts)
    app.on_shutdown.append(_drain)
    register(app, operations)
    return app


async def _drain(app: web.Application) -> None:
    """Before connections are touched, so that connected clients still hear what happened.

    A scheduler that has ended cannot drain, and has already answered everybody.
    """
    if app[BROKEN].is_set():
        return
    await app[SCHEDULER].drain(app[CONFIG].server.drain_grace_s)


def own_names(config: Config) -> frozenset[str]:
    """Host names that are ours: the machine's, those we listen on, the configured ones."""
    listening = (split_host(address)[0] for address in config.server.listen)
    names = (socket.gethostname(), *listening, *config.server.allowed_hosts)
    return frozenset(split_host(name)[0] for name in names if name)


def make_runner(app: web.Application) -> web.AppRunner:
    """The runner every way of serving uses."""
    return EnvelopeRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
    )


async def listen(runner: web.AppRunner, addresses: Sequence[str]) -> list[web.TCPSite]:
    """Listen on every address. Raises OSError if one is taken (the others are closed by cleanup)."""
    sites = []
    for text in addresses:
        host, port = parse_address(text)
        site = web.TCPSite(runner, host, port)
        await site.start()
        sites.append(site)
    return sites
