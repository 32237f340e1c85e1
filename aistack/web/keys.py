"""What the web layer needs of the rest, as protocols, and the typed keys it is found under.

The layer is written against these few methods, not against the classes in `aistack.run`, so it can
be tested with a scheduler of twenty lines.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from aiohttp import web

from aistack.chunks import Head, Piece, Tail
from aistack.config import Config
from aistack.contract.public import Download, ModelEntry, ModelsList
from aistack.contract.relay_request import RelayRequest
from aistack.jobs.effects import Reply
from aistack.jobs.events import ClientGone
from aistack.jobs.model import Job, Resident, Route, Snapshot
from aistack.routing.facts import Chosen, Facts


class Outlet(Protocol):
    """One job's answer on its way out. It has one reader: `delivery`."""

    @property
    def waiting(self) -> bool:
        """Whether the next reply is there already."""
        ...

    async def get(self) -> Reply:
        """The next reply; waits for it."""
        ...


class Scheduler(Protocol):
    """The central task, seen from here."""

    @property
    def snapshot(self) -> Snapshot:
        """The service at this moment."""
        ...

    def submit(self, job: Job, discard: Callable[[], None] = ...) -> Outlet:
        """Hand a job in. `discard` is called exactly once, when the job is over."""
        ...

    def post(self, event: ClientGone) -> None:
        """Hand an event in."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Refuse what is new, let what runs go on for `grace_s`, then end it; wait for that."""
        ...


class Inventory(Protocol):
    """Who would serve right now."""

    async def facts(self) -> Facts:
        """What is here now, without asking the hub."""
        ...

    async def route(self, name: str | None, language: str | None, translate: bool) -> Chosen:
        """Who serves this transcription. Raises BackendFault."""
        ...

    async def models(
        self,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelsList:
        """All entries; `residents` are in memory now, `downloads` under way."""
        ...

    async def entry(
        self,
        model: str,
        residents: Collection[Resident] = (),
        others: Sequence[ModelEntry] = (),
        downloads: Mapping[Resident, Download] = {},
    ) -> ModelEntry:
        """One of them. Raises BackendFault: 404 `model_not_found`."""
        ...


class LocalWeights(Protocol):
    """A directory of weights below the model root. `problem` says why it cannot be served, if so."""

    @property
    def tag(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def problem(self) -> str: ...


class ModelRoot(Protocol):
    """The folder of weights behind the internal API. Reads the disk: call it in a thread."""

    def scan(self) -> Sequence[LocalWeights]:
        """All weights, sorted by tag."""
        ...

    def find(self, tag: str) -> LocalWeights:
        """The weights of a tag. Raises BackendFault: 400 for an invalid tag, 404 for an unknown one."""
        ...


class Upstreams(Protocol):
    """Other people's servers, seen from here."""

    def chat_route(self, model: str | None) -> Route:
        """Where a chat runs."""
        ...

    def speech_route(self) -> Route:
        """Where a call to the speech container runs."""
        ...

    async def speech_is_up(self) -> bool:
        """Whether the container answers."""
        ...

    async def entries(self) -> tuple[ModelEntry, ...]:
        """What they offer right now."""
        ...

    def pass_on(self, request: RelayRequest) -> AsyncGenerator[Head | Piece | Tail, None]:
        """A call that takes no slot: Head, Pieces, Tail."""
        ...


CONFIG = web.AppKey("config", Config)
SCHEDULER: web.AppKey[Scheduler] = web.AppKey("scheduler")
INVENTORY: web.AppKey[Inventory] = web.AppKey("inventory")
MODEL_ROOT: web.AppKey[ModelRoot] = web.AppKey("model_root")
UPSTREAMS: web.AppKey[Upstreams] = web.AppKey("outside")
"""Absent in a service without relays (tests of other parts)."""

REQUEST_ID = web.RequestKey("request_id", str)
BEGUN: web.RequestKey[web.StreamResponse] = web.RequestKey("begun")
"""The response whose headers are out; its absence means that a status can still be chosen."""
LOST = web.RequestKey("lost", bool)
"""The client left, or was cut off, before its answer was complete."""
