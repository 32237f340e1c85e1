"""The life of the service: build, listen, tell, wait for the end, drain, clean up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aistack.config import Config
from aistack.config.addresses import format_address
from aistack.engines import SCRIPTED
from aistack.engines.nanochat.weights import weights
from aistack.observe.job_log import log_transition
from aistack.routing.discovery import real_engines
from aistack.routing.facts import Facts
from aistack.routing.notes import EngineNote
from aistack.service.app import BROKEN, listen, make_runner
from aistack.service.assembly import assemble
from aistack.web.keys import INVENTORY

Ready = Callable[[Sequence[str], Sequence[EngineNote]], None]


class SchedulerEnded(Exception):
    """The central task is gone: a gateway without it would hold its slot forever."""


async def run_service(config: Config, *, fake: bool, ready: Ready, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. `fake` offers the scripted engine instead of the real ones.

    Raises OSError if an address cannot be listened on, SchedulerEnded if the service broke.
    """
    engines = SCRIPTED if fake else real_engines()
    app = assemble(config, [log_transition], engines, relays=not fake)
    runner = make_runner(app)
    try:
        await runner.setup()
        await listen(runner, config.server.listen)
        found = await app[INVENTORY].facts()
        internal = [] if fake else await asyncio.to_thread(internal_notes, config)
        ready([_address(*each) for each in runner.addresses], [*engine_notes(found), *internal])
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, app[BROKEN])]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if app[BROKEN].is_set():
            raise SchedulerEnded
    finally:
        await runner.cleanup()


def _address(host: str, port: int, *_: object) -> str:
    """A socket's name as an address; IPv6 has more in it."""
    return format_address(host, port)


def engine_notes(facts: Facts) -> list[EngineNote]:
    """The engines as the start-up screen shows them."""
    found = []
    for engine in facts.engines.values():
        ids = tuple(model.id for model in engine.listed)
        if not ids:  # its models are the operator's own, listed elsewhere
            continue
        if not engine.installed:
            found.append(EngineNote(engine.provider, install=engine.install))
        elif facts.on_disk.intersection(ids):
            found.append(EngineNote(engine.provider, ids))
        elif engine.fetches:
            found.append(EngineNote(engine.provider, ids, remark="downloaded when first used"))
        else:
            found.append(EngineNote(engine.provider, remark="its model files are not on this machine"))
    return found


def internal_notes(config: Config) -> list[EngineNote]:
    """The internal API as the start-up screen shows it; empty if it is not set up."""
    settings = config.inference
    if not settings.root:
        return []
    if not settings.api_key:
        return [EngineNote("Internal API", remark="answers 503 until inference.api_key is set")]
    tags = tuple(each.tag for each in weights(settings.root))
    if not tags:
        return [EngineNote("Internal API", remark=f"no weights that serve below {settings.root}")]
    remark = f"{settings.model} is loaded now" if settings.model else "POST /models/swap selects one"
    return [EngineNote("Internal API", tags, remark=remark)]
