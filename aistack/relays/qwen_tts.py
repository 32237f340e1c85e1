"""Everything below /v1/audio/ that is not ours, relayed to a Qwen3-TTS container (vLLM-Omni).

Method, path, query, body, status, end-to-end headers and bytes go through as they are; the
translations of `rewrites` touch a JSON body only where a name would otherwise be refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import structlog
from attrs import field, frozen

from aistack.chunks import Piece, Tail, Vram
from aistack.contract.relay_request import RelayRequest, json_object, media_type
from aistack.engines.base import OfferedModel, RelayItem
from aistack.errors import BackendFault, Code, ErrorKind
from aistack.relays.event_stream import is_events, leave, relay_events
from aistack.relays.rewrites import (
    DROP,
    Rewrites,
    SpeechFacts,
    applied,
    rewritten,
    wants_model,
    wants_voices,
)
from aistack.relays.sse_end import SPEECH_DONE, StreamEnd
from aistack.relays.upstream import READ_S, Sessions, Settings, Upstream
from aistack.relays.websocket import SocketRequest, hold_socket

log = structlog.get_logger("aistack.relay")

MODEL_ID = "qwen3-tts-12hz-0.6b-customvoice"
LOOK_S = 1.5
"""Bound of the small calls (health, served names, voices, sleep)."""
FACTS_S = 60.0
"""How long served names and voices are believed."""
JSON_BYTES = 64 * 1024 * 1024
REWRITTEN = ("/v1/audio/speech", "/v1/audio/speech/batch")
PAUSE_S = 0.05
PAUSE_MAX_S = 0.5


@frozen
class QwenTtsSettings:
    """Where the container is and how it is treated; times in seconds. `model` is the id we list."""

    url: str = "http://127.0.0.1:17860"
    model: str = MODEL_ID
    connect_s: float = 5.0
    read_s: float = READ_S
    sleep_s: float = 10.0
    wake_s: float = 60.0
    rewrites: Rewrites = field(factory=Rewrites)
    upstream: Settings = field(init=False)

    @upstream.default
    def _upstream(self) -> Settings:
        hint = "Start the container with `docker compose up -d` in contrib/docker/tts_qwen3."
        return Settings(self.url, QwenTts.provider, hint, self.connect_s, self.read_s)


class QwenTts:
    """The relay behind `/v1/audio/*`."""

    name = "qwen_tts"
    provider = "Qwen3-TTS"

    def __init__(self, settings: QwenTtsSettings, sessions: Sessions) -> None:
        self.settings = settings
        self.sessions = sessions
        self.upstream = Upstream(settings.upstream, sessions)
        self._served: tuple[tuple[str, ...], float] = ((), 0.0)
        self._voices: tuple[tuple[str, ...], float] = ((), 0.0)
        self._can_sleep: bool | None = None
        self.make_room: Callable[[], Awaitable[None]] | None = None
        """Asked before the container is woken: others that hold memory of its card give it back."""

    @property
    def vram(self) -> Vram:
        """A fixed share of the card; but one that sleeps takes its memory back when it wakes, so
        our models must be gone from there before. Not known is taken for one that sleeps."""
        return Vram.RESERVED if self._can_sleep is False else Vram.EXTERNAL

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        """None: every foreign exception has become a fault in `upstream`."""
        return None

    # --- relaying -----

    async def run(self, request: RelayRequest | SocketRequest) -> AsyncGenerator[RelayItem, None]:
        """Yield Head and Pieces, and a Tail with the last bytes."""
        if isinstance(request, SocketRequest):
            await self._wake()
            async with aclosing(hold_socket(self.upstream, request)) as held:
                async for item in held:
                    yield item
            return
        parsed = await self._parsed(request)
        if request.takes_slot:
            await self._wake()
        body = await self._body(request, parsed)
        spool: BinaryIO | None = None
        response: aiohttp.ClientResponse | None = None
        whole = False
        try:
            if isinstance(body, str):
                body = spool = await asyncio.to_thread(open, body, "rb")
            response = await self._open(request, body)
            if response.status == 400 and (again := self._without_stream_format(parsed)) is not None:
                response.close()
                response = await self._open(request, again)
            await self.upstream.checked(response)
            yield self.upstream.head(response)
            async with aclosing(self._answer(response)) as answer:
                async for item in answer:
                    whole = isinstance(item, Tail)
                    yield item
        finally:
            if response is not None:
                leave(self.sessions, self.upstream, response, whole)
            if spool is not None:
                spool.close()

    async def _open(self, request: RelayRequest, body: Any) -> aiohttp.ClientResponse:
        """Only content type and Accept of the client's headers go up."""
        given = {"Content-Type": request.content_type, "Accept": request.accept}
        headers = {name: value for name, value in given.items() if value}
        return await self.upstream.open(request.method, request.path_qs, body, headers)

    def _answer(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Piece | Tail, None]:
        if is_events(response):
            return relay_events(self.upstream, response, StreamEnd(SPEECH_DONE, None), late_is_over=True)
        return self.upstream.pieces(response)

    # --- the body -----

    async def _parsed(self, request: RelayRequest) -> dict[str, Any] | None:
        """The JSON object of a body that may need translating, else none."""
        kind = media_type(request.content_type)
        if request.method != "POST" or request.path not in REWRITTEN or kind != "application/json":
            return None
        if isinstance(request.body, str):
            path = Path(request.body)
            return await asyncio.to_thread(_object_in, path)
        return json_object(request.body or b"")

    async def _body(self, request: RelayRequest, parsed: dict[str, Any] | None) -> Any:
        """The client's own bytes (or spool file), unless a translation changed something."""
        if parsed is None:
            return request.body
        rules, advertised = self.settings.rewrites, self.settings.model
        facts = SpeechFacts(
            await self.served() if wants_model(parsed, rules, advertised) else (),
            await self.voices() if wants_voices(parsed, rules) else (),
        )
        changed = await asyncio.to_thread(rewritten, parsed, rules, facts, advertised)
        return request.body if changed is None else _packed(changed)

    def _without_stream_format(self, parsed: dict[str, Any] | None) -> bytes | None:
        """The body for a second try at an upstream that does not know `sse`; None: no second try."""
        if parsed is None or not self.settings.rewrites.stream_format:
            return None
        if parsed.get("stream_format") != "sse":
            return None
        return _packed(applied(parsed, {"stream_format": DROP}))

    # --- what the upstream says about itself -----

    async def served(self) -> tuple[str, ...]:
        """The names it answers to; empty if it does not say."""
        names, until = self._served
        now = asyncio.get_running_loop().time()
        if not names or now > until:
            value = await self._small_answer("/v1/models")
            entries = value.get("data") if isinstance(value, dict) else None
            names = _strings(entries, "id")
            self._served = (names, now + FACTS_S)
        return names

    async def voices(self) -> tuple[str, ...]:
        """The voices it lists; empty if it does not say."""
        names, until = self._voices
        now = asyncio.get_running_loop().time()
        if not names or now > until:
            value = await self._small_answer("/v1/audio/voices")
            names = _strings(value.get("voices") if isinstance(value, dict) else None, "id")
            self._voices = (names, now + FACTS_S)
        return names

    async def _small_answer(self, path: str) -> Any:
        """A small JSON answer, None on any failure: the call itself will say what is wrong."""
        try:
            async with asyncio.timeout(LOOK_S):
                status, value = await self.upstream.json("GET", path, limit_s=LOOK_S)
        except (BackendFault, TimeoutError):
            return None
        return value if status == 200 else None

    async def healthy(self) -> bool:
        """Whether GET /health answers 200 within a moment. Never raises."""
        try:
            async with asyncio.timeout(LOOK_S):
                status, _ = await self.upstream.json("GET", "/health", limit_s=LOOK_S)
        except (BackendFault, TimeoutError):
            return False
        return status == 200

    async def models(self) -> tuple[OfferedModel, ...]:
        """The one entry of the inventory while the container is healthy. Never raises."""
        if not await self.healthy():
            return ()
        return (OfferedModel(self.settings.model, "qwen", "tts", word_timestamps=False),)

    # --- memory -----

    async def evict(self) -> None:
        """Put the container to sleep if it can; bounded, logged, never raises."""
        try:
            async with asyncio.timeout(self.settings.sleep_s):
                if await self._is_sleeping() is not False:
                    return
                status, _ = await self.upstream.json("POST", "/sleep", limit_s=self.settings.sleep_s)
                if status != 200:
                    log.warning("the speech container did not go to sleep", status=status)
                    return
                pause = PAUSE_S
                while await self._is_sleeping() is False:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, PAUSE_MAX_S)
                log.info("the speech container sleeps")
        except TimeoutError:
            log.warning("the speech container did not go to sleep", limit_s=self.settings.sleep_s)
        except BackendFault as exc:
            if exc.fault.code is not Code.BACKEND_UNREACHABLE:
                log.warning("the speech container could not be put to sleep", cause=str(exc))

    async def _is_sleeping(self) -> bool | None:
        """Whether it sleeps; None if it cannot. Raises BackendFault."""
        status, value = await self.upstream.json("GET", "/is_sleeping", limit_s=LOOK_S)
        sleeping = value.get("is_sleeping") if isinstance(value, dict) else None
        self._can_sleep = status == 200 and isinstance(sleeping, bool)
        return sleeping if self._can_sleep else None

    async def _wake(self) -> None:
        """Wake the container if it sleeps. Never raises: the call itself will say what is wrong."""
        if self._can_sleep is False:
            return
        with suppress(BackendFault):
            if not await self._is_sleeping():
                return
            if self.make_room is not None:
                await self.make_room()
            status, _ = await self.upstream.json("POST", "/wake_up", limit_s=self.settings.wake_s)
            if status == 200:
                log.info("the speech container was woken")
            else:
                log.warning("the speech container was not woken", status=status)


def _object_in(path: Path) -> dict[str, Any] | None:
    """The JSON object in a spool file; None if it is something else or too large to look at."""
    if path.stat().st_size > JSON_BYTES:
        return None
    return json_object(path.read_bytes())


def _packed(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _strings(entries: Any, member: str) -> tuple[str, ...]:
    """The names in a list of strings or of objects."""
    if not isinstance(entries, list):
        return ()
    names = (entry.get(member) if isinstance(entry, dict) else entry for entry in entries)
    return tuple(name for name in names if isinstance(name, str) and name)
