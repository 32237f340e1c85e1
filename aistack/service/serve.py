"""The life of the service: build, listen, tell, wait for the end, drain, clean up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aistack.config import Config
from aistack.config.addresses import format_address
from aistack.engines import ENGINES
from aistack.engines.nanochat.weights import weights
from aistack.observe.job_log import log_transition
from aistack.routing.choose import Facts
from aistack.routing.inventory import real_engines
from aistack.routing.notes import EngineNote
from aistack.service.app import BROKEN, listen, make_runner
from aistack.service.assembly import assemble
from aistack.web.keys import INVENTORY

Ready = Callable[[Sequence[str], Sequence[EngineNote]], None]


class SchedulerEnded(Exception):
    """The central task is gone: a gateway without it would hold its slot for ever."""


async def serve(config: Config, *, fake: bool, ready: Ready, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. `fake` offers the scripted engine instead of the real ones.

    Raises OSError if an address cannot be listened on, SchedulerEnded if the service broke.
    """
    engines = {"fake": ENGINES["fake"]} if fake else real_engines()
    app = assemble(config, [log_transition], engines, relays=not fake)
    runner = make_runner(app)
    try:
        await runner.setup()
        await listen(runner, config.server.listen)
        found = await app[INVENTORY].facts()
        internal = [] if fake else await asyncio.to_thread(internal_notes, config)
        ready([_address(*each) for each in runner.addresses], [*notes(found), *internal])
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


def notes(facts: Facts) -> list[EngineNote]:
    """The engines as the start-up screen tells them."""
    told = []
    for engine in facts.engines.values():
        if not engine.cards:  # its models are the operator's own, listed elsewhere
            continue
        if not engine.installed:
            told.append(EngineNote(engine.provider, install=engine.install))
            continue
        ids = tuple(card.id for card in engine.cards)
        here = [model for model in ids if model in facts.on_disk]
        remark = "" if here else "downloaded when first used"
        told.append(EngineNote(engine.provider, ids, remark=remark))
    return told


def internal_notes(config: Config) -> list[EngineNote]:
    """The internal API as the start-up screen tells it; nothing if nobody has set it up."""
    settings = config.inference
    if not settings.root:
        return []
    if not settings.api_key:
        says = "answers 503 until inference.api_key is set"
        return [EngineNote("Internal API", remark=says)]
    tags = tuple(each.tag for each in weights(settings.root))
    if not tags:
        return [EngineNote("Internal API", remark=f"no weights that serve below {settings.root}")]
    says = f"{settings.model} is loaded now" if settings.model else "POST /models/swap selects one"
    return [EngineNote("Internal API", tags, remark=says)]
