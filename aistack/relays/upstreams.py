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
from aistack.engines.base import ModelCard, Relay
from aistack.jobs.model import Route
from aistack.relays.ollama import Ollama, OllamaSettings
from aistack.relays.qwen_tts import QwenTts, QwenTtsSettings
from aistack.relays.rewrites import Rewrites
from aistack.relays.upstream import Sessions
from aistack.relays.websocket import SocketRequest, relay_websocket

__all__ = ["SocketRequest", "Upstreams", "entry_of", "relay_websocket"]


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
        self.relays: dict[str, Relay] = {self.ollama.name: self.ollama, self.speech.name: self.speech}
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
        return tuple(entry_of(card) for card in (*speech, *chat))

    def pass_on(self, request: RelayRequest) -> AsyncGenerator[Any, None]:
        """A call that takes no slot: Head, Pieces, Tail. Raises BackendFault."""
        return self.speech.run(request)

    async def close(self) -> None:
        """Close every connection."""
        await self.sessions.close()


def entry_of(card: ModelCard) -> ModelEntry:
    """A card of a backend that does not transcribe, as `/v1/models` tells it."""
    return ModelEntry(
        id=card.id,
        created=card.created,
        owned_by=card.owned_by,
        capabilities=(cast(Capability, card.capability),),
        supports_streaming=card.supports_streaming,
        is_routing_alias=False,
    )
