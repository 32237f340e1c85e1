"""Chat by Ollama's own compatible endpoint, byte by byte, with a `keep_alive` that takes effect.

That endpoint ignores `keep_alive` (its decoder does not know the member), and a request without one
leaves a loaded model's duration alone. So the duration is set natively first (an empty generate,
which also loads the model and says what is wrong before any byte went out), and the chat call
inherits it; 0 is an unload after the call. What Ollama holds is asked of `/api/ps`, never remembered:
others use it too.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
import structlog
from attrs import field, frozen

from aistack.chunks import Piece, Tail, Vram
from aistack.contract.relay_request import ABSENT, RelayedChat, media_type, with_member
from aistack.engines.base import OfferedModel, RelayItem
from aistack.errors import BackendFault, Code, ErrorKind
from aistack.relays.event_stream import is_events, leave, relay_events
from aistack.relays.sse_end import CHAT_DONE, CHAT_FINISH, StreamEnd
from aistack.relays.upstream import READ_S, Sessions, Settings, Upstream

log = structlog.get_logger("aistack.relay")

CHAT = "/v1/chat/completions"
GENERATE = "/api/generate"
JSON = "application/json"
LOOK_S = 1.5
"""Bound of the small calls behind `/v1/models`."""
UNLOAD_S = 5.0
PAUSE_S = 0.05
PAUSE_MAX_S = 0.5

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_ZERO = re.compile(r"[+-]?(?:(?:0++(?:\.0*+)?+|\.0++)(?:ns|us|µs|ms|s|m|h)?+)++")
"""No choice is taken back (`++`): else each zero more doubles the ways to cut up a row of them."""


@frozen
class OllamaSettings:
    """Where Ollama is and how it is treated; times in seconds.

    `shares_gpu`: its models sit on our card although its address is not this machine's.
    """

    url: str = "http://127.0.0.1:11434"
    keep_alive: str = "30s"
    shares_gpu: bool = False
    connect_s: float = 2.0
    read_s: float = READ_S
    evict_s: float = 10.0
    upstream: Settings = field(init=False)

    @upstream.default
    def _upstream(self) -> Settings:
        hint = "Start it with `ollama serve`, or correct `ollama.url`."
        return Settings(self.url, Ollama.provider, hint, self.connect_s, self.read_s)


def native(keep_alive: Any) -> Any:
    """A `keep_alive` as the native API takes it: purely numeric strings become numbers."""
    if isinstance(keep_alive, str) and _NUMBER.fullmatch(keep_alive):
        number = float(keep_alive)
        return int(number) if number.is_integer() else number
    return keep_alive


def means_unload(keep_alive: Any) -> bool:
    """Whether this `keep_alive` is zero in any of its spellings."""
    if isinstance(keep_alive, bool):
        return False
    if isinstance(keep_alive, str):
        return _ZERO.fullmatch(keep_alive) is not None
    return isinstance(keep_alive, int | float) and keep_alive == 0


class Ollama:
    """The relay behind `/v1/chat/completions`."""

    name = "ollama"
    provider = "ollama"
    vram = Vram.EXTERNAL

    def __init__(self, settings: OllamaSettings, sessions: Sessions) -> None:
        self.settings = settings
        self.sessions = sessions
        self.upstream = Upstream(settings.upstream, sessions)
        self._warned = False

    def kind_of(self, exc: BaseException) -> ErrorKind | None:
        """None: every foreign exception has become a fault in `upstream`."""
        return None

    # --- chat -----

    async def run(self, request: RelayedChat) -> AsyncGenerator[RelayItem, None]:
        """Yield Head and Pieces, and a Tail once the answer is certain to be over."""
        body, keep_alive = request.body, request.keep_alive
        if keep_alive is ABSENT:
            keep_alive = self.settings.keep_alive
            body = with_member(body, "keep_alive", keep_alive)
        unload = request.model if request.model and means_unload(keep_alive) else None
        if request.model and keep_alive is not None and unload is None:
            await self._touch(request.model, native(keep_alive))
        response: aiohttp.ClientResponse | None = None
        whole = False
        try:
            headers = {"Content-Type": JSON, "Accept": request.accept or "*/*"}
            response = await self.upstream.open("POST", CHAT, body, headers)
            await self.upstream.checked(response)
            yield self.upstream.head(response)
            async with aclosing(self._answer(response)) as answer:
                async for item in answer:
                    whole = isinstance(item, Tail)
                    if whole and unload is not None:
                        await self._unload(unload)
                        unload = None
                    yield item
        finally:
            if response is not None:
                leave(self.sessions, self.upstream, response, whole)
            if unload is not None:
                await self._unload(unload)

    def _answer(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Piece | Tail, None]:
        """The body: events are watched for their end, anything else just passes."""
        if is_events(response):
            end = StreamEnd(CHAT_FINISH, CHAT_DONE)
            return relay_events(self.upstream, response, end, late_is_over=False)
        return self.upstream.pieces(response)

    # --- keep_alive -----

    async def _touch(self, model: str, keep_alive: Any) -> None:
        """Load the model and set how long it stays. Raises BackendFault, before any byte is out."""
        body = {"model": model, "keep_alive": keep_alive}
        response = await self._generate(body, None)
        try:
            kind = media_type(response.headers.get("Content-Type", ""))
            if response.status in (404, 405) and kind != JSON:
                if not self._warned:
                    log.warning("no native API: keep_alive has no effect", url=self.settings.url)
                    self._warned = True
            else:
                await self.upstream.checked(response)
            while await self.upstream.read(response):
                pass
        finally:
            response.release() if response.content.at_eof() else response.close()

    async def _unload(self, model: str) -> None:
        """Ask for the model's memory back; bounded, logged, never raises."""
        try:
            async with asyncio.timeout(UNLOAD_S):
                response = await self._generate({"model": model, "keep_alive": 0}, UNLOAD_S)
                await self.upstream.checked(response)
                await self.upstream.drain(response)
        except (BackendFault, TimeoutError) as exc:
            log.warning("ollama did not unload", model=model, cause=str(exc))

    async def _generate(self, body: dict[str, Any], limit_s: float | None) -> aiohttp.ClientResponse:
        data = json.dumps(body).encode()
        headers = {"Content-Type": JSON}
        return await self.upstream.open("POST", GENERATE, data, headers, limit_s, again=True)

    # --- memory -----

    @property
    def on_our_card(self) -> bool:
        """Whether its models share memory with ours."""
        return self.settings.shares_gpu or self.settings.upstream.is_loopback

    async def resident(self) -> dict[str, int]:
        """The models that hold memory of the card, with their bytes. Raises BackendFault."""
        _, value = await self.upstream.json("GET", "/api/ps", limit_s=LOOK_S)
        return {
            str(model["name"]): model["size_vram"]
            for model in _entries(value)
            if isinstance(model.get("size_vram"), int) and model["size_vram"] > 0
        }

    async def evict(self) -> None:
        """Unload everything that holds memory, and wait until `/api/ps` agrees; bounded."""
        if not self.on_our_card:
            return
        left: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(self.settings.evict_s):
                before = left = await self.resident()
                pause = PAUSE_S
                unloading: set[str] = set()
                while left:
                    for model in left.keys() - unloading:
                        unloading.add(model)
                        await self._unload(model)
                    left = await self.resident()
                    if left:
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, PAUSE_MAX_S)
            if before:
                log.info(
                    "ollama unloaded",
                    models=sorted(before),
                    vram_bytes=sum(before.values()),
                    took_s=round(loop.time() - start, 3),
                )
        except TimeoutError:
            log.warning("ollama still holds memory", models=sorted(left), limit_s=self.settings.evict_s)
        except BackendFault as exc:
            if exc.fault.code is not Code.BACKEND_UNREACHABLE:  # a server that is down holds nothing
                log.warning("ollama could not be asked to unload", cause=str(exc))

    # --- inventory -----

    async def models(self) -> tuple[OfferedModel, ...]:
        """The chat models it offers right now; empty if it is down or answers nonsense. Never raises."""
        try:
            async with asyncio.timeout(LOOK_S):
                _, value = await self.upstream.json("GET", "/api/tags", limit_s=LOOK_S)
        except (BackendFault, TimeoutError):
            return ()
        return tuple(
            OfferedModel(
                id=str(model["name"]),
                owned_by="ollama",
                capability="llm",
                word_timestamps=False,
                created=_unix(model.get("modified_at")),
            )
            for model in _entries(value)
            if not model.get("remote_host") and _completes(model)
        )


def _completes(model: dict[str, Any]) -> bool:
    """Whether the model can chat; versions that do not say are believed to."""
    capabilities = model.get("capabilities")
    return not isinstance(capabilities, list) or not capabilities or "completion" in capabilities


def _entries(value: Any) -> list[dict[str, Any]]:
    """The named entries of `{"models": [...]}`, whatever else was sent."""
    models = value.get("models") if isinstance(value, dict) else None
    if not isinstance(models, list):
        return []
    return [model for model in models if isinstance(model, dict) and model.get("name")]


def _unix(stamp: Any) -> int:
    """Unix seconds of an RFC 3339 time; 0 if it is none."""
    try:
        return int(datetime.datetime.fromisoformat(stamp).timestamp())
    except (TypeError, ValueError):
        return 0
