"""Who would serve right now: the facts that routing decides on, and the entries of /v1/models.

Nothing is loaded for it: libraries are looked for on the import path, weights on the disk, and the
model hub is asked (one HEAD, bounded) only when a request's routing depends on it. What can block
runs in a thread and is remembered for a moment; `entries` and `specification` are pure.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import aiohttp
import structlog
from attrs import asdict, evolve, frozen

from aistack.chunks import ModelSpec
from aistack.config import Config
from aistack.config.backends import EngineSection
from aistack.config.installing import here
from aistack.contract.public import Capability, Download, ModelEntry, ModelsList
from aistack.engines import ENGINES
from aistack.engines.base import Engine, ModelCard
from aistack.errors import BackendFault, not_listed
from aistack.jobs.model import Resident
from aistack.routing import choose as routing
from aistack.routing.choose import AUTO, WHISPER_PREFIX, Chosen, EngineFacts, Facts

T = TypeVar("T")

log = structlog.get_logger("aistack.inventory")

ENTRY_POINTS = ("aistack.backends", "aistack.engines")
"""The groups in which other packages announce engines: `name = "package.module:Class"`. The first is the
old one, read for one more release; the second wins where both name an engine."""
HUB = "https://huggingface.co"
PROBE_S = 2.0
"""Longest the hub may take to answer, seconds."""
HUB_TTL_S = 60.0
DISK_TTL_S = 2.0
"""How long a look at the hub and at the disk is believed, seconds."""
AUTO_CREATED = 1_767_225_600
"""`created` of the routing alias: a fixed time (2026-01-01)."""

Probe = Callable[[], Awaitable[bool]]


class Inventory:
    """Facts and entries for one configuration. Engine modules are imported here, once.

    `engines`: dotted names by engine name; `probe` asks the hub; `clock` is monotonic seconds.
    An engine whose module cannot be imported is logged and not offered.
    """

    def __init__(
        self,
        config: Config,
        *,
        engines: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        probe: Probe | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ
        named = real_engines() if engines is None else engines
        self._disabled = frozenset(config.engines.disabled)
        self._engines = {
            name: engine
            for name, dotted in named.items()
            if name not in self._disabled and (engine := _imported(name, dotted)) is not None
        }
        self._disk = Remembered(lambda: asyncio.to_thread(self._look), DISK_TTL_S, clock)
        self._hub = Remembered(probe or (lambda: hub_answers(self._environ)), HUB_TTL_S, clock)

    def engine(self, name: str) -> Engine:
        """The engine called `name`. Raises KeyError if it is not offered."""
        return self._engines[name][0]

    async def facts(self) -> Facts:
        """What is here now, without the hub's answer (`fetchable` is false)."""
        return (await self._disk.get()).facts

    async def route(self, name: str | None, language: str | None, translate: bool) -> Chosen:
        """Who serves this transcription; asks the hub only if that matters. Raises as `choose`."""
        facts = await self.facts()
        if self._may_fetch and routing.depends_on_hub(name, language, translate, facts):
            facts = evolve(facts, fetchable=await self._hub.get())
        return routing.choose(name, language, translate, facts)

    async def models(
        self,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelsList:
        """All entries; `residents` are in memory now, `downloads` on their way to the disk; `others`
        (TTS, LLM) come last."""
        seen = await self._disk.get()
        voices = [
            _entry(engine, card, residents)
            for engine, of in seen.facts.engines.items()
            for card in of.cards
            if of.installed and card.capability == "tts"
        ]
        listed = entries(seen.facts, seen.created, residents, downloads)
        return ModelsList(data=(*listed, *voices, *others))

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
        """What the engine's process is told to load."""
        return specification(self._config, resident, device)

    @property
    def _may_fetch(self) -> bool:
        return not offline(self._environ)

    def _look(self) -> Seen:
        """What the import path and the disk say. Blocks for milliseconds: runs in a thread."""
        engines: dict[str, EngineFacts] = {}
        on_disk: set[str] = set()
        for name, (engine, module) in self._engines.items():
            cards = engine.cards()
            elsewhere = bool(interpreter(self._config, name))
            installed = elsewhere or all(map(_importable, engine.requires))
            engines[name] = EngineFacts(installed, engine.provider, here(engine.install), cards)
            if installed:
                on_disk |= self._weights(name, module, cards)
        local = dict(self._config.models.local)
        created: dict[str, int] = {}
        for model, directory in local.items():
            weights = Path(directory, "model.bin")
            if weights.is_file():
                on_disk.add(model)
                created[model] = int(weights.stat().st_mtime)
        facts = Facts(
            engines,
            frozenset(on_disk),
            False,
            local,
            dict(self._config.models.aliases),
            self._disabled,
        )
        return Seen(facts, created)

    def _weights(self, name: str, module: Any, cards: tuple[ModelCard, ...]) -> set[str]:
        """Ids whose weights need no download: all of an engine that has nothing to say about it."""
        on_disk = getattr(module, "weights_on_disk", None)
        if on_disk is None:
            return {card.id for card in cards}
        sizes = getattr(module, "SIZES", None)
        if sizes is not None:
            return {WHISPER_PREFIX + size for size in sizes if on_disk(size, self._environ)}
        section = getattr(self._config, name, None)
        settings = getattr(module, "FURTHER", ())  # that name weights too
        further = {key: value for key in settings if (value := getattr(section, key, ""))}
        return {
            card.id
            for card in cards
            if on_disk(source_of(self._config, Resident(name, card.id)), self._environ, **further)
        }


@frozen
class Seen:
    """One look: the facts, and when the weights in local directories were made (unix seconds)."""

    facts: Facts
    created: Mapping[str, int]


class Remembered(Generic[T]):
    """The value of a coroutine, kept for `ttl` seconds; callers who come together share one call."""

    def __init__(self, ask: Callable[[], Awaitable[T]], ttl: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._ttl = ttl
        self._clock = clock
        self._until = float("-inf")
        self._value: T | None = None
        self._asking: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """The value, at most `ttl` seconds old. Raises what the coroutine raises, which is not kept."""
        if self._asking is None:
            if self._clock() < self._until:
                return cast(T, self._value)
            self._asking = asyncio.ensure_future(self._fresh())
            self._asking.add_done_callback(self._done)
        return await asyncio.shield(self._asking)

    async def _fresh(self) -> T:
        self._value = await self._ask()
        self._until = self._clock() + self._ttl
        return self._value

    def _done(self, future: asyncio.Future[T]) -> None:
        self._asking = None
        if not future.cancelled():
            future.exception()


# --- entries (pure) ----------------------------------------------------------------------------------


def entries(
    facts: Facts,
    created: Mapping[str, int],
    residents: Collection[Resident],
    downloads: Mapping[Resident, Download] = {},
) -> tuple[ModelEntry, ...]:
    """The speech-to-text entries: `auto`, the engines' cards in order, local directories, and Whisper's
    other sizes while they are being downloaded.

    Installed engines only. `created` are the times of local directories, unix seconds. A directory
    under the id of a card is that card's weights, no second entry.
    """
    cards = [
        (engine, card)
        for engine, of in _ordered(facts)
        for card in of.cards
        if of.installed and card.capability == "asr"
    ]
    if not cards:
        return ()
    whisper = next((card for engine, card in cards if engine == "whisper"), None)
    listed = [_entry(engine, card, residents) for engine, card in cards]
    if whisper is not None:
        taken = {card.id.lower() for _, card in cards}
        listed += [
            _entry(
                "whisper",
                evolve(whisper, id=model, owned_by="local", created=created.get(model, 0)),
                residents,
            )
            for model in facts.local
            if model.lower() not in taken and model in facts.on_disk
        ]
        shown = {entry.id for entry in listed}
        listed += [
            _entry("whisper", evolve(whisper, id=coming.model), residents)
            for coming in downloads
            if coming.backend == "whisper" and coming.model not in shown
        ]
    at = {coming.model: download for coming, download in downloads.items()}
    listed = [evolve(entry, download=at.get(entry.id)) for entry in listed]
    alias = ModelEntry(
        id=AUTO,
        created=AUTO_CREATED,
        owned_by="aistack",
        capabilities=("asr",),
        supports_streaming=all(card.supports_streaming for _, card in cards),
        is_routing_alias=True,
    )
    return (alias, *listed)


def _ordered(facts: Facts) -> list[tuple[str, EngineFacts]]:
    """Engines in the order of the families, then the others; the embedded engine after them."""
    rank = {name: place for place, name in enumerate(("whisper", "parakeet", "sensevoice"))}
    last = {routing.EMBEDDED: len(rank) + 1}
    return sorted(facts.engines.items(), key=lambda item: (rank | last).get(item[0], len(rank)))


def _entry(engine: str, card: ModelCard, residents: Collection[Resident]) -> ModelEntry:
    return ModelEntry(
        id=card.id,
        created=card.created,
        owned_by=card.owned_by,
        capabilities=(cast(Capability, card.capability),),
        supports_streaming=card.supports_streaming,
        languages=card.languages or None,
        loaded=Resident(engine, card.id) in residents,
        max_seconds=card.max_seconds,
        word_timestamps=card.word_timestamps,
        translate=card.translate,
    )


NOT_OPTIONS = frozenset({"python", "kill_after_s", "weights", "batched"})
"""Settings of an engine's section that its process is not told."""


def specification(config: Config, resident: Resident, device: str) -> ModelSpec:
    """The model to load; its options are the engine's section, without what is empty, and `threads`."""
    options: dict[str, Any] = {}
    if config.engines.threads:
        options["threads"] = config.engines.threads
    section = getattr(config, resident.backend, None)
    if isinstance(section, EngineSection):
        told = asdict(section, filter=lambda field, value: field.name not in NOT_OPTIONS and value != "")
        options |= told
    if resident.backend == "nanochat" and device in config.slots.devices:
        options["slot"] = config.slots.devices.index(device)
    return ModelSpec(resident.model, source_of(config, resident), device, options)


def source_of(config: Config, resident: Resident) -> str:
    """What the engine's library is given: a Whisper size, a directory or file, or a hub id."""
    if resident.backend == "whisper":
        size = resident.model.removeprefix(WHISPER_PREFIX)
        return config.models.local.get(resident.model, size)
    if resident.backend == "nanochat":
        return str(Path(config.inference.root, resident.model))
    section = getattr(config, resident.backend, None)
    return str(getattr(section, "weights", "")) or resident.model


def interpreter(config: Config, engine: str) -> str:
    """The configured interpreter of an engine; empty: our own."""
    section = getattr(config, engine, None)
    return section.python if isinstance(section, EngineSection) else ""


# --- looking -----------------------------------------------------------------------------------------


def real_engines() -> dict[str, str]:
    """The engines a service offers without being told otherwise.

    Ours but the scripted one, then those that other packages announce in the entry-point group
    `aistack.engines`; a package cannot take the name of one of ours.
    """
    ours = {name: dotted for name, dotted in ENGINES.items() if name != "fake"}
    theirs = {point.name: point.value for group in ENTRY_POINTS for point in entry_points(group=group)}
    return {**ours, **{name: dotted for name, dotted in theirs.items() if name not in ENGINES}}


def _imported(name: str, dotted: str) -> tuple[Engine, Any] | None:
    module_name, _, attribute = dotted.partition(":")
    try:
        module = importlib.import_module(module_name)
        return getattr(module, attribute)(), module
    except Exception:  # a package may raise anything; one broken engine must not stop the service
        log.exception("engine.unusable", engine=name, module=module_name)
        return None


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def offline(environ: Mapping[str, str]) -> bool:
    """Whether downloads are forbidden, in the words huggingface_hub understands."""
    word = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return word.upper() in {"1", "ON", "YES", "TRUE"}


async def hub_answers(environ: Mapping[str, str]) -> bool:
    """One HEAD to the model hub. True if it answered; a proxy's refusal or an error is no answer."""
    if offline(environ):
        return False
    url = environ.get("HF_ENDPOINT", "").strip() or HUB
    timeout = aiohttp.ClientTimeout(total=PROBE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.head(url, allow_redirects=False) as answer,
        ):
            return answer.status < 500 and answer.status not in (401, 403, 407)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        log.info("hub.unreachable", error=type(exc).__name__)
        return False
