"""Who would serve right now: the facts that routing decides on, and the entries of /v1/models.

Nothing is loaded for it: libraries are looked for on the import path, weights on the disk (by the
engines), and the model hub is asked (one HEAD, bounded) only when a request's routing depends on it.
What can block runs in a thread and is remembered for a moment.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog
from attrs import evolve, frozen

from aistack.chunks import ModelSpec
from aistack.config import Config
from aistack.config.installing import here
from aistack.config.sections import engine_section
from aistack.contract.devices import CPU
from aistack.contract.public import Download, ModelEntry, ModelsList
from aistack.engines import ENGINES
from aistack.engines.base import EngineInfo, Fetches, OperatorModels
from aistack.errors import BackendFault, Code, Fault, not_listed
from aistack.jobs.model import Resident
from aistack.routing.choose import choose_model, depends_on_hub
from aistack.routing.discovery import construct, importable, in_order, real_engines
from aistack.routing.entries import asr_entries, voice_entries
from aistack.routing.facts import Chosen, EngineFacts, Facts
from aistack.routing.remembered import Remembered
from aistack.routing.specs import specification
from aistack.weights.hub import offline
from aistack.weights.hub_probe import HUGGINGFACE, chosen_endpoint, why_unreachable

log = structlog.get_logger("aistack.inventory")

PROBE_S = 2.0
"""Longest the hub may take to answer, seconds."""
HUB_TTL_S = 60.0
DISK_TTL_S = 2.0
"""How long a look at the hub and at the disk is believed, seconds."""
ROUTED = ("asr", "tts", "llm")
"""Everything that a model can do."""

Probe = Callable[[], Awaitable[bool]]


class Inventory:
    """Facts and entries for one configuration. Engine modules are imported here, once.

    `engines`: dotted names by engine name; `capabilities`: what there are routes for; `probe` asks the
    hub; `clock` is monotonic seconds. An engine whose module cannot be imported is logged and not
    offered; one of another package that is switched off is not even imported.
    """

    def __init__(
        self,
        config: Config,
        *,
        engines: Mapping[str, str] | None = None,
        capabilities: Collection[str] = ROUTED,
        environ: Mapping[str, str] | None = None,
        probe: Probe | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
        self._disabled = frozenset(config.engines.disabled)
        targets = in_order(real_engines() if engines is None else engines)
        offered = {name: dotted for name, dotted in targets.items() if name not in self._disabled}
        self._engines = {
            name: engine
            for name, engine in _constructed(offered).items()
            if _has_route(engine, capabilities)
        }
        self._others = _constructed({name: ENGINES[name] for name in ENGINES if name not in offered})
        self._unusable: set[str] = set()
        self._disk = Remembered(lambda: asyncio.to_thread(self._look), DISK_TTL_S, clock)
        self._hub = Remembered(probe or (lambda: hub_answers(self._environ)), HUB_TTL_S, clock)

    def engine(self, name: str) -> EngineInfo:
        """The engine called `name`. Raises KeyError if it is not offered."""
        return self._engines[name]

    async def facts(self) -> Facts:
        """What is here now, without the hub's answer (`fetchable` is false)."""
        return (await self._disk.get()).facts

    async def route(self, name: str | None, language: str | None, translate: bool) -> Chosen:
        """Who serves this transcription; asks the hub only if that matters. Raises as `choose_model`."""
        facts = await self.facts()
        if not offline(self._environ) and depends_on_hub(name, language, translate, facts):
            facts = evolve(facts, fetchable=await self._hub.get())
        return choose_model(name, language, translate, facts)

    async def models(
        self,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelsList:
        """All entries; `residents` are in memory now, `downloads` on their way to the disk; `others`
        (TTS, LLM) come last."""
        look = await self._disk.get()
        listed = asr_entries(look.facts, look.created, residents, downloads)
        return ModelsList(data=(*listed, *voice_entries(look.facts, residents), *others))

    async def entry(
        self,
        model: str,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelEntry:
        """The entry listed under `model`. Raises BackendFault: 404 `model_not_found`."""
        listed = await self.models(residents, others, downloads)
        for entry in listed.data:
            if entry.id == model:
                return entry
        raise BackendFault(not_listed(model))

    def spec(self, resident: Resident, device: str) -> ModelSpec:
        """What the engine's process is given to load. Raises BackendFault if it is not offered."""
        engine = self._engines.get(resident.backend)
        if engine is None:
            message = f"The engine {resident.backend} is not offered on this server."
            raise BackendFault(Fault(Code.BACKEND_MISSING, message))
        return specification(self._config, engine, resident.model, device)

    # --- looking ---------------------------------------------------------------------------------------

    def _look(self) -> Look:
        """What the import path and the disk say. Blocks for milliseconds: runs in a thread."""
        local = dict(self._config.models.local)
        engines: dict[str, EngineFacts] = {}
        on_disk: set[str] = set()
        for name, engine in self._engines.items():
            try:
                of = self._facts_of(engine)
                ids = (*(model.id for model in of.models), *(local if of.takes_directories else ()))
                on_disk |= {id for id in ids if of.installed and self._has_weights(engine, id)}
                engines[name] = of
            except Exception:  # a package may raise anything; one broken engine must not stop the rest
                if name not in self._unusable:
                    log.exception("engine.unusable", engine=name)
                self._unusable.add(name)
        facts = Facts(
            engines,
            frozenset(on_disk),
            False,
            local,
            dict(self._config.models.aliases),
            self._disabled,
            {name: _facts_of(engine, installed=False) for name, engine in self._others.items()},
        )
        return Look(facts, {id: _made(Path(local[id])) for id in local if id in on_disk})

    def _facts_of(self, engine: EngineInfo) -> EngineFacts:
        elsewhere = bool(engine_section(self._config, engine.name).python)
        return _facts_of(engine, installed=elsewhere or all(map(importable, engine.requires)))

    def _has_weights(self, engine: EngineInfo, model: str) -> bool:
        return engine.weights(specification(self._config, engine, model, str(CPU)), self._environ)


@frozen
class Look:
    """One look: the facts, and when the weights in local directories were made (unix seconds)."""

    facts: Facts
    created: Mapping[str, int]


def _constructed(targets: Mapping[str, str]) -> dict[str, EngineInfo]:
    made = {name: construct(name, dotted) for name, dotted in targets.items()}
    return {name: engine for name, engine in made.items() if engine is not None}


def _has_route(engine: EngineInfo, capabilities: Collection[str]) -> bool:
    """Whether anything an engine does can be asked for here; weights by tag have routes of their own."""
    models = engine.models()
    return not models or any(model.capability in capabilities for model in models)


def _facts_of(engine: EngineInfo, installed: bool) -> EngineFacts:
    return EngineFacts(
        installed,
        engine.provider,
        here(engine.install),
        engine.models(),
        engine.auto,
        engine.family,
        engine.operator_models is OperatorModels.LOCAL,
        isinstance(engine, Fetches),
        engine.interleaves,
    )


def _made(directory: Path) -> int:
    """When a directory's weights were made: the time of its largest file, unix seconds; 0 if empty."""
    files = [path.stat() for path in directory.glob("*") if path.is_file()]
    return int(max(files, key=lambda stat: stat.st_size).st_mtime) if files else 0


async def hub_answers(environ: Mapping[str, str]) -> bool:
    """Whether weights can be fetched: downloads are allowed, and the model hub answered one HEAD."""
    if offline(environ):
        return False
    why = await why_unreachable(chosen_endpoint(environ) or HUGGINGFACE, PROBE_S)
    if why:
        log.info("hub.unreachable", reason=why)
    return not why
