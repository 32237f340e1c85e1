"""Other people's servers that share our card: where their jobs run, what they offer, who is up.

The handlers know this one object and no relay; `assemble` builds it from the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

from aistack.config import Config
from aistack.contract.public import Capability, ModelEntry
from aistack.contract.relay_request import RelayRequest
from aistack.engines.base import OfferedModel, Relay, RelayItem
from aistack.jobs.model import Route
from aistack.relays.ollama import Ollama, OllamaSettings
from aistack.relays.qwen_tts import QwenTts, QwenTtsSettings
from aistack.relays.rewrites import Rewrites
from aistack.relays.upstream import Sessions
from aistack.relays.websocket import SocketRequest, relay_websocket

__all__ = ["SocketRequest", "Upstreams", "relay_websocket", "upstream_entry"]


class Upstreams:
    """Ollama and the speech container, and the slots they are bound to."""

    def __init__(self, config: Config, devices: Mapping[str, str]) -> None:
        """`devices`: a configured slot's name to the device it stands for; "" is the first slot.

        Raises KeyError for a slot that is not configured.
        """
        self.sessions = Sessions()
        chat, speech = config.ollama, config.qwen_tts
        self.ollama = Ollama(OllamaSettings(chat.url, chat.keep_alive, chat.shares_gpu), self.sessions)
        rewrites = Rewrites(
            model=speech.rewrite_model,
            task_type=speech.rewrite_task_type,
            voice=speech.rewrite_voice,
            ref_audio=speech.rewrite_ref_audio,
            preset=speech.voice_preset,
            ref_folder=speech.ref_folder,
            default_format=speech.default_format,
            stream_format=speech.drop_stream_format,
        )
        self.speech = QwenTts(
            QwenTtsSettings(speech.url, speech.model, rewrites=rewrites), self.sessions
        )
        self.relays: dict[str, Relay[Any]] = {
            self.ollama.name: self.ollama,
            self.speech.name: self.speech,
        }
        self.bound = {
            self.ollama.name: devices[chat.device],
            self.speech.name: devices[speech.device],
        }
        if self.bound[self.ollama.name] == self.bound[self.speech.name]:
            self.speech.make_room = self.ollama.evict

    def chat_route(self, model: str | None) -> Route:
        """Where a chat runs."""
        return Route(self.ollama.name, model or "", self.ollama.vram, self.bound[self.ollama.name])

    def speech_route(self) -> Route:
        """Where a call to the container runs."""
        model = self.speech.settings.model
        return Route(self.speech.name, model, self.speech.vram, self.bound[self.speech.name])

    async def speech_is_up(self) -> bool:
        """Whether the container answers; bounded."""
        return await self.speech.healthy()

    async def entries(self) -> tuple[ModelEntry, ...]:
        """What the upstreams offer right now, asked side by side; bounded, never raises."""
        speech, chat = await asyncio.gather(self.speech.models(), self.ollama.models())
        return tuple(upstream_entry(model) for model in (*speech, *chat))

    def pass_on(self, request: RelayRequest) -> AsyncGenerator[RelayItem, None]:
        """A call that takes no slot: Head, Pieces, Tail. Raises BackendFault."""
        return self.speech.run(request)

    async def close(self) -> None:
        """Close every connection."""
        await self.sessions.close()


def upstream_entry(model: OfferedModel) -> ModelEntry:
    """A model of someone else's server, as `/v1/models` shows it."""
    return ModelEntry(
        id=model.id,
        created=model.created,
        owned_by=model.owned_by,
        capabilities=(cast(Capability, model.capability),),
        supports_streaming=model.supports_streaming,
        is_routing_alias=False,
    )
