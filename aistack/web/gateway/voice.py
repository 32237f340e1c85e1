"""The embedded voice: when it answers instead of the speech container, and with what."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from aistack.chunks import Vram
from aistack.contract.relay_request import json_object
from aistack.contract.speech import (
    EMBEDDED_ID,
    OPENAI_SPEECH_MODELS,
    OPENAI_VOICES,
    embedded_answers,
    speak_request,
)
from aistack.jobs.model import Job, Route
from aistack.jobs.states import Op
from aistack.web.keys import INVENTORY, UPSTREAMS
from aistack.web.queueing import QueueWish
from aistack.web.submission import job_of
from aistack.wire.speech import SpeechWire

ENGINE = "espeak"
SPEECH = "/v1/audio/speech"
VOICE_LIST = "/v1/audio/voices"


async def installed(request: web.Request) -> bool:
    """Whether the engine's library is here."""
    engine = (await request.app[INVENTORY].facts()).engines.get(ENGINE)
    return engine is not None and engine.installed


async def answers(request: web.Request, body: bytes) -> bool:
    """Whether this speech request is the embedded voice's: its own id, or a stand-in's while the
    container is down (which is asked only then)."""
    asked = json_object(body)
    model = asked.get("model") if asked is not None else None
    if model not in (EMBEDDED_ID, *OPENAI_SPEECH_MODELS) or not await installed(request):
        return False
    up = model in OPENAI_SPEECH_MODELS and await request.app[UPSTREAMS].speech_is_up()
    return embedded_answers(str(model), up)


def job(request: web.Request, body: bytes, wish: QueueWish) -> Job:
    """The job that speaks. Raises BackendFault (400)."""
    asked = speak_request(body)
    route = Route(ENGINE, EMBEDDED_ID, Vram.OWN)
    wire = SpeechWire(asked.format)
    return job_of(request, Op.SPEAK, route, asked, wire, wish, bytes_in=len(body), format=asked.format)


async def lists_voices(request: web.Request) -> bool:
    """Whether GET /v1/audio/voices is ours to answer: only while the container is down."""
    ours = request.method in ("GET", "HEAD") and request.path == VOICE_LIST
    return ours and await installed(request) and not await request.app[UPSTREAMS].speech_is_up()


def voices() -> dict[str, Any]:
    """Our list, in the container's form."""
    return {"voices": sorted(OPENAI_VOICES), "uploaded_voices": []}
